#include "forks.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int watching;
static unsigned forks; /* written only where a child has one thread yet */

static void in_child(void)
{
  forks++;
}

static void watch(void)
{
  watching = pthread_atfork(NULL, NULL, in_child) == 0;
}

int ac_forks_watch(void)
{
  pthread_once(&once, watch);
  return watching;
}

unsigned ac_forks(void)
{
  return forks;
}
