/* push.h - what C knows -> Lua values: plain tables, raw fields. */
#ifndef AC_PUSH_H
#define AC_PUSH_H

#include <cjson/cJSON.h>

#include "../base/error.h"
#include "../chat/client.h"
#include "compat.h"

#define AC_ERROR_METATABLE "agora_chat.Error"

enum { AC_PUSH_MAX_DEPTH = 16 }; /* an answer has 8, a result a few more */

/* Any JSON tree: null is nil, arrays are sequences, whole numbers within 2^53
   are integers where Lua has them. May raise: whoever owns the tree must have
   parked it. */
void ac_push_json(lua_State *L, const cJSON *item);

/* An error object. operation NULL: none; attempts < 0: it has no call. */
void ac_push_error(lua_State *L, const struct ac_error *err,
                   const char *operation, int attempts, int64_t elapsed_ms);

/* nil, error - returns 2. */
int ac_return_error(lua_State *L, const struct ac_error *err,
                    const char *operation);

void ac_push_event(lua_State *L, const struct ac_event *event);
void ac_push_stats(lua_State *L, const struct ac_stats *stats);

/* table[name] = value, for the table on top of the stack. */
void ac_set_whole(lua_State *L, const char *name, int64_t value);
void ac_set_text(lua_State *L, const char *name, const char *text);
void ac_set_boolean(lua_State *L, const char *name, int value);

#endif
