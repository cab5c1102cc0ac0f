/* http_date.h - dates as HTTP headers have them. */
#ifndef AC_HTTP_DATE_H
#define AC_HTTP_DATE_H

#include <stdint.h>

/* HTTP date (RFC 9110, the three forms) -> Unix seconds; 1 when understood.
   Independent of the locale. */
int ac_http_date_s(const char *text, int64_t *out_s);

#endif
