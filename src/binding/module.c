/* module.c - `agora_chat.core`, what C gives to the Lua layer. Nothing else is
 * exported. C never calls Lua and keeps no lua_State. */
#include <string.h>

#include "../base/error.h"
#include "../base/version.h"
#include "../chat/endpoint.h"
#include "client.h"
#include "compat.h"
#include "fields.h"
#include "push.h"
#include "tokens.h"

#if defined(__GNUC__)
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT
#endif

/* "count: integer, status: string" -> { {"count","integer"}, ... } */
static void push_result_fields(lua_State *L, const char *text)
{
  int n = 0;

  lua_newtable(L);
  while (text && *text) {
    size_t name, type;

    text += strspn(text, " ,");
    name = strcspn(text, ":");
    if (text[name] == '\0')
      break;
    lua_createtable(L, 2, 0);
    lua_pushlstring(L, text, name);
    lua_rawseti(L, -2, 1);
    text += name + 1;
    text += strspn(text, " ");
    type = strcspn(text, ",");
    lua_pushlstring(L, text, type);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, ++n);
    text += type;
  }
}

static int core_endpoints(lua_State *L)
{
  const struct ac_endpoint *row;

  lua_newtable(L);
  for (int i = 0; (row = ac_endpoint_at((size_t)i)) != NULL; i++) {
    int count = ac_endpoint_argument_count(row);

    lua_createtable(L, 0, 7);
    ac_set_text(L, "name", row->name);
    ac_set_text(L, "method", row->method);
    ac_set_text(L, "path", row->path);
    ac_set_text(L, "source", row->source);
    ac_set_boolean(L, "idempotent", (row->flags & AC_IDEMPOTENT) != 0);
    lua_createtable(L, count, 0);
    for (int j = 0; j < count; j++) {
      char name[64];

      ac_endpoint_argument_name(row, j, name, sizeof name);
      lua_pushstring(L, name);
      lua_rawseti(L, -2, j + 1);
    }
    lua_setfield(L, -2, "arguments");
    push_result_fields(L, row->result ? row->result : "data: any");
    lua_setfield(L, -2, "result");
    lua_rawseti(L, -2, i + 1);
  }
  return 1;
}

/* error(kind, code | nil, text [, operation]): for the Lua layer's own. */
static int core_error(lua_State *L)
{
  const char *name, *code, *text, *operation;
  struct ac_error err;
  ac_kind kind;

  for (int i = 1; i <= 4; i++)
    if (!((i == 2 || i == 4) && lua_isnoneornil(L, i)))
      luaL_checktype(L, i, LUA_TSTRING);
  name = lua_tostring(L, 1);
  code = lua_tostring(L, 2);
  text = lua_tostring(L, 3);
  operation = lua_tostring(L, 4);
  kind = ac_kind_from_name(name);
  if (kind == AC_OK) {
    struct ac_nearest nearest;

    ac_nearest_init(&nearest, name);
    for (int i = 1; strcmp(ac_kind_name((ac_kind)i), "ok") != 0; i++)
      ac_nearest_try(&nearest, ac_kind_name((ac_kind)i));
    return ac_raise_unknown(L, "kind of error", &nearest);
  }
  ac_error_set_code(&err, kind, code, "%s", text);
  ac_push_error(L, &err, operation, operation ? 0 : -1, 0);
  return 1;
}

/* unknown(what, word, names): the sentence that refuses a word and names the
   nearest known one; for options that only the Lua layer knows. */
static int core_unknown(lua_State *L)
{
  struct ac_nearest nearest;
  const char *what = luaL_checkstring(L, 1);

  ac_nearest_init(&nearest, luaL_checkstring(L, 2));
  luaL_checktype(L, 3, LUA_TTABLE);
  for (int i = 1;; i++) {
    lua_rawgeti(L, 3, i);
    if (lua_type(L, -1) != LUA_TSTRING)
      break;
    ac_nearest_try(&nearest, lua_tostring(L, -1));
    lua_pop(L, 1);
  }
  ac_push_unknown(L, what, &nearest);
  return 1;
}

static void push_kinds(lua_State *L)
{
  lua_newtable(L);
  for (int i = 1; strcmp(ac_kind_name((ac_kind)i), "ok") != 0; i++)
    ac_set_boolean(L, ac_kind_name((ac_kind)i), 1);
}

EXPORT int luaopen_agora_chat_core(lua_State *L);

EXPORT int luaopen_agora_chat_core(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"new", ac_lua_client_new},
      {"endpoints", core_endpoints},
      {"error", core_error},
      {"unknown", core_unknown},
      {"app_token", ac_tokens_app},
      {"user_token", ac_tokens_user},
      {"read_token", ac_tokens_read},
      {NULL, NULL},
  };

#if LUA_VERSION_NUM >= 502
  /* First of all: a Lua of another version crashes at the registry. */
  luaL_checkversion(L);
#endif
  ac_lua_client_register(L);
  lua_newtable(L);
  ac_set_functions(L, functions);
  ac_set_text(L, "version", AC_VERSION);
  push_kinds(L);
  lua_setfield(L, -2, "kinds");
  luaL_newmetatable(L, AC_ERROR_METATABLE); /* error.lua fills it */
  lua_setfield(L, -2, "error_metatable");
  return 1;
}
