"""Insight as operators have it: Debian's prometheus scrapes a real server and shows rates of claims, replays, mismatches and
stale tokens, its alerts fire, the dashboard's queries have answers; promtool finds no fault in metrics and rules; Debian's
exporter for Redis shows the errors and the latencies of idem unchanged.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse
import urllib.request

from harness import ROOT, RespError, Server, eventually

DEPLOY = os.path.join(ROOT, "server/deploy")
RULES = os.path.join(DEPLOY, "prometheus/idem.rules.yml")
RULE_TESTS = os.path.join(DEPLOY, "prometheus/idem.rules.test.yml")
DASHBOARD = os.path.join(DEPLOY, "grafana/idem.json")
# Panels of what does not happen in a minute of this test.
MAY_BE_EMPTY = {"maxmemory"}


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def answered(url):
    try:
        return get(url) or True
    except OSError:
        return None


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp(prefix="idem-test-")
        self.addCleanup(shutil.rmtree, self.directory)

    def run_beside(self, *command):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            process = subprocess.Popen(command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def start(self, *options):
        self.http = free_port()
        server = Server("--http-port", self.http, "--dir", os.path.join(self.directory, "journal"), *options)
        self.addCleanup(lambda: (server.kill(), server.forget()))
        return server

    def promtool(self, *arguments, stdin=None):
        done = subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout + done.stderr


class Load:
    """Clients that claim, retry, mistake keys and lose claims, until it is stopped; what they saw."""

    def __init__(self, server):
        self.server, self.stopped = server, threading.Event()
        self.saw = {"claims": 0, "replays": 0, "mismatches": 0, "stale": 0}
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        with self.server.client() as client:
            i = 0
            while not self.stopped.is_set():
                i += 1
                token = client.call("CLAIM", f"k{i}", "FP", "a")[1]
                self.saw["mismatches"] += isinstance(client.call("CLAIM", f"k{i}", "FP", "b"), RespError)
                client.call("STORE", f"k{i}", token, "x")
                self.saw["replays"] += client.call("CLAIM", f"k{i}", "FP", "a")[0] == b"DONE"
                self.saw["stale"] += isinstance(client.call("STORE", f"k{i}", 1, "y"), RespError)
                client.call("CLAIM", "busy")
                client.call("WAIT", "busy", 5)
                self.saw["claims"] += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


CONFIG = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{rules}"]
scrape_configs:
  - job_name: idem
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


class Prometheus(Case):
    def scraping(self):
        """Its address, once it has scraped the server."""
        path = os.path.join(self.directory, "prometheus.yml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(rules=RULES, port=self.http))
        self.promtool("check", "config", path)
        self.url = f"http://127.0.0.1:{free_port()}"
        self.run_beside("prometheus", "--config.file", path, "--storage.tsdb.path", os.path.join(self.directory, "data"),
                        "--web.listen-address", self.url[len("http://"):], "--log.level", "warn")
        eventually(lambda: answered(self.url + "/-/ready"), "prometheus")
        eventually(lambda: self.query('up{job="idem"} == 1'), "a scrape")

    def query(self, expression):
        """[({label: value}, number), ...]"""
        text = get(self.url + "/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
        said = json.loads(text)
        self.assertEqual(said["status"], "success", text)
        return [(each["metric"], float(each["value"][1])) for each in said["data"]["result"]]

    def number(self, expression):
        found = self.query(expression)
        return found[0][1] if found else 0.0

    def test_rates(self):
        server = self.start("--threads", 2)
        self.scraping()
        counters = {"claims": "idem_claims_granted_total", "replays": "idem_replayed_total",
                    "mismatches": "idem_mismatches_total", "stale": "sum without (kind) (idem_stale_total)"}
        rates = {"claims": "rate(idem_claims_granted_total[8s])", "replays": "rate(idem_replayed_total[8s])",
                 "mismatches": "rate(idem_mismatches_total[8s])",
                 "stale": "sum without (kind) (rate(idem_stale_total[8s]))"}
        with Load(server) as load:
            eventually(lambda: self.all_above(rates, 0.5), "rates")
            before = dict(load.saw)
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began > 8, "a range")
            seen = {name: self.number(expression) for name, expression in rates.items()}
            real = {name: (load.saw[name] - before[name]) / (time.monotonic() - began) for name in rates}
            self.check_dashboard()
        for name, rate in seen.items():
            print(f"measured: {name}: {rate:.0f}/s in prometheus, {real[name]:.0f}/s at the client")
            self.assertGreater(rate, real[name] / 3, name)
            self.assertLess(rate, real[name] * 3, name)
        for name, expression in counters.items():
            wanted = load.saw[name] + (name == "claims")  # and the one that is BUSY for the others
            eventually(lambda e=expression, w=wanted: self.number(e) == w, f"{name}: {wanted}")
        self.check_alerts(server)

    def all_above(self, expressions, least):
        return all(self.number(expression) > least for expression in expressions.values())

    def check_dashboard(self):
        with open(DASHBOARD, encoding="utf-8") as file:
            board = json.load(file)
        count = 0
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", "10s").replace("$job", ".*").replace("$instance", ".*")
                found = self.query(expression)
                self.assertTrue(found or target["legendFormat"] in MAY_BE_EMPTY, f"{panel['title']}: {expression}")
                count += 1
        print(f"measured: dashboard: {count} queries have answers")

    def check_alerts(self, server):
        """One fires for a claim that becomes UNKNOWN, and ends when somebody has decided."""
        firing = 'ALERTS{alertstate="firing"}'
        self.assertEqual([labels["alertname"] for labels, _ in self.query(firing)], [])
        with server.client() as client:
            client.call("CLAIM", "transfer", "LEASE", 1, "HOLD")
            answer = eventually(lambda: self.unknown(client), "UNKNOWN")
            found = eventually(lambda: self.query(firing), "an alert")
            self.assertEqual([labels["alertname"] for labels, _ in found], ["IdemUnknown"])
            client.call("RELEASE", "transfer", answer[1], "CLEAR")
        eventually(lambda: not self.query(firing), "no alert")

    @staticmethod
    def unknown(client):
        answer = client.call("CLAIM", "transfer")
        return answer if answer[0] == b"UNKNOWN" else None


class Checks(Case):
    def test_promtool_finds_no_fault(self):
        self.assertRegex(self.promtool("check", "rules", RULES), r"SUCCESS: \d\d rules found")
        self.promtool("test", "rules", RULE_TESTS)
        with open(RULES, encoding="utf-8") as rules, open(RULE_TESTS, encoding="utf-8") as tests:
            alerts, tested = re.findall(r"- alert: (\w+)", rules.read()), tests.read()
        for alert in alerts:
            self.assertIn(f"name: {alert} fires", tested)
            self.assertIn(f"name: {alert} is quiet", tested)

    def test_promtool_reads_metrics(self):
        server = self.start()
        with Load(server) as load:
            eventually(lambda: load.saw["claims"] > 10, "some commands")
        self.assertEqual(self.promtool("check", "metrics", stdin=get(f"http://127.0.0.1:{self.http}/metrics")), "")


class Exporter(Case):
    def test_errors_and_latencies(self):
        server = self.start("--threads", 2)
        with Load(server) as load:
            eventually(lambda: load.saw["claims"] > 10, "some commands")
        address = f"127.0.0.1:{free_port()}"
        self.run_beside("prometheus-redis-exporter", "-redis.addr", "redis://%s:%d" % server.address,
                        "-web.listen-address", address)
        text = eventually(lambda: self.up(address), "the exporter")
        for code, count in (("MISMATCH", load.saw["mismatches"]), ("STALE", load.saw["stale"])):
            self.assertIn(f'redis_errors_total{{err="{code}"}} {count}\n', text)
        self.assertRegex(text, r'redis_latency_percentiles_usec\{cmd="claim",quantile="99.9"\} \d+')
        self.assertRegex(text, r'redis_latency_percentiles_usec_count\{cmd="store"\} \d+')
        self.assertIn('redis_exporter_last_scrape_error{err=""} 0\n', text)

    @staticmethod
    def up(address):
        text = answered(f"http://{address}/metrics")
        return text if text and "redis_up 1" in text else None


if __name__ == "__main__":
    unittest.main()
