/* tokens.h - app_token, user_token and read_token for Lua. */
#ifndef AC_TOKENS_H
#define AC_TOKENS_H

#include "compat.h"

int ac_tokens_app(lua_State *L);  /* { app_id, app_certificate, ttl_s } */
int ac_tokens_user(lua_State *L); /* the same and username */
int ac_tokens_read(lua_State *L); /* text, { app_certificate } */

#endif
