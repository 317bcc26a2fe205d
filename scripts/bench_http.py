"""Sets examples/http_echo beside a bare epoll loop, Go's net/http, and hyper, axum and actix: scripts/bench http.

Each figure is of a fresh server on a free port of 127.0.0.1, whose connections all send their next request as soon as the
last is answered:

  hello     GET /hello, keep-alive, for each number of --connections
  param     GET /hello/bench, whose name stands in the answer
  echo_1k, echo_64k   POST /echo of so many bytes
  connect   GET /hello on a new connection each
  start     from exec to the first answer, resident memory then, size of the stripped program
  idle      what a connection adds to the server's resident memory, after a request and some seconds of idleness

All but hello are of 64 connections, or as many as --connections says where that is one number. Servers take turns (raw, weft, Go, raw, ...), so that a
machine that gets slower meanwhile does so for all. The load is wrk's, or examples/http_load's where there is no wrk, on the
same machine: requests/s says how the two share the CPUs, and the column to look at is the server's CPU time a request,
beside the bare loop's in the same round. It includes the accepting of the connections.
"""
import argparse
import contextlib
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import bench_kit
from bench_kit import GO_BUILD, ROOT, Failed, build_rust, cpu_seconds, die_with_parent, tell

REQUEST = b"GET /hello HTTP/1.1\r\nHost: bench\r\n\r\n"
BODY = b'{"message":"hello world"}'
PEERS = {"go": "Go", "hyper": "hyper", "axum": "axum", "actix": "actix"}
KINDS = {"hello": ("GET /hello", "/hello", ""),
         "param": ("GET /hello/{name}", "/hello/bench", ""),
         "echo_1k": ("POST 1 KB", "/echo", 'wrk.method, wrk.body = "POST", string.rep("x", 1024)'),
         "echo_64k": ("POST 64 KB", "/echo", 'wrk.method, wrk.body = "POST", string.rep("x", 65536)'),
         "connect": ("a connection each", "/hello", 'wrk.headers["Connection"] = "close"')}
ROWS = [*KINDS, "start", "idle"]
SETTLE = 3.5  # seconds until servers that give memory back while they are idle have done so
WRK_REPORT = """function done(summary, latency, requests)
  local e, n = summary.errors, 0
  for _, count in pairs(e) do n = n + count end
  io.write(string.format("\\nreport %d %d %f %d", summary.requests, summary.duration, latency:percentile(99), n))
end
"""


def arguments(argv):
    p = argparse.ArgumentParser(prog="scripts/bench http", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--connections", default="64,1000,10000", metavar="N,...", help="how many at once (default %(default)s)")
    bench_kit.add_repetitions(p, "runs of each server", quick=3)
    p.add_argument("--duration", type=int, metavar="S", help="seconds of load in a run (default 5; 2 with --quick)")
    p.add_argument("--idle", type=int, default=10000, metavar="N", help="idle connections to hold; 0: none (default %(default)s)")
    p.add_argument("--threads", type=int, default=0, metavar="N", help="of each server (default: one a CPU)")
    p.add_argument("--rows", default=",".join(ROWS), metavar="LIST", help="of %(default)s (default: all)")
    p.add_argument("--quick", action="store_true", help="short runs, for a first look")
    p.add_argument("--load", choices=["wrk", "http_load"], help="who sends the requests (default: wrk if it is there)")
    p.add_argument("--json", metavar="FILE", help="also write all figures there")
    p.add_argument("--build", metavar="DIR", help="use the programs of this build folder as they are; build nothing")
    p.add_argument("--peers", default=",".join(PEERS), metavar="LIST",
                   help="of %(default)s (default: all that are there); an empty one: the bare loop and weft alone")
    a = p.parse_args(argv)
    bench_kit.check_repetitions(p, a, quick=3)
    a.duration = (2 if a.quick else 5) if a.duration is None else a.duration
    try:
        a.connections = [int(n) for n in a.connections.split(",")]
    except ValueError:
        p.error("--connections: numbers with commas between them")
    if min(a.connections + [a.duration]) < 1 or min(a.idle, a.threads) < 0:
        p.error("numbers must be positive")
    if a.load == "wrk" and not shutil.which("wrk"):
        p.error("--load wrk: it is not installed (scripts/setup --bench)")
    bench_kit.check_writable(a.json)
    a.peers = [name for name in a.peers.split(",") if name]
    for name in a.peers:
        if name not in PEERS:
            p.error(f"--peers: {name} is none of {', '.join(PEERS)}")
    a.rows = [name for name in a.rows.split(",") if name]
    for name in a.rows:
        if name not in ROWS:
            p.error(f"--rows: {name} is none of {', '.join(ROWS)}")
    a.load = a.load or ("wrk" if shutil.which("wrk") else "http_load")
    return a


# ---- servers ----------------------------------------------------------------------------------------------------


def build(a):
    """(name, command, environment) of each server; weft comes behind raw, which it is compared with."""
    folder = os.path.abspath(a.build or os.path.join(ROOT, "build", "release"))
    if a.build is None:
        targets = ["bench_peer_epoll", "example_http_echo", "example_http_load"]
        if subprocess.run([os.path.join(ROOT, "scripts", "build"), "release", *targets], stdout=sys.stderr).returncode:
            raise Failed("the servers do not build")
    threads = str(a.threads or len(os.sched_getaffinity(0)))
    found = [("raw", [os.path.join(folder, "bench", "bench_peer_epoll"), "--threads", threads], "--listen", {}),
             ("weft", [os.path.join(folder, "examples", "http_echo"), "--workers", threads], "--listen", {})]
    for _, command, _, _ in found:
        if not os.path.exists(command[0]):
            raise Failed(f"{command[0]} is not there")
    return folder, found + build_peers(a.peers, os.path.join(folder, "bench"), threads)


def build_peers(asked, folder, threads):
    found = []
    sources = os.path.join(ROOT, "bench", "peers")
    if "go" in asked:
        if shutil.which("go") is None:
            tell("no Go here (https://go.dev/dl): without its server")
        else:
            program = os.path.join(folder, "go-hello")
            if subprocess.run([*GO_BUILD, program, "./hello"], cwd=os.path.join(sources, "go")).returncode:
                raise Failed("Go's server does not build")
            found.append((PEERS["go"], [program], "-listen", {"GOMAXPROCS": threads}))
    rust = build_rust([name for name in asked if name != "go"], folder)
    return found + [(PEERS[name], [program, "--threads", threads], "--listen", {}) for name, program in rust.items()]


@contextlib.contextmanager
def running(server):
    """The server in a session of its own, so that Ctrl-C ends it by way of this function: (Popen, (host, port))."""
    name, command, listen, environment = server
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, listen, "127.0.0.1:0"], stdout=log, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, env={**os.environ, **environment}, start_new_session=True,
                                   preexec_fn=die_with_parent)

        def said():
            return os.pread(log.fileno(), 4096, 0).decode(errors="replace")

        try:
            end = time.monotonic() + 20
            while not (match := re.search(r"listening on ([\d.]+):(\d+)\n", said())):
                if process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"{name} did not start: {said()}")
                time.sleep(0.01)
            yield process, (match[1], int(match[2]))
            if process.poll() is not None:
                raise Failed(f"{name} ended during its measurement with status {process.returncode}: {said()}")
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def memory(pid, file, field):
    with open(f"/proc/{pid}/{file}") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(field))


def resident(pid):
    return memory(pid, "smaps_rollup", "Rss:")  # exact, where VmRSS is late by some pages a thread


def ask(s):
    """One request over an open connection: its whole answer."""
    s.sendall(REQUEST)
    answer = b""
    while not answer.endswith(BODY):
        piece = s.recv(4096)
        if not piece:
            raise Failed(f"the server hung up after {answer!r}")
        answer += piece
    return answer


# ---- load -------------------------------------------------------------------------------------------------------


def drive(a, folder, address, kind, connections):
    """(requests, seconds, p99 in ms, errors)"""
    _, path, script_of_kind = KINDS[kind]
    url = f"http://{address[0]}:{address[1]}{path}"
    if a.load == "http_load":
        command = [os.path.join(folder, "examples", "http_load"), "--url", url, "--connections", str(connections),
                   "--duration", f"{a.duration}s"]
        done = subprocess.run(command, capture_output=True, text=True)
        rows = dict(re.findall(r"^  (requests|requests/s|latency p99|errors) +([\d.]+)", done.stdout, re.M))
        if len(rows) < 4:
            raise Failed(f"{' '.join(command)} ended with status {done.returncode}: {done.stdout}{done.stderr}")
        n = int(rows["requests"])
        return n, n / max(float(rows["requests/s"]), 1), float(rows["latency p99"]), int(rows["errors"])
    threads = min(connections, max(1, len(os.sched_getaffinity(0)) // 2))
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(script_of_kind + "\n" + WRK_REPORT)
        script.flush()
        command = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{a.duration}s", "-s", script.name, url]
        done = subprocess.run(command, capture_output=True, text=True)
    match = re.search(r"^report (\d+) (\d+) ([\d.]+) (\d+)$", done.stdout, re.M)
    if not match:
        raise Failed(f"{' '.join(command)} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return int(match[1]), int(match[2]) / 1e6, float(match[3]) / 1e3, int(match[4])


def measure(a, folder, server, kind, connections):
    with running(server) as (process, address):
        with socket.create_connection(address, 20) as s:
            ask(s)
        before = cpu_seconds(process.pid)
        requests, seconds, p99, errors = drive(a, folder, address, kind, connections)
        after = cpu_seconds(process.pid)
        if requests == 0:
            raise Failed(f"{server[0]} answered nothing")
        user, system = ((y - x) * 1e6 / requests for x, y in zip(before, after))
        return {"requests_per_s": requests / seconds, "requests": requests, "cpu_us": user + system, "user_us": user,
                "system_us": system, "p99_ms": p99, "peak_bytes": memory(process.pid, "status", "VmHWM:"), "errors": errors}


def idle_bytes(server, connections):
    """Resident bytes that a connection adds, after one request, while nobody asks anything."""
    with running(server) as (process, address), contextlib.ExitStack() as all_open:
        with socket.create_connection(address, 20) as s:
            ask(s)
        time.sleep(SETTLE)
        before = resident(process.pid)
        for _ in range(connections):
            ask(all_open.enter_context(socket.create_connection(address, 20)))
        time.sleep(SETTLE)
        return (resident(process.pid) - before) / connections


def start_once(server):
    """(ms from exec to the first answer, MB resident then); the port is asked for until somebody listens."""
    name, command, listen, environment = server
    with socket.create_server(("127.0.0.1", 0)) as s:
        address = s.getsockname()
    began = time.monotonic()
    process = subprocess.Popen([*command, listen, f"{address[0]}:{address[1]}"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env={**os.environ, **environment}, start_new_session=True,
                               preexec_fn=die_with_parent)
    try:
        while True:
            try:
                with socket.create_connection(address, 20) as s:
                    ask(s)
                    took = time.monotonic() - began
                    return took * 1e3, resident(process.pid) / 1e6
            except ConnectionRefusedError:
                if process.poll() is not None or time.monotonic() > began + 20:
                    raise Failed(f"{name} did not start") from None
    finally:
        process.kill()
        process.wait()


def stripped(program):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "stripped")
        if shutil.which("strip") is None or subprocess.run(["strip", "-o", out, program]).returncode:
            return None
        return os.path.getsize(out)


# ---- tables -----------------------------------------------------------------------------------------------------


def summary(name, kind, connections, runs, raw):
    s = {key: statistics.median(r[key] for r in runs) for key in runs[0]}
    s.update(server=name, row=kind, connections=connections, errors=sum(r["errors"] for r in runs), runs=runs)
    ratios = [mine["cpu_us"] / bare["cpu_us"] for mine, bare in zip(runs, raw)]
    s.update(ratio=statistics.median(ratios), ratio_min=min(ratios), ratio_max=max(ratios))
    return s


def print_row(s):
    spread = "" if s["server"] == "raw" else f"{s['ratio_min']:.2f}..{s['ratio_max']:.2f}"
    print(f"{s['connections']:>11}  {s['server']:<6}{s['requests_per_s']:>11.0f}{s['cpu_us']:>8.2f}{s['user_us']:>7.2f}"
          f"{s['system_us']:>8.2f}{s['ratio']:>7.2f}{spread:>12}{s['p99_ms']:>9.1f}{s['peak_bytes'] / 1e6:>9.1f}{s['errors']:>8}",
          flush=True)


def run_loads(a, folder, servers, rows):
    todo = [(kind, n) for kind in a.rows if kind in KINDS
            for n in (a.connections if kind == "hello" or len(a.connections) == 1 else [64])]
    if a.load == "http_load":
        left_out = {kind for kind, _ in todo} - {"hello", "param"}
        if left_out:
            tell(f"left out, since http_load does not do them: {', '.join(sorted(left_out))}")
        todo = [(kind, n) for kind, n in todo if kind not in left_out]
    progress = bench_kit.Progress(len(todo) * a.repetitions * len(servers))
    shown = None
    for kind, connections in todo:
        runs = {server[0]: [] for server in servers}
        for _ in range(a.repetitions):
            for server in servers:
                progress.step(f"{kind}, {connections} connections, {server[0]}")
                runs[server[0]].append(measure(a, folder, server, kind, connections))
        progress.clear()
        if kind != shown:
            print(f"\n{KINDS[kind][0]}\n{'connections':>11}  {'server':<6}{'requests/s':>11}{'CPU us':>8}{'user':>7}{'system':>8}{'x raw':>7}"
                  f"{'min..max':>12}{'p99 ms':>9}{'peak MB':>9}{'errors':>8}", flush=True)
            shown = kind
        for name, of in runs.items():
            rows.append(summary(name, kind, connections, of, runs["raw"]))
            print_row(rows[-1])


def run_starts(a, servers):
    tell("start")
    runs = {server[0]: [] for server in servers}
    for _ in range(4 * a.repetitions):
        for server in servers:
            runs[server[0]].append(start_once(server))
    print(f"\nfrom exec to the first answer\n{'':>11}  {'server':<6}{'ms':>11}{'min..max':>15}{'RSS MB':>9}{'stripped MB':>13}")
    rows = []
    for name, command, _, _ in servers:
        ms, mb = zip(*runs[name])
        size = stripped(command[0])
        rows.append({"server": name, "ms": statistics.median(ms), "min": min(ms), "max": max(ms), "resident_mb": statistics.median(mb),
                     "stripped_bytes": size})
        print(f"{'':>11}  {name:<6}{statistics.median(ms):>11.1f}{f'{min(ms):.1f}..{max(ms):.1f}':>15}{statistics.median(mb):>9.1f}"
              f"{'?' if size is None else f'{size / 1e6:.2f}':>13}", flush=True)
    return rows


def run_idle(a, servers):
    tell("idle")
    print(f"\n{a.idle} idle connections after a request each: KB a connection")
    rows = []
    for server in servers:
        rows.append({"server": server[0], "connections": a.idle, "bytes_each": idle_bytes(server, a.idle)})
        print(f"{'':>11}  {server[0]:<6}{rows[-1]['bytes_each'] / 1e3:>11.2f}", flush=True)
    return rows


def run(a, about):
    most = max(a.connections + [a.idle]) + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < most:
        raise Failed(f"{most} descriptors are needed, and the limit is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))  # the servers and the load inherit it
    folder, servers = build(a)
    bench_kit.say_machine(about, f"load by {a.load}; {a.repetitions} repetitions of {a.duration} s, interleaved")
    rows, starts, idle = [], [], []
    try:
        run_loads(a, folder, servers, rows)
        starts = run_starts(a, servers) if "start" in a.rows else []
        idle = run_idle(a, servers) if "idle" in a.rows and a.idle else []
    finally:  # a run takes long: what there is of it is kept, also on Ctrl-C
        bench_kit.write_figures(a.json, about, {"load": a.load, "rows": rows, "start": starts, "idle": idle})
    failed = sum(r["errors"] for r in rows if r["server"] == "weft")
    if failed:
        raise Failed(f"weft's server gave {failed} errors")


def main(argv, about):
    a = arguments(argv)
    bench_kit.end_by_signals()
    run(a, about)
