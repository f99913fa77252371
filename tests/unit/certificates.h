/* certificates.h - a certificate of its own CA and its key (P-256), as files in a directory of a
 * test. */
#ifndef IDEM_TESTS_UNIT_CERTIFICATES_H
#define IDEM_TESTS_UNIT_CERTIFICATES_H

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/ops/options.h"

static inline void certificates_must(bool done) {
  if (!done) abort();
}

struct certificates {
  char directory[64], certificate[96], key[96];
};

static inline X509 *certificates_sign(EVP_PKEY *key, long days) {
  X509 *made = X509_new();
  X509_NAME *name = X509_get_subject_name(made);
  X509_set_version(made, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
  X509_gmtime_adj(X509_getm_notBefore(made), -86400);
  X509_gmtime_adj(X509_getm_notAfter(made), days * 86400);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"idem test", -1, -1,
                             0);
  X509_set_issuer_name(made, name);
  X509_set_pubkey(made, key);
  certificates_must(X509_sign(made, key, EVP_sha256()) > 0);
  return made;
}

/* password: of the key; NULL: none. */
static inline void certificates_write(const struct certificates *files, long days,
                                      const char *password) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *certificate = certificates_sign(key, days);
  FILE *to = fopen(files->key, "w");
  certificates_must(to != NULL);
  certificates_must(PEM_write_PrivateKey(to, key, password != NULL ? EVP_aes_128_cbc() : NULL,
                                         (const unsigned char *)password,
                                         password != NULL ? (int)strlen(password) : 0, NULL,
                                         NULL) == 1);
  fclose(to);
  to = fopen(files->certificate, "w");
  certificates_must(to != NULL);
  certificates_must(PEM_write_X509(to, certificate) == 1);
  fclose(to);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

static inline void certificates_make(struct certificates *files) {
  strcpy(files->directory, "/tmp/idem-certificates-XXXXXX");
  certificates_must(mkdtemp(files->directory) != NULL);
  snprintf(files->certificate, sizeof files->certificate, "%s/cert.pem", files->directory);
  snprintf(files->key, sizeof files->key, "%s/key.pem", files->directory);
  certificates_write(files, 30, NULL);
}

static inline void certificates_remove(const struct certificates *files) {
  unlink(files->certificate);
  unlink(files->key);
  rmdir(files->directory);
}

static inline void certificates_text(char **field, const char *text) {
  free(*field);
  *field = strdup(text);
  certificates_must(*field != NULL);
}

/* For a server that asks clients for none. */
static inline void certificates_set(const struct certificates *files, struct options *options) {
  certificates_text(&options->tls_cert_file, files->certificate);
  certificates_text(&options->tls_key_file, files->key);
  options->tls_auth_clients = OPTIONS_TLS_AUTH_CLIENTS_NO;
}

#endif
