"""Values of an Idempotency-Key header, the same for the examples in Python and in C."""

# All of them are the key k: a String of RFC 8941 with its parameters, or bare.
SPELLINGS = ['k', '"k"', '  "k"  ', '"k";a', '"k"; a=1;b=-2.5;c=?0', '"k";a="x\\"y";b=tok/en;c=:YQ==:']

MALFORMED = [
    "", "  ", '""', '" "', '"   "',                # empty is not absent: a client that sends it wants protection
    '"k', 'k"', '"k"k', '"a" "b"', "a b", '"\\k"',  # quotes that do not end where the value does
    "a,b", "a, b", '"a","b"', '"a", "b"', "a,",     # several, as servers and proxies join them
    '"k";A', '"k";', '"k" ;a', '"k";a=', '"k";a=1234567890123456',
    "x" * 256, '"' + "x" * 256 + '"', "\u00e4", '"\u00e4"', "k\x7f",
]

# (first line's value, second line's value)
TWICE = [("k", "k"), ("k", "other"), ('"k"', '"k"'), ("k", "")]
