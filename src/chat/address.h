/* address.h - where the service is: the base URL and the app's path, checked
 * once and taken apart.
 *
 * The service gives each project its own host, and has two path forms:
 * /app-id/{app_id} and /{org_name}/{app_name}. */
#ifndef AC_ADDRESS_H
#define AC_ADDRESS_H

#include "../base/error.h"

enum { AC_MAX_URL_BYTES = 2048 };

struct ac_address {
  char *origin; /* "https://host[:port]" */
  char *prefix; /* "[/prefix]/app-id/{app_id}" or "[/prefix]/{org}/{app}" */
};

/* AC_ERR_ARGUMENT names the option and what is wrong with it. http is for
   loopback (localhost, 127.0.0.0/8, [::1]) unless allow_http. With org_name
   and app_name that form is used, app_id or not. */
ac_kind ac_address_init(struct ac_address *a, const char *base_url,
                        int allow_http, const char *app_id,
                        const char *org_name, const char *app_name,
                        struct ac_error *err);
void ac_address_free(struct ac_address *a);

#endif
