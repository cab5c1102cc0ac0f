#include "box.h"

#include <string.h>

#include "push.h"

struct ac_box *ac_box_push(lua_State *L)
{
  struct ac_box *box = ac_new_userdata(L, sizeof *box);

  memset(box, 0, sizeof *box);
  ac_buffer_init(&box->body, AC_MAX_REQUEST_BODY_BYTES);
  luaL_getmetatable(L, AC_CLIENT_METATABLE);
  lua_setmetatable(L, -2);
  return box;
}

struct ac_box *ac_box_check(lua_State *L)
{
  return luaL_checkudata(L, 1, AC_CLIENT_METATABLE);
}

int ac_box_forked(const struct ac_box *box)
{
  return box->runner && ac_runner_forked(box->runner);
}

/* Says why the client cannot be used, or AC_OK. */
static ac_kind usable(const struct ac_box *box, struct ac_error *err)
{
  if (ac_box_forked(box))
    return ac_error_set(err, AC_ERR_FORKED,
                        "this client was made before the process forked; "
                        "make one in each process");
  if (box->closed || !box->runner)
    return ac_error_set(err, AC_ERR_CLOSED, "this client is closed");
  return AC_OK;
}

int ac_box_refuses(lua_State *L, struct ac_box **out_box)
{
  return ac_box_refuses_call(L, out_box, NULL);
}

int ac_box_refuses_call(lua_State *L, struct ac_box **out_box,
                        const char *operation)
{
  struct ac_error err;

  *out_box = ac_box_check(L);
  if (usable(*out_box, &err) == AC_OK)
    return 0;
  return ac_return_error(L, &err, operation);
}

int ac_box_check_id(lua_State *L, int index, int64_t *out_id)
{
  double id;

  luaL_checktype(L, index, LUA_TNUMBER);
  id = (double)lua_tonumber(L, index);
  if (!(id >= 1 && id <= 9007199254740991.0))
    return 0;
  *out_id = (int64_t)id;
  return (double)*out_id == id;
}

void ac_box_empty(struct ac_box *box)
{
  struct ac_runner *runner = box->runner;

  box->closed = 1;
  box->runner = NULL;
  ac_runner_free(runner);
  ac_call_free(box->parked);
  box->parked = NULL;
  ac_buffer_free(&box->body);
}
