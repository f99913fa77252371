/*
 * guard_409.c - a guard before every POST, PUT, PATCH and DELETE that carries an Idempotency-Key.
 *
 * A duplicate is not made to wait: 409 with Retry-After while the first one runs, its response
 * afterwards, 422 when the key comes with another request. The library renews the claim while the
 * view runs, so the lease can be short (a process that died is replaced after it) although the view
 * may take minutes. Requests without a key, and the safe methods, pass by.
 *
 *     build/release/examples/guard_409 --port 5003
 *     curl -i -X PUT 127.0.0.1:5003/items/7 -H 'Idempotency-Key: "1"'
 */
#include <inttypes.h>
#include <string.h>

#include "client/examples/guard.h"

#define TTL_MS (24 * 3600 * INT64_C(1000))
#define LEASE_MS 15000
#define ITEMS "/items/"
#define HEADER_NAME_BYTES 64

/* What the options ask for, so that one can see what is kept of it. */
static void answer_as_asked(const struct demo *demo, struct web_response *response) {
  if (demo->status != 0) response->status = demo->status;
  if (demo->header == NULL) return;
  const int name_len = (int)strcspn(demo->header, ":");
  char name[HEADER_NAME_BYTES];
  const char *value = demo->header + name_len;
  snprintf(name, sizeof name, "%.*s", name_len, demo->header);
  web_add_header(response, name, "%s", value + strspn(value, ": "));
}

static enum idem_work change_item(const struct web_request *request, const struct idem_claim *claim,
                                  struct web_response *response, const struct demo *demo) {
  char change[DEMO_ID_BYTES];
  const char *item = request->path + strlen(ITEMS);
  uint64_t token = claim != NULL ? idem_claim_token(claim) : 0;
  if (strcmp(request->method, "GET") == 0) {
    web_answer(response, 200, "application/json", "{\"item\": \"%s\"}\n", item);
    return IDEM_WORK_DONE;
  }
  enum idem_work work = guard_work(demo, "change", claim);
  if (work != IDEM_WORK_DONE) return work;
  demo_id(change);
  /* A token only rises. A database that remembers the highest one that it saw for this item can
   * refuse the write of a process that was paused past its lease; no lease can do that on its own.
   */
  web_answer(response, 200, "application/json",
             "{\"item\": \"%s\", \"change\": \"%s\", \"fencing_token\": %" PRIu64 "}\n", item,
             change, token);
  answer_as_asked(demo, response);
  return IDEM_WORK_DONE;
}

static int is_safe(const char *method) {
  return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* Letters, digits, '-' and '_': what needs no escaping in JSON. */
static int is_item(const char *path) {
  if (strncmp(path, ITEMS, strlen(ITEMS)) != 0) return 0;
  const char *name = path + strlen(ITEMS);
  size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
  return len > 0 && len <= 64 && name[len] == '\0';
}

static void route(const struct web_request *request, struct web_response *response, void *context) {
  char key[REPLAY_KEY_BYTES];
  if (!is_item(request->path)) {
    web_problem(response, 404, "Not found", "There are only /items/NAME.");
  } else if (is_safe(request->method)) {
    guard_handle(context, request, REPLAY_NO_KEY, NULL, response);
  } else {
    enum replay_key found = replay_key_in_header(request, "Idempotency-Key", key);
    guard_handle(context, request, found, key, response);
  }
}

int main(int argc, char **argv) {
  struct demo demo = {.port = 5003, .lease_ms = LEASE_MS};
  demo_options(&demo, argc, argv);
  struct guard guard = {.demo = &demo,
                        .name = "guard",
                        .route = ITEMS "NAME",
                        .view = change_item,
                        .lease_ms = demo.lease_ms,
                        .wait_ms = IDEM_NO_WAIT,
                        .ttl_ms = TTL_MS,
                        .busy_status = 409};
  return guard_serve(&guard, route);
}
