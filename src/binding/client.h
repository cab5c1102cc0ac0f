/* client.h - the userdata `agora_chat.core.client`: a box around a runner.
 *
 * The box comes first, empty and with its finalizer, the runner second. What
 * is being pushed to Lua stays parked in the box, so that a raise in
 * between (memory) loses nothing: the next next_done gives it again, or
 * __gc frees it. */
#ifndef AC_BINDING_CLIENT_H
#define AC_BINDING_CLIENT_H

#include "compat.h"

#define AC_CLIENT_METATABLE "agora_chat.core.client"

/* Makes the metatable. */
void ac_lua_client_register(lua_State *L);

/* Lua: new(options, threaded) -> client | nil, err */
int ac_lua_client_new(lua_State *L);

#endif
