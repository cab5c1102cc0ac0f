/* skynet_host.c - a program with a skynet_send of its own, for the moment that
 * real skynet reaches once in a long while: the service ends while a message
 * is being posted to it, the sender is the last to let go of it, and so its Lua
 * state is closed inside skynet_send, on the client's own I/O thread.
 *
 *   skynet_host chunk.lua [argument]
 *
 * The chunk leaves a client with a call under way. Exit status 0: the state was
 * closed there, and neither a thread nor a descriptor is left. */
#include <dirent.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum { PATIENCE_MS = 10000 };

int skynet_send(void *context, uint32_t source, uint32_t destination, int type,
                int session, void *message, size_t size);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static lua_State *state; /* with the mutex */
static int wrong;

int skynet_send(void *context, uint32_t source, uint32_t destination, int type,
                int session, void *message, size_t size)
{
  pthread_mutex_lock(&mutex);
  if (context || message || size || session || source != 7 ||
      destination != 7 || type != 230)
    wrong = 1;
  if (state)
    lua_close(state);
  state = NULL;
  pthread_mutex_unlock(&mutex);
  return 0;
}

static void sleep_ms(int ms)
{
  struct timespec pause = {0, ms * 1000000L};

  nanosleep(&pause, NULL);
}

static int count(const char *path)
{
  DIR *dir = opendir(path);
  int n = 0;

  if (!dir)
    return -1;
  while (readdir(dir))
    n++;
  closedir(dir);
  return n;
}

static int closed(void)
{
  int yes;

  pthread_mutex_lock(&mutex);
  yes = state == NULL;
  pthread_mutex_unlock(&mutex);
  return yes;
}

static int as_before(int threads, int descriptors)
{
  return count("/proc/self/task") == threads &&
         count("/proc/self/fd") == descriptors;
}

static void *nothing(void *data)
{
  return data;
}

int main(int argc, char **argv)
{
  int threads, descriptors, waited_ms = 0, bad;
  pthread_t first;

  if (argc < 2) {
    fprintf(stderr, "usage: skynet_host chunk.lua [argument]\n");
    return 2;
  }
  /* A sanitizer starts a thread of its own with the first. */
  if (pthread_create(&first, NULL, nothing, NULL) == 0)
    pthread_join(first, NULL);
  threads = count("/proc/self/task");
  descriptors = count("/proc/self/fd");

  pthread_mutex_lock(&mutex);
  state = luaL_newstate();
  if (!state)
    return 2;
  luaL_openlibs(state);
  bad = luaL_loadfile(state, argv[1]);
  if (!bad) {
    lua_pushstring(state, argc > 2 ? argv[2] : NULL);
    bad = lua_pcall(state, 1, 1, 0); /* what it returns stays alive */
  }
  if (bad)
    fprintf(stderr, "%s\n", lua_tostring(state, -1));
  pthread_mutex_unlock(&mutex);
  if (bad)
    return 2;

  while (!closed() && waited_ms < PATIENCE_MS)
    sleep_ms(1), waited_ms++;
  while (!as_before(threads, descriptors) && waited_ms < PATIENCE_MS)
    sleep_ms(1), waited_ms++;
  if (wrong || !closed() || !as_before(threads, descriptors)) {
    fprintf(stderr, "%s, %d threads (%d before), %d descriptors (%d before)\n",
            wrong        ? "a wrong message"
            : !closed() ? "no message"
                        : "closed",
            count("/proc/self/task"), threads, count("/proc/self/fd"),
            descriptors);
    return 1;
  }
  return 0;
}
