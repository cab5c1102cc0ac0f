#include "buffer.h"

#include <stdlib.h>
#include <string.h>

void ac_buffer_init(struct ac_buffer *b, size_t max_bytes)
{
  b->bytes = NULL;
  b->length = b->capacity = 0;
  b->max_bytes = max_bytes;
}

void ac_buffer_free(struct ac_buffer *b)
{
  free(b->bytes);
  ac_buffer_init(b, b->max_bytes);
}

void ac_buffer_wipe(struct ac_buffer *b)
{
  if (b->bytes)
    ac_wipe(b->bytes, b->capacity);
  ac_buffer_free(b);
}

void ac_buffer_clear(struct ac_buffer *b)
{
  b->length = 0;
  if (b->bytes)
    b->bytes[0] = '\0';
}

ac_kind ac_buffer_add(struct ac_buffer *b, const void *bytes, size_t length)
{
  if (length > b->max_bytes - b->length)
    return AC_ERR_BAD_RESPONSE;
  if (b->length + length + 1 > b->capacity) {
    size_t capacity = b->capacity ? b->capacity : 256;
    char *grown;

    while (capacity < b->length + length + 1)
      capacity *= 2;
    if (capacity > b->max_bytes + 1)
      capacity = b->max_bytes + 1;
    grown = realloc(b->bytes, capacity);
    if (!grown)
      return AC_ERR_MEMORY;
    b->bytes = grown;
    b->capacity = capacity;
  }
  if (length > 0)
    memcpy(b->bytes + b->length, bytes, length);
  b->length += length;
  b->bytes[b->length] = '\0';
  return AC_OK;
}

ac_kind ac_buffer_add_text(struct ac_buffer *b, const char *text)
{
  return ac_buffer_add(b, text, strlen(text));
}

void ac_wipe(void *memory, size_t length)
{
  volatile unsigned char *p = memory;

  while (length-- > 0)
    *p++ = 0;
}
