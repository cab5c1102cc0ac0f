#include "http_date.h"

#include <string.h>

#include "foreign.h"

struct date {
  const char *at;
  int ok;
  int year, month, day, hour, minute, second; /* month 1 .. 12 */
};

static void expect(struct date *d, const char *text)
{
  for (; *text; text++, d->at++)
    if (!d->ok || *d->at != *text) {
      d->ok = 0;
      return;
    }
}

/* One of the names, by its first three letters or (length 0) as a whole. */
static int name_of(struct date *d, const char *const *names, int count,
                   size_t length)
{
  for (int i = 0; d->ok && i < count; i++) {
    size_t bytes = length ? length : strlen(names[i]);

    if (strncmp(d->at, names[i], bytes) == 0) {
      d->at += bytes;
      return i + 1;
    }
  }
  d->ok = 0;
  return 0;
}

static int number_of(struct date *d, int digits)
{
  int value = 0;

  for (; d->ok && digits > 0; digits--, d->at++) {
    if (!ac_is_digit(*d->at))
      d->ok = 0;
    else
      value = value * 10 + (*d->at - '0');
    if (!d->ok)
      break;
  }
  return value;
}

static void clock_of(struct date *d)
{
  d->hour = number_of(d, 2);
  expect(d, ":");
  d->minute = number_of(d, 2);
  expect(d, ":");
  d->second = number_of(d, 2);
}

/* Days since 1970-01-01 in the Gregorian calendar; years begin in March here,
   so that the leap day is their last. */
static int64_t days_of(int year, int month, int day)
{
  int64_t y = year - (month <= 2);
  int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day;

  return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719469;
}

int ac_http_date_s(const char *text, int64_t *out_s)
{
  static const char *const weekdays[] = {"Monday",   "Tuesday", "Wednesday",
                                         "Thursday", "Friday",  "Saturday",
                                         "Sunday"};
  static const char *const months[] = {"Jan", "Feb", "Mar", "Apr",
                                       "May", "Jun", "Jul", "Aug",
                                       "Sep", "Oct", "Nov", "Dec"};
  static const int lengths[] = {31, 29, 31, 30, 31, 30,
                                31, 31, 30, 31, 30, 31};
  struct date d = {text, 1, 0, 0, 0, 0, 0, 0};
  int leap;

  while (ac_is_blank(*d.at))
    d.at++;
  name_of(&d, weekdays, 7, strcspn(d.at, ", ") > 3 ? 0 : 3);
  if (*d.at == ' ') { /* asctime: Sun Nov  6 08:49:37 1994 */
    expect(&d, " ");
    d.month = name_of(&d, months, 12, 3);
    expect(&d, " ");
    if (*d.at == ' ')
      d.at++, d.day = number_of(&d, 1);
    else
      d.day = number_of(&d, 2);
    expect(&d, " ");
    clock_of(&d);
    expect(&d, " ");
    d.year = number_of(&d, 4);
  } else {
    expect(&d, ", ");
    d.day = number_of(&d, 2);
    if (*d.at == '-') { /* RFC 850: Sunday, 06-Nov-94 08:49:37 GMT */
      expect(&d, "-");
      d.month = name_of(&d, months, 12, 3);
      expect(&d, "-");
      d.year = number_of(&d, 2);
      d.year += d.year < 70 ? 2000 : 1900;
    } else { /* Sun, 06 Nov 1994 08:49:37 GMT */
      expect(&d, " ");
      d.month = name_of(&d, months, 12, 3);
      expect(&d, " ");
      d.year = number_of(&d, 4);
    }
    expect(&d, " ");
    clock_of(&d);
    expect(&d, " GMT");
  }
  while (d.ok && ac_is_blank(*d.at))
    d.at++;
  if (!d.ok || *d.at != '\0' || d.year < 1900)
    return 0;
  leap = (d.year % 4 == 0 && d.year % 100 != 0) || d.year % 400 == 0;
  if (d.day < 1 || d.day > lengths[d.month - 1] ||
      (d.month == 2 && d.day == 29 && !leap) || d.hour > 23 || d.minute > 59 ||
      d.second > 60) /* 60: a leap second */
    return 0;
  *out_s = days_of(d.year, d.month, d.day) * 86400 + d.hour * 3600 +
           d.minute * 60 + d.second;
  return 1;
}
