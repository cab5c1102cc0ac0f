/* hanging_lookup.c - preloaded into a program: looking up a name that begins
 * with "hang." takes 10 s (HANGING_LOOKUP_MS: other ms). The file that HANGING_LOOKUP_BEGAN names is made when
 * one has begun. */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int (*getaddrinfo_fn)(const char *, const char *,
                              const struct addrinfo *, struct addrinfo **);

static void hang(void)
{
  const char *began = getenv("HANGING_LOOKUP_BEGAN");
  const char *given = getenv("HANGING_LOOKUP_MS");
  long ms = given ? atol(given) : 10000;
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  int fd = began ? open(began, O_CREAT | O_WRONLY, 0600) : -1;

  if (fd >= 0)
    close(fd);
  nanosleep(&time, NULL);
}

__attribute__((visibility("default"))) int
getaddrinfo(const char *name, const char *service,
            const struct addrinfo *hints, struct addrinfo **found)
{
  getaddrinfo_fn real;

  if (name && strncmp(name, "hang.", 5) == 0) {
    hang();
    return EAI_AGAIN;
  }
  *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
  return real(name, service, hints, found);
}
