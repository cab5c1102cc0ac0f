/* utf8.h - is this UTF-8? Strict as RFC 3629 has it: no overlong forms, no
 * surrogates, nothing beyond U+10FFFF. */
#ifndef AC_UTF8_H
#define AC_UTF8_H

#include <stddef.h>

/* Length in bytes (1 to 4) of the character that starts here, or 0 when the
   bytes are no whole valid character. */
size_t ac_utf8_character(const char *bytes, size_t length);

/* 1 when all of it is valid. */
int ac_utf8_valid(const char *bytes, size_t length);

#endif
