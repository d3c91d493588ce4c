"""What a compiled call costs beyond its work: `python benchmarks/calls.py` prints nanoseconds.

All ways run in one process, a round of each after the other, so that the machine's other work meets
them alike; the table has the median and the best round, less an empty loop. The programs do as good
as nothing. Beside them: a builtin of Python's, the ways to call a function object with attributes,
and how long machine code takes to be made and to come from the disk.
"""

import os
import tempfile

os.environ["ADJOINT_CACHE"] = tempfile.mkdtemp()

import time
from statistics import median

import numpy as np

import adjoint as ad
from adjoint.compiler import native
from adjoint.compiler.call import direct, entry
from adjoint.compiler.callables import ENTRIES, kind, serve
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.program import ProgramBuilder
from adjoint.compiler.sources import (
    ARRAY,
    FLOAT,
    SCALAR,
    STATE,
    Argument,
    Held,
    Input,
    Slot,
    into,
)
from adjoint.core.node import aval_of

ROUNDS, CALLS = 25, 20_000
X, Y, Z = np.ones(4), np.full(4, 2.0), np.ones((2, 3))
THREE = [Input(Argument(k)) for k in range(3)]


class Noted:
    __slots__ = ENTRIES

    def __call__(self, *args):
        return misfit()


def misfit(*args):
    raise SystemExit("arguments that do not fit would be timed here")


def built(write, *args):
    b = ProgramBuilder()
    b.program.outputs = [o.number for o in write(b, *[b.input(aval_of(a)) for a in args])]
    return Compiled(b.program)


def ways():
    nothing = built(lambda b, x, y, z: [b.const(1.5)], X, Y, Z)
    add = built(lambda b, x, y, z: [b.elementwise("add", x, y)], X, Y, Z)
    numbers = built(lambda b, x, y: [b.elementwise("add", x, y)], 1.0, 1.0)
    two = [Input(Argument(k), "number") for k in range(2)]
    tensors = [ad.tensor(np.ones(4)) for _ in range(50)]
    fifty = built(lambda b, *xs: [b.elementwise("add", x, x) for x in xs], *[X] * 50)
    values = [Slot(Held(t), ad.Tensor, "value") for t in tensors]
    nodes = [(Slot(Held(t), ad.Tensor, "node"), None) for t in tensors]

    def three(compiled, output, inputs=THREE):
        return entry(compiled, inputs, [output], misfit, arguments=3)
    one = entry(built(lambda b, x: [b.const(1.5)], X), THREE[:1], [FLOAT], misfit, arguments=1)
    owner = type("Owner", (), {"__call__": staticmethod(one)})
    served = kind(Noted)()
    serve(served, one)
    by_python = kind(Noted)()
    serve(by_python, lambda x: 1.5)
    return {
        "an empty loop": ("pass", None),
        "a builtin of Python's, len": ("f(x)", len),
        "1 array -> float": ("f(x)", one),
        "  of a class with this __call__": ("f(x)", owner()),
        "  of an object of callables": ("f(x)", served),
        "  which calls a Python function": ("f(x)", by_python),
        "a Python function itself": ("f(x)", lambda x: 1.5),
        "3 arrays -> NumPy scalar": ("f(x, y, z)", three(nothing, SCALAR)),
        "3 arrays -> float": ("f(x, y, z)", three(nothing, FLOAT)),
        "3 arrays -> array of the pool": ("f(x, y, z)", three(add, ARRAY)),
        "3 arrays -> new array": ("f(x, y, z)", three(add, STATE)),
        "3 arrays -> in place": ("f(x, y, z)", three(
            add, into(0), [THREE[0]._replace(holders=1000), *THREE[1:]])),
        "2 floats -> float": ("f(1.5, 2.5)", entry(numbers, two, [FLOAT], misfit, arguments=2)),
        "2 floats -> float, other threads run": ("f(1.5, 2.5)", entry(
            numbers, two, [FLOAT], misfit, arguments=2, seconds=1.0)),
        "50 tensors in place, 50 guards": ("f()", entry(
            fifty, [Input(v, holders=1) for v in values], [into(k) for k in range(50)], misfit,
            arguments=0, guards=nodes)),
        "a Compiled by ctypes": ("f(x, y, z)", add),
        "np.add(x, y)": ("f(x, y)", np.add),
        "direct(...)": ("f(x, y, z)", direct(add, misfit))}


def loop_of(statement, function):
    space = {"f": function, "x": X, "y": Y, "z": Z}
    exec(f"def loop(n):\n    for _ in range(n): {statement}", space)
    return space["loop"]


def main():
    loops = {name: loop_of(*way) for name, way in ways().items()}
    times = {name: [] for name in loops}
    for _ in range(ROUNDS):
        for name, loop in loops.items():
            calls = CALLS // (50 if "ctypes" in name else 1)
            loop(10)
            start = time.perf_counter()
            loop(calls)
            times[name].append((time.perf_counter() - start) / calls * 1e9)
    empty = [median(times["an empty loop"]), min(times["an empty loop"])]
    print(f"{'':40}{'median':>10}{'best':>10}  ns")
    for name, found in times.items():
        print(f"{name:40}{median(found) - empty[0]:10.1f}{min(found) - empty[1]:10.1f}")
    compiled = built(lambda b, x: [b.elementwise("exp", x), b.reduce("add", x, (0,))], X)
    cold, cached = [], []
    for k in range(9):
        text = f"{compiled.text}; {k}\n"
        for found in (cold, cached):
            start = time.perf_counter()
            native.Library(text, compiled.externals, compiled.target)
            found.append((time.perf_counter() - start) * 1e3)
    print(f"machine code: made in {median(cold):.1f} ms, from the disk in {median(cached):.1f} ms")


if __name__ == "__main__":
    main()
