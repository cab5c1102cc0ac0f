#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fields.h"

#define MAX_MS 2147483647.0 /* 2^31 - 1: 24 days */
#define MAX_EXACT 9007199254740991.0
#define MAX_TTL_S 315360000.0 /* ten years; the service gives weeks */

#define COUNT(rows) ((int)(sizeof(rows) / sizeof(rows)[0]))

/* clang-format off */
#define AT(member) offsetof(struct ac_options, member)
static const struct ac_field option_rows[] = {
    {"base_url",           AC_FIELD_TEXT,    AT(runner.client.base_url), 0, 0},
    {"app_id",             AC_FIELD_TEXT,    AT(runner.client.app_id), 0, 0},
    {"org_name",           AC_FIELD_TEXT,    AT(runner.client.org_name), 0, 0},
    {"app_name",           AC_FIELD_TEXT,    AT(runner.client.app_name), 0, 0},
    {"allow_http",         AC_FIELD_BOOLEAN, AT(runner.client.allow_http), 0, 0},
    {"credentials",        AC_FIELD_TABLE_OR_FUNCTION, 0, 0, 0},
    {"timeout_ms",         AC_FIELD_WHOLE,   AT(runner.client.timeout_ms), 1, MAX_MS},
    {"connect_timeout_ms", AC_FIELD_WHOLE,   AT(runner.client.connect_timeout_ms), 1, MAX_MS},
    {"attempt_timeout_ms", AC_FIELD_WHOLE,   AT(runner.client.attempt_timeout_ms), 1, MAX_MS},
    {"max_attempts",       AC_FIELD_INT,     AT(runner.client.max_attempts), 1, 100},
    {"backoff_ms",         AC_FIELD_WHOLE,   AT(runner.client.backoff_ms), 1, MAX_MS},
    {"rate_per_s",         AC_FIELD_RATE,    AT(runner.client.rate_per_s), 1e-3, 1e6},
    {"burst",              AC_FIELD_INT,     AT(runner.client.burst), 1, 1e6},
    {"max_in_flight",      AC_FIELD_INT,     AT(runner.client.max_in_flight), 1, 1000},
    {"max_queue",          AC_FIELD_INT,     AT(runner.client.max_queue), 1, 1e7},
    {"envelope",           AC_FIELD_BOOLEAN, AT(envelope), 0, 0},
    {"ca_file",            AC_FIELD_TEXT,    AT(runner.ca_file), 0, 0},
    {"proxy",              AC_FIELD_TEXT,    AT(runner.proxy), 0, 0},
    {"user_agent",         AC_FIELD_TEXT,    AT(runner.user_agent), 0, 0},
    /* the Lua layer's */
    {"threaded",           AC_FIELD_BOOLEAN, AT(wants_thread), 0, 0},
    {"loop",               AC_FIELD_TABLE,   0, 0, 0},
    {"on_event",           AC_FIELD_FUNCTION, 0, 0, 0},
    {"on_error",           AC_FIELD_FUNCTION, 0, 0, 0},
    {"shared_limiter",     AC_FIELD_TEXT_OR_TABLE, 0, 0, 0},
    /* for specs */
    {"transport",          AC_FIELD_TEXT,    AT(transport), 0, 0},
    {"frozen_ms",          AC_FIELD_WHOLE,   AT(frozen_ms), 0, MAX_EXACT},
    {"frozen_wall_s",      AC_FIELD_WHOLE,   AT(frozen_wall_s), 0, MAX_EXACT},
    {"seed",               AC_FIELD_WHOLE,   AT(seed), 0, MAX_EXACT},
};
#undef AT
static const struct ac_fields option_fields = {
    option_rows, COUNT(option_rows), "option", ""};

struct credentials {
  const char *token, *app_certificate, *app_certificate_file;
  const char *client_id, *client_secret;
  int64_t ttl_s;
  int exchange;
};

#define AT(member) offsetof(struct credentials, member)
static const struct ac_field credential_rows[] = {
    {"token",                AC_FIELD_TEXT,    AT(token), 0, 0},
    {"app_certificate",      AC_FIELD_TEXT,    AT(app_certificate), 0, 0},
    {"app_certificate_file", AC_FIELD_TEXT,    AT(app_certificate_file), 0, 0},
    {"client_id",            AC_FIELD_TEXT,    AT(client_id), 0, 0},
    {"client_secret",        AC_FIELD_TEXT,    AT(client_secret), 0, 0},
    {"ttl_s",                AC_FIELD_WHOLE,   AT(ttl_s), 1, MAX_TTL_S},
    {"exchange",             AC_FIELD_BOOLEAN, AT(exchange), 0, 0},
};
#undef AT
static const struct ac_fields credential_fields = {
    credential_rows, COUNT(credential_rows), "credentials field",
    "credentials."};

#define AT(member) offsetof(struct ac_call_options, member)
static const struct ac_field call_rows[] = {
    {"timeout_ms",         AC_FIELD_WHOLE,   AT(timeout_ms), 1, MAX_MS},
    {"attempt_timeout_ms", AC_FIELD_WHOLE,   AT(attempt_timeout_ms), 1, MAX_MS},
    {"max_attempts",       AC_FIELD_INT,     AT(max_attempts), 1, 100},
    {"envelope",           AC_FIELD_BOOLEAN, AT(envelope), 0, 0},
    {"data",               AC_FIELD_ANY,     0, 0, 0}, /* the Lua layer's */
    {"batch",              AC_FIELD_BOOLEAN, AT(batch), 0, 0},
    {"max_pause_ms",       AC_FIELD_WHOLE,   AT(max_pause_ms), 0, MAX_MS},
};
#undef AT
static const struct ac_fields call_fields = {call_rows, COUNT(call_rows),
                                             "call option", ""};

#define AT(member) offsetof(struct ac_token_options, member)
static const struct ac_field token_rows[] = { /* a use takes the first n */
    {"app_certificate", AC_FIELD_TEXT,  AT(app_certificate), 0, 0},
    {"app_id",          AC_FIELD_TEXT,  AT(app_id), 0, 0},
    {"ttl_s",           AC_FIELD_WHOLE, AT(ttl_s), 1, AC_TOKEN_MAX_TTL_S},
    {"username",        AC_FIELD_TEXT,  AT(username), 0, 0},
};
#undef AT
/* clang-format on */
static const struct ac_fields token_fields[] = {
    {token_rows, 3, "field", ""},
    {token_rows, 4, "field", ""},
    {token_rows, 1, "field", ""},
};

/* Reads a small file that must be a regular one (a pipe could block for
   ever). Errors never repeat the path: a program that mixes up the two fields
   passes the certificate itself. */
ac_kind ac_read_certificate_file(const char *path, char *out,
                                 struct ac_error *err)
{
  const char *name = "credentials.app_certificate_file";
  size_t length = 0;
  ssize_t got = 0;
  struct stat status;
  int problem = 0;
  int fd;

  if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
    return ac_error_set(err, AC_ERR_ARGUMENT, "%s is not a regular file",
                        name);
  fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return ac_error_set(err, AC_ERR_ARGUMENT, "%s cannot be opened (errno %d)",
                        name, errno);
  while (length <= AC_MAX_CERTIFICATE_FILE_BYTES) {
    got = read(fd, out + length, AC_MAX_CERTIFICATE_FILE_BYTES + 1 - length);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0)
      break;
    length += (size_t)got;
  }
  if (got < 0)
    problem = errno;
  close(fd);
  if (problem)
    return ac_error_set(err, AC_ERR_ARGUMENT, "%s cannot be read (errno %d)",
                        name, problem);
  if (length > AC_MAX_CERTIFICATE_FILE_BYTES)
    return ac_error_set(err, AC_ERR_ARGUMENT, "%s is longer than %d bytes",
                        name, AC_MAX_CERTIFICATE_FILE_BYTES);
  while (length > 0 && out[length - 1] && strchr(" \t\r\n", out[length - 1]))
    length--;
  out[length] = '\0';
  if (length == 0 || strlen(out) != length)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        length ? "%s has a NUL byte inside" : "%s is empty",
                        name);
  if (!ac_token_is_id(out))
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "%s must hold 32 hex digits and nothing else", name);
  return AC_OK;
}

static int has_control_bytes(const char *text)
{
  for (; *text; text++)
    if ((unsigned char)*text < 0x20 || *text == 0x7f)
      return 1;
  return 0;
}

static ac_kind check_ca_file(const char *path, struct ac_error *err)
{
  struct stat status;

  if (stat(path, &status) == 0 && S_ISREG(status.st_mode) &&
      access(path, R_OK) == 0)
    return AC_OK;
  if (ac_token_is_id(path)) /* a certificate in the wrong place */
    path = "(32 hex digits)";
  return ac_error_set(err, AC_ERR_ARGUMENT,
                      "ca_file must be a file that can be read: '%.100s'",
                      path);
}

/* http://host..., https://host..., or host:port. Errors do not repeat it: it
   may hold a password. */
static ac_kind check_proxy(const char *proxy, struct ac_error *err)
{
  const char *scheme_end = strstr(proxy, "://");
  const char *host = scheme_end ? scheme_end + 3 : proxy;
  const char *colon = strrchr(host, ':');
  int ok = strlen(proxy) <= 1024 && *host && *host != '/' && *host != ':';

  if (has_control_bytes(proxy) || strchr(proxy, ' '))
    ok = 0;
  if (scheme_end)
    ok = ok && (strncasecmp(proxy, "http://", 7) == 0 ||
                strncasecmp(proxy, "https://", 8) == 0);
  else
    ok = ok && colon && colon[1] &&
         strspn(colon + 1, "0123456789") == strlen(colon + 1);
  if (ok)
    return AC_OK;
  return ac_error_set(err, AC_ERR_ARGUMENT,
                      "proxy must be http://host:port, https://host:port or "
                      "host:port");
}

static ac_kind check_user_agent(const char *text, struct ac_error *err)
{
  if (strlen(text) <= AC_MAX_USER_AGENT_BYTES && !has_control_bytes(text))
    return AC_OK;
  return ac_error_set(err, AC_ERR_ARGUMENT,
                      "user_agent must be at most %d bytes without control "
                      "bytes such as CR and LF",
                      AC_MAX_USER_AGENT_BYTES);
}

/* The credentials table on top of the stack. */
static ac_kind read_credentials(lua_State *L, struct ac_options *out,
                                struct ac_error *err)
{
  struct credentials given;
  struct ac_credentials_config *to = &out->runner.client.credentials;
  int kinds;

  memset(&given, 0, sizeof given);
  if (ac_fields_read(L, lua_gettop(L), &credential_fields, &given, err))
    return err->kind;
  kinds = !!given.token + !!given.app_certificate +
          !!given.app_certificate_file +
          (given.client_id || given.client_secret);
  if (kinds != 1)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "credentials: give %s of token, app_certificate, "
                        "app_certificate_file, client_id with client_secret",
                        kinds ? "only one" : "one");
  if ((given.client_id || given.client_secret) &&
      !(given.client_id && given.client_secret))
    return ac_error_set(err, AC_ERR_ARGUMENT, "credentials.%s is missing",
                        given.client_id ? "client_secret" : "client_id");
  if (given.exchange && (given.token || given.client_id))
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "credentials.exchange goes with an app_certificate");
  to->ttl_s = given.ttl_s;
  if (given.token) {
    to->kind = AC_CREDENTIALS_FIXED;
    to->token = given.token;
  } else if (given.client_id) {
    to->kind = AC_CREDENTIALS_CLIENT;
    to->client_id = given.client_id;
    to->client_secret = given.client_secret;
  } else {
    to->kind = given.exchange ? AC_CREDENTIALS_EXCHANGED : AC_CREDENTIALS_MADE;
    to->app_certificate = given.app_certificate;
    out->certificate_file = given.app_certificate_file;
    if (given.ttl_s > AC_TOKEN_MAX_TTL_S)
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "credentials.ttl_s must be a whole number from 1 to "
                          "%d for tokens made of a certificate",
                          AC_TOKEN_MAX_TTL_S);
  }
  return AC_OK;
}

static ac_kind missing(const char *what, struct ac_error *err)
{
  return ac_error_set(err, AC_ERR_ARGUMENT, "%s is missing", what);
}

static ac_kind check_required(const struct ac_client_config *c,
                              int has_credentials, struct ac_error *err)
{
  if (!c->base_url)
    return missing("base_url", err);
  if (!c->app_id && !c->org_name && !c->app_name)
    return missing("app_id (or org_name and app_name)", err);
  if (!c->org_name != !c->app_name)
    return missing(c->org_name ? "app_name" : "org_name", err);
  if (!has_credentials)
    return missing("credentials", err);
  return AC_OK;
}

static ac_kind check_values(struct ac_options *out, int threaded,
                            struct ac_error *err)
{
  struct ac_runner_config *runner = &out->runner;

  if (runner->ca_file && check_ca_file(runner->ca_file, err))
    return err->kind;
  if (runner->proxy && check_proxy(runner->proxy, err))
    return err->kind;
  if (runner->user_agent && check_user_agent(runner->user_agent, err))
    return err->kind;
  runner->mode = threaded ? AC_RUNNER_THREADED : AC_RUNNER_INLINE;
  if (out->transport) {
    if (strcmp(out->transport, "lua") != 0)
      return ac_error_set(err, AC_ERR_ARGUMENT, "transport must be 'lua'");
    runner->mode = AC_RUNNER_MANUAL;
  }
  runner->client.seed = (uint64_t)out->seed;
  if (out->frozen_ms >= 0 || out->frozen_wall_s >= 0) {
    runner->clock.frozen = 1;
    runner->clock.frozen_ms = out->frozen_ms >= 0 ? out->frozen_ms : 0;
    runner->clock.frozen_wall_s =
        out->frozen_wall_s >= 0 ? out->frozen_wall_s : 0;
  }
  return AC_OK;
}

ac_kind ac_options_read(lua_State *L, int index, int threaded,
                        struct ac_options *out, struct ac_error *err)
{
  struct ac_error of_credentials;
  int credentials, shared;
  ac_kind kind;

  memset(out, 0, sizeof *out);
  ac_error_clear(&of_credentials);
  out->envelope = 1;
  out->frozen_ms = out->frozen_wall_s = -1;
  kind = ac_fields_read(L, index, &option_fields, out, err);

  /* Bugs of the program first, wherever they are: all that raises is
     before the first return. */
  credentials = ac_push_field(L, index, "credentials");
  out->runner.client.credentials.kind = AC_CREDENTIALS_PROVIDED;
  if (credentials == LUA_TTABLE)
    read_credentials(L, out, &of_credentials);
  lua_pop(L, 1);
  shared = ac_push_field(L, index, "shared_limiter");
  lua_pop(L, 1);
  out->runner.client.want_events =
      ac_push_field(L, index, "on_event") != LUA_TNIL;
  lua_pop(L, 1);

  if (kind ||
      check_required(&out->runner.client, credentials != LUA_TNIL, err))
    return err->kind;
  if (of_credentials.kind) {
    *err = of_credentials;
    return err->kind;
  }
  if (shared != LUA_TNIL)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "shared_limiter is not in this version");
  return check_values(out, threaded, err);
}

ac_kind ac_call_options_read(lua_State *L, int index,
                             struct ac_call_options *out, struct ac_error *err)
{
  return ac_fields_read(L, index, &call_fields, out, err);
}

ac_kind ac_token_options_read(lua_State *L, int index, int use,
                              struct ac_token_options *out,
                              struct ac_error *err)
{
  memset(out, 0, sizeof *out);
  out->ttl_s = 3600;
  if (ac_fields_read(L, index, &token_fields[use], out, err))
    return err->kind;
  if (use == AC_TOKEN_READ)
    return AC_OK;
  if (!out->app_id)
    return missing("app_id", err);
  if (!out->app_certificate)
    return missing("app_certificate", err);
  if (use == AC_TOKEN_USER && !out->username)
    return missing("username", err);
  return AC_OK;
}
