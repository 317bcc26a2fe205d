#!/usr/bin/env python3
"""scripts.py ROOT: every script says what it does when it is asked, and what is no preset is refused without a trace."""

import os
import subprocess
import sys

from source_tree import report

root = sys.argv[1]
folder = os.path.join(root, "scripts")
faults = []


def run(*command, cwd=root):
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50)


scripts = [name for name in sorted(os.listdir(folder))
           if "." not in name and os.path.isfile(os.path.join(folder, name))]
for name in scripts:
    asked = run(f"./{name}", "--help", cwd=folder)
    if asked.returncode != 0 or f"scripts/{name}" not in asked.stdout:
        faults.append(f"scripts/{name} --help: status {asked.returncode}, says {asked.stdout or asked.stderr!r}")

for preset in ("no-such-preset", "--no-such-option", ""):
    refused = run("scripts/build", preset)
    if refused.returncode != 2 or len(refused.stderr.splitlines()) != 1:
        faults.append(f"scripts/build '{preset}': status {refused.returncode}, says {refused.stderr!r}")
    if preset and os.path.exists(os.path.join(root, "build", preset)):
        faults.append(f"scripts/build '{preset}' has made a folder")

report(faults, f"{len(scripts)} scripts")
