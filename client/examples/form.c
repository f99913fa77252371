/* form.c - see form.h. */
#include "client/examples/form.h"

#include <string.h>

#define ITEM_BYTES 128

static const char PAGE[] =
    "<!doctype html>\n"
    "<title>Order</title>\n"
    "<form method=\"post\" action=\"" FORM_ROUTE
    "\">\n"
    "  <input type=\"hidden\" name=\"" FORM_FIELD
    "\" value=\"%s\">\n"
    "  <label>Item <input name=\"item\" value=\"tea\"></label>\n"
    "  <button>Order</button>\n"
    "</form>\n";

/* What a user has typed, fit to stand in a page. Cut to size. */
static void escape(const char *text, char *out, size_t size) {
  size_t len = 0;
  for (; *text != '\0'; text++) {
    const char one[] = {*text, '\0'};
    const char *safe = *text == '<'    ? "&lt;"
                       : *text == '>'  ? "&gt;"
                       : *text == '&'  ? "&amp;"
                       : *text == '"'  ? "&#34;"
                       : *text == '\'' ? "&#39;"
                                       : one;
    size_t safe_len = strlen(safe);
    if (len + safe_len >= size) break;
    memcpy(out + len, safe, safe_len);
    len += safe_len;
  }
  out[len] = '\0';
}

enum idem_work form_place_order(const struct web_request *request, const struct idem_claim *claim,
                                struct web_response *response, const struct demo *demo) {
  char id[DEMO_ID_BYTES];
  char item[ITEM_BYTES] = "nothing";
  char shown[ITEM_BYTES * 6];
  if (web_field_count(web_form(request), "item") > 0) {
    web_field(web_form(request), "item", item, sizeof item);
  }
  escape(item, shown, sizeof shown);
  demo_id(id);
  enum idem_work work = guard_work(demo, "order", claim);
  if (work != IDEM_WORK_DONE) return work;
  web_answer(response, 201, "text/html; charset=utf-8", "Order %s placed: %s\n", id, shown);
  web_add_header(response, "Set-Cookie", "last_order=%s; HttpOnly", id); /* for this caller alone */
  return IDEM_WORK_DONE;
}

/* In the form, in the query or in a header, but in one of them. */
static enum replay_key find_key(const struct web_request *request, char key[REPLAY_KEY_BYTES]) {
  char in_header[REPLAY_KEY_BYTES];
  enum replay_key field = replay_key_in_fields(request, FORM_FIELD, key);
  enum replay_key header = replay_key_in_header(request, "X-Idempotent-Key", in_header);
  if (header == REPLAY_NO_KEY) return field;
  if (field != REPLAY_NO_KEY) return REPLAY_BAD_KEY;
  if (header == REPLAY_ONE_KEY) memcpy(key, in_header, sizeof in_header);
  return header;
}

static void place_order(const struct guard *guard, const struct web_request *request,
                        struct web_response *response) {
  char key[REPLAY_KEY_BYTES];
  if (request->body_len > 0 && web_form(request).data == NULL) {
    /* Its key would not be found, and the order placed without protection. */
    web_problem(response, 415, "Unsupported media type",
                "The form has to be sent as application/x-www-form-urlencoded.");
    return;
  }
  enum replay_key found = find_key(request, key);
  guard_handle(guard, request, found, key, response);
}

void form_route(const struct web_request *request, struct web_response *response, void *context) {
  char id[DEMO_ID_BYTES];
  if (strcmp(request->path, "/") == 0 && strcmp(request->method, "GET") == 0) {
    demo_id(id);
    web_answer(response, 200, "text/html; charset=utf-8", PAGE, id);
  } else if (strcmp(request->path, FORM_ROUTE) == 0 && strcmp(request->method, "POST") == 0) {
    place_order(context, request, response);
  } else {
    web_problem(response, 404, "Not found", "There are only / and " FORM_ROUTE ".");
  }
}
