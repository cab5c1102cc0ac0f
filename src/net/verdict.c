#include "verdict.h"

#include <errno.h>
#include <string.h>

static const struct {
  CURLcode result;
  ac_kind kind;
  const char *code;
} meanings[] = {
    /* clang-format off */
    {CURLE_UNSUPPORTED_PROTOCOL,     AC_ERR_BAD_RESPONSE, "protocol"}, /* not HTTP */
    {CURLE_FAILED_INIT,              AC_ERR_MEMORY,       NULL},
    {CURLE_URL_MALFORMAT,            AC_ERR_ARGUMENT,     NULL},
    {CURLE_COULDNT_RESOLVE_PROXY,    AC_ERR_NETWORK,      "proxy"},
    {CURLE_COULDNT_RESOLVE_HOST,     AC_ERR_NETWORK,      "dns"},
    {CURLE_COULDNT_CONNECT,          AC_ERR_NETWORK,      "connect"},
    {CURLE_WEIRD_SERVER_REPLY,       AC_ERR_BAD_RESPONSE, "protocol"},
    {CURLE_PARTIAL_FILE,             AC_ERR_NETWORK,      "partial"},
    {CURLE_WRITE_ERROR,              AC_ERR_BAD_RESPONSE, "protocol"},
    {CURLE_OUT_OF_MEMORY,            AC_ERR_MEMORY,       NULL},
    {CURLE_SSL_CONNECT_ERROR,        AC_ERR_TLS,          NULL},
    {CURLE_ABORTED_BY_CALLBACK,      AC_ERR_NETWORK,      "reset"},
    {CURLE_INTERFACE_FAILED,         AC_ERR_NETWORK,      "connect"},
    {CURLE_GOT_NOTHING,              AC_ERR_NETWORK,      "empty"},
    {CURLE_SSL_ENGINE_NOTFOUND,      AC_ERR_TLS,          NULL},
    {CURLE_SEND_ERROR,               AC_ERR_NETWORK,      "reset"},
    {CURLE_RECV_ERROR,               AC_ERR_NETWORK,      "reset"},
    {CURLE_SSL_CERTPROBLEM,          AC_ERR_TLS,          NULL},
    {CURLE_SSL_CIPHER,               AC_ERR_TLS,          NULL},
    {CURLE_PEER_FAILED_VERIFICATION, AC_ERR_TLS,          NULL},
    {CURLE_BAD_CONTENT_ENCODING,     AC_ERR_BAD_RESPONSE, "encoding"},
    {CURLE_USE_SSL_FAILED,           AC_ERR_TLS,          NULL},
    {CURLE_SSL_CACERT_BADFILE,       AC_ERR_TLS,          NULL},
    {CURLE_SSL_SHUTDOWN_FAILED,      AC_ERR_NETWORK,      "reset"},
    {CURLE_SSL_CRL_BADFILE,          AC_ERR_TLS,          NULL},
    {CURLE_SSL_ISSUER_ERROR,         AC_ERR_TLS,          NULL},
    {CURLE_NO_CONNECTION_AVAILABLE,  AC_ERR_NETWORK,      "connect"},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, AC_ERR_TLS,          NULL},
    {CURLE_SSL_INVALIDCERTSTATUS,    AC_ERR_TLS,          NULL},
    {CURLE_PROXY,                    AC_ERR_NETWORK,      "proxy"},
    {(CURLcode)100,                  AC_ERR_BAD_RESPONSE, "too_large"}, /* CURLE_TOO_LARGE, 8.6 */
    /* clang-format on */
};

enum { LONGEST_LINE_BYTES = 64 * 1024 };

/* A handshake that was cut, not refused. libcurl tells the two apart only in
   its words when the peer closed without a reset (no errno then). */
static int handshake_was_cut(const struct ac_outcome *o)
{
  static const char *const cuts[] = {"SSL_ERROR_SYSCALL", "Recv failure",
                                     "Send failure", "unexpected eof",
                                     "SSL_ERROR_ZERO_RETURN"};

  if (o->os_errno)
    return 1;
  for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++)
    if (strstr(o->words, cuts[i]))
      return 1;
  return 0;
}

static ac_kind set(struct ac_error *err, ac_kind kind, const char *code,
                   const struct ac_outcome *o, const char *more)
{
  const char *words = o->words[0] ? o->words : curl_easy_strerror(o->result);

  return ac_error_set_code(err, kind, code, "%s%s", words, more);
}

static const char *hint_of(const struct ac_outcome *o)
{
  if (strstr(o->words, "not yet valid"))
    return " (is the clock of this machine behind?)";
  if (strstr(o->words, "has expired"))
    return " (if it has not: is the clock of this machine ahead?)";
  return "";
}

ac_kind ac_verdict(const struct ac_outcome *o, struct ac_error *err)
{
  ac_kind kind = AC_ERR_NETWORK;
  const char *code = "reset";

  if (o->no_memory)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for an answer");
  if (o->too_large)
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "too_large",
                             "the answer is larger than %d KiB",
                             o->too_large / 1024);
  if (o->nameless)
    return ac_error_set(err, AC_ERR_TLS,
                        "the certificate has no subjectAltName; a common name "
                        "alone is not believed");
  if (o->result == CURLE_OPERATION_TIMEDOUT)
    return set(err, AC_ERR_TIMEOUT, ac_phase_names[o->phase], o, "");
  if (o->socket_errno == ENOMEM)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for a socket");
  if (o->socket_errno)
    return ac_error_set_code(
        err, AC_ERR_NETWORK, "connect", "cannot open a socket: errno %d%s",
        o->socket_errno,
        o->socket_errno == EMFILE || o->socket_errno == ENFILE
            ? " (too many open files)" : "");
  if (o->proxy_status == 407) {
    set(err, AC_ERR_NETWORK, "proxy", o, "");
    err->retryable = 0;
    return AC_ERR_NETWORK;
  }

  for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
    if (meanings[i].result == o->result) {
      kind = meanings[i].kind;
      code = meanings[i].code;
    }

  /* A header line beyond libcurl's own limit of 100 KiB says "out of memory"
     too. Ours to tell apart: then the bytes had come. */
  if (o->result == CURLE_OUT_OF_MEMORY && o->sent &&
      o->stray_bytes > LONGEST_LINE_BYTES)
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "too_large",
                             "a header line of the answer is too long");
  if (o->result == CURLE_URL_MALFORMAT && strstr(o->words, "No URL set"))
    kind = AC_ERR_MEMORY; /* there is one; libcurl could not copy it */
  if (o->result == CURLE_SSL_CONNECT_ERROR && handshake_was_cut(o)) {
    kind = AC_ERR_NETWORK;
    code = "reset";
  }
  if (o->result == CURLE_COULDNT_CONNECT && o->os_errno == ECONNRESET)
    code = "reset"; /* accepted, then cut before we had looked */
  if (o->proxy && !o->sent && kind == AC_ERR_NETWORK)
    code = "proxy"; /* the only one we have talked to */
  return set(err, kind, code, o, kind == AC_ERR_TLS ? hint_of(o) : "");
}
