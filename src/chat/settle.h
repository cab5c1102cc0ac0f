/* settle.h - what the end of an attempt means: for its call (an answer, another
 * attempt, the end) and for the others (pace, outage, token). */
#ifndef AC_SETTLE_H
#define AC_SETTLE_H

#include "client_state.h"

/* A whole HTTP answer came: reads it into call->result or call->error. */
void ac_settle_judge(struct ac_client *c, struct ac_call *call);

/* call->error says how the attempt went. */
void ac_settle(struct ac_client *c, struct ac_call *call, int64_t now_ms);

#endif
