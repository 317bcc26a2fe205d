#!/usr/bin/env python3
"""gdb.py PROGRAM SCRIPT [SANITIZER]: what SCRIPT (scripts/gdb/weft-gdb.py) shows of PROGRAM (gdb_target.cpp), live and from core files.

Status 77: there is no gdb with Python, or it may not trace here; the output says which.
"""

import glob
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

program, script = map(os.path.abspath, sys.argv[1:3])
sanitized = len(sys.argv) > 3 and sys.argv[3] != ""
environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0", TSAN_OPTIONS="report_bugs=0", DEBUGINFOD_URLS="")


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def gdb(*commands, core=None, extra=None):
    call = ["gdb", "-nx", "-batch", "-iex", "set auto-load no", "-ex", "set width 0", "-x", script]
    for command in commands:
        call += ["-ex", command]
    done = subprocess.run(call + [program] + ([core] if core else []), env=dict(environment, **(extra or {})),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
    if re.search("[Cc]ould not trace|ptrace: (Operation not permitted|Function not implemented)", done.stdout):
        skip(f"gdb may not trace a process here:\n{done.stdout}")
    return done.stdout


def check(what, text, *patterns):
    """Each pattern once, in this order."""
    rest = text
    for pattern in patterns:
        found = re.search(pattern, rest, re.MULTILINE)
        if found is None:
            print(text[:20000])
            sys.exit(f"{what}: not found, or not in this place: {pattern}")
        rest = rest[found.end() :]
    print(f"{what}: as it should be")


ADDRESS = "0x[0-9a-f]+"
TASKS = [
    r"^Id +State +Waits on +Spawned at +Name$",
    r"^1 +running +$",
    rf'^2 +parked +channel receive {ADDRESS} +.*gdb_target\.cpp:\d+ +"reader"$',
    rf"^3 +parked +mutex {ADDRESS} +.*gdb_target\.cpp:\d+ +$",
    rf"^4 +parked +select {ADDRESS} +.*gdb_target\.cpp:\d+ +$",
    r'^5 +parked +join of task 6 +.*gdb_target\.cpp:\d+ +"joiner"$',
    rf"^6 +parked +channel receive {ADDRESS} +.*gdb_target\.cpp:\d+ +$",
    r'^7 +not begun +.*gdb_target\.cpp:\d+ +"fresh"$',
]
# Found only if the registers that a call keeps were.
CALLS = [
    r"^#0  .*\n(.*\n)*?#\d+ +.*chan_recv",
    r"^#\d+ +.*read_the_mail \(from=",
    r"^#\d+ +.*walk_down \(depth=(depth@entry=)?0, ",
    r"^#\d+ +.*walk_down \(depth=(depth@entry=)?1, ",
    r"^#\d+ +.*walk_down \(depth=(depth@entry=)?2, ",
    r"^#\d+ +.*walk_down \(depth=(depth@entry=)?3, ",
    r"^#\d+ +.*loop_main",
]
SHOWN = ["info tasks", "echo task two\\n", "task 2 bt", "echo task one\\n", "task 1 bt", "echo task three\\n", "task 3 bt",
         "echo task five\\n", "task 5 bt", "echo frame\\n", "task 2 frame function walk_down", "echo two of it\\n",
         "task 2 bt 2", "task 7 bt", "task 77 bt", "task all bt 1", "bt 1"]
# Under ThreadSanitizer each task has a stack of its own.
ABOVE = [] if "thread" in sys.argv[3:] else [r"^#\d+ +.*read_the_mail \(from="]
WANTED = (TASKS + ["^task two$"] + CALLS + ["^task one$", r"^#\d+ .*app ?\(", "^task three$", r"^#\d+ .* in weft::mutex::lock",
          r"^#\d+ +.*look \(m=", "^task five$", *ABOVE, r"^#\d+ +.*join", "^frame$", r"^#\d+ .*walk_down \(depth=(depth@entry=)?0,",
          r"^two of it$\n#0  .*\n#1  .*\n(?!#2)", "^task 1: running\n#0",
          f'^task 2 "reader": channel receive {ADDRESS}\n#0', f"^task 3: mutex {ADDRESS}\n#0", "^#0 .*weft_test_all_there"])
ERRORS = ["^task 7 has not begun$", "^no task 77: see info tasks$"]
BEGIN = ["break weft_test_all_there", "run"]

if shutil.which("gdb") is None:
    skip("there is no gdb: scripts/setup installs it")
if "python works" not in gdb("python print('python works')"):
    skip("gdb has no Python")

live = gdb(*BEGIN, *SHOWN, "kill")
check("live", live, *WANTED)
check("errors", live, *ERRORS)

if sanitized:
    print("not looked at: core files, which would hold the terabytes of a sanitizer's shadow memory")
    sys.exit(0)

work = tempfile.mkdtemp()
try:
    core = os.path.join(work, "by_task_core")
    gdb(*BEGIN, f"task core {core}", "kill")
    check("a core file by `task core`", gdb(*SHOWN, core=core), *WANTED)
    os.remove(core)

    core = os.path.join(work, "by_gdb")
    gdb(*BEGIN, f"generate-core-file {core}", "kill", extra={"WEFT_STACK_GUARD": "mprotect"})
    check("a core file by gdb", gdb(*SHOWN, core=core), *WANTED)
    os.remove(core)

    with open("/proc/sys/kernel/core_pattern") as file:
        pattern = file.read().strip()
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    if pattern.startswith(("|", "/")) or hard != resource.RLIM_INFINITY:
        print(f"not looked at: the kernel's core files (core_pattern {pattern}, limit {hard})")
    else:
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        subprocess.run([program, "abort"], cwd=work, env=environment, stderr=subprocess.DEVNULL, check=False)
        files = glob.glob(os.path.join(work, "*"))
        if len(files) != 1:
            sys.exit(f"the kernel wrote no core file, or several: {files}")
        # Task 1 has called abort(): its calls are others.
        from_kernel = gdb(*SHOWN, core=files[0])
        check("the kernel's core file", from_kernel, *[w for w in WANTED if "all_there" not in w])
finally:
    shutil.rmtree(work)
