#!/usr/bin/python3
"""server/deploy/idem.conf: every option of the server, explained, with the values that a package ships.

    conf.py            compares, exits with 1 when the file is out of date
    conf.py --write    writes it

What an option is, its bounds and its default come from `idem-server --help`. Here stand only the values that are shipped
and what an operator should know before changing one. An option that nobody explains here is in the file all the same.
"""

import os
import re
import subprocess
import sys
import textwrap

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVER = os.environ.get("IDEM_SERVER", os.path.join(ROOT, "build/release/idem-server"))
PATH = os.path.join(ROOT, "server/deploy/idem.conf")
WIDTH = 100

HEAD = """\
idem.conf: the configuration of idem-server, as the package ships it. server/GUIDE.md (guide.md beside the installed
documentation) is the way from here to a server in earnest.

A line is NAME VALUE. A line that begins with # is a comment; a comment after a value is refused. An option that is
commented out below is shown with its default. After a change: systemctl restart idem-server. A line that is wrong is
refused with its number and the reason (journalctl -u idem-server), and nothing is started.

TIME is milliseconds, or a number with ms, s, m, h or d; SECONDS is seconds, or a number with s, m, h or d; SIZE is bytes, or
a number with kb, mb, gb (powers of 1024) or k, m, g. Options marked * can be changed while the server runs (CONFIG SET);
after the next start this file counts."""

# What is shipped and is not the default.
SHIPPED = {
    "unixsocket": "/run/idem/idem.sock",
    "unixsocketperm": "770",
    "dir": "/var/lib/idem/journal",
    "maxmemory": "75%",
}
ADVICE = {
    "bind": "Other machines reach it only at addresses that are named here, and only with a password or users.",
    "unixsocket": "For applications on this machine: members of the group idem (adduser APPLICATION idem).",
    "requirepass": "Not here, please: this file is readable. Use requirepass-file or users.",
    "requirepass-file": "With the systemd unit: put the password into /etc/idem/credentials/password (root, mode 0600), and "
                        "set this to /run/credentials/idem-server.service/idem_password.",
    "threads": "One is enough until it keeps a core busy.",
    "maxclients": "The systemd unit allows 110000 open files (LimitNOFILE).",
    "lease": "The time after which the work of a silent owner is given to the next caller.",
    "ttl": "The time for which a retry gets the stored response. Longer than your slowest client goes on trying.",
    "unknown-retention": "Somebody has to decide such a record; it should not go before somebody has.",
    "maxmemory": "Of the machine, or of the limit of its cgroup (MemoryMax=). The rest is for connections, for what the "
                 "allocator holds, and for the system.",
    "store-reserve": "About the size of your largest usual response.",
    "dir": "Without it a restart forgets everything. A file system of its own, so that nothing else can fill it.",
    "appendfsync": "Anything but always may lose what was answered.",
    "drain-timeout": "Only a server without dir takes so long. Keep TimeoutStopSec of the systemd unit above it.",
    "logfile": "The systemd unit's journal has the log. To have a file, set /var/log/idem/idem-server.log, which logrotate "
               "knows.",
    "insecure": "For networks that something else keeps closed; the server says so in its log.",
    "tls-port": "Clients reach it as rediss://. Set port 0 as well, or bind to loopback, so that nobody speaks without TLS.",
    "tls-cert-file": "The certificate and those that lead to its root. `systemctl reload idem-server` reads it again.",
    "tls-key-file": "Of the user idem, mode 0400, in /etc/idem/tls: then a reload reads it again. In "
                    "/etc/idem/credentials (root, mode 0600) only root has it on the disk, and a new one needs a restart.",
    "tls-auth-clients": "yes: a client needs a certificate of the CA in tls-ca-cert-file.",
    "aclfile": "Where ACL SAVE writes, so a file of the user idem: /var/lib/idem/users.acl. There is an example in "
               "/usr/share/doc/idem-server/examples.",
    "http-port": "/metrics for Prometheus, /healthz and /readyz for supervisors, and a status page.",
}


def told(*arguments):
    return subprocess.run([SERVER, *arguments], capture_output=True, text=True, check=True).stdout


def sections():
    """The name of an option -> its section in --help; in their order."""
    found, section = {}, ""
    for line in told("--help").splitlines():
        if re.match(r"[A-Z][A-Za-z ]+$", line):
            section = line
        option = re.match(r"  (?:  |--)(\S+) \S", line)
        if option and section:
            found[option[1]] = section
    return found


def options():
    """(name, default, bounds, live, meaning) of each option."""
    for row in told("--help", "markdown").splitlines()[2:]:
        name, default, bounds, live, meaning = re.split(r"(?<!\\) \| ", row.strip("| "), maxsplit=4)
        yield name.strip("`"), default.strip("`"), bounds, live == "yes", meaning.replace("\\|", "|")


def comment(text):
    return "".join(f"# {line}".rstrip() + "\n" for line in textwrap.wrap(text, WIDTH))


def block(name, default, bounds, live, meaning):
    known = f"[default {default}; {bounds}]{' *' if live else ''}"
    text = comment(f"{meaning} {known}")
    if name in ADVICE:
        text += comment(ADVICE[name])
    return text + (f"{name} {SHIPPED[name]}\n" if name in SHIPPED else f"#{name} {default}\n")


def whole():
    text = "".join(f"# {line}".rstrip() + "\n" for line in HEAD.splitlines())
    of_section, section = sections(), ""
    for option in options():
        if of_section[option[0]] != section:
            section = of_section[option[0]]
            text += f"\n# ---- {section} ----\n"
        text += "\n" + block(*option)
    return text


def complaints():
    """What is wrong with the file that is there, as lines."""
    with open(PATH, encoding="utf-8") as file:
        have, want = file.read().splitlines(), whole().splitlines()
    if have == want:
        return []
    at = next((n for n, pair in enumerate(zip(have, want)) if pair[0] != pair[1]), min(len(have), len(want)))
    lines = [(lines[at] if at < len(lines) else "(its end)") for lines in (have, want)]
    return [f"server/deploy/idem.conf:{at + 1}: not what `idem-server --help` says; tests/ops/conf.py --write",
            f"  file:    {lines[0]}", f"  program: {lines[1]}"]


def main():
    if "--write" in sys.argv:
        with open(PATH, "w", encoding="utf-8") as file:
            file.write(whole())
        return 0
    found = complaints()
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
