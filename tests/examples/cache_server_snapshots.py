"""What cache_server.py looks at in snapshots: nothing is lost by signals, kills, full disks and small limits."""
import glob
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time

from cache_server_client import LIMIT, SERVER, SHORT, Client, Server, encoded, fail, is_refused, refused, select_ready, until


def kept_and_damaged(folder):
    for name in ("a.snapshot", "a.json"):
        path = os.path.join(folder, name)
        with Server("--snapshot", path) as s:
            c = Client(s.port)
            c.call("SET", "kept", b"v\0\xff", "EX", 1000)
            c.call("SET", "gone", "v", "PX", 1)
            if c.call("SAVE") != b"+OK\r\n" or not os.path.exists(path):
                fail("SAVE saves nothing")
            c.call("SET", "late", "w")
            c.close()
        with Server("--snapshot", path) as s:  # the end saved, too
            c = Client(s.port)
            if c.call("MGET", "kept", "late", "gone") != b"*3\r\n$3\r\nv\0\xff\r\n$1\r\nw\r\n$-1\r\n" or c.call("TTL", "kept") == b":-1\r\n":
                fail(f"{name} does not bring back what was there")
            c.call("SET", "unsaved", "x")
            c.send(encoded("SHUTDOWN", "NOSAVE", "NOW", "FORCE"))
            c.rest()
            s.ended()
        with Server("--snapshot", path) as s:
            c = Client(s.port)
            if c.call("EXISTS", "unsaved", "kept") != b":1\r\n":
                fail("SHUTDOWN NOSAVE saved")
            c.send(encoded("SHUTDOWN"))
            c.rest()
            s.ended()
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) - 5)
        p = subprocess.run([SERVER, "--listen", "127.0.0.1:0", "--snapshot", path], capture_output=True, text=True, timeout=LIMIT)
        if p.returncode != 1 or "damaged" not in p.stderr or p.stderr.count("\n") != 1:
            fail(f"a damaged snapshot gave {p.returncode}: {p.stderr}")
    with Server() as s:
        c = Client(s.port)
        if not c.call("SAVE").startswith(b"-ERR no snapshot file"):
            fail("SAVE without a file is not refused")
        c.close()


def second_signal(folder):
    """What comes while the first SIGTERM (or SHUTDOWN) is obeyed does not end the server before it has saved."""
    for ending in ("SIGTERM", "SHUTDOWN"):
        path = os.path.join(folder, f"{ending}.snapshot")
        with Server("--snapshot", path) as s:
            c = Client(s.port)
            c.send(b"".join(encoded("SET", f"k{i}", "v" * 500) for i in range(20_000)))
            for _ in range(20_000):
                c.answer()
            idle = Client(s.port)  # the server gives it a moment
            if ending == "SHUTDOWN":
                c.send(encoded("SHUTDOWN"))
            else:
                s.process.send_signal(signal.SIGTERM)
            until("the end of listening", lambda: is_refused(s.port))
            s.process.send_signal(signal.SIGTERM)
            s.ended()
            c.close(), idle.close()
        with Server("--snapshot", path) as s:
            if s.said[0] != f"loaded 20000 keys from {path}":
                fail(f"two signals lose what was there: {s.said}")


def terminal_closed(folder):
    """SIGHUP is as SIGTERM, also while that is obeyed; where nohup has had it ignored it stays so."""
    path = os.path.join(folder, "hangup.snapshot")
    before = signal.getsignal(signal.SIGHUP)
    try:
        for has, ends in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
            signal.signal(signal.SIGHUP, has)  # as the server will have it
            with Server("--snapshot", path) as s:
                c = Client(s.port)
                c.call("SET", "k", f"{ends}")
                s.process.send_signal(signal.SIGHUP)
                if ends:
                    until("the end of listening", lambda: is_refused(s.port))
                    s.process.send_signal(signal.SIGHUP)
                    s.ended()
                elif c.call("PING") != b"+PONG\r\n" or is_refused(s.port):
                    fail("SIGHUP ends a server that ignores it")
                c.close()
            with Server("--snapshot", path) as s:
                c = Client(s.port)
                if (have := c.call("GET", "k")) != (want := b"$%d\r\n%s\r\n" % (len(str(ends)), str(ends).encode())):
                    fail(f"SIGHUP loses what was there: {have}, not {want}")
                c.close()
    finally:
        signal.signal(signal.SIGHUP, before)


def no_memory(folder):
    """A save without memory says for which file, and is tried again."""
    path = os.path.join(folder, "memory.snapshot")
    with Server("--snapshot", path) as s:
        c = Client(s.port)
        for i in range(8):  # more than the allocator keeps of the requests
            c.call("APPEND", "k", "v" * 30_000_000)
        with open(f"/proc/{s.process.pid}/statm", encoding="ascii") as f:
            size = int(f.read().split()[0]) * resource.getpagesize()
        soft, hard = resource.prlimit(s.process.pid, resource.RLIMIT_AS)
        resource.prlimit(s.process.pid, resource.RLIMIT_AS, (size + 100_000_000, hard))
        if f"{path}: Cannot allocate memory".encode() not in (said := c.call("SAVE")) or os.listdir(folder).count("memory.snapshot"):
            fail(f"SAVE without memory says {said}")
        resource.prlimit(s.process.pid, resource.RLIMIT_AS, (soft, hard))
        if (said := c.call("SAVE")) != b"+OK\r\n":
            fail(f"SAVE with memory says {said}")
        c.close()


def changes_are_counted(folder):
    """Two BGSAVEs that come together do not take what they save off the count twice."""
    with Server("--workers", "1", "--snapshot", os.path.join(folder, "counted.snapshot")) as s:
        c = Client(s.port)
        number = lambda name: int(re.search(name + rb":(\d+)", c.call("INFO", "persistence"))[1])
        second = set()
        for i in range(10):
            c.send(encoded("SET", "k", i) + encoded("BGSAVE") * 2)
            if (c.answer(), c.answer()) != (b"+OK\r\n", b"+Background saving started\r\n"):
                fail("BGSAVE does not begin")
            second.add(c.answer())
            until("the end of BGSAVE", lambda: number(b"rdb_bgsave_in_progress") == 0)
            if (n := number(b"rdb_changes_since_last_save")) != 0:
                fail(f"{n} changes are counted after a BGSAVE")
        if b"-ERR Background save already in progress\r\n" not in second:
            fail(f"a second BGSAVE is answered {second}")
        c.close()


def snapshots_without_room(folder):
    path = os.path.join(folder, "large.snapshot")
    with Server("--snapshot", path) as s:
        c = Client(s.port)
        c.send(b"".join(encoded("SET", f"k{i}", "v" * 1000) for i in range(3000)))
        for _ in range(3000):
            c.answer()
        c.close()
    for policy in ("lru", "none"):
        with Server("--snapshot", path, "--max-bytes", "1M", "--policy", policy) as s:
            c = Client(s.port)
            there = int(c.call("DBSIZE")[1:])
            if s.said[0] != f"loaded {there} keys from {path}" or not 100 < there < 1100:
                fail(f"{there} keys are there: {s.said}")
            c.send(encoded("SHUTDOWN", "NOSAVE"))
            c.rest()
            if f"{3000 - there} of 3000 keys had no room under --max-bytes\n" not in (err := s.ended()):
                fail(f"{there} keys are there, and it says {err}")


def a_snapshot_beyond_the_limit_of_files(folder):
    with Server("--snapshot", os.path.join(folder, "limited.snapshot")) as s:
        c = Client(s.port)
        c.call("SET", "k", "v" * 100_000)
        soft, hard = resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (4096, hard))
        if b"File too large" not in (said := c.call("SAVE")) or c.call("EXISTS", "k") != b":1\r\n":
            fail(f"SAVE beyond the limit of files says {said}")
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE, (soft, hard))
        if (said := c.call("SAVE")) != b"+OK\r\n":
            fail(f"SAVE after the limit is gone says {said}")
        c.close()


def snapshots_that_cannot_be_written(folder):
    refused(1, "--listen", "127.0.0.1:0", "--snapshot", folder, says=f"{folder} cannot be written: Is a directory")
    refused(1, "--listen", "127.0.0.1:0", "--snapshot", os.path.join(folder, "none", "a"), says="cannot be written: No such file")
    refused(1, "--listen", "127.0.0.1:0", "--snapshot", os.path.join(folder, "a" * 300), says="cannot be written: File name too long")
    inner = os.path.join(folder, "inner")
    os.mkdir(inner)
    path = os.path.join(inner, "a.snapshot")
    os.mkfifo(path)
    refused(1, "--listen", "127.0.0.1:0", "--snapshot", path, says=f"{path} is no regular file")
    os.unlink(path)
    with Server("--snapshot", path) as s:
        if os.listdir(inner) != ["a.snapshot.lock"]:
            fail(f"to see whether it can write, the server leaves {os.listdir(inner)}")
        shutil.rmtree(inner)
        c = Client(s.port)
        c.call("SET", "k", "v")
        if (have := c.call("SHUTDOWN")) != b"-ERR Errors trying to SHUTDOWN. Check logs.\r\n" or c.call("GET", "k") != b"$1\r\nv\r\n":
            fail(f"SHUTDOWN that cannot save gave {have}")
        os.mkdir(inner)
        c.send(encoded("SHUTDOWN"))
        if c.rest() or "No such file" not in (err := s.ended()) or os.listdir(inner) != ["a.snapshot"]:
            fail(f"SHUTDOWN left {os.listdir(inner)} and said {err}")
        c.close()
    with Server("--snapshot", path) as s:
        shutil.rmtree(inner)
        c = Client(s.port)
        c.send(encoded("SET", "k", "v") + encoded("SHUTDOWN", "FORCE"))
        if c.rest() != b"+OK\r\n" or "No such file" not in (err := s.ended()):
            fail(f"SHUTDOWN FORCE that cannot save says {err}")
        c.close()


def handed_over(folder):
    """Two servers never have one snapshot: a second waits for the end of the first, and has all of it; it is refused if the first goes on."""
    path = os.path.join(folder, "handed.snapshot")
    listen = ("--listen", "127.0.0.1:0", "--snapshot", path)
    with Server("--snapshot", path) as first:
        c = Client(first.port)
        c.send(b"".join(encoded("SET", f"k{i}", "v" * 1000) for i in range(5000)))
        for _ in range(5000):
            c.answer()
        waits = f"cache_server: {path} is in use by another server: waiting for its end\n"
        p = subprocess.run([SERVER, *listen], capture_output=True, text=True, timeout=LIMIT)
        refusal = f"cache_server: {path} is in use by another server, process {first.process.pid}\n"
        if (p.returncode, p.stdout, p.stderr) != (1, "", waits + refusal):
            fail(f"a second server gave {p.returncode}: {p.stdout}{p.stderr}")
        c.close()
        with subprocess.Popen([SERVER, *listen], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as second:
            try:
                if (line := second.stderr.readline()) != waits:
                    fail(f"a second server says {line}")
                first.process.send_signal(signal.SIGTERM)
                if (line := second.stdout.readline()) != f"loaded 5000 keys from {path}\n":
                    fail(f"a successor says {line}")
                first.ended()
                second.send_signal(signal.SIGTERM)
                if second.wait(timeout=LIMIT) != 0:
                    fail(f"a successor ends with {second.returncode}")
            finally:
                second.kill()
    if names := [name for name in os.listdir(folder) if name.startswith("handed.") and name != "handed.snapshot"]:
        fail(f"{names} are left")


def unfinished(path):
    """Whether a new snapshot is there that has not got its name yet."""
    return bool(glob.glob(glob.escape(path) + ".new.*"))


def killed_while_saving(folder):
    """Generation g sets every key to g and saves. Whenever it is killed, the file has one whole generation, none older than the
    last whose SAVE was answered."""
    path, keys, value = os.path.join(folder, "killed.snapshot"), 2000, "x" * 1000
    rng = random.Random(7)
    generation, killed_within = 0, 0
    rounds = 4 if SHORT else 12
    for round_ in range(rounds):
        s = Server("--snapshot", path)
        c = Client(s.port)
        saved = generation
        for _ in range(2):
            generation += 1
            c.send(b"".join(encoded("SET", f"k{i}", f"{generation}:{value}") for i in range(keys)))
            for _ in range(keys):
                c.answer()
            c.send(encoded("SAVE"))
            if c.answer() != b"+OK\r\n":
                fail("SAVE fails")
            saved = generation
        generation += 1
        c.send(b"".join(encoded("SET", f"k{i}", f"{generation}:{value}") for i in range(keys)))
        for _ in range(keys):
            c.answer()
        c.send(encoded("SAVE"))
        # From the moment when the new file is there, a random while.
        deadline = time.monotonic() + LIMIT
        while not unfinished(path) and not select_ready(c):
            if time.monotonic() > deadline:
                fail("the save does not begin")
        time.sleep(rng.random() * 0.015)
        s.kill()
        killed_within += unfinished(path)
        c.close()
        with Server("--snapshot", path) as after:
            c = Client(after.port)
            first = {c.call("GET", f"k{i}").split(b"\r\n")[1].split(b":")[0] for i in range(keys)}
            if len(first) != 1 or not saved <= int(min(first)) <= generation:
                fail(f"round {round_}: generations {sorted(first)}, {saved} was saved and {generation} begun")
            generation = max(generation, int(min(first)))
            if unfinished(path):
                fail("what a server was killed over is left there")
            c.send(encoded("SHUTDOWN", "NOSAVE"))
            c.rest()
            after.ended()
    print(f"killed {rounds} times, {killed_within} of them while a file was half written")
