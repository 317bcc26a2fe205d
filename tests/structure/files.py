#!/usr/bin/env python3
"""files.py ROOT: a file holds one idea (450 lines at most), its name says which, and nothing is left for later."""

import os
import re
import sys

from source_tree import files, lines, report

LIMIT = 450
EXAMPLE_LIMIT, LONG_EXAMPLES = 80, {"examples/http_load.cpp"}
PROGRAM_LIMIT = 400  # a file of a program that has a folder of its own: examples/<program>/
README_LIMIT = 200
FORBIDDEN = {"util", "utils", "common", "helper", "helpers", "manager", "misc"}
TEST_NAME = re.compile(r'\bTEST_CASE\(\s*((?:"[^"]*"\s*)+)')
LEFT_OVER = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
FOLDERS = ["include", "runtime", "examples", "bench", "tests", "cmake", "scripts"]

root = sys.argv[1]
faults = []

for path in files(root, FOLDERS, (".cpp", ".hpp", ".h", ".py", ".sh", ".cmake", ".go")):
    text = lines(root, path)
    if len(text) > LIMIT:
        faults.append(f"{path}: {len(text)} lines, at most {LIMIT}: it holds two ideas")
    if path.startswith("examples/") and path not in LONG_EXAMPLES:
        alone = path.count("/") == 1
        limit = EXAMPLE_LIMIT if alone else PROGRAM_LIMIT
        if len(text) > limit:
            faults.append(f"{path}: {len(text)} lines, at most {limit} in {'an example' if alone else 'a program of examples'}")
    words = set(re.split(r"[^a-z0-9]+", path.lower()))
    for word in sorted(words & FORBIDDEN):
        faults.append(f"{path}: '{word}' says nothing of what it holds")
    for number, line in enumerate(text, 1):
        if LEFT_OVER.search(line):
            faults.append(f"{path}:{number}: something is left to do")

    # CTest takes it apart, or Catch2 does not find it: then nothing runs, which is no failure.
    for name in TEST_NAME.findall("\n".join(text)):
        if ";" in name or "\\" in name:
            faults.append(f"{path}: the name of a test has a semicolon or a backslash, by which it is not run: {name}")

readme = "README.md"
if os.path.exists(os.path.join(root, readme)) and len(lines(root, readme)) > README_LIMIT:
    faults.append(f"{readme}: {len(lines(root, readme))} lines, at most {README_LIMIT}")

report(faults, "files")
