/* outcome.h - from a whole HTTP answer to a call's result or error.
 *
 * Only status 200 with one strict JSON object is a success; the row's decoder
 * says what it means. */
#ifndef AC_OUTCOME_H
#define AC_OUTCOME_H

#include <stdint.h>

#include "call.h"

/* 1, and call->error is filled, when the answer is none to be read: another
   status than 200, or a body in an encoding nobody asked for. wall_s serves
   a Retry-After that is a date. */
int ac_outcome_refusal(struct ac_call *call, int64_t wall_s);

/* Parses the body of a 200 and decodes it into call->result, or fills
   call->error. */
void ac_outcome_result(struct ac_call *call);

#endif
