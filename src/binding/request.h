/* request.h - Lua values -> the request of any other operation: path parts,
 * query pairs, a JSON body. */
#ifndef AC_REQUEST_H
#define AC_REQUEST_H

#include "../base/buffer.h"
#include "../chat/call.h"
#include "compat.h"

enum {
  AC_MAX_PATH_PARTS = 64,
  AC_MAX_QUERY_PAIRS = 64,
  AC_NUMBER_TEXT_BYTES = 40
};

struct ac_request { /* texts borrowed from the Lua table */
  const char *method;
  int idempotent;
  size_t part_count, query_count; /* query: names and values alternate, both
                                      are counted */
  struct ac_slice parts[AC_MAX_PATH_PARTS];
  struct ac_slice query[2 * AC_MAX_QUERY_PAIRS];
  char numbers[AC_MAX_QUERY_PAIRS][AC_NUMBER_TEXT_BYTES];
  struct ac_slice body; /* bytes NULL: none */
};

/* Reads the spec table at `index` (positive): { method, path, query, json,
   idempotent }. A JSON body is written to `body`, which must be where a raise
   finds it again. Raises for unknown fields, wrong types, a missing method or
   path; AC_OK, AC_ERR_ARGUMENT or AC_ERR_MEMORY. */
ac_kind ac_request_read(lua_State *L, int index, struct ac_request *out,
                        struct ac_buffer *body, struct ac_error *err);

/* Raises about a value that should have been text. Numbers are told why. */
int ac_raise_not_text(lua_State *L, int index, const char *what);

#endif
