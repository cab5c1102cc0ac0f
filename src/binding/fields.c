#include "fields.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum {
  MAX_NAME_BYTES = 64,
  LONGEST_TOLD_BYTES = 32 /* a name that long may be a secret in a wrong place:
                             a certificate has 32, a token more */
};

#define BIT(lua_type) (1 << (lua_type))

static const struct { /* in the order of enum ac_field_type */
  int types;
  const char *words;
} type_rows[] = {
    {BIT(LUA_TSTRING), "a string"},
    {BIT(LUA_TSTRING), "a string"},
    {BIT(LUA_TNUMBER), "a number"},
    {BIT(LUA_TNUMBER), "a number"},
    {BIT(LUA_TBOOLEAN), "a boolean"},
    {BIT(LUA_TNUMBER) | BIT(LUA_TBOOLEAN), "a number or false"},
    {BIT(LUA_TTABLE), "a table"},
    {BIT(LUA_TFUNCTION), "a function"},
    {BIT(LUA_TTABLE) | BIT(LUA_TFUNCTION), "a table or a function"},
    {BIT(LUA_TSTRING) | BIT(LUA_TTABLE), "a string or a table"},
    {-1, "anything"},
};

const char *ac_type_name(lua_State *L, int index)
{
  return lua_typename(L, lua_type(L, index));
}

int ac_push_field(lua_State *L, int index, const char *name)
{
  lua_pushstring(L, name);
  lua_rawget(L, index);
  return lua_type(L, -1);
}

/* Levenshtein's distance; case does not count, so that 'appId' is one step
   from 'app_id'. */
static int distance(const char *a, const char *b)
{
  int row[MAX_NAME_BYTES + 1];
  int b_length = (int)strlen(b);

  for (int j = 0; j <= b_length; j++)
    row[j] = j;
  for (int i = 0; a[i]; i++) {
    int diagonal = row[0];

    row[0] = i + 1;
    for (int j = 0; j < b_length; j++) {
      int change =
          tolower((unsigned char)a[i]) != tolower((unsigned char)b[j]);
      int best = diagonal + change;

      diagonal = row[j + 1];
      if (row[j] + 1 < best)
        best = row[j] + 1;
      if (row[j + 1] + 1 < best)
        best = row[j + 1] + 1;
      row[j + 1] = best;
    }
  }
  return row[b_length];
}

void ac_nearest_init(struct ac_nearest *nearest, const char *word)
{
  nearest->word = word;
  nearest->name[0] = '\0';
  nearest->distance = MAX_NAME_BYTES;
}

void ac_nearest_try(struct ac_nearest *nearest, const char *name)
{
  size_t word_length = strlen(nearest->word);
  size_t name_length = strlen(name);
  int steps, near;

  if (word_length < 2 || word_length >= MAX_NAME_BYTES ||
      name_length >= MAX_NAME_BYTES)
    return;
  steps = distance(nearest->word, name);
  near = steps <= (name_length > 6 ? 3 : 2) && steps < (int)word_length;
  if (word_length > 2 && (strstr(name, nearest->word) ||
                          (name_length > 2 && strstr(nearest->word, name))))
    near = 1; /* 'timeout' is 'timeout_ms' */
  if (near && steps < nearest->distance) {
    nearest->distance = steps;
    memcpy(nearest->name, name, name_length + 1);
  }
}

void ac_push_unknown(lua_State *L, const char *what,
                     const struct ac_nearest *nearest)
{
  char word[MAX_NAME_BYTES];

  if (strlen(nearest->word) >= LONGEST_TOLD_BYTES) {
    lua_pushfstring(L, "unknown %s, whose name has %d bytes", what,
                    (int)strlen(nearest->word));
    return;
  }
  ac_text_clean(nearest->word, strlen(nearest->word), word, sizeof word);
  lua_pushfstring(L, "unknown %s '%s'", what, word);
  if (!nearest->name[0])
    return;
  lua_pushfstring(L, "; did you mean '%s'?", nearest->name);
  lua_concat(L, 2);
}

int ac_raise_unknown(lua_State *L, const char *what,
                     const struct ac_nearest *nearest)
{
  ac_push_unknown(L, what, nearest);
  return lua_error(L);
}

static const struct ac_field *
find(lua_State *L, const struct ac_fields *fields, const char *name)
{
  struct ac_nearest nearest;

  for (int i = 0; i < fields->count; i++)
    if (strcmp(fields->rows[i].name, name) == 0)
      return &fields->rows[i];
  ac_nearest_init(&nearest, name);
  for (int i = 0; i < fields->count; i++)
    ac_nearest_try(&nearest, fields->rows[i].name);
  ac_raise_unknown(L, fields->what, &nearest);
  return NULL;
}

/* The value on top of the stack must be of this row's type. */
static void check_type(lua_State *L, const struct ac_fields *fields,
                       const struct ac_field *row)
{
  int type = lua_type(L, -1);
  const char *got = lua_typename(L, type);

  if (row->type == AC_FIELD_RATE && type == LUA_TBOOLEAN) {
    if (!lua_toboolean(L, -1))
      return;
    got = "true";
  } else if (type_rows[row->type].types & BIT(type)) {
    return;
  }
  luaL_error(L, "%s%s must be %s, got %s", fields->prefix, row->name,
             type_rows[row->type].words, got);
}

static ac_kind store_number(double value, const char *prefix,
                            const struct ac_field *row, char *place,
                            struct ac_error *err)
{
  int whole = row->type != AC_FIELD_RATE;

  /* written so that NaN fails */
  if (!(value >= row->min && value <= row->max) ||
      (whole && floor(value) != value)) {
    if (whole)
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "%s%s must be a whole number from %.0f to %.0f",
                          prefix, row->name, row->min, row->max);
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "%s%s must be false or a number above 0, at most %.0f",
                        prefix, row->name, row->max);
  }
  if (row->type == AC_FIELD_WHOLE)
    *(int64_t *)(void *)place = (int64_t)value;
  else if (row->type == AC_FIELD_INT)
    *(int *)(void *)place = (int)value;
  else
    *(double *)(void *)place = value;
  return AC_OK;
}

static ac_kind store(lua_State *L, const char *prefix,
                     const struct ac_field *row, char *out,
                     struct ac_error *err)
{
  char *place = out + row->offset;
  struct ac_slice *slice;
  const char *text;
  size_t length;

  switch (row->type) {
  case AC_FIELD_TEXT:
    text = lua_tolstring(L, -1, &length);
    if (length == 0)
      return ac_error_set(err, AC_ERR_ARGUMENT, "%s%s is empty", prefix,
                          row->name);
    if (strlen(text) != length)
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "%s%s must not have a NUL byte inside", prefix,
                          row->name);
    *(const char **)(void *)place = text;
    return AC_OK;
  case AC_FIELD_BYTES:
    slice = (struct ac_slice *)(void *)place;
    slice->bytes = lua_tolstring(L, -1, &slice->length);
    return AC_OK;
  case AC_FIELD_BOOLEAN:
    *(int *)(void *)place = lua_toboolean(L, -1);
    return AC_OK;
  case AC_FIELD_RATE:
    if (lua_type(L, -1) == LUA_TBOOLEAN) {
      *(double *)(void *)place = -1;
      return AC_OK;
    }
    return store_number(lua_tonumber(L, -1), prefix, row, place, err);
  case AC_FIELD_WHOLE:
  case AC_FIELD_INT:
    return store_number(lua_tonumber(L, -1), prefix, row, place, err);
  default: return AC_OK;
  }
}

ac_kind ac_fields_read(lua_State *L, int index, const struct ac_fields *fields,
                       void *out, struct ac_error *err)
{
  ac_kind kind = AC_OK;

  luaL_checkstack(L, 4, "options");
  lua_pushnil(L);
  while (lua_next(L, index)) {
    const struct ac_field *row;

    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "names of %ss are strings, got a %s", fields->what,
                 ac_type_name(L, -2));
    row = find(L, fields, lua_tostring(L, -2));
    check_type(L, fields, row);
    /* A bad value does not stop the search for bugs. */
    if (kind == AC_OK)
      kind = store(L, fields->prefix, row, out, err);
    lua_pop(L, 1);
  }
  return kind;
}
