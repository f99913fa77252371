/*
 * form.h - a form that may be submitted twice; what form_double_submit.c and form_wait_408.c have
 * in common.
 *
 * A hidden field carries a fresh key. The first submission with that key places the order; every
 * later one gets its response, and waits for it if necessary. The key may also come as an argument
 * of the same name or as the header X-Idempotent-Key.
 */
#ifndef IDEM_EXAMPLES_FORM_H
#define IDEM_EXAMPLES_FORM_H

#include "client/examples/guard.h"

#define FORM_TTL_MS 240000 /* the response is kept for */
#define FORM_LEASE_MS 30000
#define FORM_FIELD "__idempotent_key"
#define FORM_ROUTE "/order"

/* GET / shows the form, POST /order places the order. context: a struct guard. */
void form_route(const struct web_request *request, struct web_response *response, void *context);
/* The view that places the order. */
enum idem_work form_place_order(const struct web_request *request, const struct idem_claim *claim,
                                struct web_response *response, const struct demo *demo);

#endif
