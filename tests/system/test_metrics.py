"""/metrics, errorstats, latencystats and the histograms of waits, under load: the sums of all loops are what the clients
saw. And each metric that the dashboard and the alert rules of server/deploy use is in /metrics of a real server.
"""

import collections
import http.client
import json
import os
import re
import socket
import threading
import time
import unittest

from exposition import Exposition
from harness import ROOT, RespError, ServerCase, eventually

RULES = "server/deploy/prometheus/idem.rules.yml"
DASHBOARD = "server/deploy/grafana/idem.json"
GUIDE = "server/GUIDE.md"
CLIENTS, ROUNDS = 6, 60
# Of options that a server may have been built without, or runs without here: family -> option.
OPTIONAL = {"idem_tls_": "tls-port", "idem_user_": "aclfile"}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


class Case(ServerCase):
    def open(self, *options):
        for _ in range(5):  # the free port may be taken by then
            self.port = free_port()
            try:
                return self.start("--http-port", self.port, *options)
            except AssertionError as error:
                if "address already in use" not in str(error):
                    raise
        raise AssertionError("no free port")

    def scrape(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        self.assertEqual(answer.status, 200, text)
        return Exposition(text)

    def scrape_now(self, server):
        """The answer to all who ask within a moment is one: this is one of after now."""
        commands = int(server.info("stats")["total_commands_processed"])
        return eventually(lambda: self.scrape_at_least(commands), "fresh metrics")

    def scrape_below(self, commands):
        metrics = self.scrape()
        return metrics if metrics.value("idem_commands_processed_total") < commands else None

    def scrape_at_least(self, commands):
        metrics = self.scrape()
        return metrics if metrics.value("idem_commands_processed_total") >= commands else None


def stats(client, section, begins):
    """{rest of the name: {field: value}} of the lines of INFO that begin so."""
    lines = client.call("INFO", section).decode().split("\r\n")
    return {name[len(begins):]: dict(field.split("=") for field in fields.split(",") if field)
            for name, _, fields in (line.partition(":") for line in lines if line.startswith(begins))}


class Sums(Case):
    THREADS = 1

    def load(self, server, number, seen, trouble):
        """Commands of which many fail, in each way in which a reply comes; the errors by code."""
        errors = collections.Counter()

        def note(reply):
            if isinstance(reply, RespError):
                errors[reply.code] += 1
            elif isinstance(reply, list):
                for each in reply:
                    note(each)
            return reply

        try:
            with server.client() as client:
                if number % 2:
                    client.call("HELLO", "3")
                for i in range(ROUNDS):
                    key = f"k{number}-{i}"
                    token = note(client.call("CLAIM", key, "FP", "a", "LEASE", 600000))[1]
                    note(client.call("CLAIM", key, "FP", "b"))
                    note(client.call("STORE", key, 1, "x"))
                    note(client.call("STORE", key, token, "x"))
                    note(client.call("CLAIM", key, "FP", "a"))
                    note(client.call("MADE-UP-%d" % i))
                    note(client.call("GET"))
                    note(client.call("SET", "v", i))
                    note(client.call("CLAIM", "v"))
                    for command in ("MULTI",), ("STORE", key, 1, "y"), ("SET", "v", i), ("EXEC",):
                        note(client.call(*command))
                    if i % 10 == 0:
                        for command in ("MULTI",), ("NOSUCH",), ("EXEC",):
                            note(client.call(*command))
                seen.append(errors)
        except Exception as error:  # pylint: disable=broad-except
            trouble.append(error)

    def under_load(self, server):
        seen, trouble = [], []
        threads = [threading.Thread(target=self.load, args=(server, number, seen, trouble)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for _ in range(10):  # reading disturbs nothing
            self.scrape()
        for thread in threads:
            thread.join()
        self.assertEqual(trouble, [])
        return sum(seen, collections.Counter())

    def test_errors_are_those_that_the_clients_saw(self):
        server = self.open("--threads", self.THREADS)
        client = self.connect(server)
        saw = self.under_load(server)
        self.assertEqual(set(saw), {"ERR", "MISMATCH", "STALE", "WRONGTYPE", "EXECABORT"})
        told = {code: int(fields["count"]) for code, fields in stats(client, "errorstats", "errorstat_").items()}
        self.assertEqual(told, saw)
        self.assertEqual(server.info("stats")["total_error_replies"], str(sum(saw.values())))
        metrics = self.scrape_now(server)
        self.assertEqual(metrics.by("idem_errors_total", "error"), saw)
        self.assertEqual(metrics.value("idem_mismatches_total"), saw["MISMATCH"])
        self.assertEqual(sum(metrics.by("idem_stale_total", "kind").values()), saw["STALE"])
        self.assertEqual(metrics.value("idem_claims_granted_total"), CLIENTS * ROUNDS)
        self.assertEqual(metrics.value("idem_replayed_total"), CLIENTS * ROUNDS)
        calls = {name: int(fields["calls"]) for name, fields in stats(client, "commandstats", "cmdstat_").items()}
        self.assertEqual(calls["store"], 3 * CLIENTS * ROUNDS)
        self.assert_latencies(client, metrics, calls)
        self.assertEqual(client.call("CONFIG", "RESETSTAT"), "OK")
        self.assertEqual(stats(client, "errorstats", "errorstat_"), {})
        self.assertEqual(set(stats(client, "latencystats", "latency_percentiles_usec_")), {"config|resetstat", "info"})
        metrics = eventually(lambda: self.scrape_below(1000), "fresh metrics")
        self.assertEqual(metrics.by("idem_errors_total", "error"), {})
        self.assertEqual(metrics.value("idem_commands_total", command="claim"), 0)

    def assert_latencies(self, client, metrics, calls):
        """A histogram has each call, and its buckets grow up to all of them."""
        reply = client.call("LATENCY", "HISTOGRAM", "claim", "store", "set", "exec")
        told = {name.decode(): dict(zip(fields[::2], fields[1::2])) for name, fields in zip(reply[::2], reply[1::2])}
        self.assertEqual(set(told), {"claim", "store", "set", "exec"})
        for name, fields in told.items():
            levels = fields[b"histogram_usec"]
            self.assertEqual(fields[b"calls"], calls[name], name)
            self.assertEqual(levels[::2], sorted(set(levels[::2])), name)
            self.assertEqual(levels[1::2], sorted(set(levels[1::2])), name)
            self.assertEqual(levels[-1], calls[name], name)
            self.assertEqual(metrics.value("idem_command_duration_seconds_count", command=name), calls[name])
            buckets = [number for (each, labels), number in metrics.samples.items()
                       if each == "idem_command_duration_seconds_bucket" and dict(labels)["command"] == name]
            self.assertEqual(buckets, sorted(buckets), name)
            self.assertEqual(buckets[-1], calls[name], name)

    def test_waits_by_how_they_ended(self):
        server = self.open("--threads", self.THREADS)
        owner, done, busy, claims, gone = (self.connect(server) for _ in range(5))
        token = self.claim(owner, "k", "LEASE", 600000)[0]
        done.send("WAIT", "k", 60000)
        gone.send("WAIT", "k", 60000)
        busy.send("WAIT", "k", 30)
        self.assert_status(busy.read(), "BUSY")
        eventually(lambda: server.info("clients")["blocked_clients"] == "2", "two that wait")
        gone.close()
        eventually(lambda: server.info("clients")["blocked_clients"] == "1", "one that waits")
        owner.call("STORE", "k", token, "x")
        self.assert_status(done.read(), "DONE")
        token = self.claim(owner, "l", "LEASE", 600000)[0]
        claims.send("CLAIM", "l", "WAIT", 60000)
        eventually(lambda: server.info("clients")["blocked_clients"] == "1", "one that waits")
        owner.call("RELEASE", "l", token)
        self.assert_status(claims.read(), "CLAIMED")
        told = {name: fields["count"] for name, fields in stats(owner, "waits", "wait_").items()}
        self.assertEqual(told, dict.fromkeys(("claimed", "done", "busy", "gone"), "1"))
        metrics = self.scrape_now(server)
        self.assertEqual({name for name, count in metrics.by("idem_wait_seconds_count", "outcome").items() if count}, set(told))
        self.assertGreaterEqual(metrics.value("idem_wait_seconds_sum", outcome="busy"), 0.03)
        self.assertEqual(metrics.value("idem_wait_seconds_bucket", outcome="busy", le="0.016"), 0)

    def test_bytes_that_come_while_a_client_waits_do_not_shorten_its_wait(self):
        server = self.open("--threads", self.THREADS)
        owner, waits = self.connect(server), self.connect(server)
        self.claim(owner, "k", "LEASE", 600000)
        waits.send("WAIT", "k", 400)
        eventually(lambda: server.info("clients")["blocked_clients"] == "1", "one that waits")
        began = time.monotonic()
        while time.monotonic() - began < 0.2:
            waits.send("PING")
            owner.call("PING")
        self.assert_status(waits.read(), "BUSY")
        self.assertGreaterEqual(self.scrape_now(server).value("idem_wait_seconds_sum", outcome="busy"), 0.4)


class FourLoops(Sums):
    THREADS = 4


class Bounds(Case):
    def test_no_client_can_make_up_an_error(self):
        server = self.open()
        client = self.connect(server)
        for i in range(500):
            word = f"WORD{i} x"
            for command in (word,), ("CLAIM", "k", word), ("AUTH", word), ("CONFIG", word), ("CONFIG", "SET", word, "x"), \
                    ("HELLO", word), ("\r\n-" + word,), ("ACL", "DRYRUN", word, word):
                client.send(*command)
        for _ in range(8 * 500):
            self.assertIsInstance(client.read(), RespError)
        codes = set(stats(client, "errorstats", "errorstat_"))
        self.assertLessEqual(codes, {"ERR", "WRONGPASS", "NOPROTO"})


class Deployed(Case):
    """What server/deploy shows and alerts on."""

    @classmethod
    def setUpClass(cls):
        cls.dashboard = json.loads(read(DASHBOARD))
        panels = [panel for panel in cls.dashboard["panels"] if panel["type"] != "row"]
        cls.expressions = {f"{DASHBOARD}: {panel['title']} {target['refId']}": target["expr"]
                           for panel in panels for target in panel["targets"]}
        # Without a parser of YAML: an alert begins with its name; its expression goes to the labels.
        cls.alerts = dict(re.findall(r"- alert: (\w+)\n\s+expr: (.*?)\n\s+(?:for|labels):", read(RULES), re.S))
        cls.expressions.update({f"{RULES}: {name}": text for name, text in cls.alerts.items()})

    def test_all_are_read(self):
        self.assertGreater(len(self.alerts), 15)
        self.assertEqual(len(self.alerts), read(RULES).count("- alert:"))
        self.assertGreater(len(self.expressions), len(self.alerts) + 40)

    def test_each_metric_exists(self):
        server = self.open("--threads", 2)
        client = self.connect(server)
        self.claim(client, "k", "FP", "a")
        client.call("CLAIM", "k", "FP", "b")
        metrics = self.scrape()
        names, labels = metrics.names(), metrics.label_names() | {"job", "instance"}
        options = [option for option in OPTIONAL.values() if client.call("CONFIG", "GET", option)]
        for where, text in self.expressions.items():
            used = set(re.findall(r"\bidem_\w+", text))
            self.assertTrue(used or "up{" in text, where)
            for name in used - names:
                option = next((option for begins, option in OPTIONAL.items() if name.startswith(begins)), None)
                self.assertTrue(option and option not in options, f"{where}: there is no {name}")
            selectors = re.findall(r"\{([^}]*)\}", text)
            for label in re.findall(r"(\w+)=", ",".join(selectors)):
                self.assertIn(label, labels, where)

    def test_a_label_of_an_alert_has_values_that_exist(self):
        self.open()
        metrics = self.scrape()
        self.assertIn("unknown", metrics.by("idem_records", "state"))
        self.assertEqual(set(metrics.by("idem_stale_total", "kind")), {"absent", "stored", "overtaken"})

    def test_each_alert_is_explained(self):
        anchors = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
                   for heading in re.findall(r"^#+ (.*)$", read(GUIDE), re.M)}
        guides = re.findall(r'guide: "server/GUIDE.md#([\w-]+)"', read(RULES))
        self.assertEqual(len(guides), len(self.alerts))
        self.assertLessEqual(set(guides), anchors)


if __name__ == "__main__":
    unittest.main()
