/* slow_lookup.c - for LD_PRELOAD: looking up a name that ends in ".slow.test"
 * takes SLOW_LOOKUP_MS milliseconds and finds 127.0.0.1. Other names are
 * looked up as ever. */
#define _GNU_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int lookup(const char *, const char *, const struct addrinfo *,
                   struct addrinfo **);

static long slow_ms;

/* At load: nginx takes the environment away from its workers. */
__attribute__((constructor)) static void read_environment(void)
{
  const char *text = getenv("SLOW_LOOKUP_MS");

  slow_ms = text ? atol(text) : 0;
}

static int is_slow(const char *name)
{
  static const char end[] = ".slow.test";
  size_t length = name ? strlen(name) : 0;

  return length >= sizeof end - 1 &&
         strcmp(name + length - (sizeof end - 1), end) == 0;
}

int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
  static lookup *real;
  struct timespec left = {slow_ms / 1000, slow_ms % 1000 * 1000000};

  if (!real)
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  if (!is_slow(name))
    return real(name, service, hints, out);
  while (nanosleep(&left, &left) != 0 && errno == EINTR)
    continue;
  return real("127.0.0.1", service, hints, out);
}
