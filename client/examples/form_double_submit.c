/*
 * form_double_submit.c - a form that is submitted twice is one order: the second submitter waits up
 * to a minute for the first one's response and gets it, byte for byte.
 *
 *     build/release/examples/form_double_submit --port 5001     then open http://127.0.0.1:5001/
 */
#include "client/examples/form.h"

#define WAIT_MS 60000

int main(int argc, char **argv) {
  struct demo demo = {.port = 5001, .lease_ms = FORM_LEASE_MS};
  demo_options(&demo, argc, argv);
  struct guard guard = {.demo = &demo,
                        .name = "form",
                        .route = FORM_ROUTE,
                        .view = form_place_order,
                        .lease_ms = demo.lease_ms,
                        .wait_ms = WAIT_MS,
                        .ttl_ms = FORM_TTL_MS,
                        .busy_status = 408,
                        .key_field = FORM_FIELD};
  return guard_serve(&guard, form_route);
}
