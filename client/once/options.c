/* options.c - see options.h. */
#include "client/once/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "client/idem.h"
#include "client/once/output.h"
#include "client/once/say.h"
#include "client/userinfo.h"

#define DEFAULT_URL "redis://127.0.0.1:4336"
#define URL_VARIABLE "IDEM_SERVER_URL"
#define PASSWORD_FILE_VARIABLE "IDEM_PASSWORD_FILE"
#define DEFAULT_WAIT_MS 60000
/* 68 years, the longest that libidem takes. Of what is shorter the server says whether it does. */
#define DURATION_MAX_MS (INT64_C(1000) * INT32_MAX)
/* A TTL is checked when the outcome is stored, which is too late to refuse it: no server takes a
 * longer one than this. */
#define TTL_MAX_MS (31 * INT64_C(86400000))
/* 2024: tokens begin there, and unix seconds taken for milliseconds lie long before it. */
#define BORN_MIN_UNIX_MS INT64_C(1704067200000)
#define TOKEN_END (INT64_C(1) << 53)

static const char USAGE[] =
    "usage: idem-once [--server URL] --key K [--lease 30s] [--wait 1m] [--ttl 1d] [option ...]\n"
    "                 [--] command [argument ...]\n"
    "Runs the command unless it has run under this key before; then it repeats its output and\n"
    "exit status. While it runs elsewhere, waits.\n"
    "\n"
    "  --server URL     idem://[user:password@]host[:port], idems://... (TLS), unix:///path,\n"
    "                   redis://..., rediss://...; of a cluster redis://a:7000,b:7000\n"
    "                   [$IDEM_SERVER_URL, else " DEFAULT_URL
    "]\n"
    "  --password-file FILE\n"
    "                   its first line is the password; only its user may be able to read it\n"
    "                   [$IDEM_PASSWORD_FILE]\n"
    "  --ca-file FILE, --ca-dir DIR\n"
    "                   TLS: the authorities to trust [$IDEM_CA_FILE, $IDEM_CA_DIR, the system's]\n"
    "  --cert-file FILE, --key-file FILE\n"
    "                   TLS: own certificate and its key [$IDEM_CERT_FILE, $IDEM_KEY_FILE]\n"
    "  --server-name NAME\n"
    "                   TLS: what the server's certificate has to bear [the host of the URL]\n"
    "  --insecure-any-certificate\n"
    "                   TLS: take any server for the right one\n"
    "  --key K          names the work: the same K on all machines\n"
    "  --lease TIME     a machine that is silent for this long is given up [the server's, 60s]\n"
    "  --wait TIME      how long to wait while it runs elsewhere; 0 does not wait [1m]\n"
    "  --ttl TIME       how long the outcome is kept, at most 31d [the server's, 24h]\n"
    "  --born MS        when the request was born, unix ms: the same for each of its tries. What "
    "the\n"
    "                   server may have forgotten since is not run (exit 80)\n"
    "  --hold           when it may have been done in part (the machine died, a signal ended it), "
    "it\n"
    "                   is not run again (exit 79)\n"
    "  --takeover TOKEN run it after that: you have found out that it may run. The message of "
    "exit\n"
    "                   79 has the token\n"
    "  --check-command  refuse (exit 65) when the key was used for another command line\n"
    "  --retry-failed   a status other than 0 is shared with callers that wait, but not kept: the\n"
    "                   next caller runs the command, which may have been done in part\n"
    "  --failed-did-nothing\n"
    "                   the same, and such a status says that nothing was done\n"
    "  --kill-on-loss   stop the command when another machine may have taken over\n"
    "  --fail-open      run unprotected when the server cannot be reached, or has no room\n"
    "  --foreground     the command may use the terminal, even when started in the background\n"
    "  -v, --verbose    say on stderr what is done\n"
    "  -h, --help       -V, --version\n"
    "TIME is a number and one of ms, s, m, h, d; or 0.\n"
    "Exit status: the command's own, or 64 usage, 65 another command, 74 output not written,\n"
    "75 busy or unavailable, 76 not a record of idem-once, 78 refused, 79 unknown, 80 may be\n"
    "forgotten, 126, 127 not started. See idem-once(1).\n";

static _Noreturn void refuse_usage(const char *what, const char *value) {
  say(NULL, "%s%s%s", what, value != NULL ? ": " : "", value != NULL ? value : "");
  fputs("Try: idem-once --help\n", stderr);
  exit(EX_USAGE);
}

/* ---- the server ---- */

/* "redis://user:password@host": where the parts begin. Without user and password host is user. */
struct url_parts {
  const char *user, *password, *host;
};

static struct url_parts url_split(const char *url) {
  const char *scheme = strstr(url, "://");
  const char *user = scheme != NULL ? scheme + strlen("://") : url;
  const char *at = userinfo_end(user, userinfo_is_local(url));
  struct url_parts parts = {.user = user, .password = NULL, .host = user};
  if (at == NULL) return parts;
  const char *colon = memchr(user, ':', (size_t)(at - user));
  parts.password = colon != NULL ? colon + 1 : NULL;
  parts.host = at + 1;
  return parts;
}

static size_t escape(char *out, size_t size, const char *password) {
  size_t len = 0;
  for (const char *at = password; *at != '\0' && len + 4 < size; at++, len += 3) {
    snprintf(out + len, 4, "%%%02X", (unsigned char)*at);
  }
  return len;
}

static void url_set(char url[OPTIONS_URL_BYTES], const char *given, const char *password) {
  char escaped[3 * OPTIONS_PASSWORD_BYTES + 1] = "";
  struct url_parts parts = url_split(given);
  int len;
  if (password == NULL) {
    len = snprintf(url, OPTIONS_URL_BYTES, "%s", given);
  } else if (parts.password != NULL) {
    refuse_usage("a password in the server's URL and a password file", NULL);
  } else {
    int user_len = parts.host > parts.user ? (int)(parts.host - 1 - parts.user) : 0;
    escape(escaped, sizeof escaped, password);
    len = snprintf(url, OPTIONS_URL_BYTES, "%.*s%.*s:%s@%s", (int)(parts.user - given), given,
                   user_len, parts.user, escaped, parts.host);
  }
  if (len >= OPTIONS_URL_BYTES) refuse_usage("the server's URL is too long", NULL);
}

void options_hide_password(void) {
  char shown[OPTIONS_URL_BYTES];
  const char *url = getenv(URL_VARIABLE);
  if (url == NULL) return;
  struct url_parts parts = url_split(url);
  if (parts.host == parts.user) return;
  /* A user without a password makes sense with a password file. */
  int user_len = parts.password != NULL ? (int)(parts.password - 1 - parts.user) : 0;
  int len = snprintf(shown, sizeof shown, "%.*s%.*s%s%s", (int)(parts.user - url), url, user_len,
                     parts.user, user_len > 0 ? "@" : "", parts.host);
  if (len >= (int)sizeof shown || setenv(URL_VARIABLE, shown, 1) != 0) unsetenv(URL_VARIABLE);
}

/* ---- the password ---- */

/* The mode is asked of the opened file, not of the path: what was checked is what is read. */
static int open_private(const char *path) {
  struct stat file;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0 || fstat(fd, &file) != 0) refuse_usage("cannot open the password file", path);
  if ((file.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    refuse_usage("others can read or write the password file (chmod 600)", path);
  }
  if (file.st_uid != geteuid() && file.st_uid != 0) {
    refuse_usage("the password file belongs to another user", path);
  }
  return fd;
}

/* The first line. */
static void read_password(const char *path, char password[OPTIONS_PASSWORD_BYTES]) {
  size_t len = 0;
  ssize_t got = 1;
  int fd = open_private(path);
  while (got > 0 && len < OPTIONS_PASSWORD_BYTES && memchr(password, '\n', len) == NULL) {
    got = read(fd, password + len, OPTIONS_PASSWORD_BYTES - len);
    if (got < 0 && errno == EINTR)
      got = 1;
    else if (got > 0)
      len += (size_t)got;
  }
  close(fd);
  if (got < 0) refuse_usage("cannot read the password file", path);
  char *end = memchr(password, '\n', len);
  if (end == NULL && len == OPTIONS_PASSWORD_BYTES)
    refuse_usage("a password that is too long", path);
  if (end == NULL) end = password + len;
  if (end > password && end[-1] == '\r') end--;
  *end = '\0';
  if (strlen(password) != (size_t)(end - password)) refuse_usage("a NUL in the password", path);
  if (*password == '\0') refuse_usage("no password in the first line", path);
}

static const char *variable_or(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value != NULL && *value != '\0' ? value : otherwise;
}

static bool is_encrypted(const char *url) {
  static const char *const schemes[] = {"idems://", "rediss://"};
  for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
    if (strncasecmp(url, schemes[i], strlen(schemes[i])) == 0) return true;
  }
  return false;
}

/* What the command line does not say the environment may, for a server with TLS. To say it for one
 * without would be taken for protection that there is not. */
static void find_tls(struct options *options) {
  const struct {
    const char **value, *name;
  } all[] = {
      {&options->ca_file, "IDEM_CA_FILE"},         {&options->ca_dir, "IDEM_CA_DIR"},
      {&options->cert_file, "IDEM_CERT_FILE"},     {&options->key_file, "IDEM_KEY_FILE"},
      {&options->server_name, "IDEM_SERVER_NAME"},
  };
  bool encrypted = is_encrypted(options->url), given = options->insecure_any_certificate != 0;
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    given = given || *all[i].value != NULL;
    if (encrypted && *all[i].value == NULL) *all[i].value = variable_or(all[i].name, NULL);
  }
  if (given && !encrypted)
    refuse_usage("an option of TLS, and a server without TLS (write idems:// or rediss://)", NULL);
}

/* A file that is named in the environment is for URLs without a password. */
static void find_server(struct options *options, const char *url, const char *password_file) {
  char password[OPTIONS_PASSWORD_BYTES];
  if (url == NULL) url = variable_or(URL_VARIABLE, DEFAULT_URL);
  if (password_file == NULL && url_split(url).password == NULL) {
    password_file = variable_or(PASSWORD_FILE_VARIABLE, NULL);
  }
  if (password_file != NULL) read_password(password_file, password);
  url_set(options->url, url, password_file != NULL ? password : NULL);
}

/* ---- the command line ---- */

/* A number without a unit is refused: the server would take it for milliseconds, sleep(1) for
 * seconds. */
static int64_t duration_ms(const char *text) {
  static const struct {
    const char *name;
    int64_t ms;
  } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
  char *unit;
  errno = 0;
  long long number = strtoll(text, &unit, 10);
  if (text[0] < '0' || text[0] > '9' || errno != 0) refuse_usage("not a duration", text);
  if (number == 0 && *unit == '\0') return 0;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
    if (strcmp(unit, units[i].name) != 0) continue;
    if (number > DURATION_MAX_MS / units[i].ms) refuse_usage("too long", text);
    return number * units[i].ms;
  }
  refuse_usage("not a duration (30s, 5m, 1d)", text);
}

static int64_t whole_number(const char *what, const char *text, int64_t min, int64_t end) {
  char *rest;
  errno = 0;
  long long number = strtoll(text, &rest, 10);
  if (text[0] < '0' || text[0] > '9' || *rest != '\0' || errno != 0 || number < min ||
      number >= end) {
    refuse_usage(what, text);
  }
  return number;
}

/* The output is all that was asked for: it is a failure when it cannot be written. */
static _Noreturn void print_and_leave(const char *text) {
  int error = output_put(STDOUT_FILENO, text, strlen(text));
  if (error != 0) say(NULL, "standard output: %s", strerror(-error));
  exit(error != 0 ? EX_IOERR : 0);
}

static _Noreturn void print_version(void) {
  char line[64];
  snprintf(line, sizeof line, "idem-once %s\n", idem_version());
  print_and_leave(line);
}

enum {
  OPTION_SERVER = 256,
  OPTION_PASSWORD,
  OPTION_KEY,
  OPTION_LEASE,
  OPTION_WAIT,
  OPTION_TTL,
  OPTION_BORN,
  OPTION_TAKEOVER,
  OPTION_CA_FILE,
  OPTION_CA_DIR,
  OPTION_CERT_FILE,
  OPTION_KEY_FILE,
  OPTION_SERVER_NAME
};

struct given {
  const char *url, *password_file;
};

static void options_take(struct options *options, int option, struct given *given) {
  switch (option) {
    case 0: break; /* a flag */
    case OPTION_SERVER: given->url = optarg; break;
    case OPTION_PASSWORD: given->password_file = optarg; break;
    case OPTION_KEY: options->key = optarg; break;
    case OPTION_LEASE:
      options->lease_ms = duration_ms(optarg);
      if (options->lease_ms == 0) refuse_usage("a lease of 0", NULL);
      break;
    case OPTION_WAIT:
      options->wait_ms = duration_ms(optarg);
      if (options->wait_ms == 0) options->wait_ms = IDEM_NO_WAIT;
      break;
    case OPTION_TTL:
      options->ttl_ms = duration_ms(optarg);
      if (options->ttl_ms == 0) refuse_usage("a ttl of 0", NULL);
      if (options->ttl_ms > TTL_MAX_MS) refuse_usage("a ttl over 31d", optarg);
      break;
    case OPTION_BORN:
      options->born_unix_ms = whole_number("not unix milliseconds since 2024 (date +%s%3N)", optarg,
                                           BORN_MIN_UNIX_MS, INT64_MAX);
      break;
    case OPTION_TAKEOVER:
      options->takeover = (uint64_t)whole_number("not a token", optarg, 1, TOKEN_END);
      break;
    case OPTION_CA_FILE: options->ca_file = optarg; break;
    case OPTION_CA_DIR: options->ca_dir = optarg; break;
    case OPTION_CERT_FILE: options->cert_file = optarg; break;
    case OPTION_KEY_FILE: options->key_file = optarg; break;
    case OPTION_SERVER_NAME: options->server_name = optarg; break;
    case 'v': options->verbose = 1; break;
    case 'h': print_and_leave(USAGE);
    case 'V': print_version();
    default: fputs("Try: idem-once --help\n", stderr); exit(EX_USAGE);
  }
}

void options_parse(struct options *options, int argc, char **argv) {
  struct given given = {NULL, NULL};
  *options = (struct options){.wait_ms = DEFAULT_WAIT_MS};
  const struct option known[] = {
      {"server", required_argument, NULL, OPTION_SERVER},
      {"password-file", required_argument, NULL, OPTION_PASSWORD},
      {"ca-file", required_argument, NULL, OPTION_CA_FILE},
      {"ca-dir", required_argument, NULL, OPTION_CA_DIR},
      {"cert-file", required_argument, NULL, OPTION_CERT_FILE},
      {"key-file", required_argument, NULL, OPTION_KEY_FILE},
      {"server-name", required_argument, NULL, OPTION_SERVER_NAME},
      {"insecure-any-certificate", no_argument, &options->insecure_any_certificate, 1},
      {"key", required_argument, NULL, OPTION_KEY},
      {"lease", required_argument, NULL, OPTION_LEASE},
      {"wait", required_argument, NULL, OPTION_WAIT},
      {"ttl", required_argument, NULL, OPTION_TTL},
      {"born", required_argument, NULL, OPTION_BORN},
      {"takeover", required_argument, NULL, OPTION_TAKEOVER},
      {"hold", no_argument, &options->hold, 1},
      {"check-command", no_argument, &options->check_command, 1},
      {"retry-failed", no_argument, &options->retry_failed, 1},
      {"failed-did-nothing", no_argument, &options->failed_did_nothing, 1},
      {"kill-on-loss", no_argument, &options->kill_on_loss, 1},
      {"fail-open", no_argument, &options->fail_open, 1},
      {"foreground", no_argument, &options->foreground, 1},
      {"verbose", no_argument, NULL, 'v'},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {NULL, 0, NULL, 0},
  };
  int option;
  /* '+': the options end where the command begins. */
  while ((option = getopt_long(argc, argv, "+vhV", known, NULL)) != -1) {
    options_take(options, option, &given);
  }
  if (options->key == NULL || *options->key == '\0') refuse_usage("--key is missing", NULL);
  if (optind == argc) refuse_usage("there is no command", NULL);
  options->command = argv + optind;
  find_server(options, given.url, given.password_file);
  find_tls(options);
}
