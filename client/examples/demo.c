/* demo.c - see demo.h. */
#include "client/examples/demo.h"

#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 512

static int whole_number(const char *text, const char *option) {
  char *end;
  long number = strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || number < 0 || number > 3600000) {
    fprintf(stderr, "%s: not a number from 0 to 3600000: %s\n", option, text);
    exit(64);
  }
  return (int)number;
}

int demo_options(struct demo *demo, int argc, char **argv) {
  static const struct option options[] = {
      {"server", required_argument, NULL, 's'},
      {"ledger", required_argument, NULL, 'l'},
      {"port", required_argument, NULL, 'p'},
      {"work-ms", required_argument, NULL, 'w'},
      {"lease-ms", required_argument, NULL, 'e'},
      {"wait-ms", required_argument, NULL, 'a'},
      {"hold", required_argument, NULL, 'o'},
      {"fail", required_argument, NULL, 'f'},
      {"status", required_argument, NULL, 'c'},
      {"header", required_argument, NULL, 'h'},
      {NULL, 0, NULL, 0},
  };
  if (demo->server == NULL) demo->server = getenv("IDEM_SERVER_URL");
  if (demo->server == NULL) demo->server = "redis://127.0.0.1:4336";
  int option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
    switch (option) {
      case 's': demo->server = optarg; break;
      case 'l': demo->ledger = optarg; break;
      case 'p': demo->port = whole_number(optarg, "--port"); break;
      case 'w': demo->work_ms = whole_number(optarg, "--work-ms"); break;
      case 'e': demo->lease_ms = whole_number(optarg, "--lease-ms"); break;
      case 'a': demo->wait_ms = whole_number(optarg, "--wait-ms"); break;
      case 'o': demo->hold = whole_number(optarg, "--hold"); break;
      case 'f': demo->fail = whole_number(optarg, "--fail"); break;
      case 'c': demo->status = whole_number(optarg, "--status"); break;
      case 'h': demo->header = optarg; break;
      default:
        fprintf(stderr,
                "URL: idem://[user:password@]host[:port], idems://... (TLS; the authorities are"
                " those of the system, or of $SSL_CERT_FILE), unix:///path\n"
                "usage: %s [--server URL] [--port N] [--ledger FILE] [--work-ms N]"
                " [--lease-ms N] [--wait-ms N] [--hold 0|1] [--fail 0|1] [--status N]"
                " [--header LINE]\n",
                argv[0]);
        exit(64);
    }
  }
  return optind;
}

/* One write to O_APPEND: lines of several processes never mix. */
static int ledger_append(const char *path, const char *event, const char *what, uint64_t token,
                         int64_t attempt) {
  char line[LINE_BYTES];
  if (path == NULL) return 0;
  int len = snprintf(line, sizeof line, "%s %s token=%" PRIu64 " attempt=%" PRId64 "\n", event,
                     what, token, attempt);
  if (len < 0 || (size_t)len >= sizeof line) return -1;
  int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file < 0) return -1;
  ssize_t put = write(file, line, (size_t)len);
  close(file);
  return put == len ? 0 : -1;
}

enum demo_outcome demo_work(const struct demo *demo, const char *what, uint64_t token,
                            int64_t attempt) {
  struct timespec time = {demo->work_ms / 1000, demo->work_ms % 1000 * 1000000L};
  if (ledger_append(demo->ledger, "begin", what, token, attempt) != 0) {
    return DEMO_DID_NOTHING;
  }
  nanosleep(&time, NULL);
  int noted = ledger_append(demo->ledger, "end", what, token, attempt);
  return noted == 0 && !demo->fail ? DEMO_DONE : DEMO_UNSURE;
}

void demo_id(char id[DEMO_ID_BYTES]) {
  unsigned char bytes[(DEMO_ID_BYTES - 1) / 2];
  if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) abort();
  for (size_t i = 0; i < sizeof bytes; i++) snprintf(id + 2 * i, 3, "%02x", bytes[i]);
}

int demo_amount(const char *body, size_t body_len, long *amount) {
  int end = -1;
  if (sscanf(body, " { \"amount\" : %9ld } %n", amount, &end) != 1) return -1;
  return end >= 0 && (size_t)end == body_len ? 0 : -1;
}
