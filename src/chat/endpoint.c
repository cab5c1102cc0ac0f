#include "endpoint.h"

#include <string.h>

#include "../base/utf8.h"

enum { MAX_NAME_BYTES = 64, MAX_MESSAGE_ID_BYTES = 128 };

#define DOC "https://doc.easemob.com/document/server-side/"

/* clang-format off */
static const struct ac_endpoint endpoints[] = {
    {"offline_msg_count", "GET", "/users/{username}/offline_msg_count",
     ac_decode_count, AC_IDEMPOTENT, DOC "offline_msg_count_get.html",
     "count: integer"},
    {"offline_msg_status", "GET", "/users/{username}/offline_msg_status/{msg_id}",
     ac_decode_status, AC_IDEMPOTENT, DOC "offline_msg_status_get.html",
     "status: string, delivered: boolean"},
};
/* clang-format on */

const struct ac_endpoint *ac_endpoint_at(size_t index)
{
  if (index >= sizeof endpoints / sizeof endpoints[0])
    return NULL;
  return &endpoints[index];
}

const struct ac_endpoint *ac_endpoint_find(const char *name)
{
  const struct ac_endpoint *row;

  for (size_t i = 0; (row = ac_endpoint_at(i)) != NULL; i++)
    if (strcmp(row->name, name) == 0)
      return row;
  return NULL;
}

int ac_endpoint_argument_count(const struct ac_endpoint *row)
{
  int count = 0;

  for (const char *at = row->path; (at = strchr(at, '{')) != NULL; at++)
    count++;
  return count;
}

void ac_endpoint_argument_name(const struct ac_endpoint *row, int i, char *out,
                               size_t size)
{
  const char *at = strchr(row->path, '{');
  size_t length;

  if (size == 0)
    return;
  out[0] = '\0';
  while (at && i-- > 0)
    at = strchr(at + 1, '{');
  if (!at)
    return;
  length = strcspn(at + 1, "}");
  if (length > size - 1)
    length = size - 1;
  memcpy(out, at + 1, length);
  out[length] = '\0';
}

static ac_kind refuse(struct ac_error *err, const char *what, const char *why)
{
  return ac_error_set(err, AC_ERR_ARGUMENT, "%s: %s", what, why);
}

static ac_kind too_long(struct ac_error *err, const char *what, size_t length,
                        size_t max_bytes)
{
  return ac_error_set(err, AC_ERR_ARGUMENT,
                      "%s: must not be longer than %lu bytes, got %lu", what,
                      (unsigned long)max_bytes, (unsigned long)length);
}

/* What a buffer says when it cannot take more, as an error of a path. */
static ac_kind path_error(ac_kind kind, struct ac_error *err)
{
  if (kind == AC_OK)
    return AC_OK;
  if (kind == AC_ERR_MEMORY)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for a path");
  return ac_error_set(err, AC_ERR_ARGUMENT,
                      "path: longer than %d bytes when encoded",
                      (int)AC_MAX_PATH_BYTES);
}

/* One segment in, one segment out: libcurl and servers would give `.`, `..`
   and an empty one a meaning of their own, even when they are encoded. */
static ac_kind check_name(struct ac_slice text, size_t max_bytes,
                          const char *what, struct ac_error *err)
{
  if (text.length == 0)
    return refuse(err, what, "must not be empty");
  if (text.length > max_bytes)
    return too_long(err, what, text.length, max_bytes);
  for (size_t i = 0; i < text.length; i++) {
    unsigned char c = (unsigned char)text.bytes[i];

    if (c < 0x20 || c == 0x7f)
      return refuse(err, what, "must not hold control bytes");
    if (c == '/' || c == '\\')
      return refuse(err, what, "must not hold / or \\");
  }
  if (!ac_utf8_valid(text.bytes, text.length))
    return refuse(err, what, "must be valid UTF-8");
  if (text.bytes[0] == '.' &&
      (text.length == 1 || (text.length == 2 && text.bytes[1] == '.')))
    return refuse(err, what, "must not be . or ..");
  return AC_OK;
}

static int is_letter_or_digit(unsigned char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9');
}

static ac_kind check_message_id(struct ac_slice text, const char *what,
                                struct ac_error *err)
{
  if (text.length == 0)
    return refuse(err, what, "must not be empty");
  if (text.length > MAX_MESSAGE_ID_BYTES)
    return too_long(err, what, text.length, MAX_MESSAGE_ID_BYTES);
  for (size_t i = 0; i < text.length; i++) {
    unsigned char c = (unsigned char)text.bytes[i];

    if (!is_letter_or_digit(c) && c != '_' && c != '-')
      return refuse(err, what, "must hold only A-Z, a-z, 0-9, _ and -");
  }
  return AC_OK;
}

ac_kind ac_endpoint_encode(struct ac_slice text, struct ac_buffer *out)
{
  static const char hex[] = "0123456789ABCDEF";
  char block[96];
  size_t used = 0;

  for (size_t i = 0; i < text.length; i++) {
    unsigned char c = (unsigned char)text.bytes[i];

    if (is_letter_or_digit(c) || c == '-' || c == '.' || c == '_' ||
        c == '~') {
      block[used++] = (char)c;
    } else {
      block[used++] = '%';
      block[used++] = hex[c >> 4];
      block[used++] = hex[c & 15];
    }
    if (used + 3 > sizeof block) {
      ac_kind kind = ac_buffer_add(out, block, used);

      if (kind != AC_OK)
        return kind;
      used = 0;
    }
  }
  return ac_buffer_add(out, block, used);
}

ac_kind ac_endpoint_segment(struct ac_slice text, size_t max_bytes,
                            const char *what, struct ac_buffer *out,
                            struct ac_error *err)
{
  ac_kind kind = check_name(text, max_bytes, what, err);

  if (kind != AC_OK)
    return kind;
  kind = ac_buffer_add(out, "/", 1);
  if (kind == AC_OK)
    kind = ac_endpoint_encode(text, out);
  return path_error(kind, err);
}

ac_kind ac_endpoint_path(const struct ac_endpoint *row,
                         const struct ac_slice *arguments,
                         struct ac_buffer *out, struct ac_error *err)
{
  const char *at = row->path;

  for (int i = 0;; i++) {
    size_t fixed = strcspn(at, "{");
    ac_kind kind = path_error(ac_buffer_add(out, at, fixed), err);
    char name[32];

    if (kind != AC_OK || at[fixed] == '\0')
      return kind;
    ac_endpoint_argument_name(row, i, name, sizeof name);
    kind = strcmp(name, "msg_id") == 0
               ? check_message_id(arguments[i], name, err)
               : check_name(arguments[i], MAX_NAME_BYTES, name, err);
    if (kind == AC_OK)
      kind = path_error(ac_endpoint_encode(arguments[i], out), err);
    if (kind != AC_OK)
      return kind;
    at += fixed;
    at += strcspn(at, "}");
    at += *at == '}';
  }
}
