/* compat.h - the few places where the Luas differ: 5.1 and LuaJIT, 5.2, 5.3,
 * 5.4, 5.5. Names of our own on every Lua: LuaJIT declares some newer ones and
 * its lua.h does not say that it is LuaJIT. */
#ifndef AC_COMPAT_H
#define AC_COMPAT_H

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>
#include <stdint.h>

/* 2^53 - 1: up to here every Lua counts exactly. */
#define AC_MAX_EXACT 9007199254740991.0

/* An integer where Lua has them. Elsewhere numbers are doubles, which are
   wider than a 32-bit lua_Integer. */
static inline void ac_push_whole(lua_State *L, int64_t value)
{
#if LUA_VERSION_NUM >= 503
  lua_pushinteger(L, (lua_Integer)value);
#else
  lua_pushnumber(L, (lua_Number)value);
#endif
}

/* 1 when the number at `index` is of Lua's integer subtype. */
static inline int ac_is_integer(lua_State *L, int index)
{
#if LUA_VERSION_NUM >= 503
  return lua_isinteger(L, index);
#else
  (void)L, (void)index;
  return 0;
#endif
}

/* Length without metamethods. */
static inline size_t ac_raw_length(lua_State *L, int index)
{
#if LUA_VERSION_NUM >= 502
  return lua_rawlen(L, index);
#else
  return lua_objlen(L, index);
#endif
}

static inline void *ac_new_userdata(lua_State *L, size_t size)
{
#if LUA_VERSION_NUM >= 504
  return lua_newuserdatauv(L, size, 0);
#else
  return lua_newuserdata(L, size);
#endif
}

/* Adds functions to the table on top of the stack. */
static inline void ac_set_functions(lua_State *L, const luaL_Reg *functions)
{
  for (; functions->name; functions++) {
    lua_pushcfunction(L, functions->func);
    lua_setfield(L, -2, functions->name);
  }
}

#endif
