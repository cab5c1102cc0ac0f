/* endpoint.h - the table of operations, and URL paths made from it.
 *
 * One row is one operation: its name is the last fixed word of the URL, its
 * {words} are the arguments in order. Methods, argument checks, stubs and the
 * reference follow from the row; see "Adding an operation" in CONTRIBUTING. */
#ifndef AC_ENDPOINT_H
#define AC_ENDPOINT_H

#include <stddef.h>

#include "../base/buffer.h"
#include "answer.h"

enum {
  AC_MAX_ARGUMENTS = 4,
  AC_MAX_PATH_BYTES = 4096
};

enum { AC_IDEMPOTENT = 1 }; /* sending it twice does no harm */

struct ac_endpoint {
  const char *name;
  const char *method;
  const char *path;    /* "/users/{username}/offline_msg_count" */
  ac_decoder decode;
  unsigned flags;
  const char *source;  /* the service's page */
  const char *result;  /* for the stubs: "count: integer, ..."; NULL: the
                           default decoder's "data: any" */
};

/* A byte string that is not NUL-terminated by promise. */
struct ac_slice {
  const char *bytes;
  size_t length;
};

/* Rows in order; NULL past the end. */
const struct ac_endpoint *ac_endpoint_at(size_t index);

/* By name; NULL when there is none. */
const struct ac_endpoint *ac_endpoint_find(const char *name);

/* How many {words} the path has, and the i-th of them, copied without braces
   (cut to size). */
int ac_endpoint_argument_count(const struct ac_endpoint *row);
void ac_endpoint_argument_name(const struct ac_endpoint *row, int i,
                               char *out, size_t size);

/* Checks every argument and appends the encoded path. {msg_id} follows the
   rule of message ids (1 to 128 of A-Z a-z 0-9 _ -), every other word the rule
   of user names (1 to 64 bytes of valid UTF-8 without control bytes, / and \,
   and not . or ..). AC_ERR_ARGUMENT names the argument and what is wrong. */
ac_kind ac_endpoint_path(const struct ac_endpoint *row,
                         const struct ac_slice *arguments,
                         struct ac_buffer *out, struct ac_error *err);

/* Appends "/" and one percent-encoded segment (every byte outside RFC 3986's
   unreserved set), after the checks of a user name with this ceiling.
   `what` names it in the error. */
ac_kind ac_endpoint_segment(struct ac_slice text, size_t max_bytes,
                            const char *what, struct ac_buffer *out,
                            struct ac_error *err);

/* Appends percent-encoded bytes, no check (query strings). */
ac_kind ac_endpoint_encode(struct ac_slice text, struct ac_buffer *out);

#endif
