/* forker.c - fork for specs, which plain Lua lacks: module `forker`.
 *
 *   fork() -> pid; 0 in the child
 *   wait(pid) -> exit status; 128 + n when signal n ended it
 *   leave(status)   ends this process at once, without its exit handlers */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int forker_fork(lua_State *L)
{
  pid_t pid = fork();

  if (pid < 0)
    return luaL_error(L, "fork: %s", strerror(errno));
  lua_pushinteger(L, pid);
  return 1;
}

static int forker_wait(lua_State *L)
{
  pid_t pid = (pid_t)luaL_checkinteger(L, 1);
  int status;

  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR)
      return luaL_error(L, "waitpid: %s", strerror(errno));
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status)
                                       : 128 + WTERMSIG(status));
  return 1;
}

static int forker_leave(lua_State *L)
{
  _exit((int)luaL_checkinteger(L, 1));
}

__attribute__((visibility("default"))) int luaopen_forker(lua_State *L);

int luaopen_forker(lua_State *L)
{
  lua_newtable(L);
  lua_pushcfunction(L, forker_fork);
  lua_setfield(L, -2, "fork");
  lua_pushcfunction(L, forker_wait);
  lua_setfield(L, -2, "wait");
  lua_pushcfunction(L, forker_leave);
  lua_setfield(L, -2, "leave");
  return 1;
}
