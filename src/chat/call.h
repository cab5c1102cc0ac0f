/* call.h - one operation from ask to answer.
 *
 * The only heap object that travels: built by the binding, taken by
 * ac_client_submit, lent to a transport, given back by ac_client_take_done,
 * freed by whoever took it. It owns its texts, its reply and its result. Small
 * on purpose: calls may wait by the ten thousand, and glibc is quick with
 * pieces of at most 1032 bytes.
 *
 * Groups of fields, each with one writer: the asker (before submit), the brain
 * (client_state.h), the transport (the reply). */
#ifndef AC_CALL_H
#define AC_CALL_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/buffer.h"
#include "../base/error.h"
#include "../base/list.h"
#include "endpoint.h"

enum {
  AC_MAX_BODY_BYTES = 64 * 1024,   /* of an answer */
  AC_MAX_HEADER_BYTES = 32 * 1024,
  AC_MAX_REQUEST_BODY_BYTES = 1024 * 1024
};

/* Where an attempt spends its time; index of ac_reply.phase_us and the code of
   a timeout. */
enum ac_phase {
  AC_PHASE_DNS,
  AC_PHASE_CONNECT,
  AC_PHASE_TLS,
  AC_PHASE_FIRST_BYTE,
  AC_PHASE_BODY,
  AC_PHASES
};
extern const char *const ac_phase_names[AC_PHASES]; /* "dns", "connect", ... */

struct ac_reply { /* the transport writes it, also when the attempt failed */
  int http_status;            /* 0: none */
  int connections;            /* opened for this attempt */
  char retry_after[40];       /* header texts, "" when absent */
  char date[40];
  char content_encoding[24];
  struct ac_buffer body;
  int64_t bytes_in, bytes_out;
  uint32_t phase_us[AC_PHASES];
  enum ac_phase phase;        /* where it was when it was dropped */
  char reused;                /* the connection had been used before */
  char sent;                  /* may the request have arrived? 0 only when
                                 surely no byte of it was sent */
};

enum ac_call_state {
  AC_CALL_NEW,                /* not submitted */
  AC_CALL_WAITING,            /* in a queue */
  AC_CALL_DELAYED,            /* waits for its next attempt's moment */
  AC_CALL_OUT,                /* lent to the transport */
  AC_CALL_DONE
};

struct ac_call {
  /* -- the asker's -- */
  const struct ac_endpoint *endpoint; /* NULL: any other operation */
  const char *arguments[AC_MAX_ARGUMENTS]; /* NUL-terminated, no NUL inside;
                                 in the memory of `path`, behind it */
  int argument_count;
  int max_attempts;           /* 0: the client's */
  char method[16];
  char *path;                 /* below the app's prefix, encoded, with "?..." */
  char *body;                 /* NULL: none; JSON */
  size_t body_length;
  char idempotent;
  char envelope;              /* leave the whole answer in the result */
  char batch;                 /* comes after single calls; its deadline starts
                                 when it gets its turn */
  int64_t timeout_ms;         /* 0: the client's */
  int64_t attempt_timeout_ms; /* 0: the client's */
  int64_t max_pause_ms;       /* batch: how long an outage may hold it; 0:
                                 300000 */

  /* -- the brain's -- */
  int64_t id;
  struct ac_list link;
  enum ac_call_state state;
  char internal;              /* a token fetch of the client's own */
  char resent;                /* its one resend after a renewal is used up */
  char fresh;                 /* the next attempt wants a new connection */
  char distrust;              /* the answer was another's: drop its connection */
  size_t heap_index;          /* in the client's alarm heap */
  struct ac_call *next_in_index;
  int64_t alarm_ms;           /* when something is due for it; INT64_MAX: never */
  int64_t submitted_ms, ready_ms, sent_ms, deadline_ms, attempt_deadline_ms;
  int64_t answers_before;     /* a batch's call: those that others had when it
                                 first failed; -1: it has not */
  int64_t hold;               /* a batch's call: the last hold it was in, ... */
  int64_t held_until_ms;      /* ... and how long that may last for it */
  int attempts;               /* sent so far */
  int faults;                 /* those with a transient fault that counts */
  int throttled;              /* those that were answered 429 */
  uint32_t generation;        /* of the token it was sent with */
  int64_t elapsed_ms;

  /* -- lent to the transport with the call -- */
  const char *token;          /* borrowed until the transport has started it;
                                 NULL: no Authorization header */
  const char *full_path;      /* borrowed likewise: prefix, app and path */

  /* -- the transport's -- */
  void *transfer;             /* its own handle while the call is out */
  struct ac_reply reply;

  /* -- both answers: the transport leaves its verdict in `error` (AC_OK: a
        whole HTTP answer is in `reply`), the brain leaves the call's -- */
  struct ac_error error;
  cJSON *result;              /* NULL when error.kind is set */
};

/* Empty, state AC_CALL_NEW, or NULL when memory has run out. */
struct ac_call *ac_call_new(void);
void ac_call_free(struct ac_call *call);

/* The checks and the path, on the asker's side of any thread. Fills a call of
   one row: checks the arguments (count = the row's), copies them, encodes
   the path. AC_ERR_ARGUMENT or AC_ERR_MEMORY leave a call that is to be freed. */
ac_kind ac_call_prepare(struct ac_call *call, const struct ac_endpoint *row,
                        const struct ac_slice *arguments, struct ac_error *err);

/* The same for any other operation: method (1 to 15 capital letters), path
   parts (rules of a user name, up to 1024 bytes each), query pairs (names and
   values alternating), body (JSON text, scanned; bytes NULL: none). */
ac_kind ac_call_prepare_request(struct ac_call *call, const char *method,
                                const struct ac_slice *parts, size_t part_count,
                                const struct ac_slice *query, size_t query_count,
                                struct ac_slice body, struct ac_error *err);

/* "offline_msg_count", "request", "token". */
const char *ac_call_operation(const struct ac_call *call);

/* Empties the reply before another attempt, keeps its memory. */
void ac_call_clear_reply(struct ac_call *call);

#endif
