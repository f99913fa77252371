"""The status page as a person sees it, in headless Chromium, while 20 claims run, one has lapsed and one is UNKNOWN."""

import json
import os
import re
import socket
import subprocess

from harness import HANG_SECONDS, ServerCase, eventually

HERE = os.path.dirname(os.path.abspath(__file__))
PICTURES = os.path.join(os.environ.get("IDEM_OPS", "build/ops"), "page")
HOUR_MS = 3_600_000
HEADINGS = ["idem status", "Needs a person", "In flight", "Abandoned", "Rates", "Granted", "Replayed", "Mismatches", "Stale",
            "Memory", "Journal", "Clients"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PageCase(ServerCase):
    def open(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.server = self.start("--http-port", self.port, "--http-bind", "127.0.0.1", "--maxmemory", "64mb")
        self.client = self.connect(self.server)
        for n in range(20):
            self.claim(self.client, f"charge:order-{n:02}", "LEASE", HOUR_MS)
        self.client.call("RENEW", "charge:order-00", self.claim(self.client, "extra", "LEASE", 1)[0])
        token = self.claim(self.client, "refund:4711", "HOLD", "LEASE", 300)[0]
        self.client.call("RENEW", "refund:4711", token, "STAGE", "sent to the bank")
        eventually(lambda: self.figure("unknown") == 1 and self.figure("lapsed") == 1, "one lapsed, one unknown")

    def figure(self, name):
        return int(self.server.info("idem", self.client)[name])

    def node(self, *arguments, **settings):
        return subprocess.Popen(["node", os.path.join(HERE, "page.js"), *arguments], stdout=subprocess.PIPE, text=True,
                                **settings)


class Looks(PageCase):
    def test_what_a_person_sees(self):
        self.open()
        node = self.node("look", self.url, PICTURES)
        said, _ = node.communicate(timeout=HANG_SECONDS * 3)
        self.assertEqual(node.returncode, 0)
        seen = {result["name"]: result for result in map(json.loads, said.splitlines())}
        self.assertEqual(len(seen), 12)
        for name, result in seen.items():
            with self.subTest(name):
                self.check(result)
        backgrounds = {scheme: {result["background"] for name, result in seen.items() if scheme in name}
                       for scheme in ("light", "dark")}
        self.assertEqual([len(colours) for colours in backgrounds.values()], [1, 1])
        self.assertNotEqual(backgrounds["light"], backgrounds["dark"])
        print(f"# pictures: {PICTURES}")

    def check(self, result):
        text = result["text"]
        self.assertEqual(result["errors"], [], "script errors, violations of the policy, failed requests")
        self.assertEqual([url for url in result["requests"] if url not in (self.url, "data:,")], [], "requests to elsewhere")
        self.assertEqual(result["title"], "(1 UNKNOWN) idem status")
        self.assertEqual(result["headings"], HEADINGS)
        self.assertEqual(result["tables"], 2)
        self.assertEqual(result["rows"], 20 + 1 + 2)
        self.assertEqual(result["charts"], 4)
        self.assertEqual((result["scroll"], result["wider"]), (int(result["name"].split("-")[0]), []), "it fits the window")
        for n in range(20):
            self.assertIn(f"charge:order-{n:02}", text)
        for words in ("Serving", "UNKNOWN", "refund:4711", "sent to the bank", "extra", "What to do",
                      "INSPECT refund:4711", "STORE refund:4711 TOKEN RESPONSE", "RELEASE refund:4711 TOKEN CLEAR"):
            self.assertIn(words, text)
        self.assertIn("Updates every 5 s" if "script" in result["name"] else "Refresh", result["live"])
        if "accessibility" in result:
            self.assertEqual(result["accessibility"]["violations"], [])
            self.assertGreater(result["accessibility"]["passes"], 20)
        if "tabbed" in result:
            for words in ("A Skip to the claims", "BUTTON Pause", "SUMMARY What to do", "CODE INSPECT refund:4711", "A claims.json"):
                self.assertIn(words, result["tabbed"])
            self.assertEqual(result["tabbed"][0], "A Skip to the claims")


class Live(PageCase):
    def ask(self, line):
        self.page.stdin.write(line + "\n")
        self.page.stdin.flush()
        return json.loads(self.page.stdout.readline())

    def test_it_renews_itself(self):
        self.open()
        self.page = self.node("live", self.url, stdin=subprocess.PIPE)
        self.addCleanup(self.page.wait)
        self.addCleanup(self.page.stdin.close)
        self.assertEqual(json.loads(self.page.stdout.readline()), "open")
        self.ask("unfold")  # the only one is unfolded from the start
        self.ask("unfold")
        self.ask("focus")
        self.claim(self.client, "it-came-later", "LEASE", HOUR_MS)
        self.ask("wait it-came-later")
        self.assertIs(self.ask("unfolded"), True, "what was unfolded stays so")
        self.assertEqual(self.ask("focused"), "What to do", "the focus stays where it was")
        token = self.client.call("INSPECT", "refund:4711")
        token = token[token.index(b"token") + 1]
        self.assertEqual(self.client.call("RELEASE", "refund:4711", token, "CLEAR"), 1)
        self.ask("wait Nothing: no claim has an unknown outcome.")
        self.assertEqual(self.ask("title"), "idem status")
        self.ask("press Pause")
        self.assertIn("Paused", self.ask("text"))
        self.ask("press Resume")
        self.assertEqual(self.ask("errors"), [])
        self.server.stop()
        self.ask("wait No answer")
        self.assertTrue(all(re.search(r"ERR_CONNECTION_REFUSED|^failed: " + re.escape(self.url), error)
                            for error in self.ask("errors")))
