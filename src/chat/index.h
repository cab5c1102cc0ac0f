/* index.h - which call has this id? A hash table of calls, chained through the
 * calls themselves, so that a cancel among ten thousand is O(1). */
#ifndef AC_INDEX_H
#define AC_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "call.h"

struct ac_index {
  struct ac_call **heads;
  size_t size; /* of heads: 0, or a power of two */
  size_t count;
};

void ac_index_init(struct ac_index *index);
void ac_index_free(struct ac_index *index); /* the table, not the calls */

/* AC_OK or AC_ERR_MEMORY. The call has its id, and is in no index. */
ac_kind ac_index_add(struct ac_index *index, struct ac_call *call);
void ac_index_remove(struct ac_index *index, struct ac_call *call);

/* NULL: none. */
struct ac_call *ac_index_find(const struct ac_index *index, int64_t id);

#endif
