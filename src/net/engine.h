/* engine.h - bytes on the wire: libcurl's multi interface behind one epoll
 * descriptor.
 *
 * Starts attempts, drops them promptly, says when they have ended. Decides
 * nothing: deadlines, retries and meaning are the brain's. Connections and
 * easy handles are kept and reused. libcurl's callbacks touch the engine's own
 * memory and nothing else. */
#ifndef AC_ENGINE_H
#define AC_ENGINE_H

#include <stdint.h>

#include "../base/error.h"
#include "../chat/call.h"

struct ac_engine_config { /* texts borrowed during ac_engine_new only */
  const char *origin;     /* scheme://host[:port] */
  int max_connections;    /* = max_in_flight */
  int64_t connect_timeout_ms;
  int64_t attempt_timeout_ms; /* libcurl's own limit is only a backstop */
  const char *ca_file;    /* NULL: the system's bundle */
  const char *proxy;      /* NULL: none; the environment is never asked */
  const char *user_agent; /* NULL: agora_chat/VERSION */
};

/* Once per process, thread safe: curl_global_init, never cleaned up.
   AC_ERR_ARGUMENT with a sentence when the libcurl found at run time is older
   than 7.87. */
ac_kind ac_engine_library(struct ac_error *err);

struct ac_engine *ac_engine_new(const struct ac_engine_config *config,
                                struct ac_error *err);
void ac_engine_free(struct ac_engine *engine); /* drops what is out; prompt */

/* Instead of ac_engine_free in a forked child: the tokens are wiped, the rest
   is left lying, for the connections and the epoll set are the parent's. */
void ac_engine_abandon(struct ac_engine *engine);

/* Puts a call's attempt on its way: method, full_path, token, body, fresh.
   Not AC_OK: nothing was started, err says why. */
ac_kind ac_engine_start(struct ac_engine *engine, struct ac_call *call,
                        struct ac_error *err);

/* Ends an attempt at once; fills reply.phase, phase_us, bytes and sent. */
void ac_engine_drop(struct ac_engine *engine, struct ac_call *call);

/* Waits at most wait_ms (0: not at all, -1: for ever) for sockets or libcurl's own
   timer, and lets libcurl work. Returns early on a signal or ac_engine_wake: 1. */
int ac_engine_run(struct ac_engine *engine, int wait_ms);

/* The next attempt that has ended, its verdict in call->error and call->reply;
   NULL: none. The call is no longer the engine's. */
struct ac_call *ac_engine_next_ended(struct ac_engine *engine);

/* That call's connection gave another's answer: nobody may use it again.
   Right after ac_engine_next_ended returned the call. */
void ac_engine_distrust(struct ac_engine *engine, struct ac_call *call);

int ac_engine_fd(const struct ac_engine *engine);        /* epoll; readable: run */
int ac_engine_due_in_ms(const struct ac_engine *engine); /* libcurl's timer; -1 */

/* From another thread: makes ac_engine_run return. */
void ac_engine_wake(struct ac_engine *engine);

#endif
