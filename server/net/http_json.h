/*
 * http_json.h - claims.json: what the status page shows, for programs. server/README.md documents
 * the fields, each of which is always there. Pure.
 */
#ifndef IDEM_SERVER_NET_HTTP_JSON_H
#define IDEM_SERVER_NET_HTTP_JSON_H

#include "server/net/http_shown.h"
#include "server/net/http_text.h"

void http_json_write(struct http_text *text, const struct http_shown *shown);

#endif
