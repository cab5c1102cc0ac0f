/* clock.h - monotonic milliseconds and wall seconds; can be frozen for specs.
 *
 * Durations and deadlines are monotonic; only the life of a token is wall
 * time. */
#ifndef AC_CLOCK_H
#define AC_CLOCK_H

#include <stdint.h>

struct ac_clock { /* a value; all zero is the real clock */
  int frozen;
  int64_t frozen_ms;     /* monotonic */
  int64_t frozen_wall_s; /* Unix time */
};

int64_t ac_clock_ms(const struct ac_clock *clock);
int64_t ac_clock_wall_s(const struct ac_clock *clock);

#endif
