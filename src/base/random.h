/* random.h - two sources of chance: salt from the system for what must not be
 * guessed, and a small generator for jitter that a seed makes repeatable. The
 * host program's own generator is never touched. */
#ifndef AC_RANDOM_H
#define AC_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct ac_random {
  uint64_t state;
};

/* seed 0: from the system. */
void ac_random_init(struct ac_random *r, uint64_t seed);

/* Even in 0 .. limit, both ends included; 0 when limit <= 0. */
int64_t ac_random_up_to(struct ac_random *r, int64_t limit);

/* 1 when the system gave its bytes, else 0. */
int ac_random_system(void *out, size_t length);

#endif
