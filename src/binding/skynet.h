/* skynet.h - waking a skynet service from the I/O thread: the only place that
 * knows skynet. Its skynet_send is looked up at run time; elsewhere it is not
 * there, and nothing else changes. */
#ifndef AC_SKYNET_H
#define AC_SKYNET_H

#include <stdint.h>

#include "../net/runner.h"

/* Fills a wake that posts an empty message of this type to the service. 1, or
   0 where there is no skynet. */
int ac_skynet_find(struct ac_wake *wake, uint32_t handle, int type);

#endif
