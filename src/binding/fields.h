/* fields.h - a Lua table of named values -> a C struct, driven by a table.
 *
 * One rule for options, credentials, requests and tokens: an unknown name and
 * a wrong Lua type raise (a bug in the program), naming the nearest known
 * name; a value that cannot be is an error to return (it may come from the
 * world). Metamethods are not asked, so no Lua runs. */
#ifndef AC_FIELDS_H
#define AC_FIELDS_H

#include <stddef.h>

#include "../base/error.h"
#include "../chat/endpoint.h"
#include "compat.h"

enum ac_field_type {
  AC_FIELD_TEXT,    /* const char *: not empty, no NUL inside */
  AC_FIELD_BYTES,   /* struct ac_slice: any string */
  AC_FIELD_WHOLE,   /* int64_t, min .. max */
  AC_FIELD_INT,     /* int, min .. max */
  AC_FIELD_BOOLEAN, /* int */
  AC_FIELD_RATE,    /* double, min .. max; false: -1 */
  /* only the type is looked at: */
  AC_FIELD_TABLE,
  AC_FIELD_FUNCTION,
  AC_FIELD_TABLE_OR_FUNCTION,
  AC_FIELD_TEXT_OR_TABLE,
  AC_FIELD_ANY
};

struct ac_field {
  const char *name;
  enum ac_field_type type;
  size_t offset; /* in the struct that is filled */
  double min, max;
};

struct ac_fields {
  const struct ac_field *rows;
  int count;
  const char *what;   /* "option": for "unknown option 'x'" */
  const char *prefix; /* "", "credentials.": before a row's name */
};

/* Reads the table at `index` (positive) into `out`; fields that are not there
   stay as they are. Texts are borrowed from the table. Raises, or returns
   AC_OK or AC_ERR_ARGUMENT. */
ac_kind ac_fields_read(lua_State *L, int index, const struct ac_fields *fields,
                       void *out, struct ac_error *err);

/* Pushes the value of one field, raw; returns its type. */
int ac_push_field(lua_State *L, int index, const char *name);

/* "nil", "number", ... and "no value" past the arguments. */
const char *ac_type_name(lua_State *L, int index);

/* The known name nearest to what was written. */
struct ac_nearest {
  const char *word;
  char name[64]; /* "" while nothing is near */
  int distance;
};

void ac_nearest_init(struct ac_nearest *nearest, const char *word);
void ac_nearest_try(struct ac_nearest *nearest, const char *name);

/* Pushes, or raises, "unknown <what> '<word>'; did you mean '<name>'?" */
void ac_push_unknown(lua_State *L, const char *what,
                     const struct ac_nearest *nearest);
int ac_raise_unknown(lua_State *L, const char *what,
                     const struct ac_nearest *nearest);

#endif
