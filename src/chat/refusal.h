/* refusal.h - what an answer means that is none: status, error word, and words
 * for people, whoever wrote them. */
#ifndef AC_REFUSAL_H
#define AC_REFUSAL_H

#include <cjson/cJSON.h>
#include <stddef.h>

#include "../base/error.h"

/* What an HTTP status other than 200 means: sets kind, code, http_status,
   description and retryable (0: never again, whatever the kind says) from the
   status and the service's error word, and returns the kind. A body that is
   not the service's JSON (HTML, empty) keeps the status and gives clean text
   without its markup as description; one that was cut is read as far as it
   goes. 1xx and 2xx but 200, 0 and beyond 599: bad_response/status; 3xx:
   bad_response/redirect. */
ac_kind ac_refusal_read(int http_status, const char *bytes, size_t length,
                        struct ac_error *err);

/* A 200 whose object carries `error` or `error_description` instead of data:
   the words become the description, the code stays "shape". For when a decoder
   said shape. */
void ac_refusal_note_words(const cJSON *envelope, struct ac_error *err);

#endif
