#include "io_thread.h"

struct ac_io_thread *ac_io_thread_new(struct ac_runner *inner,
                                      const struct ac_runner_config *config,
                                      struct ac_error *err)
{
  (void)inner;
  (void)config;
  ac_error_set(err, AC_ERR_ARGUMENT, "no I/O thread in this build yet");
  return NULL;
}

/* Never reached: there is no struct ac_io_thread. */
void ac_io_thread_close(struct ac_io_thread *io) { (void)io; }
void ac_io_thread_free(struct ac_io_thread *io) { (void)io; }
void ac_io_thread_abandon(struct ac_io_thread *io) { (void)io; }

ac_kind ac_io_thread_submit(struct ac_io_thread *io, struct ac_call *call,
                            int64_t *out_id, struct ac_error *err)
{
  (void)io, (void)call, (void)out_id;
  return ac_error_set(err, AC_ERR_CLOSED, "no thread");
}

void ac_io_thread_cancel(struct ac_io_thread *io, int64_t id) { (void)io, (void)id; }

ac_kind ac_io_thread_set_token(struct ac_io_thread *io, struct ac_slice token,
                               int64_t ttl_s, struct ac_error *err)
{
  (void)io, (void)token, (void)ttl_s;
  return ac_error_set(err, AC_ERR_CLOSED, "no thread");
}

int ac_io_thread_wants_token(struct ac_io_thread *io) { (void)io; return 0; }
void ac_io_thread_token_failed(struct ac_io_thread *io, const char *message) { (void)io, (void)message; }
int ac_io_thread_poll(struct ac_io_thread *io, int64_t wait_ms) { (void)io, (void)wait_ms; return 0; }
int ac_io_thread_ready(const struct ac_io_thread *io) { (void)io; return 0; }
struct ac_call *ac_io_thread_take_done(struct ac_io_thread *io) { (void)io; return NULL; }
int ac_io_thread_next_event(struct ac_io_thread *io, struct ac_event *out) { (void)io, (void)out; return 0; }
int ac_io_thread_fd(const struct ac_io_thread *io) { (void)io; return -1; }
int ac_io_thread_due_in_ms(const struct ac_io_thread *io) { (void)io; return -1; }
int64_t ac_io_thread_pending(const struct ac_io_thread *io) { (void)io; return 0; }
void ac_io_thread_stats(struct ac_io_thread *io, struct ac_stats *out) { (void)io, (void)out; }
void ac_io_thread_set_wake(struct ac_io_thread *io, void (*wake)(void *data), void *data) { (void)io, (void)wake, (void)data; }
