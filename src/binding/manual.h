/* manual.h - transport = "lua": a spec takes outgoing calls, delivers answers
 * and moves the clock, so that what the brain does is specified without
 * network, sleep or chance. */
#ifndef AC_MANUAL_H
#define AC_MANUAL_H

#include "box.h"

/* Remembers what libcurl would have filled in. */
void ac_manual_init(struct ac_box *box, const struct ac_runner_config *config);

/* next_outgoing() -> { id, method, url, headers, body, fresh } | nil */
int ac_manual_next_outgoing(lua_State *L);

/* deliver(id, { http_status, headers, body } | { kind, code, message, sent })
   -> true */
int ac_manual_deliver(lua_State *L);

/* set_now(ms, wall_s | nil) */
int ac_manual_set_now(lua_State *L);

#endif
