/* Command line of idem-bench: one table of rows gives parsing, limits, defaults and --help.
 * It knows no scenario but by name and opens nothing.
 */
#ifndef IDEM_BENCH_OPTIONS_H
#define IDEM_BENCH_OPTIONS_H

#include <stdint.h>

struct options {
  const char *host;
  const char *unix_path; /* instead of host and port, or NULL */
  const char *scenario;
  const char *like;
  uint64_t port;
  uint64_t step; /* echo, --sizes: of the scenario, from 1 */
  uint64_t connections;
  uint64_t pipeline;
  uint64_t requests;   /* 0: run for `seconds_ms` instead */
  uint64_t seconds_ms; /* given as seconds, with decimals */
  uint64_t warmup_percent;
  uint64_t keys;
  uint64_t lease_ms;
  uint64_t ttl_ms;
  uint64_t body_bytes;
  uint64_t fingerprint_bytes; /* of each CLAIM; 0: none */
  uint64_t stall_ms;
  uint64_t server_pid;  /* 0: none given */
  uint64_t seed;        /* 0: pick one */
  uint64_t rate;        /* operations per second of an open loop; 0: closed loop */
  uint64_t lead_ms;     /* expire: from the start of the filling to the first deadline */
  uint64_t window_ms;   /* expire: from the first deadline to the last */
  uint64_t windows;     /* expire: how often */
  uint64_t generations; /* fill: generations of other sizes that end before */
  uint64_t expiring;    /* expire: keys that end in the window */
  uint64_t tls;
  uint64_t insecure; /* takes any certificate */
  const char *ca_file, *cert_file, *key_file;
  const char *histogram; /* file for the distribution of latencies, or NULL */
  uint64_t loaded;       /* a former run with this seed loaded the keys */
  uint64_t json;
  uint64_t csv;
  uint64_t sizes;
  uint64_t help;
};

/* Fills `options`; the strings are borrowed from argv. A wrong option is explained on stderr:
 * returns 0 or -1. */
int options_parse(struct options *options, int argc, char **argv);

/* --help, on stdout, without the list of scenarios. */
void options_print_help(void);

#endif
