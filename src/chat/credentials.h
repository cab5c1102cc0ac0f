/* credentials.h - the token: fixed, made, fetched or provided; when it is
 * stale; one renewal per 401.
 *
 * States and times only: making is token.h's work, a fetch is a call that the
 * client sends for this room. Every token has a generation number, so that a
 * late 401 of an old one only sends its call again. The certificate and the
 * secret live in memory of this room, are wiped by ac_credentials_free and
 * given to nobody else. */
#ifndef AC_CREDENTIALS_H
#define AC_CREDENTIALS_H

#include <stdint.h>

#include "../base/buffer.h"
#include "../base/error.h"
#include "../base/random.h"
#include "endpoint.h"
#include "token.h"

enum {
  AC_TOKEN_BACKDATE_S = 60,     /* issue time set back: our clock may run ahead */
  AC_TOKEN_FETCH_GAP_MS = 5000, /* the service bans who asks too often */
  AC_TOKEN_PROVIDER_MS = 30000, /* a function that has not answered by then is
                                   asked again: its coroutine may be dead */
  AC_TOKEN_SKEW_S = 30          /* a clock that far off is worth a word */
};

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
  int64_t ttl_s; /* 0: 3600 for made tokens, the service's own else */
};

enum ac_token_state {
  AC_TOKEN_USABLE,  /* c->token may be sent */
  AC_TOKEN_AWAITED, /* a renewal is under way */
  AC_TOKEN_NONE     /* none can be made: c->failure says why, and
                       c->next_fetch_ms when it is tried again */
};

struct ac_credentials {
  enum ac_credentials_kind kind;
  char *app_id; /* for made tokens, else NULL */
  char *certificate, *client_id, *client_secret;
  int64_t ttl_s;
  struct ac_random *random;

  struct ac_buffer token, previous;
  uint32_t generation;    /* of `token`; 0: there never was one */
  int64_t renew_at_ms;    /* monotonic */
  int64_t expires_at_ms;  /* monotonic; INT64_MAX: unknown */
  int64_t clock_gap_ms;   /* wall - monotonic when the token came */
  int64_t skew_s;         /* the service's clock - ours, once a 401 showed it */

  int fetching;           /* a fetch is under way, since: */
  int64_t fetch_began_ms;
  int fetch_due;          /* ... and nobody has been asked for it yet */
  int64_t next_fetch_ms;  /* after a failure: not before */
  int64_t last_fetch_ms;
  struct ac_error failure;

  int refused;            /* the token was answered with 401: not usable */
  int renewed_on_401;     /* ever: the first such renewal is immediate */
  int from_401;           /* this token is such a renewal's ... */
  int proved;             /* ... and a call has succeeded with it */
};

/* Copies and checks. app_id: NULL when the client has none. */
ac_kind ac_credentials_init(struct ac_credentials *c,
                            const struct ac_credentials_config *config,
                            const char *app_id, struct ac_random *random,
                            struct ac_error *err);
void ac_credentials_free(struct ac_credentials *c); /* wipes */

/* What can be sent now. Makes, or asks for (fetch_due), a new token when the
   present one is old, refused or the wall clock has jumped. */
enum ac_token_state ac_credentials_update(struct ac_credentials *c,
                                          int64_t now_ms, int64_t wall_s);

/* Fetched kinds: the request's JSON body in *out, and for an exchange the
   token made for it in *out_token. The caller wipes both. */
ac_kind ac_credentials_fetch_request(struct ac_credentials *c, int64_t wall_s,
                                     struct ac_buffer *out_body,
                                     struct ac_buffer *out_token,
                                     struct ac_error *err);

/* The service's answer to that request (status 200): the token is taken, or
   the fetch has failed. */
ac_kind ac_credentials_fetch_answer(struct ac_credentials *c,
                                    struct ac_slice body, int64_t now_ms,
                                    int64_t wall_s, struct ac_error *err);

/* argument when this cannot be a token (1 to 8192 visible ASCII bytes). */
ac_kind ac_credentials_check_token(struct ac_slice token, struct ac_error *err);

/* A token has come. life_ms 0: unknown. argument when it cannot be one (1 to
   8192 visible ASCII bytes). */
ac_kind ac_credentials_put(struct ac_credentials *c, struct ac_slice token,
                           int64_t life_ms, int64_t now_ms, int64_t wall_s,
                           struct ac_error *err);

/* No token came; an old one is kept while it lives. */
void ac_credentials_failed(struct ac_credentials *c,
                           const struct ac_error *cause, int64_t now_ms);

/* The Date of a 401. The newest counts: one that was wrong is forgotten with
   the next, and one that no token could be made of is not believed. */
void ac_credentials_note_date(struct ac_credentials *c, int64_t date_s,
                              int64_t wall_s);

/* A call that was sent with `generation` was answered 401. 1: send it once
   more (the token is, or is being, renewed); 0: that is final. */
int ac_credentials_refused(struct ac_credentials *c, uint32_t generation,
                           int64_t now_ms);

/* Asks for a renewal now, whatever the token's age (a probe after silence). */
void ac_credentials_renew(struct ac_credentials *c);

/* Replaces every secret of this room that a text of `err` repeats, whole or
   its first 12 bytes and more, by "***": a service or a proxy may say what it
   was sent. also: one more secret, may be NULL. */
void ac_credentials_hide(const struct ac_credentials *c, const char *also,
                         struct ac_error *err);

/* A call that was sent with `generation` succeeded. */
void ac_credentials_succeeded(struct ac_credentials *c, uint32_t generation);

#endif
