/* io_thread.h - the verbs of runner.h, with an inline runner on a thread of
 * its own.
 *
 * What crosses over: an inbox (calls, cancellations, tokens) and an outbox
 * (finished calls, events), one mutex. Ownership moves with the queue, nothing
 * else is shared. Either side is woken only when it has said that it found
 * nothing. The thread starts with the first call. */
#ifndef AC_IO_THREAD_H
#define AC_IO_THREAD_H

#include "runner.h"

struct ac_io_thread;

/* Takes an inline runner, which from the first call on is the thread's. */
struct ac_io_thread *ac_io_thread_new(struct ac_runner *inner /* takes */,
                                      const struct ac_runner_config *config,
                                      struct ac_error *err);

/* Ends every call as closed, stops the thread. Waits 2 s at most, and not at
   all when the thread itself closes (see struct ac_wake): a thread that is left
   behind frees what is left when it ends. */
void ac_io_thread_close(struct ac_io_thread *io);
void ac_io_thread_free(struct ac_io_thread *io);    /* after close */
void ac_io_thread_abandon(struct ac_io_thread *io); /* in a forked child */

ac_kind ac_io_thread_submit(struct ac_io_thread *io, struct ac_call *call /* takes */,
                            int64_t *out_id, struct ac_error *err);
void ac_io_thread_cancel(struct ac_io_thread *io, int64_t id);
ac_kind ac_io_thread_set_token(struct ac_io_thread *io, struct ac_slice token,
                               int64_t ttl_s, struct ac_error *err);
int ac_io_thread_wants_token(struct ac_io_thread *io);
void ac_io_thread_token_failed(struct ac_io_thread *io, const char *message);
int ac_io_thread_poll(struct ac_io_thread *io, int64_t wait_ms);
int ac_io_thread_ready(const struct ac_io_thread *io);
struct ac_call *ac_io_thread_take_done(struct ac_io_thread *io);
/* Frees a call that take_done gave. Its result is freed by the thread, when that
   has something to do anyway: it made the many small pieces, and the owner may
   have a frame to draw. */
void ac_io_thread_return(struct ac_io_thread *io, struct ac_call *call);
int ac_io_thread_next_event(struct ac_io_thread *io, struct ac_event *out);
int ac_io_thread_fd(const struct ac_io_thread *io);
int ac_io_thread_due_in_ms(const struct ac_io_thread *io);
int64_t ac_io_thread_pending(const struct ac_io_thread *io);
void ac_io_thread_stats(struct ac_io_thread *io, struct ac_stats *out);
void ac_io_thread_set_wake(struct ac_io_thread *io, const struct ac_wake *wake);

/* What the thread needs of its inline runner besides runner.h: to sleep until
   it is woken also when nothing is outstanding, and to be woken. */
void ac_runner_sleep(struct ac_runner *runner);
void ac_runner_rouse(struct ac_runner *runner);

#endif
