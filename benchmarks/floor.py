"""The floors of eager mode: NumPy's own time backward, and CPython's least time to record.

`python benchmarks/floor.py` prints what the NumPy calls of a backward pass cost alone, for
programs of eager.py; the rest of adjoint's time there is recording and sweeping. Then it runs the
forward programs at 4 elements on `Bare`, which does nothing for a step but call NumPy and fill two
small objects: no library that records in CPython can be faster. `Lean` does besides what
DESIGN.md asks of every operation. With HIPS autograd installed
(the extra `peers`) it prints how many times as fast as that Bare, Lean and adjoint are.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import itertools
import math
import operator
import statistics
import time

import eager
import numpy as np

STEPS, ROUNDS = 200, 25
ONE = np.ones(())  # half the time of a Python number


def multiply(values, w, g):
    total = np.zeros_like(w)
    for x in reversed(values):
        total += g * x
        g = g * w
    return g, total


def divide(values, w, g):
    total = np.zeros_like(w)
    for x in reversed(values):
        dx = g / w
        total += -(dx * x)
        g = dx
    return g, total


def tanh(values, w, g):
    for y in reversed(values):
        g = g * (ONE - y * y)
    return g, None


class Cell:
    """What a user holds: a value, and the step that made it."""

    __slots__ = ("step", "value")


class Step:
    """What is remembered of an operation."""

    __slots__ = ("index", "inputs", "row", "value")


def bare_unary(impl):
    """A recorded operation of one argument, without one test or lookup more than it needs."""
    clock = itertools.count()

    def apply(x):
        y, n = Cell(), Step()
        y.value = n.value = impl(x.value)
        y.step, n.row = n, impl
        n.inputs, n.index = (x.step,), next(clock)
        return y
    return apply


def bare_binary(impl):
    """The same of two arguments."""
    clock = itertools.count()

    def apply(x, z):
        y, n = Cell(), Step()
        y.value = n.value = impl(x.value, z.value)
        y.step, n.row = n, impl
        n.inputs, n.index = (x.step, z.step), next(clock)
        return y
    return apply


Cell.__add__, Cell.__mul__ = bare_binary(np.add), bare_binary(np.multiply)
Cell.__truediv__, Cell.__matmul__ = bare_binary(np.divide), bare_binary(np.dot)
Cell.__neg__ = bare_unary(np.negative)


class Bare:
    """The least that recording takes in CPython: no dtypes, shapes, kinds, levels or errors."""

    name = "Bare"
    version = "-"
    exp, tanh = staticmethod(bare_unary(np.exp)), staticmethod(bare_unary(np.tanh))
    sum = staticmethod(bare_unary(np.add.reduce))

    def __call__(self, program, x, w, n):
        first, second = Cell(), Cell()
        first.value, second.value, first.step, second.step = x, w, None, None
        start = time.perf_counter()
        y = program(self, first, second, n)
        built = time.perf_counter()
        del y
        return built - start, 1.0, 0.0, None


class Kept:
    """What a user holds, if its shape, dtype and level are known and it has a constructor."""

    __slots__ = ("about", "level", "step", "value")

    def __init__(self, data=None):
        self.value = data


class Line:
    """A step that says the shape and dtype of its result too."""

    __slots__ = ("about", "index", "inputs", "row", "value")


class Mode:
    """Whether any block of the user's (no_grad, a doctor, a tape) is open."""

    __slots__ = ("armed",)


class About:
    """Shape and dtype."""

    __slots__ = ("inexact",)


MODE, LIVE, KNOWN, FLOATS = Mode(), set(), {}, About()
MODE.armed, FLOATS.inexact = 0, True


def lean_unary(impl, keeps_x, keeps_y, same=True):
    """Bare with what DESIGN.md asks of every operation, each in the fewest bytecodes we know.

    Arrays pass (NumPy's own), integers have no gradient, modes, levels that ended, results that
    ask for no gradient, shapes and dtypes, and a step keeps only what its rule will read.
    """
    clock, new, known = itertools.count(), object.__new__, KNOWN

    def apply(x):
        cls = x.__class__
        if cls is not Kept:  # subclasses are left out here: one comparison instead of isinstance
            return impl(x)
        about, level, source = x.about, x.level, x.step
        if MODE.armed or not about.inexact or (level and level not in LIVE):
            raise NotImplementedError
        value = x.value
        y = new(cls)
        y.value = result = impl(value)
        y.about = about = about if same else known.get((result.shape, result.dtype))
        y.level = level
        if source is None:
            y.step = None
            return y
        y.step = n = Line()
        if keeps_x:
            source.value = value
        n.value = result if keeps_y else None
        n.row, n.inputs = impl, (source,)
        n.about, n.index = about, next(clock)
        return y
    return apply


def lean_binary(impl, keeps_x, keeps_z, elementwise=True):
    """The same of two arguments, both of them tracked."""
    clock, new, known = itertools.count(), object.__new__, KNOWN

    def apply(x, z):
        cls, about, level = x.__class__, x.about, x.level
        if z.__class__ is not cls or z.level != level:
            raise NotImplementedError
        if MODE.armed or not about.inexact or (level and level not in LIVE):
            raise NotImplementedError
        left, right = x.value, z.value
        first, second = x.step, z.step
        y = new(cls)
        y.value = result = impl(left, right)
        y.about = about = about if elementwise and z.about is about else (
            known.get((result.shape, result.dtype)))
        y.level = level
        if first is None or second is None:
            raise NotImplementedError
        if keeps_x:
            first.value = left
        if keeps_z:
            second.value = right
        y.step = n = Line()
        n.value = None
        n.row, n.inputs = impl, (first, second)
        n.about, n.index = about, next(clock)
        return y
    return apply


Kept.__add__ = lean_binary(operator.add, False, False)
Kept.__mul__ = lean_binary(operator.mul, True, True)
Kept.__truediv__ = lean_binary(operator.truediv, True, True)
Kept.__matmul__ = lean_binary(np.dot, True, True, elementwise=False)
Kept.__neg__ = lean_unary(np.negative, False, False)


class Lean:
    """What DESIGN.md asks of an operation on the usual way, and nothing else."""

    name = "Lean"
    version = "-"
    exp, tanh = (staticmethod(lean_unary(f, False, True)) for f in (np.exp, np.tanh))
    sum = staticmethod(lean_unary(np.add.reduce, False, False, same=False))

    def __call__(self, program, x, w, n):
        first, second = Kept(x), Kept(w)
        for leaf in (first, second):
            leaf.about, leaf.level, leaf.step = FLOATS, 0, Line()
        KNOWN.update(dict.fromkeys([((), w.dtype), (w.shape, w.dtype)], FLOATS))
        start = time.perf_counter()
        y = program(self, first, second, n)
        built = time.perf_counter()
        del y
        return built - start, 1.0, 0.0, None


def recording():
    """Forward at 4 elements: adjoint, Lean, Bare and HIPS autograd."""
    libraries = eager.installed(eager.Adjoint, Lean, Bare, eager.Hips)
    names = [lib.name for lib in libraries]
    print(f"\n| program, 4 elements, forward ns per operation | {' | '.join(names)} |")
    print("|---|" + "--:|" * len(names))
    rows = [eager.measure(libraries, name, program, 4, eager.ROUNDS)
            for name, program in eager.COUNTED.items()]
    for row in rows:
        cells = " | ".join(f"{row.times[name][0]:,.0f}" for name in names)
        print(f"| {row.program} | {cells} |")
    for name in names[:3] if "HIPS autograd" in names else ():
        ratios = [row.times["HIPS autograd"][0] / row.times[name][0] for row in rows]
        print(f"- HIPS autograd / {name}, geometric mean: {math.prod(ratios) ** (1 / 7):.2f}")


def main():
    print("| elements | program | NumPy alone, backward, ns per operation |\n|---|---|--:|")
    for size in (4, 10_000):
        w = np.full(size, 1.0001)
        values = [np.full(size, 0.5) for _ in range(STEPS)]
        for program in (multiply, divide, tanh):
            times = []
            for _ in range(ROUNDS):
                start = time.perf_counter()
                program(values, w, np.ones(size))
                times.append((time.perf_counter() - start) / STEPS * 1e9)
            print(f"| {size:,} | {program.__name__} | {statistics.median(times):,.0f} |")
    recording()


if __name__ == "__main__":
    main()
