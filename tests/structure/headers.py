#!/usr/bin/env python3
"""headers.py ROOT COMPILER [FLAG ...]: each public header compiles alone and twice, and pulls in nothing private.

Only include/ is on the path. The list of all files the compiler read shows whether Boost or the queue came in by way
of the system's include folder.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

from source_tree import files, report

root, compiler = sys.argv[1], sys.argv[2:]
PRIVATE = re.compile(r"/(boost|concurrentqueue|moodycamel)/|/runtime/\w+/\w+\.hpp")


def check(path):
    name = path[len("include/"):]
    with tempfile.TemporaryDirectory() as folder:
        source, depends = os.path.join(folder, "alone.cpp"), os.path.join(folder, "alone.d")
        with open(source, "w", encoding="utf-8") as file:
            file.write(f"#include <{name}>\n#include <{name}>\nint main() {{}}\n")
        command = [*compiler, "-I", os.path.join(root, "include"), "-fsyntax-only", "-MD", "-MF", depends, source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return [f"{path}: does not compile alone\n{done.stderr}"]
        with open(depends, encoding="utf-8") as file:
            read = file.read().split()
        return [f"{path}: users would get {found}" for found in read if PRIVATE.search(found)][:1]


faults = []
with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
    for found in pool.map(check, list(files(root, ["include"], (".hpp",)))):
        faults += found
report(faults, "headers")
