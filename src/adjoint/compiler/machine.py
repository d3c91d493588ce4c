"""What tells this machine from another without asking LLVM, and this compiler from a changed one.

The cache keeps what LLVM said of the processor under its `description`, and machine code only ever
runs on a processor whose description is that of the one it was written for.
"""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from functools import cache as memo
from importlib.util import find_spec
from pathlib import Path

# What differs from one moment or core to the next, among the lines that Linux tells.
PASSING = ("processor", "cpu MHz", "bogomips", "BogoMIPS", "physical id", "siblings", "core id",
           "cpu cores", "apicid", "initial apicid", "cache size")
FIRST = 1 << 14  # bytes that hold what is told of one core
RECENT = 3.0  # seconds that importing may take, and that the clock of a file may be behind


@memo
def description() -> str:
    """The processor, its features, and the library of LLVM; empty where the system does not tell.

    >>> from adjoint.compiler.machine import description
    >>> description() == description()
    True
    """
    told, library = processor(), llvm_library()
    return f"{platform.machine()}\n{told}\n{library}" if told and library else ""


def processor() -> str:
    """What Linux tells of the first core; empty on other systems."""
    with suppress(OSError):
        with Path("/proc/cpuinfo").open("rb", buffering=0) as file:
            first = file.read(FIRST).decode(errors="replace").partition("\n\n")[0]
        lines = [line for line in first.splitlines() if not line.startswith(PASSING)]
        # Without its features a processor is not told from another of its name.
        return "\n".join(lines) if "\nflags" in first or "\nFeatures" in first else ""
    return ""


def llvm_library() -> str:
    """When and how large the files of llvmlite's LLVM were written."""
    spec = find_spec("llvmlite")
    found: list[str] = []
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        with suppress(OSError), os.scandir(Path(folder) / "binding") as files:
            found += [f"{f.name} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files
                      if f.name.startswith(("libllvmlite", "llvmlite"))]
    return "\n".join(sorted(found))


@memo
def sources() -> str:
    """When and how large the library's own files were written; empty if one is newer than we are.

    Who changes the library need not change its version. A process that imported it before a change
    may run either; what it compiles is of neither, then.
    """
    package = sys.modules[__name__.partition(".")[0]]
    found: list[str] = []
    waiting = [*package.__path__]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as files:
                for f in files:
                    if f.name.endswith(".py"):
                        there = f.stat()
                        if max(there.st_ctime, there.st_mtime) > package._imported - RECENT:
                            return ""
                        found.append(f"{f.path} {there.st_size} {there.st_mtime_ns} "
                                     f"{there.st_ctime_ns}")
                    elif f.is_dir() and f.name != "__pycache__":
                        waiting.append(f.path)
        except OSError:  # it lies in an archive
            return ""
    return "\n".join(sorted(found))
