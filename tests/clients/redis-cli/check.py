"""redis-cli 7.0: every step through a redis-cli that reads lines; its modes; help on a terminal."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from steps import (BINARY_BODY, BINARY_KEY, HOST, PORT, PROTOCOL, expect, restart,  # noqa: E402
                   step, until)

COMMAND = ["redis-cli", "-h", HOST, "-p", str(PORT), *(["-3"] if PROTOCOL == 3 else [])]
COMPLAINT = re.compile(r"error|warning|assert|could not|\berr\b", re.I)
# A line that redis-cli cannot split: it says so by itself, without a byte to the server.
MARK, MARKED = '"', "Invalid argument(s)"
TERMINAL_SECONDS = 60


def quoted(data):
    """Quoted as redis-cli expects it on a line."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data) + '"'


def unquoted(text):
    """The bytes of a string as redis-cli shows it."""
    return re.sub(rb"\\x([0-9a-f]{2})|\\(.)",
                  lambda m: bytes([int(m[1], 16)]) if m[1] else
                  {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}.get(m[2], m[2]),
                  text.encode("latin-1"))


class Cli:
    """One redis-cli that reads lines and shows replies as on a terminal."""

    def __init__(self):
        self.process = subprocess.Popen([*COMMAND, "--no-raw"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, encoding="latin-1")

    def send(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def read(self):
        """Everything up to the mark that was sent after the command."""
        self.send(MARK)
        lines = []
        for line in self.process.stdout:
            if line.rstrip("\n") == MARKED:
                return lines
            lines.append(re.sub(r"^\s*\d+[)~#] ", "", line.rstrip("\n")))
        raise EOFError("redis-cli left: " + "".join(lines))

    def ask(self, line):
        self.send(line)
        return [item for item in self.read() if item]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


def mode(*arguments, **settings):
    """Runs redis-cli with arguments to its end; returns its output, which must not contain complaints."""
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=120, **settings)
    said = (done.stdout + done.stderr).decode("latin-1")
    expect(done.returncode == 0 and not COMPLAINT.search(said.replace("errors: 0", "")), said)
    return said


def integer(text):
    expect(text.startswith("(integer) "), text)
    return int(text[10:])


first, second = Cli(), Cli()


def name():
    expect(first.ask("CLIENT SETNAME shell") == ["OK"], "CLIENT SETNAME")
    expect(first.ask("CLIENT GETNAME") == ['"shell"'], "CLIENT GETNAME")
    expect(f" resp={PROTOCOL}" in first.ask("CLIENT INFO")[0], f"protocol {PROTOCOL}")


def claim():
    got = first.ask("IDEM.CLAIM order-1 FP fp-1 OWNER call-1 LEASE 600000")
    expect(got[0] == '"CLAIMED"', repr(got))
    expect(got[2:] == ["(integer) 600000", "(integer) 1", "(nil)"], repr(got))
    return integer(got[1])


def duplicate():
    got = first.ask("IDEM.CLAIM order-1 FP fp-1 OWNER call-2")
    expect(got[0] == '"BUSY"' and 0 < integer(got[1]) <= 600000, repr(got))
    expect(got[3:] == ['"call-1"', "(nil)"],
           repr(got))


def store(token):
    second.send("IDEM.CLAIM order-1 FP fp-1 WAIT 50000")
    until(lambda: "blocked_clients:1" in mode("INFO", "clients"), "a waiting connection")
    got = first.ask(f"IDEM.STORE order-1 {token} the-response TTL 60000 META 201")
    expect(got == ["(integer) 1"], repr(got))


def expect_done(got):
    expect(got[:3] == ['"DONE"', '"the-response"', '"201"'], repr(got))
    expect(0 < integer(got[4]) <= 60000, repr(got))


def binary():
    key = quoted(BINARY_KEY)
    token = integer(first.ask(f"IDEM.CLAIM {key}")[1])
    expect(first.ask(f"IDEM.STORE {key} {token} {quoted(BINARY_BODY)}") == ["(integer) 0"], "STORE")
    fetched = first.ask(f"IDEM.FETCH {key}")[1]
    expect(unquoted(fetched[1:-1]) == BINARY_BODY, "the body came back changed")
    # -x takes the last argument from standard input as it is.
    token = integer(first.ask("IDEM.CLAIM from-a-file")[1])
    mode("-x", "IDEM.STORE", "from-a-file", str(token), input=BINARY_BODY)
    done = subprocess.run([*COMMAND, "--raw", "GET", "from-a-file"], capture_output=True,
                          timeout=120)
    expect(done.stdout == BINARY_BODY + b"\n", "-x and --raw changed the body")


def refusal(token):
    for code, line in (("MISMATCH", "IDEM.CLAIM order-1 FP fp-2"),
                       ("STALE", f"IDEM.STORE order-1 {token - 1} x"),
                       ("ERR unknown command 'LPUSH', with args beginning with: 'a' 'b'",
                        "LPUSH a b")):
        got = first.ask(line)
        expect(got[0].startswith(f"(error) {code}"), repr(got))


def strings():
    for line, reply in (("SET lock mine NX PX 600000", "OK"),
                        ("SET lock yours NX PX 600000", "(nil)"),
                        ("GET lock", '"mine"'), ("DEL lock", "(integer) 1"),
                        ("EXISTS lock", "(integer) 0")):
        got = first.ask(line)
        expect(got == [reply], f"{line}: {got}")


def transaction():
    got = [first.ask(line) for line in ("MULTI", "SET t 1", "GET t", "EXEC")]
    expect(got == [["OK"], ["QUEUED"], ["QUEUED"], ["OK", '"1"']], repr(got))


def pubsub():
    listener = subprocess.Popen([*COMMAND, "SUBSCRIBE", "__idem__:order-2"], stdout=subprocess.PIPE,
                                text=True)
    try:
        channel = "PUBSUB NUMSUB __idem__:order-2"
        until(lambda: first.ask(channel)[1] == "(integer) 1", "a listener")
        token = integer(first.ask("IDEM.CLAIM order-2")[1])
        first.ask(f"IDEM.STORE order-2 {token} x")
        lines = [listener.stdout.readline().strip() for _ in range(6)]
        expect(lines[-3:] == ["message", "__idem__:order-2", "done"], repr(lines))
    finally:
        listener.terminate()
        listener.communicate()


def pipeline():
    for number in range(200):
        first.send(f"IDEM.CLAIM many-{number}")
    got = first.read()
    tokens = [integer(got[at + 1]) for at, line in enumerate(got) if line == '"CLAIMED"']
    expect(len(tokens) == 200 and tokens == sorted(set(tokens)), repr(got[:6]))


def reconnect(token):
    restart()
    got = first.ask("IDEM.CLAIM order-1 OWNER again")
    if got and got[0].startswith("Error: "):  # with this line it notices that the server has left
        got = first.ask("IDEM.CLAIM order-1 OWNER again")
    expect(got and got[0] == '"CLAIMED"' and integer(got[1]) > token, repr(got))


def pipe():
    commands = b"".join(b"*4\r\n$10\r\nIDEM.CLAIM\r\n$%d\r\npipe-%d\r\n$2\r\nFP\r\n$2\r\n\r\n\r\n"
                        % (len(b"pipe-%d" % n), n) for n in range(5000))
    said = mode("--pipe", input=commands)
    expect("errors: 0, replies: 5000" in said, said)


def stat():
    process = subprocess.Popen([*COMMAND, "--stat", "-i", "0.01"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        lines = [process.stdout.readline().decode() for _ in range(5)]
    finally:
        process.terminate()
        process.communicate()
    expect("keys" in lines[1] and re.match(r"\d+ +[\d.]+[KMGB]? +\d+ +\d+", lines[3]), repr(lines))


def bigkeys():
    first.ask("SET big " + "x" * 5000)
    said = mode("--bigkeys")
    expect("""Biggest string found '"big"' has 5000 bytes""" in said, said)
    keys = integer(first.ask("DBSIZE")[0])
    expect(f"Sampled {keys} keys in the keyspace" in said, said)


def memkeys():
    keys = integer(first.ask("DBSIZE")[0])
    said = mode("--memkeys")
    expect(f"Sampled {keys} keys in the keyspace" in said and "idem" in said, said)


def scan():
    expect(len(set(mode("--scan", "--pattern", "pipe-*").split())) == 5000, "--scan --pattern")
    expect(len(mode("--scan").split()) == integer(first.ask("DBSIZE")[0]), "--scan")


def latency():
    said = mode("--latency", "--raw", "-i", "1")
    expect(re.match(r"\d+ \d+ [\d.]+ [1-9]\d*$", said.strip()), said)


class Terminal:
    """redis-cli on a terminal of its own, wide enough for a hint."""

    def __init__(self):
        self.home = tempfile.TemporaryDirectory()
        environment = dict(os.environ, TERM="xterm", HOME=self.home.name)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it ends by this, under nohup too
            os.execvpe("redis-cli", COMMAND, environment)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        self.prompt = f"{PORT}> "
        self.await_text(self.prompt)

    def type(self, text):
        for character in text:
            os.write(self.fd, character.encode())

    def enter(self, line, *wanted):
        """Ends the line and reads to the next prompt, since text typed earlier is shown twice."""
        self.type(line)
        self.await_text(line)
        self.type("\r")
        return self.await_text("\n127.0.0.1:" + self.prompt, *wanted)

    def await_text(self, *wanted):
        """Reads until the screen shows all of the words; returns the text without colours."""
        seen, deadline = "", time.monotonic() + TERMINAL_SECONDS
        while not all(text in seen for text in wanted):
            ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
            expect(ready, f"{wanted} did not show: {seen[-1500:]!r}")
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            expect(data, f"redis-cli left: {seen[-1500:]!r}")
            seen += re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", data.decode("latin-1"))
        return seen

    def close(self):
        os.kill(self.pid, signal.SIGHUP)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        self.home.cleanup()


def on_terminal(use):
    terminal = Terminal()
    try:
        use(terminal)
    finally:
        terminal.close()


def hints(terminal):
    terminal.type("CLAIM ")
    terminal.await_text("CLAIM key [FP fingerprint] [OWNER id] [LEASE milliseconds]"
                        " [WAIT milliseconds] [BORN unix-time-milliseconds] [BIND] [HOLD]"
                        " [TAKEOVER token]")
    terminal.type("order-3 ")  # typed words disappear from the hint
    terminal.await_text("CLAIM order-3 [FP fingerprint] [OWNER id]")
    terminal.enter("WAIT 5000", '1) "CLAIMED"')
    terminal.type("set ")
    terminal.await_text("set key value [NX")


def tab(terminal):
    terminal.type("clai\t")
    terminal.await_text("CLAIM")
    terminal.enter(" order-4", '1) "CLAIMED"')
    terminal.type("help rel\t")
    terminal.await_text("RELEASE")
    terminal.enter("", "RELEASE key token", "summary: ", "since: ", "group: idempotency")


def documented(terminal):
    terminal.enter("help @idempotency", "CLAIM key [FP fingerprint]", "STORE key token body",
                   "AWAIT key milliseconds")
    # Every command has help, and redis-cli can show all of it.
    for row in first.ask("COMMAND LIST"):
        terminal.enter("help " + row.strip('"').replace("|", " "), "summary: ", "group: ")


step("connect", lambda: expect(first.ask("PING") == second.ask("PING") == ["PONG"], "PING"))
step("name", name)
granted = step("claim", claim)
step("duplicate", duplicate)
step("store", store, granted)
step("wait", lambda: expect_done(second.read()))
step("replay", lambda: [expect_done(first.ask(line)) for line in
                        ("IDEM.CLAIM order-1 FP fp-1", "IDEM.FETCH order-1")])
step("binary", binary)
step("refusal", refusal, granted)
step("null", lambda: expect(first.ask("IDEM.FETCH nothing-here") == ["(nil)"], "FETCH of nothing"))
step("strings", strings)
step("transaction", transaction)
step("pubsub", pubsub)
step("pipeline", pipeline)
step("reconnect", reconnect, granted)
for each in (pipe, stat, bigkeys, memkeys, scan, latency):
    step(each.__name__, each)
step("hints", on_terminal, hints)
step("tab", on_terminal, tab)
step("help", on_terminal, documented)
first.close()
second.close()
