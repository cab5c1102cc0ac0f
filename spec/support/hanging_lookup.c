/* hanging_lookup.c - preloaded into a program, it answers for some names:
 *   hang.*   after 10 s (HANGING_LOOKUP_MS: other ms): try again. The file that
 *            HANGING_LOOKUP_BEGAN names is made when one has begun.
 *   two.*    two addresses, 127.0.0.2 and 127.0.0.1 */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef int (*getaddrinfo_fn)(const char *, const char *,
                              const struct addrinfo *, struct addrinfo **);

static const char *began;
static long ms = 10000;

/* At load: nginx takes the environment away from its workers. */
__attribute__((constructor)) static void read_environment(void)
{
  const char *given = getenv("HANGING_LOOKUP_MS");

  began = getenv("HANGING_LOOKUP_BEGAN");
  if (given)
    ms = atol(given);
}

static void hang(void)
{
  struct timespec time = {ms / 1000, ms % 1000 * 1000000};
  int fd = began ? open(began, O_CREAT | O_WRONLY, 0600) : -1;

  if (fd >= 0)
    close(fd);
  nanosleep(&time, NULL);
}

static int two(getaddrinfo_fn real, const char *service,
               const struct addrinfo *hints, struct addrinfo **found)
{
  int failed = real("127.0.0.2", service, hints, found);
  struct addrinfo *last = *found;

  if (failed)
    return failed;
  while (last->ai_next)
    last = last->ai_next;
  return real("127.0.0.1", service, hints, &last->ai_next);
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
  if (name && strncmp(name, "two.", 4) == 0)
    return two(real, service, hints, found);
  return real(name, service, hints, found);
}
