/*
 * undos.h - grants by hand-over whose reply may not have reached its client yet, and what each
 * replaced.
 *
 * It must not know how a grant is taken back (take_back.h). A grant stands here from the hand-over
 * until its reply was written to the socket, its connection was closed, or its owner came back.
 */
#ifndef IDEM_SERVER_MODULE_UNDOS_H
#define IDEM_SERVER_MODULE_UNDOS_H

#include "server/base/list.h"
#include "server/module/api.h"
#include "server/rules/rules.h"

struct undo {
  struct list link;
  uint64_t client_id, token;
  int db;
  RedisModuleString *name;   /* owned */
  RedisModuleString *former; /* the value that was replaced; owned; NULL: there was none */
  enum rules_end end;        /* how the former grant had ended */
  bool gone;                 /* its connection was closed before the reply was written */
  bool checked;              /* it was asked whether it is written, and it was not */
};

/* Takes over name and former. */
void undos_add(struct list *undos, const struct undo *as);
void undos_drop(struct undo *undo);
/* Drops all. */
void undos_clear(struct list *undos);
/* Its owner came back: it has its reply. Any token. */
void undos_confirm(struct list *undos, uint64_t token);
/* A grant to this client stands here. */
bool undos_has_client(const struct list *undos, uint64_t client_id);
/* Its connection is closed: written: its replies had been sent, so all its grants count. */
void undos_close(struct list *undos, uint64_t client_id, bool written);
/* One has not been asked about yet. Those stand last. */
bool undos_has_new(const struct list *undos);
/* The connection of one was closed before its reply was written. Those stand first. */
bool undos_has_gone(const struct list *undos);

#endif
