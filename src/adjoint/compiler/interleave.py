"""The vectors of one turn of a loop, instruction by instruction.

A processor looks some tens of instructions ahead. A long formula is a chain in which each step
waits for the one before, so a turn computes several vectors, and what stands side by side in the
text decides how many of them are under way. Here each instruction has a time, in cycles, at which
one vector alone would compute it; the vectors begin one a little after the other, so that the
additions of one stand beside the products of another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .text import Module

# Cycles until a result is there, of processors of our time; 1 for what is not listed.
CYCLES = {"load": 6, "call": 4, "fadd": 3, "fsub": 3, "fmul": 3, "fdiv": 11, "bitcast": 0,
          "fneg": 0, "getelementptr": 0, "shufflevector": 3}
APART = 48  # cycles from the beginning of the first vector to that of the one behind the last
REGION = 64  # instructions between labels
# A label is what the code generator's own scheduler, which looks at registers only, moves nothing
# across. It is no instruction.
LABEL = 'call void @llvm.codeview.annotation(metadata !{!"order"})'
DEFINED = re.compile(r"  (%[\w.]+) = ")
NAMES = re.compile(r"%[\w.]+")


class Line(NamedTuple):
    """How many cycles an instruction takes, and which lines must stand before it."""

    cycles: int
    before: list[int]


def interleaved(module: Module, copies: Sequence[list[str]]) -> list[str]:
    """The same straight code for several vectors, as one.

    Each copy is that of one vector. Its loads and stores keep their order, but for loads among
    themselves; what one vector stores, no other loads.

    >>> from adjoint.compiler.interleave import interleaved
    >>> from adjoint.compiler.text import Module
    >>> one = ["  %a = fadd double %x, %x", "  %b = fmul double %a, %a"]
    >>> other = [line.replace("%a", "%c").replace("%b", "%d") for line in one]
    >>> [line.split()[0] for line in interleaved(Module(), [one, other])]
    ['%a', '%b', '%c', '%d']
    """
    times = moments(copies[0])
    after = APART / len(copies)
    placed = [(time + after * k, k, j) for k in range(len(copies)) for j, time in enumerate(times)]
    lines: list[str] = []
    for count, (_, k, j) in enumerate(sorted(placed)):
        if count and count % REGION == 0:
            module.declare("llvm.codeview.annotation", "void", "metadata")
            lines.append(f"  {LABEL}")
        lines.append(copies[k][j])
    return lines


def moments(lines: Sequence[str]) -> list[float]:
    """When each line is computed: halfway between as soon and as late as possible."""
    code = read(lines)
    soon = [0.0] * len(lines)
    for j, (_, before) in enumerate(code):
        soon[j] = max([soon[i] + code[i].cycles for i in before], default=0.0)
    late = [max(soon, default=0.0)] * len(lines)
    for j in range(len(lines) - 1, -1, -1):
        for i in code[j].before:
            late[i] = min(late[i], late[j] - code[i].cycles)
    return [(a + b) / 2 for a, b in zip(soon, late, strict=True)]


def read(lines: Sequence[str]) -> list[Line]:
    """What the lines wait for: for their operands, and in memory for what may be at that place."""
    code, names, loads, stores = list[Line](), dict[str, int](), list[int](), list[int]()
    for j, line in enumerate(lines):
        result = DEFINED.match(line)
        text = line[result.end():] if result else line.lstrip()
        before = [names[name] for name in NAMES.findall(text) if name in names]
        opcode = text.partition(" ")[0]
        if not result:  # a store, or a call without a result
            before += [*loads, *stores]
            loads, stores = [], [j]
        elif opcode == "load" or ".masked." in text:
            before += stores
            loads.append(j)
        code.append(Line(CYCLES.get(opcode, 1), before))
        if result:
            names[result[1]] = j
    return code
