/* form.c - see form.h. */
#include "client/examples/form.h"

#include <string.h>

#define FIELD "__idempotent_key"
#define ITEM_BYTES 128

static const char PAGE[] =
    "<!doctype html>\n"
    "<title>Order</title>\n"
    "<form method=\"post\" action=\"/order\">\n"
    "  <input type=\"hidden\" name=\"" FIELD
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

int form_place_order(const struct web_request *request, const struct idem_claim *claim,
                     struct web_response *response, const struct demo *demo) {
  char id[DEMO_ID_BYTES];
  char item[ITEM_BYTES] = "nothing";
  char shown[ITEM_BYTES * 6];
  uint64_t token = claim != NULL ? idem_claim_token(claim) : 0;
  web_form_value(request, "item", item, sizeof item);
  escape(item, shown, sizeof shown);
  demo_id(id);
  if (demo_work(demo, "order", token, claim != NULL ? idem_claim_attempt(claim) : 0) != 0) {
    return -1;
  }
  web_answer(response, 201, "text/html; charset=utf-8", "Order %s placed: %s\n", id, shown);
  return 0;
}

static const char *find_key(const struct web_request *request, char *out, size_t size) {
  const char *key;
  if (web_form_value(request, FIELD, out, size) && out[0] != '\0') return out;
  key = web_argument(request, FIELD);
  if (key == NULL) key = web_header(request, "X-Idempotent-Key");
  return key != NULL && key[0] != '\0' ? key : NULL;
}

void form_route(const struct web_request *request, struct web_response *response, void *context) {
  char id[DEMO_ID_BYTES];
  char field[GUARD_KEY_LIMIT + 2]; /* so that one too long is seen to be too long */
  if (strcmp(request->path, "/") == 0 && strcmp(request->method, "GET") == 0) {
    demo_id(id);
    web_answer(response, 200, "text/html; charset=utf-8", PAGE, id);
  } else if (strcmp(request->path, "/order") == 0 && strcmp(request->method, "POST") == 0) {
    guard_handle(context, request, find_key(request, field, sizeof field), response);
  } else {
    web_problem(response, 404, "Not found", "There are only / and /order.");
  }
}
