/* skynet.h - waking a skynet service from the I/O thread: the only place that
 * knows skynet. Its skynet_send is looked up at run time; elsewhere it is not
 * there, and nothing else changes. */
#ifndef AC_SKYNET_H
#define AC_SKYNET_H

#include <stddef.h>
#include <stdint.h>

struct ac_skynet_wake {
  int (*send)(void *context, uint32_t source, uint32_t target, int type,
              int session, void *message, size_t size);
  uint32_t handle;
  int type;
};

/* 1, or 0 where there is no skynet. */
int ac_skynet_find(struct ac_skynet_wake *wake, uint32_t handle, int type);

/* Posts an empty message to the service; `data` is a struct ac_skynet_wake.
   From any thread. */
void ac_skynet_post(void *data);

#endif
