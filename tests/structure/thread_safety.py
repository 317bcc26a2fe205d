#!/usr/bin/env python3
"""thread_safety.py ROOT CLANG: weft's locks carry Clang's thread-safety attributes.

The programs below are compiled with -Wthread-safety: what is right must pass, and each single mistake must be refused.
"""

import os
import re
import subprocess
import sys

from source_tree import report

root, clang = sys.argv[1], sys.argv[2]

PRELUDE = """
#include <weft/detail/annotations.hpp>
#include <weft/sync.hpp>
struct state {
  weft::mutex m;
  int of_m WEFT_GUARDED_BY(m) = 0;
  weft::shared_mutex s;
  int of_s WEFT_GUARDED_BY(s) = 0;
};
"""

RIGHT = [
    "void f(state& x) { x.m.lock(); ++x.of_m; x.m.unlock(); }",
    "void f(state& x) { if (x.m.try_lock()) { ++x.of_m; x.m.unlock(); } }",
    "void f(state& x) { x.s.lock(); ++x.of_s; x.s.unlock(); }",
    "void f(state& x) { if (x.s.try_lock()) { ++x.of_s; x.s.unlock(); } }",
    "int f(state& x) { x.s.lock_shared(); int v = x.of_s; x.s.unlock_shared(); return v; }",
    "int f(state& x) { int v = 0; if (x.s.try_lock_shared()) { v = x.of_s; x.s.unlock_shared(); } return v; }",
]
WRONG = [
    "void f(state& x) { ++x.of_m; }",
    "void f(state& x) { x.m.lock(); }",
    "void f(state& x) { x.m.unlock(); }",
    "void f(state& x) { x.m.lock(); x.m.lock(); x.m.unlock(); }",
    "void f(state& x) { if (!x.m.try_lock()) { ++x.of_m; } else x.m.unlock(); }",
    "void f(state& x) { ++x.of_s; }",
    "void f(state& x) { x.s.lock_shared(); ++x.of_s; x.s.unlock_shared(); }",
    "void f(state& x) { x.s.lock(); x.s.unlock_shared(); }",
    "void f(state& x) { x.s.lock_shared(); x.s.unlock(); }",
    "int f(state& x) { if (!x.s.try_lock_shared()) return x.of_s; x.s.unlock_shared(); return 0; }",
    "void f(state& x) { if (x.s.try_lock()) ++x.of_s; }",
]


def complaints():
    """The programs, each in a namespace and on a line of its own, compiled at once: line -> what the compiler said there."""
    programs = "".join(f"namespace n{i} {{ {text} }}\n" for i, text in enumerate(RIGHT + WRONG))
    command = [clang, "-std=c++23", "-I", os.path.join(root, "include"), "-fsyntax-only", "-Wthread-safety", "-Werror", "-ferror-limit=0",
               "-fno-caret-diagnostics", "-x", "c++", "-"]
    done = subprocess.run(command, input=PRELUDE + "#line 1 \"programs\"\n" + programs, capture_output=True, text=True, check=False)
    said = {}
    for line in done.stderr.splitlines():
        at = re.match(r"programs:(\d+):\d+: error: ", line)
        if at:
            said.setdefault(int(at[1]) - 1, []).append(line)
        elif "error: " in line:
            faults.append(line)
    return said


faults = []
said = complaints()
for i, text in enumerate(RIGHT + WRONG):
    lines = "\n".join(said.get(i, []))
    if i < len(RIGHT):
        if lines:
            faults.append(f"refused: {text}\n{lines}")
    elif not lines:
        faults.append(f"passed: {text}")
    elif any("-Wthread-safety" not in line for line in said[i]):
        faults.append(f"refused for another reason: {text}\n{lines}")
report(faults, f"{len(RIGHT)} right and {len(WRONG)} wrong uses of locks")
