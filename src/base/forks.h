/* forks.h - was this process forked off?
 *
 * A child has a parent's memory, but neither its threads nor its place in an
 * epoll set. Who has such things asks here, in every call; getpid() would be a
 * system call each time (0.2 us, as much as all the rest of a poll). */
#ifndef AC_FORKS_H
#define AC_FORKS_H

/* Starts counting: once before ac_forks is asked, any thread, any number of
   times. 0: no memory. */
int ac_forks_watch(void);

/* How many forks lie between the process that began to count and this one. */
unsigned ac_forks(void);

#endif
