#include "token.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
  DIGEST_BYTES = 32, /* HMAC-SHA256 */
  PREFIX_LENGTH = 3, /* "007" */
  CHAT = 5,          /* the service's type, and its privileges: */
  CHAT_USER = 1,
  CHAT_APP = 2,
  MAX_USER_ID_BYTES = 255,
  MAX_SIGNED_BYTES = 512, /* 94 for an app token; the rest is user id */
  MAX_DEFLATED_BYTES = 1024
};

static const int64_t LAST_SECOND = UINT32_MAX; /* in February 2106 */

/* ---- little-endian writing into a fixed array, which is large enough ------ */

struct writer {
  unsigned char bytes[MAX_SIGNED_BYTES + DIGEST_BYTES + 2];
  size_t length;
};

static void put_u16(struct writer *w, uint32_t value)
{
  w->bytes[w->length++] = (unsigned char)(value & 0xff);
  w->bytes[w->length++] = (unsigned char)(value >> 8 & 0xff);
}

static void put_u32(struct writer *w, uint32_t value)
{
  put_u16(w, value & 0xffff);
  put_u16(w, value >> 16);
}

static void put_string(struct writer *w, const void *bytes, size_t length)
{
  put_u16(w, (uint32_t)length);
  memcpy(w->bytes + w->length, bytes, length);
  w->length += length;
}

/* ---- the signature -------------------------------------------------------- */

static int hmac(const void *key, size_t key_length, const void *message,
                size_t length, unsigned char out[DIGEST_BYTES])
{
  unsigned int written = 0;

  return HMAC(EVP_sha256(), key, (int)key_length, message, length, out,
              &written) != NULL &&
         written == DIGEST_BYTES;
}

/* Signs with a key that is derived from certificate, issue time and salt. */
static int sign(const char *certificate, uint32_t issued_at_s, uint32_t salt,
                const void *message, size_t length,
                unsigned char out[DIGEST_BYTES])
{
  struct writer issued = {{0}, 0}, salted = {{0}, 0};
  unsigned char first[DIGEST_BYTES], key[DIGEST_BYTES];
  int done;

  put_u32(&issued, issued_at_s);
  put_u32(&salted, salt);
  done = hmac(issued.bytes, issued.length, certificate, strlen(certificate),
              first) &&
         hmac(salted.bytes, salted.length, first, sizeof first, key) &&
         hmac(key, sizeof key, message, length, out);
  OPENSSL_cleanse(first, sizeof first);
  OPENSSL_cleanse(key, sizeof key);
  return done;
}

/* ---- making ------------------------------------------------------------- */

int ac_token_is_id(const char *text)
{
  size_t length = 0;

  for (; text[length]; length++) {
    char c = text[length];

    if (length == AC_TOKEN_ID_LENGTH ||
        !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') ||
          (c >= 'A' && c <= 'F')))
      return 0;
  }
  return length == AC_TOKEN_ID_LENGTH;
}

static ac_kind check(const struct ac_token_input *input, struct ac_error *err)
{
  if (!ac_token_is_id(input->app_id))
    return ac_error_set(err, AC_ERR_ARGUMENT, "app_id must be 32 hex digits");
  if (!ac_token_is_id(input->app_certificate))
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "app_certificate must be 32 hex digits");
  if (input->ttl_s < 1 || input->ttl_s > AC_TOKEN_MAX_TTL_S)
    return ac_error_set(err, AC_ERR_ARGUMENT, "ttl_s must be 1 to %d seconds",
                        AC_TOKEN_MAX_TTL_S);
  if (input->issued_at_s < 0 ||
      input->issued_at_s > LAST_SECOND - input->ttl_s)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "the time is outside of what a token can say (1970 "
                        "to 2106)");
  if (input->user_id && strlen(input->user_id) > MAX_USER_ID_BYTES)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "username must be at most %d bytes",
                        MAX_USER_ID_BYTES);
  return AC_OK;
}

static void write_signed(const struct ac_token_input *input, struct writer *w)
{
  const char *user_id = input->user_id ? input->user_id : "";

  put_string(w, input->app_id, strlen(input->app_id));
  put_u32(w, (uint32_t)input->issued_at_s);
  put_u32(w, (uint32_t)input->ttl_s);
  put_u32(w, input->salt);
  put_u16(w, 1); /* services */
  put_u16(w, CHAT);
  put_u16(w, 1); /* privileges */
  put_u16(w, user_id[0] ? CHAT_USER : CHAT_APP);
  put_u32(w, (uint32_t)input->ttl_s);
  put_string(w, user_id, strlen(user_id));
}

/* What zlib's compress() makes of so few bytes, byte for byte, with 28 KiB of
   memory in place of 262: the window and the tables are as large as the text
   needs. The header says what it says there, a window of 32 KiB. */
static int deflate_short(const unsigned char *bytes, size_t length,
                         unsigned char *out, size_t *out_length)
{
  enum { WINDOW_BITS = 11, MEMORY_LEVEL = 4 }; /* 2 KiB, 1024 symbols */
  z_stream z;
  int code;

  memset(&z, 0, sizeof z);
  if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW_BITS,
                   MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
    return 0;
  z.next_in = (Bytef *)(size_t)bytes;
  z.avail_in = (uInt)length;
  z.next_out = out;
  z.avail_out = (uInt)*out_length;
  code = deflate(&z, Z_FINISH);
  *out_length = (size_t)z.total_out;
  deflateEnd(&z);
  out[0] = 0x78;
  out[1] = 0x9c;
  return code == Z_STREAM_END;
}

ac_kind ac_token_make(const struct ac_token_input *input,
                      struct ac_buffer *out, struct ac_error *err)
{
  struct writer body = {{0}, 0}, whole = {{0}, 0};
  unsigned char signature[DIGEST_BYTES];
  unsigned char deflated[MAX_DEFLATED_BYTES];
  unsigned char text[MAX_DEFLATED_BYTES * 4 / 3 + 5];
  size_t deflated_length = sizeof deflated;
  ac_kind kind = check(input, err);
  int text_length;

  if (kind != AC_OK)
    return kind;
  write_signed(input, &body);
  if (!sign(input->app_certificate, (uint32_t)input->issued_at_s, input->salt,
            body.bytes, body.length, signature))
    return ac_error_set(err, AC_ERR_UNAUTHORIZED,
                        "libcrypto could not sign the token");
  put_string(&whole, signature, sizeof signature);
  memcpy(whole.bytes + whole.length, body.bytes, body.length);
  whole.length += body.length;

  /* Real zlib: it is linked for reading anyway, the text is what the official
     builders make (131 characters; a stored block, which their parsers accept
     too, makes 143), and nobody has tried a stored block on the service. */
  if (!deflate_short(whole.bytes, whole.length, deflated, &deflated_length))
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for a token");
  text_length = EVP_EncodeBlock(text, deflated, (int)deflated_length);
  if (ac_buffer_add(out, "007", PREFIX_LENGTH) != AC_OK ||
      ac_buffer_add(out, text, (size_t)text_length) != AC_OK)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for a token");
  return AC_OK;
}

/* ---- reading: nothing that comes in is believed ------------------------- */

struct reader {
  const unsigned char *bytes;
  size_t left;
  int cut; /* something was not there any more */
};

static const unsigned char *take(struct reader *r, size_t length)
{
  const unsigned char *at = r->bytes;

  if (r->cut || length > r->left) {
    r->cut = 1;
    return NULL;
  }
  r->bytes += length;
  r->left -= length;
  return at;
}

static uint16_t take_u16(struct reader *r)
{
  const unsigned char *p = take(r, 2);

  return p ? (uint16_t)(p[0] | p[1] << 8) : 0;
}

static uint32_t take_u32(struct reader *r)
{
  uint32_t low = take_u16(r);

  return low | (uint32_t)take_u16(r) << 16;
}

static struct reader take_string(struct reader *r)
{
  struct reader text = {NULL, 0, 0};

  text.left = take_u16(r);
  text.bytes = take(r, text.left);
  if (!text.bytes)
    text.left = 0;
  return text;
}

/* Base64 as RFC 4648 section 4 has it, nothing lenient. Returns the number of
   bytes, or -1. */
static int decode(const char *text, size_t length, unsigned char *out)
{
  size_t padding = 0;
  int decoded;

  if (length == 0 || length % 4 != 0)
    return -1;
  while (padding < 2 && text[length - 1 - padding] == '=')
    padding++;
  for (size_t i = 0; i < length - padding; i++) {
    char c = text[i];

    if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
          (c >= '0' && c <= '9') || c == '+' || c == '/'))
      return -1;
  }
  decoded = EVP_DecodeBlock(out, (const unsigned char *)text, (int)length);
  return decoded < 0 ? -1 : decoded - (int)padding;
}

/* The whole of one zlib stream, at most max bytes of it; -1 when it is cut,
   broken, longer, or followed by something; -2 without memory. */
static int inflate_all(const unsigned char *bytes, size_t length,
                       unsigned char *out, size_t max)
{
  z_stream z;
  int code;

  memset(&z, 0, sizeof z);
  if (inflateInit(&z) != Z_OK)
    return -2;
  z.next_in = (Bytef *)(uintptr_t)bytes; /* zlib does not write there */
  z.avail_in = (uInt)length;
  z.next_out = out;
  z.avail_out = (uInt)max;
  code = inflate(&z, Z_FINISH);
  inflateEnd(&z);
  if (code == Z_MEM_ERROR)
    return -2;
  return code == Z_STREAM_END && z.avail_in == 0 ? (int)(max - z.avail_out)
                                                 : -1;
}

/* What each service adds after its privileges (AgoraIO/Tools): 'n' its name
   for a user, 's' another text, '-' 16 bits; NULL: not known. RTM2 (8) is of
   another shape; services are sorted by type, so it hides nothing of these. */
static const char *fields_of(uint16_t type)
{
  static const char *const fields[] = {
      /* clang-format off */
      NULL,
      "sn",  /* 1 RTC: channel, user */
      "n",   /* 2 RTM: user */
      "sn",  /* 3 streaming: channel, user */
      "",    /* 4 FPA */
      "n",   /* 5 chat: user */
      "sn",  /* 6 FCDN: channel, user */
      "sn-", /* 7 APaaS: room, user, role */
      /* clang-format on */
  };

  return type < sizeof fields / sizeof fields[0] ? fields[type] : NULL;
}

static void read_service(struct reader *r, struct ac_token_service *service)
{
  int count = take_u16(r);
  const char *fields;

  service->privilege_count = 0;
  service->has_user_id = 0;
  service->user_id[0] = '\0';
  for (int i = 0; i < count && !r->cut; i++) {
    uint16_t privilege = take_u16(r);
    uint32_t expire_s = take_u32(r);

    if (i == AC_TOKEN_MAX_PRIVILEGES) {
      r->cut = 1;
      return;
    }
    service->privileges[i].privilege = privilege;
    service->privileges[i].expire_s = expire_s;
    service->privilege_count = i + 1;
  }
  for (fields = fields_of(service->type); *fields && !r->cut; fields++) {
    struct reader text;

    if (*fields == '-') {
      take_u16(r);
      continue;
    }
    text = take_string(r);
    if (*fields != 'n')
      continue;
    if (text.left >= sizeof service->user_id ||
        (text.left && memchr(text.bytes, '\0', text.left))) {
      r->cut = 1; /* too long; or a NUL, and it would read as a shorter one */
      return;
    }
    memcpy(service->user_id, text.left ? (const void *)text.bytes : "",
           text.left);
    service->user_id[text.left] = '\0';
    service->has_user_id = 1;
  }
}

static ac_kind bad(struct ac_error *err, const char *why)
{
  return ac_error_set(err, AC_ERR_ARGUMENT, "not a 007 token: %s", why);
}

static ac_kind read_inflated(struct reader r, const char *certificate,
                             struct ac_token_info *out, struct ac_error *err)
{
  struct reader signature = take_string(&r);
  struct reader signed_part = r;
  struct reader app_id = take_string(&r);
  uint32_t expire_s;
  int services;

  out->issued_at_s = take_u32(&r);
  expire_s = take_u32(&r);
  out->expires_at_s = out->issued_at_s + expire_s;
  out->salt = take_u32(&r);
  services = take_u16(&r);
  if (r.cut || signature.left != DIGEST_BYTES ||
      app_id.left != AC_TOKEN_ID_LENGTH)
    return bad(err, "its parts are not there");
  memcpy(out->app_id, app_id.bytes, AC_TOKEN_ID_LENGTH);
  out->app_id[AC_TOKEN_ID_LENGTH] = '\0';
  if (!ac_token_is_id(out->app_id))
    return bad(err, "its app id is not 32 hex digits");

  for (int i = 0; i < services; i++) {
    struct ac_token_service *service = &out->services[i];
    uint16_t type = take_u16(&r);

    if (i == AC_TOKEN_MAX_SERVICES)
      return bad(err, "it names too many services");
    if (!r.cut && !fields_of(type)) {
      if (i == 0)
        return bad(err, "its first service is unknown");
      break; /* how long an unknown one is nobody can tell */
    }
    service->type = type;
    if (!r.cut)
      read_service(&r, service);
    if (r.cut)
      return bad(err, "a service is not there, or cannot be one");
    out->service_count = i + 1;
  }

  if (certificate) {
    unsigned char expected[DIGEST_BYTES];

    if (!sign(certificate, (uint32_t)out->issued_at_s, out->salt,
              signed_part.bytes, signed_part.left, expected) ||
        CRYPTO_memcmp(expected, signature.bytes, sizeof expected) != 0)
      return ac_error_set_code(err, AC_ERR_ARGUMENT, "signature",
                               "the token was not signed with this app "
                               "certificate");
    out->verified = 1;
  }
  return AC_OK;
}

ac_kind ac_token_read(const char *text, size_t length,
                      const char *app_certificate, struct ac_token_info *out,
                      struct ac_error *err)
{
  unsigned char deflated[AC_TOKEN_MAX_BYTES];
  unsigned char inflated[AC_TOKEN_MAX_INFLATED];
  struct reader r = {inflated, 0, 0};
  int got;

  memset(out, 0, sizeof *out);
  if (app_certificate && !ac_token_is_id(app_certificate))
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "app_certificate must be 32 hex digits");
  if (length > AC_TOKEN_MAX_BYTES)
    return bad(err, "it is too long");
  if (length < PREFIX_LENGTH || memcmp(text, "007", PREFIX_LENGTH) != 0)
    return bad(err, "it does not begin with 007");
  got = decode(text + PREFIX_LENGTH, length - PREFIX_LENGTH, deflated);
  if (got < 0)
    return bad(err, "it is not base64");
  got = inflate_all(deflated, (size_t)got, inflated, sizeof inflated);
  if (got == -2)
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for a token");
  if (got < 0)
    return bad(err, "its zlib stream is cut, broken or too large");
  r.left = (size_t)got;
  return read_inflated(r, app_certificate, out, err);
}
