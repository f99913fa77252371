/* certificates.c - see certificates.h. */
#include "tests/client/certificates.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/client/harness.h"

#define DAY_S 86400

/* Who signs: an authority, its key. */
struct signer {
  X509 *certificate;
  EVP_PKEY *key;
};

struct order {
  const char *name, *alternatives; /* alternatives NULL: an authority */
  long valid_s;                    /* from now on; negative: until then, and it began before */
};

static X509 *sign(const struct order *order, EVP_PKEY *key, const struct signer *by) {
  static long serial;
  X509 *made = X509_new();
  X509_NAME *name = X509_get_subject_name(made);
  X509_set_version(made, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made), 1000 + ++serial);
  X509_gmtime_adj(X509_getm_notBefore(made), -2 * DAY_S);
  X509_gmtime_adj(X509_getm_notAfter(made), order->valid_s);
  X509_set_pubkey(made, key);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)order->name, -1, -1,
                             0);
  X509_set_issuer_name(made, by != NULL ? X509_get_subject_name(by->certificate) : name);
  bool authority = order->alternatives == NULL;
  X509_EXTENSION *extension =
      authority ? X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE")
                : X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, order->alternatives);
  CHECK(extension != NULL && X509_add_ext(made, extension, -1) == 1, "%s", order->name);
  X509_EXTENSION_free(extension);
  CHECK(X509_sign(made, by != NULL ? by->key : key, EVP_sha256()) > 0, "%s", order->name);
  return made;
}

static struct signer make(const struct order *order, const struct signer *by, const char *dir,
                          char path[CERTIFICATES_PATH]) {
  struct signer made = {.key = EVP_EC_gen("P-256")};
  CHECK(made.key != NULL, "no key");
  made.certificate = sign(order, made.key, by);
  snprintf(path, CERTIFICATES_PATH, "%.100s/%s.pem", dir, order->name);
  FILE *file = fopen(path, "w");
  CHECK(file != NULL, "%s: %s", path, strerror(errno));
  PEM_write_X509(file, made.certificate);
  if (order->alternatives != NULL) PEM_write_PrivateKey(file, made.key, NULL, NULL, 0, NULL, NULL);
  fclose(file);
  return made;
}

static void drop(struct signer made) {
  X509_free(made.certificate);
  EVP_PKEY_free(made.key);
}

void certificates_make(struct certificates *all) {
  const char *temporary = getenv("TMPDIR");
  snprintf(all->dir, sizeof all->dir, "%.80s/idem-certificates-XXXXXX",
           temporary != NULL ? temporary : "/tmp");
  CHECK(mkdtemp(all->dir) != NULL, "%s: %s", all->dir, strerror(errno));
  const char *here = "DNS:localhost,IP:127.0.0.1";
  struct signer ca = make(&(struct order){"ca", NULL, DAY_S}, NULL, all->dir, all->ca);
  struct signer other =
      make(&(struct order){"other-ca", NULL, DAY_S}, NULL, all->dir, all->other_ca);
  drop(make(&(struct order){"server", here, DAY_S}, &ca, all->dir, all->server));
  drop(make(&(struct order){"expired", here, -DAY_S}, &ca, all->dir, all->expired));
  drop(make(&(struct order){"named", "DNS:other.example", DAY_S}, &ca, all->dir, all->named));
  drop(make(&(struct order){"local", "DNS:localhost", DAY_S}, &ca, all->dir, all->local));
  drop(make(&(struct order){"client", "DNS:client", DAY_S}, &ca, all->dir, all->client));
  drop(make(&(struct order){"stranger", "DNS:client", DAY_S}, &other, all->dir, all->stranger));
  drop(ca);
  drop(other);
  ERR_clear_error();
}

void certificates_remove(const struct certificates *all) {
  const char *const files[] = {all->ca,    all->other_ca, all->server, all->expired,
                               all->named, all->local,    all->client, all->stranger};
  for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) unlink(files[i]);
  rmdir(all->dir);
}

void certificates_replace(const char *path, const char *by) {
  char text[16384], aside[CERTIFICATES_PATH + 8];
  snprintf(aside, sizeof aside, "%s.new", path);
  FILE *from = fopen(by, "r"), *to = fopen(aside, "w");
  CHECK(from != NULL && to != NULL, "%s: %s", path, strerror(errno));
  size_t len = fread(text, 1, sizeof text, from);
  CHECK(fwrite(text, 1, len, to) == len, "%s", aside);
  fclose(from);
  fclose(to);
  CHECK(rename(aside, path) == 0, "%s: %s", path, strerror(errno));
}
