/*
 * userinfo.h - where "user:password@" ends in the URL of a server: one rule for libidem, which
 * reads it, and for idem-once, which hides it and puts it in. Knows nothing else of URLs.
 */
#ifndef IDEM_CLIENT_USERINFO_H
#define IDEM_CLIENT_USERINFO_H

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define USERINFO_LOCAL_SCHEME "unix://"

/* Whether the URL names a path, not a host. */
static inline bool userinfo_is_local(const char *url) {
  return strncasecmp(url, USERINFO_LOCAL_SCHEME, sizeof USERINFO_LOCAL_SCHEME - 1) == 0;
}

/* rest: what stands after "://". Returns the '@' after user and password, or NULL. They may have
 * any byte but NUL, '?' and '#' in them, a '/' or '@' too, so it is the last one of a host's URL:
 * no '@' can follow. A path may have one; before it the first "@/" is meant. */
static inline const char *userinfo_end(const char *rest, bool local) {
  if (!local) return strrchr(rest, '@');
  return *rest != '/' ? strstr(rest, "@/") : NULL;
}

#endif
