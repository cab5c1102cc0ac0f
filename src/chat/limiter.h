/* limiter.h - the pace: when may the next request be sent?
 *
 * GCRA: the whole state is one moment, the next free slot. Who comes before it
 * waits; who comes late gains at most a burst. The rate yields when the
 * service says 429 and comes back while its answers are good. Nothing here
 * sleeps or looks at a clock. Source: ITU-T I.371, "virtual scheduling". */
#ifndef AC_LIMITER_H
#define AC_LIMITER_H

#include <stdint.h>

struct ac_limiter {      /* a value: no heap, copied with '=' */
  double set_rate_per_s; /* the setting; <= 0: no pace at all */
  double rate_per_s;     /* now */
  int burst;
  int64_t next_free_us;  /* monotonic */
  int64_t lowered_ms;    /* when the rate was last lowered ... */
  int64_t raised_ms;     /* ... and last raised */
};

/* rate_per_s <= 0: no pace; burst >= 1 calls. */
void ac_limiter_init(struct ac_limiter *l, double rate_per_s, int burst);

/* Takes the next slot and returns 0, or takes none and returns how many
   milliseconds to wait before asking again (>= 1). */
int64_t ac_limiter_take(struct ac_limiter *l, int64_t now_ms);

/* How long the slot after `ahead` others is away, in ms; nothing is taken. */
int64_t ac_limiter_turn_ms(const struct ac_limiter *l, int64_t ahead,
                           int64_t now_ms);

/* The service answered 429: x 0.85, at most once a second, never below 5/s (or
   the setting, if that is less). */
void ac_limiter_throttled(struct ac_limiter *l, int64_t now_ms);

/* The service gave a good answer: + 2/s per second, up to the setting. */
void ac_limiter_good(struct ac_limiter *l, int64_t now_ms);

#endif
