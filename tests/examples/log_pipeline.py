#!/usr/bin/env python3
"""log_pipeline.py LOG_GENERATE LOG_PIPELINE: both pipelines give what a plain pass gives, whatever the input and the number of
workers; errors end them with one line; Ctrl-C loses nothing that was read."""
import array
import fcntl
import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time

GENERATE, PIPELINE = sys.argv[1:3]
LIMIT = 300
with open(PIPELINE, "rb") as program:
    SANITIZED = b"__asan_init" in (code := program.read()) or b"__tsan_init" in code
LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"]


def fail(message):
    print(f"log_pipeline: {message}")
    sys.exit(1)


def run(*args, status=0, stdin=None):
    done = subprocess.run(args, input=stdin, capture_output=True, timeout=LIMIT)
    if done.returncode != status:
        fail(f"{args} ended with {done.returncode}, not {status}\n{done.stdout.decode()}{done.stderr.decode()}")
    return done


def refused(status, *args, says, stdin=b""):
    said = run(*args, status=status, stdin=stdin).stderr.decode()
    name = os.path.basename(args[0])
    if not said.startswith(name + ": ") or said.count("\n") != 1 or says not in said:
        fail(f"{args} said: {said}")


def content(folder):
    found = {}
    for name in os.listdir(folder):
        if name == ".log_pipeline":  # the list of the others
            continue
        with open(os.path.join(folder, name), "rb") as f:
            found[name] = f.read()
    return found


def in_order(files):
    return files


def without_order(files):
    return {name: sorted(text.split(b"\n")) for name, text in files.items()}


# What the pipeline takes for well-formed, by Python's parser. It takes NaN and Infinity for numbers, which JSON does not have.
def expected(lines, least):
    files = {}
    for line in lines:
        name = "rejected.lines"
        try:
            said = json.loads(line.decode("utf-8"), parse_constant=lambda _: 1 / 0)
            level, service = said["level"], said["service"]
            if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", service):
                if LEVELS.index(level) < LEVELS.index(least):
                    continue
                name = service + ".log"
        except (ValueError, KeyError, TypeError, ZeroDivisionError, RecursionError):
            pass
        files[name] = files.get(name, b"") + line + b"\n"
    return files


ODD = [
    b'{"level":"warn","service":"a"}',
    b'  { "service" : "a" , "level" : "error" }  ',
    b'{"level":"warn","service":"a"}\r',
    b'{"level":"info","service":"a"}',
    b'{"level":"warn","service":"b","x":[1,-2.5e+10,{"y":[null,true,false,[]]},{}]}',
    b'{"level":"w\\u0061rn","service":"\\u0061b"}',
    b'{"l\\u0065vel":"warn","service":"c"}',
    b'{"level":"info","service":"a","level":"warn","service":"last-wins"}',
    b'{"level":3,"service":null,"level":"warn","service":"after-others"}',
    b'{"level":"loud","service":"../up","service":"after-bad","level":"warn"}',
    b'{"level":{"level":"x"},"service":[1,"\\n"],"service":"after-nested","level":"warn"}',
    b'{"level":"warn","service":"a","level":"loud"}', b'{"level":"warn","service":"a","service":7}',
    b'{"level":"warn","service":"a","level":tru}', b'{"level":tru,"level":"warn","service":"a"}',
    b'{"level":"\\q","level":"warn","service":"a"}', b'{"level":[1,],"level":"warn","service":"a"}',
    b'{"level":"warn","service":"exponent","n":[1e9999999999,-1E+99999999999999999999,0.5e-99999999999,1e400,2e2147483648]}',
    b'{"level":"warn","service":"exponent","m":"1e9999999999 \\" 1e99999999999","n":1e9999999999}',
    b'{"level":"warn","service":"a","n":1e9999999999x}', b'{"level":"warn","service":"a","n":1e9999999999,}',
    b'{"level":"warn","service":"u","m":"\xc3\xa9 \xf0\x9f\x90\x8c"}',
    b'{"level":"warn","service":"big","n":123456789012345678901234567890}',
    b'', b' ', b'{}', b'[]', b'null', b'"text"', b'17', b'{', b'}', b'{"level"', b'{"level":"warn","service":"a"',
    b'{"level":"warn","service":"a"}}', b'{"level":"warn","service":"a"} x', b'{"level":"warn","service":"a"}{}',
    b'{"level":"warn","service":"a",}', b'{"level":"warn" "service":"a"}', b'{"level":"warn","service":"a","x":}',
    b'{"level":"warn","service":"a","x":tru}', b'{"level":"warn","service":"a","x":truex}',
    b'{"level":"warn","service":"a","x":nul}', b'{"level":"warn","service":"a","x":01}',
    b'{"level":"warn","service":"a","x":1.}', b'{"level":"warn","service":"a","x":-}',
    b'{"level":"warn","service":"a","x":1e}', b'{"level":"warn","service":"a","x":+1}',
    b'{"level":"warn","service":"a","x":NaN}', b'{"level":"warn","service":"a","x":[1,]}',
    b'{"level":"warn","service":"a","x":[1}', b'{"level":"warn","service":"a","x":"\\q"}',
    b'{"level":"warn","service":"a","x":"\\u12"}', b'{"level":"warn","service":"a","x":"\t"}',
    b'{"level":"warn","service":"a","x":"\xff"}', b'{"level":"warn","service":"a","x":"open}',
    b'{"level":"warn"x,"service":"a"}', b'{"level":"warn","service":"a"x}', b'{level:"warn","service":"a"}',
    b'{"level":"loud","service":"a"}', b'{"level":3,"service":"a"}', b'{"level":null,"service":"a"}',
    b'{"level":"warn","service":""}', b'{"level":"warn","service":"../up"}', b'{"level":"warn","service":".hidden"}',
    b'{"level":"warn","service":["a"]}', b'{"level":"warn"}', b'{"service":"a"}',
    b'{"level":"warn","service":"' + b'n' * 64 + b'"}', b'{"level":"warn","service":"' + b'n' * 65 + b'"}',
    b'{"level":"warn","service":"deep","x":' + b'[' * 30 + b']' * 30 + b'}',
    b'{"level":"warn","service":"a"}',
]


def odd_lines(folder):
    path = os.path.join(folder, "odd.json")
    text = b"\n".join(ODD * 40)  # several times, so that each stands beside each; the last line has no end
    with open(path, "wb") as f:
        f.write(text)
    for least in ("trace", "warn", "fatal"):
        out = os.path.join(folder, "odd-" + least)
        run(PIPELINE, path, "--out", out, "--level", least, "--check")
        want, have = expected(ODD * 40, least), content(out)
        for name in sorted(want.keys() | have.keys()):
            if want.get(name) != have.get(name):
                w, h = (d.get(name, b"").split(b"\n") for d in (want, have))
                fail(f"{least}/{name}: missing {set(w) - set(h)}, too much {set(h) - set(w)}, or in another order")
        run(PIPELINE, path, "--out", out, "--level", least, "--check", "--by-line", "--overwrite")
        if without_order(content(out)) != without_order(have):
            fail(f"{least}: line by line gives something else")


def same_everywhere(folder):
    log, again, other = (os.path.join(folder, n) for n in ("log.json", "again.json", "other.json"))
    for path, seed in ((log, "1"), (again, "1"), (other, "2")):
        run(GENERATE, "--bytes", "2M" if SANITIZED else "5M", "--seed", seed, "--malformed", "100", "--out", path)
    bytes_of = {}
    for path in (log, again, other):
        with open(path, "rb") as f:
            bytes_of[path] = f.read()
    if bytes_of[log] != bytes_of[again] or bytes_of[log] == bytes_of[other]:
        fail("a seed does not fix the lines")
    first = None
    for workers in ("1", "2", "4"):
        out = os.path.join(folder, "out" + workers)
        run(PIPELINE, log, "--out", out, "--workers", workers, "--check", "--parsers", "3")
        first = first or content(out)
        if content(out) != first:
            fail(f"{workers} workers give other files")
        run(PIPELINE, log, "--out", out, "--workers", workers, "--check", "--parsers", "3", "--by-line", "--overwrite")
        run(PIPELINE, log, "--out", out, "--workers", workers, "--check", "--parsers", "1", "--by-line", "--overwrite")
        if content(out) != first:
            fail(f"{workers} workers and one parser give other files line by line")
    run(PIPELINE, "-", "--out", os.path.join(folder, "piped"), stdin=bytes_of[log])
    if content(os.path.join(folder, "piped")) != first:
        fail("standard input gives other files")
    # The check sees a difference: one file's lines go nowhere.
    lossy = os.path.join(folder, "lossy")
    os.mkdir(lossy)
    os.symlink("/dev/null", os.path.join(lossy, "search.log"))
    if b"DIFFERENT" not in run(PIPELINE, log, "--out", lossy, "--overwrite", "--check", status=1).stdout:
        fail("--check did not see that a file's lines were gone")
    long = b'{"level":"warn","service":"long","m":"' + b"m" * 3_000_000 + b'"}\n'
    with open(other, "wb") as f:
        f.write(long + bytes_of[log])
    run(PIPELINE, other, "--out", os.path.join(folder, "long"), "--check")
    if content(os.path.join(folder, "long"))["long.log"] != long:
        fail("a long line did not come through")
    return log


def errors(folder, log):
    out = os.path.join(folder, "errors")
    refused(1, PIPELINE, os.path.join(folder, "none"), "--out", out, says="cannot read")
    refused(1, PIPELINE, folder, "--out", out, says="Is a directory")
    refused(1, PIPELINE, log, "--out", os.path.join(folder, "out1"), says="--overwrite")
    refused(1, PIPELINE, log, "--out", log, says="")
    refused(2, PIPELINE, log, says="--out")
    refused(2, PIPELINE, "--out", out, says="input")
    refused(2, PIPELINE, log, "--out", out, "--level", "loud", says="loud")
    refused(2, PIPELINE, log, "--out", out, "--workers", "many", says="many")
    for pipe in ("-", "/dev/stdin"):
        refused(2, PIPELINE, pipe, "--out", out, "--check", says="--check")
    for size in ("few", "-1", "-5M", "99999999999999999999", "20000000000G", "010", "1.5G", "5 M", "5Kx", "5bb", "i", ""):
        refused(2, GENERATE, "--bytes", size, says=size + " is not a number of bytes")
    for number in ("-1", "010", "0x10", "99999999999999999999", "1.5", "nan"):
        refused(2, GENERATE, "--bytes", "1", "--seed", number, says=number + " is not a whole number")
    for size, least in (("1000", 1000), ("1000b", 1000), ("2k", 2000), ("2KB", 2000), ("2KiB", 2048), ("2ki", 2048), ("1M", 10**6), ("0", 0)):
        made = len(run(GENERATE, "--bytes", size).stdout)
        if not least <= made < least + (1000 if least else 1):
            fail(f"--bytes {size} gave {made}")
    refused(1, GENERATE, "--bytes", "5M", "--out", "/dev/full", says="No space left")
    for mode in ([], ["--by-line"]):
        full = os.path.join(folder, "full" + "".join(mode))
        os.mkdir(full)
        os.symlink("/dev/full", os.path.join(full, "search.log"))
        refused(1, PIPELINE, log, "--out", full, "--overwrite", *mode, says="No space left")
        refused(1, PIPELINE, "-", "--out", os.path.join(folder, "many"), "--overwrite", *mode, says="1024 services",
                stdin=b"".join(b'{"level":"warn","service":"s%d"}\n' % i for i in range(1100)))
    with open("/dev/full", "wb") as full:
        p = subprocess.run([PIPELINE, log, "--out", os.path.join(folder, "said-nowhere")], stdout=full, stderr=subprocess.PIPE, timeout=LIMIT)
    if p.returncode != 1 or p.stderr != b"log_pipeline: cannot write to standard output\n":
        fail(f"a full standard output gave {p.returncode}: {p.stderr}")
    for program in (GENERATE, PIPELINE):
        run(program, "--help")


def overwriting(folder, log):
    """--overwrite removes what an earlier run has made, and neither its own input nor anything else."""
    out = os.path.join(folder, "overwriting")
    os.mkdir(out)
    mine = {name: b"mine: " + name.encode() for name in ("notes.log", "old.lines", "README.txt")}
    for name, text in mine.items():
        with open(os.path.join(out, name), "wb") as f:
            f.write(text)
    inside = os.path.join(out, "in.log")
    os.link(log, inside)
    mine["in.log"] = content(out)["in.log"]
    first = None
    for mode in ([], ["--by-line"], []):
        run(PIPELINE, inside, "--out", out, "--overwrite", "--check", "--level", "warn" if first else "trace", *mode)
        have = content(out)
        if {n: have.get(n) for n in mine} != mine:
            fail(f"--overwrite changed {[n for n in mine if have.get(n) != mine[n]]}")
        made = have.keys() - mine.keys()
        if "search.log" not in made or (first and not made <= first):
            fail(f"--overwrite left {made}")
        first = first or made
    with open(os.path.join(out, ".log_pipeline")) as f:
        if set(f.read().split()) != made:
            fail("the list is not that of the files")
    # An earlier run's file as the input, by its own name, by another, and as standard input: nothing is removed.
    other = os.path.join(folder, "other-name")
    os.link(os.path.join(out, "search.log"), other)
    have = content(out)
    for name in (os.path.join(out, "search.log"), other):
        refused(1, PIPELINE, name, "--out", out, "--overwrite", says="is the input")
    with open(other, "rb") as f:
        done = subprocess.run([PIPELINE, "-", "--out", out, "--overwrite"], stdin=f, capture_output=True, timeout=LIMIT)
    if done.returncode != 1 or b"is the input" not in done.stderr or content(out) != have:
        fail(f"standard input from its own output gave {done.returncode}: {done.stderr}")
    # A file that has a service's name, and names in the list that no run writes there.
    with open(os.path.join(out, ".log_pipeline"), "w") as f:
        f.write("../odd.json\nnotes.txt\nREADME.txt\n\n.log\n")
    refused(1, PIPELINE, log, "--out", out, "--overwrite", says="not in the list")
    if content(out) != have or not os.path.exists(os.path.join(folder, "odd.json")):
        fail("a file that no run has listed was changed")


def too_long(folder):
    """A line of 16 MiB or more is malformed like others, in its place, and memory stays as it is."""
    path, mega = os.path.join(folder, "too-long.json"), 1024 * 1024
    good, bad, head, tail = b'{"level":"warn","service":"a"}', b"bad", b'{"level":"warn","service":"a","m":"', b'"}'
    fits = head + b"m" * (16 * mega - 1 - len(head + tail)) + tail
    lines = [good, bad, b"x" * (16 * mega - 1), bad, good, fits, fits.replace(b'"m"', b'"mm"'), good, b"y" * ((18 if SANITIZED else 50) * mega)]
    lines += [good, bad] * (2_000 if SANITIZED else 20_000) + [b"z" * (17 * mega)]
    with open(path, "wb") as f:
        f.write(b"\n".join(lines))  # the last has no end
    passed = (good, fits)
    want = {"a.log": b"".join(line + b"\n" for line in lines if line in passed),
            "rejected.lines": b"".join(line + b"\n" for line in lines if line not in passed)}
    for mode, by in ((("--parsers", "3"), in_order), (("--by-line", "--parsers", "1"), in_order),
                     (("--by-line", "--parsers", "3"), without_order))[::2 if SANITIZED else 1]:
        out = os.path.join(folder, "too-long")
        run(PIPELINE, path, "--out", out, "--check", "--overwrite", *mode)
        have = content(out)
        if by(have) != by(want):
            counts = [(name, have.get(name, b"").count(b"\n")) for name in want]
            fail(f"{mode}: a line that is too long did not come through: {counts}")
    # Longer than any memory that is allowed here; sanitizers have their own opinion of that.
    much = 40 if SANITIZED else 400
    for mode in ([], ["--by-line"]):
        p = subprocess.Popen([PIPELINE, "-", "--out", out, "--overwrite", "--parsers", "1", *mode], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        for _ in range(much):
            p.stdin.buffer.write(b"w" * mega)
        said = p.communicate(timeout=LIMIT)[0]
        size = os.path.getsize(os.path.join(out, "rejected.lines"))
        if p.returncode != 0 or size != much * mega + 1 or "1 malformed" not in said:
            fail(f"{mode}: a line of {much} MiB gave {p.returncode}, {size} bytes, {said}")
        if not SANITIZED and int(re.search(r"at most (\d+) MB", said)[1]) > 200:
            fail(f"{mode}: a line of {much} MiB took {said}")
        # Interrupted in the middle: what has come of it is there and has an end.
        p = subprocess.Popen([PIPELINE, "-", "--out", out, "--overwrite", *mode], stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        p.stdin.write(good + b"\n" + b"v" * (17 * mega))
        p.stdin.flush()
        wait_for(out, {"a.log": good + b"\n", "rejected.lines": b"v" * (17 * mega)}, p)
        p.send_signal(signal.SIGINT)
        if p.wait(timeout=LIMIT) != 130 or content(out)["rejected.lines"] != b"v" * (17 * mega) + b"\n":
            fail(f"{mode}: a line that is too long and cut by SIGINT has no end")
        p.stdin.close()


def wait_for(out, want, p, by=in_order):
    deadline = time.monotonic() + LIMIT
    while by(content(out)) != by(want):
        if time.monotonic() > deadline or p.poll() is not None:
            fail(f"of {str(want)[:1000]} there is {str(content(out))[:1000]}")
        time.sleep(0.002)


def followed(folder):
    """Lines are in the files while the input is still open and nothing else comes."""
    for mode, by in (([], in_order), (["--by-line"], without_order)):  # several parsers go on at their own pace
        out = os.path.join(folder, "followed" + "".join(mode))
        os.mkdir(out)
        p = subprocess.Popen([PIPELINE, "-", "--out", out, *mode], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        try:
            lines = []
            for more in ([0], [1, 2], [0, 5, 20, 1]):
                some = [ODD[i] for i in more]
                p.stdin.write(b"\n".join(some) + b"\n" + b'{"level":')
                p.stdin.flush()
                lines += some
                wait_for(out, expected(lines, "warn"), p, by)
                p.stdin.write(b'"trace","service":"none"}\n')
            p.stdin.close()
            if p.wait(timeout=LIMIT) != 0 or by(content(out)) != by(expected(lines, "warn")):
                fail(f"the end of what was followed gave {p.returncode} {content(out)}")
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()


def many_services(folder):
    """As many as are promised, where a process has fewer files unless it asks for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1100:
        return print(f"log_pipeline: not with 1024 services, as there may be only {hard} files")
    text = b"".join(b'{"level":"warn","service":"s%d"}\n' % i for i in range(1024))
    for mode in ([], ["--by-line"]):
        out = os.path.join(folder, "1024" + "".join(mode))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            run(PIPELINE, "-", "--out", out, *mode, stdin=text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if len(content(out)) != 1024:
            fail("not a file for each service")


def interrupted(folder, log):
    """A signal once everything that was sent has been read: it is all there at the end."""
    with open(log, "rb") as f:
        lines = f.read().split(b"\n")[:5000]
    text = b"\n".join(lines) + b"\n"
    for mode, number in (([], signal.SIGINT), (["--by-line"], signal.SIGINT), ([], signal.SIGHUP)):
        out = os.path.join(folder, f"interrupted{number}" + "".join(mode))
        p = subprocess.Popen([PIPELINE, "-", "--out", out, "--workers", "2", "--parsers", "1", *mode],
                             preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            p.stdin.write(text)
            p.stdin.flush()
            unread, deadline = array.array("i", [1]), time.monotonic() + LIMIT
            while unread[0] != 0:
                if time.monotonic() > deadline or p.poll() is not None:
                    fail("the input was not read")
                fcntl.ioctl(p.stdin.fileno(), termios.FIONREAD, unread)
                time.sleep(0.001)
            p.send_signal(number)
            stdout, stderr = p.stdout.read(), p.stderr.read()  # to its end: the input stays open
            status = p.wait(timeout=LIMIT)
        finally:
            if p.poll() is None:
                p.kill()
                p.wait()
        if status != 130 or b"interrupted" not in stderr or not stdout.startswith(b"5000 lines"):
            fail(f"signal {number} gave {status}: {stdout.decode()}{stderr.decode()}")
        if content(out) != expected(lines, "warn"):
            fail(f"signal {number} lost or added lines {mode}")


def interrupted_again(folder, log):
    """Signals that come while what has been read is written change nothing. A pipe that is read in small pieces makes that last."""
    with open(log, "rb") as f:
        lines = [line for line in f.read().split(b"\n") if b'"service":"search"' in line]
    os.mkfifo(fifo := os.path.join(folder, "slow"))
    for mode in ([], ["--by-line"]):
        out = os.path.join(folder, "again" + "".join(mode))
        os.mkdir(out)
        os.symlink(fifo, os.path.join(out, "search.log"))
        slow = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        feeder = subprocess.Popen(["cat", log, "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # and there the input stays open
        p = subprocess.Popen([PIPELINE, "-", "--out", out, "--overwrite", "--level", "trace", *mode], stdin=feeder.stdout, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        got = read_some(slow, p)
        p.send_signal(signal.SIGINT)
        while p.poll() is None:
            p.send_signal(signal.SIGTERM)
            got += read_some(slow, p)
        got += b"".join(iter(lambda: os.read(slow, 65536), b""))
        os.close(slow)
        said, errors = p.communicate()
        feeder.kill()
        feeder.communicate()
        if p.returncode != 130 or b"interrupted" not in errors or b" kept, " not in said:
            fail(f"further signals gave {p.returncode}: {said.decode()}{errors.decode()}")
        if not got.endswith(b"\n") or not set(got.split(b"\n")[:-1]) <= set(lines):
            fail(f"further signals cut a line {mode}")


def read_some(pipe, p):
    """At most a page; nothing once the program has ended."""
    while not select.select([pipe], [], [], 0.01)[0] and p.poll() is None:
        pass
    try:
        return os.read(pipe, 4096)
    except BlockingIOError:
        return b""


def files_beyond_the_limit(folder, log):
    """What is written beyond RLIMIT_FSIZE is an error like others."""
    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    for args in ([GENERATE, "--bytes", "5M", "--out", os.path.join(folder, "limited.json")],
                 [PIPELINE, log, "--out", os.path.join(folder, "limited")],
                 [PIPELINE, log, "--out", os.path.join(folder, "limited"), "--overwrite", "--by-line"]):
        p = subprocess.run(args, preexec_fn=limited, capture_output=True, text=True, timeout=LIMIT)
        if p.returncode != 1 or p.stderr.count("\n") != 1 or "File too large" not in p.stderr:
            fail(f"{args} with a limit of files gave {p.returncode}: {p.stdout}{p.stderr}")


with tempfile.TemporaryDirectory() as top:
    odd_lines(top)
    log_file = same_everywhere(top)
    errors(top, log_file)
    overwriting(top, log_file)
    too_long(top)
    followed(top)
    many_services(top)
    interrupted(top, log_file)
    interrupted_again(top, log_file)
    files_beyond_the_limit(top, log_file)
print("log_pipeline: passed")
