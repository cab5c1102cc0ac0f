/* oom_host.c - a program that embeds Lua and lets the n-th allocation fail,
 * for every n.
 *
 * Any call of the Lua C API that allocates may leave the binding by longjmp.
 * What the binding held at that moment must still be freed: run under
 * LeakSanitizer, which looks at the end of the program.
 *
 *   oom_host chunk.lua
 *
 * The chunk gets two functions: fail_on() and fail_off() say where allocations
 * are counted, so that loading Lua files is not tried ten thousand times. A
 * failing allocation stays failing until the innermost pcall has caught it
 * (Lua collects garbage and asks again before it gives up), or, in the second
 * round, only for that one asking: then programs that catch the error go on. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct memory {
  long counted;   /* allocations so far, while counting */
  long fail_at;   /* 0: never */
  int counting;
  int lasting;    /* fail on until the run is over, or only one asking */
  int failing;
  int denied;     /* of one asking: Lua asks twice */
};

static void *allocate(void *ud, void *block, size_t old, size_t size)
{
  struct memory *m = ud;

  if (size == 0) {
    free(block);
    return NULL;
  }
  /* Lua takes it for granted that a block can shrink. */
  if (block != NULL && size <= old)
    return realloc(block, size);
  if (m->counting && m->fail_at != 0) {
    if (!m->failing && ++m->counted == m->fail_at)
      m->failing = 1;
    if (m->failing && (m->lasting || m->denied < 2)) {
      m->denied++;
      return NULL;
    }
  }
  return realloc(block, size);
}

static struct memory *memory_of(lua_State *L)
{
  void *ud;

  lua_getallocf(L, &ud);
  return ud;
}

static int fail_on(lua_State *L)
{
  memory_of(L)->counting = 1;
  return 0;
}

static int fail_off(lua_State *L)
{
  memory_of(L)->counting = 0;
  return 0;
}

/* One run in a state of its own. 1: the n-th allocation came; 0: the chunk has
   fewer, and went through; -1: it failed for another reason. */
static int run(const char *path, long n, int lasting)
{
  struct memory m = {0, 0, 0, 0, 0, 0};
  lua_State *L = lua_newstate(allocate, &m);
  const char *text;
  int status, result;

  if (L == NULL)
    return -1;
  luaL_openlibs(L);
  lua_register(L, "fail_on", fail_on);
  lua_register(L, "fail_off", fail_off);
  status = luaL_loadfile(L, path);
  m.fail_at = n;
  m.lasting = lasting;
  if (status == LUA_OK)
    status = lua_pcall(L, 0, 0, 0);
  m.counting = 0;

  result = m.failing;
  if (status != LUA_OK) {
    text = lua_tostring(L, -1);
    if (!m.failing || text == NULL || strstr(text, "not enough memory") == NULL) {
      fprintf(stderr, "allocation %ld (%s): %s\n", n,
              lasting ? "lasting" : "once", text ? text : "(no text)");
      result = -1;
    }
  }
  lua_close(L);
  return result;
}

int main(int argc, char **argv)
{
  long n;
  int lasting, result;

  if (argc != 2) {
    fprintf(stderr, "usage: oom_host chunk.lua\n");
    return 2;
  }
  for (lasting = 1; lasting >= 0; lasting--) {
    n = 0;
    do {
      result = run(argv[1], ++n, lasting);
    } while (result == 1);
    if (result < 0)
      return 1;
    if (n < 100) {
      fprintf(stderr, "only %ld allocations: does the chunk do its work?\n", n);
      return 1;
    }
    printf("ok    out of memory: each of %ld allocations failed (%s)\n", n - 1,
           lasting ? "and all after it" : "alone");
  }
  return 0;
}
