#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client_state.h"
#include "fetch.h"
#include "queue.h"
#include "settle.h"

static const int64_t FIRST_INTERNAL_ID = INT64_C(1) << 40;

struct ac_client *ac_client_new(const struct ac_client_config *config,
                                int64_t now_ms, int64_t wall_s,
                                struct ac_error *err)
{
  struct ac_client *c = calloc(1, sizeof *c);
  double rate =
      config->rate_per_s == 0 ? AC_DEFAULT_RATE_PER_S : config->rate_per_s;
  int fetched = config->credentials.kind == AC_CREDENTIALS_EXCHANGED ||
                config->credentials.kind == AC_CREDENTIALS_CLIENT;

  (void)now_ms;
  if (!c) {
    ac_error_set(err, AC_ERR_MEMORY, "no memory for a client");
    return NULL;
  }
  for (int i = 0; i < AC_CLASSES; i++)
    ac_list_init(&c->waiting[i]);
  ac_list_init(&c->delayed);
  ac_list_init(&c->out);
  ac_list_init(&c->done);
  ac_list_init(&c->trash);
  ac_alarms_init(&c->alarms);
  ac_index_init(&c->index);
  ac_buffer_init(&c->full_path, AC_MAX_URL_BYTES + AC_MAX_PATH_BYTES);
  ac_buffer_init(&c->fetch_token, AC_TOKEN_MAX_BYTES);
  ac_random_init(&c->random, config->seed);
  ac_limiter_init(&c->limiter, rate,
                  (int)ac_or_default(config->burst, AC_DEFAULT_BURST));
  ac_outage_init(&c->outage);
  c->timeout_ms = ac_or_default(config->timeout_ms, AC_DEFAULT_TIMEOUT_MS);
  c->attempt_timeout_ms =
      ac_or_default(config->attempt_timeout_ms, AC_DEFAULT_ATTEMPT_TIMEOUT_MS);
  c->max_attempts = config->max_attempts;
  c->policy.backoff_ms =
      ac_or_default(config->backoff_ms, AC_DEFAULT_BACKOFF_MS);
  c->max_in_flight =
      (int)ac_or_default(config->max_in_flight, AC_DEFAULT_IN_FLIGHT);
  c->max_queue = (int)ac_or_default(config->max_queue, AC_DEFAULT_QUEUE);
  c->next_internal_id = FIRST_INTERNAL_ID;
  c->next_ms = AC_NEVER;
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

void ac_client_free(struct ac_client *c)
{
  if (!c)
    return;
  for (int i = 0; i < AC_CLASSES; i++)
    free_all(&c->waiting[i]);
  free_all(&c->delayed);
  free_all(&c->out);
  free_all(&c->done);
  free_all(&c->trash);
  ac_alarms_free(&c->alarms);
  ac_index_free(&c->index);
  ac_buffer_free(&c->full_path);
  ac_client_forget(c);
  ac_address_free(&c->address);
  free(c->events);
  free(c);
}

const char *ac_client_origin(const struct ac_client *c)
{
  return c->address.origin;
}

/* ---- in: submit --------------------------------------------------------- */

/* Where every call is that has not ended. The call has its id. */
static ac_kind keep(struct ac_client *c, struct ac_call *call)
{
  if (ac_index_add(&c->index, call) != AC_OK)
    return AC_ERR_MEMORY;
  if (ac_alarms_add(&c->alarms, call, AC_NEVER) == AC_OK)
    return AC_OK;
  ac_index_remove(&c->index, call);
  return AC_ERR_MEMORY;
}

/* Could this call's turn still come before its deadline, as far as the pace
   alone tells? */
static int too_late(const struct ac_client *c, const struct ac_call *call,
                    int64_t now_ms)
{
  int64_t ahead = c->waiting_count[AC_SINGLE];

  if (c->waiting_count[AC_BATCH] > 0)
    ahead += ahead / AC_SINGLES_BEFORE_A_BATCH;
  return ac_later(now_ms, ac_limiter_turn_ms(&c->limiter, ahead, now_ms)) >=
         call->deadline_ms;
}

ac_kind ac_client_submit(struct ac_client *c, struct ac_call *call,
                         int64_t now_ms, int64_t *out_id, struct ac_error *err)
{
  int64_t timeout_ms = ac_or_default(call->timeout_ms, c->timeout_ms);
  int late;

  if (c->stats.queued >= c->max_queue)
    return ac_error_set(err, AC_ERR_OVERLOAD, "%d calls wait already",
                        c->max_queue);
  if (call->id <= 0)
    call->id = ++c->next_id;
  if (keep(c, call) != AC_OK)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for another call");
  *out_id = call->id;
  c->stats.accepted++;
  call->submitted_ms = now_ms;
  call->answers_before = -1;
  call->deadline_ms = call->batch ? AC_NEVER : now_ms + timeout_ms;
  late = !call->batch && too_late(c, call, now_ms);
  ac_queue_wait(c, call, 0, now_ms);
  if (call->batch)
    return AC_OK;

  if (ac_queue_is_silenced(c, call, now_ms)) {
    ac_queue_finish_unauthorized(c, call, &c->refusal, now_ms);
  } else if (c->outage.down && call->deadline_ms < c->outage.next_try_ms) {
    ac_queue_finish_unavailable(c, call, now_ms);
  } else if (late) {
    ac_error_set_code(&call->error, AC_ERR_TIMEOUT, "queue",
                      "its turn would come after its deadline");
    ac_queue_finish(c, call, now_ms);
  }
  return AC_OK;
}

void ac_client_set_wall(struct ac_client *c, int64_t now_ms, int64_t wall_s)
{
  (void)now_ms;
  c->wall_s = wall_s;
}

/* ---- out: what may be sent now ------------------------------------------ */

static int compose_path(struct ac_client *c, const struct ac_call *call)
{
  ac_buffer_clear(&c->full_path);
  return ac_buffer_add_text(&c->full_path, c->address.prefix) == AC_OK &&
         ac_buffer_add_text(&c->full_path, call->path) == AC_OK;
}

/* Single calls first; while both wait a batch gets one slot in five. */
static struct ac_call *next_in_line(struct ac_client *c)
{
  enum ac_class class = AC_SINGLE;

  if (c->waiting_count[AC_BATCH] > 0 &&
      (c->waiting_count[AC_SINGLE] == 0 ||
       c->singles_in_a_row >= AC_SINGLES_BEFORE_A_BATCH))
    class = AC_BATCH;
  c->singles_in_a_row = class == AC_SINGLE && c->waiting_count[AC_BATCH] > 0
                            ? c->singles_in_a_row + 1
                            : 0;
  return AC_LIST_ENTRY(c->waiting[class].next, struct ac_call, link);
}

struct ac_call *ac_client_next_outgoing(struct ac_client *c, int64_t now_ms)
{
  struct ac_call *call;
  int64_t wait_ms;
  int may_go;

  free_all(&c->trash);
  c->next_ms = AC_NEVER;
  if (c->waiting_count[AC_SINGLE] + c->waiting_count[AC_BATCH] == 0 &&
      !c->fetch)
    return NULL;

  if (c->doubt == AC_SILENT) {
    if (now_ms < c->silent_until_ms) {
      c->next_ms = c->silent_until_ms;
      return NULL;
    }
    c->doubt = AC_PROBING;
    ac_credentials_renew(&c->credentials);
  }
  may_go = ac_fetch_token(c, now_ms);
  if (c->fetch_ready && !compose_path(c, c->fetch)) {
    ac_error_set(&c->fetch->error, AC_ERR_MEMORY, "no memory for a request");
    ac_fetch_retry(c, c->fetch, now_ms);
    return NULL;
  }
  if (c->fetch_ready) {
    c->fetch_ready = 0;
    ac_queue_lend(c, c->fetch, c->fetch_token.bytes, now_ms);
    c->next_ms = 0; /* there may be more to send */
    return c->fetch;
  }
  if (!may_go ||
      c->waiting_count[AC_SINGLE] + c->waiting_count[AC_BATCH] == 0 ||
      c->stats.in_flight >= c->max_in_flight)
    return NULL;
  if (c->doubt != AC_TRUSTED && c->stats.in_flight > 0)
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
    ac_queue_finish(c, call, now_ms);
    return NULL;
  }
  if (c->outage.down)
    c->outage.probe_id = call->id;
  call->generation = c->credentials.generation;
  ac_queue_lend(c, call, c->credentials.token.bytes, now_ms);
  c->next_ms = 0;
  return call;
}

void ac_client_deliver(struct ac_client *c, struct ac_call *call,
                       int64_t now_ms)
{
  call->fresh = 0;
  if (call->error.kind == AC_OK)
    ac_settle_judge(c, call);
  else if (call->error.kind == AC_ERR_TIMEOUT)
    call->fresh = 1; /* a half-open connection would hang again */
  ac_settle(c, call, now_ms);
}

struct ac_call *ac_client_next_overdue(struct ac_client *c, int64_t now_ms)
{
  struct ac_call *call;

  while ((call = ac_alarms_first(&c->alarms)) != NULL &&
         call->alarm_ms <= now_ms) {
    if (call->state == AC_CALL_OUT) {
      ac_alarms_move(&c->alarms, call, AC_NEVER); /* not twice */
      return call;
    }
    if (call->state == AC_CALL_DELAYED && call->internal) {
      ac_list_remove(&call->link);
      call->state = AC_CALL_WAITING;
      ac_alarms_move(&c->alarms, call, AC_NEVER);
      c->fetch_ready = 1;
      c->next_ms = 0;
    } else if (call->state == AC_CALL_DELAYED) {
      ac_queue_wait_again(c, call, now_ms);
    } else if (call->deadline_ms <= now_ms) {
      ac_queue_finish_late(c, call, now_ms);
    } else {
      ac_queue_finish_held(c, call, now_ms);
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
  ac_settle(c, call, now_ms);
}

/* ---- the rest ----------------------------------------------------------- */

struct ac_call *ac_client_cancel(struct ac_client *c, int64_t id,
                                 int64_t now_ms)
{
  struct ac_call *call = ac_index_find(&c->index, id);
  int out;

  if (!call)
    return NULL;
  out = call->state == AC_CALL_OUT;
  ac_error_set(&call->error, AC_ERR_CANCELLED, "cancelled by the program");
  ac_queue_finish(c, call, now_ms);
  return out ? call : NULL;
}

struct ac_call *ac_client_close_next(struct ac_client *c, int64_t now_ms)
{
  while (c->alarms.count > 0) {
    struct ac_call *call = c->alarms.heap[c->alarms.count - 1];
    int out = call->state == AC_CALL_OUT;

    if (call->internal) {
      ac_fetch_end(c);
    } else {
      ac_error_set(&call->error, AC_ERR_CLOSED, "the client was closed");
      ac_queue_finish(c, call, now_ms);
    }
    if (out)
      return call;
  }
  return NULL;
}

void ac_client_forget(struct ac_client *c)
{
  ac_buffer_wipe(&c->fetch_token);
  ac_credentials_free(&c->credentials);
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
    at_ms = ac_sooner(at_ms, first->alarm_ms);
  if (at_ms == AC_NEVER)
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
    ac_fetch_count_renewals(c, before);
  if (c->doubt == AC_SILENT || c->doubt == AC_SUSPECT)
    ac_queue_trust(c, now_ms);
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
  c->first_event = (c->first_event + 1) % AC_MAX_EVENTS;
  c->event_count--;
  return 1;
}
