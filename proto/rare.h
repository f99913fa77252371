/* rare.h - RARE marks a function that few commands need. The compiler takes every path to it for a
 * rare one, and keeps its code away from the code that all commands run. */
#ifndef IDEM_PROTO_RARE_H
#define IDEM_PROTO_RARE_H

#define RARE __attribute__((cold))

#endif
