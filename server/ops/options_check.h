/*
 * options_check.h - what settings have to be together. Knows no OpenSSL: whether its files can be
 * used is found when they are read (net/tls_context.h).
 */
#ifndef IDEM_SERVER_OPS_OPTIONS_CHECK_H
#define IDEM_SERVER_OPS_OPTIONS_CHECK_H

#include "server/ops/options.h"

/* Whether the settings make sense together: defaults within their maxima, something to listen on, a
 * password and TLS for an address that other machines reach. False with the reason. */
bool options_check(const struct options *options, char error[REFUSAL_BYTES]);

struct options_tls_versions {
  bool v1_2, v1_3;
};
/* Reads tls-protocols. False with the reason. */
bool options_check_tls_versions(const struct options *options,
                                struct options_tls_versions *versions, char error[REFUSAL_BYTES]);

#endif
