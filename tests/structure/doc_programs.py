#!/usr/bin/env python3
"""doc_programs.py ROOT COMPILER [FLAG ...] -- [LIBRARY ...]: the programs in README.md and docs/ compile and link.

A ```cpp block that has a main is a program. The line <!-- no-compile --> before a block leaves it out.
"""

import os
import re
import subprocess
import sys
import tempfile

from source_tree import files, lines, report

root, rest = sys.argv[1], sys.argv[2:]
split = rest.index("--")
compiler, libraries = rest[:split], rest[split + 1:]


def programs(path):
    """(line number, text) of each program in a document."""
    block, start, skip, before = None, 0, False, ""
    for number, line in enumerate(lines(root, path), 1):
        if block is None:
            if re.match(r"\s*```cpp\b", line):
                block, start, skip = [], number, before == "<!-- no-compile -->"
            elif line.strip():
                before = line.strip()
        elif re.match(r"\s*```\s*$", line):
            text = "\n".join(block) + "\n"
            if not skip and re.search(r"\bint main\b", text):
                yield start, text
            block, before = None, ""
        else:
            block.append(line)


faults, count = [], 0
documents = ["README.md"] if os.path.exists(os.path.join(root, "README.md")) else []
documents += files(root, ["docs"], (".md",))
with tempfile.TemporaryDirectory() as folder:
    for path in documents:
        for start, text in programs(path):
            count += 1
            source = os.path.join(folder, f"program_{count}.cpp")
            with open(source, "w", encoding="utf-8") as file:
                file.write(text)
            command = [*compiler, "-I", os.path.join(root, "include"), source, "-o", os.path.join(folder, "program"),
                       *libraries]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                faults.append(f"{path}:{start}: does not compile and link\n{done.stderr}")
report(faults, f"{count} programs in {len(documents)} documents")
