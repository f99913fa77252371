#!/usr/bin/python3
"""How long a PING of an established client takes while others send hellos as fast as they can.

usage: tls_storm.py [--seconds N] [--key ec|rsa:2048|rsa:4096]
The storm costs its clients nothing: each connection sends the same hello, reads the server's flight, and closes."""

import argparse
import multiprocessing
import socket
import ssl
import sys
import time

sys.dont_write_bytecode = True
from certificates import Authority, TlsClient, free_port  # noqa: E402
from harness import Server, percentile  # noqa: E402

STORM_PROCESSES = 2


def hello_of(authority):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def storm(port, hello, stopping, count):
    """64 connections at a time."""
    while not stopping.value:
        socks = []
        for _ in range(64):
            sock = socket.socket()
            sock.settimeout(10)
            try:
                sock.connect(("127.0.0.1", port))
                sock.sendall(hello)
            except OSError:
                sock.close()
                continue
            socks.append(sock)
        for sock in socks:
            try:
                if sock.recv(1):
                    with count.get_lock():
                        count.value += 1
            except OSError:
                pass
            sock.close()


def pings(client, seconds):
    taken, ends = [], time.monotonic() + seconds
    while time.monotonic() < ends:
        began = time.perf_counter()
        assert client.call("PING") == "PONG"
        taken.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.002)
    return taken


def told(taken):
    return f"p50 {percentile(taken, 0.5):.2f} p99 {percentile(taken, 0.99):.2f} max {max(taken):.2f} ms"


def measure(authority, pair, loops, seconds):
    port = free_port()
    options = ["--port", 0, "--tls-port", port, "--tls-cert-file", pair[0], "--tls-key-file", pair[1],
               "--tls-auth-clients", "no", "--threads", loops]
    stopping, count = multiprocessing.Value("b", 0), multiprocessing.Value("l", 0)
    with Server(*options) as server:
        with TlsClient(port, authority.context()) as client:
            calm = pings(client, seconds / 2)
            workers = [multiprocessing.Process(target=storm, args=(port, hello_of(authority), stopping, count))
                       for _ in range(STORM_PROCESSES)]
            for worker in workers:
                worker.start()
            time.sleep(0.5)
            before, cpu = count.value, server.cpu_seconds()
            stormy = pings(client, seconds)
            shaken, cpu = count.value - before, server.cpu_seconds() - cpu
            stopping.value = 1
            for worker in workers:
                worker.join()
    print(f"{loops} loops: calm {told(calm)}; storm {told(stormy)}; {shaken / seconds:.0f} hellos/s, "
          f"{cpu / seconds:.2f} cores of the server", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--key", default="rsa:2048")
    arguments = parser.parse_args()
    authority = Authority()
    try:
        pair = authority.sign("server", kind=arguments.key)
        for loops in (1, 4):
            measure(authority, pair, loops, arguments.seconds)
    finally:
        authority.remove()


if __name__ == "__main__":
    main()
