/* queue.h - where a call of the brain is, and how it ends.
 *
 * waiting -> out -> done, or back by way of delayed; every move goes through
 * here, so that the counters always add up. Also what an outage or a refused
 * token does to those who wait: single calls are told at once, the calls of a
 * batch are held. */
#ifndef AC_QUEUE_H
#define AC_QUEUE_H

#include "client_state.h"

/* Into its queue; `front` for one that has waited its turn before. */
void ac_queue_wait(struct ac_client *c, struct ac_call *call, int front,
                   int64_t now_ms);

/* After a retry's wait: to the front, but while the service is down to the
   back, as another call may fare better as its probe. */
void ac_queue_wait_again(struct ac_client *c, struct ac_call *call,
                         int64_t now_ms);

/* Aside, until moment_ms. */
void ac_queue_delay(struct ac_client *c, struct ac_call *call,
                    int64_t moment_ms);

/* To the transport: begins an attempt. */
void ac_queue_lend(struct ac_client *c, struct ac_call *call,
                   const char *token, int64_t now_ms);

/* The one end of every call: call->result or call->error is set. The others
   set the error that their name says. */
void ac_queue_finish(struct ac_client *c, struct ac_call *call,
                     int64_t now_ms);
void ac_queue_finish_late(struct ac_client *c, struct ac_call *call,
                          int64_t now_ms);
void ac_queue_finish_unavailable(struct ac_client *c, struct ac_call *call,
                                 int64_t now_ms);
void ac_queue_finish_unauthorized(struct ac_client *c, struct ac_call *call,
                                  const struct ac_error *why, int64_t now_ms);
void ac_queue_finish_held(struct ac_client *c, struct ac_call *call,
                          int64_t now_ms);

/* Every single call that waits, or is delayed, without a token to be had. */
void ac_queue_finish_without_token(struct ac_client *c, int64_t now_ms);

/* Holds or lets go the batches, as outage, doubt and token say. */
void ac_queue_update_hold(struct ac_client *c, int64_t now_ms);

/* The service failed once more / lives. */
void ac_queue_note_failure(struct ac_client *c, struct ac_call *call,
                           int64_t now_ms);
void ac_queue_note_answer(struct ac_client *c, int64_t now_ms);

/* Whom a call is about: its user, else its path. A hash. */
uint64_t ac_queue_who(const struct ac_call *call);

/* The token is bad for everybody / for the user c->refused_who, as far as is
   known: who waits is told, and so is who comes within 5 s. */
void ac_queue_fall_silent(struct ac_client *c, const struct ac_error *why,
                          int64_t now_ms);
void ac_queue_suspect(struct ac_client *c, const struct ac_error *why,
                      int64_t now_ms);
int ac_queue_is_silenced(const struct ac_client *c, const struct ac_call *call,
                         int64_t now_ms);

/* The token is good for somebody. */
void ac_queue_trust(struct ac_client *c, int64_t now_ms);

#endif
