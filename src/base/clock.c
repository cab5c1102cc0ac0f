#include "clock.h"

#include <time.h>

int64_t ac_clock_ms(const struct ac_clock *clock)
{
  struct timespec now;

  if (clock->frozen)
    return clock->frozen_ms;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t ac_clock_wall_s(const struct ac_clock *clock)
{
  struct timespec now;

  if (clock->frozen)
    return clock->frozen_wall_s;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec;
}
