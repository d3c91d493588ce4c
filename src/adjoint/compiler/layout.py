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

from .functions_ir import loop_dtype, written
from .maths import MATHS
from .program import Program, lowered
from .text import TYPES, is_native

if TYPE_CHECKING:
    from adjoint.core.symbol import Graph

LINE = 64  # bytes to which a buffer is aligned
# Their values have no formula at one index, or need the operand in memory.
KEPT = {"input", "pad", "reduce", "scan", "dot", "scatter_add", "copy", "loop", "item", "call"}
BARE = {"view", "const"}  # stored only where somebody needs them in memory


class Home(NamedTuple):
    """Where a buffer is: in the ``table``, the ``work``space, or ``given`` to a loop's body."""

    kind: str
    number: int


def why_called(program: Program, n: int) -> str:
    """Why a statement runs by NumPy; empty if it becomes machine code."""
    s = program.statements[n]
    if s.name in {"input", "const"}:
        return ""
    if s.name == "call":
        return "a function outside the language"
    if s.name == "loop":
        return why_loop(program, n)
    if s.name == "item":
        inner = program.statements[s.inputs[0]]
        held = inner.name != "loop" or why_called(program, s.inputs[0])
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


def why_loop(program: Program, n: int) -> str:
    """Why a loop runs by NumPy: all of its body must be machine code."""
    body = body_of(program.statements[n].parameters[0])
    for m in body.live():
        known = body.statements[m].known
        if isinstance(known, tuple):
            return "its body has a loop or a call of several results"
        if not is_native(known.dtype):
            return f"its body computes in {known.dtype}"
        if reason := why_called(body, m):
            return f"its body calls: {reason}"
    return ""


class Layout:
    """The decisions for one program; ``everything`` stores each statement but views."""

    def __init__(self, program: Program, *, everything: bool = True, given: bool = False) -> None:
        self.program, self.live, self.given = program, program.live(), given
        self.everything = everything
        self.called = {n: why for n in self.live if (why := why_called(program, n))}
        self.homes: dict[int, Home] = {}
        self.results: dict[tuple[int, int], Home] = {}  # of a loop: its results and second carries
        self.lent: dict[int, list[Home]] = {}  # to a loop's body: its workspace, its constants
        self.constants_of: dict[int, Any] = {}  # arrays of the table, by slot
        self.slots, self.bytes = 0, 0
        self.constants: dict[int, int] = {}  # given to a body behind its inputs
        self.buffered = {n for n in self.live if self.needs_buffer(n, everything)}
        self.require()
        for n in self.live:
            if n in self.buffered:
                self.settle(n)
        self.stored = {n for n in self.buffered if not self.is_number(n)}

    def known(self, n: int) -> Any:
        """The Aval of a statement."""
        return self.program.statements[n].known

    def is_number(self, n: int) -> bool:
        """Whether it is a constant that the code can hold."""
        return self.program.statements[n].name == "const" and not self.known(n).shape

    def is_plain(self, n: int) -> bool:
        """Whether it is one array of a dtype that machine code knows."""
        known = self.known(n)
        return not isinstance(known, tuple) and is_native(known.dtype)

    def needs_buffer(self, n: int, everything: bool) -> bool:
        """Whether a statement is stored whoever reads it."""
        name = self.program.statements[n].name
        if name == "loop":
            return n not in self.called
        if not self.is_plain(n):
            return False
        if name == "const":
            return bool(self.known(n).shape)
        return n in self.called or name in KEPT or (everything and name not in BARE)

    def require(self) -> None:
        """Add what others need in memory: outputs, and operands of calls and of loops."""
        for n in self.live:
            s = self.program.statements[n]
            if s.name == "loop" and n not in self.called:
                self.buffered |= {*s.inputs}
            elif n in self.called:
                self.buffered |= {i for i in map(self.seen, s.inputs) if self.in_memory(i)}
        for n in self.program.outputs:
            if self.is_plain(n) and (self.given or self.program.statements[n].name != "const"):
                self.buffered.add(n)

    def in_memory(self, n: int) -> bool:
        """Whether Python reads it from a buffer: not what it holds, nor a constant."""
        return self.is_plain(n) and self.program.statements[n].name != "const"

    def seen(self, n: int) -> int:
        """What a chain of views looks at; Python makes the views itself."""
        while self.program.statements[n].name == "view" and n not in self.buffered:
            (n,) = self.program.statements[n].inputs
        return n

    def settle(self, n: int) -> None:
        """Give a statement its home."""
        s = self.program.statements[n]
        if s.name == "loop":
            for k, known in enumerate(s.known):
                self.results[n, k] = self.room(known)
            for k in range(s.parameters[2]):
                self.results[n, len(s.known) + k] = self.room(s.known[k])
            self.lend(n)
        elif s.name == "item" and n not in self.called:
            self.homes[n] = self.results[s.inputs[0], s.parameters[0]]
        elif self.given and s.name == "input":
            self.homes[n] = Home("given", s.parameters[0])
        elif self.given and s.name == "const":
            self.constants[n] = len(self.constants)
            self.homes[n] = Home("given", len(self.program.inputs) + self.constants[n])
        elif n in self.called or s.name in {"input", "const"} or (
                n in self.program.outputs and not self.given):
            self.homes[n] = self.slot()
            if s.name == "const":
                self.constants_of[self.homes[n].number] = self.program.constants[s.parameters[0]]
        else:
            self.homes[n] = self.room(s.known)

    def lend(self, n: int) -> None:
        """What the body of a loop works in, and pointers to its constants."""
        body = body_of(self.program.statements[n].parameters[0])
        inner = Layout(body, everything=self.everything, given=True)
        self.lent[n] = [self.space(inner.bytes)]
        for c in inner.constants:
            home = self.slot()
            self.constants_of[home.number] = body.constants[body.statements[c].parameters[0]]
            self.lent[n].append(home)

    def slot(self) -> Home:
        """A new pointer of the table."""
        self.slots += 1
        return Home("table", self.slots - 1)

    def room(self, known: Any) -> Home:
        """Space for an array in the workspace."""
        return self.space(prod(known.shape) * known.dtype.itemsize)

    def space(self, size: int) -> Home:
        """Space in the workspace."""
        at = self.bytes
        self.bytes += -(-max(size, 1) // LINE) * LINE
        return Home("work", at)

    def kernels(self) -> list[int]:
        """The statements that native segments compute, in order."""
        passive = {"input", "const", "item"}
        return [n for n in self.live if n in self.buffered and n not in self.called
                and self.program.statements[n].name not in passive]


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
              "loop: native if all of its body is"]
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
