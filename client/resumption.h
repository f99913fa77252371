/*
 * resumption.h - the last TLS session, so that the next connection to the same server needs neither
 * certificates nor signatures. Knows no socket.
 *
 * A session is lent to one connection, and is kept again once that one has another (TLS 1.3, whose
 * tickets come after the handshake and are for one use) or has resumed it (TLS 1.2). It resumes
 * what was verified, so it is lent only to a connection that expects the same name or address (a
 * cluster has several), and only by the files of one SSL_CTX: with the next SSL_CTX it is
 * forgotten, and so is what arrives on connections of a former one. What is kept is a copy that no
 * connection knows: OpenSSL changes those of its connections without a lock.
 *
 * May be used by several threads at once.
 */
#ifndef IDEM_CLIENT_RESUMPTION_H
#define IDEM_CLIENT_RESUMPTION_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>

struct resumption {
  pthread_mutex_t lock;
  /* Under the lock. */
  const SSL_CTX *context; /* whose sessions are kept; borrowed */
  struct resumption_kept {
    SSL_SESSION *session; /* NULL: none, or it is lent */
    char *peer;           /* the name or address that its certificate was to bear */
  } last;
};

/* Its address does not change. False: no memory. */
bool resumption_init(struct resumption *resumption);
/* After the last SSL of its contexts. */
void resumption_deinit(struct resumption *resumption);

/* Keeps sessions of this context from now on, and of no other. */
void resumption_follow(struct resumption *resumption, SSL_CTX *context);
/* Before the handshake, once the SSL has been told which name or address to expect. */
void resumption_lend(struct resumption *resumption, SSL *ssl);

#endif
