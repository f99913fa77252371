"""prometheus-redis-exporter: redis_up is 1, keys and command counts are right, idem's own errors and the
percentiles of its commands are there, its log has no complaint."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../system"))
from harness import Client  # noqa: E402
from steps import HOST, PORT, expect, step, until  # noqa: E402

CLAIMS, EXPIRING = 7, 3


def scrape(address):
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=60) as answer:
            return answer.read().decode()
    except urllib.error.URLError:
        return ""


def value(text, name):
    found = re.search("^" + re.escape(name) + r" (\S+)$", text, re.M)
    expect(found, f"no {name} among: " + " ".join(re.findall(r"^redis_\w+", text, re.M))[:1000])
    return float(found.group(1))


def up(address):
    until(lambda: "redis_up 1" in scrape(address), "redis_up 1")
    text = scrape(address)
    expect(value(text, 'redis_exporter_last_scrape_error{err=""}') == 0, "a scrape error")
    expect(value(text, "redis_memory_used_bytes") > 0, "memory")
    expect(value(text, "redis_connected_clients") >= 1, "clients")
    expect(re.search(r'^redis_instance_info\{.*redis_mode="standalone".*role="master".*\} 1$', text,
                     re.M), "redis_instance_info")
    return text


def keys(text):
    expect(value(text, 'redis_db_keys{db="db0"}') == CLAIMS + EXPIRING + 1, "db0 keys")
    # Keys that expire: strings with a time to live and a stored response, but not HELD claims.
    expiring = value(text, 'redis_db_keys_expiring{db="db0"}')
    expect(expiring == EXPIRING + 1, f"db0 expires: {expiring}")


def commands(text, before):
    for command, count in (("claim", CLAIMS + 1), ("set", EXPIRING + 1)):
        shown = value(text, 'redis_commands_total{cmd="%s"}' % command)
        expect(shown == count, f"{command} ran {count} times, shown {shown}")
    expect(value(text, 'redis_commands_rejected_calls_total{cmd="claim"}') == 1, "rejected calls")
    for command in "store", "claim":
        expect(value(text, 'redis_commands_failed_calls_total{cmd="%s"}' % command) == 1, "failed calls")
    expect(value(text, "redis_commands_processed_total") >= before, "commands processed")


def errors(text):
    for code in "MISMATCH", "STALE", "ERR":
        expect(value(text, 'redis_errors_total{err="%s"}' % code) == 1, f"{code} errors")
    expect(value(text, "redis_total_error_replies") == 3, "errors")


def latencies(text):
    for command, count in (("claim", CLAIMS + 1), ("set", EXPIRING + 1)):
        name = 'redis_latency_percentiles_usec%s{cmd="' + command + '"%s}'
        shown = [value(text, name % ("", f',quantile="{share}"')) for share in ("50", "99", "99.9")]
        expect(0 < shown[0] <= shown[1] <= shown[2], f"percentiles of {command}: {shown}")
        expect(value(text, name % ("_count", "")) == count, f"calls of {command}")


def quiet(process, log, reader):
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    reader.join()
    trouble = [line for line in log if re.search(r"level=(warn|error|fatal)|panic", line)]
    expect(not trouble, "".join(trouble))


def main():
    with Client((HOST, PORT)) as client:
        for number in range(CLAIMS - 1):
            client.call("CLAIM", f"order-{number + 1}")
        for number in range(EXPIRING):
            client.call("SET", f"string-{number}", "x", "EX", "1000")
        client.call("SET", "forever", "x")
        client.call("CLAIM")
        client.call("STORE", "order-1", "1", "not the owner")
        client.call("CLAIM", "order-1", "FP", "another request")
        client.call("STORE", "order-0", client.call("CLAIM", "order-0", "OWNER", "me")[1], "x")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    process = subprocess.Popen(["prometheus-redis-exporter", "--redis.addr",
                                f"redis://{HOST}:{PORT}", "--web.listen-address", address],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = []
    reader = threading.Thread(target=lambda: log.extend(process.stdout))
    reader.start()
    try:
        text = step("up", up, address)
        step("keys", keys, text)
        step("commands", commands, text, CLAIMS + EXPIRING)
        step("errors", errors, text)
        step("latencies", latencies, text)
        step("quiet", quiet, process, log, reader)
    finally:
        if process.poll() is None:
            process.kill()


main()
