#!/usr/bin/env python3
"""fastjson_api.py FASTJSON_API CACHE_SERVER HTTP_LOAD: what the API answers, with its own cache and with one beside it that stalls,
goes away and comes back; that its log is JSON; the rate limit; a thousand connections at once; its errors and its end."""
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

API, CACHE, LOAD = sys.argv[1:4]
# A try that is repeated on a machine that stood still finds the item there, and the answer is another.
PATIENT = ("--try-timeout", "20s", "--timeout", "20s")
LIMIT = 60


def fail(message):
    print(f"fastjson_api: {message}")
    sys.exit(1)


class Program:
    """One that says where it listens. Its log goes to a file: nobody reads a pipe meanwhile."""

    def __init__(self, *args, listen="127.0.0.1:0"):
        self.log_file = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen([args[0], "--listen", listen, *args[1:]], stdout=subprocess.PIPE, stderr=self.log_file,
                                        text=True)
        line = self.process.stdout.readline()
        if not line.startswith("listening on "):
            fail(f"{args} said {line!r} {self.log()}")
        self.address = line.split()[2].rstrip(",")

    def log(self):
        self.log_file.seek(0)
        return self.log_file.read()

    def stop(self):
        """SIGSTOP, and all its threads have stopped: the signal takes a while."""
        self.process.send_signal(signal.SIGSTOP)
        folder, deadline = f"/proc/{self.process.pid}/task", time.monotonic() + LIMIT
        while not all(open(f"{folder}/{t}/stat").read().rsplit(")", 1)[1].split()[0] == "T" for t in os.listdir(folder)):
            if time.monotonic() > deadline:
                fail("it does not stop")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            fail("SIGINT does not end it")
        if self.process.returncode not in (0, -signal.SIGKILL):
            fail(f"SIGINT gave status {self.process.returncode}: {self.log()[-1000:]}")


def ask(address, method, target, body=None, headers={}):
    c = http.client.HTTPConnection(address, timeout=LIMIT)
    c.request(method, target, body, headers)
    r = c.getresponse()
    text = r.read()
    c.close()
    return r.status, json.loads(text) if text else None, r.headers


def expect(address, method, target, status, said=..., body=None):
    have = ask(address, method, target, body)
    if have[0] != status or (said is not ... and have[1] != said):
        fail(f"{method} {target} {body!r} gave {have[:2]}, not {status}")
    return have


def items():
    lamp = {"id": "1", "name": "lamp", "price": 19.5, "tags": ["home"]}
    with Program(API, "--with-cache", *PATIENT) as p:
        a = p.address
        expect(a, "GET", "/health", 200)
        expect(a, "GET", "/items/1", 404, {"error": "no such item"})
        post = json.dumps({"name": "lamp", "price": 19.5, "tags": ["home"]})
        expect(a, "POST", "/items/1", 201, lamp, post)
        expect(a, "POST", "/items/1", 200, lamp, post)
        _, _, headers = expect(a, "GET", "/items/1", 200, lamp)
        odd = {"id": "odd", "name": "gr\u00fc\u00df\"\\\n", "price": 0.1, "tags": []}
        expect(a, "POST", "/items/odd", 201, odd, json.dumps({k: v for k, v in odd.items() if k != "id"}))
        expect(a, "GET", "/items/odd", 200, odd)
        if headers["Content-Type"] != "application/json" or not headers["X-Request-Id"]:
            fail(f"headers {headers}")
        if ask(a, "GET", "/items/1", headers={"X-Request-Id": "mine"})[2]["X-Request-Id"] != "mine":
            fail("the request's id does not come back")
        expect(a, "DELETE", "/items/1", 204, None)
        expect(a, "DELETE", "/items/1", 404)
        expect(a, "POST", "/items/short?ttl=1", 201, body=post)
        deadline = time.monotonic() + LIMIT
        while ask(a, "GET", "/items/short")[0] != 404:
            if time.monotonic() > deadline:
                fail("the time to live is not kept")
            time.sleep(0.05)
        for bad, status, fields in (
                ("", 400, None), ("{", 400, None), ('{"name":"a","price":1} x', 400, None), ("[]", 422, None), ("7", 422, None),
                ("{}", 422, {"name", "price"}), ('{"name":"","price":1}', 422, {"name"}), ('{"name":7,"price":-1}', 422, {"name", "price"}),
                ('{"name":"a","price":"1"}', 422, {"price"}), ('{"name":"a","price":1e400}', ..., None),
                ('{"name":"a","price":1,"tags":[1]}', 422, {"tags"}), ('{"name":"a","price":1,"id":"2"}', 422, {"id"}),
                (json.dumps({"name": "a" * 101, "price": 1}), 422, {"name"}), ('{"name":"\\q","price":1}', 400, None)):
            have = ask(a, "POST", "/items/2", bad)
            if have[0] != status and not (status is ... and have[0] in (400, 422)):
                fail(f"{bad} gave {have[:2]}")
            if "error" not in have[1] or (fields is not None and set(have[1]["fields"]) != fields):
                fail(f"{bad} gave {have[1]}")
        expect(a, "GET", "/items/2", 404)
        expect(a, "POST", "/items/a%20b", 400, body=post)
        for ttl in ("0", "x", "-1", "99999999999"):
            expect(a, "POST", f"/items/1?ttl={ttl}", 422, body=post)
        if http_status(a, "POST", "/items/1", "x" * 70_000) != 413:
            fail("a body that is too large is taken")
        # As they were written, where a parser may be off by a unit in the last place; and the last of several, as everywhere in the item.
        for price in ("0.9640125602248731", "957.7500793393523", "723.82876607173000", "1e-7", "0.1", "999999999.9999999", "12345"):
            for written in (f'"price":{price}', f'"price":[0.5],"price":7,"pr\\u0069ce": {price} ,"name":"price"'):
                said = ask(a, "POST", "/items/exact", '{"name":"a\\"price\\":1",' + written + ',"tags":["price"]}')
                if said[0] not in (200, 201) or said[1]["price"] != float(price):
                    fail(f"the price {written} is {said[:2]}")
        if expect(a, "PUT", "/items/1", 405, {"error": "Method Not Allowed"})[2]["Allow"] is None:
            fail("405 without what is allowed")
        expect(a, "GET", "/none", 404, {"error": "Not Found"})
    lines = [json.loads(line) for line in p.log().splitlines()]
    if lines[0]["event"] != "start" or lines[-1]["event"] != "end":
        fail(f"the log begins with {lines[0]} and ends with {lines[-1]}")
    said = [x for x in lines if x["event"] == "request"]
    if len(said) != lines[-1]["requests"] or not any(x["id"] == "mine" and x["status"] == 200 and x["method"] == "GET" for x in said):
        fail("requests are missing in the log")


def http_status(address, method, target, body=None):
    c = http.client.HTTPConnection(address, timeout=LIMIT)
    c.request(method, target, body)
    r = c.getresponse()
    r.read()
    c.close()
    return r.status


def rate_limit():
    with Program(API, "--with-cache", "--rate", "5", "--burst", "3", *PATIENT) as p:
        statuses = [ask(p.address, "GET", "/items/1") for _ in range(20)]
        if [s for s, _, _ in statuses[:3]] != [404] * 3:
            fail("the burst is not let through")
        if not (429 in [s for s, _, _ in statuses]) or next(h for s, _, h in statuses if s == 429)["Retry-After"] != "1":
            fail("no request is refused")
        expect(p.address, "GET", "/health", 200)  # not limited


def cache_in_trouble():
    post = '{"name":"lamp","price":1}'
    with Program(CACHE) as cache:
        at = cache.address
        with Program(API, "--cache", at, "--try-timeout", "2s", "--timeout", "5s", "--connections", "4") as p:
            a = p.address
            expect(a, "POST", "/items/1", 201, body=post)
            # Stopped: each try is cancelled, and the answer is there when the time for all is over.
            cache.stop()
            began = time.monotonic()
            answers = []
            askers = [threading.Thread(target=lambda: answers.append(ask(a, "GET", "/items/1")[0])) for _ in range(20)]
            for t in askers:
                t.start()
            for t in askers:
                t.join()
            if set(answers) != {504} or time.monotonic() - began > 20:
                fail(f"a cache that stalls gives {answers} after {time.monotonic() - began} s")
            cache.process.send_signal(signal.SIGCONT)
            expect(a, "GET", "/items/1", 200)  # on fresh connections
            # Gone, and back with nothing in it: connections from before are no harm.
            cache.process.kill()
            cache.process.wait()
            expect(a, "GET", "/items/1", 502)
            with Program(CACHE, listen=at) as again:
                expect(a, "GET", "/items/1", 404)
                expect(a, "POST", "/items/1", 201, body=post)
                expect(a, "GET", "/health", 200)
                again.process.send_signal(signal.SIGCONT)
    with Program(CACHE, "--max-bytes", "1M", "--policy", "none") as cache:
        with Program(API, "--cache", cache.address, *PATIENT) as p:
            statuses = {ask(p.address, "POST", f"/items/{i}", json.dumps({"name": "n" * 100, "price": 1, "tags": ["t" * 32] * 16}))[0]
                        for i in range(1500)}
            if statuses != {201, 507}:
                fail(f"a full cache gives {statuses}")
    for said, statuses in ((b":0\r\n", (502, 502, 404)),  # of GET, POST, DELETE
                           (b"$5\r\nhello\r\n", (502, 200, 502)),  # what is kept there is no JSON
                           (b"$5\r\nhello\r\n:1\r\n", (502, 502, 502)),  # nobody asked for the second
                           (b"$5\r\nhello--", (502, 502, 502)),
                           (b"$2000000000\r\n", (502, 502, 502)),  # at once, and without the memory
                           (b"-OOM full\r\n", (507, 507, 507)),
                           (b"-LOADING not yet\r\n", (502, 502, 502))):
        cache_that_says(said, statuses)
    # What is no cache at all.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer():
            while True:
                try:
                    c, _ = listener.accept()
                    c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                except OSError:
                    return
        threading.Thread(target=answer, daemon=True).start()
        with Program(API, "--cache", "127.0.0.1:%d" % listener.getsockname()[1]) as p:
            expect(p.address, "GET", "/items/1", 502, {"error": "the cache's answer is not understood"})
        listener.shutdown(socket.SHUT_RDWR)
    with Program(API, "--cache", address_of_nobody()) as p:
        expect(p.address, "GET", "/items/1", 502, {"error": "the cache cannot be reached"})


def address_of_nobody():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return "127.0.0.1:%d" % listener.getsockname()[1]


def cache_that_says(said, statuses):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve(c):
            with c, contextlib.suppress(OSError):
                while c.recv(65536):
                    c.sendall(said)

        def accept():
            while True:
                try:
                    c, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(c,), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        with Program(API, "--cache", "127.0.0.1:%d" % listener.getsockname()[1]) as p:
            have = [http_status(p.address, *request) for request in (("GET", "/items/1"), ("POST", "/items/1", '{"name":"a","price":1}'),
                                                                     ("DELETE", "/items/1"))]
        if have != list(statuses):
            fail(f"a cache that says {said} gives {have}")
        listener.shutdown(socket.SHUT_RDWR)


def answer_nobody_asked_for():
    """What comes between two questions is not the answer to the second, nor does it shift those behind it."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve(c):
            with contextlib.suppress(OSError):
                while c.recv(65536):
                    c.sendall(b"$2\r\n{}\r\n")

        def accept():
            with contextlib.suppress(OSError):
                while True:
                    connections.append(listener.accept()[0])
                    threading.Thread(target=serve, args=(connections[-1],), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        with Program(API, "--cache", "127.0.0.1:%d" % listener.getsockname()[1]) as p:
            expect(p.address, "GET", "/items/1", 200)
            connections[0].sendall(b"$-1\r\n")
            for _ in range(2):
                expect(p.address, "GET", "/items/1", 200)
        listener.shutdown(socket.SHUT_RDWR)
    for c in connections:
        c.close()


def signalled_twice():
    """A second SIGTERM, during the shutdown, does not cut it short: the log has its end. The request in progress is answered, but not
    where all this takes longer than the five seconds it is given."""
    with Program(CACHE) as cache:
        with Program(API, "--cache", cache.address, "--try-timeout", "50s", "--timeout", "50s") as p:
            expect(p.address, "GET", "/items/1", 404)
            cache.stop()
            answers = []

            def ask_once():
                try:
                    answers.append(ask(p.address, "GET", "/items/1")[0])
                except (OSError, http.client.HTTPException):
                    pass
            asker = threading.Thread(target=ask_once)
            asker.start()
            deadline = time.monotonic() + LIMIT
            while not command_waits(cache):
                if time.monotonic() > deadline:
                    fail("the request does not reach the cache")
                time.sleep(0.01)
            p.process.send_signal(signal.SIGTERM)
            host, port = p.address.split(":")
            while True:  # until it listens no more
                try:
                    socket.create_connection((host, int(port)), timeout=LIMIT).close()
                except ConnectionError:
                    break
                if time.monotonic() > deadline:
                    fail("SIGTERM does not end the listening")
                time.sleep(0.01)
            p.process.send_signal(signal.SIGTERM)
            p.process.send_signal(signal.SIGINT)
            p.process.send_signal(signal.SIGHUP)
            cache.process.send_signal(signal.SIGCONT)
            asker.join()
            if p.process.wait(timeout=LIMIT) != 0 or answers not in ([404], []) or '"event":"end"' not in p.log():
                fail(f"a second SIGTERM gave {p.process.returncode}, {answers}, {p.log()[-300:]}")


def command_waits(cache):
    """Whether bytes lie unread in a socket of the cache, which is stopped: a request's command."""
    port = "%04X" % int(cache.address.split(":")[1])
    with open("/proc/net/tcp") as f:
        return any(x[1].endswith(":" + port) and int(x[4].split(":")[1], 16) > 0 for x in (line.split() for line in f))


def thousands():
    with Program(API, "--with-cache", "--quiet", "--timeout", "20s", "--try-timeout", "20s") as p:
        expect(p.address, "POST", "/items/1", 201, body='{"name":"lamp","price":1}')
        load = subprocess.run([LOAD, "--url", f"http://{p.address}/items/1", "--connections", "1000", "--duration", "1s"],
                              capture_output=True, text=True, timeout=LIMIT)
        if load.returncode != 0:
            fail(f"http_load: {load.stdout}{load.stderr}")


def refused(status, *args, says):
    p = subprocess.run(args, capture_output=True, text=True, timeout=LIMIT)
    lines = [x for x in p.stderr.splitlines() if not x.startswith("{")]
    if p.returncode != status or len(lines) != 1 or not lines[0].startswith("fastjson_api: ") or says not in lines[0]:
        fail(f"{args} gave {p.returncode}: {p.stderr}")


def nobody_listens():
    """Lines of the log on a pipe that nobody reads do not end it."""
    p = subprocess.Popen([API, "--with-cache", *PATIENT, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = p.stdout.readline().split()[2].rstrip(",")
    p.stderr.close()
    for _ in range(3):
        expect(address, "GET", "/items/none", 404)
    p.send_signal(signal.SIGTERM)
    if (status := p.wait(timeout=LIMIT)) != 0:
        fail(f"with a log that nobody reads it ended with {status}")


class Unread:
    """A server whose log is on a pipe that nobody has read yet, and that has asked for more than goes into it."""

    def __init__(self):
        self.process = subprocess.Popen([API, "--with-cache", *PATIENT, "--rate", "1000000", "--listen", "127.0.0.1:0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        host, port = self.process.stdout.readline().decode().split()[2].rstrip(",").rsplit(":", 1)
        self.client = socket.create_connection((host, int(port)), timeout=LIMIT)
        self.answers = self.client.makefile("rb")
        self.requests = 0
        for _ in range(120):
            self.ask_for(100)

    def ask_for(self, n):
        self.client.sendall(b"GET /items/none HTTP/1.1\r\nHost: t\r\n\r\n" * n)
        for _ in range(n):
            while (line := self.answers.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            self.answers.read(length)
        self.requests += n

    def end(self):
        self.answers.close()
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        if (status := self.process.wait(timeout=LIMIT)) != 0:
            fail(f"it ended with {status}")

    def check(self, lines):
        said = [json.loads(line) for line in lines]
        of_requests = sum(line.get("target") == "/items/none" for line in said)
        dropped = sum(line.get("dropped_before", 0) for line in said)
        if dropped == 0 or of_requests + dropped != self.requests or said[-1].get("requests") != self.requests:
            fail(f"{self.requests} requests, {of_requests} lines, {dropped} said to be dropped; at the end {lines[-1]}")


def lines_are_counted():
    """Of a log that is not read for a while: what it dropped is said by the next line that goes out, which may be the last one of all."""
    for more in (True, False):
        unread, lines = Unread(), []
        reading = threading.Thread(target=lambda: lines.extend(unread.process.stderr))
        reading.start()
        while more and not any(b"dropped_before" in line for line in lines):
            unread.ask_for(1)
        unread.end()
        reading.join()
        unread.check(lines)


def nobody_ever_reads():
    """It ends all the same, and what it has written are whole lines."""
    unread = Unread()
    unread.end()
    for line in unread.process.stderr.read().splitlines():
        json.loads(line)


def errors():
    with Program(API, "--with-cache") as p:
        refused(1, API, "--with-cache", "--listen", p.address, says="in use")
    refused(2, API, "--listen", "nonsense", says="nonsense")
    refused(2, API, "--with-cache", "--cache", "127.0.0.1:1", says="--cache")
    refused(2, API, "--connections", "0", says="--connections")
    for cache in ("foo", "", "127.0.0.1", "127.0.0.1:", "127.0.0.1:99999"):
        refused(2, API, "--cache", cache, says="--cache")
    for size in ("-1", "-5M", "99999999999999999999", "16E", "010", "5X", "M", ""):
        refused(2, API, "--with-cache", "--cache-bytes", size, says="not a number of bytes")
    refused(2, API, "--cache-bytes", "1M", says="--with-cache")
    for rate in ("nan", "-nan", "inf", "-1", "1x"):
        refused(2, API, "--with-cache", "--rate", rate, says="not a number from 0")
    for limit in ("--try-timeout", "--timeout"):
        for time_limit in ("0", "0.1ms", "-1s", "nan", "99999999999999h"):
            refused(2, API, "--with-cache", limit, time_limit, says=limit)
    if subprocess.run([API, "--help"], capture_output=True, timeout=LIMIT).returncode != 0:
        fail("--help fails")


items()
rate_limit()
cache_in_trouble()
answer_nobody_asked_for()
signalled_twice()
nobody_listens()
lines_are_counted()
nobody_ever_reads()
thousands()
errors()
print("fastjson_api: passed")
