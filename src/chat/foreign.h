/* foreign.h - texts of other people in ours: bounded, one clean line, without
 * secrets.
 *
 * A gateway's page may echo the request with its Authorization header. The word
 * after "Bearer", and what looks like one of the service's tokens, is never
 * repeated. */
#ifndef AC_FOREIGN_H
#define AC_FOREIGN_H

#include <stddef.h>

enum { AC_QUOTE_BYTES = 65 }; /* in our sentences, with the NUL */

struct ac_quote {
  char text[AC_QUOTE_BYTES];
};

/* Foreign bytes as one clean line (error.h: ac_text_clean) without secrets. */
void ac_foreign_clean(const char *bytes, size_t length, char *out,
                      size_t size);

/* The same, but a blank at either end stays: it may be all that is wrong with
   a value. */
void ac_foreign_value(const char *bytes, size_t length, char *out,
                      size_t size);

/* The first 64 bytes, cleaned; returns q->text. */
const char *ac_foreign_quote(struct ac_quote *q, const char *bytes,
                             size_t length);

/* ASCII only, whatever the locale says. */
static inline int ac_is_digit(int c)
{
  return c >= '0' && c <= '9';
}

static inline int ac_is_letter(int c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline int ac_lower(int c)
{
  return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

static inline int ac_is_blank(int c)
{
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* -1: no hex digit. */
static inline int ac_hex_value(int c)
{
  if (ac_is_digit(c))
    return c - '0';
  c = ac_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int ac_same_without_case(const char *a, const char *b);
int ac_starts_without_case(const char *text, size_t length,
                           const char *start); /* start: in lower case */

#endif
