/*
 * proxy.h - a TCP proxy inside the test that cuts connections at an exact byte.
 *
 * One direction of the traffic is counted from the moment a plan is armed. When the planned number
 * of bytes has passed, both sides are closed, hard (RST) or softly (FIN), before any further byte
 * passes. It can also hold replies back. Runs on a thread of its own.
 */
#ifndef IDEM_TESTS_CLIENT_PROXY_H
#define IDEM_TESTS_CLIENT_PROXY_H

#include <stdbool.h>
#include <stddef.h>

enum proxy_side { PROXY_REQUEST, PROXY_REPLY };

struct proxy_plan {
  enum proxy_side side;
  size_t bytes; /* pass this many, then cut; 0: at the first one, before it passes */
  bool reset;   /* RST, else FIN */
  int times;    /* how many connections are cut in all; each counts from its own start, the one open
                   now from now */
};

struct proxy;

struct proxy *proxy_open(int server_port);
int proxy_port(const struct proxy *proxy);
void proxy_close(struct proxy *proxy);
/* Replaces the plan; times 0: cut nothing. Traffic before is over (the caller has no call running).
 */
void proxy_arm(struct proxy *proxy, struct proxy_plan plan);
/* While it holds back, replies lie in the proxy's sockets and do not pass. */
void proxy_hold(struct proxy *proxy, bool hold);
/* Bytes that passed since proxy_arm. */
size_t proxy_passed(struct proxy *proxy, enum proxy_side side);
/* Connections cut since proxy_arm. */
int proxy_cuts(struct proxy *proxy);

#endif
