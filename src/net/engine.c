#include "engine.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/list.h"
#include "../base/version.h"
#include "sockets.h"
#include "transfer.h"

enum {
  OLDEST_LIBCURL = 0x075700, /* 7.87: QUICK_EXIT, the cached CA store */
  EVENTS_AT_ONCE = 64
};

#if LIBCURL_VERSION_NUM < 0x075700
#error "agora_chat needs libcurl 7.87 or newer"
#endif

struct ac_engine {
  CURLM *multi;                   /* NULL: made for the next attempt */
  CURLcode lost;                  /* what became of the attempts of a broken one */
  long max_connections;
  int epoll;
  int wake;                       /* an eventfd */
  int64_t timer_ms;               /* libcurl's, monotonic; 0: now; -1: none */
  struct ac_transfer_setup setup;
  struct ac_sockets sockets;
  struct ac_list idle, out, ended; /* struct ac_transfer */
  struct ac_transfer *latest;     /* given out by ac_engine_next_ended */
};

static const struct ac_clock real_clock;

/* -- the library -- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static CURLcode library_result;

static void init_library(void)
{
  library_result = curl_global_init(CURL_GLOBAL_DEFAULT);
}

ac_kind ac_engine_library(struct ac_error *err)
{
  const curl_version_info_data *found;

  pthread_once(&library_once, init_library);
  if (library_result != CURLE_OK)
    return ac_error_set(err, AC_ERR_MEMORY, "libcurl does not start: %s",
                        curl_easy_strerror(library_result));
  found = curl_version_info(CURLVERSION_NOW);
  if (found->version_num < OLDEST_LIBCURL)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "libcurl 7.87 or newer is needed, this is %s",
                        found->version);
  if (!(found->features & CURL_VERSION_SSL))
    return ac_error_set(err, AC_ERR_ARGUMENT, "this libcurl has no TLS");
  return AC_OK;
}

/* -- libcurl's wishes -- */

static int on_timer(CURLM *multi, long timeout_ms, void *data)
{
  struct ac_engine *engine = data;

  (void)multi;
  if (timeout_ms > 0)
    engine->timer_ms = ac_clock_ms(&real_clock) + timeout_ms;
  else
    engine->timer_ms = timeout_ms;
  return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data,
                     void *socket_data)
{
  struct ac_engine *engine = data;

  (void)easy;
  (void)socket_data;
  return ac_sockets_watch(&engine->sockets, fd, what);
}

/* -- life -- */

static int copy_text(char **out, const char *text)
{
  *out = text ? strdup(text) : NULL;
  return !text || *out;
}

/* Of libcurl's TLS libraries these tell a certificate's extensions. */
static int uses_openssl(void)
{
  static const char *const kinds[] = {"OpenSSL", "LibreSSL", "BoringSSL",
                                      "AWS-LC", "quictls"};
  const char *used = curl_version_info(CURLVERSION_NOW)->ssl_version;

  for (size_t i = 0; used && i < sizeof kinds / sizeof kinds[0]; i++)
    if (strncmp(used, kinds[i], strlen(kinds[i])) == 0)
      return 1;
  return 0;
}

/* chat/ has judged all of it but the insides of [...]. */
static CURLUcode parse_origin(struct ac_engine *engine, const char *origin)
{
  char *scheme = NULL;
  CURLUcode code;

  engine->setup.origin = curl_url();
  if (!engine->setup.origin)
    return CURLUE_OUT_OF_MEMORY;
  code = curl_url_set(engine->setup.origin, CURLUPART_URL, origin, 0);
  if (!code)
    code = curl_url_get(engine->setup.origin, CURLUPART_SCHEME, &scheme, 0);
  if (code)
    return code;
  engine->setup.https = strcmp(scheme, "https") == 0;
  engine->setup.names_known = engine->setup.https && uses_openssl();
  curl_free(scheme);
  return CURLUE_OK;
}

/* As libcurl reads it for every transfer, where a fault would be told with the
   whole text, password and all. */
static CURLUcode check_proxy(const char *proxy)
{
  CURLU *parsed = curl_url();
  CURLUcode code = CURLUE_OUT_OF_MEMORY;

  if (parsed)
    code = curl_url_set(parsed, CURLUPART_URL, proxy,
                        CURLU_NON_SUPPORT_SCHEME | CURLU_GUESS_SCHEME);
  curl_url_cleanup(parsed);
  return code;
}

static int make_multi(struct ac_engine *engine)
{
  CURLM *m = curl_multi_init();
  int bad = 0;

  if (!m)
    return 0;
#define SET(option, value) (bad |= curl_multi_setopt(m, option, value) != CURLM_OK)
  SET(CURLMOPT_SOCKETFUNCTION, on_socket);
  SET(CURLMOPT_SOCKETDATA, engine);
  SET(CURLMOPT_TIMERFUNCTION, on_timer);
  SET(CURLMOPT_TIMERDATA, engine);
  SET(CURLMOPT_MAX_HOST_CONNECTIONS, engine->max_connections);
  SET(CURLMOPT_MAXCONNECTS, engine->max_connections);
  SET(CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
#undef SET
  if (bad)
    curl_multi_cleanup(m);
  else
    engine->multi = m;
  return !bad;
}

static int watch_wake(struct ac_engine *engine)
{
  struct epoll_event event;

  memset(&event, 0, sizeof event);
  event.events = EPOLLIN;
  event.data.fd = engine->wake;
  return epoll_ctl(engine->epoll, EPOLL_CTL_ADD, engine->wake, &event) == 0;
}

struct ac_engine *ac_engine_new(const struct ac_engine_config *config,
                                struct ac_error *err)
{
  struct ac_engine *engine;
  int descriptors;
  CURLUcode url = CURLUE_OK, proxy = CURLUE_OK;

  if (ac_engine_library(err) != AC_OK)
    return NULL;
  engine = calloc(1, sizeof *engine);
  if (!engine) {
    ac_error_set(err, AC_ERR_MEMORY, "no memory for a client");
    return NULL;
  }
  ac_list_init(&engine->idle);
  ac_list_init(&engine->out);
  ac_list_init(&engine->ended);
  engine->timer_ms = -1;
  engine->epoll = epoll_create1(EPOLL_CLOEXEC);
  engine->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  ac_sockets_init(&engine->sockets, engine->epoll);
  descriptors = engine->epoll >= 0 && engine->wake >= 0 && watch_wake(engine);
  engine->setup.sockets = &engine->sockets;
  engine->setup.connect_timeout_ms = config->connect_timeout_ms;
  engine->setup.attempt_timeout_ms = config->attempt_timeout_ms;
  engine->max_connections = config->max_connections;
  if (!descriptors) {
    ac_error_set_code(err, AC_ERR_NETWORK, "connect",
                      "cannot open a descriptor: errno %d", errno);
  } else if (!make_multi(engine) ||
             (url = parse_origin(engine, config->origin)) ==
                 CURLUE_OUT_OF_MEMORY ||
             (config->proxy && (proxy = check_proxy(config->proxy)) ==
                                   CURLUE_OUT_OF_MEMORY) ||
             !copy_text(&engine->setup.ca_file, config->ca_file) ||
             !copy_text(&engine->setup.proxy, config->proxy) ||
             !copy_text(&engine->setup.user_agent,
                        config->user_agent ? config->user_agent
                                           : "agora_chat/" AC_VERSION)) {
    ac_error_set(err, AC_ERR_MEMORY, "no memory for a client");
  } else if (url) {
    ac_error_set(err, AC_ERR_ARGUMENT,
                 "base_url has no IPv6 address in its brackets");
  } else if (proxy) {
    ac_error_set(err, AC_ERR_ARGUMENT,
                 "proxy has no host or port that can be used");
  } else {
    return engine;
  }
  ac_engine_free(engine);
  return NULL;
}

static void forget_call(struct ac_transfer *t)
{
  if (t->call)
    t->call->transfer = NULL;
  ac_transfer_rest(t);
}

static void free_all(struct ac_engine *engine, struct ac_list *list, int out)
{
  struct ac_list *node;

  while ((node = ac_list_take_front(list))) {
    struct ac_transfer *t = AC_LIST_ENTRY(node, struct ac_transfer, link);

    if (out)
      curl_multi_remove_handle(engine->multi, t->easy);
    forget_call(t);
    ac_transfer_free(t);
  }
}

void ac_engine_free(struct ac_engine *engine)
{
  if (!engine)
    return;
  free_all(engine, &engine->out, 1);
  free_all(engine, &engine->ended, 0);
  free_all(engine, &engine->idle, 0);
  curl_multi_cleanup(engine->multi); /* closes the kept connections */
  ac_sockets_free(&engine->sockets);
  curl_url_cleanup(engine->setup.origin);
  free(engine->setup.ca_file);
  free(engine->setup.proxy);
  free(engine->setup.user_agent);
  if (engine->epoll >= 0)
    close(engine->epoll);
  if (engine->wake >= 0)
    close(engine->wake);
  free(engine);
}

static void wipe_all(struct ac_list *list)
{
  struct ac_list *node;

  for (node = list->next; node != list; node = node->next)
    ac_transfer_wipe(AC_LIST_ENTRY(node, struct ac_transfer, link));
}

void ac_engine_abandon(struct ac_engine *engine)
{
  if (!engine)
    return;
  wipe_all(&engine->out);
  wipe_all(&engine->ended);
  wipe_all(&engine->idle);
}

/* -- attempts -- */

static struct ac_transfer *take_idle(struct ac_engine *engine)
{
  struct ac_list *node = ac_list_take_front(&engine->idle);

  if (node)
    return AC_LIST_ENTRY(node, struct ac_transfer, link);
  return ac_transfer_new(&engine->setup);
}

static void rest(struct ac_engine *engine, struct ac_transfer *t)
{
  if (engine->latest == t)
    engine->latest = NULL;
  ac_list_remove(&t->link);
  ac_list_push_front(&engine->idle, &t->link); /* the warmest comes first */
}

ac_kind ac_engine_start(struct ac_engine *engine, struct ac_call *call,
                        struct ac_error *err)
{
  struct ac_transfer *t = take_idle(engine);
  ac_kind kind;

  if (!t)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for a request");
  kind = ac_transfer_prepare(t, call, err);
  if (kind == AC_OK && !engine->multi && !make_multi(engine))
    kind = ac_error_set(err, AC_ERR_MEMORY, "no memory for a request");
  if (kind == AC_OK && curl_multi_add_handle(engine->multi, t->easy) != CURLM_OK)
    kind = ac_error_set(err, AC_ERR_MEMORY, "no memory for a request");
  if (kind != AC_OK) {
    ac_transfer_rest(t);
    rest(engine, t);
    return kind;
  }
  if (engine->latest == t)
    engine->latest = NULL;
  call->transfer = t;
  ac_list_push_back(&engine->out, &t->link);
  return AC_OK;
}

void ac_engine_drop(struct ac_engine *engine, struct ac_call *call)
{
  struct ac_transfer *t = call->transfer;

  if (!t || t->call != call)
    return;
  ac_transfer_abandon(t);
  curl_multi_remove_handle(engine->multi, t->easy);
  forget_call(t);
  rest(engine, t);
}

static void gather(struct ac_engine *engine)
{
  CURLMsg *message;
  int left;

  while ((message = curl_multi_info_read(engine->multi, &left))) {
    CURL *easy = message->easy_handle;
    CURLcode result = message->data.result; /* gone with the handle */
    struct ac_transfer *t = NULL;
    char *private_data = NULL;

    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private_data);
    t = (struct ac_transfer *)(void *)private_data;
    curl_multi_remove_handle(engine->multi, easy);
    if (result != CURLE_OK && ac_transfer_again(t, result)) {
      if (curl_multi_add_handle(engine->multi, easy) == CURLM_OK)
        continue;
      result = CURLE_OUT_OF_MEMORY;
    }
    ac_transfer_finish(t, result);
    ac_list_remove(&t->link);
    ac_list_push_back(&engine->ended, &t->link);
  }
}

static void act(struct ac_engine *engine, curl_socket_t fd, int what)
{
  int running;
  CURLMcode code;

  if (engine->lost != CURLE_OK)
    return; /* not to be trusted any more */
  code = curl_multi_socket_action(engine->multi, fd, what, &running);
  if (code == CURLM_ABORTED_BY_CALLBACK) /* epoll refused a socket */
    engine->lost = CURLE_ABORTED_BY_CALLBACK;
  else if (code == CURLM_OUT_OF_MEMORY || code == CURLM_INTERNAL_ERROR)
    engine->lost = CURLE_OUT_OF_MEMORY;
}

/* Takes in what libcurl has finished. Without memory to tell of a socket libcurl
   (7.88) forgets the transfer, which would stall, and keeps half an entry
   for the socket: the next one of that number divides by its size, 0. So all
   attempts end, and the next begins with another multi handle. */
static void take_in(struct ac_engine *engine)
{
  struct ac_list *node;

  gather(engine);
  if (engine->lost == CURLE_OK)
    return;
  while ((node = ac_list_take_front(&engine->out))) {
    struct ac_transfer *t = AC_LIST_ENTRY(node, struct ac_transfer, link);

    curl_multi_remove_handle(engine->multi, t->easy);
    ac_transfer_finish(t, engine->lost);
    ac_list_push_back(&engine->ended, &t->link);
  }
  curl_multi_cleanup(engine->multi);
  engine->multi = NULL;
  engine->lost = CURLE_OK;
  engine->timer_ms = -1;
}

static int timer_due(const struct ac_engine *engine)
{
  return engine->timer_ms == 0 ||
         (engine->timer_ms > 0 && engine->timer_ms <= ac_clock_ms(&real_clock));
}

static void act_on_timer(struct ac_engine *engine)
{
  if (!timer_due(engine))
    return;
  engine->timer_ms = -1; /* libcurl sets it again if it needs it */
  act(engine, CURL_SOCKET_TIMEOUT, 0);
  take_in(engine);
}

static void act_on_event(struct ac_engine *engine, const struct epoll_event *event)
{
  int what = 0;

  if (!ac_sockets_event(&engine->sockets, event->data.fd))
    return;
  if (event->events & EPOLLIN)
    what |= CURL_CSELECT_IN;
  if (event->events & EPOLLOUT)
    what |= CURL_CSELECT_OUT;
  if (event->events & (EPOLLERR | EPOLLHUP))
    what |= CURL_CSELECT_ERR;
  act(engine, event->data.fd, what);
}

int ac_engine_run(struct ac_engine *engine, int wait_ms)
{
  struct epoll_event events[EVENTS_AT_ONCE];
  int due_ms, count;
  int interrupted = 0;

  act_on_timer(engine);
  due_ms = ac_engine_due_in_ms(engine);
  if (due_ms >= 0 && (wait_ms < 0 || due_ms < wait_ms))
    wait_ms = due_ms;
  count = epoll_wait(engine->epoll, events, EVENTS_AT_ONCE, wait_ms);
  if (count < 0)
    interrupted = 1;
  for (int i = 0; i < count; i++) {
    if (events[i].data.fd == engine->wake) {
      uint64_t times;

      interrupted = 1;
      if (read(engine->wake, &times, sizeof times) < 0)
        continue;
    } else {
      act_on_event(engine, &events[i]);
    }
  }
  if (count > 0)
    take_in(engine);
  act_on_timer(engine);
  return interrupted;
}

struct ac_call *ac_engine_next_ended(struct ac_engine *engine)
{
  struct ac_list *node = engine->ended.next;
  struct ac_transfer *t;
  struct ac_call *call;

  if (node == &engine->ended)
    return NULL;
  t = AC_LIST_ENTRY(node, struct ac_transfer, link);
  call = t->call;
  forget_call(t);
  rest(engine, t);
  engine->latest = t;
  return call;
}

void ac_engine_distrust(struct ac_engine *engine, struct ac_call *call)
{
  struct ac_transfer *t = engine->latest;

  (void)call;
  if (t && t->use.socket)
    ac_socket_distrust(t->use.socket);
}

int ac_engine_fd(const struct ac_engine *engine)
{
  return engine->epoll;
}

int ac_engine_due_in_ms(const struct ac_engine *engine)
{
  int64_t left;

  if (!ac_list_empty(&engine->ended))
    return 0;
  if (engine->timer_ms <= 0)
    return (int)engine->timer_ms;
  left = engine->timer_ms - ac_clock_ms(&real_clock);
  if (left < 0)
    return 0;
  return left > INT_MAX ? INT_MAX : (int)left;
}

void ac_engine_wake(struct ac_engine *engine)
{
  uint64_t one = 1;

  while (write(engine->wake, &one, sizeof one) < 0 && errno == EINTR)
    continue;
}
