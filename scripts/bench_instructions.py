"""Counts the instructions that an operation of weft takes, on one worker: scripts/bench instructions.

bench/operations is run twice under valgrind's callgrind, once with twice as many operations; the difference is what they took, without
the start and the end. The same program gives the same counts to a few in a thousand, whatever else the machine does. System calls'
share in the kernel is not seen. With --functions: where they were executed, an operation's share of each function.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

from bench_http import ROOT, Failed

OPERATIONS = ["ping_pong", "buffered", "yield", "spawn_join", "go", "select_2", "select_8", "fork", "lock"]


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


def counted(command, out):
    """Instructions by function, of the command's whole run. Also what runs before main, in the loader."""
    done = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr}")
    listed = subprocess.run(["callgrind_annotate", "--threshold=100", "--show-percs=no", out], capture_output=True, text=True)
    if listed.returncode:
        raise Failed(listed.stderr)
    by_function, total = {}, None
    for line in listed.stdout.splitlines():
        if m := re.match(r"\s*([\d,]+)\s+(?:\([^)]*\)\s+)?(\S.*)$", line):
            n, what = int(m[1].replace(",", "")), m[2]
            if what.startswith("PROGRAM TOTALS"):
                total = n
            else:
                name = re.sub(r"\s*\[[^\]]*\]$", "", what).split(":", 1)[-1]
                by_function[name] = by_function.get(name, 0) + n
    if total is None:
        raise Failed("callgrind_annotate gave no total")
    return total, by_function


def run(a):
    if shutil.which("valgrind") is None:
        raise Failed("valgrind is not installed: scripts/setup --bench")
    found = [name for name in OPERATIONS if a.only.search(name)]
    if not found:
        raise Failed("no operation has such a name")
    path = program(a)
    print(f"{'operation':<12} {'instructions':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for name in found:
            runs = [counted([path, name, str(a.times * k)], os.path.join(folder, "out")) for k in (1, 2)]
            print(f"{name:<12} {(runs[1][0] - runs[0][0]) / a.times:>12.1f}", flush=True)
            shares = sorted(((n - runs[0][1].get(f, 0)) / a.times, f) for f, n in runs[1][1].items())
            for share, function in reversed(shares[-a.functions:] if a.functions else []):
                if share >= 0.5:
                    print(f"{'':<12} {share:>12.1f}  {function}", flush=True)


def main(argv):
    try:
        run(arguments(argv))
    except Failed as e:
        print(f"bench: {e}", file=sys.stderr)
        sys.exit(1)
