/* json.h - strict JSON: a scan without recursion, and only then a tree.
 *
 * cJSON (1.7.15) alone is too lenient for answers that have to be believed: it
 * takes trailing text, raw control bytes, invalid UTF-8 and `01`, cuts strings
 * at \u0000, and 1,000 nested brackets overflow a small thread stack. So the
 * text is scanned first (RFC 8259, UTF-8, at most 8 levels), and only a text
 * that passed reaches it. */
#ifndef AC_JSON_H
#define AC_JSON_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "../base/error.h"

enum { AC_JSON_MAX_DEPTH = 8 };

enum ac_json_verdict {
  AC_JSON_WHOLE,
  AC_JSON_SHORT,
  AC_JSON_WRONG
}; /* AC_JSON_SHORT: good so far, then it ended */

struct ac_json {
  const unsigned char *start, *at, *end;
  const char *why;  /* of AC_JSON_WRONG */
  int long_numbers; /* longer than cJSON can read */
  const unsigned char *root, *root_end;
};

/* Scans a text whose root may be of any type. */
enum ac_json_verdict ac_json_scan(struct ac_json *s, const char *bytes,
                                  size_t length);

/* What a scan found, as an error: bad_response with code
     truncated  nothing, or a text that ends too early
     malformed  anything else that is not strict JSON, with the first 64 bytes
   or AC_OK. */
ac_kind ac_json_error(const struct ac_json *s, enum ac_json_verdict verdict,
                      struct ac_error *err);

/* Both: is this strict JSON? */
ac_kind ac_json_check(const char *bytes, size_t length, struct ac_error *err);

/* The tree of a text that was scanned and is whole; NULL when memory has run
   out. Numbers longer than cJSON reads (63 bytes) are kept, near enough. */
cJSON *ac_json_tree(const struct ac_json *s);

/* "an object", "nothing", ... */
const char *ac_json_type_name(const cJSON *item);

#endif
