/* fetch.h - is there a token to send, and the client's own request for one.
 *
 * A token is fetched (exchange, Easemob's own) by a call that the brain makes
 * itself: it takes no slot of the pace, counts as no call of the program's,
 * and there is at most one. */
#ifndef AC_FETCH_H
#define AC_FETCH_H

#include "client_state.h"

/* 1 when a call may go as far as the token is concerned. Begins a renewal when
   one is needed; tells those who wait when there is none to be had. */
int ac_fetch_token(struct ac_client *c, int64_t now_ms);

/* The request failed: again later, or the end of it. */
void ac_fetch_retry(struct ac_client *c, struct ac_call *call, int64_t now_ms);

/* The request is over: wiped now, freed when nobody can look at it any more. */
void ac_fetch_end(struct ac_client *c);

/* stats.renewals: tokens since generation `before`, the first not counted. */
void ac_fetch_count_renewals(struct ac_client *c, uint32_t before);

#endif
