#include "transfer.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "../base/clock.h"
#include "verdict.h"

enum {
  KEPT_ERROR_BODY_BYTES = 8 * 1024, /* of an answer that is not a 200 */
  BACKSTOP_MS = 2000,               /* libcurl's own limit comes so much later */
  MAX_AGE_CONN_S = 50,              /* servers drop idle connections at 60 s */
  MAX_LIFETIME_CONN_S = 300
};

static const char bearer[] = "Authorization: Bearer ";

static int64_t monotonic_us(void)
{
  struct timespec now;

  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* -- callbacks: our own memory and nothing else -- */

static curl_socket_t on_open(void *data, curlsocktype purpose,
                             struct curl_sockaddr *address)
{
  struct ac_transfer *t = data;
  int fd = ac_sockets_open(t->setup->sockets, address);

  (void)purpose;
  t->socket_errno = fd < 0 ? errno : 0;
  return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_close(void *data, curl_socket_t fd)
{
  ac_sockets_close(data, fd);
  return 0;
}

/* libcurl (with OpenSSL) believes the common name of a certificate that has no
   subjectAltName; browsers and authorities gave that up in 2017, and so do we.
   Asking libcurl in its callback is an exception: this answer is a pointer it
   holds already, and after the callback the token is on its way. Told only to
   the transfer that made the handshake; `out_told` 0: it was another. */
static int has_names(const struct ac_transfer *t, int *out_told)
{
  static const char label[] = "X509v3 Subject Alternative Name:";
  struct curl_certinfo *chain = NULL;

  *out_told = curl_easy_getinfo(t->easy, CURLINFO_CERTINFO, &chain) == CURLE_OK &&
              chain && chain->num_of_certs > 0;
  if (!*out_told)
    return 0;
  for (struct curl_slist *line = chain->certinfo[0]; line; line = line->next)
    if (strncmp(line->data, label, sizeof label - 1) == 0)
      return 1;
  return 0;
}

/* The connection stands and the request is about to be sent over it. A kept
   one must be silent: whatever it says now answers no question of this call,
   and libcurl would take it for the answer (until 8.0.0). A new one may be
   loud, TLS 1.3 sends its tickets there. */
static int on_request(void *data, char *remote_ip, char *local_ip,
                      int remote_port, int local_port)
{
  struct ac_transfer *t = data;
  struct ac_socket *s = ac_sockets_by_port(t->setup->sockets, local_port, remote_ip);
  int kept = s ? s->requests > 0 : !t->fresh; /* not found: better a new one */
  int told;

  (void)local_ip;
  (void)remote_port;
  if (kept && (!s || s->distrusted || ac_socket_readable(s))) {
    t->unasked = 1;
    return CURL_PREREQFUNC_ABORT;
  }
  if (!kept && t->setup->names_known && !has_names(t, &told)) {
    t->nameless = told || t->fresh;
    t->unasked = !t->nameless; /* with a handshake of its own it is told */
    return CURL_PREREQFUNC_ABORT;
  }
  if (s) {
    s->requests++;
    ac_socket_begin_use(s, &t->use);
  }
  t->call->reply.reused = (char)kept;
  t->sent = 1;
  return CURL_PREREQFUNC_OK;
}

static void take_header(const char *line, size_t length, const char *name,
                        char *out, size_t size)
{
  size_t skip = strlen(name);
  size_t end = length;

  if (length < skip || strncasecmp(line, name, skip) != 0)
    return;
  while (skip < end && (line[skip] == ' ' || line[skip] == '\t'))
    skip++;
  ac_text_clean(line + skip, end - skip, out, size);
}

static size_t on_header(char *line, size_t size, size_t count, void *data)
{
  struct ac_transfer *t = data;
  struct ac_reply *reply = &t->call->reply;
  size_t length = size * count;

  t->header_bytes += length;
  if (t->header_bytes > AC_MAX_HEADER_BYTES) {
    t->too_large = AC_MAX_HEADER_BYTES;
    return 0;
  }
  if (length > 5 && memcmp(line, "HTTP/", 5) == 0) { /* 1xx, then the answer */
    size_t i = 5;

    while (i < length && line[i] != ' ')
      i++;
    t->status = 0;
    while (i < length && line[i] == ' ')
      i++;
    while (i < length && line[i] >= '0' && line[i] <= '9' && t->status < 1000)
      t->status = t->status * 10 + (line[i++] - '0');
    reply->retry_after[0] = reply->date[0] = reply->content_encoding[0] = '\0';
    return length;
  }
  switch (line[0] | 0x20) {
  case 'r':
    take_header(line, length, "Retry-After:", reply->retry_after,
                sizeof reply->retry_after);
    break;
  case 'd':
    take_header(line, length, "Date:", reply->date, sizeof reply->date);
    break;
  case 'c':
    take_header(line, length, "Content-Encoding:", reply->content_encoding,
                sizeof reply->content_encoding);
    break;
  default:
    break;
  }
  return length;
}

/* A 200 is wanted whole or not at all. Of everything else the status is what
   counts: a start of the body is kept for its words, the rest is let pass
   while it is small (the connection stays usable), then cut. */
static size_t on_body(char *bytes, size_t size, size_t count, void *data)
{
  struct ac_transfer *t = data;
  struct ac_buffer *body = &t->call->reply.body;
  size_t length = size * count;
  size_t keep = length;

  t->body_bytes += length;
  if (t->status == 200) {
    if (t->body_bytes > AC_MAX_BODY_BYTES) {
      t->too_large = AC_MAX_BODY_BYTES;
      return 0;
    }
  } else {
    size_t room = body->length < KEPT_ERROR_BODY_BYTES
                      ? KEPT_ERROR_BODY_BYTES - body->length : 0;

    if (t->body_bytes > AC_MAX_BODY_BYTES) {
      t->cut = 1;
      return 0;
    }
    if (keep > room)
      keep = room;
  }
  if (ac_buffer_add(body, bytes, keep) != AC_OK) {
    t->no_memory = 1;
    return 0;
  }
  return length;
}

/* -- set-up -- */

/* libcurl's defaults are not ours; FALSE when one of them was refused (no
   memory: versions and options were looked at by ac_engine_library). */
static int set_once(struct ac_transfer *t)
{
  const struct ac_transfer_setup *u = t->setup;
  CURL *e = t->easy;
  const char *scheme = u->https ? "https" : "http";
  int bad = 0;

#define SET(option, value) (bad |= curl_easy_setopt(e, option, value) != CURLE_OK)
  SET(CURLOPT_PRIVATE, (char *)t);
  SET(CURLOPT_ERRORBUFFER, t->words);
  SET(CURLOPT_CURLU, t->url);

  /* the process is not ours: no signals, no environment, no files */
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_PROXY, u->proxy ? u->proxy : "");
  SET(CURLOPT_NOPROXY, "");
  SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);

  /* where it may go */
  SET(CURLOPT_PROTOCOLS_STR, scheme);
  SET(CURLOPT_REDIR_PROTOCOLS_STR, scheme);
  SET(CURLOPT_FOLLOWLOCATION, 0L);
  SET(CURLOPT_UNRESTRICTED_AUTH, 0L);
  SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  SET(CURLOPT_PATH_AS_IS, 1L);
  SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* no token to a proxy's CONNECT */
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);

  /* TLS. Debian's default directory of certificates keeps libcurl from caching
     its store: 18 ms and 238,000 allocations for each new connection. The cache of
     sessions is freed twice when memory runs out (7.88). */
  SET(CURLOPT_SSL_VERIFYPEER, 1L);
  SET(CURLOPT_SSL_VERIFYHOST, 2L);
  SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  SET(CURLOPT_CERTINFO, u->names_known ? 1L : 0L);
  SET(CURLOPT_SSL_SESSIONID_CACHE, 0L);
  SET(CURLOPT_CAPATH, NULL);
  SET(CURLOPT_PROXY_SSL_VERIFYPEER, 1L);
  SET(CURLOPT_PROXY_SSL_VERIFYHOST, 2L);
  SET(CURLOPT_PROXY_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  SET(CURLOPT_PROXY_CAPATH, NULL);
  if (u->ca_file) {
    SET(CURLOPT_CAINFO, u->ca_file);
    SET(CURLOPT_PROXY_CAINFO, u->ca_file);
  }

  /* HTTP/1.1, nothing clever: no compression, so a cut is seen */
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  SET(CURLOPT_HTTP09_ALLOWED, 0L);
  SET(CURLOPT_USERAGENT, u->user_agent);
  SET(CURLOPT_HTTPGET, 1L);

  /* Connections. QUICK_EXIT: libcurl, asked to end a transfer that is still
     looking up a name, waits for the lookup (curl#8515). */
  SET(CURLOPT_QUICK_EXIT, 1L);
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)u->connect_timeout_ms);
  SET(CURLOPT_MAXAGE_CONN, (long)MAX_AGE_CONN_S);
  SET(CURLOPT_MAXLIFETIME_CONN, (long)MAX_LIFETIME_CONN_S);
  SET(CURLOPT_TCP_KEEPALIVE, 1L);
  SET(CURLOPT_TCP_NODELAY, 1L);

  SET(CURLOPT_OPENSOCKETFUNCTION, on_open);
  SET(CURLOPT_OPENSOCKETDATA, t);
  SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
  SET(CURLOPT_CLOSESOCKETDATA, u->sockets); /* outlives the transfer */
  SET(CURLOPT_PREREQFUNCTION, on_request);
  SET(CURLOPT_PREREQDATA, t);
  SET(CURLOPT_HEADERFUNCTION, on_header);
  SET(CURLOPT_HEADERDATA, t);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  SET(CURLOPT_WRITEDATA, t);
#undef SET
  return !bad;
}

struct ac_transfer *ac_transfer_new(const struct ac_transfer_setup *setup)
{
  struct ac_transfer *t = calloc(1, sizeof *t);

  if (!t)
    return NULL;
  ac_list_init(&t->link);
  t->setup = setup;
  t->has_body = -1; /* no headers yet */
  strcpy(t->method, "GET");
  t->easy = curl_easy_init();
  t->url = curl_url_dup(setup->origin);
  if (!t->easy || !t->url || !set_once(t)) {
    ac_transfer_free(t);
    return NULL;
  }
  return t;
}

void ac_transfer_wipe(struct ac_transfer *t)
{
  if (t->token)
    ac_wipe(t->token, strlen(t->token));
}

static void drop_headers(struct ac_transfer *t)
{
  ac_transfer_wipe(t);
  curl_slist_free_all(t->headers);
  t->headers = NULL;
  t->token = NULL;
  t->has_body = -1;
}

void ac_transfer_free(struct ac_transfer *t)
{
  if (!t)
    return;
  ac_socket_end_use(&t->use);
  curl_easy_cleanup(t->easy);
  curl_url_cleanup(t->url);
  drop_headers(t);
  free(t->target);
  free(t);
}

/* -- one attempt -- */

static int add_header(struct ac_transfer *t, const char *line)
{
  struct curl_slist *longer = curl_slist_append(t->headers, line);

  if (longer)
    t->headers = longer;
  return longer != NULL;
}

static int add_token(struct ac_transfer *t, const char *token)
{
  size_t length = strlen(token);
  size_t size = sizeof bearer + length;
  char *line = malloc(size);
  struct curl_slist *last;
  int added;

  if (!line)
    return 0;
  memcpy(line, bearer, sizeof bearer - 1);
  memcpy(line + sizeof bearer - 1, token, length + 1);
  added = add_header(t, line);
  ac_wipe(line, size);
  free(line);
  if (!added)
    return 0;
  for (last = t->headers; last->next; last = last->next)
    continue;
  t->token = last->data + sizeof bearer - 1;
  return 1;
}

/* Hardly ever has anything to do: the token changes once an hour. */
static int set_headers(struct ac_transfer *t, const struct ac_call *call)
{
  int has_body = call->body != NULL;

  if (t->has_body == has_body &&
      (call->token ? t->token && strcmp(t->token, call->token) == 0 : !t->token))
    return 1;
  curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
  drop_headers(t);
  if (!add_header(t, "Accept: application/json") || !add_header(t, "Expect:") ||
      !add_header(t, has_body ? "Content-Type: application/json" : "Content-Type:") ||
      (call->token && !add_token(t, call->token)) ||
      curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) != CURLE_OK) {
    drop_headers(t);
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
    return 0;
  }
  t->has_body = has_body;
  return 1;
}

static int set_method(struct ac_transfer *t, const struct ac_call *call)
{
  CURL *e = t->easy;
  int is_get = strcmp(call->method, "GET") == 0;
  int bad = 0;

  if (is_get && !call->body && strcmp(t->method, "GET") == 0)
    return 1;
  t->method[0] = '\0'; /* unless all of it works */
#define SET(option, value) (bad |= curl_easy_setopt(e, option, value) != CURLE_OK)
  SET(CURLOPT_POSTFIELDS, NULL); /* makes it a POST, so HTTPGET comes later */
  SET(CURLOPT_CUSTOMREQUEST, NULL);
  if (call->body || strcmp(call->method, "POST") == 0 ||
      strcmp(call->method, "PUT") == 0 || strcmp(call->method, "PATCH") == 0) {
    /* without a body: Content-Length: 0 */
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(call->body ? call->body_length : 0));
    SET(CURLOPT_POSTFIELDS, call->body ? call->body : "");
    SET(CURLOPT_POST, 1L);
  } else {
    SET(CURLOPT_HTTPGET, 1L);
    if (strcmp(call->method, "HEAD") == 0)
      SET(CURLOPT_NOBODY, 1L);
  }
  if (!is_get || call->body)
    SET(CURLOPT_CUSTOMREQUEST, call->method);
#undef SET
  if (!bad && !(is_get && call->body))
    strcpy(t->method, call->method);
  return !bad;
}

static ac_kind set_target(struct ac_transfer *t, const char *full_path,
                          struct ac_error *err)
{
  size_t size = strlen(full_path) + 1;
  char *query;
  CURLUcode code;

  if (size > t->target_size) {
    char *grown = realloc(t->target, size + 128);

    if (!grown)
      return ac_error_set(err, AC_ERR_MEMORY, "no memory for a request");
    t->target = grown;
    t->target_size = size + 128;
  }
  memcpy(t->target, full_path, size);
  query = strchr(t->target, '?');
  if (query)
    *query++ = '\0';
  code = curl_url_set(t->url, CURLUPART_PATH, t->target, 0);
  if (code == CURLUE_OK)
    code = curl_url_set(t->url, CURLUPART_QUERY, query, 0);
  if (code == CURLUE_OUT_OF_MEMORY)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for a request");
  if (code != CURLUE_OK)
    return ac_error_set(err, AC_ERR_ARGUMENT, "not a path of a URL: %s",
                        curl_url_strerror(code));
  return AC_OK;
}

static long backstop_ms(const struct ac_transfer *t, const struct ac_call *call)
{
  int64_t left = t->setup->attempt_timeout_ms;

  if (call->attempt_deadline_ms > 0)
    left = call->attempt_deadline_ms - t->started_us / 1000;
  if (left < 0)
    left = 0;
  return left > INT_MAX / 2 ? INT_MAX / 2 : (long)left + BACKSTOP_MS;
}

static void begin(struct ac_transfer *t)
{
  ac_call_clear_reply(t->call);
  t->unasked = t->nameless = t->sent = t->status = 0;
  t->header_bytes = t->body_bytes = 0;
  t->no_memory = t->too_large = t->cut = t->socket_errno = 0;
  t->words[0] = '\0';
  ac_socket_end_use(&t->use);
  t->use.stray_bytes = 0;
}

ac_kind ac_transfer_prepare(struct ac_transfer *t, struct ac_call *call,
                            struct ac_error *err)
{
  ac_kind kind = set_target(t, call->full_path, err);

  if (kind != AC_OK)
    return kind;
  t->started_us = monotonic_us();
  /* libcurl sends again by itself when a kept connection turns out dead. */
  t->fresh = call->fresh || !call->idempotent;
  if (!set_headers(t, call) || !set_method(t, call) ||
      curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, backstop_ms(t, call)) ||
      curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, (long)t->fresh))
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for a request");
  t->call = call;
  t->again = 0;
  begin(t);
  return AC_OK;
}

int ac_transfer_again(struct ac_transfer *t, CURLcode result)
{
  /* libcurl 7.88 counts its own retries for the life of a handle and fails
     the sixth with these words. */
  int worn_out = result == CURLE_SEND_ERROR &&
                 strstr(t->words, "Connection died, tried") != NULL;

  if (t->again || t->fresh || !(t->unasked || worn_out))
    return 0;
  if (curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L) != CURLE_OK)
    return 0;
  t->again = t->fresh = 1;
  begin(t);
  return 1;
}

static int64_t time_us(const struct ac_transfer *t, CURLINFO what)
{
  curl_off_t us = 0;

  curl_easy_getinfo(t->easy, what, &us);
  return us > 0 ? us : 0;
}

/* libcurl (7.88) writes down when TCP was connected only once TLS is too, but
   counts the connection at once. */
static enum ac_phase phase_of(const struct ac_transfer *t, const int64_t *marks,
                              int connections)
{
  long proxy_status = 0;

  if (t->sent)
    return t->header_bytes || t->body_bytes ? AC_PHASE_BODY : AC_PHASE_FIRST_BYTE;
  if (!marks[AC_PHASE_DNS])
    return AC_PHASE_DNS;
  if (!t->setup->https || (!marks[AC_PHASE_CONNECT] && !connections))
    return AC_PHASE_CONNECT;
  curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &proxy_status);
  return t->setup->proxy && proxy_status != 200 ? AC_PHASE_CONNECT : AC_PHASE_TLS;
}

/* Fills what was measured; returns the phase the attempt was in. */
static enum ac_phase measure(struct ac_transfer *t)
{
  struct ac_reply *reply = &t->call->reply;
  int64_t spent_us = monotonic_us() - t->started_us;
  curl_off_t in = 0;
  long number = 0;
  enum ac_phase phase;
  int64_t marks[AC_PHASES], last = 0;

  marks[AC_PHASE_DNS] = time_us(t, CURLINFO_NAMELOOKUP_TIME_T);
  marks[AC_PHASE_CONNECT] = time_us(t, CURLINFO_CONNECT_TIME_T);
  marks[AC_PHASE_TLS] = t->setup->https ? time_us(t, CURLINFO_APPCONNECT_TIME_T)
                                        : marks[AC_PHASE_CONNECT];
  marks[AC_PHASE_FIRST_BYTE] = time_us(t, CURLINFO_STARTTRANSFER_TIME_T);
  marks[AC_PHASE_BODY] = spent_us;

  curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &number);
  reply->connections = (int)number;
  phase = phase_of(t, marks, reply->connections);

  for (int i = 0; i < AC_PHASES; i++) {
    reply->phase_us[i] = 0;
    if (i > (int)phase || (reply->reused && i < AC_PHASE_FIRST_BYTE))
      continue;
    if (i == (int)phase)
      marks[i] = spent_us;
    if (marks[i] > last) {
      reply->phase_us[i] = (uint32_t)(marks[i] - last); /* up to 71 minutes */
      last = marks[i];
    }
  }

  curl_easy_getinfo(t->easy, CURLINFO_SIZE_DOWNLOAD_T, &in);
  curl_easy_getinfo(t->easy, CURLINFO_HEADER_SIZE, &number);
  reply->bytes_in = in + number;
  curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &number);
  reply->bytes_out = number;
  reply->phase = phase;
  reply->sent = (char)t->sent;
  if (t->use.socket)
    t->use.socket->bytes_in += reply->bytes_in;
  return phase;
}

void ac_transfer_finish(struct ac_transfer *t, CURLcode result)
{
  struct ac_call *call = t->call;
  struct ac_outcome outcome;
  enum ac_phase phase = measure(t);
  long number = 0;

  ac_error_clear(&call->error);
  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &number);
  if (result == CURLE_OK || (result == CURLE_WRITE_ERROR && t->cut)) {
    call->reply.http_status = (int)number;
    return;
  }
  memset(&outcome, 0, sizeof outcome);
  outcome.result = result;
  outcome.words = t->words;
  curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
  outcome.os_errno = (int)number;
  outcome.socket_errno = result == CURLE_COULDNT_CONNECT ? t->socket_errno : 0;
  outcome.sent = t->sent;
  outcome.phase = phase;
  outcome.proxy = t->setup->proxy != NULL;
  number = 0;
  curl_easy_getinfo(t->easy, CURLINFO_HTTP_CONNECTCODE, &number);
  outcome.proxy_status = t->sent ? 0 : (int)number;
  outcome.nameless = t->nameless;
  outcome.no_memory = t->no_memory;
  outcome.too_large = t->too_large;
  outcome.stray_bytes = t->use.stray_bytes;
  ac_verdict(&outcome, &call->error);
  call->reply.http_status = 0; /* a status that was followed by a fault says nothing */
}

void ac_transfer_abandon(struct ac_transfer *t)
{
  measure(t);
}

void ac_transfer_rest(struct ac_transfer *t)
{
  t->call = NULL;
}
