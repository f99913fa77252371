/*
 * acl_log.h - what was refused to whom: the entries of ACL LOG, newest first. A refusal like one of
 * the latest, a minute ago at most, counts there and makes no entry.
 *
 * It must not know what is refused (permission.h, accounts.h). From any worker's thread.
 */
#ifndef IDEM_SERVER_COMMANDS_ACL_LOG_H
#define IDEM_SERVER_COMMANDS_ACL_LOG_H

#include "server/commands/call.h"

#define ACL_LOG_OBJECT_MAX 256u /* bytes kept of a key, channel, command or user name */

enum acl_log_reason { ACL_LOG_COMMAND, ACL_LOG_KEY, ACL_LOG_CHANNEL, ACL_LOG_AUTH };

struct acl_log_event {
  enum acl_log_reason reason;
  struct span object;   /* the command, key or channel; of AUTH: how it was tried */
  struct span username; /* of AUTH: the one that was given */
};

struct acl_log *acl_log_create(void); /* NULL: memory is short */
void acl_log_destroy(struct acl_log *log);

/* Keeps it, as far as acllog-max-len and memory go. */
void acl_log_note(const struct call *call, const struct acl_log_event *event);
/* Replies the latest `count` as ACL LOG shows them. */
void acl_log_reply(struct call *call, size_t count);
void acl_log_clear(struct acl_log *log);

#endif
