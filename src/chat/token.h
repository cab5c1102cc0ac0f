/* token.h - Agora "007" tokens (AccessToken2): made and read.
 *
 * Format: "007" + base64(zlib(str(signature) + signed)), all little endian; see
 * AgoraIO/Tools. Salt and time are the caller's, so the same input makes
 * the same bytes. */
#ifndef AC_TOKEN_H
#define AC_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "../base/buffer.h"

enum {
  AC_TOKEN_ID_LENGTH = 32,        /* App ID and App Certificate, hex digits */
  AC_TOKEN_MAX_TTL_S = 86400,
  AC_TOKEN_MAX_BYTES = 8192,      /* as text; longer is refused unread */
  AC_TOKEN_MAX_INFLATED = 4096,
  AC_TOKEN_MAX_SERVICES = 16,
  AC_TOKEN_MAX_PRIVILEGES = 16,
  AC_TOKEN_MAX_NAME_BYTES = 256
};

struct ac_token_input {
  const char *app_id;             /* 32 hex digits, NUL-terminated */
  const char *app_certificate;    /* 32 hex digits; never in an error */
  const char *user_id;            /* NULL or "": an app token (privilege 2) */
  int64_t issued_at_s;            /* Unix time, 0 .. 2^32 - 1 */
  int64_t ttl_s;                  /* 1 .. 86400 */
  uint32_t salt;                  /* 1 .. 99999999 */
};

struct ac_token_service {
  uint16_t type;                  /* 5: chat */
  int has_user_id;
  char user_id[AC_TOKEN_MAX_NAME_BYTES];  /* chat: text, NUL-terminated */
  int privilege_count;
  struct {
    uint16_t privilege;
    uint32_t expire_s;            /* seconds after issued_at_s */
  } privileges[AC_TOKEN_MAX_PRIVILEGES];
};

struct ac_token_info {
  char app_id[AC_TOKEN_ID_LENGTH + 1];
  int64_t issued_at_s;
  int64_t expires_at_s;           /* issued_at_s + the token's own expire */
  uint32_t salt;
  int service_count;
  struct ac_token_service services[AC_TOKEN_MAX_SERVICES];
  int verified;                   /* 1 only when a certificate was given */
};

/* 1 when text is 32 hex digits. */
int ac_token_is_id(const char *text);

/* Checks app_id, certificate, ttl (argument errors that never repeat the
   certificate) and time, and appends the token's text to `out`. */
ac_kind ac_token_make(const struct ac_token_input *input,
                      struct ac_buffer *out, struct ac_error *err);

/* Reads a token's text; inflates at most AC_TOKEN_MAX_INFLATED bytes. With a
   certificate the signature is checked: a wrong one is AC_ERR_ARGUMENT with code
   "signature". Any other fault: AC_ERR_ARGUMENT. Other services than chat are
   read too (types 1 to 7, as AgoraIO/Tools defines them); an unknown type ends
   the list of those that can be read, and is an error only as the first. */
ac_kind ac_token_read(const char *text, size_t length,
                      const char *app_certificate, struct ac_token_info *out,
                      struct ac_error *err);

#endif
