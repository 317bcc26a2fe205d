"""What the structure tests share: the repository's files and their include lines."""

import os
import re
import sys

CODE = (".cpp", ".hpp", ".h")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def files(root, folders, suffixes=CODE):
    """Every file below root/folders with one of the suffixes, as paths relative to root, in order."""
    for folder in folders:
        for where, names, found in os.walk(os.path.join(root, folder)):
            names.sort()
            for name in sorted(found):
                if name.endswith(suffixes):
                    yield os.path.relpath(os.path.join(where, name), root)


def lines(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read().splitlines()


def includes(root, path):
    """(line number, '<' or '\"', what is included) of each include line."""
    for number, line in enumerate(lines(root, path), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def report(faults, what):
    for fault in faults:
        print(fault)
    print(f"{what}: {len(faults)} faults")
    sys.exit(1 if faults else 0)
