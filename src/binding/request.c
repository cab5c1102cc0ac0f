#include "request.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/utf8.h"
#include "../chat/json.h"
#include "fields.h"

/* -- numbers and wrong types -- */

/* The number at `index` as text, exact and the same in every locale; 0 when
   it is NaN or infinite. */
static int number_text(lua_State *L, int index, char out[AC_NUMBER_TEXT_BYTES])
{
  double value = (double)lua_tonumber(L, index);
  char *to = out;

  if (ac_is_integer(L, index)) {
    snprintf(out, AC_NUMBER_TEXT_BYTES, "%lld",
             (long long)lua_tointeger(L, index));
    return 1;
  }
  if (value - value != 0) /* NaN and the infinities */
    return 0;
  if (floor(value) == value && fabs(value) < 9007199254740992.0) {
    snprintf(out, AC_NUMBER_TEXT_BYTES, "%.0f", value == 0 ? 0.0 : value);
    return 1;
  }
  for (int digits = 15; digits <= 17; digits++) { /* 17 are always enough */
    snprintf(out, AC_NUMBER_TEXT_BYTES, "%.*g", digits, value);
    if (strtod(out, NULL) == value)
      break;
  }
  for (const char *from = out; *from; from++) { /* the locale's point, maybe
                                                   of several bytes */
    if (strchr("0123456789+-e", *from))
      *to++ = *from;
    else if (to == out || to[-1] != '.')
      *to++ = '.';
  }
  *to = '\0';
  return 1;
}

int ac_raise_not_text(lua_State *L, int index, const char *what)
{
  const char *why = "ids are strings, because a number cannot hold every id";

  if (ac_is_integer(L, index))
    return luaL_error(L,
                      "%s must be a string, got a number: %s; for an integer, "
                      "(\"%%d\"):format(id) makes the text",
                      what, why);
  if (lua_type(L, index) == LUA_TNUMBER)
    return luaL_error(L, "%s must be a string, got a number: %s", what, why);
  return luaL_error(L, "%s must be a string, got %s", what,
                    ac_type_name(L, index));
}

/* -- JSON -- */

struct writer {
  lua_State *L; /* for one walk */
  struct ac_buffer *out;
  const char *why; /* what is wrong, */
  char where[96];  /* and the keys that lead there */
  char detail[64];
};

static ac_kind refuse(struct writer *w, const char *why)
{
  w->why = why;
  w->where[0] = '\0';
  return AC_ERR_ARGUMENT;
}

/* The way back from a fault adds its keys, in front. */
static void add_where(struct writer *w, const char *step)
{
  char rest[sizeof w->where];

  memcpy(rest, w->where, sizeof rest);
  snprintf(w->where, sizeof w->where, "%.40s%.55s", step, rest);
}

static ac_kind write_text(struct writer *w, const char *bytes, size_t length)
{
  static const char hex[] = "0123456789abcdef";
  size_t from = 0;
  ac_kind kind = ac_buffer_add(w->out, "\"", 1);

  if (!ac_utf8_valid(bytes, length))
    return refuse(w, "text that is not UTF-8");
  if (memchr(bytes, '\0', length))
    return refuse(w, "text with a NUL byte inside");
  for (size_t i = 0; i < length && kind == AC_OK; i++) {
    unsigned char c = (unsigned char)bytes[i];
    char escape[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    size_t escape_length = sizeof escape;

    if (c == '"' || c == '\\') {
      escape[1] = (char)c;
      escape_length = 2;
    } else if (c >= 0x20) {
      continue;
    }
    kind = ac_buffer_add(w->out, bytes + from, i - from);
    if (kind == AC_OK)
      kind = ac_buffer_add(w->out, escape, escape_length);
    from = i + 1;
  }
  if (kind == AC_OK)
    kind = ac_buffer_add(w->out, bytes + from, length - from);
  return kind ? kind : ac_buffer_add(w->out, "\"", 1);
}

/* Is the table on top a sequence (1), or an object (0)? The empty one is an
   object. -1: neither. */
static int is_sequence(lua_State *L)
{
  double count = 0, largest = 0;
  int texts = 0;

  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) {
      texts = 1;
    } else if (lua_type(L, -1) == LUA_TNUMBER) {
      double key = (double)lua_tonumber(L, -1);

      if (!(key >= 1 && floor(key) == key))
        key = HUGE_VAL; /* no list has that many */
      count++;
      if (key > largest)
        largest = key;
    } else {
      largest = HUGE_VAL;
      count++;
    }
  }
  if (texts)
    return count > 0 ? -1 : 0;
  return count == largest ? count > 0 : -1;
}

static ac_kind write_value(struct writer *w, int depth);

static ac_kind write_array(struct writer *w, int depth)
{
  int length = (int)ac_raw_length(w->L, -1);
  ac_kind kind = ac_buffer_add(w->out, "[", 1);

  for (int i = 1; i <= length && kind == AC_OK; i++) {
    char step[24];

    if (i > 1)
      kind = ac_buffer_add(w->out, ",", 1);
    if (kind)
      break;
    lua_rawgeti(w->L, -1, i);
    kind = write_value(w, depth + 1);
    lua_pop(w->L, 1);
    if (kind == AC_ERR_ARGUMENT) {
      snprintf(step, sizeof step, "[%d]", i);
      add_where(w, step);
    }
  }
  return kind ? kind : ac_buffer_add(w->out, "]", 1);
}

static ac_kind write_object(struct writer *w, int depth)
{
  ac_kind kind = ac_buffer_add(w->out, "{", 1);
  int first = 1;

  lua_pushnil(w->L);
  while (kind == AC_OK && lua_next(w->L, -2)) {
    size_t length;
    const char *key = lua_tolstring(w->L, -2, &length); /* surely a string */

    if (!first)
      kind = ac_buffer_add(w->out, ",", 1);
    first = 0;
    if (kind == AC_OK)
      kind = write_text(w, key, length);
    if (kind == AC_OK)
      kind = ac_buffer_add(w->out, ":", 1);
    if (kind == AC_OK)
      kind = write_value(w, depth + 1);
    if (kind == AC_ERR_ARGUMENT) {
      char step[40] = ".";

      ac_text_clean(key, length, step + 1, sizeof step - 1);
      add_where(w, step);
    }
    lua_pop(w->L, 1);
  }
  if (kind)
    lua_pop(w->L, 1); /* the key */
  return kind ? kind : ac_buffer_add(w->out, "}", 1);
}

/* Writes the value on top of the stack, leaves it there. */
static ac_kind write_value(struct writer *w, int depth)
{
  char number[AC_NUMBER_TEXT_BYTES];
  size_t length;
  const char *text;

  switch (lua_type(w->L, -1)) {
  case LUA_TBOOLEAN:
    return ac_buffer_add_text(w->out,
                              lua_toboolean(w->L, -1) ? "true" : "false");
  case LUA_TNUMBER:
    if (!number_text(w->L, -1, number))
      return refuse(w, "a number that is NaN or infinite");
    return ac_buffer_add_text(w->out, number);
  case LUA_TSTRING:
    text = lua_tolstring(w->L, -1, &length);
    return write_text(w, text, length);
  case LUA_TTABLE: break;
  default:
    snprintf(w->detail, sizeof w->detail, "a %s, which JSON does not know",
             ac_type_name(w->L, -1));
    return refuse(w, w->detail);
  }
  if (depth > AC_JSON_MAX_DEPTH) { /* a cycle ends here too */
    snprintf(w->detail, sizeof w->detail,
             "more than %d tables inside each other", AC_JSON_MAX_DEPTH);
    return refuse(w, w->detail);
  }
  luaL_checkstack(w->L, 6, "json");
  switch (is_sequence(w->L)) {
  case 1: return write_array(w, depth);
  case 0: return write_object(w, depth);
  default:
    return refuse(w, "a table that is neither a list without holes nor has "
                     "only names");
  }
}

/* The table on top of the stack -> out->body. */
static ac_kind write_json(lua_State *L, struct ac_request *out,
                          struct ac_buffer *body, struct ac_error *err)
{
  struct writer w;
  int top = lua_gettop(L);
  ac_kind kind;

  w.L = L;
  w.out = body;
  w.why = "";
  w.where[0] = '\0';
  kind = write_value(&w, 1);
  lua_settop(L, top);
  out->body.bytes = body->bytes;
  out->body.length = body->length;
  switch (kind) {
  case AC_OK: return AC_OK;
  case AC_ERR_ARGUMENT:
    return ac_error_set(err, kind, "json%s: %s", w.where, w.why);
  case AC_ERR_BAD_RESPONSE: /* the buffer's ceiling */
    return ac_error_set(err, AC_ERR_ARGUMENT, "json is longer than %d bytes",
                        AC_MAX_REQUEST_BODY_BYTES);
  default: return ac_error_set(err, AC_ERR_MEMORY, "json");
  }
}

/* -- path and query -- */

#define NO_LIST "path must be a list without holes or names"

/* The list on top of the stack -> out->parts. */
static ac_kind read_path(lua_State *L, struct ac_request *out,
                         struct ac_error *err)
{
  size_t count = 0;
  size_t length = ac_raw_length(L, -1);

  lua_pushnil(L);
  while (lua_next(L, -2)) {
    lua_pop(L, 1);
    count++;
  }
  if (count != length)
    luaL_error(L, NO_LIST);
  for (size_t i = 0; i < length; i++) {
    char what[24];

    lua_rawgeti(L, -1, (int)i + 1);
    if (lua_isnil(L, -1))
      luaL_error(L, NO_LIST);
    if (lua_type(L, -1) != LUA_TSTRING) {
      snprintf(what, sizeof what, "path[%d]", (int)i + 1);
      ac_raise_not_text(L, -1, what);
    }
    if (i < AC_MAX_PATH_PARTS)
      out->parts[i].bytes = lua_tolstring(L, -1, &out->parts[i].length);
    lua_pop(L, 1);
  }
  if (length == 0 || length > AC_MAX_PATH_PARTS)
    return ac_error_set(err, AC_ERR_ARGUMENT, "path must have 1 to %d parts",
                        AC_MAX_PATH_PARTS);
  out->part_count = length;
  return AC_OK;
}

static int compare_names(const void *a, const void *b)
{
  const struct ac_slice *x = a, *y = b;
  size_t shorter = x->length < y->length ? x->length : y->length;
  int order = memcmp(x->bytes, y->bytes, shorter);

  if (order)
    return order;
  return x->length < y->length ? -1 : x->length > y->length;
}

/* The table on top of the stack -> out->query, sorted by name, so that the
   same table makes the same URL. */
static ac_kind read_query(lua_State *L, struct ac_request *out,
                          struct ac_error *err)
{
  ac_kind kind = AC_OK;
  size_t count = 0;

  lua_pushnil(L);
  while (lua_next(L, -2)) {
    struct ac_slice *pair =
        &out->query[2 * (count < AC_MAX_QUERY_PAIRS ? count
                                                    : AC_MAX_QUERY_PAIRS - 1)];
    char *number = out->numbers[(pair - out->query) / 2];

    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L, "names in query are strings, got a %s",
                 ac_type_name(L, -2));
    pair[0].bytes = lua_tolstring(L, -2, &pair[0].length);
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
      pair[1].bytes = lua_tolstring(L, -1, &pair[1].length);
      break;
    case LUA_TBOOLEAN:
      pair[1].bytes = lua_toboolean(L, -1) ? "true" : "false";
      pair[1].length = strlen(pair[1].bytes);
      break;
    case LUA_TNUMBER:
      if (!number_text(L, -1, number)) {
        kind = ac_error_set(err, AC_ERR_ARGUMENT,
                            "query.%.40s is NaN or infinite", pair[0].bytes);
        number[0] = '\0';
      }
      pair[1].bytes = number;
      pair[1].length = strlen(number);
      break;
    default:
      luaL_error(L, "query.%s must be a string, a number or a boolean, got %s",
                 pair[0].bytes, ac_type_name(L, -1));
    }
    count++;
    lua_pop(L, 1);
  }
  if (count > AC_MAX_QUERY_PAIRS)
    return ac_error_set(err, AC_ERR_ARGUMENT, "query has more than %d names",
                        AC_MAX_QUERY_PAIRS);
  qsort(out->query, count, 2 * sizeof out->query[0], compare_names);
  out->query_count = 2 * count;
  return kind;
}

/* -- the whole -- */

/* clang-format off */
#define AT(member) offsetof(struct ac_request, member)
static const struct ac_field rows[] = {
    {"method",     AC_FIELD_TEXT,          AT(method), 0, 0},
    {"path",       AC_FIELD_TABLE,         0, 0, 0},
    {"query",      AC_FIELD_TABLE,         0, 0, 0},
    {"json",       AC_FIELD_TEXT_OR_TABLE, 0, 0, 0},
    {"idempotent", AC_FIELD_BOOLEAN,       AT(idempotent), 0, 0},
};
#undef AT
/* clang-format on */
static const struct ac_fields fields = {
    rows, (int)(sizeof rows / sizeof rows[0]), "request field", ""};

ac_kind ac_request_read(lua_State *L, int index, struct ac_request *out,
                        struct ac_buffer *body, struct ac_error *err)
{
  struct ac_error later;
  ac_kind kind, of_path, of_query = AC_OK;

  out->method = NULL;
  out->idempotent = 0;
  out->part_count = out->query_count = 0;
  out->body.bytes = NULL;
  out->body.length = 0;
  kind = ac_fields_read(L, index, &fields, out, err);
  luaL_checkstack(L, 8, "request");

  /* what raises, first */
  if (ac_push_field(L, index, "method") == LUA_TNIL)
    luaL_error(L, "method is missing");
  lua_pop(L, 1);
  if (ac_push_field(L, index, "path") == LUA_TNIL)
    luaL_error(L, "path is missing");
  of_path = read_path(L, out, kind ? &later : err);
  lua_pop(L, 1);
  if (ac_push_field(L, index, "query") == LUA_TTABLE)
    of_query = read_query(L, out, kind || of_path ? &later : err);
  lua_pop(L, 1);
  if (kind || of_path || of_query)
    return err->kind;

  switch (ac_push_field(L, index, "json")) {
  case LUA_TSTRING:
    out->body.bytes = lua_tolstring(L, -1, &out->body.length);
    break;
  case LUA_TTABLE: kind = write_json(L, out, body, err); break;
  default: break;
  }
  lua_pop(L, 1);
  return kind;
}
