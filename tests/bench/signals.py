#!/usr/bin/env python3
"""signals.py ROOT: scripts/bench ends by SIGTERM and SIGHUP as by Ctrl-C, where they are not ignored, and what it starts does not outlive it, whenever it
is killed."""
import os
import signal
import subprocess
import sys

ROOT = sys.argv[1]
LIMIT = 60
BEGIN = f"import os, signal, sys, time; sys.path.insert(0, {os.path.join(ROOT, 'scripts')!r}); import bench_kit"


def fail(message):
    print(f"signals: {message}")
    sys.exit(1)


def run(program, before):
    return subprocess.Popen([sys.executable, "-B", "-c", f"{BEGIN}\n{program}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            preexec_fn=lambda: signal.signal(signal.SIGHUP, before))


MEASURES = """
bench_kit.end_by_signals()
try:
    print("begins", flush=True)
    sys.stdin.read()
finally:
    print("kept", flush=True)
"""
for before, number, status in ((signal.SIG_DFL, signal.SIGTERM, 143), (signal.SIG_DFL, signal.SIGHUP, 129), (signal.SIG_IGN, signal.SIGHUP, 0)):
    with run(MEASURES, before) as p:
        p.stdout.readline()
        p.send_signal(number)
        out, _ = p.communicate(timeout=LIMIT)  # and with it the end of its input
    if (out, p.returncode) != ("kept\n", status):
        fail(f"signal {number}, before {before!r}: status {p.returncode}, {out!r}")

# The child that was to become a server finds that its parent has gone.
LATE = """
if os.fork() == 0:
    parent = os.getpid()
    if os.fork() != 0:
        os._exit(0)
    while os.getppid() == parent:
        time.sleep(0.001)
    bench_kit.die_with_parent()
    print("lives on", flush=True)
    os._exit(0)
os.wait()
"""
with run(LATE, signal.SIG_DFL) as p:
    out, _ = p.communicate(timeout=LIMIT)
if (out, p.returncode) != ("", 0):
    fail(f"a child whose parent has ended: status {p.returncode}, {out!r}")
print("signals: passed")
