#include "alarms.h"

#include <stdlib.h>

void ac_alarms_init(struct ac_alarms *a)
{
  a->heap = NULL;
  a->count = a->capacity = 0;
}

void ac_alarms_free(struct ac_alarms *a)
{
  free(a->heap);
  ac_alarms_init(a);
}

static void place(struct ac_alarms *a, size_t i, struct ac_call *call)
{
  a->heap[i] = call;
  call->heap_index = i;
}

static void up(struct ac_alarms *a, size_t i, struct ac_call *call)
{
  while (i > 0) {
    size_t parent = (i - 1) / 2;

    if (a->heap[parent]->alarm_ms <= call->alarm_ms)
      break;
    place(a, i, a->heap[parent]);
    i = parent;
  }
  place(a, i, call);
}

static void down(struct ac_alarms *a, size_t i, struct ac_call *call)
{
  for (;;) {
    size_t child = 2 * i + 1;

    if (child >= a->count)
      break;
    if (child + 1 < a->count &&
        a->heap[child + 1]->alarm_ms < a->heap[child]->alarm_ms)
      child++;
    if (call->alarm_ms <= a->heap[child]->alarm_ms)
      break;
    place(a, i, a->heap[child]);
    i = child;
  }
  place(a, i, call);
}

ac_kind ac_alarms_add(struct ac_alarms *a, struct ac_call *call,
                      int64_t alarm_ms)
{
  if (a->count == a->capacity) {
    size_t capacity = a->capacity ? 2 * a->capacity : 64;
    struct ac_call **grown = realloc(a->heap, capacity * sizeof *grown);

    if (!grown)
      return AC_ERR_MEMORY;
    a->heap = grown;
    a->capacity = capacity;
  }
  call->alarm_ms = alarm_ms;
  up(a, a->count++, call);
  return AC_OK;
}

void ac_alarms_move(struct ac_alarms *a, struct ac_call *call,
                    int64_t alarm_ms)
{
  int sooner = alarm_ms < call->alarm_ms;

  call->alarm_ms = alarm_ms;
  if (sooner)
    up(a, call->heap_index, call);
  else
    down(a, call->heap_index, call);
}

void ac_alarms_remove(struct ac_alarms *a, struct ac_call *call)
{
  struct ac_call *last = a->heap[--a->count];
  size_t i = call->heap_index;

  if (last == call)
    return;
  if (i > 0 && last->alarm_ms < a->heap[(i - 1) / 2]->alarm_ms)
    up(a, i, last);
  else
    down(a, i, last);
}

struct ac_call *ac_alarms_first(const struct ac_alarms *a)
{
  return a->count > 0 ? a->heap[0] : NULL;
}
