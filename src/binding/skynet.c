#include "skynet.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

/* As in skynet.h from v1.0.0 to today. */
typedef int (*send_function)(void *context, uint32_t source,
                             uint32_t destination, int type, int session,
                             void *message, size_t size);

/* With a source of its own skynet_send does not look at the context, which
   belongs to a thread of skynet's. It answers -1 when the service has ended;
   when it ends just now, its Lua state may be closed in here. */
static void post(const struct ac_wake *wake)
{
  send_function send = (send_function)wake->function;

  send(NULL, wake->target, wake->target, wake->type, 0, NULL, 0);
}

int ac_skynet_find(struct ac_wake *wake, uint32_t handle, int type)
{
  void *found = dlsym(RTLD_DEFAULT, "skynet_send");

  if (!found)
    return 0;
  wake->post = post;
  memcpy(&wake->function, &found, sizeof found); /* C99 has no cast for it */
  wake->target = handle;
  wake->type = type;
  return 1;
}
