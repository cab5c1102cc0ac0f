/* fuzz_answer.c - arbitrary bytes as an answer (libFuzzer).
 *
 *   clang -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Isrc \
 *     spec/support/fuzz_answer.c src/chat/answer.c src/base/error.c \
 *     src/base/utf8.c -lcjson -o build/fuzz_answer
 *   build/fuzz_answer -max_len=4096 -max_total_time=60 spec/fixtures
 *
 * Not only "no crash": every text in an error is one clean line, a count is a
 * whole number, what the scan believes cJSON can read, and no cut of a
 * believed answer is believed. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "chat/answer.h"

#define CHECK(condition) \
  do {                   \
    if (!(condition))    \
      abort();           \
  } while (0)

static void check_line(const char *text, size_t size)
{
  size_t length = strlen(text);

  CHECK(length < size);
  CHECK(ac_utf8_valid(text, length));
  for (size_t i = 0; i < length; i++)
    CHECK((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static void check_error(const struct ac_error *err)
{
  check_line(err->code, sizeof err->code);
  check_line(err->text, sizeof err->text);
  check_line(err->description, sizeof err->description);
  check_line(err->value, sizeof err->value);
}

static void decode(const char *bytes, size_t length)
{
  static const char *const arguments[] = {"user1", "123"};
  static const ac_decoder decoders[] = {ac_decode_count, ac_decode_status,
                                        ac_decode_data};
  struct ac_error err;
  cJSON *root = NULL;

  ac_error_clear(&err);
  if (ac_answer_parse(bytes, length, &root, &err) != AC_OK) {
    CHECK(err.kind == AC_ERR_BAD_RESPONSE && err.code[0] && !root);
    check_error(&err);
    return;
  }
  for (size_t i = 0; i < sizeof decoders / sizeof decoders[0]; i++) {
    cJSON *result = cJSON_CreateObject();
    const cJSON *item;

    ac_error_clear(&err);
    if (decoders[i](root, arguments, result, &err) != AC_OK) {
      CHECK(err.kind == AC_ERR_BAD_RESPONSE || err.kind == AC_ERR_NOT_FOUND);
      CHECK(err.code[0]);
      ac_answer_note_error_words(root, &err);
      check_error(&err);
    } else if (i == 0) {
      item = cJSON_GetObjectItemCaseSensitive(result, "count");
      CHECK(cJSON_IsNumber(item));
      CHECK(item->valuedouble >= 0 && item->valuedouble < 9007199254740992.0);
    } else if (i == 1) {
      item = cJSON_GetObjectItemCaseSensitive(result, "delivered");
      CHECK(cJSON_IsBool(item));
    }
    cJSON_Delete(result);
  }
  cJSON_Delete(root);

  /* Every cut is seen as one. */
  while (length > 0 && strchr(" \t\r\n", bytes[length - 1]) &&
         bytes[length - 1])
    length--;
  for (size_t cut = length > 64 ? length - 64 : 0; cut < length; cut++) {
    CHECK(ac_answer_scan(bytes, cut, &err) == AC_ERR_BAD_RESPONSE);
    CHECK(strcmp(err.code, "truncated") == 0);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const int statuses[] = {0, 302, 401, 404, 429, 500, 503};
  /* Of its exact size, so that reading one byte too many is seen. */
  char *bytes = malloc(size + (size == 0));
  struct ac_error err;
  int64_t date_s;

  CHECK(bytes);
  if (size > 0)
    memcpy(bytes, data, size);
  decode(bytes, size);
  for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
    CHECK(ac_answer_error(statuses[i], bytes, size, &err) == err.kind);
    CHECK(err.kind != AC_OK && err.http_status == statuses[i]);
    check_error(&err);
  }
  if (size > 0) {
    bytes[size - 1] = '\0'; /* a header's text */
    ac_http_date_s(bytes, &date_s);
  }
  free(bytes);
  return 0;
}
