/* client_state.h - the brain's memory, shared by its rooms and nobody else:
 *
 *   client.c   the doors: submit, next_outgoing, cancel, close, ...
 *   queue.c    where a call waits, and how it ends
 *   fetch.c    the client's own request for a token
 *   settle.c   what the end of an attempt means for the call and for others */
#ifndef AC_CLIENT_STATE_H
#define AC_CLIENT_STATE_H

#include "address.h"
#include "alarms.h"
#include "client.h"
#include "index.h"
#include "limiter.h"
#include "retry.h"

#define AC_NEVER INT64_MAX

enum {
  AC_DEFAULT_TIMEOUT_MS = 10000,
  AC_DEFAULT_ATTEMPT_TIMEOUT_MS = 5000,
  AC_DEFAULT_BACKOFF_MS = 100,
  AC_DEFAULT_RATE_PER_S = 95,
  AC_DEFAULT_BURST = 5,
  AC_DEFAULT_IN_FLIGHT = 32,
  AC_DEFAULT_QUEUE = 10000,
  AC_SINGLES_BEFORE_A_BATCH = 4, /* a batch gets one slot in five */
  AC_MANY_FAILURES = 8, /* in a row: twice what one call makes */
  AC_MAX_EVENTS = 1000
};

enum ac_class { AC_SINGLE, AC_BATCH, AC_CLASSES };

/* Is the present token any good? One user who always gets 401 must not silence
   the others, so a refused renewal is doubted, not believed: what is out is
   waited for, and one call at a time tells. Two users who were refused with
   it, and nobody served, are believed; one alone is believed about itself, and
   about all when nothing has ever worked. */
enum ac_doubt {
  AC_TRUSTED,
  AC_SUSPECT, /* a renewed token was refused to one user, nobody else heard yet */
  AC_SILENT, /* it was refused to all who tried: nothing is sent until ... */
  AC_PROBING /* ... one call tries again, with a new token */
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

  struct ac_list waiting[AC_CLASSES], delayed, out, done, trash;
  int64_t waiting_count[AC_CLASSES], done_count;
  struct ac_alarms alarms; /* every call that is waiting, delayed or out */
  struct ac_index index;   /* the same by id, but for our own */
  int singles_in_a_row;
  int64_t next_id, next_internal_id;
  int64_t next_ms; /* when ac_client_next_outgoing may have something */
  int64_t wall_s;
  struct ac_buffer full_path; /* of the call last lent */

  struct ac_call *fetch; /* the token request; NULL: none */
  int fetch_ready;       /* ... waits to be sent */
  struct ac_buffer fetch_token;

  enum ac_doubt doubt;
  int64_t silent_until_ms;
  int worked;             /* a call has succeeded since the last silence */
  uint32_t refused_token; /* the generation that was last refused for good, */
  int64_t refused_id;     /* ... to this call */
  uint64_t refused_who;   /* ... of this user, */
  int refused_others;     /* ... and to another since the last success */
  struct ac_error refusal;

  int64_t answers; /* from the service so far, of any kind but a fault */
  int no_token; /* none can be made for now */
  int held;     /* batches wait for the service or the token to come back */
  int64_t holds;  /* so far, with this one */
  int held_out; /* one has waited as long as it may: the rest need not */

  struct ac_stats stats;
  int want_events, first_event, event_count;
  struct ac_event *events; /* a ring of AC_MAX_EVENTS */
};

/* value, or the fallback when it was not given. */
static inline int64_t ac_or_default(int64_t value, int64_t fallback)
{
  return value > 0 ? value : fallback;
}

static inline int64_t ac_sooner(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

/* a + b, where either may be AC_NEVER. */
static inline int64_t ac_later(int64_t a, int64_t b)
{
  return a > AC_NEVER - b ? AC_NEVER : a + b;
}

#endif
