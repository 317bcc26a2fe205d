#!/usr/bin/env python3
"""small_servers.py HELLO_JSON THREAD_PER_CONNECTION HTTP_LOAD: what the two servers answer, under a load as well, how they fail,
and that SIGINT ends them with status 0."""
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

HELLO, THREADS, LOAD = sys.argv[1:4]
LIMIT = 60


def fail(message):
    print(f"small_servers: {message}")
    sys.exit(1)


class Server:
    def __init__(self, *args):
        # As a shell gives them: few descriptors, and more for those that ask.
        self.process = subprocess.Popen(("sh", "-c", 'ulimit -Sn 256 && exec "$0" "$@"', *args, "--listen", "127.0.0.1:0"),
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            fail(f"{args[0]} said {line!r}: {self.process.stderr.read()}")
        self.address = line.split()[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            _, self.log = self.process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            fail("SIGINT does not end it")
        if self.process.returncode != 0:
            fail(f"SIGINT gave status {self.process.returncode}")


def ask(connection, target, status, body, method="GET"):
    connection.request(method, target)
    r = connection.getresponse()
    text = r.read()
    said = json.loads(text) if r.headers.get("Content-Type", "").startswith("application/json") else text.decode()
    if (r.status, said) != (status, body):
        fail(f"{method} {target} gave {r.status} {said!r}")


def loaded(s):
    load = subprocess.run([LOAD, "--url", f"http://{s.address}/hello", "--connections", "400", "--duration", "500ms",
                           "--server-pid", str(s.process.pid)], capture_output=True, text=True, timeout=LIMIT)
    if load.returncode != 0 or not re.search(r"open at once +400\n", load.stdout):
        fail(f"http_load: {load.stdout}{load.stderr}")
    with open(f"/proc/{s.process.pid}/limits", encoding="ascii") as f:
        limit = next(line for line in f if line.startswith("Max open files")).split()
    if limit[3] != limit[4]:
        fail(f"of {limit[4]} descriptors that it may have {s.process.args[3]} takes {limit[3]}")


def refused(status, *args, **environment):
    p = subprocess.run(args, capture_output=True, text=True, timeout=LIMIT, env=os.environ | environment)
    if p.returncode != status or p.stderr.count("\n") != 1 or not p.stderr.startswith(os.path.basename(args[0]) + ": "):
        fail(f"{args} gave {p.returncode}: {p.stderr}")


with Server(HELLO, "--log") as s:
    c = http.client.HTTPConnection(s.address, timeout=LIMIT)
    ask(c, "/hello", 200, {"message": "hello world"})
    ask(c, "/users/a%22b/posts/7", 200, {"user": 'a"b', "post": 7})
    ask(c, "/users/ann/posts/x", 400, "not a number\n")
    ask(c, "/search?q=a+b%26", 200, {"query": "a b&"})
    ask(c, "/search", 400, {"error": "what is to be searched for? ?q=..."})
    c.request("GET", "/none")
    r = c.getresponse()
    r.read()
    if r.status != 404:
        fail(f"/none gave {r.status}")
    c.request("POST", "/hello")
    r = c.getresponse()
    r.read()
    if r.status != 405 or "GET" not in r.headers["Allow"]:
        fail(f"POST /hello gave {r.status}")
    refused(1, HELLO, "--listen", s.address)
    for program in HELLO, LOAD:  # a runtime that cannot start
        refused(1, program, WEFT_WORKERS="several")
    # Most connections have no turn before the end: they are not late, and nobody waits for them.
    for rate, connections, requests in (("5", "50", "[1-9]"), ("0.0000001", "200", "1")):
        p = subprocess.run([LOAD, "--url", f"http://{s.address}/hello", "--rate", rate, "--connections", connections, "--duration", "300ms"],
                           capture_output=True, text=True, timeout=LIMIT)
        if p.returncode != 0 or not re.search(rf"  requests +{requests}\n", p.stdout):
            fail(f"http_load with --rate {rate} gave {p.returncode}: {p.stdout}{p.stderr}")
with Server(HELLO) as quiet:
    loaded(quiet)
    # What is answered otherwise than by 2xx is counted, and the connections go on to the end.
    began = time.monotonic()
    p = subprocess.run([LOAD, "--url", f"http://{quiet.address}/none", "--connections", "2", "--duration", "1200ms"], capture_output=True,
                       text=True, timeout=LIMIT)
    if p.returncode != 1 or time.monotonic() - began < 1.2 or "x status 404" not in p.stdout:
        fail(f"http_load of /none gave {p.returncode}: {p.stdout}{p.stderr}")
if any(f"GET {line} " not in s.log for line in ("/hello 200", "/none 404", "/users/ann/posts/x 400")):
    fail(f"the log is {s.log}")

with Server(THREADS) as s:
    c = http.client.HTTPConnection(s.address, timeout=LIMIT)
    for _ in range(3):
        ask(c, "/hello", 200, {"message": "hello world"})
    loaded(s)
    refused(1, THREADS, "--listen", s.address)
    with open("/dev/full", "wb") as full:
        p = subprocess.run([LOAD, "--url", f"http://{s.address}/hello", "--connections", "1", "--duration", "100ms"], stdout=full,
                           stderr=subprocess.PIPE, timeout=LIMIT)
    if p.returncode != 1 or p.stderr != b"http_load: cannot write to standard output\n":
        fail(f"http_load with a full standard output gave {p.returncode}: {p.stderr}")
gone = subprocess.Popen(["true"])
gone.wait()
refused(2, LOAD, "--url", f"http://{s.address}/hello", "--server-pid", str(gone.pid))
refused(2, LOAD, "--url", f"http://{s.address}/hello", "--rate", "nan")
with socket.create_server(("127.0.0.1", 0)) as silent:
    p = subprocess.run([LOAD, "--url", f"http://127.0.0.1:{silent.getsockname()[1]}/", "--connections", "2", "--duration", "1s",
                        "--rate", "20"], capture_output=True, text=True, timeout=LIMIT)
    # Ten turns each, of which the first was taken.
    if p.returncode != 1 or "2 x no answer within" not in p.stdout or not re.search(r"  due, but not sent +1?[0-9]\n", p.stdout):
        fail(f"http_load gave {p.returncode} where nothing answers: {p.stdout}{p.stderr}")

# Ctrl-C while the server is asked how many tasks it has, and does not say.
with socket.create_server(("127.0.0.1", 0)) as silent:
    p = subprocess.Popen([LOAD, "--url", f"http://127.0.0.1:{silent.getsockname()[1]}/", "--connections", "1"], stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True)
    silent.settimeout(LIMIT)
    connections = [silent.accept()[0] for _ in range(2)]
    connections[1].settimeout(LIMIT)
    if not connections[1].recv(4096).startswith(b"GET /stats "):
        fail("http_load does not ask for the server's tasks")
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=LIMIT)
    if p.returncode != 1 or err != "" or not re.search(r"  requests +[01]\n", out):
        fail(f"http_load gave {p.returncode} for Ctrl-C at its first question: {out}{err}")
    for connection in connections:
        connection.close()

p = subprocess.run([LOAD, "--url", "http://[::1]/", "--connections", "1", "--duration", "1ms"], capture_output=True, text=True, timeout=LIMIT)
if "Invalid argument" in p.stdout:  # whoever is there, if anybody
    fail(f"http_load does not know the port of http://[::1]/: {p.stdout}{p.stderr}")

for program in (HELLO, THREADS):
    refused(2, program, "--no-such-option")
    if subprocess.run([program, "--help"], capture_output=True, timeout=LIMIT).returncode != 0:
        fail("--help fails")
    for address in ("nonsense", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:+1", "127.0.0.1: 1", "127.0.0.1:1x"):
        refused(2, program, "--listen", address)
print("small_servers: passed")
