/* floor.c - the least a client on libcurl costs: the floor under ours.
 *
 *   floor URL_PREFIX calls at_once [ca_file]
 *
 * GETs URL_PREFIX/users/uN/offline_msg_count with a token of 203 bytes, so
 * many at once, on easy handles that are reused, through curl_multi_socket_action
 * and epoll, and takes the count out of the answer with cJSON. No deadline, no
 * retry, no checks beyond "it is there". Prints calls, CPU and wall seconds. */
#include <cjson/cJSON.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum { MAX_AT_ONCE = 512, WARM_UP = 200 };

struct slot {
  CURL *easy;
  char user[24];
  size_t length;
  char body[4096];
};

static struct slot slots[MAX_AT_ONCE];
static CURLM *multi;
static int epoll_fd;
static long timer_ms = -1;
static const char *prefix;

static void die(const char *why)
{
  fprintf(stderr, "floor: %s\n", why);
  exit(1);
}

static double seconds(clockid_t id)
{
  struct timespec now;

  clock_gettime(id, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
  struct slot *s = data;

  if (s->length + size * count >= sizeof s->body)
    return 0;
  memcpy(s->body + s->length, bytes, size * count);
  s->length += size * count;
  return size * count;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data,
                     void *known)
{
  struct epoll_event event;

  (void)easy;
  (void)data;
  memset(&event, 0, sizeof event);
  event.data.fd = fd;
  event.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) |
                 (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
  } else {
    epoll_ctl(epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    curl_multi_assign(multi, fd, slots);
  }
  return 0;
}

static int on_timer(CURLM *m, long ms, void *data)
{
  (void)m;
  (void)data;
  timer_ms = ms;
  return 0;
}

static void start(struct slot *s, long number)
{
  char url[512];

  snprintf(s->user, sizeof s->user, "u%ld", number % 100);
  snprintf(url, sizeof url, "%s/users/%s/offline_msg_count", prefix, s->user);
  s->length = 0;
  curl_easy_setopt(s->easy, CURLOPT_URL, url);
  curl_multi_add_handle(multi, s->easy);
}

static void check(const struct slot *s)
{
  cJSON *root = cJSON_ParseWithLength(s->body, s->length);
  const cJSON *data = cJSON_GetObjectItemCaseSensitive(root, "data");
  const cJSON *count = cJSON_GetObjectItemCaseSensitive(data, s->user);

  if (!cJSON_IsNumber(count))
    die("not the answer");
  cJSON_Delete(root);
}

static struct slot *finish(CURLMsg *message)
{
  CURL *easy = message->easy_handle;
  char *data;
  struct slot *s;
  long status = 0;

  if (message->data.result != CURLE_OK)
    die(curl_easy_strerror(message->data.result));
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &data);
  s = (struct slot *)(void *)data;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200)
    die("not 200");
  curl_multi_remove_handle(multi, easy);
  check(s);
  return s;
}

static void run(long calls, int at_once)
{
  long started = 0, done = 0;
  struct epoll_event events[64];
  int running, left;

  for (int i = 0; i < at_once && started < calls; i++)
    start(&slots[i], started++);
  for (;;) {
    CURLMsg *message;
    int count;

    if (timer_ms == 0) {
      timer_ms = -1;
      curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    while ((message = curl_multi_info_read(multi, &left))) {
      struct slot *s = finish(message);

      done++;
      if (started < calls)
        start(s, started++);
    }
    if (done == calls)
      return;
    count = epoll_wait(epoll_fd, events, 64, (int)timer_ms);
    if (count == 0)
      timer_ms = 0;
    for (int i = 0; i < count; i++)
      curl_multi_socket_action(
          multi, events[i].data.fd,
          (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
              (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0),
          &running);
  }
}

int main(int argc, char **argv)
{
  struct curl_slist *headers = NULL;
  char token[256] = "Authorization: Bearer 007";
  double cpu, wall;
  long calls;
  int at_once;

  if (argc < 4)
    die("floor URL_PREFIX calls at_once [ca_file]");
  prefix = argv[1];
  calls = atol(argv[2]);
  at_once = atoi(argv[3]);
  if (calls < 1 || at_once < 1 || at_once > MAX_AT_ONCE)
    die("calls and at_once are 1 and more");
  memset(token + strlen(token), 't', 200);
  headers = curl_slist_append(headers, token);
  headers = curl_slist_append(headers, "Accept: application/json");

  curl_global_init(CURL_GLOBAL_DEFAULT);
  multi = curl_multi_init();
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)at_once);
  for (int i = 0; i < at_once; i++) {
    CURL *e = slots[i].easy = curl_easy_init();

    curl_easy_setopt(e, CURLOPT_PRIVATE, &slots[i]);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, &slots[i]);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
    if (argc > 4)
      curl_easy_setopt(e, CURLOPT_CAINFO, argv[4]);
  }
  run(WARM_UP, at_once);
  cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  wall = seconds(CLOCK_MONOTONIC);
  run(calls, at_once);
  printf("%ld %.6f %.6f %.6f\n", calls, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
         seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, seconds(CLOCK_MONOTONIC) - wall);
  return 0;
}
