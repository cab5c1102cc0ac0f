/* threads_host.c - one Lua state per thread, all over one copy of the module,
 * as skynet has it. Run under ThreadSanitizer.
 *
 *   threads_host chunk.lua [threads]
 *
 * The chunk is called with the number of its thread. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_THREADS = 64 };

struct world {
  pthread_t thread;
  const char *path;
  int number;
  int failed;
};

static void *live(void *argument)
{
  struct world *w = argument;
  lua_State *L = luaL_newstate();

  w->failed = 1;
  if (L == NULL)
    return NULL;
  luaL_openlibs(L);
  if (luaL_loadfile(L, w->path) == 0) {
    lua_pushinteger(L, w->number);
    w->failed = lua_pcall(L, 1, 0, 0) != 0;
  }
  if (w->failed)
    fprintf(stderr, "thread %d: %s\n", w->number, lua_tostring(L, -1));
  lua_close(L);
  return NULL;
}

int main(int argc, char **argv)
{
  static struct world worlds[MAX_THREADS];
  int count = argc > 2 ? atoi(argv[2]) : 8;
  int i, failed = 0;

  if (argc < 2 || count < 1 || count > MAX_THREADS) {
    fprintf(stderr, "usage: threads_host chunk.lua [1 to %d]\n", MAX_THREADS);
    return 2;
  }
  for (i = 0; i < count; i++) {
    worlds[i].path = argv[1];
    worlds[i].number = i + 1;
    if (pthread_create(&worlds[i].thread, NULL, live, &worlds[i]) != 0) {
      perror("pthread_create");
      return 1;
    }
  }
  for (i = 0; i < count; i++) {
    pthread_join(worlds[i].thread, NULL);
    failed += worlds[i].failed;
  }
  printf("%s  %d Lua states in %d threads\n", failed ? "FAIL" : "ok  ", count,
         count);
  return failed != 0;
}
