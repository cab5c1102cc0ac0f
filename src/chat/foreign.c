#include "foreign.h"

#include <string.h>

#include "../base/error.h"

int ac_same_without_case(const char *a, const char *b)
{
  while (*a && ac_lower((unsigned char)*a) == ac_lower((unsigned char)*b))
    a++, b++;
  return *a == *b;
}

int ac_starts_without_case(const char *text, size_t length, const char *start)
{
  size_t i = 0;

  while (start[i] && i < length &&
         ac_lower((unsigned char)text[i]) == start[i])
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
    after_bearer = length == 6 && ac_starts_without_case(text, 6, "bearer");
    text += length;
  }
}

void ac_foreign_clean(const char *bytes, size_t length, char *out, size_t size)
{
  ac_text_clean(bytes, length, out, size);
  hide_tokens(out);
}

const char *ac_foreign_quote(struct ac_quote *q, const char *bytes,
                             size_t length)
{
  ac_foreign_clean(bytes,
                   length < AC_QUOTE_BYTES ? length : AC_QUOTE_BYTES - 1,
                   q->text, sizeof q->text);
  return q->text;
}

void ac_foreign_value(const char *bytes, size_t length, char *out, size_t size)
{
  size_t used = 0;

  if (length > 0 && bytes[0] == ' ')
    out[used++] = ' ';
  ac_foreign_clean(bytes, length, out + used, size - used - 1);
  if (length > used && bytes[length - 1] == ' ')
    strcat(out, " ");
}
