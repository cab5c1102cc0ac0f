/* alarms.h - which call is due next? A binary heap of calls by alarm_ms, with
 * each call's place in the call, so that moving and removing are O(log n). */
#ifndef AC_ALARMS_H
#define AC_ALARMS_H

#include <stddef.h>
#include <stdint.h>

#include "call.h"

struct ac_alarms {
  struct ac_call **heap;
  size_t count, capacity;
};

void ac_alarms_init(struct ac_alarms *a);
void ac_alarms_free(struct ac_alarms *a); /* the heap, not the calls */

/* AC_OK or AC_ERR_MEMORY. The call must be in no heap. */
ac_kind ac_alarms_add(struct ac_alarms *a, struct ac_call *call,
                      int64_t alarm_ms);
void ac_alarms_move(struct ac_alarms *a, struct ac_call *call,
                    int64_t alarm_ms);
void ac_alarms_remove(struct ac_alarms *a, struct ac_call *call);

/* The call whose alarm is first; NULL: none. */
struct ac_call *ac_alarms_first(const struct ac_alarms *a);

#endif
