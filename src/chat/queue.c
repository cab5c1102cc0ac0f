#include "queue.h"

static const int64_t SILENCE_MS = 5000; /* after a renewed token was refused */
static const int64_t DEFAULT_PAUSE_MS = 300000;

/* While batches are held a batch's call waits at most its max_pause_ms, from
   when the hold began for it; no longer at all once another has waited so long
   in vain. Its deadline starts anew with its next turn, also when it had one
   before. */
static void set_waiting_alarm(struct ac_client *c, struct ac_call *call,
                              int64_t now_ms)
{
  if (!call->batch || !c->held) {
    ac_alarms_move(&c->alarms, call, call->deadline_ms);
    return;
  }
  if (call->hold != c->holds) {
    call->hold = c->holds;
    call->held_until_ms =
        c->held_out ? now_ms
                    : ac_later(now_ms, ac_or_default(call->max_pause_ms,
                                                     DEFAULT_PAUSE_MS));
  }
  call->deadline_ms = AC_NEVER;
  ac_alarms_move(&c->alarms, call, call->held_until_ms);
}

static void leave(struct ac_client *c, struct ac_call *call)
{
  ac_list_remove(&call->link);
  if (call->internal)
    return;
  if (call->state == AC_CALL_WAITING)
    c->waiting_count[call->batch ? AC_BATCH : AC_SINGLE]--;
  if (call->state == AC_CALL_WAITING || call->state == AC_CALL_DELAYED)
    c->stats.queued--;
  else if (call->state == AC_CALL_OUT)
    c->stats.in_flight--;
}

void ac_queue_wait(struct ac_client *c, struct ac_call *call, int front,
                   int64_t now_ms)
{
  enum ac_class class = call->batch ? AC_BATCH : AC_SINGLE;

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

void ac_queue_wait_again(struct ac_client *c, struct ac_call *call,
                         int64_t now_ms)
{
  ac_queue_wait(c, call, !c->outage.down, now_ms);
}

void ac_queue_delay(struct ac_client *c, struct ac_call *call,
                    int64_t moment_ms)
{
  leave(c, call);
  call->state = AC_CALL_DELAYED;
  ac_list_push_back(&c->delayed, &call->link);
  if (!call->internal)
    c->stats.queued++;
  ac_alarms_move(&c->alarms, call, moment_ms);
  c->next_ms = 0;
}

void ac_queue_finish(struct ac_client *c, struct ac_call *call, int64_t now_ms)
{
  leave(c, call);
  ac_alarms_remove(&c->alarms, call);
  ac_index_remove(&c->index, call);
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

void ac_queue_finish_late(struct ac_client *c, struct ac_call *call,
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
  ac_queue_finish(c, call, now_ms);
}

void ac_queue_finish_unavailable(struct ac_client *c, struct ac_call *call,
                                 int64_t now_ms)
{
  int64_t wait_ms = c->outage.next_try_ms - now_ms;

  ac_error_set(&call->error, AC_ERR_UNAVAILABLE,
               "the service has failed again and again; it is tried next in "
               "%lld ms",
               (long long)(wait_ms > 0 ? wait_ms : 0));
  ac_queue_finish(c, call, now_ms);
}

void ac_queue_finish_unauthorized(struct ac_client *c, struct ac_call *call,
                                  const struct ac_error *why, int64_t now_ms)
{
  call->error = *why;
  ac_queue_finish(c, call, now_ms);
}

void ac_queue_lend(struct ac_client *c, struct ac_call *call,
                   const char *token, int64_t now_ms)
{
  int64_t attempt_ms =
      ac_or_default(call->attempt_timeout_ms, c->attempt_timeout_ms);

  if (!call->internal)
    c->stats.queue_us += (now_ms - call->ready_ms) * 1000;
  leave(c, call);
  call->state = AC_CALL_OUT;
  ac_list_push_back(&c->out, &call->link);
  if (!call->internal)
    c->stats.in_flight++;
  call->attempts++;
  c->stats.attempts++;
  if (call->attempts > 1)
    c->stats.retries++;
  if (call->deadline_ms == AC_NEVER) /* a batch's call: its turn has come */
    call->deadline_ms =
        now_ms + ac_or_default(call->timeout_ms, c->timeout_ms);
  call->sent_ms = now_ms;
  call->attempt_deadline_ms =
      ac_sooner(now_ms + attempt_ms, call->deadline_ms);
  call->token = token;
  call->full_path = c->full_path.bytes;
  call->distrust = 0;
  if (!call->idempotent)
    call->fresh = 1; /* libcurl resends on a dead kept connection */
  ac_call_clear_reply(call);
  ac_error_clear(&call->error);
  ac_alarms_move(&c->alarms, call, call->attempt_deadline_ms);
}

/* FNV-1a, 64 bits: a collision only makes two users look like one. */
uint64_t ac_queue_who(const struct ac_call *call)
{
  const char *text =
      call->argument_count > 0 ? call->arguments[0] : call->path;
  uint64_t hash = UINT64_C(14695981039346656037);

  for (; *text; text++)
    hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
  return hash;
}

/* Calls `end` for every single call that waits or is delayed. */
static void sweep_singles(struct ac_client *c, int64_t now_ms,
                          void (*end)(struct ac_client *, struct ac_call *,
                                      int64_t))
{
  struct ac_list *lists[] = {&c->waiting[AC_SINGLE], &c->delayed};

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
    ac_queue_finish_unavailable(c, call, now_ms);
}

static void end_refused(struct ac_client *c, struct ac_call *call,
                        int64_t now_ms)
{
  ac_queue_finish_unauthorized(c, call, &c->refusal, now_ms);
}

static void end_refused_user(struct ac_client *c, struct ac_call *call,
                             int64_t now_ms)
{
  if (ac_queue_who(call) == c->refused_who)
    end_refused(c, call, now_ms);
}

static void end_without_token(struct ac_client *c, struct ac_call *call,
                              int64_t now_ms)
{
  ac_queue_finish_unauthorized(c, call, &c->credentials.failure, now_ms);
}

/* Batches are held while nothing can come of sending them. */
static void hold(struct ac_client *c, int held, int64_t now_ms)
{
  if (held == c->held)
    return;
  c->held = held;
  c->held_out = 0;
  c->holds += held;
  for (struct ac_list *node = c->waiting[AC_BATCH].next;
       node != &c->waiting[AC_BATCH]; node = node->next)
    set_waiting_alarm(c, AC_LIST_ENTRY(node, struct ac_call, link), now_ms);
}

void ac_queue_update_hold(struct ac_client *c, int64_t now_ms)
{
  hold(c,
       c->outage.down || c->doubt == AC_SILENT || c->doubt == AC_PROBING ||
           c->no_token,
       now_ms);
}

void ac_queue_finish_held(struct ac_client *c, struct ac_call *call,
                          int64_t now_ms)
{
  c->held_out = 1;
  if (c->outage.down)
    ac_queue_finish_unavailable(c, call, now_ms);
  else
    ac_queue_finish_unauthorized(
        c, call,
        c->doubt == AC_TRUSTED ? &c->credentials.failure : &c->refusal,
        now_ms);
}

void ac_queue_note_failure(struct ac_client *c, struct ac_call *call,
                           int64_t now_ms)
{
  if (ac_outage_failed(&c->outage, call->id, now_ms)) {
    ac_queue_update_hold(c, now_ms);
    sweep_singles(c, now_ms, end_unavailable);
  }
}

void ac_queue_note_answer(struct ac_client *c, int64_t now_ms)
{
  c->answers++;
  if (c->outage.failures == 0 && !c->outage.down)
    return;
  ac_outage_answered(&c->outage);
  ac_queue_update_hold(c, now_ms);
}

static void begin_silence(struct ac_client *c, const struct ac_error *why,
                          int64_t now_ms)
{
  c->silent_until_ms = now_ms + SILENCE_MS;
  ac_error_set_code(&c->refusal, AC_ERR_UNAUTHORIZED, why->code,
                    "not sent: the renewed token was refused too, and the "
                    "next try comes %lld ms after that",
                    (long long)SILENCE_MS);
}

void ac_queue_fall_silent(struct ac_client *c, const struct ac_error *why,
                          int64_t now_ms)
{
  c->doubt = AC_SILENT;
  c->worked = 0;
  begin_silence(c, why, now_ms);
  ac_queue_update_hold(c, now_ms);
  sweep_singles(c, now_ms, end_refused);
}

void ac_queue_suspect(struct ac_client *c, const struct ac_error *why,
                      int64_t now_ms)
{
  c->doubt = AC_SUSPECT;
  begin_silence(c, why, now_ms);
  sweep_singles(c, now_ms, end_refused_user);
}

int ac_queue_is_silenced(const struct ac_client *c, const struct ac_call *call,
                         int64_t now_ms)
{
  if (now_ms >= c->silent_until_ms)
    return 0;
  return c->doubt == AC_SILENT ||
         (c->doubt == AC_SUSPECT && ac_queue_who(call) == c->refused_who);
}

void ac_queue_trust(struct ac_client *c, int64_t now_ms)
{
  c->refused_token = 0;
  if (c->doubt == AC_TRUSTED)
    return;
  c->doubt = AC_TRUSTED;
  ac_queue_update_hold(c, now_ms);
}

void ac_queue_finish_without_token(struct ac_client *c, int64_t now_ms)
{
  sweep_singles(c, now_ms, end_without_token);
}
