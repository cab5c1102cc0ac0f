#include "credentials.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"

enum { SHORTEST_SECRET_BYTES = 8, HIDE_FROM_BYTES = 12, PRINT_BYTES = 4096 };
enum { SHORTEST_LIFE_MS = 2 * AC_TOKEN_FETCH_GAP_MS };

static const int64_t DEFAULT_TTL_S = 3600;
static const int64_t MAX_LIFE_S = INT64_C(10) * 366 * 86400;
static const int64_t CLOCK_JUMP_MS = 30000;
static const int64_t LONG_AGO = INT64_MIN / 4;

static char *copy(const char *text)
{
  size_t size = strlen(text) + 1;
  char *made = malloc(size);

  return made ? memcpy(made, text, size) : NULL;
}

static void wipe_text(char **text)
{
  if (*text)
    ac_wipe(*text, strlen(*text));
  free(*text);
  *text = NULL;
}

/* What may stand in a header: anything else could end it and begin another. */
static int is_token(struct ac_slice token)
{
  if (token.length == 0 || token.length > AC_TOKEN_MAX_BYTES)
    return 0;
  for (size_t i = 0; i < token.length; i++)
    if (token.bytes[i] <= 0x20 || token.bytes[i] >= 0x7f)
      return 0;
  return 1;
}

static ac_kind check_ttl(const struct ac_credentials_config *config,
                         struct ac_error *err)
{
  int64_t most =
      config->kind == AC_CREDENTIALS_CLIENT ? MAX_LIFE_S : AC_TOKEN_MAX_TTL_S;

  if (config->ttl_s < 0 || config->ttl_s > most)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "credentials.ttl_s must be 1 to %lld seconds",
                        (long long)most);
  return AC_OK;
}

static ac_kind check(const struct ac_credentials_config *config,
                     const char *app_id, struct ac_error *err)
{
  struct ac_slice token = {config->token, 0};

  switch (config->kind) {
  case AC_CREDENTIALS_FIXED:
    token.length = strlen(config->token);
    if (!is_token(token))
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "credentials.token must be 1 to %d visible ASCII "
                          "characters",
                          AC_TOKEN_MAX_BYTES);
    return AC_OK;
  case AC_CREDENTIALS_MADE:
  case AC_CREDENTIALS_EXCHANGED:
    if (!app_id)
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "app_id is missing: tokens are made from it and the "
                          "app certificate");
    if (!ac_token_is_id(app_id))
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "app_id must be 32 hex digits to make tokens");
    if (!ac_token_is_id(config->app_certificate))
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "credentials.app_certificate must be 32 hex digits");
    return check_ttl(config, err);
  case AC_CREDENTIALS_CLIENT:
    if (!config->client_id[0] || !config->client_secret[0])
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "credentials.client_id and client_secret must not "
                          "be empty");
    return check_ttl(config, err);
  case AC_CREDENTIALS_PROVIDED: break;
  }
  return AC_OK;
}

ac_kind ac_credentials_init(struct ac_credentials *c,
                            const struct ac_credentials_config *config,
                            const char *app_id, struct ac_random *random,
                            struct ac_error *err)
{
  int failed = 0;

  memset(c, 0, sizeof *c);
  ac_buffer_init(&c->token, AC_TOKEN_MAX_BYTES);
  ac_buffer_init(&c->previous, AC_TOKEN_MAX_BYTES);
  ac_error_clear(&c->failure);
  c->kind = config->kind;
  c->random = random;
  c->renew_at_ms = c->expires_at_ms = INT64_MAX;
  c->next_fetch_ms = c->last_fetch_ms = LONG_AGO;
  if (check(config, app_id, err) != AC_OK)
    return AC_ERR_ARGUMENT;

  c->ttl_s = config->ttl_s;
  switch (c->kind) {
  case AC_CREDENTIALS_FIXED:
    failed = ac_buffer_add_text(&c->token, config->token) != AC_OK;
    c->generation = 1;
    break;
  case AC_CREDENTIALS_MADE:
  case AC_CREDENTIALS_EXCHANGED:
    if (c->ttl_s == 0)
      c->ttl_s = DEFAULT_TTL_S;
    c->app_id = copy(app_id);
    c->certificate = copy(config->app_certificate);
    failed = !c->app_id || !c->certificate;
    break;
  case AC_CREDENTIALS_CLIENT:
    c->client_id = copy(config->client_id);
    c->client_secret = copy(config->client_secret);
    failed = !c->client_id || !c->client_secret;
    break;
  case AC_CREDENTIALS_PROVIDED: break;
  }
  if (failed) {
    ac_credentials_free(c);
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for the credentials");
  }
  return AC_OK;
}

void ac_credentials_free(struct ac_credentials *c)
{
  free(c->app_id);
  c->app_id = NULL;
  wipe_text(&c->certificate);
  wipe_text(&c->client_id);
  wipe_text(&c->client_secret);
  ac_buffer_wipe(&c->token);
  ac_buffer_wipe(&c->previous);
}

ac_kind ac_credentials_check_token(struct ac_slice token, struct ac_error *err)
{
  if (is_token(token))
    return AC_OK;
  return ac_error_set(err, AC_ERR_ARGUMENT,
                      "a token must be 1 to %d visible ASCII characters",
                      AC_TOKEN_MAX_BYTES);
}

ac_kind ac_credentials_put(struct ac_credentials *c, struct ac_slice token,
                           int64_t life_ms, int64_t now_ms, int64_t wall_s,
                           struct ac_error *err)
{
  if (ac_credentials_check_token(token, err) != AC_OK)
    return AC_ERR_ARGUMENT;
  ac_buffer_wipe(&c->previous);
  c->previous = c->token; /* calls that it was sent with are still out */
  ac_buffer_init(&c->token, AC_TOKEN_MAX_BYTES);
  if (ac_buffer_add(&c->token, token.bytes, token.length) != AC_OK) {
    c->generation++;
    c->refused = 1; /* there is none now */
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for the token");
  }
  c->generation++;
  c->from_401 = c->refused;
  c->refused = c->proved = c->fetching = c->fetch_due = 0;
  c->clock_gap_ms = wall_s * 1000 - now_ms;
  c->renew_at_ms = c->expires_at_ms = INT64_MAX;
  if (life_ms > 0) {
    c->expires_at_ms = now_ms + life_ms;
    /* 80 % +- 10 % of its life: many processes do not renew in one second */
    c->renew_at_ms = now_ms + life_ms / 10 * 7 +
                     ac_random_up_to(c->random, life_ms / 10 * 2);
  }
  return AC_OK;
}

/* Is its code what the service said, and not a name of ours? */
static int is_service_word(const struct ac_error *cause)
{
  switch (cause->kind) {
  case AC_ERR_FORBIDDEN:
  case AC_ERR_REJECTED:
  case AC_ERR_RATE_LIMITED:
  case AC_ERR_QUOTA:
  case AC_ERR_SERVER: return 1;
  default: return 0;
  }
}

void ac_credentials_failed(struct ac_credentials *c,
                           const struct ac_error *cause, int64_t now_ms)
{
  const char *code = cause->code;

  if (cause->kind == AC_ERR_UNAUTHORIZED)
    ac_error_set_code(&c->failure, AC_ERR_UNAUTHORIZED, code, "%s",
                      cause->text[0] ? cause->text : "no token can be had");
  else
    ac_error_set_code(&c->failure, AC_ERR_UNAUTHORIZED,
                      is_service_word(cause) ? code : NULL,
                      "no token can be had: %s%s%s%s%s",
                      ac_kind_name(cause->kind), code[0] ? "/" : "", code,
                      cause->text[0] ? ": " : "", cause->text);
  c->failure.retryable = ac_error_retryable(cause);
  c->failure.http_status = cause->http_status;
  c->failure.is_value = cause->is_value;
  memcpy(c->failure.foreign, cause->foreign, sizeof c->failure.foreign);
  c->fetching = c->fetch_due = 0;
  c->next_fetch_ms = now_ms + AC_TOKEN_FETCH_GAP_MS;
}

/* Makes a token with the service's idea of the time, as far as it is known. */
static ac_kind make(struct ac_credentials *c, int64_t wall_s,
                    struct ac_buffer *out, int64_t *out_life_s,
                    struct ac_error *err)
{
  struct ac_token_input input = {0};

  if (!ac_random_system(&input.salt, sizeof input.salt))
    return ac_error_set(err, AC_ERR_UNAUTHORIZED,
                        "the system gave no random bytes for a token's salt");
  input.salt = input.salt % 99999999 + 1;
  input.app_id = c->app_id;
  input.app_certificate = c->certificate;
  input.issued_at_s = wall_s + c->skew_s - AC_TOKEN_BACKDATE_S;
  input.ttl_s = c->ttl_s + AC_TOKEN_BACKDATE_S;
  if (input.ttl_s > AC_TOKEN_MAX_TTL_S)
    input.ttl_s = AC_TOKEN_MAX_TTL_S;
  *out_life_s = input.ttl_s - AC_TOKEN_BACKDATE_S;
  return ac_token_make(&input, out, err);
}

static void make_and_put(struct ac_credentials *c, int64_t now_ms,
                         int64_t wall_s)
{
  struct ac_buffer made;
  struct ac_error err;
  int64_t life_s;
  ac_kind kind;

  ac_buffer_init(&made, AC_TOKEN_MAX_BYTES);
  kind = make(c, wall_s, &made, &life_s, &err);
  if (kind == AC_OK) {
    struct ac_slice token = {made.bytes, made.length};

    kind = ac_credentials_put(c, token, life_s * 1000, now_ms, wall_s, &err);
  }
  ac_buffer_wipe(&made);
  if (kind != AC_OK)
    ac_credentials_failed(c, &err, now_ms);
}

static int serves(const struct ac_credentials *c, int64_t now_ms)
{
  return c->generation > 0 && !c->refused && now_ms < c->expires_at_ms;
}

enum ac_token_state ac_credentials_update(struct ac_credentials *c,
                                          int64_t now_ms, int64_t wall_s)
{
  int64_t moved_ms = wall_s * 1000 - now_ms - c->clock_gap_ms;
  int stale, rest;

  if (c->kind == AC_CREDENTIALS_FIXED)
    return AC_TOKEN_USABLE;

  stale = c->generation == 0 || c->refused || now_ms >= c->renew_at_ms;
  if (!stale && (moved_ms > CLOCK_JUMP_MS || moved_ms < -CLOCK_JUMP_MS)) {
    /* Only once for one jump, and the old token serves until the new one is
       there. What was learned of the service's clock was against the old. */
    c->clock_gap_ms += moved_ms;
    c->skew_s = 0;
    c->renew_at_ms = now_ms;
    stale = 1;
  }
  if (c->fetching && c->kind == AC_CREDENTIALS_PROVIDED &&
      now_ms - c->fetch_began_ms >= AC_TOKEN_PROVIDER_MS) {
    c->fetch_began_ms = c->last_fetch_ms = now_ms;
    c->fetch_due = 1;
  }
  /* The service bans who asks too often: while the old token serves, asking
     again can wait. */
  rest = c->kind != AC_CREDENTIALS_MADE && serves(c, now_ms) &&
         now_ms - c->last_fetch_ms < AC_TOKEN_FETCH_GAP_MS;
  if (stale && !rest && !c->fetching && now_ms >= c->next_fetch_ms) {
    c->last_fetch_ms = now_ms;
    if (c->kind == AC_CREDENTIALS_MADE) {
      make_and_put(c, now_ms, wall_s);
    } else {
      c->fetching = c->fetch_due = 1;
      c->fetch_began_ms = now_ms;
    }
  }
  if (serves(c, now_ms))
    return AC_TOKEN_USABLE;
  return c->fetching ? AC_TOKEN_AWAITED : AC_TOKEN_NONE;
}

void ac_credentials_note_date(struct ac_credentials *c, int64_t date_s,
                              int64_t wall_s)
{
  int64_t skew_s = date_s - wall_s;

  if (date_s < AC_TOKEN_MAX_TTL_S || date_s > UINT32_MAX - AC_TOKEN_MAX_TTL_S)
    return;
  if (skew_s <= AC_TOKEN_SKEW_S && skew_s >= -AC_TOKEN_SKEW_S)
    skew_s = 0;
  c->skew_s = skew_s;
}

int ac_credentials_refused(struct ac_credentials *c, uint32_t generation,
                           int64_t now_ms)
{
  if (generation != c->generation)
    return 1; /* late: there is a newer one */
  if (c->kind == AC_CREDENTIALS_FIXED)
    return 0;
  if (c->refused || c->fetching) {
    c->refused = 1;
    return 1; /* somebody has asked already */
  }
  if (c->renewed_on_401 && now_ms - c->last_fetch_ms < AC_TOKEN_FETCH_GAP_MS)
    return 0;
  if (now_ms < c->next_fetch_ms)
    return 0;
  ac_credentials_renew(c);
  return 1;
}

void ac_credentials_renew(struct ac_credentials *c)
{
  if (c->kind == AC_CREDENTIALS_FIXED)
    return;
  c->refused = 1;
  c->renewed_on_401 = 1;
}

void ac_credentials_succeeded(struct ac_credentials *c, uint32_t generation)
{
  /* An old token that still works says as much as the new one: what was
     refused was one user, not the app. */
  if (generation == c->generation || generation + 1 == c->generation)
    c->proved = 1;
}

/* In place: what is put in is never longer than what is taken out. */
static void hide(char *text, const char *secret)
{
  size_t length = secret ? strlen(secret) : 0;
  size_t least = length < HIDE_FROM_BYTES ? length : HIDE_FROM_BYTES;
  char *to = text;

  if (length < SHORTEST_SECRET_BYTES) /* it would hide half of all sentences */
    return;
  while (*text) {
    size_t same = 0;

    while (same < length && text[same] == secret[same])
      same++;
    if (same < least) {
      *to++ = *text++;
      continue;
    }
    memcpy(to, "***", 3);
    to += 3;
    text += same;
  }
  *to = '\0';
}

void ac_credentials_hide(const struct ac_credentials *c, const char *also,
                         struct ac_error *err)
{
  const char *const secrets[] = {c->token.bytes, c->previous.bytes,
                                 c->certificate, c->client_secret, also};

  for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
    hide(err->code, secrets[i]);
    hide(err->text, secrets[i]);
    hide(err->foreign, secrets[i]);
  }
}

static int add_json(struct ac_buffer *out, cJSON *json)
{
  /* Room from the start: a buffer that grows leaves a copy behind. */
  char *text = json ? cJSON_PrintBuffered(json, PRINT_BYTES, 0) : NULL;
  int done = text && ac_buffer_add_text(out, text) == AC_OK;

  if (text)
    ac_wipe(text, strlen(text));
  cJSON_free(text);
  return done;
}

/* cJSON copies the texts it holds: overwrite the secret before it is freed. */
static void delete_wiped(cJSON *json)
{
  cJSON *item;

  cJSON_ArrayForEach(item, json) if (item->valuestring)
      ac_wipe(item->valuestring, strlen(item->valuestring));
  cJSON_Delete(json);
}

ac_kind ac_credentials_fetch_request(struct ac_credentials *c, int64_t wall_s,
                                     struct ac_buffer *out_body,
                                     struct ac_buffer *out_token,
                                     struct ac_error *err)
{
  cJSON *body = cJSON_CreateObject();
  int64_t life_s;
  int done;

  if (c->kind == AC_CREDENTIALS_EXCHANGED) {
    ac_kind kind = make(c, wall_s, out_token, &life_s, err);

    if (kind != AC_OK) {
      cJSON_Delete(body);
      return kind;
    }
    done = cJSON_AddStringToObject(body, "grant_type", "agora") != NULL;
  } else {
    done = cJSON_AddStringToObject(body, "grant_type", "client_credentials") &&
           cJSON_AddStringToObject(body, "client_id", c->client_id) &&
           cJSON_AddStringToObject(body, "client_secret", c->client_secret) &&
           (c->ttl_s == 0 ||
            cJSON_AddNumberToObject(body, "ttl", (double)c->ttl_s));
  }
  done = done && add_json(out_body, body);
  delete_wiped(body);
  return done ? AC_OK
              : ac_error_set(err, AC_ERR_MEMORY, "no memory for a request");
}

/* expires_in: seconds; expire_timestamp: Unix milliseconds. 0: not known, and a
   401 will tell; also when it would have to be fetched again at once. */
static int64_t life_ms(const cJSON *answer, int64_t wall_s)
{
  const cJSON *in = cJSON_GetObjectItemCaseSensitive(answer, "expires_in");
  const cJSON *at =
      cJSON_GetObjectItemCaseSensitive(answer, "expire_timestamp");
  double ms = 0;

  if (cJSON_IsNumber(in))
    ms = in->valuedouble * 1000;
  else if (cJSON_IsNumber(at))
    ms = at->valuedouble - (double)wall_s * 1000;
  if (!(ms >= SHORTEST_LIFE_MS)) /* "for ever", already over, or nonsense */
    return 0;
  return ms < (double)MAX_LIFE_S * 1000 ? (int64_t)ms : MAX_LIFE_S * 1000;
}

ac_kind ac_credentials_fetch_answer(struct ac_credentials *c,
                                    struct ac_slice body, int64_t now_ms,
                                    int64_t wall_s, struct ac_error *err)
{
  cJSON *answer = NULL;
  const cJSON *item;
  struct ac_slice token;
  ac_kind kind = ac_answer_parse(body.bytes, body.length, &answer, err);

  if (kind == AC_ERR_BAD_RESPONSE) {
    err->text[0] = '\0'; /* it may quote the answer, and with it a token */
  } else if (kind == AC_OK) {
    item = cJSON_GetObjectItemCaseSensitive(answer, "access_token");
    if (cJSON_IsString(item)) {
      token.bytes = item->valuestring;
      token.length = strlen(item->valuestring);
      kind = ac_credentials_put(c, token, life_ms(answer, wall_s + c->skew_s),
                                now_ms, wall_s, err);
    } else {
      kind = ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "shape",
                               "the answer holds no access_token");
    }
    delete_wiped(answer);
  }
  return kind;
}
