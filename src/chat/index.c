#include "index.h"

#include <stdlib.h>

enum { FIRST_SIZE = 64 };

void ac_index_init(struct ac_index *index)
{
  index->heads = NULL;
  index->size = index->count = 0;
}

void ac_index_free(struct ac_index *index)
{
  free(index->heads);
  ac_index_init(index);
}

/* Ids are counted up: their low bits spread well. */
static struct ac_call **head_of(struct ac_call **heads, size_t size,
                                int64_t id)
{
  return &heads[(uint64_t)id & (size - 1)];
}

static void push(struct ac_call **heads, size_t size, struct ac_call *call)
{
  struct ac_call **head = head_of(heads, size, call->id);

  call->next_in_index = *head;
  *head = call;
}

static ac_kind grow(struct ac_index *index)
{
  size_t size = index->size ? 2 * index->size : FIRST_SIZE;
  struct ac_call **heads = calloc(size, sizeof(struct ac_call *));

  if (!heads)
    return AC_ERR_MEMORY;
  for (size_t i = 0; i < index->size; i++) {
    struct ac_call *call = index->heads[i];

    while (call) {
      struct ac_call *next = call->next_in_index;

      push(heads, size, call);
      call = next;
    }
  }
  free(index->heads);
  index->heads = heads;
  index->size = size;
  return AC_OK;
}

ac_kind ac_index_add(struct ac_index *index, struct ac_call *call)
{
  if (index->count == index->size && grow(index) != AC_OK)
    return AC_ERR_MEMORY;
  push(index->heads, index->size, call);
  index->count++;
  return AC_OK;
}

void ac_index_remove(struct ac_index *index, struct ac_call *call)
{
  struct ac_call **at = head_of(index->heads, index->size, call->id);

  while (*at != call)
    at = &(*at)->next_in_index;
  *at = call->next_in_index;
  index->count--;
}

struct ac_call *ac_index_find(const struct ac_index *index, int64_t id)
{
  struct ac_call *call;

  if (index->size == 0)
    return NULL;
  call = *head_of(index->heads, index->size, id);
  while (call && call->id != id)
    call = call->next_in_index;
  return call;
}
