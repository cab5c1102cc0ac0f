#include "limiter.h"

static const double LOWEST_PER_S = 5;
static const double LOWER_FACTOR = 0.85;
static const double RAISE_PER_S = 2; /* per second of good answers */
static const int64_t STEP_MS = 1000;

/* Our clock's. Who comes that late was not idle, the clock was coarse: without
   this, 95/s without a burst would be 91/s, a slot every whole 11 ms. */
static const int64_t CLOCK_STEP_US = 1000;

static const int64_t LONG_AGO = INT64_MIN / 4;

void ac_limiter_init(struct ac_limiter *l, double rate_per_s, int burst)
{
  l->set_rate_per_s = l->rate_per_s = rate_per_s > 0 ? rate_per_s : 0;
  l->burst = burst;
  l->next_free_us = LONG_AGO; /* the first burst is free */
  l->lowered_ms = l->raised_ms = LONG_AGO;
}

/* Microseconds from now to the slot behind `ahead` others; <= 0: now. */
static double early_us(const struct ac_limiter *l, int64_t ahead,
                       int64_t now_us)
{
  double interval_us = 1e6 / l->rate_per_s;
  int64_t from_us = l->next_free_us > now_us ? l->next_free_us : now_us;

  return (double)(from_us - now_us) +
         interval_us * ((double)ahead - (l->burst - 1));
}

static int64_t up_to_ms(double us)
{
  if (us <= 0)
    return 0;
  if (us >= 1e15)
    return (int64_t)1e12;
  return ((int64_t)us + 999) / 1000;
}

int64_t ac_limiter_take(struct ac_limiter *l, int64_t now_ms)
{
  int64_t now_us = now_ms * 1000;
  double wait_us;

  if (l->rate_per_s <= 0)
    return 0;
  wait_us = early_us(l, 0, now_us);
  if (wait_us >= 1) /* less than a microsecond is rounding */
    return up_to_ms(wait_us);
  if (l->next_free_us <= now_us - CLOCK_STEP_US)
    l->next_free_us = now_us; /* an idle hour earns one burst, no more */
  l->next_free_us += (int64_t)(1e6 / l->rate_per_s);
  return 0;
}

int64_t ac_limiter_turn_ms(const struct ac_limiter *l, int64_t ahead,
                           int64_t now_ms)
{
  if (l->rate_per_s <= 0)
    return 0;
  return up_to_ms(early_us(l, ahead, now_ms * 1000));
}

void ac_limiter_throttled(struct ac_limiter *l, int64_t now_ms)
{
  double lowest =
      LOWEST_PER_S < l->set_rate_per_s ? LOWEST_PER_S : l->set_rate_per_s;

  if (l->rate_per_s <= 0 || now_ms - l->lowered_ms < STEP_MS)
    return;
  l->lowered_ms = l->raised_ms = now_ms;
  l->rate_per_s *= LOWER_FACTOR;
  if (l->rate_per_s < lowest)
    l->rate_per_s = lowest;
}

void ac_limiter_good(struct ac_limiter *l, int64_t now_ms)
{
  int64_t passed_ms = now_ms - l->raised_ms;

  if (l->rate_per_s <= 0 || l->rate_per_s >= l->set_rate_per_s)
    return;
  if (passed_ms > STEP_MS)
    passed_ms = STEP_MS; /* a silence earns nothing */
  if (passed_ms <= 0)
    return;
  l->raised_ms = now_ms;
  l->rate_per_s += RAISE_PER_S * (double)passed_ms / 1000;
  if (l->rate_per_s > l->set_rate_per_s)
    l->rate_per_s = l->set_rate_per_s;
}
