"""Where idem deliberately answers differently from redis-server 7.0.

Each row has a name, the reason, an example for which the two answers must differ (so that no row
outlives its reason), and a function that says whether the row explains a difference between two
replies. Replies are as peers.py parses them.
"""

import re
from collections import namedtuple

Difference = namedtuple("Difference", "name reason example explains")


def escaped(text):
    """An error of Redis, with its bytes escaped as idem escapes them."""
    return re.sub(rb"[^\x20-\x7e\r\n]", lambda found: b"\\x%02x" % found.group()[0], text)


def blanked(text):
    """An error of idem, with CR and LF as blanks, as Redis shows them."""
    return re.sub(rb"\\x0[ad]", b" ", text)


def errors(output, change):
    """The lines of an output; `change` is applied to those that are errors."""
    return [change(line) if line.startswith(b"-") else line for line in output.split(b"\n")]


def starts(reply, text):
    return reply[0] == b"-" and reply[1].startswith(text)


def option(command, *words):
    return any(arg.upper() in words for arg in command[1:])


def same_but_escaped(redis, idem):
    """Two errors that differ only in how bytes outside printable ASCII are shown.

    Redis cuts an error at NUL, and the line ends at its end.
    """
    if redis[0] != b"-" or idem[0] != b"-":
        return False
    cut = idem[1].partition(b"\\x00")[0]
    return escaped(redis[1]).rstrip(b" ") == blanked(cut).rstrip(b" ")


# Some of the Redis commands that idem lacks; they are sent to check its error.
LACKING = [b"INCR", b"APPEND", b"MSET", b"LPUSH", b"HSET", b"EVAL", b"RENAME", b"SETRANGE"]

DIFFERENCES = [
    Difference(
        "bytes in errors",
        "no error echoes bytes of a client unescaped; Redis shows them raw and CR LF as blanks",
        [[b"EXPIRE", b"k", b"1", b"\xff\n"]],
        lambda command, redis, idem: same_but_escaped(redis, idem)),
    Difference(
        "words cut at NUL",
        "Redis compares options as C strings, so that NX\\0junk passes for NX; idem compares "
        "all bytes",
        [[b"SET", b"k", b"v", b"KEEPTTL\x00x"]],
        lambda command, redis, idem: any(b"\x00" in arg for arg in command[1:])
        and starts(idem, b"ERR")),
    Difference(
        "the empty key",
        "a glob of several stars matches it as every other key; Redis' matcher does not look at "
        "an empty text",
        [[b"SET", b"", b"v"], [b"KEYS", b"**"]],
        lambda command, redis, idem: command[0].upper() == b"KEYS" and redis[0] == idem[0] == b"*"
        and sorted(redis[1] + [(b"$", b"")]) == sorted(idem[1])),
    Difference(
        "IFEQ", "the condition of Redis 8.4 and Valkey 8.1 is understood",
        [[b"SET", b"k", b"v", b"IFEQ", b"w"]],
        lambda command, redis, idem: command[0].upper() == b"SET" and option(command, b"IFEQ")),
    Difference(
        "DELIFEQ, DELEX", "the conditional deletes of Valkey 9.0 and Redis 8.4 are there",
        [[b"DELIFEQ", b"k", b"v"], [b"DELEX", b"k"]],
        lambda command, redis, idem: command[0].upper() in (b"DELIFEQ", b"DELEX")),
    Difference(
        "commands that idem lacks",
        "idem is not Redis, and answers with the text that makes clients fall back",
        [[name, b"k", b"1", b"2"] for name in LACKING],
        lambda command, redis, idem: command[0].upper() in LACKING
        and starts(idem, b"ERR unknown command")),
    Difference(
        "WATCH",
        "one command decides, so there is nothing to watch; a client that relies on WATCH must get an error",
        [[b"WATCH", b"k"]],
        lambda command, redis, idem: command[0].upper() == b"WATCH" and starts(idem, b"ERR")),
    Difference(
        "WAIT", "idem has no replicas; WAIT waits for a response",
        [[b"WAIT", b"0", b"1"]],
        lambda command, redis, idem: command[0].upper() == b"WAIT"),
    Difference(
        "OBJECT REFCOUNT", "Redis shares small integers and counts them as 2147483647",
        [[b"SET", b"k", b"1"], [b"OBJECT", b"REFCOUNT", b"k"]],
        lambda command, redis, idem: option(command, b"REFCOUNT") and idem == (b":", b"1")),
    Difference(
        "OBJECT IDLETIME", "idem evicts nothing, so it keeps no time of access",
        [[b"SET", b"k", b"1"], [b"OBJECT", b"IDLETIME", b"k"]],
        lambda command, redis, idem: option(command, b"IDLETIME")
        and starts(idem, b"ERR idle time")),
    Difference(
        "HELP of containers", "idem lists the subcommands that it has",
        [[b"OBJECT", b"HELP"], [b"MEMORY", b"HELP"]],
        lambda command, redis, idem: option(command, b"HELP") and redis[0] == idem[0] != b"-"),
    Difference(
        "signs in a cursor",
        "Redis reads -1 as 2^64 - 1 because strtoul does; idem gives no such cursor and takes "
        "none",
        [[b"SCAN", b"-1"], [b"SCAN", b"+5"]],
        lambda command, redis, idem: command[0].upper() == b"SCAN"
        and starts(idem, b"ERR invalid cursor")),
    Difference(
        "memory of a key", "each counts its own bytes",
        [[b"SET", b"k", b"1"], [b"MEMORY", b"USAGE", b"k"]],
        lambda command, redis, idem: option(command, b"USAGE") and redis[0] == idem[0] == b":"
        and int(idem[1]) > 0),
    Difference(
        "sizes", "a key has a limit of 1 KiB (an option), a longer one is answered with TOOBIG",
        [[b"GET", b"k" * 1025]],
        lambda command, redis, idem: starts(idem, b"TOOBIG")),
]

# The same for framing. Here a reply is everything that a server sends for some bytes until it closes.
FRAMING = [
    Difference(
        "CRLF after a bulk string",
        "other bytes are an error, not skipped, so that a wrong length is noticed at once",
        b"*2\r\n$3\r\nGET\r\n$1\r\nkXX*1\r\n$4\r\nPING\r\n",
        lambda sent, redis, idem: b"expected CRLF" in idem),
    Difference(
        "number of arguments",
        "65,536 are enough; Redis allocates for up to 2^31 before the first has arrived",
        b"*65537\r\n$4\r\nPING\r\n",
        lambda sent, redis, idem: b"invalid multibulk length" in idem
        and b"invalid multibulk length" not in redis),
    Difference(
        "HTTP", "every HTTP request line closes the connection, not only POST and Host:",
        b"GET / HTTP/1.1\r\nAccept: x\r\n\r\n",
        lambda sent, redis, idem: b"HTTP/" in sent and idem == b""),
    Difference(
        "replies before HTTP", "commands that ran before such a line are answered; Redis drops the replies",
        b"PING\r\nPOST / HTTP/1.1\r\n",
        lambda sent, redis, idem: redis == b"" and idem == b"+PONG\r\n"
        and re.search(rb"POST|Host:", sent)),
    Difference(
        "bytes in errors",
        "no error echoes bytes of a client unescaped; Redis shows them raw and CR LF as blanks",
        b"*1\r\n\xff3\r\n",
        lambda sent, redis, idem: errors(idem, blanked) == errors(redis, escaped)),
    Difference(
        "LF without CR", "an error at once; Redis waits for a CR, which may be in what follows",
        b'*1\r\n$4"\nPING"\n',
        lambda sent, redis, idem: re.search(rb"(?<!\r)\n", sent) and idem.startswith(redis)
        and idem[len(redis):].startswith(b"-ERR Protocol error: ")),
    Difference(
        "NUL in a name", "Redis cuts an unknown name at NUL, idem shows all of it",
        b"*1\r\n$4\r\nX\x00YZ\r\n",
        lambda sent, redis, idem: b"\x00" in sent and b"unknown command 'X?YZ'" in idem
        and b"command 'X'" in redis),
    Difference(
        "NUL in an inline line",
        "Redis looks for its end with strchr and never finds it: the connection hangs",
        b"PI\x00NG\r\n",
        lambda sent, redis, idem: b"\x00" in sent and idem.startswith(redis)),
    Difference(
        "lines over 64 KiB", "Redis refuses one only if it comes in pieces, idem always",
        b"PING " + b"x" * 70000 + b"\r\n",
        lambda sent, redis, idem: len(sent) > 65536 and b"too big" in idem),
]


def explain(command, redis, idem):
    """The row that says why these two replies may differ, or None."""
    return next((row for row in DIFFERENCES if row.explains(command, redis, idem)), None)


def explain_framing(sent, redis, idem):
    return next((row for row in FRAMING if row.explains(sent, redis, idem)), None)
