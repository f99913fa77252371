/*
 * notify.h - what a supervisor is told (sd_notify(3)): one datagram to the socket that
 * $NOTIFY_SOCKET names, lines of NAME=VALUE. An address that begins with @ is abstract.
 *
 * Not by libsystemd: the protocol is one sendmsg, and has been promised to stay. Without the
 * variable nothing is sent. A supervisor that does not take the message is not waited for.
 */
#ifndef IDEM_SERVER_OPS_NOTIFY_H
#define IDEM_SERVER_OPS_NOTIFY_H

#define NOTIFY_BYTES 512 /* of one message; more is not sent */

struct notify {
  int fd; /* connected; -1: nobody listens */
};

/* Connects to $NOTIFY_SOCKET. Whatever is wrong with it, nothing is sent then. */
void notify_open(struct notify *notify);
void notify_close(struct notify *notify);
/* From any thread. Keeps errno. */
__attribute__((format(printf, 2, 3))) void notify_send(const struct notify *notify,
                                                       const char *format, ...);

#endif
