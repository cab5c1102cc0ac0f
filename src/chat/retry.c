#include "retry.h"

#include <string.h>

#include "http_date.h"

static const int64_t RETRY_AFTER_MAX_MS = 60000;
static const int64_t THROTTLE_BASE_MS = 1000, THROTTLE_MAX_MS = 8000;
static const int BACKOFF_CAP = 20; /* times backoff_ms */

enum { DEFAULT_FAULTS = 4, DEFAULT_THROTTLED = 8, FAILURES_IN_A_ROW = 20 };
static const int64_t FIRST_PAUSE_MS = 1000, LAST_PAUSE_MS = 10000;

enum ac_retry_class ac_retry_classify(const struct ac_error *err)
{
  switch (err->kind) {
  case AC_ERR_NETWORK:
  case AC_ERR_TIMEOUT:
    return err->retryable == 0 ? AC_RETRY_NEVER : AC_RETRY_TRANSIENT;
  case AC_ERR_SERVER: /* answer.c knows the 5xx that are caller's errors */
    return err->retryable == 0 ? AC_RETRY_NEVER : AC_RETRY_TRANSIENT;
  case AC_ERR_BAD_RESPONSE:
    return strcmp(err->code, "truncated") == 0 ? AC_RETRY_TRANSIENT
                                               : AC_RETRY_NEVER;
  case AC_ERR_RATE_LIMITED: return AC_RETRY_THROTTLE;
  case AC_ERR_UNAUTHORIZED: return AC_RETRY_TOKEN;
  default: return AC_RETRY_NEVER;
  }
}

/* base x 2^n, at most cap; n may be anything. */
static int64_t doubled(int64_t base, int n, int64_t cap)
{
  while (n-- > 0 && base < cap)
    base *= 2;
  return base < cap ? base : cap;
}

int64_t ac_retry_wait_ms(const struct ac_retry_policy *policy,
                         enum ac_retry_class what, int faults, int throttled,
                         int64_t retry_after_ms, struct ac_random *random)
{
  int64_t wait_ms;

  if (policy->max_attempts > 0 && faults + throttled >= policy->max_attempts)
    return -1;
  if (what == AC_RETRY_THROTTLE) {
    if (throttled >= policy->max_throttled)
      return -1;
    if (retry_after_ms >= 0)
      return retry_after_ms;
    return ac_random_up_to(
        random, doubled(THROTTLE_BASE_MS, throttled - 1, THROTTLE_MAX_MS));
  }
  if (what != AC_RETRY_TRANSIENT || faults >= policy->max_faults)
    return -1;
  wait_ms = ac_random_up_to(random, doubled(policy->backoff_ms, faults - 1,
                                            BACKOFF_CAP * policy->backoff_ms));
  return wait_ms > retry_after_ms ? wait_ms : retry_after_ms;
}

void ac_retry_limit(struct ac_retry_policy *policy, int given)
{
  policy->max_attempts = given;
  policy->max_faults = given > 0 ? given : DEFAULT_FAULTS;
  policy->max_throttled = given > 0 ? given : DEFAULT_THROTTLED;
}

int64_t ac_retry_after_ms(const char *text, int64_t date_s, int64_t wall_s)
{
  int64_t seconds = 0;
  int64_t until_s;
  const char *p = text;

  while (*p == ' ')
    p++;
  if (*p >= '0' && *p <= '9') {
    for (; *p >= '0' && *p <= '9'; p++)
      if (seconds < RETRY_AFTER_MAX_MS)
        seconds = seconds * 10 + (*p - '0');
    while (*p == ' ')
      p++;
    if (*p != '\0')
      return -1;
  } else if (ac_http_date_s(p, &until_s)) {
    seconds = until_s - (date_s > 0 ? date_s : wall_s);
  } else {
    return -1;
  }
  if (seconds <= 0)
    return 0;
  return seconds * 1000 < RETRY_AFTER_MAX_MS ? seconds * 1000
                                             : RETRY_AFTER_MAX_MS;
}

void ac_outage_init(struct ac_outage *o)
{
  o->failures = o->down = 0;
  o->pause_ms = o->next_try_ms = o->probe_id = 0;
}

int ac_outage_failed(struct ac_outage *o, int64_t id, int64_t now_ms)
{
  if (o->down) {
    if (id != o->probe_id)
      return 0; /* sent before the pause began: tells nothing new */
    o->probe_id = 0;
    o->pause_ms = doubled(o->pause_ms, 1, LAST_PAUSE_MS);
  } else {
    if (++o->failures < FAILURES_IN_A_ROW)
      return 0;
    o->down = 1;
    o->pause_ms = FIRST_PAUSE_MS;
  }
  o->next_try_ms = now_ms + o->pause_ms;
  return 1;
}

void ac_outage_answered(struct ac_outage *o)
{
  ac_outage_init(o);
}

void ac_outage_forget(struct ac_outage *o, int64_t id)
{
  if (o->probe_id == id)
    o->probe_id = 0;
}
