/* credentials.h - the token: fixed, made, fetched or provided; when it is
 * stale; one renewal per 401.
 *
 * States and times only: making is token.h's work, fetching is a call of the
 * client's own. The certificate and the secret are copied into memory of this
 * room, wiped by ac_credentials_free and given to nobody else. */
#ifndef AC_CREDENTIALS_H
#define AC_CREDENTIALS_H

#include <stdint.h>

#include "../base/buffer.h"
#include "../base/error.h"
#include "../base/random.h"
#include "token.h"

enum ac_credentials_kind {
  AC_CREDENTIALS_FIXED,     /* { token = } */
  AC_CREDENTIALS_MADE,      /* { app_certificate = } */
  AC_CREDENTIALS_EXCHANGED, /* the same, exchange = true */
  AC_CREDENTIALS_CLIENT,    /* { client_id =, client_secret = } */
  AC_CREDENTIALS_PROVIDED   /* a function of the program's */
};

struct ac_credentials_config { /* borrowed texts */
  enum ac_credentials_kind kind;
  const char *token;
  const char *app_certificate;
  const char *client_id, *client_secret;
  int64_t ttl_s;            /* 0: 3600 for made tokens, the service's own else */
};

#endif
