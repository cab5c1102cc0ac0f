/* runner.h - the verbs Lua needs: brain and transport joined, on this thread
 * or on one of the client's own.
 *
 * The binding sees only this header of the floor. Three ways to run:
 *   inline    the engine works inside ac_runner_poll
 *   threaded  an unchanged inline runner on an I/O thread (io_thread.h); poll only
 *             looks at what has come
 *   manual    no engine: a spec takes outgoing calls and delivers answers
 * All functions are for the owner's thread. */
#ifndef AC_RUNNER_H
#define AC_RUNNER_H

#include <stdint.h>

#include "../base/clock.h"
#include "../chat/client.h"

enum ac_runner_mode { AC_RUNNER_INLINE, AC_RUNNER_THREADED, AC_RUNNER_MANUAL };

struct ac_runner_config {
  struct ac_client_config client;
  enum ac_runner_mode mode;
  const char *ca_file, *proxy, *user_agent; /* NULL: see engine.h */
  struct ac_clock clock;                    /* frozen for specs */
};

struct ac_runner *ac_runner_new(const struct ac_runner_config *config,
                                struct ac_error *err);

/* Ends every outstanding call as closed (they can still be taken), stops the
   thread, closes the descriptor. Prompt: at most 2 s, normally below 1 ms.
   Twice is fine. */
void ac_runner_close(struct ac_runner *runner);

/* close, and frees everything. In a process that was forked after
   ac_runner_new it only wipes secrets and leaves the parent's connections
   alone. */
void ac_runner_free(struct ac_runner *runner);

/* 1 in a process that was forked after ac_runner_new. */
int ac_runner_forked(const struct ac_runner *runner);

/* Takes a prepared call. AC_ERR_OVERLOAD, AC_ERR_MEMORY: the call stays the asker's. */
ac_kind ac_runner_submit(struct ac_runner *runner, struct ac_call *call /* takes */,
                         int64_t *out_id, struct ac_error *err);
void ac_runner_cancel(struct ac_runner *runner, int64_t id);
ac_kind ac_runner_set_token(struct ac_runner *runner, struct ac_slice token,
                            int64_t ttl_s, struct ac_error *err);
int ac_runner_wants_token(struct ac_runner *runner);
void ac_runner_token_failed(struct ac_runner *runner, const char *message);

/* Works, and waits at most wait_ms (0: not at all; -1 is not allowed) until a
   call has ended, a token is wanted or a signal came. At once when nothing is
   outstanding. Returns ac_runner_ready. */
int ac_runner_poll(struct ac_runner *runner, int64_t wait_ms);

int ac_runner_ready(const struct ac_runner *runner);      /* finished, not taken: one atomic load */
/* What take_done gives is given back with ac_runner_return, or freed. */
struct ac_call *ac_runner_take_done(struct ac_runner *runner);
void ac_runner_return(struct ac_runner *runner, struct ac_call *call);
int ac_runner_next_event(struct ac_runner *runner, struct ac_event *out);

int ac_runner_fd(const struct ac_runner *runner);         /* -1: closed or manual */
int ac_runner_due_in_ms(const struct ac_runner *runner);  /* 0: poll now; -1: nothing */
int64_t ac_runner_pending(const struct ac_runner *runner);
void ac_runner_stats(struct ac_runner *runner, struct ac_stats *out);

/* How the I/O thread wakes its owner where not by its descriptor: at most once
   per sleep of the owner. A value: the thread may still be posting when the
   owner is gone. `post` may even free the runner. */
struct ac_wake {
  void (*post)(const struct ac_wake *wake);
  void (*function)(void); /* these three are the poster's */
  uint32_t target;
  int type;
};

/* threaded only */
void ac_runner_set_wake(struct ac_runner *runner, const struct ac_wake *wake);

/* manual only: the spec is the transport. */
struct ac_call *ac_runner_next_outgoing(struct ac_runner *runner); /* borrowed */
struct ac_call *ac_runner_find_out(struct ac_runner *runner, int64_t id); /* borrowed; NULL */
void ac_runner_deliver(struct ac_runner *runner, struct ac_call *call);
void ac_runner_set_now(struct ac_runner *runner, int64_t now_ms, int64_t wall_s);

#endif
