"""What many connections send is found in their sockets in one turn: whole commands, halves, single
bytes, pipelines, ends and resets. Each is answered exactly, in its own order, as if it were alone.

The seed is printed; IDEM_SEED repeats a run.
"""

import os
import random
import unittest

from harness import HANG_SECONDS, INSTRUMENTED, ServerCase, encode

CROWD = 60
ROUNDS = 10 if INSTRUMENTED else 40
SEED = int(os.environ.get("IDEM_SEED", random.SystemRandom().randrange(1 << 32)))


class Speaker:
    """A connection, what it has still to say, and what it has to hear for what it has said."""

    def __init__(self, case, server, name, rng):
        self.client, self.name, self.rng = case.connect(server), name, rng
        self.rest, self.ends, self.value = b"", [], None

    def command(self):
        """One command and its reply: of its own key, so that both are known."""
        kind, key = self.rng.randrange(6), f"own:{self.name}"
        if kind == 0:
            return encode("PING"), b"+PONG\r\n"
        if kind == 1:
            return b"PING inline\r\n", b"$6\r\ninline\r\n"
        if kind == 2:
            return b"GET\r\n", b"-ERR wrong number of arguments for 'get' command\r\n"
        if kind == 3:
            body = self.rng.randbytes(self.rng.choice((0, 5, 40, 900, 1100, 5000, 70_000)))
            return encode("ECHO", body), b"$%d\r\n%s\r\n" % (len(body), body)
        before = b"$-1\r\n" if self.value is None else b"$%d\r\n%s\r\n" % (len(self.value), self.value)
        if kind == 4:
            return encode("GET", key), before
        self.value = self.rng.randbytes(self.rng.randrange(1, 60))
        return encode("GETSET", key, self.value), before

    def say(self):
        """Says a piece: mostly up to the end of a command. Returns what is answered."""
        if not self.ends:
            for _ in range(self.rng.choice((1, 1, 1, 2, 40))):
                data, reply = self.command()
                self.rest += data
                self.ends.append((len(self.rest), reply))
        size = self.rng.choice((self.ends[0][0], self.ends[0][0], 1, self.rng.randint(1, len(self.rest)),
                                len(self.rest)))
        self.client.send_raw(self.rest[:size])
        self.rest = self.rest[size:]
        heard = b"".join(reply for end, reply in self.ends if end <= size)
        self.ends = [(end - size, reply) for end, reply in self.ends if end > size]
        return heard


class Turns(ServerCase):
    def hear(self, speaker, wanted):
        got = b""
        while len(got) < len(wanted):
            part = speaker.client.read_raw()
            self.assertTrue(part, f"{speaker.name} heard an end instead of {wanted[len(got):][:80]}")
            got += part
        self.assertEqual(got, wanted, f"IDEM_SEED={SEED}: what {speaker.name} heard")

    def leave(self, speaker, heard, rng):
        """Ends after what it has said, or breaks, which nobody hears of."""
        if rng.randrange(2) == 0:
            speaker.client.reset()
            return False
        speaker.client.half_close()
        self.after.append((speaker, heard))
        return True

    def round(self, server, speakers, rng):
        """One turn of a stopped server: who speaks, who speaks again, who leaves."""
        wanted, self.after = {}, []
        with server.stopped():
            for speaker in rng.sample(speakers, rng.randint(CROWD // 2, CROWD)):
                heard = speaker.say()
                if rng.randrange(4) == 0:
                    heard += speaker.say()
                if rng.randrange(15) > 0:
                    wanted[speaker] = heard
                    continue
                speakers.remove(speaker)
                self.leave(speaker, heard, rng)
        for speaker, heard in wanted.items():
            self.hear(speaker, heard)
        for speaker, heard in self.after:
            self.hear(speaker, heard)
            self.assertTrue(speaker.client.ended())

    def attack(self, *options):
        print(f"IDEM_SEED={SEED}", flush=True)
        rng = random.Random(f"{SEED} {options}")
        server = self.start(*options)
        speakers, count = [], 0
        for _ in range(ROUNDS):
            while len(speakers) < CROWD:
                speakers.append(Speaker(self, server, count, rng))
                count += 1
            self.round(server, speakers, rng)
        with server.client(timeout=HANG_SECONDS) as client:
            self.assertEqual(client.call("PING"), "PONG")

    def test_one_loop(self):
        self.attack("--threads", "1")

    def test_four_loops(self):
        self.attack("--threads", "4")

    def test_clients_that_have_to_give_a_password(self):
        """Each gives it in a command of its own, among others that may already speak."""
        server = self.start(config="requirepass secret\n")
        clients = [self.connect(server) for _ in range(40)]
        for step in range(3):
            with server.stopped():
                for n, client in enumerate(clients):
                    client.send(*(("AUTH", "secret") if n % 3 == step else ("GET", "k")))
            for n, client in enumerate(clients):
                reply = client.read()
                if n % 3 == step:
                    self.assertEqual(reply, "OK")
                elif n % 3 < step:
                    self.assertIsNone(reply)
                else:
                    self.assert_error(reply, "NOAUTH")


if __name__ == "__main__":
    unittest.main()
