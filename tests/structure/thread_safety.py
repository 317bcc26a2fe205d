#!/usr/bin/env python3
"""thread_safety.py ROOT CLANG: weft's locks carry Clang's thread-safety attributes.

Each program below is compiled with -Wthread-safety: what is right must pass, and each single mistake must be refused.
"""

import os
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


def warns(text):
    """None if it passes, else what the compiler said."""
    command = [clang, "-std=c++23", "-I", os.path.join(root, "include"), "-fsyntax-only", "-Wthread-safety", "-Werror",
               "-x", "c++", "-"]
    done = subprocess.run(command, input=PRELUDE + text, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else None


faults = []
for text in RIGHT:
    said = warns(text)
    if said:
        faults.append(f"refused: {text}\n{said}")
for text in WRONG:
    said = warns(text)
    if not said:
        faults.append(f"passed: {text}")
    elif "-Wthread-safety" not in said:
        faults.append(f"refused for another reason: {text}\n{said}")
report(faults, f"{len(RIGHT)} right and {len(WRONG)} wrong uses of locks")
