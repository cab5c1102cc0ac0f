/* box.h - what the userdata `agora_chat.core.client` holds: a runner, and
 * what is on its way between C and Lua.
 *
 * The box comes first, empty and with its finalizer, the runner second. What
 * is being pushed to Lua stays parked in the box, so that a raise in between
 * (memory) loses nothing: the next next_done gives it again, or __gc frees
 * it. */
#ifndef AC_BOX_H
#define AC_BOX_H

#include "../net/runner.h"
#include "compat.h"
#include "options.h"

#define AC_CLIENT_METATABLE "agora_chat.core.client"

struct ac_box {
  struct ac_runner *runner; /* NULL: not yet, or collected */
  int closed;
  int threaded;
  int envelope;           /* of calls that do not say */
  struct ac_call *parked; /* ended, being pushed */
  struct ac_buffer body;  /* JSON being written */
  struct ac_event event;  /* being pushed */
  int has_event;
  int posts;              /* the I/O thread wakes a skynet service */

  /* transport = "lua" */
  int manual;
  int64_t first_ms, first_wall_s; /* frozen clock: where it stood */
  char origin[300];
  char user_agent[AC_MAX_USER_AGENT_BYTES + 1];
};

/* Pushes an empty box that can be collected. */
struct ac_box *ac_box_push(lua_State *L);

/* The first argument; raises when it is no box. */
struct ac_box *ac_box_check(lua_State *L);

int ac_box_forked(const struct ac_box *box);

/* Most methods begin with it: 0 and the box, or (forked, closed) how many
   values there are to return: nil and an error. */
int ac_box_refuses(lua_State *L, struct ac_box **out_box);

/* The same for what belongs to a call: the error names its operation. */
int ac_box_refuses_call(lua_State *L, struct ac_box **out_box,
                        const char *operation);

/* A number that can be a call's id: 1 and the id. Raises for other types. */
int ac_box_check_id(lua_State *L, int index, int64_t *out_id);

/* Closes and frees what is in the box; twice is fine. */
void ac_box_empty(struct ac_box *box);

#endif
