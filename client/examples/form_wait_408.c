/*
 * form_wait_408.c - the form of form_double_submit.c with a short wait: a later submission waits
 * 10 s (or --wait-ms), then gets a clean 408.
 *
 * That touches nothing: the first submission runs on, and a reload of the page, which sends the
 * same key again, waits once more or shows its response.
 *
 *     build/release/examples/form_wait_408 --port 5002 --work-ms 20000
 *     then open http://127.0.0.1:5002/, order, reload
 */
#include "client/examples/form.h"

static const char PAGE[] =
    "<!doctype html>\n"
    "<title>Still working</title>\n"
    "<p>The first submission of this form is still running.</p>\n"
    "<p>Reload this page to see the result; nothing will be ordered twice.</p>\n";

static void route(const struct web_request *request, struct web_response *response, void *context) {
  form_route(request, response, context);
  if (response->status != 408) return;
  web_answer(response, 408, "text/html; charset=utf-8", "%s", PAGE);
  web_add_header(response, "Retry-After", "1");
}

int main(int argc, char **argv) {
  struct demo demo = {.port = 5002, .lease_ms = FORM_LEASE_MS, .wait_ms = 10000};
  demo_options(&demo, argc, argv);
  struct guard guard = {.demo = &demo,
                        .name = "form",
                        .route = FORM_ROUTE,
                        .view = form_place_order,
                        .lease_ms = demo.lease_ms,
                        .wait_ms = demo.wait_ms,
                        .ttl_ms = FORM_TTL_MS,
                        .busy_status = 408,
                        .key_field = FORM_FIELD};
  return guard_serve(&guard, route);
}
