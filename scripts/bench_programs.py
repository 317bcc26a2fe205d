"""Sets the programs of docs/programs.md beside others that do the same work: scripts/bench programs.

logs   examples/log_pipeline on a generated log, by block and by line, and its twins in Go (bench/peers/go/logs) and in Rust
       (bench/peers/rust/src/bin/logs.rs): seconds, CPU seconds of the process, its peak memory. The log is read once before, so that
       it is in memory for all.
cache  examples/cache_server, its twin in Rust (bench/peers/rust/src/bin/cache.rs) and redis-server under redis-benchmark: SET and GET of
       100,000 keys from 50 connections, one request at a time and pipelined by 16. CPU microseconds a request of the server, user and system;
       the client shares the machine. weft and Rust with --threads threads and with one.
gateway  examples/fastjson_api and its twin in Go (bench/peers/go/gateway), each in front of a cache_server, without their log lines, under
       http_load: GET of one item from 64 and from 1,000 connections. CPU microseconds a request of the gateway.

The programs take turns, so that a machine that gets slower meanwhile does so for all. What is not installed is left out.
"""
import argparse
import functools
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import bench_kit
from bench_kit import GO_BUILD, ROOT, Failed, build_rust, cpu_seconds, die_with_parent, tell


def arguments(argv):
    p = argparse.ArgumentParser(prog="scripts/bench programs", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", choices=["logs", "cache", "gateway"], help="one of them")
    bench_kit.add_repetitions(p, "runs of each", quick=3)
    p.add_argument("--bytes", metavar="N", help="size of the log (default 1G; 200M with --quick)")
    p.add_argument("--requests", type=int, metavar="N", help="of a kind in a run (default 1000000; 200000 with --quick)")
    p.add_argument("--threads", type=int, default=0, metavar="N", help="of each program (default: one a CPU); redis-server has one")
    p.add_argument("--quick", action="store_true", help="short runs, for a first look")
    p.add_argument("--json", metavar="FILE", help="also write all figures there")
    p.add_argument("--build", metavar="DIR", help="use the programs of this build folder as they are; build nothing")
    a = p.parse_args(argv)
    bench_kit.check_repetitions(p, a, quick=3)
    a.bytes = a.bytes or ("200M" if a.quick else "1G")
    a.requests = (200_000 if a.quick else 1_000_000) if a.requests is None else a.requests
    a.threads = a.threads or len(os.sched_getaffinity(0))
    if min(a.requests, a.threads) < 1:
        p.error("numbers must be positive")
    bench_kit.check_writable(a.json)
    return a


def build(a):
    folder = os.path.abspath(a.build or os.path.join(ROOT, "build", "release"))
    if a.build is None:
        targets = ["example_log_generate", "example_log_pipeline", "example_cache_server", "example_fastjson_api", "example_http_load"]
        if subprocess.run([os.path.join(ROOT, "scripts", "build"), "release", *targets], stdout=sys.stderr).returncode:
            raise Failed("the programs do not build")
    if not os.path.isdir(os.path.join(folder, "examples")):
        raise Failed(f"{folder}/examples is not there")
    return os.path.join(folder, "examples")


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def by_turns(repetitions, todo, keep):
    """todo: {key: function that measures once}. All of them so many times, one after the other: {key: what each said, in columns}. The same goes to
    keep(key, columns), with the rounds that were complete where one fails or is broken off."""
    progress, runs = bench_kit.Progress(repetitions * len(todo)), {key: [] for key in todo}
    try:
        for _ in range(repetitions):
            for key, measure in todo.items():
                progress.step(", ".join(map(str, key)))
                runs[key].append(measure())
    finally:
        progress.clear()
        rounds = min(map(len, runs.values()))
        found = {key: tuple(zip(*r[:rounds])) for key, r in runs.items()} if rounds else {}
        for key, columns in found.items():
            keep(key, columns)
    return found


# ---- logs -------------------------------------------------------------------------------------------------------


def timed(command, environment):
    """(seconds, CPU seconds, MB) of a program that must end with status 0."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment},
                               preexec_fn=die_with_parent)
    try:
        said = process.stdout.read().decode(errors="replace")
    except BaseException:  # Ctrl-C or SIGTERM: it must not write into a folder that is removed
        process.kill()
        process.wait()
        raise
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with status {process.returncode}: {said}")
    memory = re.search(r"at most (\d+) MB", said)
    return time.monotonic() - began, used.ru_utime + used.ru_stime, int(memory[1]) if memory else 0


def logs(a, examples, top, figures):
    log, threads = os.path.join(top, "log.json"), str(a.threads)
    made = subprocess.run([os.path.join(examples, "log_generate"), "--bytes", a.bytes, "--out", log], capture_output=True, text=True)
    if made.returncode:
        raise Failed(made.stderr.strip())
    with open(log, "rb") as f:
        while f.read(1 << 24):
            pass
    weft = [os.path.join(examples, "log_pipeline"), log, "--out", os.path.join(top, "weft"), "--overwrite", "--workers", threads]
    todo = {("weft", "by block"): (weft, {}), ("weft", "by line"): ([*weft, "--by-line"], {})}
    if shutil.which("go") is None:
        tell("no Go here: without its program")
    else:
        go = os.path.join(top, "go-logs")
        if subprocess.run([*GO_BUILD, go, "."], cwd=os.path.join(ROOT, "bench", "peers", "go", "logs")).returncode:
            raise Failed("Go's program does not build")
        limit = {"GOMAXPROCS": threads}
        todo["Go", "by block"] = ([go, log, os.path.join(top, "go")], limit)
        todo["Go", "by line"] = ([go, "-line", log, os.path.join(top, "go")], limit)
    rust = build_rust(["logs"], os.path.join(os.path.dirname(examples), "bench"))
    if rust:
        command = [rust["logs"], "--threads", threads]
        todo["Rust", "by block"] = ([*command, log, os.path.join(top, "rust")], {})
        todo["Rust", "by line"] = ([*command, "--line", log, os.path.join(top, "rust")], {})

    def keep(key, columns):
        (side, row), (seconds, cpu, mb) = key, columns
        figures.append({"program": "log_pipeline", "side": side, "row": row, "seconds": seconds, "cpu_seconds": cpu, "peak_mb": mb})

    found = by_turns(a.repetitions, {key: functools.partial(timed, *how) for key, how in todo.items()}, keep)
    print(f"\nlog_pipeline, {os.path.getsize(log) / 1e9:.2f} GB\n{'':<18}{'seconds':>22}{'CPU seconds':>22}{'MB':>6}")
    for (side, row), (seconds, cpu, mb) in found.items():
        print(f"{side + ', ' + row:<18}{spread(seconds, 2):>22}{spread(cpu, 2):>22}{max(mb):>6.0f}", flush=True)


# ---- cache ------------------------------------------------------------------------------------------------------


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def start(command):
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)


def ready(process, port):
    end = time.monotonic() + 20
    while time.monotonic() < end and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise Failed(f"{process.args[0]} does not listen")


def drive(port, kind, pipeline, requests):
    command = ["redis-benchmark", "-p", str(port), "-t", kind, "-n", str(requests), "-c", "50", "-P", str(pipeline), "-r", "100000", "-q"]
    try:  # it never ends by itself when the server is gone
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired as e:
        raise Failed(f"{' '.join(command)} does not end") from e
    rates = re.findall(r"([\d.]+) requests per second", done.stdout)
    if done.returncode != 0 or len(rates) != 1:
        raise Failed(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return float(rates[0])


def cache_turn(process, port, kind, pipeline, requests):
    """(CPU microseconds a request, requests a second)"""
    before = sum(cpu_seconds(process.pid))
    rate = drive(port, kind, pipeline, requests)
    return (sum(cpu_seconds(process.pid)) - before) * 1e6 / requests, rate


def cache(a, examples, figures):
    if shutil.which("redis-benchmark") is None:
        tell("no redis-benchmark here (scripts/setup): without the cache")
        return
    programs = {"weft": [os.path.join(examples, "cache_server"), "--workers"]}
    if rust := build_rust(["cache"], os.path.join(os.path.dirname(examples), "bench")):
        programs["Rust"] = [rust["cache"], "--threads"]
    servers = {}
    try:
        for name, command in programs.items():
            for threads in dict.fromkeys((a.threads, 1)):
                port = free_port()
                servers[f"{name}, {threads}"] = (start([*command, str(threads), "--listen", f"127.0.0.1:{port}"]), port)
        if shutil.which("redis-server"):
            port = free_port()
            servers["redis-server"] = (start(["redis-server", "--port", str(port), "--save", "", "--appendonly", "no"]), port)
        else:
            tell("no redis-server here (the package redis-server of Debian): weft alone")
        for process, port in servers.values():
            ready(process, port)

        def keep(key, columns):
            (row, name), (cpu, rate) = key, columns
            figures.append({"program": "cache_server", "side": name, "row": row, "cpu_us": cpu, "requests_per_s": rate})

        found = by_turns(a.repetitions, {
            (f"{kind.upper()}, pipelined by {pipeline}", name): functools.partial(
                cache_turn, *server, kind, pipeline, a.requests if pipeline > 1 else a.requests // 4)
            for kind in ("set", "get") for pipeline in (1, 16) for name, server in servers.items()}, keep)
        print(f"\ncache_server, 50 connections\n{'':<38}{'CPU us a request':>22}{'requests/s':>14}")
        for (row, name), (cpu, rate) in found.items():
            print(f"{row:<22}{name:<16}{spread(cpu, 2):>22}{statistics.median(rate):>14,.0f}")
    finally:
        for process, _ in servers.values():
            process.terminate()
        for process, _ in servers.values():
            process.wait()


# ---- gateway ----------------------------------------------------------------------------------------------------


def load(examples, port, process, connections, seconds):
    command = [os.path.join(examples, "http_load"), "--url", f"http://127.0.0.1:{port}/items/1", "--connections", str(connections),
               "--duration", str(seconds), "--server-pid", str(process.pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = [re.search(rf"{what} +([\d.]+)", done.stdout) for what in ("CPU a request", "requests/s", "latency p99")]
    if done.returncode != 0 or None in found:
        raise Failed(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return [float(f[1]) for f in found]


def gateway(a, examples, top, figures):
    cache_port = free_port()
    cache = f"127.0.0.1:{cache_port}"
    commands = {"weft": [os.path.join(examples, "fastjson_api"), "--quiet", "--workers", str(a.threads)]}
    if shutil.which("go") is None:
        tell("no Go here: without its program")
    else:
        go = os.path.join(top, "go-gateway")
        if subprocess.run([*GO_BUILD, go, "./gateway"], cwd=os.path.join(ROOT, "bench", "peers", "go")).returncode:
            raise Failed("Go's program does not build")
        commands["Go"] = ["env", f"GOMAXPROCS={a.threads}", go, "-quiet"]
    started = [start([os.path.join(examples, "cache_server"), "--listen", cache])]
    try:
        ready(started[0], cache_port)
        servers = {}
        for name, command in commands.items():
            port = free_port()
            servers[name] = (start([*command, "-listen" if name == "Go" else "--listen", f"127.0.0.1:{port}",
                                    "-cache" if name == "Go" else "--cache", cache]), port)
            started.append(servers[name][0])
            ready(*servers[name])
            item = urllib.request.Request(f"http://127.0.0.1:{port}/items/1", b'{"name":"lamp","price":19.5,"tags":["home"]}')
            urllib.request.urlopen(item, timeout=20).close()

        def keep(key, columns):
            (row, name), (cpu, rate, late) = key, columns
            figures.append({"program": "fastjson_api", "side": name, "row": row, "cpu_us": cpu, "requests_per_s": rate, "p99_ms": late})

        found = by_turns(a.repetitions, {
            (f"{connections:,} connections", name): functools.partial(load, examples, port, process, connections, 1 if a.quick else 3)
            for connections in (64, 1000) for name, (process, port) in servers.items()}, keep)
        print(f"\nfastjson_api, GET of an item\n{'':<34}{'CPU us a request':>22}{'requests/s':>14}{'p99 ms':>10}")
        for (row, name), (cpu, rate, late) in found.items():
            print(f"{row:<19}{name:<15}{spread(cpu, 2):>22}{statistics.median(rate):>14,.0f}{statistics.median(late):>10.1f}")
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def main(argv, about):
    a = arguments(argv)
    bench_kit.end_by_signals()
    figures = []
    try:
        examples = build(a)
        bench_kit.say_machine(about, f"{a.repetitions} repetitions, by turns: medians (smallest..largest)")
        with tempfile.TemporaryDirectory() as top:
            if a.only in (None, "logs"):
                logs(a, examples, top, figures)
            if a.only in (None, "cache"):
                cache(a, examples, figures)
            if a.only in (None, "gateway"):
                gateway(a, examples, top, figures)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Failed(e) from e
    finally:  # what there is of it is kept, also on Ctrl-C
        bench_kit.write_figures(a.json, about, {"rows": figures})
