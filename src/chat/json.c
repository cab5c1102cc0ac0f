#include "json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/utf8.h"
#include "foreign.h"

enum {
  CJSON_NUMBER_BYTES = 63
}; /* what cJSON reads of a number; it then
                                     trips over the rest */

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

static enum ac_json_verdict wrong(struct ac_json *s, const char *why)
{
  s->why = why;
  return AC_JSON_WRONG;
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

/* Four hex digits. */
static enum ac_json_verdict scan_hex4(struct ac_json *s, unsigned *out)
{
  *out = 0;
  for (int i = 0; i < 4; i++) {
    int value;

    if (s->at == s->end)
      return AC_JSON_SHORT;
    value = ac_hex_value(*s->at);
    if (value < 0)
      return wrong(s, "a bad escape");
    *out = *out << 4 | (unsigned)value;
    s->at++;
  }
  return AC_JSON_WHOLE;
}

static enum ac_json_verdict scan_escape(struct ac_json *s)
{
  unsigned unit;
  enum ac_json_verdict verdict;

  if (++s->at == s->end)
    return AC_JSON_SHORT;
  if (*s->at++ != 'u')
    return s->at[-1] && strchr("\"\\/bfnrt", s->at[-1])
               ? AC_JSON_WHOLE
               : wrong(s, "a bad escape");
  if ((verdict = scan_hex4(s, &unit)) != AC_JSON_WHOLE)
    return verdict;
  if (unit == 0) /* cJSON would end the string here */
    return wrong(s, "an escaped NUL");
  if (unit < 0xd800 || unit > 0xdfff)
    return AC_JSON_WHOLE;
  if (unit > 0xdbff)
    return wrong(s, "a lone surrogate");
  for (int i = 0; i < 2; i++, s->at++) {
    if (s->at == s->end)
      return AC_JSON_SHORT;
    if (*s->at != "\\u"[i])
      return wrong(s, "a lone surrogate");
  }
  if ((verdict = scan_hex4(s, &unit)) != AC_JSON_WHOLE)
    return verdict;
  return unit >= 0xdc00 && unit <= 0xdfff ? AC_JSON_WHOLE
                                          : wrong(s, "a lone surrogate");
}

static enum ac_json_verdict scan_string(struct ac_json *s)
{
  s->at++; /* the quote */
  for (;;) {
    enum ac_json_verdict verdict;
    size_t step;

    while (s->at < s->end && plain[*s->at])
      s->at++;
    if (s->at == s->end)
      return AC_JSON_SHORT;
    if (*s->at == '"') {
      s->at++;
      return AC_JSON_WHOLE;
    }
    if (*s->at == '\\') {
      if ((verdict = scan_escape(s)) != AC_JSON_WHOLE)
        return verdict;
      continue;
    }
    if (*s->at < 0x20)
      return wrong(s, "a control byte in a string");
    step = ac_utf8_character((const char *)s->at, (size_t)(s->end - s->at));
    if (step == 0)
      return cut_character(s->at, (size_t)(s->end - s->at))
                 ? AC_JSON_SHORT
                 : wrong(s, "invalid UTF-8");
    s->at += step;
  }
}

/* One digit or more. */
static enum ac_json_verdict scan_digits(struct ac_json *s)
{
  if (s->at == s->end)
    return AC_JSON_SHORT;
  if (!ac_is_digit(*s->at))
    return wrong(s, "a bad number");
  while (s->at < s->end && ac_is_digit(*s->at))
    s->at++;
  return AC_JSON_WHOLE;
}

static enum ac_json_verdict scan_number(struct ac_json *s)
{
  const unsigned char *start = s->at;
  enum ac_json_verdict verdict;

  if (*s->at == '-')
    s->at++;
  if (s->at < s->end && *s->at == '0') {
    if (++s->at < s->end && ac_is_digit(*s->at))
      return wrong(s, "a number with a leading zero");
  } else if ((verdict = scan_digits(s)) != AC_JSON_WHOLE) {
    return verdict;
  }
  if (s->at < s->end && *s->at == '.') {
    s->at++;
    if ((verdict = scan_digits(s)) != AC_JSON_WHOLE)
      return verdict;
  }
  if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
    if (++s->at < s->end && (*s->at == '+' || *s->at == '-'))
      s->at++;
    if ((verdict = scan_digits(s)) != AC_JSON_WHOLE)
      return verdict;
  }
  if (s->at - start > CJSON_NUMBER_BYTES)
    s->long_numbers = 1;
  return AC_JSON_WHOLE;
}

static enum ac_json_verdict scan_literal(struct ac_json *s,
                                         const char *literal)
{
  for (; *literal; literal++, s->at++) {
    if (s->at == s->end)
      return AC_JSON_SHORT;
    if (*s->at != (unsigned char)*literal)
      return wrong(s, "something else");
  }
  return AC_JSON_WHOLE;
}

static enum ac_json_verdict scan_scalar(struct ac_json *s)
{
  switch (*s->at) {
  case '"': return scan_string(s);
  case 't': return scan_literal(s, "true");
  case 'f': return scan_literal(s, "false");
  case 'n': return scan_literal(s, "null");
  default:
    if (*s->at == '-' || ac_is_digit(*s->at))
      return scan_number(s);
    return wrong(s, "something else");
  }
}

static void skip_blanks(struct ac_json *s)
{
  while (s->at < s->end &&
         (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
    s->at++;
}

/* The whole text. Which brackets are open is one bit each: 1 for an object. */
enum ac_json_verdict ac_json_scan(struct ac_json *s, const char *bytes,
                                  size_t length)
{
  enum { VALUE, FIRST_VALUE, KEY, FIRST_KEY, COLON, NEXT, END } want = VALUE;
  unsigned objects = 0;
  int depth = 0;
  enum ac_json_verdict verdict;

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
      return want == END ? AC_JSON_WHOLE : AC_JSON_SHORT;
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
        if ((verdict = scan_string(s)) != AC_JSON_WHOLE)
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
        if (depth == AC_JSON_MAX_DEPTH)
          return wrong(s, "more than 8 levels");
        depth++;
        objects = objects << 1 | (c == '{');
        s->at++;
        want = c == '{' ? FIRST_KEY : FIRST_VALUE;
        continue;
      }
      if ((verdict = scan_scalar(s)) != AC_JSON_WHOLE)
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

ac_kind ac_json_error(const struct ac_json *s, enum ac_json_verdict verdict,
                      struct ac_error *err)
{
  struct ac_quote quote;

  if (verdict == AC_JSON_WHOLE)
    return AC_OK;
  if (verdict == AC_JSON_SHORT) {
    if (s->root == s->end)
      ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "truncated",
                        "expected a JSON text, got nothing");
    else
      ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "truncated",
                        "the JSON text ends too early, after %lu bytes",
                        (unsigned long)(s->end - s->start));
    err->retryable = 1; /* the one bad answer that another try may mend */
    return AC_ERR_BAD_RESPONSE;
  }
  return ac_error_set_code(
      err, AC_ERR_BAD_RESPONSE, "malformed",
      "expected strict JSON, got %s at byte %lu of \"%s\"", s->why,
      (unsigned long)(s->at - s->start) + 1,
      ac_foreign_quote(&quote, (const char *)s->start,
                       (size_t)(s->end - s->start)));
}

ac_kind ac_json_check(const char *bytes, size_t length, struct ac_error *err)
{
  struct ac_json s;

  return ac_json_error(&s, ac_json_scan(&s, bytes, length), err);
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
  return out + sprintf(out, "%lld", (long long)scale);
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
    } else if (*at == '-' || ac_is_digit(*at)) {
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

cJSON *ac_json_tree(const struct ac_json *s)
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

const char *ac_json_type_name(const cJSON *item)
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
