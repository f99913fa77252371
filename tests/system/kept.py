"""What the examples in Python and in C promise of responses and of the age of requests, in one place."""

# Statuses of answers that later requests do not get; one of 500 and more is unsure in addition.
NOT_KEPT = (401, 403, 408, 409, 423, 425, 429, 500, 503)
KEPT = (200, 302, 400, 402, 404, 410, 422)

# Names of headers that only the first client gets, in some spelling or other.
NEVER_STORED = (
    "Set-Cookie", "set-COOKIE2", "Clear-Site-Data", "WWW-Authenticate", "Proxy-Authenticate",
    "Authentication-Info", "Proxy-Authentication-Info", "authorization", "Proxy-Authorization", "Date",
    "AGE", "Via", "Server", "Alt-Svc", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer",
    "Transfer-Encoding", "Upgrade")
STORED = ("Location", "ETag", "Link", "X-Own", "Vary", "Set-Cookie3", "Content-Language", "Dates")

LONG_AGO = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"  # the UUIDv7 of RFC 9562: 2022
LONG_AGO_MS = 1645557742000
# Keys that look like it and tell no birth.
UNBORN = (LONG_AGO.replace("-7", "-4"), LONG_AGO.replace("-", ""), LONG_AGO + "0",
          LONG_AGO.replace("-9", "-c"), "fffffff0" + LONG_AGO[8:])  # the last one: in the future
