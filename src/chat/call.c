#include "call.h"

#include <stdlib.h>
#include <string.h>

#include "../base/utf8.h"
#include "json.h"

enum { MAX_PART_BYTES = 1024 };

/* Does not compile when a call is larger than glibc is quick with. */
typedef char small_enough[sizeof(struct ac_call) <= 1032 ? 1 : -1];

const char *const ac_phase_names[AC_PHASES] = {"dns", "connect", "tls",
                                               "first_byte", "body"};

struct ac_call *ac_call_new(void)
{
  struct ac_call *call = malloc(sizeof *call);

  if (!call)
    return NULL;
  memset(call, 0, offsetof(struct ac_call, error)); /* its texts are long */
  call->result = NULL;
  ac_list_init(&call->link);
  call->alarm_ms = INT64_MAX;
  ac_buffer_init(&call->reply.body, AC_MAX_BODY_BYTES);
  ac_error_clear(&call->error);
  return call;
}

/* The answer to a token fetch holds a token. */
static void wipe_strings(cJSON *item)
{
  for (; item; item = item->next) {
    if (item->valuestring)
      ac_wipe(item->valuestring, strlen(item->valuestring));
    wipe_strings(item->child); /* at most AC_JSON_MAX_DEPTH */
  }
}

void ac_call_free(struct ac_call *call)
{
  if (!call)
    return;
  if (call->internal) {
    if (call->body)
      ac_wipe(call->body, call->body_length);
    ac_buffer_wipe(&call->reply.body);
    wipe_strings(call->result);
  }
  free(call->path);
  free(call->body);
  ac_buffer_free(&call->reply.body);
  cJSON_Delete(call->result);
  free(call);
}

static ac_kind no_memory(struct ac_error *err)
{
  return ac_error_set(err, AC_ERR_MEMORY, "no memory for a call");
}

/* Returns what follows the copy and its NUL. */
static char *put_text(char *to, const char *bytes, size_t length)
{
  if (length > 0)
    memcpy(to, bytes, length);
  to[length] = '\0';
  return to + length + 1;
}

/* The built path and the arguments as the call's own, in one piece that is no
   longer than needed. */
static ac_kind take_texts(struct ac_call *call, struct ac_buffer *path,
                          const struct ac_slice *arguments, int count,
                          struct ac_error *err)
{
  size_t size = path->length + 1;
  char *at;

  for (int i = 0; i < count; i++)
    size += arguments[i].length + 1;
  call->path = at = malloc(size);
  if (at) {
    at = put_text(at, path->bytes, path->length);
    for (int i = 0; i < count; i++) {
      call->arguments[i] = at;
      at = put_text(at, arguments[i].bytes, arguments[i].length);
    }
    call->argument_count = count;
  }
  ac_buffer_free(path);
  return call->path ? AC_OK : no_memory(err);
}

ac_kind ac_call_prepare(struct ac_call *call, const struct ac_endpoint *row,
                        const struct ac_slice *arguments, struct ac_error *err)
{
  struct ac_buffer path;
  ac_kind kind;

  ac_buffer_init(&path, AC_MAX_PATH_BYTES);
  kind = ac_endpoint_path(row, arguments, &path, err);
  if (kind != AC_OK) {
    ac_buffer_free(&path);
    return kind;
  }
  kind = take_texts(call, &path, arguments, ac_endpoint_argument_count(row),
                    err);
  if (kind != AC_OK)
    return kind;
  call->endpoint = row;
  strcpy(call->method, row->method);
  call->idempotent = (row->flags & AC_IDEMPOTENT) != 0;
  return AC_OK;
}

static ac_kind check_method(const char *method, struct ac_error *err)
{
  size_t length = strspn(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

  if (length == 0 || length > 15 || method[length] != '\0')
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "method: must be 1 to 15 capital letters");
  return AC_OK;
}

static ac_kind check_query(struct ac_slice text, struct ac_error *err)
{
  for (size_t i = 0; i < text.length; i++) {
    unsigned char c = (unsigned char)text.bytes[i];

    if (c < 0x20 || c == 0x7f)
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "query: must not hold control bytes");
  }
  if (!ac_utf8_valid(text.bytes, text.length))
    return ac_error_set(err, AC_ERR_ARGUMENT, "query: must be valid UTF-8");
  return AC_OK;
}

/* "?a=1&b=2" */
static ac_kind add_query(struct ac_buffer *path, const struct ac_slice *query,
                         size_t count, struct ac_error *err)
{
  for (size_t i = 0; i < count; i++) {
    ac_kind kind = check_query(query[i], err);

    if (kind != AC_OK)
      return kind;
    kind = ac_buffer_add(path, i == 0 ? "?" : i % 2 == 0 ? "&" : "=", 1);
    if (kind == AC_OK)
      kind = ac_endpoint_encode(query[i], path);
    if (kind == AC_ERR_MEMORY)
      return no_memory(err);
    if (kind != AC_OK)
      return ac_error_set(err, AC_ERR_ARGUMENT,
                          "query: the path is longer than %d bytes with it",
                          (int)AC_MAX_PATH_BYTES);
  }
  return AC_OK;
}

static ac_kind check_body(struct ac_slice body, struct ac_error *err)
{
  struct ac_error fault;

  if (!body.bytes)
    return AC_OK;
  if (body.length > AC_MAX_REQUEST_BODY_BYTES)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "json: must not be longer than %d bytes, got %lu",
                        (int)AC_MAX_REQUEST_BODY_BYTES,
                        (unsigned long)body.length);
  if (ac_json_check(body.bytes, body.length, &fault) != AC_OK)
    return ac_error_set(err, AC_ERR_ARGUMENT, "json: %s", fault.text);
  return AC_OK;
}

ac_kind ac_call_prepare_request(struct ac_call *call, const char *method,
                                const struct ac_slice *parts,
                                size_t part_count,
                                const struct ac_slice *query,
                                size_t query_count, struct ac_slice body,
                                struct ac_error *err)
{
  struct ac_buffer path;
  ac_kind kind = check_method(method, err);

  ac_buffer_init(&path, AC_MAX_PATH_BYTES);
  if (kind == AC_OK && part_count == 0)
    kind = ac_error_set(err, AC_ERR_ARGUMENT,
                        "path: must have at least one part");
  for (size_t i = 0; kind == AC_OK && i < part_count; i++)
    kind = ac_endpoint_segment(parts[i], MAX_PART_BYTES, "path", &path, err);
  if (kind == AC_OK)
    kind = add_query(&path, query, query_count, err);
  if (kind == AC_OK)
    kind = check_body(body, err);
  if (kind != AC_OK) {
    ac_buffer_free(&path);
    return kind;
  }
  kind = take_texts(call, &path, NULL, 0, err);
  if (kind == AC_OK && body.bytes) {
    call->body = malloc(body.length + 1);
    if (call->body)
      put_text(call->body, body.bytes, body.length);
    call->body_length = body.length;
    if (!call->body)
      kind = no_memory(err);
  }
  if (kind != AC_OK)
    return kind;
  strcpy(call->method, method);
  return AC_OK;
}

const char *ac_call_operation(const struct ac_call *call)
{
  if (call->internal)
    return "token";
  return call->endpoint ? call->endpoint->name : "request";
}

void ac_call_clear_reply(struct ac_call *call)
{
  struct ac_buffer body = call->reply.body;

  memset(&call->reply, 0, sizeof call->reply);
  call->reply.body = body;
  ac_buffer_clear(&call->reply.body);
}
