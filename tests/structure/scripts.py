#!/usr/bin/env python3
"""scripts.py ROOT: every script says what it does when it is asked, and what is no preset is refused without a trace; what is missing is named;
the environment leads none astray.
"""

import os
import shutil
import subprocess
import sys
import tempfile

from source_tree import report

root = sys.argv[1]
sys.dont_write_bytecode = True
folder = os.path.join(root, "scripts")
faults = []


def run(*command, cwd=root, environment=None):
    return subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=50)


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

# With CDPATH, cd looks for a folder in others first, and says where it went; with PYTHONSAFEPATH, Python does not look beside the script.
with tempfile.TemporaryDirectory() as elsewhere:
    os.mkdir(os.path.join(elsewhere, "scripts"))
    for path in (".", elsewhere):
        environment = {**os.environ, "CDPATH": path, "PYTHONSAFEPATH": "1"}
        for name in scripts:
            asked = run(f"scripts/{name}", "--help", environment=environment)
            if asked.returncode != 0 or f"scripts/{name}" not in asked.stdout or asked.stderr:
                faults.append(f"CDPATH={path} scripts/{name} --help: status {asked.returncode}, says {asked.stderr!r}")
        refused = run("scripts/build", "no-such-preset", environment=environment)
        if refused.returncode != 2 or refused.stdout:
            faults.append(f"CDPATH={path} scripts/build: status {refused.returncode}, says {refused.stdout + refused.stderr!r}")

for jobs in ("-1", "0", "many"):  # CMake would take -1 for an option, and build all there is
    refused = run("scripts/build", "release", "weft", environment={**os.environ, "WEFT_JOBS": jobs})
    if refused.returncode != 2 or "WEFT_JOBS" not in refused.stderr:
        faults.append(f"WEFT_JOBS={jobs} scripts/build: status {refused.returncode}, says {refused.stderr!r}")

# A user who is not root, whom sudo refuses, without a compiler; then one without CMake. These programs stand before the real ones.
with tempfile.TemporaryDirectory() as stand_ins:
    for name, does in {"id": "echo 1000", "sudo": "exit 1", "apt-get": "exit 1", "apt-cache": "exit 0", "cmake": "exit 127"}.items():
        with open(os.path.join(stand_ins, name), "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as file:
            file.write(f"#!/bin/sh\n{does}\n")
    environment = {**os.environ, "PATH": f"{stand_ins}:{os.environ['PATH']}", "CXX": "false", "WEFT_SETUP": ""}
    for command, wanted in ((["scripts/setup"], "install by apt-get: g++"), (["scripts/build", "release"], "CMake 3.25")):
        refused = run(*command, environment=environment)
        if refused.returncode != 1 or wanted not in refused.stderr:
            faults.append(f"{command[0]} where something is missing: status {refused.returncode}, says {refused.stderr!r}")

# In a clone that somebody else owns git says nothing to Go, which would then build nothing.
if shutil.which("go"):
    sys.path.insert(0, os.path.join(root, "scripts"))
    import bench_kit
    with tempfile.TemporaryDirectory() as stand_ins:
        with open(os.path.join(stand_ins, "git"), "w", opener=lambda path, flags: os.open(path, flags, 0o755)) as file:
            file.write("#!/bin/sh\nexit 128\n")
        built = subprocess.run([*bench_kit.GO_BUILD, os.path.join(stand_ins, "start"), "./start"], cwd=os.path.join(root, "bench", "peers", "go"),
                               env={**os.environ, "PATH": f"{stand_ins}:{os.environ['PATH']}", "GOFLAGS": "-buildvcs=auto"}, capture_output=True, text=True)
        if "VCS" in built.stderr:
            faults.append(f"Go's programs do not build where git fails: {built.stderr!r}")

report(faults, f"{len(scripts)} scripts")
