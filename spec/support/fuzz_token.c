/* fuzz_token.c - arbitrary bytes as a "007" token (libFuzzer).
 *
 *   clang -g -O1 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Isrc \
 *     spec/support/fuzz_token.c src/chat/token.c src/base/buffer.c \
 *     src/base/error.c src/base/utf8.c -lcrypto -lz -o build/fuzz_token
 *   build/fuzz_token -max_len=6000 -max_total_time=60
 *
 * The first byte chooses at which door the rest comes in: as text, as a zlib
 * stream or as what was deflated, so that each layer is reached without luck.
 * Not only "no crash": what is read is within its ceilings, nothing is
 * verified that was not signed, an error is one clean line, and a token made
 * of the bytes is read as what it was made of. */
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/utf8.h"
#include "chat/token.h"

#define CHECK(condition) \
  do {                   \
    if (!(condition))    \
      abort();           \
  } while (0)

static const char app_id[] = "970CA35de60c44645bbae8a215061b33";
static const char certificate[] = "5CFd2fd1755d40ecb72977518be15d3b";
static const char other[] = "5CFd2fd1755d40ecb72977518be15d3c";

static void check_error(const struct ac_error *err)
{
  CHECK(err->kind == AC_ERR_ARGUMENT && err->text[0]);
  CHECK(ac_utf8_valid(err->text, strlen(err->text)));
  CHECK(!strstr(err->text, certificate));
}

static void check_info(const struct ac_token_info *info)
{
  CHECK(ac_token_is_id(info->app_id));
  CHECK(info->issued_at_s >= 0 && info->expires_at_s >= info->issued_at_s);
  CHECK(info->service_count >= 0 &&
        info->service_count <= AC_TOKEN_MAX_SERVICES);
  for (int i = 0; i < info->service_count; i++) {
    const struct ac_token_service *service = &info->services[i];

    CHECK(service->privilege_count >= 0 &&
          service->privilege_count <= AC_TOKEN_MAX_PRIVILEGES);
    CHECK(memchr(service->user_id, '\0', sizeof service->user_id));
  }
}

/* Of its exact size, so that reading one byte too many is seen. */
static void read_text(const char *text, size_t length)
{
  struct ac_token_info info;
  struct ac_error err;
  char *exact = malloc(length + (length == 0));

  CHECK(exact);
  memcpy(exact, text, length);
  if (ac_token_read(exact, length, NULL, &info, &err) == AC_OK) {
    CHECK(!info.verified);
    check_info(&info);
    /* Signed with this one it cannot be. */
    CHECK(ac_token_read(exact, length, other, &info, &err) != AC_OK);
    CHECK(strcmp(err.code, "signature") == 0);
  }
  check_error(&err);
  free(exact);
}

static void read_packed(const uint8_t *bytes, size_t length)
{
  char *text = malloc(3 + 4 * (length / 3 + 1) + 1);

  CHECK(text);
  memcpy(text, "007", 3);
  read_text(text, 3 + (size_t)EVP_EncodeBlock((unsigned char *)text + 3, bytes,
                                              (int)length));
  free(text);
}

static void read_inflated(const uint8_t *bytes, size_t length)
{
  uLongf size = compressBound((uLong)length);
  uint8_t *packed = malloc(size);

  CHECK(packed);
  CHECK(compress2(packed, &size, bytes, (uLong)length, 1) == Z_OK);
  read_packed(packed, size);
  free(packed);
}

static void make_and_read(const uint8_t *bytes, size_t length)
{
  struct ac_token_input input = {0};
  struct ac_token_info info;
  struct ac_buffer out;
  struct ac_error err;
  char user[300] = "";
  uint32_t numbers[3];

  if (length < sizeof numbers)
    return;
  memcpy(numbers, bytes, sizeof numbers);
  bytes += sizeof numbers;
  length -= sizeof numbers;
  if (length > sizeof user - 1)
    length = sizeof user - 1;
  memcpy(user, bytes, length);
  input.app_id = app_id;
  input.app_certificate = certificate;
  input.user_id = user;
  input.issued_at_s = numbers[0];
  input.ttl_s = numbers[1] % 90000;
  input.salt = numbers[2];
  ac_buffer_init(&out, AC_TOKEN_MAX_BYTES);
  if (ac_token_make(&input, &out, &err) != AC_OK) {
    check_error(&err);
  } else {
    CHECK(ac_token_read(out.bytes, out.length, certificate, &info, &err) ==
          AC_OK);
    check_info(&info);
    CHECK(info.verified && info.salt == input.salt);
    CHECK(info.issued_at_s == input.issued_at_s);
    CHECK(info.expires_at_s == input.issued_at_s + input.ttl_s);
    CHECK(info.service_count == 1 && info.services[0].type == 5);
    CHECK(strcmp(info.services[0].user_id, user) == 0);
    CHECK(ac_token_read(out.bytes, out.length, other, &info, &err) != AC_OK);
    check_error(&err);
  }
  ac_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size == 0)
    return 0;
  switch (data[0] % 4) {
  case 0: read_text((const char *)data + 1, size - 1); break;
  case 1: read_packed(data + 1, size - 1); break;
  case 2: read_inflated(data + 1, size - 1); break;
  case 3: make_and_read(data + 1, size - 1); break;
  }
  return 0;
}
