"""What each safety measure costs: an operation or a sweep with it and without it.

`python benchmarks/safety.py` prints the table of docs/safety.md; `--quick` takes fewer rounds. The
product has no switch for any of them: a measure is taken out here, by a line of its source that is
left out or replaced while this file runs. If the line is no longer there the benchmark stops.
Programs are chains of 200 operations, of 20 where there are 10,000 elements. Both variants run in
every round, in turns; a number is the median of the rounds, a ratio that of the rounds' ratios.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import dataclasses
import inspect
import textwrap
import time
from statistics import median

import numpy as np

import adjoint as ad
from adjoint import hooks
from adjoint.core import careful, forward, node, reverse
from adjoint.core.primitive import REGISTRY
from adjoint.ops import arithmetic, flat

ROUNDS, QUICK = 61, 11
SIZES = (0, 4, 10_000)
LENGTHS = {0: 200, 4: 200, 10_000: 20}  # so that a program stays in the cache
now = time.perf_counter
multiply, divide, exp, reshape = (
    REGISTRY[name] for name in ("multiply", "divide", "exp", "reshape"))


def without(function, *edits, **others):
    """``function`` with lines of its source replaced: ``edits`` are (line, what stands for it).

    ``others`` are what names that it reads stand for there.
    """
    source = textwrap.dedent(inspect.getsource(function))
    for line, other in edits:
        if line not in source:
            raise SystemExit(f"{function.__qualname__} no longer reads {line!r}: edit this")
        source = source.replace(line, other)
    names, source = {}, "from __future__ import annotations\n" + source
    exec(compile(source, inspect.getfile(function), "exec"), function.__globals__ | others, names)
    return names[function.__name__]


def values(size, value=1.0001):
    return np.full(size, value) if size else np.float64(value)


def leaf(size, value=1.0001):
    return ad.tensor(values(size, value), requires_grad=True)


# ---------------------------------------------------------------- what is timed: seconds per unit

def recorded(apply, x, w):
    """Seconds per operation, forward."""
    y, start, steps = x, now(), LENGTHS[x.size if x.ndim else 0]
    for _ in range(steps):
        y = apply(y, w)
    return (now() - start) / steps


def repeated(call, size):
    """Seconds per call."""
    steps, start = LENGTHS[size], now()
    for _ in range(steps):
        call()
    return (now() - start) / steps


def recording(edit, raw=False):
    """A recorded product, with and without a line of ops/flat.py; ``raw`` by a user's array."""
    usual, other = flat.binary(multiply), without(flat.binary, edit)(multiply)

    def pair(size):
        x, w = leaf(size), values(size) if raw else leaf(size)
        return lambda: recorded(usual, x, w), lambda: recorded(other, x, w)
    return pair


def swept(sweep, y, seed):
    """Seconds per sweep that keeps its graph."""
    with np.errstate(**careful.QUIET):
        start = now()
        sweep({y.node: seed}, retain=True)
        return now() - start


def chain(size, row=multiply, steps=None):
    """A chain of operations, and a cotangent for it."""
    apply, y, w = flat.binary(row), leaf(size), leaf(size)
    for _ in range(steps or LENGTHS[size]):
        y = apply(y, w)
    return y, values(size, 1.0)


def looking_for_nan(steps):
    """The look at what arrives at the two leaves."""
    other = without(reverse.sweep, ("not strict and any(", "False and any("))

    def pair(size):
        y, seed = chain(size, steps=steps)
        return lambda: swept(reverse.sweep, y, seed), lambda: swept(other, y, seed)
    return pair


def freed_graphs(size):
    """The question whether an earlier backward() has freed a step."""
    y, seed = chain(size)
    steps = without(reverse.steps, ("if n.inputs is None:", "if False:"))
    other = without(reverse.sweep, steps=steps)
    return lambda: swept(reverse.sweep, y, seed), lambda: swept(other, y, seed)


def sharing_memory(size):
    """A view of NumPy's is known to be one, so that a write to it is refused."""
    usual = flat.unary_with(reshape)
    other = without(flat.unary_with, ("if alias:", "if False:"))(reshape)
    x, shape = leaf(size), {"shape": values(size).shape}
    return [lambda f=f: repeated(lambda: f(x, **shape), size) for f in (usual, other)]


def separate_gradients(size):
    """Storing .grad: it shares no memory with another one or with the cotangent handed in."""
    x, dx = leaf(size), values(size, 1.0)
    other = without(hooks.accumulate, apart=lambda dx, cls, recorded, given: reverse.tracked(
        cls, dx, 0, None))

    def stored(store):
        x.grad = None
        store({x.node: dx}, False, dx, ad.Tensor)
    return (lambda: repeated(lambda: stored(hooks.accumulate), size),
            lambda: repeated(lambda: stored(other), size))


def noting_ranges(size):
    """Per quotient: whether dy / z has left the range of floats."""
    other = without(arithmetic._divide_vjp, ("before = RANGE.left\n", "\n"),
                    ("RANGE.left is not before", "False"))
    rows = divide, dataclasses.replace(divide, vjp=other)
    return [lambda y=y, seed=seed: swept(reverse.sweep, y, seed) / LENGTHS[size]
            for y, seed in (chain(size, row) for row in rows)]


def quiet(size):
    """Entering a sweep: NumPy notes what leaves the range instead of ignoring it."""
    def entered(settings):
        with np.errstate(**settings):
            pass
    return (lambda: repeated(lambda: entered(careful.QUIET), size),
            lambda: repeated(lambda: entered({"all": "ignore"}), size))


def second_walk(size):
    """A sweep out of which a NaN comes, with the second look and under ad.strict()."""
    x = ad.tensor(values(size, 0.0), requires_grad=True)
    with np.errstate(all="ignore"):
        y = x
        for _ in range(10):
            y = np.where(x > 0.0, y * np.log(x), 0.0)

    def strict():
        with ad.strict():
            return swept(reverse.sweep, y, values(size, 1.0))
    return lambda: swept(reverse.sweep, y, values(size, 1.0)), strict


def pushed(row, *edits):
    """A tangent through an operation, with the tests of forward.push and without them."""
    usual, other = forward.push, without(forward.push, *edits)

    def pair(size):
        x, dx = values(size, 1.3), values(size, 1.0)
        xs, dxs = ((x,), (dx,)) if row is exp else ((x, x), (dx, None))
        y = row.impl(*xs)
        return [lambda push=push: repeated(lambda: push(row, dxs, y, xs, node.NO_PARAMS), size)
                for push in (usual, other)]
    return pair


def owned_data(size):
    """ad.tensor(a) against a tensor that holds the user's array itself."""
    data = np.full(size, 1.5) if size else np.array(1.5)
    return (lambda: repeated(lambda: ad.tensor(data), size),
            lambda: repeated(lambda: reverse.tracked(ad.Tensor, data, 0, None), size))


TRIED = """\
        try:
            y.value = result = run(left, right)
        except ValueError:
            check_shapes(row, (left, right), NO_PARAMS)
            raise
"""
MEASURES = {  # what is timed -> (unit, size -> (with, without))
    "modes (kinks, doctor, no_grad, tape) are asked for": ("operation", recording(
        ("        if switch.armed:\n            paused = paused_below()\n", ""))),
    "a value of a transformation that has ended is refused": ("operation", recording(
        ("if level and level not in live:", "if False:"))),
    "integers and booleans are not recorded": ("operation", recording(
        (" or not aval.inexact", ""))),
    "wrong shapes get an error of ours": ("operation", recording(
        (TRIED, "        y.value = result = run(left, right)\n"))),
    "an array of the user's that a rule reads is copied": ("operation", recording(
        ("owned=kind is cls or swapped", "owned=True"), raw=True)),
    "ad.tensor(a) copies (and looks at what it was given)": ("tensor", owned_data),
    "a view knows whose memory it shares": ("operation", sharing_memory),
    "no two .grad share memory": ("gradient", separate_gradients),
    "NaN is looked for, 200 (20) operations": ("sweep", looking_for_nan(None)),
    "NaN is looked for, 1 operation": ("sweep", looking_for_nan(1)),
    "a NaN came: the second walk (30 operations)": ("sweep", second_walk),
    "a freed graph is refused": ("sweep", freed_graphs),
    "over- and underflow are noted": ("sweep", quiet),
    "a quotient asks whether its factor left the range": ("operation", noting_ranges),
    "forward mode, regular rows: tangents are finite": ("operation", pushed(
        exp, ("row.elementwise and not row.singular and all(map(is_finite, dxs))", "True"))),
    "forward mode, singular rows: zero wins": ("operation", pushed(
        divide, ("row.elementwise and not row.singular and all(map(is_finite, dxs))", "True"))),
}


def measure(pair, rounds):
    """Medians of nanoseconds, with and without, and of their ratio."""
    for run in pair:
        run()
    times = []
    for i in range(rounds):
        order = (0, 1) if i % 2 else (1, 0)
        found = {k: pair[k]() for k in order}
        times.append((found[0] * 1e9, found[1] * 1e9))
    first, second = zip(*times, strict=True)
    return median(first), median(second), median(a / b for a, b in times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = QUICK if parser.parse_args().quick else ROUNDS
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    heads = " | ".join("0-d" if not n else f"{n:,}" for n in SIZES)
    print(f"| measure | per | {heads} |\n|---|---|" + "--:|" * len(SIZES))
    for name, (unit, pair_of) in MEASURES.items():
        cells = []
        for size in SIZES:
            with_it, without_it, ratio = measure(pair_of(size), rounds)
            cells.append(f"{with_it:,.0f} / {without_it:,.0f} = {ratio:.2f}")
        print(f"| {name} | {unit} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
