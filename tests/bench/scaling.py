"""bench/scaling small: each combination gives one line of sound figures, and what is no number is refused.

usage: scaling.py PROGRAM
"""
import csv
import io
import subprocess
import sys


def run(*args):
    return subprocess.run([sys.argv[1], *args], capture_output=True, text=True, timeout=60)


def fail(what):
    print(what, file=sys.stderr)
    sys.exit(1)


done = run("--tasks", "10..1000", "--workers", "1..2", "--capacity", "0,4", "--work-ns", "0,500", "--messages", "2000")
if done.returncode != 0:
    fail(f"status {done.returncode}: {done.stderr}")
rows = list(csv.DictReader(io.StringIO(done.stdout)))
combinations = {(r["tasks"], r["workers"], r["capacity"], r["work_ns"]) for r in rows}
expected = {(t, w, c, n) for t in ("10", "100", "1000") for w in "12" for c in "04" for n in ("0", "500")}
if len(rows) != len(expected) or combinations != expected:
    fail(f"these are not all combinations, once each: {sorted(combinations)}")
for r in rows:
    if r["messages"] != "2000" or float(r["ns_per_message"]) <= 0 or float(r["cpu_ns_per_message"]) <= 0:
        fail(f"not a measurement: {r}")

slept = list(csv.DictReader(io.StringIO(run("--tasks", "10", "--work", "sleep", "--work-ns", "1000000", "--messages", "50", "--workers", "1").stdout)))
if len(slept) != 1 or float(slept[0]["ns_per_message"]) * 50 < 5e6:  # five sleeps of 1 ms in a row for each of the ten tasks
    fail(f"it did not sleep: {slept}")

with open("/dev/full", "wb") as full:
    lost = subprocess.run([sys.argv[1], "--tasks", "1", "--messages", "1", "--workers", "1"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
if lost.returncode != 1 or lost.stderr != "scaling: cannot write to standard output\n":
    fail(f"with a full standard output it gave {lost.returncode}: {lost.stderr}")

for wrong in (["--tasks", "0"], ["--tasks", "many"], ["--tasks", "10..1"], ["--workers", "-1"], ["--work", "rest"],
              ["--workers", "4294967297"], ["--workers", "1..9999999999"], ["--work-ns", "9999999999999"],
              ["--messages", "0x10"], ["--messages", "-1"], ["--capacity", "1..x"], ["--tasks", "1.."], ["--tasks", "1,,2"]):
    refused = run(*wrong)
    if refused.returncode != 2 or refused.stdout or refused.stderr.count("\n") != 1 or not refused.stderr.startswith(f"scaling: {wrong[0]}: "):
        fail(f"{wrong} gave {refused.returncode}: {refused.stdout}{refused.stderr}")
