/* verdict.h - what libcurl's result means, in our words.
 *
 * One closed table from CURLcode to (kind, code), and the few results whose
 * meaning depends on when they came. A value: no libcurl handle, no call. */
#ifndef AC_VERDICT_H
#define AC_VERDICT_H

#include <curl/curl.h>
#include <stdint.h>

#include "../base/error.h"
#include "../chat/call.h"

struct ac_outcome { /* of an attempt that did not end with a whole answer */
  CURLcode result;
  const char *words;    /* libcurl's own, "" when it has none */
  int os_errno;         /* 0: none */
  int socket_errno;     /* why a socket could not be opened; 0: it could */
  int sent;             /* the request was on its way */
  enum ac_phase phase;
  int proxy;            /* a proxy is configured */
  int proxy_status;     /* its answer to CONNECT; 0: none */
  int nameless;         /* the certificate has no name but the common one */
  int no_memory;        /* our own callbacks found no memory */
  int too_large;        /* our own callbacks refused more */
  int64_t stray_bytes;  /* came, but no header line or body was made of them */
};

ac_kind ac_verdict(const struct ac_outcome *outcome, struct ac_error *err);

#endif
