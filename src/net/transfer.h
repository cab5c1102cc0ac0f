/* transfer.h - one easy handle: its settings, its request, what came back.
 *
 * Made once and used for one attempt after another (a new handle per call
 * costs four times the instructions). Owns the handle, the URL, the header list
 * with its copy of the token, and nothing of the call. */
#ifndef AC_TRANSFER_H
#define AC_TRANSFER_H

#include <curl/curl.h>
#include <stdint.h>

#include "../base/list.h"
#include "../chat/call.h"
#include "sockets.h"

/* Texts owned by the engine, the same for all its transfers. */
struct ac_transfer_setup {
  CURLU *origin;
  int https;
  int names_known;             /* libcurl tells what a certificate names */
  int64_t connect_timeout_ms;
  int64_t attempt_timeout_ms;
  char *ca_file, *proxy, *user_agent; /* ca_file, proxy: may be NULL */
  struct ac_sockets *sockets;
};

struct ac_transfer {
  struct ac_list link;         /* the engine's: idle, out or ended */
  struct ac_call *call;        /* NULL: idle */
  const struct ac_transfer_setup *setup;
  CURL *easy;
  CURLU *url;
  struct curl_slist *headers;
  char *token;                 /* inside headers; NULL: none there */
  int has_body;                /* what headers and easy are set up for */
  char method[16];
  char *target;                /* path and query of the request */
  size_t target_size;

  /* this attempt */
  int64_t started_us;
  int fresh;                   /* asked for a new connection */
  int again;                   /* started a second time by ourselves */
  int unasked;                 /* the kept connection had something to say */
  int nameless;                /* the certificate names no host */
  int sent;                    /* the request was on its way */
  int status;                  /* of the newest status line */
  size_t header_bytes, body_bytes;
  int no_memory, too_large, cut;
  int socket_errno;
  struct ac_socket_use use;
  char words[CURL_ERROR_SIZE];
};

/* NULL: no memory. */
struct ac_transfer *ac_transfer_new(const struct ac_transfer_setup *setup);
void ac_transfer_free(struct ac_transfer *t); /* wipes the token */
void ac_transfer_wipe(struct ac_transfer *t); /* only that, for a forked child */

/* Sets the handle up for the call's next attempt. */
ac_kind ac_transfer_prepare(struct ac_transfer *t, struct ac_call *call,
                            struct ac_error *err);

/* Did the attempt end for a reason of libcurl's or ours that a new connection
   cures, before anything was sent? Then it is set up for one; start it again. */
int ac_transfer_again(struct ac_transfer *t, CURLcode result);

/* Writes the call's reply and error. */
void ac_transfer_finish(struct ac_transfer *t, CURLcode result);

/* The same for an attempt that is being dropped: reply only. */
void ac_transfer_abandon(struct ac_transfer *t);

/* Nobody's any more. */
void ac_transfer_rest(struct ac_transfer *t);

#endif
