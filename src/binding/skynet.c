#include "skynet.h"

#include <dlfcn.h>
#include <string.h>

int ac_skynet_find(struct ac_skynet_wake *wake, uint32_t handle, int type)
{
  void *found = dlsym(RTLD_DEFAULT, "skynet_send");

  if (!found)
    return 0;
  memcpy(&wake->send, &found, sizeof found); /* C99 has no cast for it */
  wake->handle = handle;
  wake->type = type;
  return 1;
}

void ac_skynet_post(void *data)
{
  const struct ac_skynet_wake *wake = data;

  /* With a source of its own skynet_send does not look at the context, which
     belongs to a thread of skynet's. */
  wake->send(NULL, wake->handle, wake->handle, wake->type, 0, NULL, 0);
}
