/* lua_host.c - the smallest Lua interpreter: runs a script with arguments.
 *
 * The sanitizers want to be in the program, not only in a module that it loads
 * later. Preloading them into the system's interpreter would do, but every
 * child process would inherit that, the emulator among them.
 *
 * Modules stay loaded until the end: what the globals of an unloaded module
 * held looks leaked (cqueues keeps a table of OpenSSL there), and the stack of
 * a true leak has no names any more.
 *
 *   lua_host script.lua [arguments] */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>

/* Instead of libc's, for Lua's own unloading. */
int dlclose(void *handle);
int dlclose(void *handle)
{
  (void)handle;
  return 0;
}

static int traceback(lua_State *L)
{
  if (lua_type(L, 1) == LUA_TSTRING) {
    lua_getglobal(L, "debug");
    lua_getfield(L, -1, "traceback");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
  }
  return 1;
}

int main(int argc, char **argv)
{
  lua_State *L = luaL_newstate();
  int i, failed;

  if (L == NULL || argc < 2) {
    fprintf(stderr, "usage: lua_host script.lua [arguments]\n");
    return 2;
  }
  luaL_openlibs(L);
  lua_newtable(L);                  /* arg: the script is 0, this program -1 */
  for (i = 0; i < argc; i++) {
    lua_pushstring(L, argv[i]);
    lua_rawseti(L, -2, i - 1);
  }
  lua_setglobal(L, "arg");

  lua_pushcfunction(L, traceback);
  failed = luaL_loadfile(L, argv[1]) != 0;
  if (!failed) {
    luaL_checkstack(L, argc, "too many arguments");
    for (i = 2; i < argc; i++)
      lua_pushstring(L, argv[i]);
    failed = lua_pcall(L, argc - 2, 0, 1) != 0;
  }
  if (failed && lua_isstring(L, -1))
    fprintf(stderr, "lua_host: %s\n", lua_tostring(L, -1));
  lua_close(L);
  return failed;
}
