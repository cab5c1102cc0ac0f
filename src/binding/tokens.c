#include "tokens.h"

#include <string.h>

#include "../base/clock.h"
#include "../base/random.h"
#include "../chat/endpoint.h"
#include "../chat/token.h"
#include "options.h"
#include "push.h"

enum {
  MAX_TOKEN_TEXT = 2048, /* one made here has about 200 bytes */
  MAX_USER_NAME_BYTES = 64
};

/* A user name that the service takes; "" would make an app token, which may do
   anything. */
static ac_kind check_username(const char *name, struct ac_error *err)
{
  struct ac_slice text;
  struct ac_buffer segment;
  ac_kind kind;

  text.bytes = name;
  text.length = strlen(name);
  ac_buffer_init(&segment, AC_MAX_PATH_BYTES);
  kind = ac_endpoint_segment(text, MAX_USER_NAME_BYTES, "username", &segment,
                             err);
  ac_buffer_free(&segment);
  return kind;
}

/* Calls no Lua while it holds memory; `out` is on the caller's stack. */
static ac_kind make(const struct ac_token_options *options, char *out,
                    size_t *out_length, struct ac_error *err)
{
  static const struct ac_clock real = {0, 0, 0};
  struct ac_token_input input;
  struct ac_buffer text;
  uint32_t chance;
  ac_kind kind;

  if (options->username && check_username(options->username, err))
    return err->kind;
  if (!ac_random_system(&chance, sizeof chance))
    return ac_error_set(err, AC_ERR_UNAUTHORIZED,
                        "the system gives no random bytes");
  input.app_id = options->app_id;
  input.app_certificate = options->app_certificate;
  input.user_id = options->username;
  input.issued_at_s = ac_clock_wall_s(&real);
  input.ttl_s = options->ttl_s;
  input.salt = chance % 99999999 + 1;
  ac_buffer_init(&text, MAX_TOKEN_TEXT);
  kind = ac_token_make(&input, &text, err);
  if (kind == AC_OK) {
    memcpy(out, text.bytes, text.length);
    *out_length = text.length;
  }
  ac_buffer_wipe(&text);
  return kind;
}

static int make_token(lua_State *L, int use)
{
  struct ac_token_options options;
  struct ac_error err;
  char text[MAX_TOKEN_TEXT];
  size_t length = 0;

  luaL_checktype(L, 1, LUA_TTABLE);
  if (ac_token_options_read(L, 1, use, &options, &err) ||
      make(&options, text, &length, &err))
    return ac_return_error(L, &err, NULL);
  lua_pushlstring(L, text, length);
  return 1;
}

int ac_tokens_app(lua_State *L)
{
  return make_token(L, AC_TOKEN_APP);
}

int ac_tokens_user(lua_State *L)
{
  return make_token(L, AC_TOKEN_USER);
}

static void push_service(lua_State *L, const struct ac_token_service *service)
{
  lua_createtable(L, 0, 3);
  ac_set_whole(L, "type", service->type);
  if (service->has_user_id)
    ac_set_text(L, "user_id", service->user_id);
  lua_createtable(L, service->privilege_count, 0);
  for (int i = 0; i < service->privilege_count; i++) {
    ac_push_whole(L, service->privileges[i].expire_s);
    lua_rawseti(L, -2, service->privileges[i].privilege);
  }
  lua_setfield(L, -2, "privileges");
}

int ac_tokens_read(lua_State *L)
{
  struct ac_token_options options;
  struct ac_token_info info; /* no heap: a raise loses nothing */
  struct ac_error err;
  const char *text;
  size_t length;

  luaL_checktype(L, 1, LUA_TSTRING);
  text = lua_tolstring(L, 1, &length);
  memset(&options, 0, sizeof options);
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    if (ac_token_options_read(L, 2, AC_TOKEN_READ, &options, &err))
      return ac_return_error(L, &err, NULL);
  }
  if (ac_token_read(text, length, options.app_certificate, &info, &err))
    return ac_return_error(L, &err, NULL);
  lua_createtable(L, 0, 5);
  ac_set_text(L, "app_id", info.app_id);
  ac_set_whole(L, "issued_at_s", info.issued_at_s);
  ac_set_whole(L, "expires_at_s", info.expires_at_s);
  lua_createtable(L, info.service_count, 0);
  for (int i = 0; i < info.service_count; i++) {
    push_service(L, &info.services[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "services");
  if (info.verified)
    ac_set_boolean(L, "verified", 1);
  return 1;
}
