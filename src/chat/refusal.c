#include "refusal.h"

#include <stdlib.h>
#include <string.h>

#include "foreign.h"
#include "json.h"

/* The first row that fits. 0 as status: any; a status below 10: its class. */
/* clang-format off */
static const struct {
  int status;
  const char *word;     /* the service's, NULL: any */
  ac_kind kind;
  const char *code;     /* NULL: the service's word */
  int retryable;        /* 0: never again; -1: as the kind says */
} meanings[] = {
    {401, NULL,                               AC_ERR_UNAUTHORIZED, NULL,               -1},
    {403, NULL,                               AC_ERR_FORBIDDEN,    NULL,               -1},
    {404, "service_resource_not_found",       AC_ERR_NOT_FOUND,    "user",             -1},
    {404, "entity_not_found",                 AC_ERR_NOT_FOUND,    "user",             -1},
    {404, "organization_application_not_found", AC_ERR_NOT_FOUND,  "app",              -1},
    {404, NULL,                               AC_ERR_NOT_FOUND,    "other",            -1},
    {408, NULL,                               AC_ERR_SERVER,       NULL,               -1},
    {429, "resource_limited",                 AC_ERR_QUOTA,        "resource_limited", -1},
    {429, NULL,                               AC_ERR_RATE_LIMITED, "reach_limit",      -1},
    {4,   NULL,                               AC_ERR_REJECTED,     NULL,               -1},
    {501, NULL,                               AC_ERR_SERVER,       NULL,                0},
    /* a caller's mistakes, in spite of their status */
    {5,   "unsupported_service_operation",    AC_ERR_SERVER,       NULL,                0},
    {5,   "web_application",                  AC_ERR_SERVER,       NULL,                0},
    {5,   "no_full_text_index",               AC_ERR_SERVER,       NULL,                0},
    {5,   NULL,                               AC_ERR_SERVER,       NULL,               -1},
    {3,   NULL,                               AC_ERR_BAD_RESPONSE, "redirect",         -1},
    {0,   NULL,                               AC_ERR_BAD_RESPONSE, "status",           -1},
};
/* clang-format on */

/* An error word is only believed when it looks like one. */
static int take_word(const char *text, size_t length, char *out, size_t size)
{
  out[0] = '\0';
  if (length == 0 || length >= size)
    return 0;
  for (size_t i = 0; i < length; i++)
    if (!ac_is_letter(text[i]) && !ac_is_digit(text[i]) &&
        (text[i] == '\0' || !strchr("_ .-", text[i])))
      return 0;
  ac_foreign_clean(text, length, out, size);
  return out[0] != '\0' && strlen(out) == length;
}

/* Text that is put together for a description: bounded, and blanks are joined
   so that a page's indentation does not use it up. */
struct line {
  char text[4 * AC_ERROR_DESCRIPTION_BYTES];
  size_t length;
};

static void line_add(struct line *line, int byte)
{
  if (byte == '\n' || byte == '\r' || byte == '\t' || byte == '\0')
    byte = ' ';
  if (byte == ' ' &&
      (line->length == 0 || line->text[line->length - 1] == ' '))
    return;
  if (line->length < sizeof line->text)
    line->text[line->length++] = (char)byte;
}

static void line_add_character(struct line *line, unsigned long code)
{
  if (code == 0 || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff)
    code = ' ';
  if (code < 0x80) {
    line_add(line, (int)code);
    return;
  }
  if (code < 0x800) {
    line_add(line, (int)(0xc0 | code >> 6));
  } else if (code < 0x10000) {
    line_add(line, (int)(0xe0 | code >> 12));
    line_add(line, (int)(0x80 | (code >> 6 & 0x3f)));
  } else {
    line_add(line, (int)(0xf0 | code >> 18));
    line_add(line, (int)(0x80 | (code >> 12 & 0x3f)));
    line_add(line, (int)(0x80 | (code >> 6 & 0x3f)));
  }
  line_add(line, (int)(0x80 | (code & 0x3f)));
}

static int line_full(const struct line *line)
{
  return line->length == sizeof line->text;
}

/* The end of an element whose content is no text, after its closing tag. */
static const char *skip_element(const char *at, const char *end,
                                const char *closing)
{
  for (; at < end; at++)
    if (*at == '<' && ac_starts_without_case(at, (size_t)(end - at), closing))
      break;
  while (at < end && *at != '>')
    at++;
  return at < end ? at + 1 : end;
}

/* at: a '<'. Returns what follows the tag, or at itself when it is none. */
static const char *skip_tag(const char *at, const char *end, int skip_title)
{
  static const char *const silent[][2] = {
      {"<script", "</script"}, {"<style", "</style"}, {"<title", "</title"}};
  const char *tag = at;
  size_t left = (size_t)(end - at);

  if (left < 2 || (!ac_is_letter(at[1]) && !strchr("/!?", at[1])) ||
      at[1] == '\0')
    return at;
  if (ac_starts_without_case(at, left, "<!--")) {
    for (at += 4; at < end; at++)
      if (end - at >= 3 && memcmp(at, "-->", 3) == 0)
        return at + 3;
    return end;
  }
  for (size_t i = 0; i < 2 + (size_t)skip_title; i++) {
    size_t name = strlen(silent[i][0]);

    if (ac_starts_without_case(tag, left, silent[i][0]) &&
        (left == name || !ac_is_letter(tag[name])))
      return skip_element(tag, end, silent[i][1]);
  }
  while (at < end && *at != '>')
    at++;
  return at < end ? at + 1 : end;
}

/* at: a '&'. Adds the character and returns what follows the entity; a '&'
   that begins none is itself. */
static const char *add_entity(struct line *line, const char *at,
                              const char *end)
{
  static const struct {
    const char *name;
    char character;
  } named[] = {
      {"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
  char name[12];
  size_t length = 0;
  const char *from = at + 1;

  while (from + length < end && length < sizeof name - 1 &&
         (ac_is_letter(from[length]) || ac_is_digit(from[length]) ||
          from[length] == '#')) {
    name[length] = from[length];
    length++;
  }
  name[length] = '\0';
  if (length == 0 || from + length == end || from[length] != ';') {
    line_add(line, '&');
    return at + 1;
  }
  if (name[0] == '#') {
    int hex = name[1] == 'x' || name[1] == 'X';

    line_add_character(line, strtoul(name + 1 + hex, NULL, hex ? 16 : 10));
    return from + length + 1;
  }
  for (size_t i = 0; i < sizeof named / sizeof named[0]; i++)
    if (strcmp(name, named[i].name) == 0) {
      line_add(line, named[i].character);
      return from + length + 1;
    }
  line_add(line, ' '); /* &nbsp; and all the others */
  return from + length + 1;
}

/* The text of a gateway's page, or of anything else. The title comes only
   when there is nothing else: it mostly repeats the heading. */
static void page_text(const char *bytes, size_t length, char *out, size_t size)
{
  const char *end = bytes + length;

  out[0] = '\0';
  for (int skip_title = 1; skip_title >= 0 && out[0] == '\0'; skip_title--) {
    struct line line;
    const char *at = bytes;

    line.length = 0;
    while (at < end && !line_full(&line)) {
      const char *after = *at == '<' ? skip_tag(at, end, skip_title) : at;

      if (after > at) {
        line_add(&line, ' ');
        at = after;
      } else if (*at == '&') {
        at = add_entity(&line, at, end);
      } else {
        line_add(&line, (unsigned char)*at++);
      }
    }
    ac_foreign_clean(line.text, line.length, out, size);
  }
}

/* Where the string under this key begins, after its quote; NULL when there is
   none. For a text that is no JSON: cut, or with raw control bytes in it. */
static const char *find_string(const char *at, const char *end,
                               const char *key)
{
  size_t name = strlen(key);

  for (; at < end; at++) {
    const char *after;

    if (*at != '"' || (size_t)(end - at) < name + 2 ||
        memcmp(at + 1, key, name) != 0 || at[name + 1] != '"')
      continue;
    after = at + name + 2;
    while (after < end && ac_is_blank(*after))
      after++;
    if (after == end || *after++ != ':')
      continue; /* a value that reads like the key */
    while (after < end && ac_is_blank(*after))
      after++;
    return after < end && *after == '"' ? after + 1 : NULL;
  }
  return NULL;
}

/* Reads such a string as well as it can be done. Returns 1 when its end was
   there; `line` holds what there is. */
static int read_string(const char *bytes, size_t length, const char *key,
                       struct line *line)
{
  const char *end = bytes + length;
  const char *at = find_string(bytes, end, key);

  line->length = 0;
  for (; at && at < end && *at != '"'; at++) {
    unsigned long code = 0;
    int i;

    if (*at != '\\') {
      line_add(line, (unsigned char)*at);
      continue;
    }
    if (++at == end)
      return 0;
    if (*at != 'u') {
      line_add(line, strchr("bfnrt", *at) ? ' ' : (unsigned char)*at);
      continue;
    }
    for (i = 0; i < 4 && end - at > 1 && ac_hex_value(at[1]) >= 0; i++)
      code = code << 4 | (unsigned long)ac_hex_value(*++at);
    line_add_character(line, i == 4 ? code : ' ');
  }
  return at && at < end;
}

struct words {
  char error[AC_ERROR_CODE_BYTES]; /* "" when there is none */
  char description[AC_ERROR_DESCRIPTION_BYTES];
};

static const char *string_of(const cJSON *object, const char *key)
{
  const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

  return cJSON_IsString(item) ? item->valuestring : "";
}

/* `error` and `error_description`, or what stands in their place. */
static void words_of_object(const cJSON *root, struct words *words)
{
  const char *error = string_of(root, "error");
  const char *text = string_of(root, "error_description");
  int is_word =
      take_word(error, strlen(error), words->error, sizeof words->error);

  if (text[0] == '\0')
    text = string_of(root, "message"); /* gateways say it so */
  if (text[0] == '\0' && !is_word)
    text = error;
  ac_foreign_clean(text, strlen(text), words->description,
                   sizeof words->description);
}

static void words_of_body(const char *bytes, size_t length,
                          struct words *words)
{
  struct ac_json s;
  enum ac_json_verdict verdict = ac_json_scan(&s, bytes, length);
  struct line line;

  words->error[0] = words->description[0] = '\0';
  if (s.root == s.end)
    return;
  if (*s.root == '{') {
    cJSON *root = verdict == AC_JSON_WHOLE ? ac_json_tree(&s) : NULL;

    if (root) {
      words_of_object(root, words);
      cJSON_Delete(root);
    } else {
      if (read_string(bytes, length, "error", &line))
        take_word(line.text, line.length, words->error, sizeof words->error);
      read_string(bytes, length, "error_description", &line);
      ac_foreign_clean(line.text, line.length, words->description,
                       sizeof words->description);
    }
    if (words->error[0] || words->description[0])
      return;
  }
  page_text(bytes, length, words->description, sizeof words->description);
}

ac_kind ac_refusal_read(int http_status, const char *bytes, size_t length,
                        struct ac_error *err)
{
  struct words words;
  int class = http_status >= 300 && http_status < 600 ? http_status / 100 : 0;
  size_t i = 0;

  words_of_body(bytes, length, &words);
  while (!((meanings[i].status == 0 || meanings[i].status == http_status ||
            meanings[i].status == class) &&
           (!meanings[i].word || strcmp(meanings[i].word, words.error) == 0)))
    i++;
  ac_error_set_code(err, meanings[i].kind,
                    meanings[i].code ? meanings[i].code : words.error, "%s",
                    "");
  if (!err)
    return meanings[i].kind;
  err->http_status = http_status;
  err->retryable = meanings[i].retryable;
  memcpy(err->foreign, words.description, sizeof err->foreign);
  if (class == 0)
    strcpy(err->text, "expected HTTP status 200");
  else if (class == 3)
    strcpy(err->text, "redirects are not followed");
  else if (words.description[0] == '\0')
    strcpy(err->text, "the answer says nothing more");
  return meanings[i].kind;
}

void ac_refusal_note_words(const cJSON *envelope, struct ac_error *err)
{
  struct words words;

  if (!err ||
      (!cJSON_GetObjectItemCaseSensitive(envelope, "error") &&
       !cJSON_GetObjectItemCaseSensitive(envelope, "error_description")))
    return;
  words_of_object(envelope, &words);
  strcpy(err->foreign,
         words.description[0] ? words.description : words.error);
}
