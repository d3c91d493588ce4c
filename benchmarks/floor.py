"""The floors of eager mode: NumPy's own time backward, and CPython's least time to record.

`python benchmarks/floor.py` prints what the NumPy calls of a backward pass cost alone, for
programs of eager.py; the rest of adjoint's time there is recording and sweeping. Then it runs the
forward programs at 4 elements on `Bare`, which does nothing for a step but call NumPy and fill two
small objects: no library that records in CPython can be faster. With HIPS autograd installed
(the extra `peers`) it prints how many times as fast as that Bare and adjoint are.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import itertools
import math
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
    new, tick = object.__new__, itertools.count().__next__

    def apply(x):
        y, n = new(Cell), new(Step)
        y.value = n.value = impl(x.value)
        y.step, n.row, n.inputs, n.index = n, impl, (x.step,), tick()
        return y
    return apply


def bare_binary(impl):
    """The same of two arguments."""
    new, tick = object.__new__, itertools.count().__next__

    def apply(x, z):
        y, n = new(Cell), new(Step)
        y.value = n.value = impl(x.value, z.value)
        y.step, n.row, n.inputs, n.index = n, impl, (x.step, z.step), tick()
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


def recording():
    """Forward at 4 elements: adjoint, Bare and HIPS autograd."""
    libraries = eager.installed(eager.Adjoint, Bare, eager.Hips)
    names = [lib.name for lib in libraries]
    print(f"\n| program, 4 elements, forward ns per operation | {' | '.join(names)} |")
    print("|---|" + "--:|" * len(names))
    rows = [eager.measure(libraries, name, program, 4, eager.ROUNDS)
            for name, program in eager.COUNTED.items()]
    for row in rows:
        cells = " | ".join(f"{row.times[name][0]:,.0f}" for name in names)
        print(f"| {row.program} | {cells} |")
    for name in names[:2] if "HIPS autograd" in names else ():
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
