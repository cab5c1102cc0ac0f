/* clock.c - what a bench needs and Lua has not: three clocks, in seconds.
 *
 *   local clock = require "bench_clock"
 *   clock.wall()     monotonic
 *   clock.cpu()      CPU of this process, all its threads
 *   clock.thread()   CPU of the calling thread alone */
#include <lauxlib.h>
#include <lua.h>
#include <time.h>

static int push_clock(lua_State *L, clockid_t id)
{
  struct timespec now;

  clock_gettime(id, &now);
  lua_pushnumber(L, (lua_Number)now.tv_sec + (lua_Number)now.tv_nsec / 1e9);
  return 1;
}

static int wall(lua_State *L)
{
  return push_clock(L, CLOCK_MONOTONIC);
}

static int cpu(lua_State *L)
{
  return push_clock(L, CLOCK_PROCESS_CPUTIME_ID);
}

static int thread(lua_State *L)
{
  return push_clock(L, CLOCK_THREAD_CPUTIME_ID);
}

__attribute__((visibility("default"))) int luaopen_bench_clock(lua_State *L);

int luaopen_bench_clock(lua_State *L)
{
  lua_createtable(L, 0, 3);
  lua_pushcfunction(L, wall);
  lua_setfield(L, -2, "wall");
  lua_pushcfunction(L, cpu);
  lua_setfield(L, -2, "cpu");
  lua_pushcfunction(L, thread);
  lua_setfield(L, -2, "thread");
  return 1;
}
