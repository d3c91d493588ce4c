"""What runs how, what is stored, and where: the decisions between a Program and its machine code.

A statement becomes machine code unless `why_called` has a reason; then it runs by `NumpyBuilder`
between two native segments. What is stored has a home: a slot of the table of pointers (inputs,
outputs, constants, results of calls) or an offset in the workspace.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .chunks import Cut, cut_of, distance
from .functions_ir import loop_dtype, written
from .fuse import fused
from .gemm import suits, workspace
from .in_place import in_place
from .maths import MATHS
from .native import BASELINE
from .plan import LINE, Buffer, planned
from .program import CONTROL, Program, lowered
from .text import TYPES, is_native

if TYPE_CHECKING:
    from adjoint.core.symbol import Graph

    from .native import Target
    from .schedule import Group

LARGE = 4096  # bytes from which a buffer is written over another one
TRIED = 4     # buffers that are tried for that


class Home(NamedTuple):
    """Where a buffer is: in the ``table``, the ``work``space, or ``given`` to a loop's body.

    ``offset`` are the bytes that are skipped there.
    """

    kind: str
    number: int
    offset: int = 0


def why_called(program: Program, n: int) -> str:
    """Why a statement runs by NumPy; empty if it becomes machine code."""
    s = program.statements[n]
    if s.name in {"input", "const"}:
        return ""
    if s.name == "call":
        return "a function outside the language"
    if s.name in CONTROL:
        return why_control(program, n)
    if s.name == "item":
        inner = program.statements[s.inputs[0]]
        held = inner.name not in CONTROL or why_called(program, s.inputs[0])
        return "part of a value that Python holds" if held else ""
    for known in (s.known, *[program.statements[i].known for i in s.inputs]):
        if not is_native(known.dtype):
            return f"{known.dtype} has no machine code"
    if s.name == "elementwise":
        dtype = program.statements[s.inputs[0]].known.dtype
        if written(s.parameters[0], dtype) is None:
            return f"{s.parameters[0]} of {dtype} has no machine code"
    if s.name == "reduce" and not prod(program.statements[s.inputs[0]].known.shape):
        return "" if s.parameters[0] in {"add", "multiply", "logical_and", "logical_or"} else (
            "an extreme of nothing")
    return ""


@lru_cache(maxsize=64)
def body_of(body: Graph | Program) -> Program:
    """The body of a loop as a Program: a Graph is lowered once."""
    return body if isinstance(body, Program) else lowered(body)


def why_control(program: Program, n: int) -> str:
    """Why a loop or a branch runs by NumPy: all of its bodies must be machine code."""
    s = program.statements[n]
    if s.name == "branch" and (known := program.statements[s.inputs[0]].known).dtype.kind not in (
            "biu"):
        return f"a condition of {known.dtype}"
    for k in CONTROL[s.name]:
        body = body_of(s.parameters[k])
        for m in body.live():
            known = body.statements[m].known
            if reason := why_called(body, m):
                return f"its body calls: {reason}"
            if not isinstance(known, tuple) and not is_native(known.dtype):
                return f"its body computes in {known.dtype}"
    return ""


class Layout:
    """The decisions for one program: what Python runs, the kernels, and the home of each buffer.

    ``given`` is the body of a loop, which gets pointers to its inputs, outputs and constants.
    """

    def __init__(self, program: Program, *, fuse: bool = True, plan: bool = True,
                 given: bool = False, target: Target = BASELINE) -> None:
        self.program, self.live, self.given = program, program.live(), given
        self.target = target
        self.called = {n: why for n in self.live if (why := why_called(program, n))}
        self.schedule = fused(program, self.called, apart=not fuse)
        self.homes: dict[int, Home] = {}
        self.results: dict[tuple[int, int], Home] = {}  # of a loop: its results and second carries
        self.bodies: dict[tuple[int, int], Layout] = {}  # of loops and branches, by parameter
        self.lent: dict[tuple[int, int], list[Home]] = {}  # to these: workspace, constants
        self.tests: dict[int, Home] = {}       # what the condition of a loop gives
        self.packs: dict[int, Home] = {}       # what products need besides
        self.cuts: dict[int, Cut] = {}         # of kernels, by their first root
        self.partial: dict[int, Home] = {}     # the results of chunks, by root
        self.constants_of: dict[int, Any] = {}  # arrays of the table, by slot
        self.slots = 0
        self.arrays: list[Any] = []  # constants, given to a body behind its inputs and outputs
        self.buffers: dict[Any, Buffer] = {}  # of the workspace, by statement or part of a loop
        self.outputs = {*program.outputs}
        for n in sorted({*self.live} & (self.schedule.stored | self.numbers())):
            self.settle(n, fuse, plan)
        for k, group in enumerate(self.schedule.groups):
            if group.kind == "dot" and suits(program, group.roots[0]):
                self.settle_product(k, group)
            self.settle_chunks(k, group)
        merged = self.merged() if plan else {}
        offsets, self.bytes = planned(self.buffers, reuse=plan)
        for key, offset in [*offsets.items(), *[(n, offsets[m]) for n, m in merged.items()]]:
            self.place(key, Home("work", offset))
        for n, (x, offset) in self.schedule.aliases.items():
            home = self.homes[x]
            skipped = home.offset + offset * self.known(x).dtype.itemsize
            self.homes[n] = home._replace(offset=skipped)
        self.overwrites = {k: position for k, position in program.into.items()
                           if self.overwritten(program.outputs[k], program.inputs[position])}

    def known(self, n: int) -> Any:
        """The Aval of a statement."""
        return self.program.statements[n].known

    def is_plain(self, n: int) -> bool:
        """Whether it is one array of a dtype that machine code knows."""
        known = self.known(n)
        return not isinstance(known, tuple) and is_native(known.dtype)

    def numbers(self) -> set[int]:
        """Constants of no axes that somebody reads from memory: loops, and who runs a body."""
        found = {*self.outputs} if self.given else set[int]()
        for n in self.live:
            s = self.program.statements[n]
            if s.name in CONTROL and n not in self.called:
                found.update(s.inputs)
        return {n for n in found if self.program.statements[n].name == "const"}

    def settle(self, n: int, fuse: bool, plan: bool) -> None:
        """Give a statement its home, or ask for space."""
        s = self.program.statements[n]
        if s.name in CONTROL and n not in self.called:
            for k in CONTROL[s.name]:
                self.bodies[n, k] = Layout(body_of(s.parameters[k]), fuse=fuse, plan=plan,
                                           given=True, target=self.target)
            self.settle_control(n)
        elif not self.is_plain(n) or n in self.schedule.aliases or (
                s.name == "item" and n not in self.called):
            return
        elif self.given and s.name == "input":
            self.homes[n] = Home("given", s.parameters[0])
        elif s.name == "const":
            self.homes[n] = self.constant(self.program.constants[s.parameters[0]])
        elif self.given and n in self.outputs:
            self.homes[n] = Home("given", len(self.program.inputs) + self.program.outputs.index(n))
        elif n in self.called or s.name == "input" or (n in self.outputs and not self.given):
            self.homes[n] = self.slot()
        else:
            k = self.schedule.at[n][0]
            size = self.schedule.extent(n) * s.known.dtype.itemsize
            self.buffers[n] = Buffer(k, self.last(n, k), size)

    def last(self, n: int, k: int) -> int:
        """The last group that reads a statement of group ``k``."""
        end = len(self.schedule.groups)
        return end if n in self.outputs else max(self.schedule.readers.get(n, ()), default=k)

    def settle_control(self, n: int) -> None:
        """Space for the results of a loop or branch, second carries, and what its bodies need."""
        s, k = self.program.statements[n], self.schedule.at[n][0]
        whole = n in self.outputs or n in self.schedule.readers
        items = {self.program.statements[i].parameters[0]: i for i in self.live
                 if self.program.statements[i][:2] == ("item", (n,))}
        for j, known in enumerate(s.known):
            last = self.last(n, k) if whole else self.last(items[j], k) if j in items else k
            self.buffers[n, j] = Buffer(k, last, nbytes(known))
        turn = self.bodies[n, CONTROL[s.name][-1]]
        for j in range(0 if s.name == "branch" else s.parameters[2]):
            if not turn.grows(j):
                self.buffers[n, len(s.known) + j] = Buffer(k, k, nbytes(s.known[j]))
        if s.name == "repeat":
            self.buffers[n, "test"] = Buffer(k, k, LINE)
        for which in CONTROL[s.name]:
            inner = self.bodies[n, which]
            self.buffers[n, "body", which] = Buffer(k, k, inner.bytes)
            self.lent[n, which] = [self.constant(array) for array in inner.arrays]

    def constant(self, array: Any) -> Home:
        """Where a constant is: in the table, or behind what a body is given."""
        if not self.given:
            home = self.slot()
            self.constants_of[home.number] = array
            return home
        self.arrays.append(array)
        before = len(self.program.inputs) + len(self.program.outputs)
        return Home("given", before + len(self.arrays) - 1)

    def settle_product(self, k: int, group: Group) -> None:
        """Space for the panels of a product."""
        n, stored = group.roots[0], self.schedule.stored - {*group.roots}
        size = workspace(self.program, n, stored, self.target.vector_bytes, self.target.fused,
                         self.schedule.made(group))
        if size:
            self.buffers[n, "pack"] = Buffer(k, k, size)

    def settle_chunks(self, k: int, group: Group) -> None:
        """How a kernel is cut, and space for the partial results of its chunks."""
        cut = cut_of(self.schedule, group, self.target)
        if cut is None:
            return
        self.cuts[group.roots[0]] = cut
        for n in cut.partial:
            self.buffers[n, "partial"] = Buffer(k, k, cut.many * distance(self.schedule, n))

    def place(self, key: Any, home: Home) -> None:
        """Say where a buffer of the workspace is."""
        if not isinstance(key, tuple):
            self.homes[key] = home
        elif key[1] == "body":
            self.lent[key[0], key[2]].insert(0, home)
        elif key[1] == "test":
            self.tests[key[0]] = home
        elif key[1] == "pack":
            self.packs[key[0]] = home
        elif key[1] == "partial":
            self.partial[key[0]] = home
        else:
            self.results[key] = home
            for i in self.live:
                s = self.program.statements[i]
                if s.name == "item" and (s.inputs[0], s.parameters[0]) == key:
                    self.homes[i] = home

    def merged(self) -> dict[int, int]:
        """The statements that are written over another one's buffer, and which that is."""
        found, taken = dict[int, int](), set[tuple[int, int]]()
        for n in sorted((n for n in self.schedule.at if n in self.buffers),
                        key=lambda n: self.buffers[n].first):
            k, end, size = self.buffers[n]
            if size < LARGE or n in self.schedule.temporaries:
                continue
            dying = [old for old in sorted(self.schedule.groups[k].reads)
                     if self.ends(found.get(old, old), k, size)]
            for old in dying[-TRIED:]:
                owner = found.get(old, old)
                if (owner, k) not in taken and in_place(self.schedule, old, n):
                    self.buffers[owner] = Buffer(self.buffers[owner].first, end, size)
                    del self.buffers[n]
                    found[n] = owner
                    taken.add((owner, k))
                    break
        return found

    def ends(self, n: int, k: int, size: int) -> bool:
        """Whether a buffer of a size is read by group ``k`` last."""
        return n in self.buffers and self.buffers[n][1:] == (k, size)

    def overwritten(self, n: int, old: int) -> bool:
        """Whether an output may be written over an input: all that is read of it is read before."""
        home = self.homes.get(n)
        return home is not None and home.kind == "table" and n in self.schedule.at and (
            n not in self.called and in_place(self.schedule, old, n))

    def grows(self, j: int) -> bool:
        """Whether a body may write its next carry ``j`` over the last one, as a sum that grows."""
        old, n = self.program.inputs[j], self.program.outputs[j]
        return self.homes.get(n) == Home("given", len(self.program.inputs) + j) and (
            old not in self.outputs and n in self.schedule.at and (
                in_place(self.schedule, old, n)))

    def slot(self) -> Home:
        """A new pointer of the table."""
        self.slots += 1
        return Home("table", self.slots - 1)

    def curves(self) -> int:
        """The number of long formulas that kernels evaluate; loops' bodies too."""
        own = sum(p.curves for group in self.schedule.groups for p in group.passes)
        return own + sum(body.curves() for body in self.bodies.values())

    def show(self) -> str:
        """The kernels, and the chunks that threads share."""
        groups, lines = iter(self.schedule.groups), list[str]()
        for line in self.schedule.show().splitlines():
            cut = self.cuts.get(next(groups).roots[0]) if line.startswith("kernel") else None
            lines.append(line + (f", {cut.show()}" if cut else ""))
        return "\n".join(lines)

    def made(self) -> set[int]:
        """The statements that native segments compute."""
        return {n for group in self.schedule.groups if group.kind != "call" for n in group.roots}


def nbytes(known: Any, axis: int = 0) -> int:
    """The size of an array in bytes, or of a part of it that is behind ``axis`` axes."""
    return prod(known.shape[axis:]) * known.dtype.itemsize


def ways() -> str:
    """A table of how each scalar function runs, by the dtype of its operands.

    ``native``: in machine code; a dtype: in machine code, by way of that dtype, as in NumPy;
    ``call``: by NumPy between two native segments; empty: NumPy has no such function.
    """
    columns = [t for t in TYPES if t not in {"int8", "int16", "uint16", "uint32"}]
    lines = [f"{'':14}" + "".join(f"{t:>9}" for t in columns)]
    lines += [f"{function:14}" + "".join(f"{way(function, t):>9}" for t in columns)
              for function in MATHS]
    lines += [f"{'cast, select, view, pad, pick, reduce, scan, dot, copy, ...'}: native",
              "call, and whatever has float16, complex or object operands: call",
              "loop, branch, repeat: native if all of their bodies are"]
    return "\n".join(lines)


def way(function: str, name: str) -> str:
    """How one function runs on one dtype."""
    dtype = np.dtype(name)
    inner = loop_dtype(function, dtype)
    if inner is None:
        return ""
    if written(function, dtype) is None:
        return "call"
    return "native" if inner == dtype else inner.name
