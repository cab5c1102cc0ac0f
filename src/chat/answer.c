#include "answer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "foreign.h"
#include "json.h"

static const double COUNT_LIMIT = 9007199254740992.0; /* 2^53 */

static const char *root_name(int first)
{
  switch (first) {
  case '[': return "an array";
  case '"': return "a string";
  case 't':
  case 'f': return "a boolean";
  case 'n': return "null";
  default: return "a number";
  }
}

ac_kind ac_answer_parse(const char *bytes, size_t length, cJSON **out_root,
                        struct ac_error *err)
{
  struct ac_json s;
  enum ac_json_verdict verdict = ac_json_scan(&s, bytes, length);
  cJSON *root;
  int datas = 0;

  if (verdict != AC_JSON_WHOLE)
    return ac_json_error(&s, verdict, err);
  if (*s.root != '{') /* before cJSON: 64 KiB of [1,1,... cost it 2.6 MB */
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "shape",
                             "expected a JSON object, got %s",
                             root_name(*s.root));
  root = ac_json_tree(&s);
  if (!root)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for the answer");
  for (const cJSON *item = root->child; item; item = item->next)
    datas += strcmp(item->string, "data") == 0;
  if (datas > 1) {
    cJSON_Delete(root);
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "malformed",
                             "expected one \"data\", got %d", datas);
  }
  *out_root = root;
  return AC_OK;
}

static ac_kind no_memory(struct ac_error *err)
{
  return ac_error_set(err, AC_ERR_MEMORY, "no memory for the result");
}

static ac_kind wrong_shape(struct ac_error *err, const char *what,
                           const char *expected, const cJSON *item)
{
  return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "shape",
                           "expected %s as %s, got %s", expected, what,
                           ac_json_type_name(item));
}

static const cJSON *data_of(const cJSON *envelope)
{
  return cJSON_GetObjectItemCaseSensitive(envelope, "data");
}

/* What stands in `data` under the asked key: the exact key first, else
   (any_case) the only one that is equal without case. */
static ac_kind find_asked(const cJSON *data, const char *asked, int any_case,
                          const cJSON **out_item, struct ac_error *err)
{
  const cJSON *exact = NULL, *similar = NULL, *other = NULL;
  int exacts = 0, similars = 0, others = 0;
  struct ac_quote want, got;

  for (const cJSON *item = data->child; item; item = item->next) {
    if (strcmp(item->string, asked) == 0)
      exact = item, exacts++;
    else if (any_case && ac_same_without_case(item->string, asked))
      similar = item, similars++;
    else if (others++ == 0)
      other = item;
  }
  *out_item = exact ? exact : similar;
  if (exacts > 1 || (exacts == 0 && similars > 1))
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "malformed",
                             "expected \"%s\" once in data, got it %d times",
                             ac_foreign_quote(&want, asked, strlen(asked)),
                             exacts > 1 ? exacts : similars);
  if (*out_item)
    return AC_OK;
  ac_foreign_quote(&want, asked, strlen(asked));
  if (!other)
    return ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "id_mismatch",
                             "expected \"%s\" in data, got no key at all",
                             want.text);
  return ac_error_set_code(
      err, AC_ERR_BAD_RESPONSE, "id_mismatch",
      "expected \"%s\" in data, got \"%s\"%s", want.text,
      ac_foreign_quote(&got, other->string, strlen(other->string)),
      others > 1 ? " and others" : "");
}

ac_kind ac_decode_data(const cJSON *envelope, const char *const *arguments,
                       cJSON *result, struct ac_error *err)
{
  const cJSON *data = data_of(envelope);
  cJSON *copy;

  (void)arguments;
  if (!data)
    return wrong_shape(err, "data", "a value", data);
  copy = cJSON_Duplicate(data, 1);
  if (!copy || !cJSON_AddItemToObject(result, "data", copy)) {
    cJSON_Delete(copy);
    return no_memory(err);
  }
  return AC_OK;
}

static ac_kind wrong_count(const cJSON *item, struct ac_error *err)
{
  int is_text = cJSON_IsString(item);
  char value[AC_ERROR_VALUE_BYTES];
  ac_kind kind;

  if (is_text) {
    ac_foreign_value(item->valuestring, strlen(item->valuestring), value,
                     sizeof value);
  } else if (fabs(item->valuedouble) < 1e18 &&
             item->valuedouble == (double)(int64_t)item->valuedouble) {
    snprintf(value, sizeof value, "%.0f", item->valuedouble);
  } else if (isinf(item->valuedouble) ||
             !cJSON_PrintPreallocated((cJSON *)(size_t)(const void *)item,
                                      value, sizeof value, 0)) {
    /* cJSON writes the shortest text that is the number, in any locale, but
       "null" for infinity. */
    strcpy(value, item->valuedouble < 0 ? "-1e999" : "1e999");
  }
  kind = ac_error_set_code(
      err, AC_ERR_BAD_RESPONSE, "range",
      "expected a whole number from 0 to 2^53 - 1 as count, got %s%s%s",
      is_text ? "\"" : "", value, is_text ? "\"" : "");
  ac_error_set_value(err, value);
  return kind;
}

/* A text of digits as its number, -1 when it is none below 2^53. */
static double digits_value(const char *text)
{
  double value = 0;

  if (text[0] == '\0' || (text[0] == '0' && text[1] != '\0'))
    return -1;
  for (; *text; text++) {
    if (!ac_is_digit(*text))
      return -1;
    value = value * 10 + (*text - '0'); /* exact as long as it is below 2^53 */
    if (value >= COUNT_LIMIT)
      return -1;
  }
  return value;
}

ac_kind ac_decode_count(const cJSON *envelope, const char *const *arguments,
                        cJSON *result, struct ac_error *err)
{
  const cJSON *data = data_of(envelope);
  const cJSON *item;
  double count;

  if (!cJSON_IsObject(data))
    return wrong_shape(err, "data", "an object", data);
  if (find_asked(data, arguments[0], 1, &item, err) != AC_OK)
    return AC_ERR_BAD_RESPONSE;
  if (cJSON_IsString(item))
    count = digits_value(item->valuestring);
  else if (cJSON_IsNumber(item))
    count = item->valuedouble; /* valueint stops at 2^31 - 1 */
  else
    return wrong_shape(err, "count", "a number", item);
  if (!(count >= 0 && count < COUNT_LIMIT) || count != (double)(int64_t)count)
    return wrong_count(item, err);
  count += 0.0; /* -0 is 0 */
  if (!cJSON_AddNumberToObject(result, "count", count))
    return no_memory(err);
  return AC_OK;
}

/* The words of the service. "deliverd" is how its documents of 2015 and a
   sample program spell it. */
static const struct {
  const char *word;
  enum { DELIVERED, UNDELIVERED, NO_MESSAGE } meaning;
} statuses[] = {
    {"delivered", DELIVERED},
    {"undelivered", UNDELIVERED},
    {"deliverd", DELIVERED},
    {"msg_not_found", NO_MESSAGE},
};

static ac_kind no_message(struct ac_error *err, const char *msg_id)
{
  struct ac_quote quote;

  return ac_error_set_code(err, AC_ERR_NOT_FOUND, "message",
                           "the service knows no message \"%s\" of this user",
                           ac_foreign_quote(&quote, msg_id, strlen(msg_id)));
}

ac_kind ac_decode_status(const cJSON *envelope, const char *const *arguments,
                         cJSON *result, struct ac_error *err)
{
  const char *msg_id = arguments[1];
  const cJSON *data = data_of(envelope);
  const cJSON *item;
  char value[AC_ERROR_VALUE_BYTES];

  /* An empty object or, as its sister operations do it, an empty array. */
  if ((cJSON_IsObject(data) || cJSON_IsArray(data)) && !data->child)
    return no_message(err, msg_id);
  if (!cJSON_IsObject(data))
    return wrong_shape(err, "data", "an object", data);
  if (find_asked(data, msg_id, 0, &item, err) != AC_OK)
    return AC_ERR_BAD_RESPONSE;
  if (!cJSON_IsString(item))
    return wrong_shape(err, "status", "a string", item);
  for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
    if (strcmp(item->valuestring, statuses[i].word) != 0)
      continue;
    if (statuses[i].meaning == NO_MESSAGE)
      return no_message(err, msg_id);
    if (!cJSON_AddStringToObject(result, "status", item->valuestring) ||
        !cJSON_AddBoolToObject(result, "delivered",
                               statuses[i].meaning == DELIVERED))
      return no_memory(err);
    return AC_OK;
  }
  ac_foreign_value(item->valuestring, strlen(item->valuestring), value,
                   sizeof value);
  ac_error_set_code(err, AC_ERR_BAD_RESPONSE, "unknown_status",
                    "expected delivered or undelivered as status, got \"%s\"",
                    value);
  ac_error_set_value(err, value);
  return AC_ERR_BAD_RESPONSE;
}
