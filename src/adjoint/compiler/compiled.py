"""A Program as native segments with Python calls between them.

>>> from adjoint.compiler.compiled import Compiled
>>> from adjoint.compiler.program import ProgramBuilder
>>> from adjoint.core.node import aval_of
>>> b = ProgramBuilder()
>>> x = b.input(aval_of(np.ones(3)))
>>> b.program.outputs = [b.elementwise("add", x, x).number]
>>> Compiled(b.program)(np.ones(3))
[array([2., 2., 2.])]
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from adjoint.errors import IndexingError, RuleError
from adjoint.modes import line_of

from .calibration import prepare
from .driver import Driver, Failures, Settings
from .estimate import seconds_of
from .layout import Layout
from .native import Library, host
from .numpy_builder import NumpyBuilder
from .numpy_builder import Ref as Value
from .program import CONTROL, described
from .sharing_ir import SHARE
from .text import Module
from .threads import get_threads, provide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .native import Target
    from .program import Program

FEW = 8  # long formulas of a program that are written where they are used


class Compiled:
    """A Program that runs as machine code, and gives what the Program gives.

    Without ``fuse`` each statement is stored and has loops of its own; without ``plan`` nothing
    shares memory. A ``checked`` build tests every load and store against its buffer's extent.
    """

    def __init__(self, program: Program, *, target: Target | None = None, checked: bool = False,
                 fuse: bool = True, plan: bool = True) -> None:
        self.program, self.failures = program, Failures()
        self.target = host() if target is None else target
        prepare(program, self.target)
        self.layout = Layout(program, fuse=fuse, plan=plan, target=self.target)
        # Outputs that may be written where inputs are, by position: the program reads them before.
        self.overwrites = self.layout.overwrites
        settings = Settings(self.target.vector_bytes, checked)
        module = Module(self.target.fused, inlined=self.layout.curves() <= FEW,
                        tables=self.target.tables)
        self.segments: list[tuple[str, int]] = []  # the name of a native function, or a statement
        for native, part in groupby(self.layout.schedule.groups, key=lambda g: g.kind != "call"):
            groups = list(part)
            if not native:
                self.segments += [("", g.roots[0]) for g in groups]
                continue
            name = f"segment_{len(self.segments)}"
            driver = Driver(self.layout, module, self.failures, settings)
            driver.function(name, "ptr %table, ptr %work", groups)
            self.segments.append((name, -1))
        self.text = module.text(self.target.attributes())
        self.externals = module.externals
        self.link()

    def link(self) -> None:
        """Compile the text, and make what every call copies."""
        names = [name for name, _ in self.segments if name]
        self.functions: dict[str, Any] = self.code(names) if names else {}
        self.spare: list[Any] = []  # workspaces that no call is using
        self.table = np.zeros(self.layout.slots + 1, np.uintp)
        self.constants: list[Any] = []
        for slot, value in self.layout.constants_of.items():
            array = np.array(value, order="C")
            self.constants.append(array)
            self.table[slot] = array.ctypes.data

    def code(self, names: Sequence[str]) -> dict[str, Any]:
        """The functions of the text, callable."""
        self.library = self.loaded()
        return {name: self.library.function(name) for name in names}

    def loaded(self) -> Library:
        """The machine code."""
        return Library(self.text, self.externals, self.target, threads=get_threads(),
                       beside=provide if SHARE in self.externals else None)

    def seconds(self) -> float:
        """About how long a call takes."""
        return seconds_of(self.program)

    def __call__(self, *values: Any) -> list[Any]:
        """Run it. IndexingError if an index that the program computes is out of range."""
        run = Run(self, values)
        try:
            for name, n in self.segments:
                if name:
                    code = self.functions[name](run.table.ctypes.data, run.work.ctypes.data)
                    if code:
                        self.failed(code)
                else:
                    run.call(n)
            return [run.output(n) for n in self.program.outputs]
        finally:
            self.spare.append(run.memory)

    def failed(self, code: int) -> NoReturn:
        """Raise the error of a failure code; it names the statement and its lines."""
        program, (buffer, n), checked = self.failures.told(code)
        told = f"%{n} = {described(program.statements[n])}"
        lines = sorted({"{}:{}".format(*line_of(site)) for site in program.sites.get(n, ())
                        if site is not None})
        where = f" ({', '.join(lines)})" if lines else ""
        operand = f"%{buffer} = {described(program.statements[buffer])}"
        if not checked:
            raise IndexingError(f"an index is out of range of {operand}, in the compiled statement "
                                f"{told}{where}; indices that a program computes must be inside")
        raise RuleError(f"the compiled statement {told}{where} left the memory of {operand}; this "
                        "is a fault of the compiler, please report the program")

    def show(self) -> str:
        """The program with how each statement runs, and where it is stored."""
        lines: list[str] = []
        for n in self.layout.live:
            how = self.layout.called.get(n)
            home = self.layout.homes.get(n)
            said = f"call: {how}" if how else "" if home is None else f"{home.kind} {home.number}"
            lines.append(f"%{n} = {described(self.program.statements[n])}"
                         + (f"    # {said}" if said else ""))
        return "\n".join(lines)


class Run:
    """One call: the table of pointers, the workspace, and what Python holds."""

    def __init__(self, compiled: Compiled, values: Sequence[Any]) -> None:
        self.compiled, self.layout = compiled, compiled.layout
        self.program = compiled.program
        self.builder = NumpyBuilder(*values)
        self.held: dict[Any, Any] = {}
        self.table = compiled.table.copy()
        size = self.layout.bytes + 64
        self.memory = compiled.spare.pop() if compiled.spare else np.empty(size, np.uint8)
        start = -self.memory.ctypes.data % 64
        self.work = self.memory[start:start + self.layout.bytes]
        for n in self.program.inputs:
            self.hold(n, self.program.run(self.builder, n, {}).value)
        for n in {*self.program.outputs} & self.layout.made():
            home = self.layout.homes.get(n)
            if home is not None and home.kind == "table":
                known = self.program.statements[n].known
                self.hold(n, np.empty(known.shape, known.dtype))

    def hold(self, n: int, value: Any) -> None:
        """Keep a value, and let machine code find it: in C order, aligned."""
        self.held[n] = value
        home = self.layout.homes.get(n)
        if home is not None:
            array = np.require(value, self.program.statements[n].known.dtype, ["C", "A"])
            self.held[n, "array"] = array
            self.table[home.number] = array.ctypes.data

    def call(self, n: int) -> None:
        """Run a statement by its meaning."""
        found = {i: self.operand(i) for i in self.program.statements[n].inputs}
        y = self.program.run(self.builder, n, found).value
        self.hold(n, tuple(map(self.apart, y)) if isinstance(y, tuple) else self.apart(y))

    def apart(self, y: Any) -> Any:
        """A result of Python's, which may be an operand or a view of one: not in the workspace.

        What lies there is written over once nobody reads the operand.
        """
        shared = isinstance(y, np.ndarray) and np.may_share_memory(y, self.work)
        return y.copy() if shared else y

    def operand(self, n: int) -> Value:
        """What Python reads: a view where its operand lies, as `Roots.operands` says."""
        s = self.program.statements[n]
        if s.name != "view":
            return self.read(n)
        return self.program.run(self.builder, n, {i: self.read(i) for i in s.inputs})

    def read(self, n: int) -> Value:
        """A value for Python: held, in the workspace, a constant, or a view of such."""
        if n in self.held:
            return Value(self.held[n])
        s = self.program.statements[n]
        home = self.layout.homes.get(n)
        if home is not None and home.kind == "work":
            return Value(self.in_work(home.number + home.offset, s.known))
        return self.program.run(self.builder, n, {i: self.read(i) for i in s.inputs})

    def in_work(self, offset: int, known: Any) -> Any:
        """An array in the workspace."""
        return np.ndarray(known.shape, known.dtype, self.work, offset)

    def output(self, n: int) -> Any:
        """A result; what shares memory with the workspace is copied, which the next call uses."""
        name = self.program.statements[n].name
        value = self.held.get(n)
        if value is None and name in CONTROL and n not in self.layout.called:
            known = self.program.statements[n].known
            return tuple([self.in_work(self.layout.results[n, k].number, a).copy()
                          for k, a in enumerate(known)])
        if value is None:
            value = self.read(n).value
        if name == "input" or isinstance(value, tuple):
            return value
        return value.copy() if np.may_share_memory(value, self.work) else value
