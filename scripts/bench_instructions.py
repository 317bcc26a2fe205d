"""Counts the instructions that an operation of weft takes, on one worker, and how many of them are atomic read-modify-writes:
scripts/bench instructions.

bench/operations is run twice under valgrind's callgrind, once with twice as many operations; the difference is what they took, without
the start and the end. The same program gives the same counts to a few in a thousand, whatever else the machine does. System calls'
share in the kernel is not seen, nor atomics in libraries. With --functions: where they were executed, an operation's share of each function.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

from bench_kit import ROOT, Failed

OPERATIONS = ["ping_pong", "buffered", "yield", "spawn_join", "go", "group", "select_2", "select_8", "fork", "lock"]


def arguments(argv):
    p = argparse.ArgumentParser(prog="scripts/bench instructions", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", default="", metavar="PATTERN", help=f"of {', '.join(OPERATIONS)}: those that this regular expression matches")
    p.add_argument("--times", type=int, default=20_000, metavar="N", help="operations of the shorter run (default 20000)")
    p.add_argument("--functions", type=int, nargs="?", const=15, default=0, metavar="N", help="also the N functions with most of them (15)")
    p.add_argument("--build", metavar="DIR", help="use the program of this build folder as it is; build nothing")
    a = p.parse_args(argv)
    if a.times < 1000:
        p.error("--times must be at least 1000: what is done once would show")
    try:
        a.only = re.compile(a.only)
    except re.error as e:
        p.error(f"--only: {e}")
    return a


def program(a):
    folder = os.path.abspath(a.build or os.path.join(ROOT, "build", "release"))
    if a.build is None and subprocess.run([os.path.join(ROOT, "scripts", "build"), "release", "bench_operations"],
                                          stdout=sys.stderr).returncode:
        raise Failed("the program does not build")
    return os.path.join(folder, "bench", "operations")


ATOMIC = re.compile(r"lock |xchg .*\(|(?:cas|swp|ld(?:add|clr|eor|set)|stl?xr)[a-z]*\s")  # x86-64, ARM64


def atomics_of(path):
    """Where the program has atomic read-modify-writes: {offset from main: function}."""
    listed = subprocess.run(["objdump", "-d", "-C", "--no-show-raw-insn", path], capture_output=True, text=True)
    if listed.returncode:
        raise Failed(listed.stderr)
    main, function, found = None, None, {}
    for line in listed.stdout.splitlines():
        if m := re.match(r"([0-9a-f]+) <(.*)>:$", line):
            function = m[2]
            if function == "main":
                main = int(m[1], 16)
        elif m := re.match(r"\s*([0-9a-f]+):\s+(.*)$", line):
            if ATOMIC.match(m[2]):
                found[int(m[1], 16)] = function
    if main is None:
        raise Failed(f"{path} has no main that objdump sees")
    return {at - main: function for at, function in found.items()}


def counted(command, out):
    """Instructions by function, of the command's whole run, and by offset from main. Also what runs before main, in the loader."""
    done = subprocess.run(["valgrind", "--tool=callgrind", "--dump-instr=yes", "--compress-pos=no", "--compress-strings=no",
                           f"--callgrind-out-file={out}", *command], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr}")
    total, by_function, by_place, main, function, of_call = None, {}, {}, None, None, False
    with open(out) as lines:
        for line in lines:
            if line.startswith("fn="):
                function = re.sub(r"'\d+$", "", line[3:].strip())  # 'N: called by itself
            elif line.startswith(("summary:", "totals:")):
                total = int(line.split()[1])
            elif line.startswith("calls="):
                of_call = True  # the next line is what the callee took
            elif m := re.match(r"0x([0-9a-f]+) \S+ (\d+)$", line):
                if not of_call:
                    at, n = int(m[1], 16), int(m[2])
                    by_function[function] = by_function.get(function, 0) + n
                    by_place[at] = by_place.get(at, 0) + n
                    if function == "main":
                        main = min(at, main if main is not None else at)
                of_call = False
    if total is None or main is None:
        raise Failed("callgrind's output has no total, or none of main")
    return total, by_function, {at - main: n for at, n in by_place.items()}


def run(a):
    for tool in ("valgrind", "objdump"):
        if shutil.which(tool) is None:
            raise Failed(f"{tool} is not installed: scripts/setup --bench")
    found = [name for name in OPERATIONS if a.only.search(name)]
    if not found:
        raise Failed("no operation has such a name")
    path = program(a)
    atomics = atomics_of(path)
    print(f"{'operation':<12} {'instructions':>12} {'atomics':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name in found:
            runs = [counted([path, name, str(a.times * k)], os.path.join(folder, "out")) for k in (1, 2)]
            atomic = sum(runs[1][2].get(at, 0) - runs[0][2].get(at, 0) for at in atomics)
            print(f"{name:<12} {(runs[1][0] - runs[0][0]) / a.times:>12.1f} {round(atomic / a.times, 2) + 0.0:>8.2f}", flush=True)
            shares = sorted(((n - runs[0][1].get(f, 0)) / a.times, f) for f, n in runs[1][1].items())
            for share, function in reversed(shares[-a.functions:] if a.functions else []):
                if share >= 0.5:
                    print(f"{'':<12} {share:>12.1f}  {function}", flush=True)


def main(argv):
    run(arguments(argv))
