/* buffer.h - growable bytes with a mandatory ceiling.
 *
 * What a peer can fill has a limit, so there is no default for it. The bytes
 * are always followed by a NUL that is not counted. */
#ifndef AC_BUFFER_H
#define AC_BUFFER_H

#include <stddef.h>

#include "error.h"

struct ac_buffer {
  char *bytes;      /* NULL while nothing was added */
  size_t length;
  size_t capacity;
  size_t max_bytes; /* the ceiling */
};

void ac_buffer_init(struct ac_buffer *b, size_t max_bytes);
void ac_buffer_free(struct ac_buffer *b); /* and may be used again */

/* Overwrites the bytes before it frees them: for secrets. */
void ac_buffer_wipe(struct ac_buffer *b);

/* Forgets the content, keeps the memory. */
void ac_buffer_clear(struct ac_buffer *b);

/* AC_OK, AC_ERR_MEMORY, or AC_ERR_BAD_RESPONSE when the ceiling would be
   passed (nothing is added then). */
ac_kind ac_buffer_add(struct ac_buffer *b, const void *bytes, size_t length);
ac_kind ac_buffer_add_text(struct ac_buffer *b, const char *text);

/* Overwrites memory in a way the compiler may not leave out. */
void ac_wipe(void *memory, size_t length);

#endif
