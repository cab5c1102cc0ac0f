/* answer.h - what came back: bytes -> strict JSON -> meaning.
 *
 * An answer is believed only when it is one whole JSON object to the last
 * byte, of at most 8 levels, with the right key and the right type. Everything
 * else is an error that says what was wrong; unknown is never 0 and never
 * "not delivered". Nothing here knows a call, a clock or a socket.
 *
 * cJSON (1.7.15) alone is too lenient for that: it takes trailing text, raw
 * control bytes, invalid UTF-8 and `01`, cuts strings at \u0000, and 1,000
 * nested brackets overflow a small thread stack. So the text is scanned first,
 * without recursion, and only a text that passed reaches it. */
#ifndef AC_ANSWER_H
#define AC_ANSWER_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/error.h"

enum { AC_ANSWER_MAX_DEPTH = 8 };

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
   with the word in err->value. */
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

/* Strict RFC 8259 scan of any JSON text (root of any type), the same codes
   without the shape rule: also what guards JSON text given by a caller. */
ac_kind ac_answer_scan(const char *bytes, size_t length, struct ac_error *err);

/* What an HTTP status other than 200 means: sets kind, code, http_status,
   description and retryable (0: never again, whatever the kind says) from the
   status and the service's error word, and returns the kind. A body that is
   not the service's JSON (HTML, empty) keeps the status and gives clean text
   without its markup as description; one that was cut is read as far as it
   goes. 1xx and 2xx but 200, 0 and beyond 599: bad_response/status; 3xx:
   bad_response/redirect. */
ac_kind ac_answer_error(int http_status, const char *bytes, size_t length,
                        struct ac_error *err);

/* A 200 whose object carries `error` or `error_description` instead of data:
   the words become the description, the code stays "shape". For when a decoder
   said shape. */
void ac_answer_note_error_words(const cJSON *envelope, struct ac_error *err);

/* HTTP date (RFC 9110, the three forms) -> Unix seconds; 1 when understood.
   Independent of the locale. */
int ac_http_date_s(const char *text, int64_t *out_s);

#endif
