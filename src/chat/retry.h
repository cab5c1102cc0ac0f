/* retry.h - is it worth another try, and after how long? And when is a failing
 * service left alone?
 *
 * Pure: errors and times in, decisions out. */
#ifndef AC_RETRY_H
#define AC_RETRY_H

#include <stdint.h>

#include "../base/error.h"
#include "../base/random.h"

enum ac_retry_class {
  AC_RETRY_NEVER,
  AC_RETRY_TRANSIENT, /* network, timeouts of an attempt, 5xx, cut answers */
  AC_RETRY_THROTTLE,  /* 429 reach_limit */
  AC_RETRY_TOKEN      /* 401: the credentials decide */
};

enum ac_retry_class ac_retry_classify(const struct ac_error *err);

struct ac_retry_policy {
  int max_faults;     /* transient ones of a call */
  int max_throttled;  /* 429s of a call */
  int max_attempts;   /* both together; 0: no such limit */
  int64_t backoff_ms; /* base of the transient backoff; its cap is 20 times */
};

/* Milliseconds before the next attempt, or -1: no more. So far there were
   `faults` and `throttled`, each class with its own count and its own backoff.
   retry_after_ms: the service's wish (clamped to 60 s), -1: none. Full jitter:
   anything between 0 and the ceiling. Source: "Exponential Backoff And Jitter",
   AWS 2015. */
int64_t ac_retry_wait_ms(const struct ac_retry_policy *policy,
                         enum ac_retry_class what, int faults, int throttled,
                         int64_t retry_after_ms, struct ac_random *random);

/* The policy of a call: `given` max_attempts (0: none) bounds everything. */
void ac_retry_limit(struct ac_retry_policy *policy, int given);

/* Retry-After, seconds or HTTP date -> ms from now, clamped to 0 .. 60 s; -1
   when it is absent or not understood. date_s: the answer's own Date (0:
   none), else wall_s is "now". */
int64_t ac_retry_after_ms(const char *text, int64_t date_s, int64_t wall_s);

/* A service that failed 20 times in a row is left alone for 1 s, doubling to
   10 s, with one probe at a time. */
struct ac_outage {     /* a value */
  int failures;        /* in a row */
  int down;
  int64_t pause_ms;    /* the present pause */
  int64_t next_try_ms; /* while down: not before */
  int64_t probe_id;    /* the call that tries; 0: nobody */
};

void ac_outage_init(struct ac_outage *o);

/* 1 when this failure began a pause (the first or, for a failed probe, the
   next), so that those who cannot wait that long can be told. */
int ac_outage_failed(struct ac_outage *o, int64_t id, int64_t now_ms);
void ac_outage_answered(struct ac_outage *o); /* it lives */
void ac_outage_forget(struct ac_outage *o, int64_t id); /* the probe was
                                                           dropped unheard */

#endif
