/* client.h - the brain: what to send, when, and what an answer means.
 *
 * Calls wait in queues, go out one attempt at a time as token, pace, outage
 * and max_in_flight allow, and end exactly once. The brain does no I/O and
 * looks at no clock: time comes in as a parameter, a transport takes
 * what ac_client_next_outgoing lends it and brings it back to
 * ac_client_deliver. One client belongs to one thread.
 *
 *   submit -> waiting -> out -> done -> take_done
 *                ^        |
 *                +- delayed (backoff, Retry-After)
 */
#ifndef AC_CLIENT_H
#define AC_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "../base/error.h"
#include "call.h"
#include "credentials.h"

/* What a client is made with. Texts are borrowed for the duration of
   ac_client_new only. Zero means "not given" where a default is named. */
struct ac_client_config {
  const char *base_url; /* https://host[:port][/prefix] */
  const char *app_id;   /* or org_name and app_name */
  const char *org_name, *app_name;
  int allow_http;
  struct ac_credentials_config credentials;
  int64_t timeout_ms;         /* 10000 */
  int64_t connect_timeout_ms; /* 3000 */
  int64_t attempt_timeout_ms; /* 5000 */
  int max_attempts;           /* 0: 4, and 8 for throttled calls */
  int64_t backoff_ms;         /* 100 */
  double rate_per_s;          /* 95; < 0: no pacing */
  int burst;                  /* 5 */
  int max_in_flight;          /* 32 */
  int max_queue;              /* 10000 */
  int want_events;            /* keep events for ac_client_next_event */
  uint64_t seed;              /* of the jitter; 0: from the system */
};

/* One finished attempt, for on_event. */
struct ac_event {
  const char *operation; /* static text */
  int attempt;
  ac_kind kind; /* AC_OK */
  char code[AC_ERROR_CODE_BYTES];
  int http_status; /* 0: none */
  int64_t elapsed_ms;
  int reused;
};

/* accepted == ok + failed + cancelled + in_flight + queued, always. */
struct ac_stats {
  int64_t accepted, ok, failed, cancelled, in_flight, queued;
  int64_t attempts, retries, renewals, connections, bytes_in, bytes_out;
  double rate_per_s; /* now; < 0: no pacing */
  int64_t queue_us;  /* waited here, all attempts */
  int64_t phase_us[AC_PHASES];
};

/* NULL and err (argument, memory) when the configuration cannot work. */
struct ac_client *ac_client_new(const struct ac_client_config *config,
                                int64_t now_ms, int64_t wall_s,
                                struct ac_error *err);
void ac_client_free(
    struct ac_client *client); /* and all its calls; wipes secrets */

/* "https", "host:port" - what the transport needs of the base URL, parsed
   once: scheme://host[:port] without prefix. Borrowed. */
const char *ac_client_origin(const struct ac_client *client);

/* Takes a prepared call; *out_id (> 0) is its id. AC_ERR_OVERLOAD when
   max_queue calls wait: the call stays the asker's then. A call that cannot
   make its deadline is taken and ends at once. */
ac_kind ac_client_submit(struct ac_client *client,
                         struct ac_call *call /* takes */, int64_t now_ms,
                         int64_t *out_id, struct ac_error *err);

/* The wall clock, Unix seconds: whoever drives the client tells it before
   ac_client_next_outgoing. */
void ac_client_set_wall(struct ac_client *client, int64_t now_ms,
                        int64_t wall_s);

/* The next call to send, or NULL when nothing may go now. Borrowed: the
   client keeps it until it is delivered or given up. */
struct ac_call *ac_client_next_outgoing(struct ac_client *client,
                                        int64_t now_ms);

/* A call that came back: call->error.kind AC_OK and call->reply, or the
   transport's verdict in call->error. If call->distrust is set when this
   returns, its connection must not be used again. */
void ac_client_deliver(struct ac_client *client, struct ac_call *call,
                       int64_t now_ms);

/* A call whose attempt has run out of time: the transport drops it (and says
   in reply.phase how far it was), then hands it to ac_client_give_up. NULL:
   none. Borrowed. */
struct ac_call *ac_client_next_overdue(struct ac_client *client,
                                       int64_t now_ms);
void ac_client_give_up(struct ac_client *client, struct ac_call *call,
                       int64_t now_ms);

/* Ends a call as cancelled. If it was out it is returned: the transport must
   drop it before anything else is asked of the client. Else NULL. */
struct ac_call *ac_client_cancel(struct ac_client *client, int64_t id,
                                 int64_t now_ms);

/* For close: ends every call that is not out as closed, then ends and returns
   those that are out one by one, each to be dropped, until NULL. */
struct ac_call *ac_client_close_next(struct ac_client *client, int64_t now_ms);

/* After that: wipes certificate, secret and tokens. Nothing can be sent any
   more. */
void ac_client_forget(struct ac_client *client);

/* A finished call, yours to free; NULL: none. */
struct ac_call *ac_client_take_done(struct ac_client *client);

/* Milliseconds until the client has something to do of its own (a deadline, a
   retry, the pace): 0: now, -1: nothing. */
int ac_client_due_in_ms(const struct ac_client *client, int64_t now_ms);

/* Calls accepted and not yet taken. */
int64_t ac_client_pending(const struct ac_client *client);

/* A token from outside: text (checked: 1 to 8192 bytes, no CR, LF, NUL or
   space), its life in seconds (0: unknown). argument otherwise. */
ac_kind ac_client_set_token(struct ac_client *client, struct ac_slice token,
                            int64_t ttl_s, int64_t now_ms,
                            struct ac_error *err);

/* That check alone: on any thread, for whoever passes the token on later. */
ac_kind ac_client_check_token(struct ac_slice token, struct ac_error *err);

/* credentials = function: 1 once for each token that is wanted (the flag is
   lowered by asking and raised again if no answer comes). */
int ac_client_wants_token(struct ac_client *client, int64_t now_ms);

/* The function gave no token: why, for people. */
void ac_client_token_failed(struct ac_client *client, const char *message,
                            int64_t now_ms);

void ac_client_stats(const struct ac_client *client, struct ac_stats *out);

/* The oldest event; 0 when there is none. At most 1,000 are kept. */
int ac_client_next_event(struct ac_client *client, struct ac_event *out);

#endif
