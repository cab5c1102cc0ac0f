#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "alarms.h"
#include "answer.h"
#include "limiter.h"
#include "outcome.h"
#include "retry.h"

static const int64_t NEVER = INT64_MAX;
static const int64_t SILENCE_MS = 5000; /* after a renewed token was refused */
static const int64_t DEFAULT_PAUSE_MS = 300000;
static const int64_t FIRST_INTERNAL_ID = INT64_C(1) << 40;

enum {
  DEFAULT_TIMEOUT_MS = 10000,
  DEFAULT_CONNECT_TIMEOUT_MS = 3000,
  DEFAULT_ATTEMPT_TIMEOUT_MS = 5000,
  DEFAULT_ATTEMPTS = 4,
  DEFAULT_THROTTLED = 8,
  DEFAULT_BACKOFF_MS = 100,
  DEFAULT_RATE_PER_S = 95,
  DEFAULT_BURST = 5,
  DEFAULT_IN_FLIGHT = 32,
  DEFAULT_QUEUE = 10000,
  SINGLES_BEFORE_A_BATCH = 4, /* a batch gets one slot in five */
  MAX_EVENTS = 1000
};

enum class { SINGLE, BATCH, CLASSES };

/* Is the present token any good? One user who always gets 401 must not silence
   the others, so a refused renewal is doubted, not believed: what is out is
   waited for, and one call at a time tells. */
enum doubt {
  TRUSTED,
  SUSPECT, /* a renewed token was refused to one call, nobody else heard yet */
  SILENT,  /* it was refused to all who tried: nothing is sent until ... */
  PROBING  /* ... one call tries again, with a new token */
};

struct ac_client {
  struct ac_address address;
  struct ac_credentials credentials;
  struct ac_limiter limiter;
  struct ac_outage outage;
  struct ac_random random;
  struct ac_retry_policy policy;
  int64_t timeout_ms, attempt_timeout_ms;
  int max_attempts; /* 0: not given */
  int max_in_flight, max_queue;

  struct ac_list waiting[CLASSES], delayed, out, done, trash;
  int64_t waiting_count[CLASSES], done_count;
  struct ac_alarms alarms; /* every call that is waiting, delayed or out */
  int singles_in_a_row;
  int64_t next_id, next_internal_id;
  int64_t next_ms; /* when ac_client_next_outgoing may have something */
  int64_t wall_s;
  struct ac_buffer full_path; /* of the call last lent */

  struct ac_call *fetch; /* the token request; NULL: none */
  int fetch_ready;       /* ... waits to be sent */
  struct ac_buffer fetch_token;

  enum doubt doubt;
  int64_t silent_until_ms;
  int refused_calls; /* distinct ones since the last success */
  int64_t refused_id;
  struct ac_error refusal;

  int no_token; /* none can be made for now */
  int held;     /* batches wait for the service or the token to come back */
  int held_out; /* one has waited as long as it may: the rest need not */

  struct ac_stats stats;
  int want_events, first_event, event_count;
  struct ac_event *events; /* a ring of MAX_EVENTS */
};

static int64_t or_default(int64_t value, int64_t fallback)
{
  return value > 0 ? value : fallback;
}

struct ac_client *ac_client_new(const struct ac_client_config *config,
                                int64_t now_ms, int64_t wall_s,
                                struct ac_error *err)
{
  struct ac_client *c = calloc(1, sizeof *c);
  double rate =
      config->rate_per_s == 0 ? DEFAULT_RATE_PER_S : config->rate_per_s;
  int fetched = config->credentials.kind == AC_CREDENTIALS_EXCHANGED ||
                config->credentials.kind == AC_CREDENTIALS_CLIENT;

  (void)now_ms;
  if (!c) {
    ac_error_set(err, AC_ERR_MEMORY, "no memory for a client");
    return NULL;
  }
  for (int i = 0; i < CLASSES; i++)
    ac_list_init(&c->waiting[i]);
  ac_list_init(&c->delayed);
  ac_list_init(&c->out);
  ac_list_init(&c->done);
  ac_list_init(&c->trash);
  ac_alarms_init(&c->alarms);
  ac_buffer_init(&c->full_path, AC_MAX_URL_BYTES + AC_MAX_PATH_BYTES);
  ac_buffer_init(&c->fetch_token, AC_TOKEN_MAX_BYTES);
  ac_random_init(&c->random, config->seed);
  ac_limiter_init(&c->limiter, rate,
                  (int)or_default(config->burst, DEFAULT_BURST));
  ac_outage_init(&c->outage);
  c->timeout_ms = or_default(config->timeout_ms, DEFAULT_TIMEOUT_MS);
  c->attempt_timeout_ms =
      or_default(config->attempt_timeout_ms, DEFAULT_ATTEMPT_TIMEOUT_MS);
  c->max_attempts = config->max_attempts;
  c->policy.backoff_ms = or_default(config->backoff_ms, DEFAULT_BACKOFF_MS);
  c->max_in_flight = (int)or_default(config->max_in_flight, DEFAULT_IN_FLIGHT);
  c->max_queue = (int)or_default(config->max_queue, DEFAULT_QUEUE);
  c->next_internal_id = FIRST_INTERNAL_ID;
  c->next_ms = NEVER;
  c->wall_s = wall_s;
  c->want_events = config->want_events;

  if (ac_address_init(&c->address, config->base_url, config->allow_http,
                      config->app_id, config->org_name, config->app_name,
                      err) != AC_OK)
    goto fail;
  if (fetched && !config->org_name) {
    ac_error_set(err, AC_ERR_ARGUMENT,
                 "credentials that are fetched from the service need org_name "
                 "and app_name");
    goto fail;
  }
  if (ac_credentials_init(&c->credentials, &config->credentials,
                          config->app_id, &c->random, err) != AC_OK)
    goto fail;
  return c;

fail:
  ac_client_free(c);
  return NULL;
}

static void free_all(struct ac_list *list)
{
  struct ac_list *node;

  while ((node = ac_list_take_front(list)) != NULL)
    ac_call_free(AC_LIST_ENTRY(node, struct ac_call, link));
}

static void empty_trash(struct ac_client *c)
{
  free_all(&c->trash);
}

void ac_client_free(struct ac_client *c)
{
  if (!c)
    return;
  for (int i = 0; i < CLASSES; i++)
    free_all(&c->waiting[i]);
  free_all(&c->delayed);
  free_all(&c->out);
  free_all(&c->done);
  free_all(&c->trash);
  ac_alarms_free(&c->alarms);
  ac_buffer_free(&c->full_path);
  ac_buffer_wipe(&c->fetch_token);
  ac_credentials_free(&c->credentials);
  ac_address_free(&c->address);
  free(c->events);
  free(c);
}

const char *ac_client_origin(const struct ac_client *c)
{
  return c->address.origin;
}

/* ---- where a call is ---------------------------------------------------- */

static int64_t sooner(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* a + b, where either may be NEVER. */
static int64_t later(int64_t a, int64_t b)
{
  return a > NEVER - b ? NEVER : a + b;
}

/* While batches are held a batch's call waits at most its max_pause_ms, from
   when the hold began for it; no longer at all once another has waited so long
   in vain. */
static void set_waiting_alarm(struct ac_client *c, struct ac_call *call,
                              int64_t now_ms)
{
  int64_t alarm_ms = call->deadline_ms;

  if (!call->batch || !c->held) {
    call->held_until_ms = 0;
  } else {
    if (call->held_until_ms == 0)
      call->held_until_ms = c->held_out
                                ? now_ms
                                : later(now_ms, or_default(call->max_pause_ms,
                                                           DEFAULT_PAUSE_MS));
    alarm_ms = sooner(alarm_ms, call->held_until_ms);
  }
  ac_alarms_move(&c->alarms, call, alarm_ms);
}

static void leave(struct ac_client *c, struct ac_call *call)
{
  ac_list_remove(&call->link);
  if (call->internal)
    return;
  if (call->state == AC_CALL_WAITING)
    c->waiting_count[call->batch ? BATCH : SINGLE]--;
  if (call->state == AC_CALL_WAITING || call->state == AC_CALL_DELAYED)
    c->stats.queued--;
  else if (call->state == AC_CALL_OUT)
    c->stats.in_flight--;
}

/* Into its queue; `front` for one that has waited its turn before. */
static void wait_in_queue(struct ac_client *c, struct ac_call *call, int front,
                          int64_t now_ms)
{
  enum class class = call->batch ? BATCH : SINGLE;

  leave(c, call);
  call->state = AC_CALL_WAITING;
  call->ready_ms = now_ms;
  if (front)
    ac_list_push_front(&c->waiting[class], &call->link);
  else
    ac_list_push_back(&c->waiting[class], &call->link);
  c->waiting_count[class]++;
  c->stats.queued++;
  set_waiting_alarm(c, call, now_ms);
  c->next_ms = 0;
}

static void wait_for_moment(struct ac_client *c, struct ac_call *call,
                            int64_t moment_ms)
{
  leave(c, call);
  call->state = AC_CALL_DELAYED;
  call->not_before_ms = moment_ms;
  ac_list_push_back(&c->delayed, &call->link);
  if (!call->internal)
    c->stats.queued++;
  ac_alarms_move(&c->alarms, call, moment_ms);
  c->next_ms = 0;
}

/* The one end of every call: call->result or call->error is set. */
static void finish(struct ac_client *c, struct ac_call *call, int64_t now_ms)
{
  leave(c, call);
  ac_alarms_remove(&c->alarms, call);
  ac_outage_forget(&c->outage, call->id);
  call->state = AC_CALL_DONE;
  call->elapsed_ms = now_ms - call->submitted_ms;
  call->token = call->full_path = NULL;
  ac_buffer_free(&call->reply.body);
  if (call->error.kind == AC_OK)
    c->stats.ok++;
  else if (call->error.kind == AC_ERR_CANCELLED)
    c->stats.cancelled++;
  else
    c->stats.failed++;
  ac_list_push_back(&c->done, &call->link);
  c->done_count++;
  c->next_ms = 0;
}

static void finish_late(struct ac_client *c, struct ac_call *call,
                        int64_t now_ms)
{
  struct ac_error last = call->error;

  if (call->attempts > 0)
    ac_error_set_code(&call->error, AC_ERR_TIMEOUT, "queue",
                      "the deadline passed before its next attempt; the last "
                      "one ended with %s%s%s",
                      ac_kind_name(last.kind), last.code[0] ? "/" : "",
                      last.code);
  else
    ac_error_set_code(&call->error, AC_ERR_TIMEOUT, "queue",
                      "the deadline passed before its turn came");
  finish(c, call, now_ms);
}

static void finish_unavailable(struct ac_client *c, struct ac_call *call,
                               int64_t now_ms)
{
  int64_t wait_ms = c->outage.next_try_ms - now_ms;

  ac_error_set(&call->error, AC_ERR_UNAVAILABLE,
               "the service has failed again and again; it is tried next in "
               "%lld ms",
               (long long)(wait_ms > 0 ? wait_ms : 0));
  finish(c, call, now_ms);
}

static void finish_unauthorized(struct ac_client *c, struct ac_call *call,
                                const struct ac_error *why, int64_t now_ms)
{
  call->error = *why;
  finish(c, call, now_ms);
}

/* ---- outages, silence, and what they do to those who wait ---------------- */

/* Calls `end` for every single call that waits or is delayed. */
static void sweep_singles(struct ac_client *c, int64_t now_ms,
                          void (*end)(struct ac_client *, struct ac_call *,
                                      int64_t))
{
  struct ac_list *lists[] = {&c->waiting[SINGLE], &c->delayed};

  for (int i = 0; i < 2; i++) {
    struct ac_list *node = lists[i]->next;

    while (node != lists[i]) {
      struct ac_call *call = AC_LIST_ENTRY(node, struct ac_call, link);

      node = node->next;
      if (!call->batch && !call->internal)
        end(c, call, now_ms);
    }
  }
}

static void end_unavailable(struct ac_client *c, struct ac_call *call,
                            int64_t now_ms)
{
  if (call->deadline_ms < c->outage.next_try_ms)
    finish_unavailable(c, call, now_ms);
}

static void end_refused(struct ac_client *c, struct ac_call *call,
                        int64_t now_ms)
{
  finish_unauthorized(c, call, &c->refusal, now_ms);
}

static void end_without_token(struct ac_client *c, struct ac_call *call,
                              int64_t now_ms)
{
  finish_unauthorized(c, call, &c->credentials.failure, now_ms);
}

/* Batches are held while nothing can come of sending them. */
static void hold(struct ac_client *c, int held, int64_t now_ms)
{
  if (held == c->held)
    return;
  c->held = held;
  c->held_out = 0;
  for (struct ac_list *node = c->waiting[BATCH].next;
       node != &c->waiting[BATCH]; node = node->next)
    set_waiting_alarm(c, AC_LIST_ENTRY(node, struct ac_call, link), now_ms);
}

static void update_hold(struct ac_client *c, int64_t now_ms)
{
  hold(c,
       c->outage.down || c->doubt == SILENT || c->doubt == PROBING ||
           c->no_token,
       now_ms);
}

static void finish_held(struct ac_client *c, struct ac_call *call,
                        int64_t now_ms)
{
  c->held_out = 1;
  if (c->outage.down)
    finish_unavailable(c, call, now_ms);
  else
    finish_unauthorized(
        c, call, c->doubt == TRUSTED ? &c->credentials.failure : &c->refusal,
        now_ms);
}

static void note_failure(struct ac_client *c, struct ac_call *call,
                         int64_t now_ms)
{
  if (ac_outage_failed(&c->outage, call->id, now_ms)) {
    update_hold(c, now_ms);
    sweep_singles(c, now_ms, end_unavailable);
  }
}

static void note_answer(struct ac_client *c, int64_t now_ms)
{
  if (c->outage.failures == 0 && !c->outage.down)
    return;
  ac_outage_answered(&c->outage);
  update_hold(c, now_ms);
}

static void fall_silent(struct ac_client *c, const struct ac_error *why,
                        int64_t now_ms)
{
  c->doubt = SILENT;
  c->silent_until_ms = now_ms + SILENCE_MS;
  ac_error_set_code(&c->refusal, AC_ERR_UNAUTHORIZED, why->code,
                    "not sent: the renewed token was refused too, and nothing "
                    "is sent for %lld ms",
                    (long long)SILENCE_MS);
  update_hold(c, now_ms);
  sweep_singles(c, now_ms, end_refused);
}

static void trust(struct ac_client *c, int64_t now_ms)
{
  c->refused_calls = 0;
  c->refused_id = 0;
  if (c->doubt == TRUSTED)
    return;
  c->doubt = TRUSTED;
  update_hold(c, now_ms);
}

/* ---- in: submit --------------------------------------------------------- */

/* Could this call's turn still come before its deadline, as far as the pace
   alone tells? */
static int too_late(const struct ac_client *c, const struct ac_call *call,
                    int64_t now_ms)
{
  int64_t ahead = c->waiting_count[SINGLE];

  if (c->waiting_count[BATCH] > 0)
    ahead += ahead / SINGLES_BEFORE_A_BATCH;
  return later(now_ms, ac_limiter_turn_ms(&c->limiter, ahead, now_ms)) >
         call->deadline_ms;
}

ac_kind ac_client_submit(struct ac_client *c, struct ac_call *call,
                         int64_t now_ms, int64_t *out_id, struct ac_error *err)
{
  int64_t timeout_ms = or_default(call->timeout_ms, c->timeout_ms);
  int late;

  if (c->stats.queued >= c->max_queue)
    return ac_error_set(err, AC_ERR_OVERLOAD, "%d calls wait already",
                        c->max_queue);
  if (ac_alarms_add(&c->alarms, call, NEVER) != AC_OK)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for another call");
  if (call->id <= 0)
    call->id = ++c->next_id;
  *out_id = call->id;
  c->stats.accepted++;
  call->submitted_ms = now_ms;
  call->deadline_ms = call->batch ? NEVER : now_ms + timeout_ms;
  late = !call->batch && too_late(c, call, now_ms);
  wait_in_queue(c, call, 0, now_ms);
  if (call->batch)
    return AC_OK;

  if (c->doubt == SILENT && now_ms < c->silent_until_ms) {
    finish_unauthorized(c, call, &c->refusal, now_ms);
  } else if (c->outage.down && call->deadline_ms < c->outage.next_try_ms) {
    finish_unavailable(c, call, now_ms);
  } else if (late) {
    ac_error_set_code(&call->error, AC_ERR_TIMEOUT, "queue",
                      "its turn would come after its deadline");
    finish(c, call, now_ms);
  }
  return AC_OK;
}

void ac_client_set_wall(struct ac_client *c, int64_t now_ms, int64_t wall_s)
{
  (void)now_ms;
  c->wall_s = wall_s;
}

/* ---- out: what may be sent now ------------------------------------------ */

static void lend(struct ac_client *c, struct ac_call *call, const char *token,
                 int64_t now_ms)
{
  int64_t attempt_ms =
      or_default(call->attempt_timeout_ms, c->attempt_timeout_ms);

  if (!call->internal)
    c->stats.queue_us += (now_ms - call->ready_ms) * 1000;
  leave(c, call);
  call->state = AC_CALL_OUT;
  ac_list_push_back(&c->out, &call->link);
  if (!call->internal)
    c->stats.in_flight++;
  call->attempts++;
  call->tries++;
  c->stats.attempts++;
  if (call->attempts > 1)
    c->stats.retries++;
  if (call->deadline_ms == NEVER) /* a batch's call: its turn has come */
    call->deadline_ms = now_ms + or_default(call->timeout_ms, c->timeout_ms);
  call->sent_ms = now_ms;
  call->attempt_deadline_ms = sooner(now_ms + attempt_ms, call->deadline_ms);
  call->token = token;
  call->full_path = c->full_path.bytes;
  call->distrust = 0;
  if (!call->idempotent)
    call->fresh = 1; /* libcurl resends on a dead kept connection */
  ac_call_clear_reply(call);
  ac_error_clear(&call->error);
  ac_alarms_move(&c->alarms, call, call->attempt_deadline_ms);
}

static int compose_path(struct ac_client *c, const struct ac_call *call)
{
  ac_buffer_clear(&c->full_path);
  return ac_buffer_add_text(&c->full_path, c->address.prefix) == AC_OK &&
         ac_buffer_add_text(&c->full_path, call->path) == AC_OK;
}

/* The token request becomes a call of our own. */
static void begin_fetch(struct ac_client *c, int64_t now_ms)
{
  static const char path[] = "/token";
  struct ac_error err;
  struct ac_buffer body;
  struct ac_call *call = ac_call_new();
  ac_kind kind = AC_ERR_MEMORY;

  c->credentials.fetch_due = 0;
  ac_buffer_init(&body, AC_MAX_REQUEST_BODY_BYTES);
  ac_buffer_wipe(&c->fetch_token);
  ac_error_set(&err, AC_ERR_MEMORY, "no memory for a token request");
  if (call && (call->path = malloc(sizeof path)) != NULL) {
    memcpy(call->path, path, sizeof path);
    kind = ac_credentials_fetch_request(&c->credentials, c->wall_s, &body,
                                        &c->fetch_token, &err);
  }
  if (kind == AC_OK) {
    kind = ac_alarms_add(&c->alarms, call, NEVER);
    if (kind != AC_OK)
      ac_error_set(&err, kind, "no memory for a token request");
  }
  if (kind != AC_OK) {
    ac_buffer_wipe(&body);
    ac_call_free(call);
    ac_credentials_failed(&c->credentials, &err, now_ms);
    return;
  }
  call->internal = 1;
  call->idempotent = 1; /* a token too many does no harm */
  call->id = ++c->next_internal_id;
  memcpy(call->method, "POST", sizeof "POST");
  call->body = body.bytes;
  call->body_length = body.length;
  call->submitted_ms = now_ms;
  call->deadline_ms = now_ms + c->timeout_ms;
  call->state = AC_CALL_WAITING;
  c->fetch = call;
  c->fetch_ready = 1;
}

/* The request is over; the call itself is freed when nobody looks at it. */
static void end_fetch(struct ac_client *c)
{
  struct ac_call *call = c->fetch;

  ac_alarms_remove(&c->alarms, call);
  ac_list_remove(&call->link);
  if (call->body)
    ac_wipe(call->body, call->body_length);
  if (call->reply.body.bytes)
    ac_wipe(call->reply.body.bytes, call->reply.body.capacity);
  ac_buffer_wipe(&c->fetch_token);
  call->token = NULL;
  call->state = AC_CALL_DONE;
  ac_list_push_back(&c->trash, &call->link);
  c->fetch = NULL;
  c->fetch_ready = 0;
  c->next_ms = 0;
}

static void count_renewals(struct ac_client *c, uint32_t before)
{
  if (before > 0)
    c->stats.renewals += c->credentials.generation - before;
}

/* 1 when a call may go as far as the token is concerned. */
static int have_token(struct ac_client *c, int64_t now_ms)
{
  uint32_t before = c->credentials.generation;
  enum ac_token_state state =
      ac_credentials_update(&c->credentials, now_ms, c->wall_s);

  count_renewals(c, before);
  if (c->credentials.fetch_due &&
      c->credentials.kind != AC_CREDENTIALS_PROVIDED && !c->fetch) {
    begin_fetch(c, now_ms);
    if (!c->credentials.fetching && state == AC_TOKEN_AWAITED)
      state = AC_TOKEN_NONE;
  }
  c->no_token = state == AC_TOKEN_NONE;
  if (c->no_token) {
    update_hold(c, now_ms);
    sweep_singles(c, now_ms, end_without_token);
    if (c->waiting_count[BATCH] > 0)
      c->next_ms = sooner(c->next_ms, c->credentials.next_fetch_ms);
    return 0;
  }
  if (state == AC_TOKEN_AWAITED &&
      c->credentials.kind == AC_CREDENTIALS_PROVIDED)
    c->next_ms = sooner(c->next_ms,
                        c->credentials.fetch_began_ms + AC_TOKEN_PROVIDER_MS);
  if (state == AC_TOKEN_USABLE)
    update_hold(c, now_ms);
  return state == AC_TOKEN_USABLE;
}

/* Single calls first; while both wait a batch gets one slot in five. */
static struct ac_call *next_in_line(struct ac_client *c)
{
  enum class class = SINGLE;

  if (c->waiting_count[BATCH] > 0 &&
      (c->waiting_count[SINGLE] == 0 ||
       c->singles_in_a_row >= SINGLES_BEFORE_A_BATCH))
    class = BATCH;
  c->singles_in_a_row = class == SINGLE && c->waiting_count[BATCH] > 0
                            ? c->singles_in_a_row + 1
                            : 0;
  return AC_LIST_ENTRY(c->waiting[class].next, struct ac_call, link);
}

struct ac_call *ac_client_next_outgoing(struct ac_client *c, int64_t now_ms)
{
  struct ac_call *call;
  int64_t wait_ms;
  int may_go;

  empty_trash(c);
  c->next_ms = NEVER;
  if (c->waiting_count[SINGLE] + c->waiting_count[BATCH] == 0 && !c->fetch)
    return NULL;

  if (c->doubt == SILENT) {
    if (now_ms < c->silent_until_ms) {
      c->next_ms = c->silent_until_ms;
      return NULL;
    }
    c->doubt = PROBING;
    ac_credentials_renew(&c->credentials);
  }
  may_go = have_token(c, now_ms);
  if (c->fetch_ready && compose_path(c, c->fetch)) {
    c->fetch_ready = 0;
    lend(c, c->fetch, c->fetch_token.bytes, now_ms);
    c->next_ms = 0; /* there may be more to send */
    return c->fetch;
  }
  if (!may_go || c->waiting_count[SINGLE] + c->waiting_count[BATCH] == 0 ||
      c->stats.in_flight >= c->max_in_flight)
    return NULL;
  if (c->doubt != TRUSTED && c->stats.in_flight > 0)
    return NULL; /* one at a time tells */
  if (c->outage.down) {
    if (c->outage.probe_id)
      return NULL;
    if (now_ms < c->outage.next_try_ms) {
      c->next_ms = c->outage.next_try_ms;
      return NULL;
    }
  }
  wait_ms = ac_limiter_take(&c->limiter, now_ms);
  if (wait_ms > 0) {
    c->next_ms = now_ms + wait_ms;
    return NULL;
  }
  call = next_in_line(c);
  if (!compose_path(c, call)) {
    ac_error_set(&call->error, AC_ERR_MEMORY, "no memory for a request");
    finish(c, call, now_ms);
    return NULL;
  }
  if (c->outage.down)
    c->outage.probe_id = call->id;
  call->generation = c->credentials.generation;
  lend(c, call, c->credentials.token.bytes, now_ms);
  c->next_ms = 0;
  return call;
}

/* ---- back: what an attempt means ---------------------------------------- */

static void note_event(struct ac_client *c, const struct ac_call *call,
                       int64_t now_ms)
{
  struct ac_event *event;

  if (!c->want_events)
    return;
  if (!c->events) {
    c->events = malloc(MAX_EVENTS * sizeof *c->events);
    if (!c->events)
      return;
  }
  if (c->event_count == MAX_EVENTS) { /* nobody listens: the oldest goes */
    c->first_event = (c->first_event + 1) % MAX_EVENTS;
    c->event_count--;
  }
  event = &c->events[(c->first_event + c->event_count++) % MAX_EVENTS];
  event->operation = ac_call_operation(call);
  event->attempt = call->attempts;
  event->kind = call->error.kind;
  memcpy(event->code, call->error.code, sizeof event->code);
  event->http_status = call->reply.http_status;
  event->elapsed_ms = now_ms - call->sent_ms;
  event->reused = call->reply.reused;
}

static void note_attempt(struct ac_client *c, const struct ac_call *call)
{
  c->stats.connections += call->reply.connections;
  c->stats.bytes_in += call->reply.bytes_in;
  c->stats.bytes_out += call->reply.bytes_out;
  for (int i = 0; i < AC_PHASES; i++)
    c->stats.phase_us[i] += call->reply.phase_us[i];
}

/* A whole HTTP answer came: into call->result or call->error. */
static void judge(struct ac_client *c, struct ac_call *call)
{
  struct ac_slice body = {call->reply.body.bytes, call->reply.body.length};
  uint32_t before = c->credentials.generation;

  if (ac_outcome_refusal(call, c->wall_s))
    return;
  if (!call->internal) {
    ac_outcome_result(call);
    return;
  }
  if (ac_credentials_fetch_answer(&c->credentials, body, call->sent_ms,
                                  c->wall_s, &call->error) != AC_OK)
    call->error.http_status = 200;
  count_renewals(c, before);
}

/* A failed attempt of the client's own token request. */
static void retry_fetch(struct ac_client *c, struct ac_call *call,
                        int64_t now_ms)
{
  enum ac_retry_class what = ac_retry_classify(&call->error);
  int64_t wait_ms;

  c->policy.max_attempts = c->policy.max_throttled =
      (int)or_default(c->max_attempts, DEFAULT_ATTEMPTS);
  wait_ms = ac_retry_wait_ms(&c->policy, what, call->tries, call->throttled,
                             call->error.retry_after_ms, &c->random);
  if (wait_ms >= 0 && now_ms + wait_ms < call->deadline_ms) {
    wait_for_moment(c, call, now_ms + wait_ms);
    return;
  }
  ac_credentials_failed(&c->credentials, &call->error, now_ms);
  end_fetch(c);
}

/* 401: one renewal for everybody, one more attempt for each; see enum doubt. */
static void refused(struct ac_client *c, struct ac_call *call, int64_t now_ms)
{
  struct ac_credentials *credentials = &c->credentials;
  int current, again = 0;
  int64_t date_s = 0;

  (void)ac_http_date_s(call->reply.date, &date_s);
  if (c->refused_id != call->id) {
    c->refused_id = call->id;
    c->refused_calls++;
  }
  if (!call->resent)
    again = ac_credentials_refused(credentials, call->generation, date_s,
                                   now_ms, c->wall_s);
  if (again && call->idempotent && now_ms < call->deadline_ms) {
    call->resent = 1;
    call->tries--; /* the resend after a renewal is not counted */
    wait_in_queue(c, call, 1, now_ms);
    return;
  }
  if (credentials->skew_s != 0)
    snprintf(call->error.text, sizeof call->error.text,
             "this machine's clock differs from the service's (clock %+lld s)",
             (long long)-credentials->skew_s);

  current = call->generation == credentials->generation;
  if (current && credentials->from_401 && !credentials->proved &&
      c->doubt != SILENT) {
    struct ac_error why = call->error;
    int64_t others = c->stats.in_flight - 1;
    int waiting = c->stats.queued > 0;

    if (c->doubt == PROBING && call->batch) {
      call->resent = 0; /* held with the others, until the token is good */
      call->tries--;
      call->deadline_ms = NEVER;
      wait_in_queue(c, call, 1, now_ms);
      fall_silent(c, &why, now_ms);
      return;
    }
    finish(c, call, now_ms);
    if (c->doubt == PROBING || c->refused_calls > 1 ||
        (others == 0 && !waiting))
      fall_silent(c, &why, now_ms);
    else
      c->doubt = SUSPECT;
    return;
  }
  finish(c, call, now_ms);
}

static void retry(struct ac_client *c, struct ac_call *call,
                  enum ac_retry_class what, int64_t now_ms)
{
  int given = call->max_attempts > 0 ? call->max_attempts : c->max_attempts;
  int64_t wait_ms;

  if (call->reply.sent && !call->idempotent) {
    finish(c, call, now_ms); /* it may have arrived */
    return;
  }
  if (call->batch && (c->outage.down || what == AC_RETRY_THROTTLE))
    call->deadline_ms = NEVER; /* starts anew with its next turn */
  if (call->batch && c->outage.down && what == AC_RETRY_TRANSIENT)
    call->tries--; /* an outage does not eat the list */
  c->policy.max_attempts = given > 0 ? given : DEFAULT_ATTEMPTS;
  c->policy.max_throttled = given > 0 ? given : DEFAULT_THROTTLED;
  wait_ms = ac_retry_wait_ms(
      &c->policy, what, call->tries > 0 ? call->tries : 1, call->throttled,
      call->error.retry_after_ms, &c->random);
  if (wait_ms < 0 || later(now_ms, wait_ms) >= call->deadline_ms ||
      (c->outage.down && call->deadline_ms < c->outage.next_try_ms))
    finish(c, call, now_ms);
  else if (wait_ms == 0)
    wait_in_queue(c, call, 1, now_ms);
  else
    wait_for_moment(c, call, now_ms + wait_ms);
}

/* After an attempt: call->error says how it went. */
static void settle(struct ac_client *c, struct ac_call *call, int64_t now_ms)
{
  enum ac_retry_class what = AC_RETRY_NEVER;

  note_attempt(c, call);
  note_event(c, call, now_ms);
  c->next_ms = 0;
  if (call->internal) {
    if (call->error.kind == AC_ERR_RATE_LIMITED)
      call->throttled++;
    if (call->error.kind == AC_OK)
      end_fetch(c);
    else
      retry_fetch(c, call, now_ms);
    return;
  }
  if (call->error.kind == AC_OK) {
    note_answer(c, now_ms);
    ac_limiter_good(&c->limiter, now_ms);
    ac_credentials_succeeded(&c->credentials, call->generation);
    trust(c, now_ms);
    finish(c, call, now_ms);
    return;
  }
  what = ac_retry_classify(&call->error);
  if (what == AC_RETRY_TRANSIENT)
    note_failure(c, call, now_ms);
  else if (call->reply.http_status != 0)
    note_answer(c, now_ms);
  ac_outage_forget(&c->outage, call->id);
  if (call->error.kind == AC_ERR_BAD_RESPONSE &&
      strcmp(call->error.code, "id_mismatch") == 0)
    call->distrust = 1;
  switch (what) {
  case AC_RETRY_TOKEN: refused(c, call, now_ms); break;
  case AC_RETRY_THROTTLE:
    call->throttled++;
    ac_limiter_throttled(&c->limiter, now_ms);
    retry(c, call, what, now_ms);
    break;
  case AC_RETRY_TRANSIENT: retry(c, call, what, now_ms); break;
  case AC_RETRY_NEVER: finish(c, call, now_ms); break;
  }
}

void ac_client_deliver(struct ac_client *c, struct ac_call *call,
                       int64_t now_ms)
{
  call->fresh = 0;
  if (call->error.kind == AC_OK)
    judge(c, call);
  else if (call->error.kind == AC_ERR_TIMEOUT)
    call->fresh = 1; /* a half-open connection would hang again */
  settle(c, call, now_ms);
}

struct ac_call *ac_client_next_overdue(struct ac_client *c, int64_t now_ms)
{
  struct ac_call *call;

  while ((call = ac_alarms_first(&c->alarms)) != NULL &&
         call->alarm_ms <= now_ms) {
    if (call->state == AC_CALL_OUT) {
      ac_alarms_move(&c->alarms, call, NEVER); /* not twice */
      return call;
    }
    if (call->state == AC_CALL_DELAYED && call->internal) {
      leave(c, call);
      call->state = AC_CALL_WAITING;
      ac_alarms_move(&c->alarms, call, NEVER);
      c->fetch_ready = 1;
      c->next_ms = 0;
    } else if (call->state == AC_CALL_DELAYED) {
      wait_in_queue(c, call, 1, now_ms);
    } else if (call->deadline_ms <= now_ms) {
      finish_late(c, call, now_ms);
    } else {
      finish_held(c, call, now_ms);
    }
  }
  return NULL;
}

void ac_client_give_up(struct ac_client *c, struct ac_call *call,
                       int64_t now_ms)
{
  const char *phase = ac_phase_names[call->reply.phase];
  int64_t after_ms = now_ms - call->sent_ms;

  ac_error_set_code(&call->error, AC_ERR_TIMEOUT, phase,
                    "no whole answer within %lld ms", (long long)after_ms);
  call->reply.http_status = 0;
  call->fresh = 1;
  settle(c, call, now_ms);
}

/* ---- the rest ----------------------------------------------------------- */

static struct ac_call *find(const struct ac_client *c, int64_t id)
{
  for (size_t i = 0; i < c->alarms.count; i++)
    if (c->alarms.heap[i]->id == id)
      return c->alarms.heap[i];
  return NULL;
}

struct ac_call *ac_client_cancel(struct ac_client *c, int64_t id,
                                 int64_t now_ms)
{
  struct ac_call *call = find(c, id);
  int out;

  if (!call || call->internal)
    return NULL;
  out = call->state == AC_CALL_OUT;
  ac_error_set(&call->error, AC_ERR_CANCELLED, "cancelled by the program");
  finish(c, call, now_ms);
  return out ? call : NULL;
}

struct ac_call *ac_client_close_next(struct ac_client *c, int64_t now_ms)
{
  while (c->alarms.count > 0) {
    struct ac_call *call = c->alarms.heap[c->alarms.count - 1];
    int out = call->state == AC_CALL_OUT;

    if (call->internal) {
      end_fetch(c);
    } else {
      ac_error_set(&call->error, AC_ERR_CLOSED, "the client was closed");
      finish(c, call, now_ms);
    }
    if (out)
      return call;
  }
  return NULL;
}

struct ac_call *ac_client_take_done(struct ac_client *c)
{
  struct ac_list *node = ac_list_take_front(&c->done);

  if (!node)
    return NULL;
  c->done_count--;
  return AC_LIST_ENTRY(node, struct ac_call, link);
}

int ac_client_due_in_ms(const struct ac_client *c, int64_t now_ms)
{
  const struct ac_call *first = ac_alarms_first(&c->alarms);
  int64_t at_ms = c->next_ms;

  if (first)
    at_ms = sooner(at_ms, first->alarm_ms);
  if (at_ms == NEVER)
    return -1;
  if (at_ms <= now_ms)
    return 0;
  return at_ms - now_ms < INT32_MAX ? (int)(at_ms - now_ms) : INT32_MAX;
}

ac_kind ac_client_set_token(struct ac_client *c, struct ac_slice token,
                            int64_t ttl_s, int64_t now_ms,
                            struct ac_error *err)
{
  uint32_t before = c->credentials.generation;
  ac_kind kind = ac_credentials_put(&c->credentials, token, ttl_s * 1000,
                                    now_ms, c->wall_s, err);

  if (kind != AC_OK)
    return kind;
  if (c->credentials.kind != AC_CREDENTIALS_FIXED)
    count_renewals(c, before);
  if (c->doubt == SILENT || c->doubt == SUSPECT)
    trust(c, now_ms);
  c->next_ms = 0;
  return AC_OK;
}

ac_kind ac_client_check_token(struct ac_slice token, struct ac_error *err)
{
  return ac_credentials_check_token(token, err);
}

int ac_client_wants_token(struct ac_client *c, int64_t now_ms)
{
  (void)now_ms;
  if (c->credentials.kind != AC_CREDENTIALS_PROVIDED ||
      !c->credentials.fetch_due)
    return 0;
  c->credentials.fetch_due = 0;
  return 1;
}

void ac_client_token_failed(struct ac_client *c, const char *message,
                            int64_t now_ms)
{
  struct ac_error cause;

  if (!c->credentials.fetching)
    return; /* too late: it was given up, or another token came */
  ac_error_set(&cause, AC_ERR_UNAUTHORIZED, "%s", message);
  ac_credentials_failed(&c->credentials, &cause, now_ms);
  c->next_ms = 0;
}

int64_t ac_client_pending(const struct ac_client *c)
{
  return c->stats.in_flight + c->stats.queued + c->done_count;
}

void ac_client_stats(const struct ac_client *c, struct ac_stats *out)
{
  *out = c->stats;
  out->rate_per_s = c->limiter.rate_per_s > 0 ? c->limiter.rate_per_s : -1;
}

int ac_client_next_event(struct ac_client *c, struct ac_event *out)
{
  if (c->event_count == 0)
    return 0;
  *out = c->events[c->first_event];
  c->first_event = (c->first_event + 1) % MAX_EVENTS;
  c->event_count--;
  return 1;
}
