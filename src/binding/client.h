/* client.h - the userdata `agora_chat.core.client`: its methods, its life. */
#ifndef AC_BINDING_CLIENT_H
#define AC_BINDING_CLIENT_H

#include "compat.h"

/* Makes the metatable. */
void ac_lua_client_register(lua_State *L);

/* Lua: new(options, threaded) -> client | nil, err */
int ac_lua_client_new(lua_State *L);

#endif
