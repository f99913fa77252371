/* acl.h - ACL: the commands about users, as in Redis. What changes of users mean for sessions is
 * accounts.h. */
#ifndef IDEM_SERVER_COMMANDS_ACL_H
#define IDEM_SERVER_COMMANDS_ACL_H

#include "server/commands/call.h"

void acl_setuser(struct call *call);
void acl_getuser(struct call *call);
void acl_deluser(struct call *call);
void acl_list(struct call *call);
void acl_users(struct call *call);
void acl_whoami(struct call *call);
void acl_cat(struct call *call);
void acl_dryrun(struct call *call);
void acl_show_log(struct call *call);
void acl_load(struct call *call);
void acl_save(struct call *call);
void acl_genpass(struct call *call);

#endif
