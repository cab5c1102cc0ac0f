/* options.h - the program's table of options -> what a runner is made with. */
#ifndef AC_OPTIONS_H
#define AC_OPTIONS_H

#include "../net/runner.h"
#include "compat.h"

#define AC_MAX_TTL_S 315360000.0 /* ten years; the service gives weeks */

enum { AC_MAX_CERTIFICATE_FILE_BYTES = 4096, AC_MAX_USER_AGENT_BYTES = 256 };

struct ac_options { /* texts borrowed from the Lua table */
  struct ac_runner_config runner;
  int envelope;                 /* of calls that do not say */
  int wants_thread;             /* as written; the Lua layer decides */
  const char *certificate_file; /* its content is still to be read */
  const char *transport;        /* the rest is for specs */
  int64_t frozen_ms, frozen_wall_s, seed;
};

/* Options of one call. */
struct ac_call_options {
  int64_t timeout_ms, attempt_timeout_ms, max_pause_ms;
  int max_attempts, envelope, batch;
};

/* What app_token, user_token and read_token take. */
struct ac_token_options {
  const char *app_id, *app_certificate, *username;
  int64_t ttl_s;
};

/* Reads the options at `index`; raises for unknown names and wrong types.
   AC_OK or AC_ERR_ARGUMENT. Credentials of a file are not complete yet. */
ac_kind ac_options_read(lua_State *L, int index, int threaded,
                        struct ac_options *out, struct ac_error *err);

/* Reads a certificate's file, trimmed, into `out` of
   AC_MAX_CERTIFICATE_FILE_BYTES + 1. Calls no Lua: the caller wipes `out`. */
ac_kind ac_read_certificate_file(const char *path, char *out,
                                 struct ac_error *err);

ac_kind ac_call_options_read(lua_State *L, int index,
                             struct ac_call_options *out,
                             struct ac_error *err);

enum { AC_TOKEN_APP, AC_TOKEN_USER, AC_TOKEN_READ };
ac_kind ac_token_options_read(lua_State *L, int index, int use,
                              struct ac_token_options *out,
                              struct ac_error *err);

#endif
