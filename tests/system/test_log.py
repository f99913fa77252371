"""What the log says of what clients do: who, never what they sent unescaped, no key, no secret."""

import re

from harness import RespError, ServerCase, eventually

WHO = r" by client \d+ from 127\.0\.0\.1:\d+$"


class Log(ServerCase):
    def lines(self, server, what):
        """The texts that begin with it, once there is one."""
        pattern = re.compile(r"\d [+-]\d\d:\d\d [.*#-] (" + what + ".*)")
        return eventually(lambda: pattern.findall(server.log()), what)

    def test_flushall(self):
        for loops in (1, 4):
            server = self.start("--threads", loops)
            client = self.connect(server)
            for _ in range(20):
                self.assertEqual(client.call("FLUSHALL"), "OK")
            client.send("MULTI"), client.send("FLUSHALL"), client.send("EXEC")
            self.assertEqual([client.read() for _ in range(3)], ["OK", "QUEUED", ["OK"]])
            first, *more = self.lines(server, "FLUSHALL")
            self.assertRegex(first, "^FLUSHALL" + WHO)
            self.assertLess(len(more), 10, "one a second")

    def test_clear_shows_no_key(self):
        server = self.start()
        client = self.connect(server)
        numbers = []
        for key, way in (("secret-a", "release"), ("secret-a", "store"), ("secret-b", "release")):
            eventually(lambda: self.cleared(client, key, way) and server.log().count("CLEAR of key #") > len(numbers),
                       "another line")
            numbers.append(self.lines(server, "CLEAR of key #")[-1].split()[3])
            self.assertRegex(self.lines(server, "CLEAR of key #")[-1], r"^CLEAR of key #[0-9a-f]{16}" + WHO)
        self.assertEqual(numbers[0], numbers[1])
        self.assertNotEqual(numbers[0], numbers[2])
        self.assertNotIn("secret", server.log())

    def cleared(self, client, key, way):
        token = self.claim(client, key)[0]
        more = ("RELEASE", key, token) if way == "release" else ("STORE", key, token, "x", "TTL", 0)
        self.assertNotIsInstance(client.call(*more, "CLEAR"), RespError)
        return True

    def test_at_debug_it_does_and_escapes_it(self):
        server = self.start("--loglevel", "debug")
        client = self.connect(server)
        self.cleared(client, b"k\n\xe2\x80\xae", "release")
        line, = self.lines(server, "CLEAR of key")
        self.assertRegex(line, r"^CLEAR of key 'k\\x0a\\xe2\\x80\\xae'" + WHO)

    def test_config_set_without_secrets(self):
        server = self.start()
        client = self.connect(server)
        self.assertEqual(client.call("CONFIG", "SET", "MaxMemory", "1gb", "requirepass", "hunter2", "lease", "9s"), "OK")
        eventually(lambda: "CONFIG SET lease" in server.log(), "its line")
        self.assertEqual([re.sub(WHO, "", line) for line in self.lines(server, "CONFIG SET")],
                         ["CONFIG SET maxmemory 1gb", "CONFIG SET requirepass", "CONFIG SET lease 9s"])
        self.assertNotIn("hunter2", server.log())
        client.call("CONFIG", "SET", "lease", "never\n1 # forged")
        self.assertNotIn("forged", server.log(), "it was refused")

    def test_http_is_one_line_a_minute(self):
        server = self.start()
        for _ in range(5):
            client = self.connect(server)
            client.send_raw(b"GET / HTTP/1.1\r\nHost: \x1b[2J\r\n\r\n")
            self.assertTrue(client.ended())
        self.assertEqual(len(self.lines(server, "client closed: it speaks HTTP")), 1)
        self.assertNotIn("\x1b", server.log())

    def test_a_failed_auth_is_one_line_a_second_and_shows_nothing_of_it(self):
        server = self.start(config="requirepass right\n")
        for _ in range(2):
            self.connect(server).send("AUTH", "us\ner", "wr\nong")
        line, *_ = self.lines(server, "wrong password")
        self.assertRegex(line, r"^wrong password from 127\.0\.0\.1:\d+ \(client \d+\)$")
        self.assertNotIn("us\n", server.log())
