#include "client.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "box.h"
#include "fields.h"
#include "manual.h"
#include "options.h"
#include "push.h"
#include "request.h"
#include "skynet.h"

#define MAX_TTL_S 315360000.0 /* ten years */

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

static const struct ac_endpoint *check_operation(lua_State *L,
                                                 const char *name)
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
static ac_kind prepare_and_submit(struct ac_box *box,
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
  struct ac_box *box;
  const struct ac_endpoint *row = NULL;
  struct ac_slice arguments[AC_MAX_ARGUMENTS];
  struct ac_request request;
  struct ac_call_options options;
  struct ac_error err;
  const char *operation;
  int64_t id;
  ac_kind kind = AC_OK;

  operation = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : NULL;
  if (ac_box_refuses_call(L, &box, operation))
    return 2;
  luaL_checktype(L, 2, LUA_TSTRING);
  if (strcmp(operation, "request") != 0)
    row = check_operation(L, operation);

  memset(&options, 0, sizeof options);
  options.envelope = box->envelope;
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
    kind_of_request = ac_request_read(L, 4, &request, &box->body, &of_request);
    if (kind == AC_OK && kind_of_request) {
      kind = kind_of_request;
      err = of_request;
    }
  }

  if (kind == AC_OK)
    kind =
        prepare_and_submit(box, row, arguments, &request, &options, &id, &err);
  ac_buffer_free(&box->body);
  if (kind)
    return ac_return_error(L, &err, operation);
  ac_push_whole(L, id);
  return 1;
}

static int client_cancel(lua_State *L)
{
  struct ac_box *box;
  int64_t id;

  if (ac_box_refuses(L, &box))
    return 2;
  if (ac_box_check_id(L, 2, &id))
    ac_runner_cancel(box->runner, id);
  return 0;
}

/* -- time -- */

/* Ended and not yet handed out. */
static int ready(const struct ac_box *box)
{
  return ac_runner_ready(box->runner) + (box->parked != NULL);
}

static int client_poll(lua_State *L)
{
  struct ac_box *box;
  int64_t wait_ms;

  if (ac_box_refuses(L, &box))
    return 2;
  wait_ms = check_wait_ms(L, 2);
  ac_runner_poll(box->runner, box->parked ? 0 : wait_ms);
  ac_push_whole(L, ready(box));
  return 1;
}

/* ready(operation | nil) -> how many | nil, err */
static int client_ready(lua_State *L)
{
  struct ac_box *box;

  if (ac_box_refuses_call(L, &box, luaL_optstring(L, 2, NULL)))
    return 2;
  ac_push_whole(L, ready(box));
  return 1;
}

static int client_fd(lua_State *L)
{
  struct ac_box *box;

  if (ac_box_refuses(L, &box))
    return 2;
  ac_push_whole(L, ac_runner_fd(box->runner));
  return 1;
}

static int client_due_in_ms(lua_State *L)
{
  struct ac_box *box;

  if (ac_box_refuses(L, &box))
    return 2;
  ac_push_whole(L, box->parked ? 0 : ac_runner_due_in_ms(box->runner));
  return 1;
}

/* After close too: ended calls can still be taken. */
static int client_pending(lua_State *L)
{
  struct ac_box *box = ac_box_check(L);

  if (ac_box_forked(box))
    return ac_box_refuses(L, &box);
  ac_push_whole(L, box->runner
                       ? ac_runner_pending(box->runner) + (box->parked != NULL)
                       : 0);
  return 1;
}

/* -- what has ended -- */

/* next_done() -> id, result, nil, attempts, elapsed_ms | id, nil, err |
   nothing; after close too */
static int client_next_done(lua_State *L)
{
  struct ac_box *box = ac_box_check(L);
  struct ac_call *call;
  int results = 3;

  if (ac_box_forked(box))
    return ac_box_refuses(L, &box);
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
    lua_pushnil(L);
    ac_push_whole(L, call->attempts);
    ac_push_whole(L, call->elapsed_ms);
    results = 5;
  } else {
    lua_pushnil(L);
    ac_push_error(L, &call->error, ac_call_operation(call), call->attempts,
                  call->elapsed_ms);
  }
  box->parked = NULL;
  ac_runner_return(box->runner, call);
  return results;
}

static int client_next_event(lua_State *L)
{
  struct ac_box *box = ac_box_check(L);

  if (ac_box_forked(box) || !box->runner)
    return ac_box_refuses(L, &box);
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
  struct ac_box *box;
  struct ac_stats stats;

  if (ac_box_refuses(L, &box))
    return 2;
  ac_runner_stats(box->runner, &stats);
  ac_push_stats(L, &stats);
  return 1;
}

/* -- tokens -- */

/* set_token(text, ttl_s | nil) -> true | nil, err */
static int client_set_token(lua_State *L)
{
  struct ac_box *box;
  struct ac_slice token;
  struct ac_error err;
  int64_t ttl_s = 0;
  double ttl;

  if (ac_box_refuses(L, &box))
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
  struct ac_box *box;

  if (ac_box_refuses(L, &box))
    return 2;
  lua_pushboolean(L, ac_runner_wants_token(box->runner));
  return 1;
}

static int client_token_failed(lua_State *L)
{
  struct ac_box *box;

  if (ac_box_refuses(L, &box))
    return 2;
  luaL_checktype(L, 2, LUA_TSTRING);
  ac_runner_token_failed(box->runner, lua_tostring(L, 2));
  return 0;
}

/* wake_skynet(handle, type) -> boolean */
static int client_wake_skynet(lua_State *L)
{
  struct ac_box *box;
  struct ac_wake wake;
  double handle, type;

  if (ac_box_refuses(L, &box))
    return 2;
  luaL_checktype(L, 2, LUA_TNUMBER);
  luaL_checktype(L, 3, LUA_TNUMBER);
  handle = (double)lua_tonumber(L, 2);
  type = (double)lua_tonumber(L, 3);
  luaL_argcheck(L, handle >= 1 && handle <= UINT32_MAX, 2,
                "not a service's handle");
  luaL_argcheck(L, type >= 0 && type <= 255, 3, "not a message type");
  if (box->threaded && !box->posts &&
      ac_skynet_find(&wake, (uint32_t)handle, (int)type)) {
    ac_runner_set_wake(box->runner, &wake);
    box->posts = 1;
  }
  lua_pushboolean(L, box->posts);
  return 1;
}

/* -- the end -- */

static int client_close(lua_State *L)
{
  struct ac_box *box = ac_box_check(L);

  if (!box->closed && box->runner && !ac_box_forked(box))
    ac_runner_close(box->runner);
  box->closed = 1;
  return 0;
}

/* __gc and __close; by hand too, and twice. */
static int client_collect(lua_State *L)
{
  ac_box_empty(ac_box_check(L));
  return 0;
}

static int client_forked(lua_State *L)
{
  lua_pushboolean(L, ac_box_forked(ac_box_check(L)));
  return 1;
}

static int client_tostring(lua_State *L)
{
  const struct ac_box *box = ac_box_check(L);

  lua_pushfstring(L, "%s: %p%s", AC_CLIENT_METATABLE, (const void *)box,
                  box->closed || !box->runner ? " (closed)" : "");
  return 1;
}

/* -- making one -- */

/* No Lua in here: a certificate is on the C stack until it is wiped. */
static ac_kind start(struct ac_box *box, struct ac_options *options,
                     struct ac_error *err)
{
  char certificate[AC_MAX_CERTIFICATE_FILE_BYTES + 1];
  ac_kind kind = AC_OK;

  if (options->certificate_file) {
    kind =
        ac_read_certificate_file(options->certificate_file, certificate, err);
    options->runner.client.credentials.app_certificate = certificate;
  }
  if (kind == AC_OK) {
    box->runner = ac_runner_new(&options->runner, err);
    kind = box->runner ? AC_OK : err->kind;
  }
  if (options->certificate_file) {
    options->runner.client.credentials.app_certificate = NULL;
    ac_wipe(certificate, sizeof certificate);
  }
  return kind;
}

int ac_lua_client_new(lua_State *L)
{
  struct ac_options options;
  struct ac_error err;
  struct ac_box *box;

  luaL_checktype(L, 1, LUA_TTABLE);
  if (!lua_isnoneornil(L, 2))
    luaL_checktype(L, 2, LUA_TBOOLEAN);
  ac_error_clear(&err);
  if (ac_options_read(L, 1, lua_toboolean(L, 2), &options, &err))
    return ac_return_error(L, &err, NULL);

  box = ac_box_push(L);
  box->envelope = options.envelope;
  box->threaded = options.runner.mode == AC_RUNNER_THREADED;
  box->manual = options.runner.mode == AC_RUNNER_MANUAL;
  if (start(box, &options, &err))
    return ac_return_error(L, &err, NULL);
  if (box->manual)
    ac_manual_init(box, &options.runner);
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
      {"next_outgoing", ac_manual_next_outgoing},
      {"deliver", ac_manual_deliver},
      {"set_now", ac_manual_set_now},
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
