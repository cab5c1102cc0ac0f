#include "push.h"

#include <math.h>
#include <string.h>

void ac_set_whole(lua_State *L, const char *name, int64_t value)
{
  ac_push_whole(L, value);
  lua_setfield(L, -2, name);
}

void ac_set_text(lua_State *L, const char *name, const char *text)
{
  lua_pushstring(L, text);
  lua_setfield(L, -2, name);
}

void ac_set_boolean(lua_State *L, const char *name, int value)
{
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

static void push_number(lua_State *L, double value)
{
  if (floor(value) == value && fabs(value) < 9007199254740992.0)
    ac_push_whole(L, (int64_t)value);
  else
    lua_pushnumber(L, (lua_Number)value);
}

static void push_json(lua_State *L, const cJSON *item, int depth)
{
  const cJSON *child;
  int count = 0;

  if (depth > AC_PUSH_MAX_DEPTH)
    luaL_error(L, "an answer with more than %d levels", AC_PUSH_MAX_DEPTH);
  luaL_checkstack(L, 4, "answer");
  switch (item->type & 0xff) {
  case cJSON_Object:
    cJSON_ArrayForEach(child, item) count++;
    lua_createtable(L, 0, count);
    cJSON_ArrayForEach(child, item)
    {
      lua_pushstring(L, child->string);
      push_json(L, child, depth + 1);
      lua_rawset(L, -3);
    }
    break;
  case cJSON_Array:
    cJSON_ArrayForEach(child, item) count++;
    lua_createtable(L, count, 0);
    count = 0;
    cJSON_ArrayForEach(child, item)
    {
      push_json(L, child, depth + 1);
      lua_rawseti(L, -2, ++count);
    }
    break;
  case cJSON_String: lua_pushstring(L, item->valuestring); break;
  case cJSON_Number: push_number(L, item->valuedouble); break;
  case cJSON_True: lua_pushboolean(L, 1); break;
  case cJSON_False: lua_pushboolean(L, 0); break;
  default: lua_pushnil(L); break;
  }
}

void ac_push_json(lua_State *L, const cJSON *item)
{
  push_json(L, item, 1);
}

void ac_push_error(lua_State *L, const struct ac_error *err,
                   const char *operation, int attempts, int64_t elapsed_ms)
{
  char sentence[AC_ERROR_SENTENCE_BYTES];

  luaL_checkstack(L, 4, "error");
  ac_error_sentence(err, operation, sentence, sizeof sentence);
  lua_createtable(L, 0, 10);
  ac_set_text(L, "kind", ac_kind_name(err->kind));
  ac_set_text(L, "message", sentence);
  ac_set_boolean(L, "retryable", ac_error_retryable(err));
  if (err->code[0])
    ac_set_text(L, "code", err->code);
  if (operation)
    ac_set_text(L, "operation", operation);
  if (attempts >= 0) {
    ac_set_whole(L, "attempts", attempts);
    ac_set_whole(L, "elapsed_ms", elapsed_ms);
  }
  if (err->http_status)
    ac_set_whole(L, "http_status", err->http_status);
  if (ac_error_description(err)[0])
    ac_set_text(L, "description", ac_error_description(err));
  if (err->retry_after_ms >= 0)
    ac_set_whole(L, "retry_after_ms", err->retry_after_ms);
  if (err->is_value) /* it may be empty, too */
    ac_set_text(L, "value", ac_error_value(err));
  luaL_getmetatable(L, AC_ERROR_METATABLE);
  lua_setmetatable(L, -2);
}

int ac_return_error(lua_State *L, const struct ac_error *err,
                    const char *operation)
{
  lua_pushnil(L);
  ac_push_error(L, err, operation, operation ? 0 : -1, 0);
  return 2;
}

void ac_push_event(lua_State *L, const struct ac_event *event)
{
  lua_createtable(L, 0, 7);
  ac_set_text(L, "operation", event->operation);
  ac_set_whole(L, "attempt", event->attempt);
  if (event->kind != AC_OK)
    ac_set_text(L, "kind", ac_kind_name(event->kind));
  if (event->code[0])
    ac_set_text(L, "code", event->code);
  if (event->http_status)
    ac_set_whole(L, "http_status", event->http_status);
  ac_set_whole(L, "elapsed_ms", event->elapsed_ms);
  ac_set_boolean(L, "reused", event->reused);
}

static void set_ms(lua_State *L, const char *name, int64_t us)
{
  lua_pushnumber(L, (lua_Number)us / 1000);
  lua_setfield(L, -2, name);
}

void ac_push_stats(lua_State *L, const struct ac_stats *stats)
{
  const struct {
    const char *name;
    int64_t value;
  } counts[] = {
      {"accepted", stats->accepted},   {"ok", stats->ok},
      {"failed", stats->failed},       {"cancelled", stats->cancelled},
      {"in_flight", stats->in_flight}, {"queued", stats->queued},
      {"attempts", stats->attempts},   {"retries", stats->retries},
      {"renewals", stats->renewals},   {"connections", stats->connections},
      {"bytes_in", stats->bytes_in},   {"bytes_out", stats->bytes_out},
  };

  lua_createtable(L, 0, 14);
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
    ac_set_whole(L, counts[i].name, counts[i].value);
  if (stats->rate_per_s < 0)
    lua_pushboolean(L, 0); /* as the option says it */
  else
    lua_pushnumber(L, (lua_Number)stats->rate_per_s);
  lua_setfield(L, -2, "rate_per_s");
  lua_createtable(L, 0, AC_PHASES + 1);
  set_ms(L, "queue", stats->queue_us);
  for (int i = 0; i < AC_PHASES; i++)
    set_ms(L, ac_phase_names[i], stats->phase_us[i]);
  lua_setfield(L, -2, "ms");
}
