#include "address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME_BYTES = 64 };

static int is_alnum(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9');
}

/* Only what RFC 3986 calls unreserved: nothing that would need encoding. */
static int is_plain(const char *text, size_t length)
{
  for (size_t i = 0; i < length; i++)
    if (!is_alnum(text[i]) && !strchr("-._~", text[i]))
      return 0;
  return length > 0;
}

static int is_dots(const char *text, size_t length)
{
  return (length == 1 && text[0] == '.') ||
         (length == 2 && text[0] == '.' && text[1] == '.');
}

static ac_kind check_name(const char *text, const char *option,
                          struct ac_error *err)
{
  size_t length = strlen(text);

  if (length == 0)
    return ac_error_set(err, AC_ERR_ARGUMENT, "%s must not be empty", option);
  if (length > MAX_NAME_BYTES || !is_plain(text, length) ||
      is_dots(text, length))
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "%s must be 1 to %d letters, digits, '-', '_', '.' "
                        "or '~'",
                        option, MAX_NAME_BYTES);
  return AC_OK;
}

/* "[" hex digits, colons and dots "]": libcurl judges the rest. */
static size_t ipv6_length(const char *p)
{
  size_t length = 1 + strspn(p + 1, "0123456789abcdefABCDEF:.");

  return length > 2 && p[length] == ']' ? length + 1 : 0;
}

/* 127.0.0.0/8 in the usual form, or the names of loopback. */
static int is_loopback(const char *host, size_t length)
{
  int parts[4];
  int end = 0;
  char text[16];

  if ((length == 9 && strncmp(host, "localhost", 9) == 0) ||
      (length == 5 && strncmp(host, "[::1]", 5) == 0))
    return 1;
  if (length >= sizeof text || strspn(host, "0123456789.") < length)
    return 0;
  memcpy(text, host, length);
  text[length] = '\0';
  return sscanf(text, "%3d.%3d.%3d.%3d%n", &parts[0], &parts[1], &parts[2],
                &parts[3], &end) == 4 &&
         end == (int)length && parts[0] == 127 && parts[1] <= 255 &&
         parts[2] <= 255 && parts[3] <= 255;
}

static ac_kind wrong(struct ac_error *err, const char *why)
{
  return ac_error_set(err, AC_ERR_ARGUMENT,
                      "base_url %s; it must be https://host[:port][/prefix]",
                      why);
}

/* Says where host and prefix are in a good base URL. */
static ac_kind split(const char *url, int allow_http,
                     size_t *out_origin_length, struct ac_error *err)
{
  const char *host, *p;
  size_t host_length;
  int plain_http;

  if (strlen(url) > AC_MAX_URL_BYTES)
    return wrong(err, "is too long");
  if (strncmp(url, "https://", 8) == 0)
    host = url + 8, plain_http = 0;
  else if (strncmp(url, "http://", 7) == 0)
    host = url + 7, plain_http = 1;
  else
    return wrong(err, "has another scheme than https");

  if (strchr(host, '@'))
    return wrong(err, "must not hold a user name or password");
  if (host[0] == '[') {
    host_length = ipv6_length(host);
  } else {
    host_length = 0;
    while (is_alnum(host[host_length]) ||
           (host[host_length] && strchr("-._", host[host_length])))
      host_length++;
    if (host[0] == '.' || host[0] == '-')
      host_length = 0;
  }
  p = host + host_length;
  if (host_length == 0 || (*p && *p != ':' && *p != '/'))
    return wrong(err, "has no plain host name (an international name goes in "
                      "its xn-- form)");
  if (*p == ':') {
    long port = 0;
    size_t digits = strspn(++p, "0123456789");

    if (digits >= 1 && digits <= 5)
      port = strtol(p, NULL, 10);
    p += digits;
    if (port < 1 || port > 65535 || (*p && *p != '/'))
      return wrong(err, "has a port that is not 1 to 65535");
  }
  *out_origin_length = (size_t)(p - url);
  while (*p == '/' && p[1]) {
    size_t length = strcspn(++p, "/");

    if (!is_plain(p, length) || is_dots(p, length))
      return wrong(err, "has a prefix that is not plain path segments");
    p += length;
  }
  if (plain_http && !allow_http && !is_loopback(host, host_length))
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "base_url is plain http to a host that is not "
                        "loopback: the token would travel in clear; use https "
                        "or set allow_http = true");
  return AC_OK;
}

ac_kind ac_address_init(struct ac_address *a, const char *base_url,
                        int allow_http, const char *app_id,
                        const char *org_name, const char *app_name,
                        struct ac_error *err)
{
  int by_org = org_name || app_name;
  size_t origin_length = 0, prefix_length, size;
  ac_kind kind = AC_OK;

  a->origin = a->prefix = NULL;
  if (!base_url)
    return ac_error_set(err, AC_ERR_ARGUMENT, "base_url is missing");
  kind = split(base_url, allow_http, &origin_length, err);
  if (kind != AC_OK)
    return kind;
  if (by_org && (!org_name || !app_name))
    return ac_error_set(err, AC_ERR_ARGUMENT, "%s is missing beside %s",
                        org_name ? "app_name" : "org_name",
                        org_name ? "org_name" : "app_name");
  if (!by_org && !app_id)
    return ac_error_set(err, AC_ERR_ARGUMENT,
                        "app_id is missing (or org_name and app_name)");
  if (app_id)
    kind = check_name(app_id, "app_id", err);
  if (kind == AC_OK && by_org)
    kind = check_name(org_name, "org_name", err);
  if (kind == AC_OK && by_org)
    kind = check_name(app_name, "app_name", err);
  if (kind != AC_OK)
    return kind;

  prefix_length = strlen(base_url + origin_length);
  if (prefix_length > 0 && base_url[origin_length + prefix_length - 1] == '/')
    prefix_length--;
  size = prefix_length + 2 * MAX_NAME_BYTES + sizeof "/app-id/";
  a->origin = malloc(origin_length + 1);
  a->prefix = malloc(size);
  if (!a->origin || !a->prefix) {
    ac_address_free(a);
    return ac_error_set(err, AC_ERR_MEMORY, "no memory for the address");
  }
  memcpy(a->origin, base_url, origin_length);
  a->origin[origin_length] = '\0';
  snprintf(a->prefix, size, "%.*s/%s/%s", (int)prefix_length,
           base_url + origin_length, by_org ? org_name : "app-id",
           by_org ? app_name : app_id);
  return AC_OK;
}

void ac_address_free(struct ac_address *a)
{
  free(a->origin);
  free(a->prefix);
  a->origin = a->prefix = NULL;
}
