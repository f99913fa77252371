"""redis-commander: connects, lists and shows keys, through the interface that its pages use."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../system"))
from harness import Client  # noqa: E402
from steps import HOST, PORT, expect, step, until  # noqa: E402

PROGRAM = os.path.join(os.environ["NODE_PATH"], "redis-commander/bin/redis-commander.js")
# Its failures are logged as plain messages.
TROUBLE = re.compile(r"error|not supported|cannot|warn", re.I)


class Commander:
    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.base = f"http://127.0.0.1:{port}"
        self.home = tempfile.TemporaryDirectory()
        self.log = []
        self.process = subprocess.Popen(
            ["node", PROGRAM, "--redis-host", HOST, "--redis-port", str(PORT), "--noload",
             "--nosave", "--address", "127.0.0.1", "--port", str(port)], text=True,
            env=dict(os.environ, HOME=self.home.name), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stdout))
        self.reader.start()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.reader.join()
        self.home.cleanup()

    def ask(self, path, data=None):
        body = json.dumps(data).encode() if data is not None else None
        request = urllib.request.Request(self.base + path, body, self.headers())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def headers(self):
        # Signing in, without a password set, gives the token that the other requests need.
        if not hasattr(self, "token"):
            request = urllib.request.Request(self.base + "/signin", b"{}",
                                             {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                self.token = json.load(answer)["bearerToken"]
        return {"Authorization": "Bearer " + self.token, "Content-Type": "application/json"}


def connect(commander):
    until(lambda: any("Redis Connection" in line for line in commander.log), "its connection")
    until(lambda: commander.ask("/apiv2/server/info")["data"], "its web page")
    server = commander.ask("/apiv2/server/info")["data"][0]
    expect(not server.get("disabled") and not server.get("error"), repr(server)[:500])
    return server


def listed(commander, identity):
    tree = commander.ask(f"/apiv2/keystree/{identity}?absolute=false")
    expect("order" in json.dumps(tree) and "greeting" in json.dumps(tree), repr(tree))
    keys = commander.ask(f"/apiv2/keys/{identity}/order*")
    found = sorted(keys["data"] if isinstance(keys, dict) else keys)
    expect(found == ["order:1", "order:2"], repr(keys))


def shown(commander, identity):
    def key(name):
        return commander.ask(f"/apiv2/key/{identity}/{urllib.parse.quote(name)}")

    text = key("greeting")
    expect(text["type"] == "string" and text["value"] == "hello" and 0 < text["ttl"] <= 1000,
           repr(text))
    expect(key("order:1")["type"] == "idem", repr(key("order:1")))
    reply = commander.ask(f"/apiv2/exec/{identity}", {"cmd": "FETCH order:1"})["data"]
    expect(reply[0] == "DONE" and reply[1] == "the response", repr(reply))


def information(server):
    fields = {row["key"]: row["value"] for row in server["info"]}
    expect(fields["Redis mode"] == "standalone" and fields["Role"] == "master", repr(fields))


def quiet(commander):
    commander.stop()
    trouble = [line.strip() for line in commander.log if TROUBLE.search(line)]
    expect(not trouble, repr(trouble))


def main():
    with Client((HOST, PORT)) as client:
        client.call("SET", "greeting", "hello", "EX", "1000")
        token = client.call("CLAIM", "order:1")[1]
        client.call("STORE", "order:1", token, "the response")
        client.call("CLAIM", "order:2")
    commander = Commander()
    try:
        server = step("connect", connect, commander)
        step("list", listed, commander, server["connectionId"])
        step("show", shown, commander, server["connectionId"])
        step("info", information, server)
        step("quiet", quiet, commander)
    finally:
        if commander.process.poll() is None:
            commander.stop()


main()
