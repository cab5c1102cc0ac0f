/* error.h - what went wrong, as a value.
 *
 * A struct ac_error owns nothing: it is copied with '=' and can be filled when
 * memory has run out. Its kind comes from one closed table, its texts are
 * bounded and clean (one line of valid UTF-8, no control bytes), and none of
 * them ever holds a token. The sentence a person reads is put together from
 * the parts by ac_error_sentence. */
#ifndef AC_ERROR_H
#define AC_ERROR_H

#include <stddef.h>
#include <stdint.h>

/* Enumerator, name in Lua, retryable: may the same call succeed later without
 * a change? (Whether the *client* tries again is retry.h's business.) */
/* clang-format off */
#define AC_ERROR_KINDS(X)                       \
  X(AC_ERR_ARGUMENT,     "argument",     0)     \
  X(AC_ERR_NETWORK,      "network",      1)     \
  X(AC_ERR_TIMEOUT,      "timeout",      1)     \
  X(AC_ERR_TLS,          "tls",          0)     \
  X(AC_ERR_UNAUTHORIZED, "unauthorized", 0)     \
  X(AC_ERR_FORBIDDEN,    "forbidden",    0)     \
  X(AC_ERR_NOT_FOUND,    "not_found",    0)     \
  X(AC_ERR_REJECTED,     "rejected",     0)     \
  X(AC_ERR_RATE_LIMITED, "rate_limited", 1)     \
  X(AC_ERR_QUOTA,        "quota",        0)     \
  X(AC_ERR_SERVER,       "server",       1)     \
  X(AC_ERR_BAD_RESPONSE, "bad_response", 0)     \
  X(AC_ERR_UNAVAILABLE,  "unavailable",  1)     \
  X(AC_ERR_OVERLOAD,     "overload",     1)     \
  X(AC_ERR_CANCELLED,    "cancelled",    0)     \
  X(AC_ERR_CLOSED,       "closed",       0)     \
  X(AC_ERR_MEMORY,       "memory",       1)     \
  X(AC_ERR_FORKED,       "forked",       0)
/* clang-format on */

typedef enum ac_kind {
  AC_OK = 0,
#define AC_KIND_ENUMERATOR(kind, name, retryable) kind,
  AC_ERROR_KINDS(AC_KIND_ENUMERATOR)
#undef AC_KIND_ENUMERATOR
} ac_kind;

enum {
  AC_ERROR_CODE_BYTES = 64,         /* with the final NUL */
  AC_ERROR_TEXT_BYTES = 192,
  AC_ERROR_DESCRIPTION_BYTES = 257, /* 256 bytes of the service's own words */
  AC_ERROR_VALUE_BYTES = 129,       /* of a value that was not understood */
  AC_ERROR_SENTENCE_BYTES = 640
};

struct ac_error {
  ac_kind kind;
  int http_status;                  /* 0: none came */
  int retryable;                    /* -1: as the kind says */
  int64_t retry_after_ms;           /* -1: none given */
  char code[AC_ERROR_CODE_BYTES];   /* "" when there is none */
  char text[AC_ERROR_TEXT_BYTES];   /* our own words */
  char is_value;                    /* what is foreign is a value */
  char foreign[AC_ERROR_DESCRIPTION_BYTES]; /* the service's words, or else the
                                               value that was not understood */
};

/* The empty error, kind AC_OK. */
void ac_error_clear(struct ac_error *err);

/* Fills err with a kind and our own words (printf style, cut when too long,
   cleaned) and returns the kind, so that `return ac_error_set(err, ...)` is
   one line. err may be NULL. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
ac_kind ac_error_set(struct ac_error *err, ac_kind kind, const char *format,
                     ...);

/* The same with a code, e.g. "shape". code may be NULL. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
ac_kind ac_error_set_code(struct ac_error *err, ac_kind kind, const char *code,
                          const char *format, ...);

/* The service's words, the value that was not understood; "" when the error has
   none. No error has both. */
const char *ac_error_description(const struct ac_error *err);
const char *ac_error_value(const struct ac_error *err);

/* Sets the value; err may be NULL. */
void ac_error_set_value(struct ac_error *err, const char *value);

/* Lua name of a kind ("network"); "ok" for AC_OK. */
const char *ac_kind_name(ac_kind kind);

/* The kind with this name, AC_OK when there is none. */
ac_kind ac_kind_from_name(const char *name);

/* May the same call succeed later without a change? */
int ac_error_retryable(const struct ac_error *err);

/* "offline_msg_count: not_found/user (HTTP 404): Service resource not found".
   operation may be NULL. Writes at most `size` bytes with the NUL and returns
   the length. */
size_t ac_error_sentence(const struct ac_error *err, const char *operation,
                         char *out, size_t size);

/* Copies foreign text as one clean line: control bytes (newlines, ESC, NUL,
   DEL) and invalid UTF-8 become one space, runs of spaces are joined, ends
   trimmed, a cut never splits a character. Writes at most `size` bytes with
   the NUL and returns the length. */
size_t ac_text_clean(const char *bytes, size_t length, char *out, size_t size);

#endif
