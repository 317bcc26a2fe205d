#!/usr/bin/env python3
"""layers.py ROOT: includes point only down.

A folder of runtime/ is a layer. A file may include its own layer and those on a lower level; two layers of one level
know nothing of each other. observe reads the state of all of weft and is included by none. The libraries that weft
is built with are each let in by one layer, so that replacing one is a change to that layer alone.
"""

import re
import sys

from source_tree import files, includes, report

LEVELS = [["base"], ["platform"], ["fiber"], ["timer", "poll"], ["sched"], ["sync"], ["chan"], ["time", "cancel"],
          ["net"], ["http"]]
LEVEL = {layer: level for level, layers in enumerate(LEVELS) for layer in layers}
LEVEL["sim"] = LEVEL["net"]
LEVEL["observe"] = LEVEL["net"]  # weft_http stands above it, in a library of its own
OWNERS = {"boost/context": "fiber", "boost/beast": "http", "boost/json": "http", "boost/asio": "http",
          "concurrentqueue": "sched", "sys/epoll": "poll"}

root = sys.argv[1]
faults = []


def may_include(layer, other):
    if layer == other:
        return True
    if other == "observe":
        return False
    return LEVEL[other] < LEVEL[layer] or (layer == "observe" and LEVEL[other] == LEVEL[layer])


for path in files(root, ["runtime"]):
    layer = path.split("/")[1]
    if layer not in LEVEL:
        faults.append(f"{path}: runtime/{layer} is no layer: see tests/structure/layers.py")
        continue
    for number, quote, target in includes(root, path):
        where = f"{path}:{number}"
        match = re.match(r"runtime/(\w+)/", target)
        if match and match.group(1) not in LEVEL:
            faults.append(f"{where}: {target} is in no layer")
        elif match and not may_include(layer, match.group(1)):
            faults.append(f"{where}: {layer} may not include {target}")
        elif quote == '"' and not match:
            faults.append(f'{where}: "{target}": private headers are named from the root, public ones in <>')
        for library, owner in OWNERS.items():
            if target.startswith(library) and layer != owner:
                faults.append(f"{where}: <{target}> may be included by runtime/{owner} alone")

for path in files(root, ["include"]):
    for number, quote, target in includes(root, path):
        if quote == '"' or target.startswith("runtime/"):
            faults.append(f"{path}:{number}: a public header includes <weft/...> and the standard library only")
        elif any(target.startswith(library) for library in OWNERS):
            faults.append(f"{path}:{number}: <{target}> must not be seen by users")

for path in files(root, ["examples"]):
    for number, quote, target in includes(root, path):
        if target.startswith("runtime/"):
            faults.append(f"{path}:{number}: an example uses public headers only")

report(faults, "layers")
