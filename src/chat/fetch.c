#include "fetch.h"

#include <stdlib.h>
#include <string.h>

#include "queue.h"

/* The token request becomes a call of our own. */
static void begin(struct ac_client *c, int64_t now_ms)
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
    kind = ac_alarms_add(&c->alarms, call, AC_NEVER);
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

void ac_fetch_end(struct ac_client *c)
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

void ac_fetch_count_renewals(struct ac_client *c, uint32_t before)
{
  if (before > 0)
    c->stats.renewals += c->credentials.generation - before;
}

int ac_fetch_token(struct ac_client *c, int64_t now_ms)
{
  uint32_t before = c->credentials.generation;
  enum ac_token_state state =
      ac_credentials_update(&c->credentials, now_ms, c->wall_s);

  ac_fetch_count_renewals(c, before);
  if (c->credentials.fetch_due &&
      c->credentials.kind != AC_CREDENTIALS_PROVIDED && !c->fetch) {
    begin(c, now_ms);
    if (!c->credentials.fetching && state == AC_TOKEN_AWAITED)
      state = AC_TOKEN_NONE;
  }
  c->no_token = state == AC_TOKEN_NONE;
  if (c->no_token) {
    ac_queue_update_hold(c, now_ms);
    ac_queue_finish_without_token(c, now_ms);
    if (c->waiting_count[AC_BATCH] > 0)
      c->next_ms = ac_sooner(c->next_ms, c->credentials.next_fetch_ms);
    return 0;
  }
  if (state == AC_TOKEN_AWAITED &&
      c->credentials.kind == AC_CREDENTIALS_PROVIDED)
    c->next_ms = ac_sooner(c->next_ms, c->credentials.fetch_began_ms +
                                           AC_TOKEN_PROVIDER_MS);
  if (state == AC_TOKEN_USABLE)
    ac_queue_update_hold(c, now_ms);
  return state == AC_TOKEN_USABLE;
}

void ac_fetch_retry(struct ac_client *c, struct ac_call *call, int64_t now_ms)
{
  enum ac_retry_class what = ac_retry_classify(&call->error);
  int64_t wait_ms;

  if (what == AC_RETRY_THROTTLE)
    call->throttled++;
  else
    call->faults++;
  ac_retry_limit(&c->policy, c->max_attempts);
  wait_ms = ac_retry_wait_ms(&c->policy, what, call->faults, call->throttled,
                             call->error.retry_after_ms, &c->random);
  if (wait_ms >= 0 && now_ms + wait_ms < call->deadline_ms) {
    ac_queue_delay(c, call, now_ms + wait_ms);
    return;
  }
  ac_credentials_failed(&c->credentials, &call->error, now_ms);
  ac_fetch_end(c);
}
