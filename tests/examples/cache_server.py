#!/usr/bin/env python3
"""cache_server.py CACHE_SERVER [--short]: the server as its clients see it. What it answers is compared with a transcript that Redis gave
(cache_server.transcript beside this file; --record PORT writes it anew from a Redis there); redis-cli and redis-benchmark are
run against it; it is killed while it saves; its errors and its end are looked at. --short: fewer requests and kills, for
servers that a sanitizer slows down."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import cache_server_snapshots as snapshots
from cache_server_client import LIMIT, SERVER, SHORT, Client, Server, encoded, fail, refused

HERE = os.path.dirname(os.path.abspath(__file__))
TRANSCRIPT = os.path.join(HERE, "cache_server.transcript")


def transcript():
    """(typed line, answer) of each entry."""
    with open(TRANSCRIPT) as f:
        entries = [e.split("\n") for e in f.read().strip().split("\n\n")]
    return [(e[0][2:].encode(), "".join(e[1:]).encode().decode("unicode_escape").encode("latin-1")) for e in entries]


def written(line, answer):
    shown = "".join(chr(c) if 32 <= c < 127 and c != 92 else {13: "\\r", 10: "\\n"}.get(c, f"\\x{c:02x}") for c in answer)
    return f"> {line}\n" + shown.replace("\\r\\n", "\\r\\n\n").rstrip("\n") + "\n\n"


def record(port):
    """Asks the server there what the transcript's commands give (a fresh one: nothing may be in it)."""
    lines = [line.decode() for line, _ in transcript()]
    c = Client(port)
    answers = []
    for line in lines:
        c.send(line.encode() + b"\r\n")
        answers.append(written(line, c.answer()))
    with open(TRANSCRIPT, "w") as f:
        f.write("".join(answers).rstrip("\n") + "\n")


def answers_as_redis():
    entries = transcript()
    with Server("--workers", "2") as s:
        c = Client(s.port)
        for line, want in entries:
            c.send(line + b"\r\n")  # typed, with its escapes
            if (have := c.answer()) != want:
                fail(f"{line}: {have}, and Redis says {want}")
        c.close()
        # The same in one go, and byte by byte: pipelining, and commands in pieces.
        c = Client(s.port)
        c.call("FLUSHALL")
        c.send(b"".join(line + b"\r\n" for line, _ in entries))
        for line, want in entries:
            if (have := c.answer()) != want:
                fail(f"pipelined, {line}: {have}, not {want}")
        for byte in encoded("SET", "slow", b"\r\n\0") + encoded("GET", "slow"):
            c.send(bytes([byte]))
        if (c.answer(), c.answer()) != (b"+OK\r\n", b"$3\r\n\r\n\0\r\n"):
            fail("a command byte by byte is not understood")
        c.close()
        for broken, says in ((b"*1\r\nPING\r\n", b"expected '$', got 'P'"), (b"*x\r\n", b"invalid multibulk length"),
                             (b"*01\r\n", b"invalid multibulk length"), (b"*-0\r\n", b"invalid multibulk length"),
                             (b"*1\r\n$-5\r\n", b"invalid bulk length"), (b"*1\r\n$04\r\nPING\r\n", b"invalid bulk length"),
                             (b'get "a\r\n', b"unbalanced quotes in request"),
                             (b"x" * 70000, b"too big inline request")):
            c = Client(s.port)
            c.send(encoded("PING") + broken)
            if (have := c.rest()) != b"+PONG\r\n-ERR Protocol error: " + says + b"\r\n":
                fail(f"{broken[:20]}: {have}")
            c.close()
        c = Client(s.port)
        if c.call("HELLO", 3)[:1] != b"%" or c.call("GET", "none") != b"_\r\n" or c.call("CONFIG", "GET", "port")[:1] != b"%":
            fail("version 3 of the protocol is not spoken")
        for asks in (("INFO",), ("CLIENT", "INFO"), ("CLIENT", "LIST")):
            if (have := c.call(*asks)).split(b"\r\n", 1)[1][:4] != b"txt:" or have[:1] != b"=":
                fail(f"in version 3 {asks} gives {have[:40]}")
        if b"\r\nblocked_clients:0\r\n" not in c.call("INFO", "clients"):
            fail("INFO does not say what redis-cli --stat asks for")
        big = os.urandom(3_000_000)
        if c.call("SET", "big", big) != b"+OK\r\n" or c.call("GET", "big") != b"$3000000\r\n" + big + b"\r\n":
            fail("a large value does not come back")
        many = 1000 if SHORT else 600_000
        if c.call("MSET", *[word for i in range(many) for word in (f"many{i}", i)]) != b"+OK\r\n" or c.call("GET", f"many{many - 1}")[:1] != b"$":
            fail("MSET of many keys fails")
        c.send(encoded("MGET", *["big"] * 30) + encoded("QUIT"))
        if len(c.rest()) < 90_000_000:
            fail("a large answer does not come whole")
        c.close()


def answers_wait_for_a_client_that_sends_all_first():
    with Server("--workers", "2") as s:
        c = Client(s.port)
        values = [(b"%d " % i) * 300 for i in range(12_000)]
        c.send(b"".join(encoded("SET", "k", v, "GET") for v in values))  # more than the kernel keeps, both ways
        for v in [None] + values[:-1]:
            if (have := c.answer()) != (b"$-1\r\n" if v is None else b"$%d\r\n%s\r\n" % (len(v), v)):
                fail(f"SET with GET gave {have[:50]} instead of {v and v[:50]}")
        # More than the server keeps: requests wait, too, and those after the client has ended its side are answered as well.
        large = [os.urandom(100_000) for _ in range(7)]
        for i, v in enumerate(large):
            c.call("SET", f"large{i}", v)
        c.send(b"".join(encoded("GET", f"large{i % 7}") + encoded("ECHO", b"x" * 20_000) for i in range(1000)))
        for i in range(1000):
            if c.answer() != b"$100000\r\n" + large[i % 7] + b"\r\n" or len(c.answer()) != 20_010:
                fail("large answers are mixed")
        c.send(b"".join(encoded("GET", f"large{i % 7}") for i in range(500)))
        c.socket.shutdown(socket.SHUT_WR)
        if c.rest() != b"".join(b"$100000\r\n" + large[i % 7] + b"\r\n" for i in range(500)):
            fail("the answers after a half close are not whole")
        c.close()
        c = Client(s.port)  # the same connection waits for nobody when it is closed with answers unread
        c.send(encoded("GET", "large0") * 500)
        c.close()
        if SHORT:
            return
        c = Client(s.port)
        c.send(encoded("GET", "large0") * 500)
        try:
            for _ in range(1000):
                c.send(encoded("ECHO", b"x" * 1_000_000))
            fail("a client that never reads may send for ever")
        except (BrokenPipeError, ConnectionResetError):
            pass
        c.close()
        s.process.send_signal(signal.SIGTERM)
        if "sends requests and reads no answers" not in (err := s.ended()):
            fail(f"nothing is said of a client that never reads: {err}")


def web_pages_are_refused():
    with Server() as s:
        for first in (b"POST / HTTP/1.1\r\n", b"Host: localhost:6379\r\n"):
            c = Client(s.port)
            c.send(first + b"Content-Length: 10\r\n\r\nSET evil 1\r\n")
            if (have := c.rest()) != b"":
                fail(f"{first} is answered: {have}")
            c.close()
        c = Client(s.port)
        if c.call("EXISTS", "evil") != b":0\r\n":
            fail("a web page can set keys")
        c.close()
        s.process.send_signal(signal.SIGTERM)
        if s.ended().count("speaks HTTP") != 2:
            fail("nothing is said of web pages")


def nobody_listens(folder):
    """What the server says on a pipe that nobody reads does not end it."""
    path = os.path.join(folder, "unheard.snapshot")
    with Server("--snapshot", path) as s:
        s.process.stderr.close()
        s.process.stderr = None
        c = Client(s.port)
        c.call("SET", "kept", "v")
        web = Client(s.port)
        web.send(b"POST / HTTP/1.1\r\n\r\n")
        if web.rest() != b"" or c.call("GET", "kept") != b"$1\r\nv\r\n":
            fail("a line that nobody reads disturbs it")
        web.close(), c.close()
    if not os.path.exists(path):
        fail("a line that nobody reads keeps it from saving")


def keys_expire():
    with Server() as s:
        c = Client(s.port)
        c.call("SET", "short", "v", "PX", 30)
        c.call("SET", "long", "v", "EX", 1000)
        deadline = time.monotonic() + LIMIT
        while c.call("DBSIZE") != b":1\r\n":  # the sweeper's work: nobody asks for the key
            if time.monotonic() > deadline:
                fail("the sweeper does not remove what has expired")
            time.sleep(0.01)
        if c.call("GET", "short") != b"$-1\r\n" or b"expired_keys:1\r\n" not in c.call("INFO", "stats"):
            fail("an expired key is there, or not counted")
        c.close()


def keys_are_evicted():
    for policy in ("lru", "lfu", "fifo", "random", "ttl"):
        with Server("--max-bytes", "200K", "--policy", policy) as s:
            c = Client(s.port)
            c.send(b"".join(encoded("SET", f"key:{i}", "v" * 100) for i in range(10_000)))
            if {c.answer() for _ in range(10_000)} != {b"+OK\r\n"}:
                fail(f"{policy}: a write is refused")
            used = int(re.search(rb"used_memory:(\d+)", c.call("INFO", "memory"))[1])
            if not 150_000 < used <= 204_800:
                fail(f"{policy}: {used} bytes are used")
            c.close()
    with Server("--max-bytes", "200K", "--policy", "none") as s:
        c = Client(s.port)
        answers = {c.call("SET", f"key:{i}", "v" * 100) for i in range(2000)}
        if answers != {b"+OK\r\n", b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"}:
            fail(f"none: {answers}")
        c.close()
    for policy in ("none", "lru"):  # all of an MSET or nothing
        with Server("--max-bytes", "200K", "--policy", policy) as s:
            c = Client(s.port)
            tries = [["a", "v", "b", "v" * 300_000]] + ([[w for i in range(30) for w in (f"k{i}", "v" * 10_000)]] if policy == "none" else [])
            for one in tries:
                if not (have := c.call("MSET", *one)).startswith(b"-OOM ") or c.call("DBSIZE") != b":0\r\n":
                    fail(f"{policy}: an MSET without room gave {have} and left {c.call('DBSIZE')}")
            c.close()


def policies_need_no_memory_beside():
    """What --max-bytes does not count is a pointer or two a key, for ttl as for the others."""
    def resident(policy, keys=200_000):
        with Server("--max-bytes", "1G", "--policy", policy) as s:
            c = Client(s.port)
            for i in range(0, keys, 1000):
                c.send(b"".join(encoded("SET", f"key:{k}", "v", "EX", 1000 + k) for k in range(i, i + 1000)))
                for _ in range(1000):
                    c.answer()
            c.close()
            with open(f"/proc/{s.process.pid}/status", encoding="ascii") as f:
                return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:")) * 1024 / keys
    ttl, lru = resident("ttl"), resident("lru")
    if ttl > lru + 30:
        fail(f"{ttl} bytes a key with ttl, {lru} with lru")


def many_at_once():
    """Increments from many connections are none lost, and an MSET is seen whole."""
    with Server("--workers", "4") as s:
        clients = [Client(s.port) for _ in range(20)]
        for c in clients:
            c.send(encoded("INCR", "n") * 500)
        for c in clients:
            for _ in range(500):
                c.answer()
        if clients[0].call("GET", "n") != b"$5\r\n10000\r\n":
            fail("increments are lost")
        clients[0].send(b"".join(encoded("MSET", "a", i, "b", i, "c", i) for i in range(2000)))
        clients[1].send(b"".join(encoded("MSET", "c", i, "b", i, "a", i) for i in range(2000)))
        for c in clients[:2]:
            if {c.answer() for _ in range(2000)} != {b"+OK\r\n"}:
                fail("MSET fails")
        values = {clients[2].call("GET", k) for k in "abc"}
        if len(values) != 1:
            fail(f"two MSETs are mixed: {values}")
        for c in clients:
            c.close()


def ids_come_once():
    with Server() as s:
        first = Client(s.port)
        one = first.call("CLIENT", "ID")
        first.call("CONFIG", "RESETSTAT")
        other = Client(s.port).call("CLIENT", "ID")
        if one == other:
            fail(f"two clients have the id {one!r}")


def transactions():
    """EXEC is one step for all others, and does nothing if a watched key has changed."""
    with Server("--workers", "4") as s:
        clients = [Client(s.port) for _ in range(8)]
        movers, looks = clients[:4], clients[4:]
        rounds = 300 if SHORT else 2000
        for c in movers:  # moved between two keys: the sum stays
            c.send((encoded("MULTI") + encoded("DECR", "from") + encoded("INCR", "to") + encoded("EXEC")) * rounds)
        for c in looks:
            c.send((encoded("MULTI") + encoded("GET", "from") + encoded("GET", "to") + encoded("EXEC")) * rounds)
        for c in looks:
            for _ in range(rounds):
                c.answer(), c.answer(), c.answer()
                both = [int(w) for w in re.findall(rb"\r\n(-?\d+)(?=\r\n)", c.answer())]
                if sum(both) != 0:
                    fail(f"a transaction is seen in halves: {both}")
        for c in movers:
            for _ in range(4 * rounds):
                c.answer()
        if (have := [movers[0].call("GET", key).split()[1] for key in ("from", "to")]) != [b"-%d" % (4 * rounds), b"%d" % (4 * rounds)]:
            fail(f"transactions are lost: {have}")
        a, b = clients[:2]
        a.call("HELLO", 3)
        a.call("SET", "seen", 1)
        for change in (["INCR", "seen"], ["EXPIRE", "seen", 100], ["DEL", "seen"], ["SET", "seen", 1]):
            a.call("WATCH", "seen")
            b.call(*change)
            a.call("MULTI")
            a.call("SET", "seen", "wrong")
            if (have := a.call("EXEC")) != b"_\r\n":
                fail(f"EXEC after another client's {change}: {have}")
        many = [f"key:{i}" for i in range(1000 if SHORT else 200_000)]  # in no more time than others take
        if a.call("WATCH", *many, *many) != b"+OK\r\n" or a.call("UNWATCH") != b"+OK\r\n":
            fail("WATCH of many keys fails")
        while True:
            a.call("SET", "gone", "v", "PX", 20)
            a.call("WATCH", "gone")
            if a.call("EXISTS", "gone") == b":1\r\n":  # it was there when it was watched
                break
            a.call("UNWATCH")
        a.call("MULTI")
        a.call("PING")
        time.sleep(0.05)
        if (have := a.call("EXEC")) != b"_\r\n":
            fail(f"EXEC when a watched key has expired: {have}")
        if not SHORT:
            a.call("MULTI")
            a.send(encoded("SET", "large", b"x" * 60_000_000) * 5)
            if (have := [a.answer()[:10] for _ in range(5)]) != [b"+QUEUED\r\n"] * 4 + [b"-ERR the t"] or a.call("EXEC")[:10] != b"-EXECABORT":
                fail(f"a transaction may be of any size: {have}")
        a.send(encoded("MULTI") + encoded("SET", "left", 1))
        a.close()
        if b.call("EXISTS", "left") != b":0\r\n":
            fail("a transaction without EXEC is done")
        for c in clients:
            c.close()


def tools():
    cli, bench = shutil.which("redis-cli"), shutil.which("redis-benchmark")
    if cli is None or bench is None:
        print("no redis-cli or redis-benchmark here (scripts/setup installs them): what they do is not tested")
        return
    with Server() as s:
        def said(*args, stdin=None):
            return subprocess.run([cli, "-p", str(s.port), *args], input=stdin, capture_output=True, text=True, timeout=LIMIT).stdout
        typed = "set greeting \"hello world\" ex 60\nget greeting\nincr n\nmget greeting n none\nnosuch\nttl none\n"
        want = "OK\nhello world\n1\nhello world\n1\n\nERR unknown command 'nosuch', with args beginning with: \n\n-2\n"
        if (have := said(stdin=typed)) != want:
            fail(f"redis-cli shows {have!r}")
        if (have := said("-3", "--json", "mget", "greeting", "n", "none")) != '["hello world","1",null]\n':
            fail(f"redis-cli -3 shows {have!r}")
        for i in range(0, 3000, 500):
            said("mset", *[w for k in range(i, i + 500) for w in (f"scan:{k}", "v")])
        if (n := len(set(said("--scan", "--pattern", "scan:*").split()))) != 3000:
            fail(f"redis-cli --scan finds {n} keys of 3000")
        mass = "".join(encoded("SET", f"mass:{i}", i).decode() for i in range(5000))
        if "errors: 0, replies: 5000" not in said("--pipe", stdin=mass):
            fail("redis-cli --pipe has errors")
        for extra in ([], ["-P", "16"], ["-c", "500"]):
            b = subprocess.run([bench, "-p", str(s.port), "-n", "4000" if SHORT else "20000", "-q", "-t", "ping,set,get,incr,mset", "-r", "1000", *extra],
                               capture_output=True, text=True, timeout=LIMIT)
            if b.returncode != 0 or b.stdout.count("requests per second") != 6 or "rror" in b.stdout + b.stderr:
                fail(f"redis-benchmark {extra}: {b.stdout}{b.stderr}")


def errors():
    with Server() as s:
        refused(1, "--listen", f"127.0.0.1:{s.port}", says="in use")
        idle = Client(s.port)  # does not keep the server from ending
        began = time.monotonic()
        s.process.send_signal(signal.SIGTERM)
        s.ended()
        if time.monotonic() - began > 10:
            fail("it ends too late")
        idle.close()
    refused(2, "--listen", "nonsense", says="nonsense")
    refused(2, "--policy", "best", says="best")
    refused(2, "--max-bytes", "much", says="much")
    refused(2, "--no-such-option", says="no-such-option")
    refused(2, "--save-every", "5m", says="--snapshot")
    refused(2, "--save-every", "0.1ms", "--snapshot", "x", says="at least 1ms")
    if subprocess.run([SERVER, "--help"], capture_output=True, timeout=LIMIT).returncode != 0:
        fail("--help fails")


if sys.argv[1] == "--record":
    record(int(sys.argv[2]))
    sys.exit(0)
with tempfile.TemporaryDirectory() as top:
    answers_as_redis()
    answers_wait_for_a_client_that_sends_all_first()
    web_pages_are_refused()
    nobody_listens(top)
    keys_expire()
    keys_are_evicted()
    if not SHORT:
        policies_need_no_memory_beside()
    many_at_once()
    transactions()
    ids_come_once()
    snapshots.kept_and_damaged(top)
    snapshots.second_signal(top)
    snapshots.terminal_closed(top)
    if not SHORT:
        snapshots.no_memory(top)
    snapshots.changes_are_counted(top)
    snapshots.snapshots_without_room(top)
    snapshots.a_snapshot_beyond_the_limit_of_files(top)
    snapshots.snapshots_that_cannot_be_written(top)
    snapshots.handed_over(top)
    snapshots.killed_while_saving(top)
    tools()
    errors()
print("cache_server: passed")
