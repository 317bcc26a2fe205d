#!/usr/bin/env python3
"""check.py CMAKE BUILD_DIR SOURCE_DIR CXX SANITIZER: what a user of a sanitized weft sees.

Installs the build tree under a temporary prefix and builds SOURCE_DIR's programs against it, with the same sanitizer. `faultless` must
end well and say nothing. Each scenario of `planted` must end with one report, of the kind and about the lines that its source marks:

    sink = bytes[beyond];  // heap_overflow: heap-buffer-overflow
"""

import collections
import os
import re
import subprocess
import sys
import tempfile

cmake, build, source, cxx, sanitizer = sys.argv[1:]
build, source = os.path.abspath(build), os.path.abspath(source)
PLANTED = {"thread": "races.cpp", "address": "memory.cpp"}[sanitizer]
STATUS = 66
OPTIONS = {
    "TSAN_OPTIONS": f"second_deadlock_stack=1:atexit_sleep_ms=0:exitcode={STATUS}",
    "ASAN_OPTIONS": f"detect_stack_use_after_return=1:detect_leaks=1:exitcode={STATUS}",
}
REPORT = re.compile(r"(?:WARNING|ERROR): \w+Sanitizer: (.*)")
ACCESS = re.compile(r"(?i)^\s*(previous )?(atomic )?(read|write) of size|^\w+ leak of")


def run(command, folder, seconds=120, must_pass=False):
    try:
        done = subprocess.run(command, cwd=folder, env=os.environ | OPTIONS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        sys.exit(f"{' '.join(command)}: not done after {seconds} s\n{late.stdout}")
    if must_pass and done.returncode:
        sys.exit(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")
    return done.returncode, done.stdout


def places(line):
    """file:line of a frame; of all functions inlined there if the sanitizer found no symbolizer."""
    bare = re.match(r"\s*#\d+ 0x[0-9a-f]+ +\((.+)\+(0x[0-9a-f]+)\)", line)
    if bare:
        line = run(["addr2line", "-ie", *bare.groups()], "/")[1]
    return re.findall(r"([\w.+-]+:\d+)", line)


def accesses(report):
    """Of each access or allocation that is reported, the first line in the planted source."""
    found, here = set(), False
    for line in report.splitlines():
        if ACCESS.match(line):
            here = True
        elif not line.strip():
            here = False
        elif here and re.match(r"\s*#\d+ ", line):
            own = [place for place in places(line) if place.startswith(PLANTED)]
            if own:
                found.add(own[0])
                here = False
    return found


def marks():
    """Scenario: what is to be reported, and where."""
    kinds, lines = {}, collections.defaultdict(set)
    with open(os.path.join(source, PLANTED), encoding="utf-8") as text:
        for number, line in enumerate(text, 1):
            marked = re.search(r"// (\w+): ([a-z -]+)$", line)
            if marked:
                kinds[marked[1]] = marked[2]
                lines[marked[1]].add(f"{PLANTED}:{number}")
    return kinds, lines


faults = []


def expect(holds, name, what, report):
    if not holds:
        faults.append(f"{name}: {what}\n{report}")
    return holds


with tempfile.TemporaryDirectory() as folder:
    prefix, out = os.path.join(folder, "prefix"), os.path.join(folder, "build")
    run([cmake, "--install", build, "--prefix", prefix], folder, must_pass=True)
    run([cmake, "-S", source, "-B", out, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={cxx}", f"-DSANITIZER={sanitizer}"],
        folder, must_pass=True)
    run([cmake, "--build", out, "--parallel", "2"], folder, seconds=300, must_pass=True)

    status, said = run(["./faultless"], out)
    expect(status == 0 and said == "", "faultless", f"status {status}; it should end with 0 and say nothing", said)

    kinds, lines = marks()
    scenarios = run(["./planted"], out)[1].split()
    expect(sorted(scenarios) == sorted(kinds), PLANTED, f"has marks for {sorted(kinds)}", f"and knows {sorted(scenarios)}")
    for name in sorted(kinds):
        status, said = run(["./planted", name], out)
        reports, at = REPORT.findall(said), accesses(said)
        if (expect(len(reports) == 1 and status == STATUS, name, f"status {status}, {len(reports)} reports; one is due, and {STATUS}", said)
                and expect(kinds[name] in reports[0], name, f"'{reports[0]}' is reported, not '{kinds[name]}'", said)
                and expect(at == lines[name], name, f"{sorted(at)} is reported, not {sorted(lines[name])}", said)):
            print(f"{name}: {kinds[name]} at {', '.join(sorted(at))}")

if faults:
    sys.exit("\n".join(faults))
