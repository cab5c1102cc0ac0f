#include "manual.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../base/version.h"
#include "fields.h"
#include "push.h"

void ac_manual_init(struct ac_box *box, const struct ac_runner_config *config)
{
  const char *url = config->client.base_url;
  const char *host = strstr(url, "://");
  size_t length = host ? (size_t)(host + 3 - url) : 0;

  length += strcspn(url + length, "/");
  snprintf(box->origin, sizeof box->origin, "%.*s", (int)length, url);
  snprintf(box->user_agent, sizeof box->user_agent, "%s",
           config->user_agent ? config->user_agent : "agora_chat/" AC_VERSION);
  box->first_ms = ac_clock_ms(&config->clock);
  box->first_wall_s = ac_clock_wall_s(&config->clock);
}

static int refuses_manual(lua_State *L, struct ac_box **out_box)
{
  int results = ac_box_refuses(L, out_box);

  if (results == 0 && !(*out_box)->manual)
    luaL_error(L, "only with transport = 'lua'");
  return results;
}

int ac_manual_next_outgoing(lua_State *L)
{
  struct ac_box *box;
  struct ac_call *call;

  if (refuses_manual(L, &box))
    return 2;
  call = ac_runner_next_outgoing(box->runner);
  if (!call) {
    lua_pushnil(L);
    return 1;
  }
  lua_createtable(L, 0, 6);
  ac_set_whole(L, "id", call->id);
  ac_set_text(L, "method", call->method);
  lua_pushfstring(L, "%s%s", box->origin, call->full_path);
  lua_setfield(L, -2, "url");
  lua_createtable(L, 0, 4);
  ac_set_text(L, "Accept", "application/json");
  ac_set_text(L, "User-Agent", box->user_agent);
  if (call->token) {
    lua_pushfstring(L, "Bearer %s", call->token);
    lua_setfield(L, -2, "Authorization");
  }
  if (call->body)
    ac_set_text(L, "Content-Type", "application/json");
  lua_setfield(L, -2, "headers");
  if (call->body) {
    lua_pushlstring(L, call->body, call->body_length);
    lua_setfield(L, -2, "body");
  }
  ac_set_boolean(L, "fresh", call->fresh);
  return 1;
}

/* The answer of a spec, read before anything is written. */
struct delivery {
  int http_status;
  ac_kind kind;
  int phase; /* -1: none */
  int sent;
  const char *kind_name, *code, *message;
  struct ac_slice body;
  const char *retry_after, *date, *content_encoding;
};

/* clang-format off */
#define AT(member) offsetof(struct delivery, member)
static const struct ac_field delivery_rows[] = {
    {"http_status", AC_FIELD_INT,     AT(http_status), 0, 9999},
    {"headers",     AC_FIELD_TABLE,   0, 0, 0},
    {"body",        AC_FIELD_BYTES,   AT(body), 0, 0},
    {"kind",        AC_FIELD_TEXT,    AT(kind_name), 0, 0},
    {"code",        AC_FIELD_TEXT,    AT(code), 0, 0},
    {"message",     AC_FIELD_TEXT,    AT(message), 0, 0},
    {"sent",        AC_FIELD_BOOLEAN, AT(sent), 0, 0},
};
#undef AT
/* clang-format on */
static const struct ac_fields delivery_fields = {
    delivery_rows, (int)(sizeof delivery_rows / sizeof delivery_rows[0]),
    "field of a delivery", ""};

/* The headers table on top of the stack. */
static void read_headers(lua_State *L, struct delivery *d)
{
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    const char *name, *value;

    if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "headers are names and texts");
    name = lua_tostring(L, -2);
    value = lua_tostring(L, -1);
    if (strcasecmp(name, "Retry-After") == 0)
      d->retry_after = value;
    else if (strcasecmp(name, "Date") == 0)
      d->date = value;
    else if (strcasecmp(name, "Content-Encoding") == 0)
      d->content_encoding = value;
    lua_pop(L, 1);
  }
}

/* May the request have arrived, if it ended so? */
static int may_have_arrived(const struct delivery *d)
{
  static const char *const before[] = {"dns", "connect", "tls", "proxy"};

  if (d->kind == AC_ERR_TLS)
    return 0;
  for (size_t i = 0; d->code && i < sizeof before / sizeof before[0]; i++)
    if (strcmp(d->code, before[i]) == 0)
      return 0;
  return 1;
}

static void read_delivery(lua_State *L, int index, struct delivery *d)
{
  struct ac_error err;

  memset(d, 0, sizeof *d);
  d->sent = d->phase = -1;
  if (ac_fields_read(L, index, &delivery_fields, d, &err))
    luaL_error(L, "%s", err.text);
  if (d->kind_name) {
    d->kind = ac_kind_from_name(d->kind_name);
    if (d->kind == AC_OK)
      luaL_error(L, "unknown kind '%s'", d->kind_name);
  }
  for (int i = 0; d->kind == AC_ERR_TIMEOUT && d->code && i < AC_PHASES; i++)
    if (strcmp(ac_phase_names[i], d->code) == 0)
      d->phase = i;
  if (d->sent < 0)
    d->sent = may_have_arrived(d);
  if (ac_push_field(L, index, "headers") == LUA_TTABLE)
    read_headers(L, d);
  lua_pop(L, 1);
}

static void set_header(char *out, size_t size, const char *value)
{
  snprintf(out, size, "%s", value ? value : "");
}

int ac_manual_deliver(lua_State *L)
{
  struct ac_box *box;
  struct delivery d;
  struct ac_call *call = NULL;
  struct ac_reply *reply;
  int64_t id;

  if (refuses_manual(L, &box))
    return 2;
  luaL_checktype(L, 3, LUA_TTABLE);
  read_delivery(L, 3, &d);
  if (ac_box_check_id(L, 2, &id))
    call = ac_runner_find_out(box->runner, id);
  if (!call)
    return luaL_error(L, "no such call is out");

  reply = &call->reply;
  ac_call_clear_reply(call);
  reply->http_status = d.http_status;
  reply->sent = d.sent;
  reply->bytes_in = (int64_t)d.body.length;
  if (d.phase >= 0)
    reply->phase = (enum ac_phase)d.phase;
  set_header(reply->retry_after, sizeof reply->retry_after, d.retry_after);
  set_header(reply->date, sizeof reply->date, d.date);
  set_header(reply->content_encoding, sizeof reply->content_encoding,
             d.content_encoding);
  ac_error_clear(&call->error);
  if (d.kind)
    ac_error_set_code(&call->error, d.kind, d.code, "%s",
                      d.message ? d.message : "");
  else if (ac_buffer_add(&reply->body, d.body.bytes, d.body.length))
    ac_error_set_code(&call->error, AC_ERR_BAD_RESPONSE, "too_large",
                      "the answer is longer than %d bytes", AC_MAX_BODY_BYTES);
  ac_runner_deliver(box->runner, call);
  lua_pushboolean(L, 1);
  return 1;
}

static int64_t check_moment(lua_State *L, int index)
{
  double moment;

  luaL_checktype(L, index, LUA_TNUMBER);
  moment = (double)lua_tonumber(L, index);
  luaL_argcheck(L, moment >= 0 && moment <= AC_MAX_EXACT, index,
                "no moment in time");
  return (int64_t)moment;
}

int ac_manual_set_now(lua_State *L)
{
  struct ac_box *box;
  int64_t now_ms;

  if (refuses_manual(L, &box))
    return 2;
  now_ms = check_moment(L, 2);
  if (!lua_isnoneornil(L, 3)) {
    box->first_wall_s = check_moment(L, 3);
    box->first_ms = now_ms;
  }
  ac_runner_set_now(box->runner, now_ms,
                    box->first_wall_s + (now_ms - box->first_ms) / 1000);
  return 0;
}
