#include "settle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fetch.h"
#include "http_date.h"
#include "outcome.h"
#include "queue.h"

static void note_event(struct ac_client *c, const struct ac_call *call,
                       int64_t now_ms)
{
  struct ac_event *event;

  if (!c->want_events)
    return;
  if (!c->events) {
    c->events = malloc(AC_MAX_EVENTS * sizeof *c->events);
    if (!c->events)
      return;
  }
  if (c->event_count == AC_MAX_EVENTS) { /* nobody listens: the oldest goes */
    c->first_event = (c->first_event + 1) % AC_MAX_EVENTS;
    c->event_count--;
  }
  event = &c->events[(c->first_event + c->event_count++) % AC_MAX_EVENTS];
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

void ac_settle_judge(struct ac_client *c, struct ac_call *call)
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
  ac_fetch_count_renewals(c, before);
}

/* This call is refused for good, with the present token. 1: so was another,
   that of another user if the app has ever worked. */
static int note_refused(struct ac_client *c, const struct ac_call *call)
{
  uint64_t user = ac_queue_who(call);

  if (c->refused_token != call->generation) {
    c->refused_token = call->generation;
    c->refused_id = call->id;
    c->refused_who = user;
    c->refused_others = 0;
  } else if (c->refused_who != user ||
             (!c->worked && c->refused_id != call->id)) {
    c->refused_others = 1;
  }
  return c->refused_others;
}

/* A 401 says what time it is there; tokens are made with it. */
static void note_date(struct ac_client *c, const struct ac_call *call)
{
  int64_t date_s;

  if (ac_http_date_s(call->reply.date, &date_s))
    ac_credentials_note_date(&c->credentials, date_s, c->wall_s);
}

/* 401: one renewal for everybody, one more attempt for each; see enum
   ac_doubt. */
static void refused(struct ac_client *c, struct ac_call *call, int64_t now_ms)
{
  struct ac_credentials *credentials = &c->credentials;
  int current, again = 0;

  note_date(c, call);
  if (!call->resent)
    again = ac_credentials_refused(credentials, call->generation, now_ms);
  if (again && call->idempotent && now_ms < call->deadline_ms) {
    call->resent = 1;
    ac_queue_wait(c, call, 1, now_ms);
    return;
  }
  if (credentials->skew_s != 0)
    snprintf(call->error.text, sizeof call->error.text,
             "this machine's clock differs from the service's (clock %+lld s)",
             (long long)-credentials->skew_s);

  current = call->generation == credentials->generation;
  if (current && credentials->from_401 && !credentials->proved &&
      c->doubt != AC_SILENT) {
    struct ac_error why = call->error;
    int others_too = note_refused(c, call);
    int alone = c->stats.in_flight == 1 && c->stats.queued == 0;

    if (c->doubt == AC_PROBING && call->batch) {
      call->resent = 0; /* held with the others, until the token is good */
      call->deadline_ms = AC_NEVER;
      ac_queue_wait(c, call, 1, now_ms);
      ac_queue_fall_silent(c, &why, now_ms);
      return;
    }
    ac_queue_finish(c, call, now_ms);
    if (c->doubt == AC_PROBING || others_too || (alone && !c->worked))
      ac_queue_fall_silent(c, &why, now_ms);
    else
      ac_queue_suspect(c, &why, now_ms);
    return;
  }
  ac_queue_finish(c, call, now_ms);
}

/* Is this fault the call's own? An outage does not eat a batch's list: its
   calls are not blamed while the service is down, nor when so many calls in a
   row have failed that it probably is - unless others have been answered since
   this one began to fail. Two that fail for themselves, with nobody left to
   succeed in between, do not make many failures. */
static int is_to_blame(const struct ac_client *c, struct ac_call *call)
{
  if (!call->batch)
    return 1;
  if (call->answers_before < 0)
    call->answers_before = c->answers;
  return c->answers > call->answers_before ||
         (!c->outage.down && (c->outage.failures <= AC_MANY_FAILURES ||
                              c->outage.failures <= call->faults + 1));
}

static void retry(struct ac_client *c, struct ac_call *call,
                  enum ac_retry_class what, int64_t now_ms)
{
  int given = call->max_attempts > 0 ? call->max_attempts : c->max_attempts;
  int64_t wait_ms;

  if (call->reply.sent && !call->idempotent) {
    ac_queue_finish(c, call, now_ms); /* it may have arrived */
    return;
  }
  if (call->batch && (c->outage.down || what == AC_RETRY_THROTTLE))
    call->deadline_ms = AC_NEVER; /* starts anew with its next turn */
  if (what == AC_RETRY_THROTTLE)
    call->throttled++;
  else if (is_to_blame(c, call))
    call->faults++;
  ac_retry_limit(&c->policy, given);
  wait_ms = ac_retry_wait_ms(&c->policy, what, call->faults, call->throttled,
                             call->error.retry_after_ms, &c->random);
  if (wait_ms < 0 || ac_later(now_ms, wait_ms) >= call->deadline_ms ||
      (c->outage.down && call->deadline_ms < c->outage.next_try_ms))
    ac_queue_finish(c, call, now_ms);
  else if (wait_ms == 0)
    ac_queue_wait_again(c, call, now_ms);
  else
    ac_queue_delay(c, call, now_ms + wait_ms);
}

void ac_settle(struct ac_client *c, struct ac_call *call, int64_t now_ms)
{
  enum ac_retry_class what = AC_RETRY_NEVER;

  if (call->error.kind != AC_OK)
    ac_credentials_hide(&c->credentials, c->fetch_token.bytes, &call->error);
  note_attempt(c, call);
  note_event(c, call, now_ms);
  c->next_ms = 0;
  if (call->internal) {
    if (call->error.kind == AC_ERR_UNAUTHORIZED)
      note_date(c, call);
    if (call->error.kind == AC_OK)
      ac_fetch_end(c);
    else
      ac_fetch_retry(c, call, now_ms);
    return;
  }
  if (call->error.kind == AC_OK) {
    ac_queue_note_answer(c, now_ms);
    ac_limiter_good(&c->limiter, now_ms);
    ac_credentials_succeeded(&c->credentials, call->generation);
    c->worked = 1;
    ac_queue_trust(c, now_ms);
    ac_queue_finish(c, call, now_ms);
    return;
  }
  what = ac_retry_classify(&call->error);
  if (what == AC_RETRY_TRANSIENT)
    ac_queue_note_failure(c, call, now_ms);
  else if (call->reply.http_status != 0)
    ac_queue_note_answer(c, now_ms);
  if (call->error.kind == AC_ERR_BAD_RESPONSE &&
      strcmp(call->error.code, "id_mismatch") == 0)
    call->distrust = 1;
  switch (what) {
  case AC_RETRY_TOKEN: refused(c, call, now_ms); break;
  case AC_RETRY_THROTTLE:
    ac_limiter_throttled(&c->limiter, now_ms);
    retry(c, call, what, now_ms);
    break;
  case AC_RETRY_TRANSIENT: retry(c, call, what, now_ms); break;
  case AC_RETRY_NEVER: ac_queue_finish(c, call, now_ms); break;
  }
}
