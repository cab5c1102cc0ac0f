#include "utf8.h"

size_t ac_utf8_character(const char *bytes, size_t length)
{
  const unsigned char *p = (const unsigned char *)bytes;
  unsigned char low = 0x80, high = 0xbf; /* range of the second byte */
  size_t want;

  if (length == 0)
    return 0;
  if (p[0] < 0x80)
    return 1;
  if (p[0] < 0xc2 || p[0] > 0xf4) /* c0, c1: overlong; f5 on: too large */
    return 0;
  want = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
  if (length < want)
    return 0;
  if (p[0] == 0xe0)
    low = 0xa0;
  else if (p[0] == 0xed)
    high = 0x9f; /* surrogates */
  else if (p[0] == 0xf0)
    low = 0x90;
  else if (p[0] == 0xf4)
    high = 0x8f;
  if (p[1] < low || p[1] > high)
    return 0;
  for (size_t i = 2; i < want; i++)
    if (p[i] < 0x80 || p[i] > 0xbf)
      return 0;
  return want;
}

int ac_utf8_valid(const char *bytes, size_t length)
{
  while (length > 0) {
    size_t step = ac_utf8_character(bytes, length);

    if (step == 0)
      return 0;
    bytes += step;
    length -= step;
  }
  return 1;
}
