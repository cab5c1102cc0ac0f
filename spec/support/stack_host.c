/* stack_host.c - a program that runs Lua on a thread with a stack of 64 KiB, as
 * programs with many threads do.
 *
 *   stack_host script.lua [arguments] */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { STACK_BYTES = 1024 * 1024 }; /* theirs are larger frames */
#else
enum { STACK_BYTES = 64 * 1024 };
#endif

static char **words;
static int failed;

static void *run(void *data)
{
  lua_State *L = luaL_newstate();
  int count = 0;

  (void)data;
  if (L == NULL)
    return NULL;
  luaL_openlibs(L);
  failed = luaL_loadfile(L, words[1]) != 0;
  while (!failed && words[count + 2])
    lua_pushstring(L, words[count++ + 2]);
  failed = failed || lua_pcall(L, count, 0, 0) != 0;
  if (failed)
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return NULL;
}

int main(int argc, char **argv)
{
  pthread_attr_t attributes;
  pthread_t thread;

  if (argc < 2) {
    fprintf(stderr, "usage: stack_host script.lua [arguments]\n");
    return 2;
  }
  words = argv;
  if (pthread_attr_init(&attributes) ||
      pthread_attr_setstacksize(&attributes, STACK_BYTES) ||
      pthread_create(&thread, &attributes, run, NULL)) {
    fprintf(stderr, "no thread with such a stack\n");
    return 2;
  }
  pthread_join(thread, NULL);
  return failed;
}
