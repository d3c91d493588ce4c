"""What the tests of the compiler share: programs, builds to compile them by, and the comparison.

A build is what `compiled` is given: a vector width, whether statements are fused and memory used
again, whether the program is simplified and its repetitions rolled into loops, whether threads
share its kernels, whether every load and store is checked.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.chunks import forced
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.jit_row import looped as with_loops
from adjoint.compiler.maths import MATHS
from adjoint.compiler.native import AVX2, BASELINE, host, llvm
from adjoint.compiler.numpy_builder import NumpyBuilder
from adjoint.compiler.numpy_builder import Ref as Value
from adjoint.compiler.program import ProgramBuilder, lowered
from adjoint.compiler.simplify import simplified
from adjoint.compiler.text import TYPES
from adjoint.core.node import aval_of
from adjoint.core.primitive import REGISTRY
from adjoint.core.symbol import trace
from adjoint.errors import DTypeError, MatrixError, UnsupportedError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tools/ is no installed package

from tools.fuzz import drawing, examine, programs

ROWS = [r for r in REGISTRY.values() if r.cases is not None and r.lower is not None]
# Programs of the fuzz without tuples among their arguments (which exist in the fuzz only), and
# without eigenvectors of complex matrices, whose phases have no gradient.
SEEDS = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 17, 18, 19, 20, 21, 22]
MATRIX = np.arange(6.0).reshape(2, 3)
TRANSPOSED = ((0, ((1, 1),)), (0, ((0, 1),)))
DTYPES = [np.dtype(t) for t in TYPES]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 7.0, 1e-3, 1e-30, 1e30, -1e30, 88.0, -104.0,
           np.inf, -np.inf, np.nan, 3e9, -3e9, 1e19, 255.5, -129.9]
quiet = pytest.mark.filterwarnings("ignore")  # values go to singular points


# ---- builds

def widths():
    """A processor for each vector width; where this one has no such vectors, LLVM splits them."""
    if not llvm().triple().startswith("x86_64"):
        return {str(8 * n): host()._replace(vector_bytes=n) for n in (16, 32, 64)}
    features = llvm().features()
    whole = features.get("avx2") and features.get("fma")
    middle = AVX2 if whole else BASELINE._replace(vector_bytes=32)
    return {"128": BASELINE, "256": middle,
            "512": host() if host().vector_bytes == 64 else middle._replace(vector_bytes=64)}


WIDTHS = widths()
APART = {"fuse": False, "plan": False}  # each statement by itself, in memory of its own
PLAIN = {f"{name}{apart and '-apart'}": {"target": t, **(APART if apart else {})}
         for (name, t), apart in product(WIDTHS.items(), ("", "apart"))}
CHECKED = {f"{name}-checked": {"target": t, "checked": True} for name, t in WIDTHS.items()}
SHARED = {f"{name}-threads": {**build, "threads": True} for name, build in PLAIN.items()}
ROLLED = {f"{name}-rolled": {**build, "rolled": True}
          for name, build in [*PLAIN.items(), *SHARED.items()]}
EVERY = {**PLAIN, **SHARED, **ROLLED, **CHECKED}
# Each choice by itself, at each width.
BUILDS = {k: b for k, b in EVERY.items() if k.count("-") < 2}
# The same statements, whose numbers simplifying would change.
STATED = {**PLAIN, **CHECKED}


def compiled(program, rolled=False, threads=False, **build):
    """A Program as machine code, simplified and re-rolled first or as it stands.

    With ``threads`` all kernels that can be shared are, however short; otherwise none is.
    """
    with forced(whole=not threads, small=threads):
        return Compiled(with_loops(simplified(program)) if rolled else program, **build)


# ---- programs

def built(write, *args):
    """A Program of inputs like ``args``, whose outputs ``write`` returns."""
    b = ProgramBuilder()
    out = write(b, *[b.input(aval_of(a)) for a in args])
    b.program.outputs = [o.number for o in (out if isinstance(out, (tuple, list)) else [out])]
    return b.program


def cases_of(row, seed=0):
    """A Program of all cases of a row, and their arguments."""
    b, args, results = ProgramBuilder(), [], []
    for case in row.cases(np.random.default_rng(seed)):
        refs = [b.input(aval_of(a)) for a in case.args]
        args += case.args
        results.append(row.lower(b, *refs, **case.params).number)
    b.program.outputs = results
    return b.program, args


def numbers(dtype, count, rng):
    """Random and special values of a dtype."""
    if dtype.kind == "f":
        return np.concatenate([SPECIAL, rng.normal(size=count) * 4]).astype(dtype)
    if dtype.kind == "b":
        return rng.random(count + 23) < 0.5
    info = np.iinfo(dtype)
    ends = [info.min, info.max, 0, 1, info.max - 1, info.min + 1]
    return np.concatenate([np.array(ends, dtype), np.array([-1, 3]).astype(dtype),
                           rng.integers(-9 if info.min else 0, 9, count + 15).astype(dtype)])


def function_on_dtypes(function):
    """A Program of a scalar function on each dtype that NumPy has it for, and its arguments."""
    rng = np.random.default_rng(2)
    b, args, ran = ProgramBuilder(), [], []
    for dtype in DTYPES:
        x = numbers(dtype, 10, rng)
        given = [x] if MATHS[function].arity == 1 else [np.repeat(x, len(x)), np.tile(x, len(x))]
        if function == "power" and dtype.kind in "iu":
            given[1] = np.clip(given[1], 0, 9)  # NumPy refuses negative ones
        refs = [b.input(aval_of(a)) for a in given]
        args += given
        try:
            ran.append(b.elementwise(function, *refs).number)
        except (TypeError, DTypeError):  # NumPy has no such function either
            continue
    b.program.outputs = ran
    assert ran
    return b.program, args


def casts():
    """A Program of every cast, and its arguments."""
    rng = np.random.default_rng(3)
    args = [numbers(t, 10, rng) for t in DTYPES]
    return built(lambda b, *xs: [b.cast(x, t) for x in xs for t in DTYPES], *args), args


def of_size(size, dtype):
    """A Program of `statements` on a matrix with rows of a size, and its arguments."""
    rng = np.random.default_rng(size)
    n = 1 + size % 5
    x, i = rng.normal(size=(n, size)).astype(dtype), rng.integers(0, n, n)
    return built(lambda b, x, i: list(statements(b, x, i)), x, i), [x, i]


def statements(b, x, i):
    """Statements that go wrong at the ends of vectors, on a matrix and indices into its rows."""
    n, m = x.shape
    square = b.view(x, ((0, ((0, 1),)), (0, ((1, 1),))), (n, n)) if m >= n else x
    rows = b.view(i, ((0, ((0, 1),)),), (n, m))
    yield b.elementwise("exp", x)
    yield b.elementwise("add", x, b.view(x, ((n - 1, ((0, -1),)), (m - 1, ((1, -1),))), (n, m)))
    yield b.view(x, TRANSPOSED, (m, n))
    yield b.view(x, ((0, ()), (0, ((0, 1),))), (m,))
    yield b.view(x, ((0, ((0, 1),)), (0, ((1, 2),))), (n, (m + 1) // 2))
    yield b.pad(x, ((1, ((0, 2),)), (2, ((1, 1),))), (2 * n + 1, m + 3), 7.0)
    yield b.copy(b.view(x, TRANSPOSED, (m, n)), (n * m,))
    yield b.iota((n, m), 1, np.dtype(np.int32))
    yield b.cast(b.iota((n, m), 0, np.dtype(np.int64)), np.dtype(np.float64))
    for op in ("add", "maximum", "minimum", "multiply"):
        for axes in ((0,), (1,), (0, 1), ()):
            yield b.reduce(op, x, axes)
        for axis in (0, 1):
            yield b.scan(op, x, axis)
    for op in ("argmax", "argmin"):
        for axis in (0, 1):
            yield b.reduce(op, x, (axis,))
    positive = b.elementwise("greater", x, b.elementwise("square", x))
    for op in ("logical_and", "logical_or"):
        yield b.reduce(op, positive, (1,))
    yield b.select(positive, x, b.elementwise("negative", x))
    yield b.dot([(x, b.view(x, TRANSPOSED, (m, n)))])
    yield b.dot([(x, b.view(x, ((0, ((1, 1),)), (0, ((0, 1),))), (m, 1)))])
    yield b.dot([(square, x), (square, x)]) if m >= n else square
    yield b.pick(x, [rows, b.iota((n, m), 1, np.dtype(np.int64))])
    yield b.scatter_add(x, [rows, b.iota((n, m), 1, np.dtype(np.int64))], (n, m))


def reductions(dtype):
    """A Program of every reduction and scan of a dtype along every axis, and its argument."""
    rng = np.random.default_rng(5)
    x = numbers(np.dtype(dtype), 20, rng)[:36].reshape(3, 4, -1)
    named = [op for op in ("add", "multiply", "maximum", "minimum", "argmax", "argmin",
                           "logical_and", "logical_or")
             if not op.startswith("logical") or dtype == np.bool_]
    def write(b, x):
        for op in named:
            for axes in ((0,), (1,), (2,), (0, 2), (0, 1, 2)):
                if len(axes) == 1 or not op.startswith("arg"):
                    yield b.reduce(op, x, axes)
            for axis in (() if op.startswith(("arg", "logical")) else (0, 1, 2)):
                yield b.scan(op, x, axis)
        yield b.dot([(x, b.view(x, ((0, ((0, 1),)), (0, ((2, 1),)), (0, ((1, 1),))),
                                (x.shape[0], x.shape[2], x.shape[1])))])
    x[np.isnan(x)] = 2  # NaN has a test of its own: sums of infinities depend on the order
    x = np.clip(x, -9, 9) if dtype in {np.float32, np.float64} else x
    return built(lambda b, x: list(write(b, x)), x), [x]


def of_graph(graph, out):
    """The Program of a Graph whose results those are."""
    graph.outputs = [o.node for o in out if hasattr(o, "node")]
    return lowered(graph)


def drawn(seed, names=None):
    """A Program of a random program of the fuzz and its gradient, and the arguments.

    ``names`` are the operations, instead of all. None for one with rows that exist in the fuzz
    only, or whose gradient is refused.
    """
    program = drawing.draw(seed, names).program
    xs = [np.asarray(v) for v in program.leaves.values()]
    with np.errstate(all="ignore"):
        weights = examine.weights_of(program, programs.run(program, xs), None)
    parts = programs.function(program, weights)
    wanted = tuple(k for k, x in enumerate(xs) if x.dtype.kind in "fc")
    try:
        graph, out = trace(lambda *a: (sum(parts(*a)), *ad.grad(
            lambda *a: sum(parts(*a)), wanted)(*a)), *map(aval_of, xs))
    except (MatrixError, DTypeError, UnsupportedError):  # as the fuzz refuses it
        return None
    if any(n.prim is programs.gather for n in graph.nodes):
        return None
    return of_graph(graph, out), [*xs, *graph.closed]


def outcomes(f, args):
    """What a program gives; nothing where it refuses a degenerate matrix."""
    try:
        return f(*args)
    except MatrixError:
        return []


def looped(seed):
    """A Program of a random loop with its gradient, and the arguments."""
    f, args = random_loop(seed)
    graph, (value, parts) = trace(ad.value_and_grad(f, (0, 1, 2, 3, 4)), *map(aval_of, args))
    return of_graph(graph, (value, *parts)), args


def random_loop(seed):
    """A loop over slices, weights and several states, and arguments for it."""
    q = np.random.default_rng(seed)
    T, B, H = int(q.integers(5, 14)), int(q.choice([1, 3, 4])), int(q.choice([1, 4, 5]))
    shapes = ((T + 3, B, H), (H, H), (H,), (B, H), (B, T + 8))
    args = [q.standard_normal(s) * (0.3 if s == (H, H) else 1.0) for s in shapes]
    if seed % 2:
        args = [a.astype(np.float32) for a in args]
    ops = [int(k) for k in q.integers(0, 13, int(q.integers(2, 7)))]
    turns = range(T - 1, -1, -1) if q.integers(2) else range(T)
    every = bool(q.integers(2))

    def f(x, W, b, h, s):
        c, acc = h * 0.5, 0.0
        for t in turns:
            v = h
            for k in ops:
                v, c = STEPS[k](v, c, h, t, x, W, b, s)
            h = np.tanh(v)
            acc = acc + np.sum(h * h) * 0.1 if every else acc
        return np.sum(h * 0.3) + np.sum(c) + acc
    return f, args


STEPS = [
    lambda v, c, h, t, x, W, b, s: (v @ W, c),
    lambda v, c, h, t, x, W, b, s: (v + x[t], c),
    lambda v, c, h, t, x, W, b, s: (np.tanh(v), c),
    lambda v, c, h, t, x, W, b, s: (v * x[t + 2] + b, c),
    lambda v, c, h, t, x, W, b, s: (np.tanh(c * 0.9 + v), c * 0.9 + v),
    lambda v, c, h, t, x, W, b, s: (v + s[:, t:t + 1], c),
    lambda v, c, h, t, x, W, b, s: (v / np.sqrt(np.mean(v * v, 1, keepdims=True) + 0.1), c),
    lambda v, c, h, t, x, W, b, s: (ad.relu(v) + 0.1 * h, c),
    lambda v, c, h, t, x, W, b, s: (np.where(v > c, v, c), v * 0.5),
    lambda v, c, h, t, x, W, b, s: (v - 0.1 * ad.logsumexp(v, -1)[:, None], c),
    lambda v, c, h, t, x, W, b, s: ((v + x[t]) @ W * 0.5 + h * b, c),
    lambda v, c, h, t, x, W, b, s: (v * (0.5 + 0.1 * t), c),
    lambda v, c, h, t, x, W, b, s: (v + x[t].T @ v @ W if v.shape[0] == W.shape[0] else v, c)]


# ---- comparison

def agree(got, want, tolerance, said=""):
    """Equal shapes, dtypes, special values, and numbers within the tolerance."""
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype), said
    if want.dtype.kind not in "fc":
        np.testing.assert_array_equal(got, want, err_msg=said)
        return
    finite = np.isfinite(want)
    np.testing.assert_array_equal(got[~finite], want[~finite], err_msg=said)
    got, want = got[finite], want[finite]
    wrong = np.abs(got - want) > np.broadcast_to(tolerance, finite.shape)[finite]
    assert not wrong.any(), f"{got[wrong][:4]} for {want[wrong][:4]}\n{said}"


def agree_all(found, expected, double, single, least, said=""):
    """All outputs: within a relative error for each size of numbers, or the least that counts."""
    assert len(found) == len(expected), said
    for want, out in zip(expected, found, strict=True):
        parts = zip(want, out, strict=True) if isinstance(want, tuple) else [(want, out)]
        for w, o in parts:
            w, o = np.asarray(w), np.asarray(o)
            assert (o.shape, o.dtype) == (w.shape, w.dtype), said
            loose = single if w.dtype.itemsize < 8 else double
            np.testing.assert_allclose(o, w, rtol=loose, atol=least, err_msg=said)


def is_rounded(program):
    """Whether something on the way has fewer digits than a double."""
    known = [program.statements[n].known for n in program.live()]
    return any(not isinstance(k, tuple) and k.dtype.kind in "fc"
               and k.dtype.itemsize < (8 if k.dtype.kind == "f" else 16) for k in known)


def exposed(program):
    """The statements that are arrays, made the outputs, so that each is seen."""
    program.outputs = [n for n in program.live()
                       if not isinstance(program.statements[n].known, tuple)]
    return program


def check(program, args, **build):
    """Each statement of a compiled program, against NumPy on the operands that it was given."""
    program = exposed(program)
    with np.errstate(all="ignore"):
        found = Compiled(program, **build)(*args)
    compare(program, args, found)


def compare(program, args, outputs):
    """Each statement of an `exposed` program, against NumPy on the operands that it was given."""
    found = dict(zip(program.outputs, outputs, strict=True))
    builder = NumpyBuilder(*args)
    for n in program.outputs:
        s = program.statements[n]
        if s.name in {"input", "call", "item"} or any(i not in found for i in s.inputs):
            continue
        with np.errstate(all="ignore"):
            want = program.run(builder, n, {i: Value(found[i]) for i in s.inputs}).value
            try:
                agree(found[n], want, allowed(program, n, found))
            except AssertionError as e:
                raise AssertionError(f"{e}\n%{n} of\n{program.show()}") from None


def allowed(program, n, values):
    """How far a statement's value may be from NumPy's, in absolute terms."""
    s = program.statements[n]
    known = s.known
    if known.dtype.kind != "f" or s.name not in {"elementwise", "reduce", "scan", "dot",
                                                 "scatter_add", "loop"}:
        return 0.0
    eps = np.finfo(known.dtype).eps
    xs = [np.abs(values[i].astype(np.float64)) for i in s.inputs]
    if s.name == "elementwise":
        # The library's own erfc is further from the truth than the C library's.
        ulps = 8 if s.parameters[0] == "erfc" else 4
        size = np.abs(values[n].astype(np.float64))
        if s.parameters[0].startswith("logaddexp"):  # x + log(1 + ...), which may cancel
            size = np.maximum(size, np.where(np.isfinite(xs[0]), xs[0], 0.0))
        return ulps * eps * size + 4 * np.finfo(known.dtype).tiny
    if s.name == "dot":
        return sum(2 * x.shape[-1] * eps * (x @ z) for x, z in zip(xs[::2], xs[1::2], strict=True))
    op = s.parameters[0]
    if s.name == "scatter_add":
        return 2 * eps * xs[0].size * xs[0].sum()
    if op == "add":
        axes = s.parameters[1] if s.name == "reduce" else None
        total = xs[0].sum(axis=axes) if axes is not None else xs[0].sum()
        return 2 * xs[0].size * eps * total
    if op == "multiply":
        return 2 * xs[0].size * eps * np.abs(values[n].astype(np.float64))
    return 0.0
