/*
 * http_style.h - how the status page looks, and the script that renews it: constants.
 *
 * The page's policy allows these two texts alone, by their hashes: change one, and
 * tests/system/test_http.py says the new hash.
 */
#ifndef IDEM_SERVER_NET_HTTP_STYLE_H
#define IDEM_SERVER_NET_HTTP_STYLE_H

extern const char *const http_style_css;
extern const char *const http_style_script;
/* The value of Content-Security-Policy for the page. */
extern const char *const http_style_policy;

#endif
