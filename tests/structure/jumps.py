#!/usr/bin/env python3
"""jumps.py ROOT: no function of a program's own is made to leave a stack by an optimizer that sees weft as well.

The jump by hand (runtime/fiber/switch.hpp) names the registers that it leaves changed, but x87's, and those that weft is built without: they are
free at a call. So each function that jumps is a part of another one of weft's (always_inline), or stays a call (noinline).
"""

import re
import sys

from source_tree import files, lines, report

JUMPS = re.compile(r"\b(switch_to|jump_by_hand|leave_for|leave_to_others|leave_parked_here|park_here|caller\.park|yield_now)\(")
STAYS = re.compile(r"\b(always_inline|noinline)\b|WEFT_SWITCH_INLINE")
CONTROL = re.compile(r"(if|for|while|else|do|switch|return|case|try)\b|#|//|\}")
ENTRIES = {"loop_main"}  # called by its address alone

root = sys.argv[1]
faults = []


def head_of(text, at):
    """The first line of the function that line `at` stands in; `at` itself if it is one."""
    indent = len(text[at]) - len(text[at].lstrip())
    if indent == 0 or (indent == 2 and STAYS.search(text[at])):
        return at
    for above in range(at - 1, -1, -1):
        line = text[above]
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth < indent and not line.startswith("#"):
            indent = depth
            if not CONTROL.match(line.strip()) and "(" in line and depth <= 2:
                return above
    return 0


for path in files(root, ["runtime"], (".cpp", ".hpp")):
    text = lines(root, path)
    for number, line in enumerate(text):
        call = JUMPS.search(line.split("//")[0])
        if not call:
            continue
        head = head_of(text, number)
        if not STAYS.search(" ".join(text[max(head - 1, 0) : head + 1])) and not any(f"{e}(" in text[head] for e in ENTRIES):
            faults.append(f"{path}:{number + 1}: '{text[head].strip()}' leaves a stack and is neither always_inline nor noinline")

report(faults, "jumps")
