#include "answer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/utf8.h"

enum {
  QUOTE_BYTES = 65,       /* foreign text in our sentences, with the NUL */
  CJSON_NUMBER_BYTES = 63 /* what cJSON reads of a number; it then trips over
                             the rest */
};

static const double COUNT_LIMIT = 9007199254740992.0; /* 2^53 */

/* -- foreign text ------------------------------------------------------- */

static int is_digit(int c)
{
  return c >= '0' && c <= '9';
}

static int is_letter(int c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int lower(int c)
{
  return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* ASCII only, whatever the locale says. */
static int same_without_case(const char *a, const char *b)
{
  while (*a && lower((unsigned char)*a) == lower((unsigned char)*b))
    a++, b++;
  return *a == *b;
}

static int starts_without_case(const char *text, size_t length,
                               const char *start)
{
  size_t i = 0;

  while (start[i] && i < length && lower((unsigned char)text[i]) == start[i])
    i++;
  return start[i] == '\0';
}

/* A gateway's page may echo the request with its Authorization header. The
   word after "Bearer", and what looks like one of the service's tokens, is
   never repeated. */
static void hide_tokens(char *text)
{
  static const char word[] = "abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_-.";
  int after_bearer = 0;

  while (*text) {
    size_t length = strspn(text, word);

    if (length == 0) {
      text++;
      continue;
    }
    if (length >= 16 && (after_bearer || strncmp(text, "007e", 4) == 0 ||
                         strncmp(text, "YWMt", 4) == 0)) {
      memcpy(text, "***", 3);
      memmove(text + 3, text + length, strlen(text + length) + 1);
      length = 3;
    }
    after_bearer = length == 6 && starts_without_case(text, 6, "bearer");
    text += length;
  }
}

/* Foreign bytes as one clean line without secrets. */
static void clean(const char *bytes, size_t length, char *out, size_t size)
{
  ac_text_clean(bytes, length, out, size);
  hide_tokens(out);
}

struct quote {
  char text[QUOTE_BYTES];
};

static const char *quoted(struct quote *q, const char *bytes, size_t length)
{
  clean(bytes, length < QUOTE_BYTES ? length : QUOTE_BYTES - 1, q->text,
        sizeof q->text);
  return q->text;
}

/* The same, but a blank at either end stays: it may be all that is wrong with
   a value. */
static void clean_value(const char *bytes, size_t length, char *out,
                        size_t size)
{
  size_t used = 0;

  if (length > 0 && bytes[0] == ' ')
    out[used++] = ' ';
  clean(bytes, length, out + used, size - used - 1);
  if (length > used && bytes[length - 1] == ' ')
    strcat(out, " ");
}

/* -- the scan: is this strict JSON? ------------------------------------- */

enum verdict { WHOLE, SHORT, WRONG }; /* SHORT: good so far, then it ended */

struct scan {
  const unsigned char *start, *at, *end;
  const char *why;  /* of WRONG */
  int long_numbers; /* longer than cJSON can read */
  const unsigned char *root, *root_end;
};

/* What a string holds most of the time: ASCII but control bytes, '"', '\'. */
static const unsigned char plain[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 00 */
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* 10 */
    1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 20 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 30 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 40 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, /* 50 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 60 */
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, /* 70 */
};

static enum verdict wrong(struct scan *s, const char *why)
{
  s->why = why;
  return WRONG;
}

/* Are the last bytes of the text the start of a character that was cut? */
static int cut_character(const unsigned char *bytes, size_t left)
{
  /* The second byte's range is narrower after e0, ed, f0 and f4; its lowest or
     its highest value is in every one of them. */
  static const unsigned char fills[] = {0x80, 0xbf};
  char whole[4];

  if (left >= sizeof whole)
    return 0;
  for (size_t i = 0; i < sizeof fills; i++) {
    memset(whole, fills[i], sizeof whole);
    memcpy(whole, bytes, left);
    if (ac_utf8_character(whole, sizeof whole) > left)
      return 1;
  }
  return 0;
}

static int hex_value(int c)
{
  if (is_digit(c))
    return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four hex digits. */
static enum verdict scan_hex4(struct scan *s, unsigned *out)
{
  *out = 0;
  for (int i = 0; i < 4; i++) {
    int value;

    if (s->at == s->end)
      return SHORT;
    value = hex_value(*s->at);
    if (value < 0)
      return wrong(s, "a bad escape");
    *out = *out << 4 | (unsigned)value;
    s->at++;
  }
  return WHOLE;
}

static enum verdict scan_escape(struct scan *s)
{
  unsigned unit;
  enum verdict verdict;

  if (++s->at == s->end)
    return SHORT;
  if (*s->at++ != 'u')
    return s->at[-1] && strchr("\"\\/bfnrt", s->at[-1])
               ? WHOLE
               : wrong(s, "a bad escape");
  if ((verdict = scan_hex4(s, &unit)) != WHOLE)
    return verdict;
  if (unit == 0) /* cJSON would end the string here */
    return wrong(s, "an escaped NUL");
  if (unit < 0xd800 || unit > 0xdfff)
    return WHOLE;
  if (unit > 0xdbff)
    return wrong(s, "a lone surrogate");
  for (int i = 0; i < 2; i++, s->at++) {
    if (s->at == s->end)
      return SHORT;
    if (*s->at != "\\u"[i])
      return wrong(s, "a lone surrogate");
  }
  if ((verdict = scan_hex4(s, &unit)) != WHOLE)
    return verdict;
  return unit >= 0xdc00 && unit <= 0xdfff ? WHOLE
                                          : wrong(s, "a lone surrogate");
}

static enum verdict scan_string(struct scan *s)
{
  s->at++; /* the quote */
  for (;;) {
    enum verdict verdict;
    size_t step;

    while (s->at < s->end && plain[*s->at])
      s->at++;
    if (s->at == s->end)
      return SHORT;
    if (*s->at == '"') {
      s->at++;
      return WHOLE;
    }
    if (*s->at == '\\') {
      if ((verdict = scan_escape(s)) != WHOLE)
        return verdict;
      continue;
    }
    if (*s->at < 0x20)
      return wrong(s, "a control byte in a string");
    step = ac_utf8_character((const char *)s->at, (size_t)(s->end - s->at));
    if (step == 0)
      return cut_character(s->at, (size_t)(s->end - s->at))
                 ? SHORT
                 : wrong(s, "invalid UTF-8");
    s->at += step;
  }
}

/* One digit or more. */
static enum verdict scan_digits(struct scan *s)
{
  if (s->at == s->end)
    return SHORT;
  if (!is_digit(*s->at))
    return wrong(s, "a bad number");
  while (s->at < s->end && is_digit(*s->at))
    s->at++;
  return WHOLE;
}

static enum verdict scan_number(struct scan *s)
{
  const unsigned char *start = s->at;
  enum verdict verdict;

  if (*s->at == '-')
    s->at++;
  if (s->at < s->end && *s->at == '0') {
    if (++s->at < s->end && is_digit(*s->at))
      return wrong(s, "a number with a leading zero");
  } else if ((verdict = scan_digits(s)) != WHOLE) {
    return verdict;
  }
  if (s->at < s->end && *s->at == '.') {
    s->at++;
    if ((verdict = scan_digits(s)) != WHOLE)
      return verdict;
  }
  if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
    if (++s->at < s->end && (*s->at == '+' || *s->at == '-'))
      s->at++;
    if ((verdict = scan_digits(s)) != WHOLE)
      return verdict;
  }
  if (s->at - start > CJSON_NUMBER_BYTES)
    s->long_numbers = 1;
  return WHOLE;
}

static enum verdict scan_literal(struct scan *s, const char *literal)
{
  for (; *literal; literal++, s->at++) {
    if (s->at == s->end)
      return SHORT;
    if (*s->at != (unsigned char)*literal)
      return wrong(s, "something else");
  }
  return WHOLE;
}

static enum verdict scan_scalar(struct scan *s)
{
  switch (*s->at) {
  case '"': return scan_string(s);
  case 't': return scan_literal(s, "true");
  case 'f': return scan_literal(s, "false");
  case 'n': return scan_literal(s, "null");
  default:
    if (*s->at == '-' || is_digit(*s->at))
      return scan_number(s);
    return wrong(s, "something else");
  }
}

static void skip_blanks(struct scan *s)
{
  while (s->at < s->end &&
         (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
    s->at++;
}

/* The whole text. Which brackets are open is one bit each: 1 for an object. */
static enum verdict scan_text(struct scan *s, const char *bytes, size_t length)
{
  enum { VALUE, FIRST_VALUE, KEY, FIRST_KEY, COLON, NEXT, END } want = VALUE;
  unsigned objects = 0;
  int depth = 0;
  enum verdict verdict;

  s->start = s->at = (const unsigned char *)bytes;
  s->end = length > 0 ? s->start + length : s->start;
  s->why = "";
  s->long_numbers = 0;
  skip_blanks(s);
  s->root = s->root_end = s->at;
  for (;;) {
    int c;

    skip_blanks(s);
    if (s->at == s->end)
      return want == END ? WHOLE : SHORT;
    c = *s->at;
    switch (want) {
    case END: return wrong(s, "more text after its end");
    case COLON:
      if (c != ':')
        return wrong(s, "no ':' after a key");
      s->at++;
      want = VALUE;
      continue;
    case NEXT:
      if (c == ',') {
        s->at++;
        want = objects & 1 ? KEY : VALUE;
        continue;
      }
      if (c != (objects & 1 ? '}' : ']'))
        return wrong(s, "neither ',' nor an end");
      break;
    case KEY:
    case FIRST_KEY:
      if (c == '"') {
        if ((verdict = scan_string(s)) != WHOLE)
          return verdict;
        want = COLON;
        continue;
      }
      if (c != '}' || want == KEY)
        return wrong(s, "no key in quotes");
      break;
    case FIRST_VALUE:
      if (c == ']')
        break;
      /* fall through */
    case VALUE:
      if (c == '{' || c == '[') {
        if (depth == AC_ANSWER_MAX_DEPTH)
          return wrong(s, "more than 8 levels");
        depth++;
        objects = objects << 1 | (c == '{');
        s->at++;
        want = c == '{' ? FIRST_KEY : FIRST_VALUE;
        continue;
      }
      if ((verdict = scan_scalar(s)) != WHOLE)
        return verdict;
      want = depth > 0 ? NEXT : END;
      s->root_end = s->at;
      continue;
    }
    s->at++; /* a closing bracket */
    depth--;
    objects >>= 1;
    want = depth > 0 ? NEXT : END;
    s->root_end = s->at;
  }
}

static ac_kind scan_error(const struct scan *s, enum verdict verdict,
                          struct ac_error *err)
{
  struct quote quote;

  if (verdict == WHOLE)
    return AC_OK;
  if (verdict == SHORT)
    return s->root == s->end
               ? ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "truncated",
                                   "expected a JSON text, got nothing")
               : ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "truncated",
                                   "the JSON text ends too early, after %lu "
                                   "bytes",
                                   (unsigned long)(s->end - s->start));
  return ac_error_set_code(
      err, AC_ERR_BAD_RESPONSE, "malformed",
      "expected strict JSON, got %s at byte %lu of \"%s\"", s->why,
      (unsigned long)(s->at - s->start) + 1,
      quoted(&quote, (const char *)s->start, (size_t)(s->end - s->start)));
}

ac_kind ac_answer_scan(const char *bytes, size_t length, struct ac_error *err)
{
  struct scan s;

  return scan_error(&s, scan_text(&s, bytes, length), err);
}

/* -- from text to tree -------------------------------------------------- */

static char *put_integer(char *out, int64_t value)
{
  char digits[24];
  int n = 0;

  if (value < 0)
    *out++ = '-';
  do {
    int digit = (int)(value % 10);

    digits[n++] = (char)('0' + (digit < 0 ? -digit : digit));
    value /= 10;
  } while (value != 0);
  while (n > 0)
    *out++ = digits[--n];
  return out;
}

/* Writes a valid number of any length in fewer than 64 bytes: 40 digits, more
   than a double can hold, and an exponent. */
static char *put_short_number(char *out, const char *number, size_t length)
{
  enum { DIGITS = 40 };
  const char *end = number + length;
  int digits = 0, point = 0;
  int64_t scale = 0, exponent = 0;

  if (*number == '-')
    *out++ = *number++;
  for (; number < end && *number != 'e' && *number != 'E'; number++) {
    if (*number == '.') {
      point = 1;
    } else if (digits == DIGITS) {
      scale += !point;
    } else {
      if (digits > 0 || *number != '0')
        *out++ = *number, digits++;
      scale -= point;
    }
  }
  if (digits == 0)
    *out++ = '0';
  if (number < end) {
    int negative = *++number == '-';

    if (*number == '-' || *number == '+')
      number++;
    for (; number < end && exponent < 1000000; number++)
      exponent = exponent * 10 + (*number - '0');
    scale += negative ? -exponent : exponent;
  }
  *out++ = 'e';
  return put_integer(out, scale);
}

/* A copy of a scanned text in which every number is short enough for cJSON;
   NULL when memory has run out. */
static char *shorten_numbers(const char *at, const char *end, size_t *length)
{
  static const char number[] = "+-.0123456789Ee";
  char *copy = malloc((size_t)(end - at) + 1);
  char *out = copy;

  if (!copy)
    return NULL;
  while (at < end) {
    const char *start = at;

    if (*at == '"') {
      for (at++; *at != '"'; at++)
        at += *at == '\\';
      at++;
    } else if (*at == '-' || is_digit(*at)) {
      while (at < end && *at != '\0' && strchr(number, *at))
        at++;
      if (at - start > CJSON_NUMBER_BYTES) {
        out = put_short_number(out, start, (size_t)(at - start));
        continue;
      }
    } else {
      at++;
    }
    memcpy(out, start, (size_t)(at - start));
    out += at - start;
  }
  *length = (size_t)(out - copy);
  return copy;
}

/* The tree of a scanned object; NULL when memory has run out. */
static cJSON *parse_scanned(const struct scan *s)
{
  const char *bytes = (const char *)s->root;
  size_t length = (size_t)(s->root_end - s->root);
  const char *end = NULL;
  char *copy = NULL;
  cJSON *root;

  if (s->long_numbers) {
    copy = shorten_numbers(bytes, bytes + length, &length);
    if (!copy)
      return NULL;
    bytes = copy;
  }
  root = cJSON_ParseWithLengthOpts(bytes, length, &end, 0);
  if (root && end != bytes + length) { /* cannot be: it was scanned */
    cJSON_Delete(root);
    root = NULL;
  }
  free(copy);
  return root;
}

static const char *type_name(const cJSON *item)
{
  switch (item ? item->type & 0xff : cJSON_Invalid) {
  case cJSON_False:
  case cJSON_True: return "a boolean";
  case cJSON_NULL: return "null";
  case cJSON_Number: return "a number";
  case cJSON_String: return "a string";
  case cJSON_Array: return "an array";
  case cJSON_Object: return "an object";
  default: return "nothing";
  }
}

static const char *root_name(int first)
{
  switch (first) {
  case '[': return "an array";
  case '"': return "a string";
  case 't':
  case 'f': return "a boolean";
  case 'n': return "null";
  default: return "a number";
  }
}

ac_kind ac_answer_parse(const char *bytes, size_t length, cJSON **out_root,
                        struct ac_error *err)
{
  struct scan s;
  enum verdict verdict = scan_text(&s, bytes, length);
  cJSON *root;
  int datas = 0;

  if (verdict != WHOLE)
    return scan_error(&s, verdict, err);
  if (*s.root != '{') /* before cJSON: 64 KiB of [1,1,... cost it 2.6 MB */
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "shape",
                             "expected a JSON object, got %s",
                             root_name(*s.root));
  root = parse_scanned(&s);
  if (!root)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for the answer");
  for (const cJSON *item = root->child; item; item = item->next)
    datas += strcmp(item->string, "data") == 0;
  if (datas > 1) {
    cJSON_Delete(root);
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "malformed",
                             "expected one \"data\", got %d", datas);
  }
  *out_root = root;
  return AC_OK;
}

/* -- decoders ----------------------------------------------------------- */

static ac_kind no_memory(struct ac_error *err)
{
  return ac_error_set(err, AC_ERR_MEMORY, "no memory for the result");
}

static ac_kind wrong_shape(struct ac_error *err, const char *what,
                           const char *expected, const cJSON *item)
{
  return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "shape",
                           "expected %s as %s, got %s", expected, what,
                           type_name(item));
}

static const cJSON *data_of(const cJSON *envelope)
{
  return cJSON_GetObjectItemCaseSensitive(envelope, "data");
}

/* What stands in `data` under the asked key: the exact key first, else
   (any_case) the only one that is equal without case. */
static ac_kind find_asked(const cJSON *data, const char *asked, int any_case,
                          const cJSON **out_item, struct ac_error *err)
{
  const cJSON *exact = NULL, *similar = NULL, *other = NULL;
  int exacts = 0, similars = 0, others = 0;
  struct quote want, got;

  for (const cJSON *item = data->child; item; item = item->next) {
    if (strcmp(item->string, asked) == 0)
      exact = item, exacts++;
    else if (any_case && same_without_case(item->string, asked))
      similar = item, similars++;
    else if (others++ == 0)
      other = item;
  }
  *out_item = exact ? exact : similar;
  if (exacts > 1 || (exacts == 0 && similars > 1))
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "malformed",
                             "expected \"%s\" once in data, got it %d times",
                             quoted(&want, asked, strlen(asked)),
                             exacts > 1 ? exacts : similars);
  if (*out_item)
    return AC_OK;
  quoted(&want, asked, strlen(asked));
  if (!other)
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "id_mismatch",
                             "expected \"%s\" in data, got no key at all",
                             want.text);
  return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "id_mismatch",
                           "expected \"%s\" in data, got \"%s\"%s", want.text,
                           quoted(&got, other->string, strlen(other->string)),
                           others > 1 ? " and others" : "");
}

ac_kind ac_decode_data(const cJSON *envelope, const char *const *arguments,
                       cJSON *result, struct ac_error *err)
{
  const cJSON *data = data_of(envelope);
  cJSON *copy;

  (void)arguments;
  if (!data)
    return wrong_shape(err, "data", "a value", data);
  copy = cJSON_Duplicate(data, 1);
  if (!copy || !cJSON_AddItemToObject(result, "data", copy)) {
    cJSON_Delete(copy);
    return no_memory(err);
  }
  return AC_OK;
}

static ac_kind wrong_count(const cJSON *item, struct ac_error *err)
{
  int is_text = cJSON_IsString(item);
  char value[AC_ERROR_VALUE_BYTES];
  ac_kind kind;

  if (is_text) {
    clean_value(item->valuestring, strlen(item->valuestring), value,
                sizeof value);
  } else if (fabs(item->valuedouble) < 1e18 &&
             item->valuedouble == (double)(int64_t)item->valuedouble) {
    *put_integer(value, (int64_t)item->valuedouble) = '\0';
  } else if (isinf(item->valuedouble) ||
             !cJSON_PrintPreallocated((cJSON *)(size_t)(const void *)item,
                                      value, sizeof value, 0)) {
    /* cJSON writes the shortest text that is the number, in any locale, but
       "null" for infinity. */
    strcpy(value, item->valuedouble < 0 ? "-1e999" : "1e999");
  }
  kind = ac_error_set_code(
      err, AC_ERR_BAD_RESPONSE, "range",
      "expected a whole number from 0 to 2^53 - 1 as count, got %s%s%s",
      is_text ? "\"" : "", value, is_text ? "\"" : "");
  if (err)
    strcpy(err->value, value);
  return kind;
}

/* A text of digits as its number, -1 when it is none below 2^53. */
static double digits_value(const char *text)
{
  double value = 0;

  if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
    return -1;
  for (; *text; text++) {
    if (!is_digit(*text))
      return -1;
    value = value * 10 + (*text - '0'); /* exact as long as it is below 2^53 */
    if (value >= COUNT_LIMIT)
      return -1;
  }
  return value;
}

ac_kind ac_decode_count(const cJSON *envelope, const char *const *arguments,
                        cJSON *result, struct ac_error *err)
{
  const cJSON *data = data_of(envelope);
  const cJSON *item;
  double count;

  if (!cJSON_IsObject(data))
    return wrong_shape(err, "data", "an object", data);
  if (find_asked(data, arguments[0], 1, &item, err) != AC_OK)
    return AC_ERR_BAD_RESPONSE;
  if (cJSON_IsString(item))
    count = digits_value(item->valuestring);
  else if (cJSON_IsNumber(item))
    count = item->valuedouble; /* valueint stops at 2^31 - 1 */
  else
    return wrong_shape(err, "count", "a number", item);
  if (!(count >= 0 && count < COUNT_LIMIT) || count != (double)(int64_t)count)
    return wrong_count(item, err);
  count += 0.0; /* -0 is 0 */
  if (!cJSON_AddNumberToObject(result, "count", count))
    return no_memory(err);
  return AC_OK;
}

/* The words of the service. "deliverd" is how its documents of 2015 and a
   sample program spell it. */
static const struct {
  const char *word;
  enum { DELIVERED, UNDELIVERED, NO_MESSAGE } meaning;
} statuses[] = {
    {"delivered", DELIVERED},
    {"undelivered", UNDELIVERED},
    {"deliverd", DELIVERED},
    {"msg_not_found", NO_MESSAGE},
};

static ac_kind no_message(struct ac_error *err, const char *msg_id)
{
  struct quote quote;

  return ac_error_set_code(err, AC_ERR_NOT_FOUND, "message",
                           "the service knows no message \"%s\" of this user",
                           quoted(&quote, msg_id, strlen(msg_id)));
}

ac_kind ac_decode_status(const cJSON *envelope, const char *const *arguments,
                         cJSON *result, struct ac_error *err)
{
  const char *msg_id = arguments[1];
  const cJSON *data = data_of(envelope);
  const cJSON *item;
  char value[AC_ERROR_VALUE_BYTES];

  /* An empty object or, as its sister operations do it, an empty array. */
  if ((cJSON_IsObject(data) || cJSON_IsArray(data)) && !data->child)
    return no_message(err, msg_id);
  if (!cJSON_IsObject(data))
    return wrong_shape(err, "data", "an object", data);
  if (find_asked(data, msg_id, 0, &item, err) != AC_OK)
    return AC_ERR_BAD_RESPONSE;
  if (!cJSON_IsString(item))
    return wrong_shape(err, "status", "a string", item);
  for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
    if (strcmp(item->valuestring, statuses[i].word) != 0)
      continue;
    if (statuses[i].meaning == NO_MESSAGE)
      return no_message(err, msg_id);
    if (!cJSON_AddStringToObject(result, "status", item->valuestring) ||
        !cJSON_AddBoolToObject(result, "delivered",
                               statuses[i].meaning == DELIVERED))
      return no_memory(err);
    return AC_OK;
  }
  clean_value(item->valuestring, strlen(item->valuestring), value,
              sizeof value);
  ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "unknown_status",
                    "expected delivered or undelivered as status, got \"%s\"",
                    value);
  if (err)
    strcpy(err->value, value);
  return AC_ERR_BAD_RESPONSE;
}

/* -- errors: what a status and a body mean ------------------------------ */

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
    if (!is_letter(text[i]) && !is_digit(text[i]) &&
        (text[i] == '\0' || !strchr("_ .-", text[i])))
      return 0;
  clean(text, length, out, size);
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

static int is_blank(int c)
{
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
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
    if (*at == '<' && starts_without_case(at, (size_t)(end - at), closing))
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

  if (left < 2 || (!is_letter(at[1]) && !strchr("/!?", at[1])) ||
      at[1] == '\0')
    return at;
  if (starts_without_case(at, left, "<!--")) {
    for (at += 4; at < end; at++)
      if (end - at >= 3 && memcmp(at, "-->", 3) == 0)
        return at + 3;
    return end;
  }
  for (size_t i = 0; i < 2 + (size_t)skip_title; i++) {
    size_t name = strlen(silent[i][0]);

    if (starts_without_case(tag, left, silent[i][0]) &&
        (left == name || !is_letter(tag[name])))
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
         (is_letter(from[length]) || is_digit(from[length]) ||
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
    clean(line.text, line.length, out, size);
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
    while (after < end && is_blank(*after))
      after++;
    if (after == end || *after++ != ':')
      continue; /* a value that reads like the key */
    while (after < end && is_blank(*after))
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
    for (i = 0; i < 4 && end - at > 1 && hex_value(at[1]) >= 0; i++)
      code = code << 4 | (unsigned long)hex_value(*++at);
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
  clean(text, strlen(text), words->description, sizeof words->description);
}

static void words_of_body(const char *bytes, size_t length,
                          struct words *words)
{
  struct scan s;
  enum verdict verdict = scan_text(&s, bytes, length);
  struct line line;

  words->error[0] = words->description[0] = '\0';
  if (s.root == s.end)
    return;
  if (*s.root == '{') {
    cJSON *root = verdict == WHOLE ? parse_scanned(&s) : NULL;

    if (root) {
      words_of_object(root, words);
      cJSON_Delete(root);
    } else {
      if (read_string(bytes, length, "error", &line))
        take_word(line.text, line.length, words->error, sizeof words->error);
      read_string(bytes, length, "error_description", &line);
      clean(line.text, line.length, words->description,
            sizeof words->description);
    }
    if (words->error[0] || words->description[0])
      return;
  }
  page_text(bytes, length, words->description, sizeof words->description);
}

ac_kind ac_answer_error(int http_status, const char *bytes, size_t length,
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
  memcpy(err->description, words.description, sizeof err->description);
  if (class == 0)
    strcpy(err->text, "expected HTTP status 200");
  else if (class == 3)
    strcpy(err->text, "redirects are not followed");
  else if (words.description[0] == '\0')
    strcpy(err->text, "the answer says nothing more");
  return meanings[i].kind;
}

void ac_answer_note_error_words(const cJSON *envelope, struct ac_error *err)
{
  struct words words;

  if (!err ||
      (!cJSON_GetObjectItemCaseSensitive(envelope, "error") &&
       !cJSON_GetObjectItemCaseSensitive(envelope, "error_description")))
    return;
  words_of_object(envelope, &words);
  strcpy(err->description,
         words.description[0] ? words.description : words.error);
}

/* -- dates -------------------------------------------------------------- */

struct date {
  const char *at;
  int ok;
  int year, month, day, hour, minute, second; /* month 1 .. 12 */
};

static void expect(struct date *d, const char *text)
{
  for (; *text; text++, d->at++)
    if (!d->ok || *d->at != *text) {
      d->ok = 0;
      return;
    }
}

/* One of the names, by its first three letters or (length 0) as a whole. */
static int name_of(struct date *d, const char *const *names, int count,
                   size_t length)
{
  for (int i = 0; d->ok && i < count; i++) {
    size_t bytes = length ? length : strlen(names[i]);

    if (strncmp(d->at, names[i], bytes) == 0) {
      d->at += bytes;
      return i + 1;
    }
  }
  d->ok = 0;
  return 0;
}

static int number_of(struct date *d, int digits)
{
  int value = 0;

  for (; d->ok && digits > 0; digits--, d->at++) {
    if (!is_digit(*d->at))
      d->ok = 0;
    else
      value = value * 10 + (*d->at - '0');
    if (!d->ok)
      break;
  }
  return value;
}

static void clock_of(struct date *d)
{
  d->hour = number_of(d, 2);
  expect(d, ":");
  d->minute = number_of(d, 2);
  expect(d, ":");
  d->second = number_of(d, 2);
}

/* Days since 1970-01-01 in the Gregorian calendar; years begin in March here,
   so that the leap day is their last. */
static int64_t days_of(int year, int month, int day)
{
  int64_t y = year - (month <= 2);
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day;

  return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719469;
}

int ac_http_date_s(const char *text, int64_t *out_s)
{
  static const char *const weekdays[] = {"Monday",   "Tuesday", "Wednesday",
                                         "Thursday", "Friday",  "Saturday",
                                         "Sunday"};
  static const char *const months[] = {"Jan", "Feb", "Mar", "Apr",
                                       "May", "Jun", "Jul", "Aug",
                                       "Sep", "Oct", "Nov", "Dec"};
  static const int lengths[] = {31, 29, 31, 30, 31, 30,
                                31, 31, 30, 31, 30, 31};
  struct date d = {text, 1, 0, 0, 0, 0, 0, 0};
  int leap;

  while (is_blank(*d.at))
    d.at++;
  name_of(&d, weekdays, 7, strcspn(d.at, ", ") > 3 ? 0 : 3);
  if (*d.at == ' ') { /* asctime: Sun Nov  6 08:49:37 1994 */
    expect(&d, " ");
    d.month = name_of(&d, months, 12, 3);
    expect(&d, " ");
    if (*d.at == ' ')
      d.at++, d.day = number_of(&d, 1);
    else
      d.day = number_of(&d, 2);
    expect(&d, " ");
    clock_of(&d);
    expect(&d, " ");
    d.year = number_of(&d, 4);
  } else {
    expect(&d, ", ");
    d.day = number_of(&d, 2);
    if (*d.at == '-') { /* RFC 850: Sunday, 06-Nov-94 08:49:37 GMT */
      expect(&d, "-");
      d.month = name_of(&d, months, 12, 3);
      expect(&d, "-");
      d.year = number_of(&d, 2);
      d.year += d.year < 70 ? 2000 : 1900;
    } else { /* Sun, 06 Nov 1994 08:49:37 GMT */
      expect(&d, " ");
      d.month = name_of(&d, months, 12, 3);
      expect(&d, " ");
      d.year = number_of(&d, 4);
    }
    expect(&d, " ");
    clock_of(&d);
    expect(&d, " GMT");
  }
  while (d.ok && is_blank(*d.at))
    d.at++;
  if (!d.ok || *d.at != '\0' || d.year < 1900)
    return 0;
  leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
  if (d.day < 1 || d.day > lengths[d.month - 1] ||
      (d.month == 2 && d.day == 29 && !leap) || d.hour > 23 || d.minute > 59 ||
      d.second > 60) /* 60: a leap second */
    return 0;
  *out_s = days_of(d.year, d.month, d.day) * 86400 + d.hour * 3600 +
           d.minute * 60 + d.second;
  return 1;
}
