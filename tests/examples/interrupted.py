#!/usr/bin/env python3
"""interrupted.py PROGRAM STATUS [ARGUMENT ...]: Ctrl-C while the program has much more to do ends it with STATUS, within a few
seconds, and without a word of the runtime's."""
import ctypes
import os
import signal
import subprocess
import sys

LIMIT = 60
PROGRAM, STATUS, ARGUMENTS = sys.argv[1], int(sys.argv[2]), sys.argv[3:]


def fail(message):
    print(f"interrupted: {os.path.basename(PROGRAM)}: {message}")
    sys.exit(1)


def catches(pid, number):
    """The program has a handler for the signal: from then on Ctrl-C is its own affair."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        caught = next(line.split()[1] for line in f if line.startswith("SigCgt:"))
    return int(caught, 16) >> (number - 1) & 1


def interrupt(pid):
    """As Ctrl-C does. But ThreadSanitizer keeps a signal back that meets a thread while it runs tasks, perhaps for ever: there the main thread gets it."""
    with open(PROGRAM, "rb") as f:
        by_tsan = b"__tsan_init" in f.read()
    if by_tsan:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.tgkill(pid, pid, signal.SIGINT) != 0:
            fail(f"tgkill: {os.strerror(ctypes.get_errno())}")
    else:
        os.kill(pid, signal.SIGINT)


def interrupted():
    """The process that has ended, its output and what it said on stderr."""
    process = subprocess.Popen([PROGRAM] + ARGUMENTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not catches(process.pid, signal.SIGINT):
        pass
    if process.returncode is None:
        interrupt(process.pid)
    try:
        return process, *process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)  # every task, and what it waits on
        try:
            errors = process.communicate(timeout=LIMIT)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            errors = "nor does SIGQUIT"
        fail(f"Ctrl-C does not end it: {errors[-4000:]}")


for _ in range(5):
    process, out, errors = interrupted()
    if process.returncode != 0 or STATUS == 0:
        break  # else it had done all before this script had its turn
if process.returncode != STATUS:
    fail(f"Ctrl-C gave status {process.returncode}, not {STATUS}: {errors[-1000:]}")
if "weft" in errors or (STATUS == 130 and "interrupted" not in out + errors):
    fail(f"it said {errors[-1000:]!r}")
