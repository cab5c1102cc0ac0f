#include "random.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

void ac_random_init(struct ac_random *r, uint64_t seed)
{
  if (seed == 0 && !ac_random_system(&seed, sizeof seed)) {
    struct timespec now; /* jitter needs to differ, not to be secret */

    clock_gettime(CLOCK_MONOTONIC, &now);
    seed = (uint64_t)now.tv_nsec ^ (uint64_t)(uintptr_t)r;
  }
  r->state = seed;
}

/* SplitMix64 (Steele, Lea, Flood 2014): any seed will do. */
static uint64_t next(struct ac_random *r)
{
  uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));

  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

int64_t ac_random_up_to(struct ac_random *r, int64_t limit)
{
  if (limit <= 0)
    return 0;
  /* Jitter does not mind the bias of a remainder. */
  return (int64_t)(next(r) % ((uint64_t)limit + 1));
}

int ac_random_system(void *out, size_t length)
{
  unsigned char *p = out;

  while (length > 0) {
    ssize_t got = getrandom(p, length, 0);

    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      return 0;
    p += got;
    length -= (size_t)got;
  }
  return 1;
}
