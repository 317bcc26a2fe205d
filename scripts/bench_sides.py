"""The sides of scripts/bench: weft's Google Benchmark programs, and the peers, each of which is built if its tool chain is there.

A side runs one row in a process of its own and returns {"ns", "cpu", "bytes", "extra"}: nanoseconds of wall and CPU time an
operation, resident bytes a task or None, and whatever else the row counts. None: it has no such row.
"""
import json
import os
import re
import shutil
import subprocess
import sys

from bench_kit import GO_BUILD, ROOT, Failed, tell

PEERS = ["go", "tokio", "boost_fiber", "tbb"]
TITLES = {"weft": "weft", "go": "Go", "tokio": "Tokio", "boost_fiber": "Boost.Fiber", "tbb": "TBB"}
UNITS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
NOT_EXTRA = {"ops", "per_op", "bytes", "cpu_ns_per_op"}
BENCHMARKS_OWN = {"name", "family_index", "per_family_instance_index", "run_name", "run_type", "repetitions", "repetition_index",
                  "threads", "iterations", "real_time", "cpu_time", "time_unit"}
MISSING = {"go": "no Go here (https://go.dev/dl)", "tokio": "no Rust here (https://rustup.rs)",
           "boost_fiber": "Boost.Fiber is not there (scripts/setup --bench)", "tbb": "TBB is not there (scripts/setup --bench)"}


def output_of(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with status {done.returncode}\n{done.stderr}")
    return done.stdout


class Weft:
    name = "weft"

    def __init__(self, folder, workers, background):
        self.environment = {"WEFT_BENCH_WORKERS": ",".join(map(str, workers)), "WEFT_BENCH_BACKGROUND": str(background)}
        self.folder = folder
        self.known = {}
        for file in sorted(os.listdir(folder)):
            program = os.path.join(folder, file)
            if not file.startswith("bench_") or file.startswith("bench_peer_") or file == "bench_start_program":
                continue
            if not os.path.isfile(program) or not os.access(program, os.X_OK):
                continue
            for full in output_of([program, "--benchmark_list_tests"], self.environment).split():
                if match := re.match(r"(\w+)/workers:(\d+)(?!.*subscribers:)", full):
                    self.known[match[1], int(match[2])] = program, full

    def run(self, name, workers, seconds, environment=None):
        program, full = self.known[name, workers]
        command = [program, f"--benchmark_filter=^{re.escape(full)}$", "--benchmark_format=json", f"--benchmark_min_time={seconds}"]
        text = output_of(command, {**self.environment, **(environment or {})})
        b = json.loads(text)["benchmarks"][0]
        if b.get("error_occurred"):
            raise Failed(f"{full}: {b['error_message']}")
        ns = UNITS[b["time_unit"]] / b["ops"]
        extra = {k: v for k, v in b.items() if k not in NOT_EXTRA | BENCHMARKS_OWN and isinstance(v, (int, float))}
        if name not in ("blocked_64x10ms", "blocking_64x10ms"):
            extra.pop("threads", None)
        return {"ns": b["real_time"] * ns, "cpu": b.get("cpu_ns_per_op", b["cpu_time"] * ns), "bytes": b.get("bytes"), "extra": extra}


class Peer:
    def __init__(self, name, program, start, weft, background):
        self.name, self.program, self.start, self.weft, self.background = name, program, start, weft, background
        self.rows = set(output_of([program, "-list", "-workers", "1"]).split())

    def run(self, name, workers, seconds):
        if name == "start_exit" and self.start:  # the same program measures everybody's
            return self.weft.run(name, workers, seconds, {"WEFT_BENCH_START": self.start})
        if name not in self.rows:
            return None
        command = [self.program, "-only", f"^{name}$", "-workers", str(workers), "-min-time", str(seconds)]
        if self.background:
            command += ["-background", str(self.background)]
        line = output_of(command).strip()
        r = json.loads(line)
        return {"ns": r["ns_per_op"], "cpu": r["cpu_ns_per_op"], "bytes": r.get("bytes"), "extra": r.get("extra", {})}

    def has(self, name):
        return name in self.rows or (name == "start_exit" and self.start is not None)


def first_line(command):
    """Of what it says; nothing where it fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError:
        return ""
    return done.stdout.partition("\n")[0].strip() if done.returncode == 0 else ""


def version_of(side):
    """What is measured, and by what it was built: of weft the commit and the compiler."""
    if side.name == "weft":
        try:
            with open(os.path.join(os.path.dirname(side.folder), "CMakeCache.txt")) as f:
                cache = dict(re.findall(r"^(CMAKE_CXX_COMPILER|CMAKE_HOME_DIRECTORY):\w+=(.+)$", f.read(), re.M))
            commit = first_line(["git", "-C", cache["CMAKE_HOME_DIRECTORY"], "describe", "--always", "--dirty"])
            return ", ".join(filter(None, (f"weft {commit}".strip(), first_line([cache["CMAKE_CXX_COMPILER"], "--version"]))))
        except (OSError, KeyError):
            return "weft"
    if side.name == "go":
        return first_line(["go", "version"])
    if side.name == "tokio":
        with open(os.path.join(ROOT, "bench", "peers", "tokio", "Cargo.toml")) as f:
            crates = re.findall(r'^(tokio|kanal) = .*?"=([\d.]+)"', f.read(), re.M)
        return ", ".join([*(f"{name} {version}" for name, version in reversed(crates)), first_line(["rustc", "--version"])])
    return first_line([side.program, "-version"]).replace("_", ".")


def build_peer(name, folder):
    """(program, start program) or None if what it needs is missing."""
    sources = os.path.join(ROOT, "bench", "peers", name)
    if name == "go":
        if shutil.which("go") is None:
            return None
        program, start = (os.path.abspath(os.path.join(folder, f)) for f in ("go-bench", "go-start"))
        for out, package in ((program, "."), (start, "./start")):
            if subprocess.run([*GO_BUILD, out, package], cwd=sources, stdout=sys.stderr).returncode:
                raise Failed("Go's benchmarks do not build")
        return program, start
    if name == "tokio":
        if shutil.which("cargo") is None:
            return None
        target = os.path.abspath(os.path.join(folder, "tokio"))
        command = ["cargo", "build", "--quiet", "--release", "--target-dir", target]
        if subprocess.run(command, cwd=sources, stdout=sys.stderr).returncode:
            raise Failed("Tokio's benchmarks do not build")
        return os.path.join(target, "release", "tokio-bench"), os.path.join(target, "release", "start")
    program = os.path.join(folder, f"bench_peer_{name}")
    return (program, None) if os.path.exists(program) else None


def build(asked, build_folder, workers, background):
    """weft and the peers that can be built; each that was asked for and cannot is named on stderr."""
    folder = build_folder or os.path.join(ROOT, "build", "release")
    if build_folder is None:
        wanted = ["bench_" + f[:-4] for f in sorted(os.listdir(os.path.join(ROOT, "bench"))) if f.endswith(".cpp")]
        script = os.path.join(ROOT, "scripts", "build")
        if subprocess.run([script, "release", *wanted], stdout=sys.stderr).returncode:
            raise Failed("weft's benchmarks do not build")
        for peer in {"boost_fiber", "tbb"} & set(asked):  # there is no such target without the library
            known = subprocess.run(["cmake", "--build", "--preset", "release", "--target", "help"], cwd=ROOT, capture_output=True, text=True)
            if f"bench_peer_{peer}:" in known.stdout and subprocess.run([script, "release", f"bench_peer_{peer}"], stdout=sys.stderr).returncode:
                raise Failed(f"{TITLES[peer]}'s benchmarks do not build")
    folder = os.path.join(folder, "bench")
    if not os.path.isdir(folder):
        raise Failed(f"{folder} is not there")
    weft = Weft(folder, workers, background)
    sides = [weft]
    for peer in asked:
        built = build_peer(peer, folder)
        if built is None:
            tell(f"{MISSING[peer]}: without {TITLES[peer]}")
        else:
            sides.append(Peer(peer, *built, weft, background))
    return sides
