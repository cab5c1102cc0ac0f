/* memory_host.c - a Lua interpreter in which the k-th allocation of the C core,
 * libcurl, cJSON and zlib fails.
 *
 *   memory_host script.lua
 *
 * The script gets fail(k, lasting): from now on count these libraries'
 * allocations, and refuse the k-th, with `lasting` all after it too; and
 * fail_stop(), which says whether it came to that. Who allocates is seen by the
 * address to return to, so Lua, OpenSSL and libc get what they want. (oom_host.c
 * does the same to Lua.) */
#include <lauxlib.h>
#include <link.h>
#include <lua.h>
#include <lualib.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* glibc's own, and a sanitizer's, which must see all of them. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__interceptor_malloc(size_t size) __attribute__((weak));
void *__interceptor_calloc(size_t count, size_t size) __attribute__((weak));
void *__interceptor_realloc(void *block, size_t size) __attribute__((weak));

enum { MAX_RANGES = 32 };

static struct {
  uintptr_t from, to;
} ranges[MAX_RANGES];
static int range_count;

static int active, lasting, hit;
static long left; /* until it fails */

static int is_ours(const void *caller)
{
  uintptr_t at = (uintptr_t)caller;

  for (int i = 0; i < range_count; i++)
    if (at >= ranges[i].from && at < ranges[i].to)
      return 1;
  return 0;
}

static int refuses(const void *caller)
{
  long now;

  if (!__atomic_load_n(&active, __ATOMIC_ACQUIRE) || !is_ours(caller))
    return 0;
  now = __atomic_sub_fetch(&left, 1, __ATOMIC_ACQ_REL);
  if (now > 0 || (now < 0 && !lasting))
    return 0;
  __atomic_store_n(&hit, 1, __ATOMIC_RELEASE);
  return 1;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size)
{
  if (refuses(CALLER))
    return NULL;
  return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
  if (refuses(CALLER))
    return NULL;
  return __interceptor_calloc ? __interceptor_calloc(count, size)
                              : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
  if (refuses(CALLER))
    return NULL;
  return __interceptor_realloc ? __interceptor_realloc(block, size)
                               : __libc_realloc(block, size);
}

char *strdup(const char *text)
{
  size_t size = strlen(text) + 1;
  char *copy;

  if (refuses(CALLER))
    return NULL;
  copy = __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
  return copy ? memcpy(copy, text, size) : NULL;
}

static int find_range(struct dl_phdr_info *info, size_t size, void *data)
{
  static const char *const names[] = {"/agora_chat/core.so", "/libcurl.so",
                                      "/libcjson.so", "/libz.so"};
  int wanted = 0;

  (void)size;
  (void)data;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    wanted |= strstr(info->dlpi_name, names[i]) != NULL;
  for (int i = 0; wanted && i < info->dlpi_phnum; i++)
    if (info->dlpi_phdr[i].p_type == PT_LOAD && range_count < MAX_RANGES) {
      ranges[range_count].from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
      ranges[range_count].to =
          ranges[range_count].from + info->dlpi_phdr[i].p_memsz;
      range_count++;
    }
  return 0;
}

/* fail(k, lasting) */
static int fail(lua_State *L)
{
  if (range_count == 0)
    dl_iterate_phdr(find_range, NULL);
  if (range_count == 0)
    return luaL_error(L, "load the module first");
  left = (long)luaL_checknumber(L, 1);
  lasting = lua_toboolean(L, 2);
  __atomic_store_n(&hit, 0, __ATOMIC_RELEASE);
  __atomic_store_n(&active, 1, __ATOMIC_RELEASE);
  return 0;
}

/* fail_stop() -> boolean */
static int fail_stop(lua_State *L)
{
  __atomic_store_n(&active, 0, __ATOMIC_RELEASE);
  lua_pushboolean(L, __atomic_load_n(&hit, __ATOMIC_ACQUIRE));
  return 1;
}

int main(int argc, char **argv)
{
  lua_State *L = luaL_newstate();
  int failed;

  if (L == NULL || argc != 2) {
    fprintf(stderr, "usage: memory_host script.lua\n");
    return 2;
  }
  luaL_openlibs(L);
  lua_register(L, "fail", fail);
  lua_register(L, "fail_stop", fail_stop);
  failed = luaL_loadfile(L, argv[1]) != 0 || lua_pcall(L, 0, 0, 0) != 0;
  if (failed)
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return failed;
}
