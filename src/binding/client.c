#include "client.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "../base/version.h"
#include "../net/runner.h"
#include "fields.h"
#include "options.h"
#include "push.h"
#include "request.h"
#include "skynet.h"

#define DEFAULT_MAX_PAUSE_MS 300000
#define MAX_EXACT 9007199254740991.0
#define MAX_TTL_S 315360000.0 /* ten years */

struct box {
  struct ac_runner *runner; /* NULL: not yet, or collected */
  int closed;
  int threaded;
  int envelope;
  struct ac_call *parked;   /* ended, being pushed */
  struct ac_buffer body;    /* JSON being written */
  struct ac_event event;    /* being pushed */
  int has_event;
  struct ac_skynet_wake skynet;

  /* transport = "lua" */
  int manual;
  struct ac_clock clock;
  int64_t first_ms, first_wall_s; /* frozen clock: where it stood */
  char origin[300];
  char user_agent[AC_MAX_USER_AGENT_BYTES + 1];
};

static struct box *check_box(lua_State *L)
{
  return luaL_checkudata(L, 1, AC_CLIENT_METATABLE);
}

static int forked(const struct box *box)
{
  return box->runner && ac_runner_forked(box->runner);
}

/* Says why the client cannot be used, or AC_OK. */
static ac_kind usable(const struct box *box, struct ac_error *err)
{
  if (forked(box))
    return ac_error_set(err, AC_ERR_FORKED,
                        "this client was made before the process forked; "
                        "make one in each process");
  if (box->closed || !box->runner)
    return ac_error_set(err, AC_ERR_CLOSED, "this client is closed");
  return AC_OK;
}

/* Most methods begin with it: 0 and the box, or what they have to return (nil
   and an error). */
static int refuses(lua_State *L, struct box **out_box)
{
  struct ac_error err;

  *out_box = check_box(L);
  if (usable(*out_box, &err) == AC_OK)
    return 0;
  return ac_return_error(L, &err, NULL);
}

/* A number that stands for milliseconds to wait: rounded up, so that a wait of
   0.2 ms is not a busy loop; NaN and what is below 0 do not wait. */
static int64_t check_wait_ms(lua_State *L, int index)
{
  double ms;

  luaL_checktype(L, index, LUA_TNUMBER);
  ms = (double)lua_tonumber(L, index);
  if (!(ms > 0))
    return 0;
  if (ms >= INT_MAX)
    return INT_MAX;
  return (int64_t)ms + ((double)(int64_t)ms < ms);
}

/* -- calls -- */

static const struct ac_endpoint *check_operation(lua_State *L, const char *name)
{
  const struct ac_endpoint *row = ac_endpoint_find(name);
  struct ac_nearest nearest;

  if (row)
    return row;
  ac_nearest_init(&nearest, name);
  for (size_t i = 0; (row = ac_endpoint_at(i)) != NULL; i++)
    ac_nearest_try(&nearest, row->name);
  ac_nearest_try(&nearest, "request");
  ac_raise_unknown(L, "operation", &nearest);
  return NULL;
}

/* The arguments of an operation from stack slot `first` on: texts, as many as
   the row has. */
static void check_arguments(lua_State *L, const struct ac_endpoint *row,
                            int first, struct ac_slice *out)
{
  int count = ac_endpoint_argument_count(row);

  for (int i = 0; i < count; i++) {
    if (lua_type(L, first + i) != LUA_TSTRING) {
      char name[64], what[160];

      ac_endpoint_argument_name(row, i, name, sizeof name);
      snprintf(what, sizeof what, "%.64s: %s", row->name, name);
      ac_raise_not_text(L, first + i, what);
    }
    out[i].bytes = lua_tolstring(L, first + i, &out[i].length);
  }
  if (lua_gettop(L) >= first + count && !lua_isnil(L, first + count))
    luaL_error(L, "%s takes %d arguments, got %d", row->name, count,
               lua_gettop(L) - first + 1);
}

static void check_table(lua_State *L, int index, const char *operation,
                        const char *what)
{
  if (lua_type(L, index) != LUA_TTABLE)
    luaL_error(L, "%s: %s must be a table, got %s", operation, what,
               ac_type_name(L, index));
}

static void set_call_options(struct ac_call *call,
                             const struct ac_call_options *options)
{
  call->timeout_ms = options->timeout_ms;
  call->attempt_timeout_ms = options->attempt_timeout_ms;
  call->max_attempts = options->max_attempts;
  call->envelope = options->envelope;
  call->batch = options->batch;
  call->max_pause_ms = options->max_pause_ms;
}

/* From here to its end a call is held by C alone, so nothing here touches
   Lua. */
static ac_kind prepare_and_submit(struct box *box,
                                  const struct ac_endpoint *row,
                                  const struct ac_slice *arguments,
                                  const struct ac_request *request,
                                  const struct ac_call_options *options,
                                  int64_t *out_id, struct ac_error *err)
{
  struct ac_call *call = ac_call_new();
  ac_kind kind;

  if (!call)
    return ac_error_set(err, AC_ERR_MEMORY, "cannot make a call");
  if (row)
    kind = ac_call_prepare(call, row, arguments, err);
  else
    kind = ac_call_prepare_request(call, request->method, request->parts,
                                   request->part_count, request->query,
                                   request->query_count, request->body, err);
  if (kind == AC_OK) {
    set_call_options(call, options);
    if (!row)
      call->idempotent = request->idempotent;
    kind = ac_runner_submit(box->runner, call, out_id, err);
  }
  if (kind)
    ac_call_free(call);
  return kind;
}

/* submit(operation, opts | nil, ...) -> id | nil, err */
static int client_submit(lua_State *L)
{
  struct box *box;
  const struct ac_endpoint *row = NULL;
  struct ac_slice arguments[AC_MAX_ARGUMENTS];
  struct ac_request request;
  struct ac_call_options options;
  struct ac_error err;
  const char *operation;
  int64_t id;
  ac_kind kind = AC_OK;

  if (refuses(L, &box))
    return 2;
  luaL_checktype(L, 2, LUA_TSTRING);
  operation = lua_tostring(L, 2);
  if (strcmp(operation, "request") != 0)
    row = check_operation(L, operation);

  memset(&options, 0, sizeof options);
  options.envelope = box->envelope;
  options.max_pause_ms = DEFAULT_MAX_PAUSE_MS;
  if (!lua_isnoneornil(L, 3)) {
    check_table(L, 3, operation, "its options");
    kind = ac_call_options_read(L, 3, &options, &err);
  }
  if (row) {
    check_arguments(L, row, 4, arguments);
  } else {
    struct ac_error of_request;
    ac_kind kind_of_request;

    check_table(L, 4, operation, "its argument");
    ac_buffer_clear(&box->body);
    kind_of_request =
        ac_request_read(L, 4, &request, &box->body, &of_request);
    if (kind == AC_OK && kind_of_request) {
      kind = kind_of_request;
      err = of_request;
    }
  }

  if (kind == AC_OK)
    kind = prepare_and_submit(box, row, arguments, &request, &options, &id,
                              &err);
  ac_buffer_free(&box->body);
  if (kind)
    return ac_return_error(L, &err, operation);
  ac_push_whole(L, id);
  return 1;
}

/* 1 and the id, or 0 for a number that no call can have. */
static int check_id(lua_State *L, int index, int64_t *out_id)
{
  double id;

  luaL_checktype(L, index, LUA_TNUMBER);
  id = (double)lua_tonumber(L, index);
  if (!(id >= 1 && id <= MAX_EXACT))
    return 0;
  *out_id = (int64_t)id;
  return (double)*out_id == id;
}

static int client_cancel(lua_State *L)
{
  struct box *box;
  int64_t id;

  if (refuses(L, &box))
    return 2;
  if (check_id(L, 2, &id))
    ac_runner_cancel(box->runner, id);
  return 0;
}

/* -- time -- */

/* Ended and not yet handed out. */
static int ready(const struct box *box)
{
  return ac_runner_ready(box->runner) + (box->parked != NULL);
}

static int client_poll(lua_State *L)
{
  struct box *box;
  int64_t wait_ms;

  if (refuses(L, &box))
    return 2;
  wait_ms = check_wait_ms(L, 2);
  ac_runner_poll(box->runner, box->parked ? 0 : wait_ms);
  ac_push_whole(L, ready(box));
  return 1;
}

static int client_ready(lua_State *L)
{
  struct box *box;

  if (refuses(L, &box))
    return 2;
  ac_push_whole(L, ready(box));
  return 1;
}

static int client_fd(lua_State *L)
{
  struct box *box;

  if (refuses(L, &box))
    return 2;
  ac_push_whole(L, ac_runner_fd(box->runner));
  return 1;
}

static int client_due_in_ms(lua_State *L)
{
  struct box *box;

  if (refuses(L, &box))
    return 2;
  ac_push_whole(L, box->parked ? 0 : ac_runner_due_in_ms(box->runner));
  return 1;
}

/* After close too: ended calls can still be taken. */
static int client_pending(lua_State *L)
{
  struct box *box = check_box(L);

  if (forked(box))
    return refuses(L, &box);
  ac_push_whole(L, box->runner ? ac_runner_pending(box->runner) +
                                     (box->parked != NULL)
                               : 0);
  return 1;
}

/* -- what has ended -- */

/* next_done() -> id, result | id, nil, err | nothing; after close too */
static int client_next_done(lua_State *L)
{
  struct box *box = check_box(L);
  struct ac_call *call;
  int results = 2;

  if (forked(box))
    return refuses(L, &box);
  if (!box->runner)
    return 0;
  if (!box->parked)
    box->parked = ac_runner_take_done(box->runner);
  call = box->parked;
  if (!call)
    return 0;
  ac_push_whole(L, call->id);
  if (call->error.kind == AC_OK) {
    ac_push_json(L, call->result);
  } else {
    lua_pushnil(L);
    ac_push_error(L, &call->error, ac_call_operation(call), call->attempts,
                  call->elapsed_ms);
    results = 3;
  }
  box->parked = NULL;
  ac_call_free(call);
  return results;
}

static int client_next_event(lua_State *L)
{
  struct box *box = check_box(L);

  if (forked(box) || !box->runner)
    return refuses(L, &box);
  if (!box->has_event)
    box->has_event = ac_runner_next_event(box->runner, &box->event);
  if (!box->has_event)
    return 0;
  ac_push_event(L, &box->event);
  box->has_event = 0;
  return 1;
}

static int client_stats(lua_State *L)
{
  struct box *box;
  struct ac_stats stats;

  if (refuses(L, &box))
    return 2;
  ac_runner_stats(box->runner, &stats);
  ac_push_stats(L, &stats);
  return 1;
}

/* -- tokens -- */

/* set_token(text, ttl_s | nil) -> true | nil, err */
static int client_set_token(lua_State *L)
{
  struct box *box;
  struct ac_slice token;
  struct ac_error err;
  int64_t ttl_s = 0;
  double ttl;

  if (refuses(L, &box))
    return 2;
  luaL_checktype(L, 2, LUA_TSTRING);
  token.bytes = lua_tolstring(L, 2, &token.length);
  if (!lua_isnoneornil(L, 3)) {
    luaL_checktype(L, 3, LUA_TNUMBER);
    ttl = (double)lua_tonumber(L, 3);
    if (!(ttl >= 1 && ttl <= MAX_TTL_S) || (double)(int64_t)ttl != ttl) {
      ac_error_set(&err, AC_ERR_ARGUMENT,
                   "ttl_s must be a whole number from 1 to %.0f", MAX_TTL_S);
      return ac_return_error(L, &err, NULL);
    }
    ttl_s = (int64_t)ttl;
  }
  if (ac_runner_set_token(box->runner, token, ttl_s, &err))
    return ac_return_error(L, &err, NULL);
  lua_pushboolean(L, 1);
  return 1;
}

static int client_wants_token(lua_State *L)
{
  struct box *box;

  if (refuses(L, &box))
    return 2;
  lua_pushboolean(L, ac_runner_wants_token(box->runner));
  return 1;
}

static int client_token_failed(lua_State *L)
{
  struct box *box;

  if (refuses(L, &box))
    return 2;
  luaL_checktype(L, 2, LUA_TSTRING);
  ac_runner_token_failed(box->runner, lua_tostring(L, 2));
  return 0;
}

/* wake_skynet(handle, type) -> boolean */
static int client_wake_skynet(lua_State *L)
{
  struct box *box;
  double handle, type;

  if (refuses(L, &box))
    return 2;
  luaL_checktype(L, 2, LUA_TNUMBER);
  luaL_checktype(L, 3, LUA_TNUMBER);
  handle = (double)lua_tonumber(L, 2);
  type = (double)lua_tonumber(L, 3);
  luaL_argcheck(L, handle >= 1 && handle <= UINT32_MAX, 2,
                "not a service's handle");
  luaL_argcheck(L, type >= 0 && type <= 255, 3, "not a message type");
  if (!box->threaded || box->skynet.send ||
      !ac_skynet_find(&box->skynet, (uint32_t)handle, (int)type)) {
    lua_pushboolean(L, box->skynet.send != NULL);
    return 1;
  }
  ac_runner_set_wake(box->runner, ac_skynet_post, &box->skynet);
  lua_pushboolean(L, 1);
  return 1;
}

/* -- the end -- */

static int client_close(lua_State *L)
{
  struct box *box = check_box(L);

  if (!box->closed && box->runner && !forked(box))
    ac_runner_close(box->runner);
  box->closed = 1;
  return 0;
}

/* __gc and __close; by hand too, and twice. */
static int client_collect(lua_State *L)
{
  struct box *box = check_box(L);
  struct ac_runner *runner = box->runner;

  box->closed = 1;
  box->runner = NULL;
  ac_runner_free(runner);
  ac_call_free(box->parked);
  box->parked = NULL;
  ac_buffer_free(&box->body);
  return 0;
}

static int client_forked(lua_State *L)
{
  lua_pushboolean(L, forked(check_box(L)));
  return 1;
}

static int client_tostring(lua_State *L)
{
  const struct box *box = check_box(L);

  lua_pushfstring(L, "%s: %p%s", AC_CLIENT_METATABLE, (const void *)box,
                  box->closed || !box->runner ? " (closed)" : "");
  return 1;
}

/* -- for specs: Lua is the transport -- */

static int refuses_manual(lua_State *L, struct box **out_box)
{
  int results = refuses(L, out_box);

  if (results == 0 && !(*out_box)->manual)
    luaL_error(L, "only with transport = 'lua'");
  return results;
}

/* next_outgoing() -> { id, method, url, headers, body, fresh } | nil */
static int client_next_outgoing(lua_State *L)
{
  struct box *box;
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
  int phase;                /* -1: none */
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

/* deliver(id, { http_status, headers, body } | { kind, code }) -> true */
static int client_deliver(lua_State *L)
{
  struct box *box;
  struct delivery d;
  struct ac_call *call = NULL;
  struct ac_reply *reply;
  int64_t id;

  if (refuses_manual(L, &box))
    return 2;
  luaL_checktype(L, 3, LUA_TTABLE);
  read_delivery(L, 3, &d);
  if (check_id(L, 2, &id))
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
  luaL_argcheck(L, moment >= 0 && moment <= MAX_EXACT, index,
                "no moment in time");
  return (int64_t)moment;
}

/* set_now(ms, wall_s | nil) */
static int client_set_now(lua_State *L)
{
  struct box *box;
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

/* -- making one -- */

/* What specs see of a request that libcurl would have filled in. */
static void remember_for_specs(struct box *box,
                               const struct ac_runner_config *config)
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

/* No Lua in here: a certificate is on the C stack until it is wiped. */
static ac_kind start(struct box *box, struct ac_options *options,
                     struct ac_error *err)
{
  char certificate[AC_MAX_CERTIFICATE_FILE_BYTES + 1];
  ac_kind kind = AC_OK;

  if (options->certificate_file) {
    kind = ac_read_certificate_file(options->certificate_file, certificate, err);
    options->runner.client.credentials.app_certificate = certificate;
  }
  if (kind == AC_OK) {
    box->runner = ac_runner_new(&options->runner, err);
    kind = box->runner ? AC_OK : err->kind;
  }
  if (options->certificate_file)
    ac_wipe(certificate, sizeof certificate);
  return kind;
}

int ac_lua_client_new(lua_State *L)
{
  struct ac_options options;
  struct ac_error err;
  struct box *box;

  luaL_checktype(L, 1, LUA_TTABLE);
  if (!lua_isnoneornil(L, 2))
    luaL_checktype(L, 2, LUA_TBOOLEAN);
  ac_error_clear(&err);
  if (ac_options_read(L, 1, lua_toboolean(L, 2), &options, &err))
    return ac_return_error(L, &err, NULL);

  box = ac_new_userdata(L, sizeof *box);
  memset(box, 0, sizeof *box);
  ac_buffer_init(&box->body, AC_MAX_REQUEST_BODY_BYTES);
  luaL_getmetatable(L, AC_CLIENT_METATABLE);
  lua_setmetatable(L, -2);

  box->envelope = options.envelope;
  box->threaded = options.runner.mode == AC_RUNNER_THREADED;
  box->manual = options.runner.mode == AC_RUNNER_MANUAL;
  if (start(box, &options, &err))
    return ac_return_error(L, &err, NULL);
  if (box->manual)
    remember_for_specs(box, &options.runner);
  return 1;
}

void ac_lua_client_register(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"submit", client_submit},
      {"cancel", client_cancel},
      {"poll", client_poll},
      {"ready", client_ready},
      {"next_done", client_next_done},
      {"next_event", client_next_event},
      {"fd", client_fd},
      {"due_in_ms", client_due_in_ms},
      {"pending", client_pending},
      {"stats", client_stats},
      {"set_token", client_set_token},
      {"wants_token", client_wants_token},
      {"token_failed", client_token_failed},
      {"wake_skynet", client_wake_skynet},
      {"close", client_close},
      {"forked", client_forked},
      {"next_outgoing", client_next_outgoing},
      {"deliver", client_deliver},
      {"set_now", client_set_now},
      {NULL, NULL},
  };
  static const luaL_Reg metamethods[] = {
      {"__gc", client_collect},
      {"__close", client_collect},
      {"__tostring", client_tostring},
      {NULL, NULL},
  };

  if (luaL_newmetatable(L, AC_CLIENT_METATABLE)) {
    ac_set_functions(L, metamethods);
    lua_pushliteral(L, AC_CLIENT_METATABLE);
    lua_setfield(L, -2, "__name");
    lua_newtable(L);
    ac_set_functions(L, methods);
    lua_setfield(L, -2, "__index");
  }
  lua_pop(L, 1);
}
