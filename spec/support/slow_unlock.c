/* slow_unlock.c - preloaded into a program, it lets other threads be first:
 * while the file that SLOW_UNLOCK_WHILE names is there, the program's first
 * thread rests 600 ms after each lock that the module lets go. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef int (*unlock_fn)(pthread_mutex_t *);

static const char *during;
static unlock_fn real;

__attribute__((constructor)) static void begin(void)
{
  during = getenv("SLOW_UNLOCK_WHILE");
  *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
}

static int from_module(void *caller)
{
  Dl_info where;

  return dladdr(caller, &where) && strstr(where.dli_fname, "agora_chat/core.so");
}

__attribute__((visibility("default"))) int
pthread_mutex_unlock(pthread_mutex_t *mutex)
{
  struct timespec rest = {0, 600 * 1000000};
  int result;

  if (!real) /* before the constructor ran */
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_unlock");
  result = real(mutex);
  if (during && syscall(SYS_gettid) == getpid() &&
      from_module(__builtin_return_address(0)) && access(during, F_OK) == 0)
    nanosleep(&rest, NULL);
  return result;
}
