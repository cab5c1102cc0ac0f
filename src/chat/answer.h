/* answer.h - what came back: bytes -> strict JSON -> meaning.
 *
 * An answer is believed only when it is one whole JSON object to the last
 * byte (json.h), with the right key and the right type. Everything
 * else is an error that says what was wrong; unknown is never 0 and never
 * "not delivered". Nothing here knows a call, a clock or a socket. */
#ifndef AC_ANSWER_H
#define AC_ANSWER_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/error.h"

/* A decoder adds to `result` (a JSON object that already holds the call's
   arguments under their names) what its operation answers. `envelope` is the
   whole parsed answer (an object), `arguments` the call's arguments in the
   row's order. Returns AC_OK, or fills err (bad_response, not_found, memory). */
typedef ac_kind (*ac_decoder)(const cJSON *envelope,
                              const char *const *arguments, cJSON *result,
                              struct ac_error *err);

/* The default: result.data = what stands under `data`. */
ac_kind ac_decode_data(const cJSON *envelope, const char *const *arguments,
                       cJSON *result, struct ac_error *err);

/* result.count: what stands in `data` under the first argument, an integer of
   0 .. 2^53 - 1; a text of digits is read as its number. The exact key first,
   else the only one that is equal without ASCII case. The envelope's own
   `count` counts something else. */
ac_kind ac_decode_count(const cJSON *envelope, const char *const *arguments,
                        cJSON *result, struct ac_error *err);

/* result.status: the service's word as it came; result.delivered: boolean. The
   second argument is the message id, compared exactly. A message that is not
   known is not_found/message; a word that is not, bad_response/unknown_status
   with the word as its value. */
ac_kind ac_decode_status(const cJSON *envelope, const char *const *arguments,
                         cJSON *result, struct ac_error *err);

/* Parses a text that must be one JSON object. On success *out_root is the
   caller's to cJSON_Delete. Else bad_response with code
     truncated  empty, or a JSON text that ends too early
     malformed  anything that is not strict JSON (RFC 8259, UTF-8), too deep,
                an escaped NUL in a string, `data` twice; err->text quotes the
                first 64 bytes, cleaned
     shape      strict JSON, but not an object
   or memory. */
ac_kind ac_answer_parse(const char *bytes, size_t length, cJSON **out_root,
                        struct ac_error *err);

#endif
