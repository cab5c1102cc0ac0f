/* names.c - name servers for specs: preloaded, it answers for some names.
 *
 *   *.black.test   says nothing for 3 s, then "try again"
 *   *.two.test     127.0.0.2, where nobody listens, then 127.0.0.1
 *   others         as ever
 *
 *   LD_PRELOAD=names.so lua program.lua */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

enum { SILENCE_S = 3 };

typedef int lookup(const char *, const char *, const struct addrinfo *,
                   struct addrinfo **);

static int ends_with(const char *name, const char *end)
{
  size_t length = name ? strlen(name) : 0;
  size_t tail = strlen(end);

  return length > tail && strcmp(name + length - tail, end) == 0;
}

int getaddrinfo(const char *name, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
  lookup *next = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
  int failed;

  if (ends_with(name, ".black.test")) {
    sleep(SILENCE_S);
    return EAI_AGAIN;
  }
  if (!ends_with(name, ".two.test"))
    return next(name, service, hints, out);
  failed = next("127.0.0.2", service, hints, out);
  if (!failed) {
    struct addrinfo *last = *out;

    while (last->ai_next)
      last = last->ai_next;
    failed = next("127.0.0.1", service, hints, &last->ai_next);
  }
  return failed;
}
