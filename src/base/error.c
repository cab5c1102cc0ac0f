#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

static const struct {
  const char *name;
  int retryable;
} kinds[] = {{"ok", 0},
#define AC_KIND_ROW(kind, name, retryable) {name, retryable},
             AC_ERROR_KINDS(AC_KIND_ROW)
#undef AC_KIND_ROW
};

enum { KIND_COUNT = (int)(sizeof kinds / sizeof kinds[0]) };

void ac_error_clear(struct ac_error *err)
{
  /* Not memset: a call carries one of these, and only the first bytes of its
     texts matter. */
  err->kind = AC_OK;
  err->http_status = 0;
  err->retryable = -1;
  err->retry_after_ms = -1;
  err->is_value = 0;
  err->code[0] = err->text[0] = err->foreign[0] = '\0';
}

static void set_text(struct ac_error *err, ac_kind kind, const char *code,
                     const char *format, va_list arguments)
{
  char line[2 * AC_ERROR_TEXT_BYTES];

  ac_error_clear(err);
  err->kind = kind;
  if (code)
    ac_text_clean(code, strlen(code), err->code, sizeof err->code);
  if (vsnprintf(line, sizeof line, format, arguments) < 0)
    line[0] = '\0';
  ac_text_clean(line, strlen(line), err->text, sizeof err->text);
}

ac_kind ac_error_set(struct ac_error *err, ac_kind kind, const char *format,
                     ...)
{
  va_list arguments;

  if (!err)
    return kind;
  va_start(arguments, format);
  set_text(err, kind, NULL, format, arguments);
  va_end(arguments);
  return kind;
}

ac_kind ac_error_set_code(struct ac_error *err, ac_kind kind, const char *code,
                          const char *format, ...)
{
  va_list arguments;

  if (!err)
    return kind;
  va_start(arguments, format);
  set_text(err, kind, code, format, arguments);
  va_end(arguments);
  return kind;
}

const char *ac_error_description(const struct ac_error *err)
{
  return err->is_value ? "" : err->foreign;
}

const char *ac_error_value(const struct ac_error *err)
{
  return err->is_value ? err->foreign : "";
}

void ac_error_set_value(struct ac_error *err, const char *value)
{
  if (!err)
    return;
  err->is_value = 1;
  snprintf(err->foreign, AC_ERROR_VALUE_BYTES, "%s", value);
}

const char *ac_kind_name(ac_kind kind)
{
  return (int)kind >= 0 && (int)kind < KIND_COUNT ? kinds[kind].name : "ok";
}

ac_kind ac_kind_from_name(const char *name)
{
  for (int i = 1; i < KIND_COUNT; i++)
    if (strcmp(kinds[i].name, name) == 0)
      return (ac_kind)i;
  return AC_OK;
}

int ac_error_retryable(const struct ac_error *err)
{
  if (err->retryable >= 0)
    return err->retryable;
  return kinds[err->kind].retryable;
}

size_t ac_error_sentence(const struct ac_error *err, const char *operation,
                         char *out, size_t size)
{
  char status[24] = "";
  const char *theirs = ac_error_description(err);
  const char *words = err->text[0] ? err->text : theirs;
  const char *more = err->text[0] ? theirs : "";
  int length;

  if (err->http_status)
    snprintf(status, sizeof status, " (HTTP %d)", err->http_status);
  length =
      snprintf(out, size, "%s%s%s%s%s%s%s%s%s%s", operation ? operation : "",
               operation ? ": " : "", ac_kind_name(err->kind),
               err->code[0] ? "/" : "", err->code, status,
               words[0] ? ": " : "", words, more[0] ? ": " : "", more);
  if (length < 0)
    length = 0, out[0] = '\0';
  return (size_t)length < size ? (size_t)length : size - 1;
}

size_t ac_text_clean(const char *bytes, size_t length, char *out, size_t size)
{
  size_t used = 0;
  size_t i = 0;
  int space = 0;

  while (i < length) {
    unsigned char c = (unsigned char)bytes[i];
    size_t step = c < 0x80 ? 1 : ac_utf8_character(bytes + i, length - i);

    if (step == 0 || c <= 0x20 || c == 0x7f ||
        (c == 0xc2 && (unsigned char)bytes[i + 1] < 0xa0)) { /* C1 controls */
      space = used > 0;
      i += step ? step : 1;
      continue;
    }
    if (used + (size_t)space + step + 1 > size)
      break;
    if (space)
      out[used++] = ' ';
    space = 0;
    memcpy(out + used, bytes + i, step);
    used += step;
    i += step;
  }
  if (size > 0)
    out[used] = '\0';
  return used;
}
