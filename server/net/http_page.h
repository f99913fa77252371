/*
 * http_page.h - the status page: one document of HTML without foreign assets, which a person can
 * read without a script.
 *
 * All bytes of clients pass through http_text.h and http_key.h. Pure.
 */
#ifndef IDEM_SERVER_NET_HTTP_PAGE_H
#define IDEM_SERVER_NET_HTTP_PAGE_H

#include "server/net/http_shown.h"
#include "server/net/http_text.h"

/* Claims of a state that it shows; claims.json shows more. */
#define HTTP_PAGE_CLAIMS 50u

void http_page_write(struct http_text *text, const struct http_shown *shown);
/* The same while there is nothing to show yet. */
void http_page_write_recovering(struct http_text *text, unsigned per_cent);

#endif
