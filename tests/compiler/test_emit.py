"""The second stage of the compiler: each statement a loop of machine code, against NumPy."""

import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import native
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.evaluator import Evaluator
from adjoint.compiler.layout import Layout, ways
from adjoint.compiler.maths import MATHS
from adjoint.compiler.native import AVX2, BASELINE, host, llvm
from adjoint.compiler.numpy_builder import NumpyBuilder
from adjoint.compiler.numpy_builder import Ref as Value
from adjoint.compiler.program import ProgramBuilder, lowered
from adjoint.compiler.text import TYPES, is_native
from adjoint.core.node import aval, aval_of
from adjoint.core.primitive import REGISTRY
from adjoint.core.symbol import trace
from adjoint.errors import DTypeError, IndexingError, MissingPackageError, RuleError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tools/ is no installed package

from tools.fuzz import drawing, examine, programs

ROWS = [r for r in REGISTRY.values() if r.cases is not None and r.lower is not None]
SEEDS = [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 17, 18, 19, 20, 21, 22]
MATRIX = np.arange(6.0).reshape(2, 3)
TRANSPOSED = ((0, ((1, 1),)), (0, ((0, 1),)))
DTYPES = [np.dtype(t) for t in TYPES]
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -3.0, 7.0, 1e-3, 1e-30, 1e30, -1e30, 88.0, -104.0,
           np.inf, -np.inf, np.nan, 3e9, -3e9, 1e19, 255.5, -129.9]
FORCED = llvm().get_process_triple().startswith("x86_64")  # whose older levels can be asked for
WIDTHS = {"128": BASELINE, "256": AVX2} if FORCED else {}
APART = {"fuse": False, "plan": False}  # each statement by itself, in memory of its own
BUILDS = {"checked": {"checked": True}, "host": {}, "apart": APART,
          **{f"{name}-checked": {"target": t, "checked": True} for name, t in WIDTHS.items()},
          **{f"{name}-apart": {"target": t, **APART} for name, t in WIDTHS.items()}}
OTHERS = [k for k in BUILDS if k != "checked"]
builds = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
quiet = pytest.mark.filterwarnings("ignore")  # values go to singular points


def mostly_checked(name, values, every=6):
    """Each value on the fused, checked build, and every sixth on one of the others, in turn."""
    pairs = [(v, "checked") for v in values]
    pairs += [(v, OTHERS[k % len(OTHERS)]) for k, v in enumerate(list(values)[::every])]
    return pytest.mark.parametrize((name, "build"), [(v, BUILDS[b]) for v, b in pairs],
                                   ids=[f"{v}-{b}" for v, b in pairs])


def built(write, *args):
    """A Program of inputs like ``args``, whose outputs ``write`` returns."""
    b = ProgramBuilder()
    out = write(b, *[b.input(aval_of(a)) for a in args])
    b.program.outputs = [o.number for o in (out if isinstance(out, (tuple, list)) else [out])]
    return b.program


def exposed(program):
    """The statements that are arrays, made the outputs, so that each is seen."""
    program.outputs = [n for n in program.live()
                       if not isinstance(program.statements[n].known, tuple)]
    return program


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


def check(program, args, **build):
    """Each statement of a compiled program, against NumPy on the operands that it was given."""
    program = exposed(program)
    with np.errstate(all="ignore"):
        found = dict(zip(program.outputs, Compiled(program, **build)(*args), strict=True))
    builder = NumpyBuilder(*args)
    for n in program.outputs:
        s = program.statements[n]
        if s.name in {"input", "call", "item"} or any(i not in found for i in s.inputs):
            continue
        with np.errstate(all="ignore"):
            want = program.run(builder, n, {i: Value(found[i]) for i in s.inputs}).value
            agree(found[n], want, allowed(program, n, found), f"%{n} of\n{program.show()}")


def agree(got, want, tolerance, said):
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


# ---- every row

@mostly_checked("row", ROWS)
@quiet
def test_every_row(row, build):
    b, args, results = ProgramBuilder(), [], []
    for case in row.cases(np.random.default_rng(0)):
        refs = [b.input(aval_of(a)) for a in case.args]
        args += case.args
        results.append(row.lower(b, *refs, **case.params).number)
    b.program.outputs = results
    with np.errstate(all="ignore"):
        expected = b.program(*args)
        got = Compiled(b.program, **build)(*args)
    assert len(got) == len(expected)
    for want, out in zip(expected, got, strict=True):
        parts = zip(want, out, strict=True) if isinstance(want, tuple) else [(want, out)]
        for w, o in parts:
            w, o = np.asarray(w), np.asarray(o)
            assert (o.shape, o.dtype) == (w.shape, w.dtype)
            loose = 1e-5 if w.dtype.itemsize < 8 else 1e-12
            np.testing.assert_allclose(o, w, rtol=loose, atol=1e-13)


@pytest.mark.parametrize("row", ROWS, ids=str)
@quiet
def test_every_statement_of_every_row(row):
    b, args = ProgramBuilder(), []
    for case in row.cases(np.random.default_rng(1)):
        row.lower(b, *[b.input(aval_of(a)) for a in case.args], **case.params)
        args += case.args
    b.program.outputs = [*range(len(b.program.statements))]
    check(b.program, args)


# ---- the table of functions

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


@mostly_checked("function", MATHS, 3)
@quiet
def test_every_function_on_every_dtype(function, build):
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
    check(b.program, args, **build)


@builds
@quiet
def test_every_cast(build):
    rng = np.random.default_rng(3)
    args = [numbers(t, 10, rng) for t in DTYPES]
    check(built(lambda b, *xs: [b.cast(x, t) for x in xs for t in DTYPES], *args), args, **build)


# ---- every statement, over sizes

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


@mostly_checked("size", range(1, 34), 3)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_size(size, dtype, build):
    rng = np.random.default_rng(size)
    n = 1 + size % 5
    x, i = rng.normal(size=(n, size)).astype(dtype), rng.integers(0, n, n)
    program = built(lambda b, x, i: list(statements(b, x, i)), x, i)
    if not build.get("fuse", True):
        check(program, [x, i], **build)
        return
    for got, want in zip(Compiled(program, **build)(x, i), program(x, i), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4 if dtype == np.float32 else 1e-12,
                                   atol=1e-5 if dtype == np.float32 else 1e-14)


@builds
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
def test_reductions_of_each_dtype(dtype, build):
    rng = np.random.default_rng(5)
    x = numbers(np.dtype(dtype), 20, rng)[:36].reshape(3, 4, -1)
    reductions = [op for op in ("add", "multiply", "maximum", "minimum", "argmax", "argmin",
                                "logical_and", "logical_or")
                  if not op.startswith("logical") or dtype == np.bool_]
    def write(b, x):
        for op in reductions:
            for axes in ((0,), (1,), (2,), (0, 2), (0, 1, 2)):
                if len(axes) == 1 or not op.startswith("arg"):
                    yield b.reduce(op, x, axes)
            for axis in (() if op.startswith(("arg", "logical")) else (0, 1, 2)):
                yield b.scan(op, x, axis)
        yield b.dot([(x, b.view(x, ((0, ((0, 1),)), (0, ((2, 1),)), (0, ((1, 1),))),
                                (x.shape[0], x.shape[2], x.shape[1])))])
    x[np.isnan(x)] = 2  # NaN has a test of its own: sums of infinities depend on the order
    x = np.clip(x, -9, 9) if dtype in {np.float32, np.float64} else x
    check(built(lambda b, x: list(write(b, x)), x), [x], **build)


@builds
def test_extremes_and_positions_of_nan_and_ties(build):
    nan = np.nan
    rows = np.array([[1.0, nan, 3, nan], [3, 3, 1, 1], [nan, nan, nan, nan], [-np.inf] * 4,
                     [np.inf, 1, np.inf, 2], [0, 2, 2, nan]])
    def write(b, x):
        return [b.reduce(op, x, (axis,)) for op in ("maximum", "minimum", "argmax", "argmin")
                for axis in (0, 1)]
    for x in (rows, rows.astype(np.float32), np.tile(rows, (1, 9))):
        check(built(write, x), [x], **build)


@builds
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3), ()])
def test_empty_and_scalar(shape, build):
    x = np.ones(shape)
    def write(b, x):
        yield b.elementwise("exp", x)
        for op in ("add", "multiply"):
            yield b.reduce(op, x, tuple(range(len(shape))))
            yield b.reduce(op, x, tuple(range(len(shape)))[:1])
        yield b.copy(x, (1,) * (3 - len(shape)) + shape)
        if shape == (3, 0):
            yield b.dot([(x, b.view(x, TRANSPOSED, (0, 3)))])
        if len(shape) == 1:
            yield b.pad(x, ((1, ((0, 1),)),), (3,), 5.0)
    check(built(lambda b, x: list(write(b, x)), x), [x], **build)


# ---- calls, loops, memory

def twice_by_python(x):
    return x * 2.0


@builds
def test_calls_between_native_segments(build):
    def write(b, x):
        y = b.elementwise("add", x, x)
        z = b.call(twice_by_python, [b.view(y, TRANSPOSED, (3, 2))], aval((3, 2), y.dtype))
        w = b.elementwise("exp", z)
        half = b.cast(b.cast(w, np.dtype(np.float16)), np.dtype(np.float64))
        return b.elementwise("multiply", half, half), z, x
    program = built(write, MATRIX)
    compiled = Compiled(program, **build)
    assert [bool(name) for name, _ in compiled.segments].count(True) == 3
    for _ in range(2):
        for got, want in zip(compiled(MATRIX), program(MATRIX), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-2)
    said = compiled.show()
    assert "call: a function outside the language" in said
    assert "call: float16 has no machine code" in said


def traced_body(f, *avals):
    graph, out = trace(f, *avals)
    graph.outputs = [o.node for o in out]
    return graph


@builds
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_loops(count, build):
    x, rows = np.array([1.0, 2.0, 0.5]), np.arange(3.0 * count).reshape(count, 3)
    def body(a, c, row):  # carries change places; one result is stacked; an array is a constant
        return c, a * row + np.array([0.0, 1.0, 2.0]), np.sin(a) + c
    graph = traced_body(body, *[aval((3,), x.dtype)] * 3)
    def write(b, x, rows):
        loop = b.loop(graph, count, [x, b.elementwise("exp", x)], [rows])
        return [b.item(loop, k) for k in range(3 if count else 2)]
    program = built(write, x, rows)
    compiled = Compiled(program, **build)
    assert not compiled.layout.called
    for got, want in zip(compiled(x, rows), program(x, rows), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14)


def test_a_loop_whose_body_calls_python_runs_by_call():
    graph = traced_body(lambda a: (np.linalg.inv(a),), aval((2, 2), np.dtype(np.float64)))
    program = built(lambda b, x: b.item(b.loop(graph, 2, [x], []), 0), np.eye(2) * 2)
    compiled = Compiled(program)
    assert "its body calls" in "".join(compiled.layout.called.values())
    np.testing.assert_array_equal(compiled(np.eye(2) * 4)[0], np.eye(2) * 4)


def test_inputs_of_any_strides_and_results_of_their_own():
    program = built(lambda b, x: (b.elementwise("add", x, x), b.view(x, TRANSPOSED, (3, 2))),
                    MATRIX)
    compiled = Compiled(program)
    big = np.arange(24.0).reshape(4, 6)
    first = compiled(big[::-2, ::2])
    np.testing.assert_array_equal(first[0], 2 * big[::-2, ::2])
    unaligned = np.zeros(49, np.uint8)[1:].view(np.float64).reshape(2, 3)
    second = compiled(unaligned)
    np.testing.assert_array_equal(second[1], np.zeros((3, 2)))
    np.testing.assert_array_equal(first[0], 2 * big[::-2, ::2])
    with pytest.raises(RuleError, match="input got"):
        compiled(np.ones((3, 3)))


def test_long_chains_need_no_recursion():
    def write(b, x):
        y = x
        for _ in range(3000):
            y = b.elementwise("multiply", y, x)
        return y
    x = np.array([1.0, 0.999, -1.0001])
    program = built(write, x)
    np.testing.assert_allclose(Compiled(program)(x)[0], program(x)[0], rtol=1e-11)


def test_equal_kernels_are_one():
    def write(b, x):
        y = b.elementwise("sin", x)
        for _ in range(5):
            y = b.elementwise("sin", y)
        return y
    text = Compiled(built(write, MATRIX), fuse=False).text
    assert text.count("define internal i64 @kernel_") == 1
    assert text.count("call i64 @kernel_0") == 6


def test_what_is_inlined_is_not_stored():
    program = built(lambda b, x: b.reduce("add", b.elementwise("exp", b.elementwise("sin", x)),
                                          (0, 1)), MATRIX)
    layout = Layout(program)
    names = [program.statements[n].name for n in sorted(layout.schedule.stored)]
    assert names == ["input", "reduce"]
    assert layout.bytes == 0


# ---- failures are errors

WRONG = {
    "map": lambda b, x: b.elementwise("add", x, b.view(x, ((0, ()), (0, ((1, 1),))), (2, 3))),
    "reduce": lambda b, x: b.reduce("add", x, (0,)),
    "sum": lambda b, x: b.reduce("add", b.elementwise("exp", x), (0, 1)),
    "scan": lambda b, x: b.scan("add", x, 1),
    "dot": lambda b, x: b.dot([(x, b.view(x, TRANSPOSED, (3, 2)))]),
    "copy": lambda b, x: b.copy(b.view(x, TRANSPOSED, (3, 2)), (6,)),
    "pad": lambda b, x: b.pad(x, ((0, ((0, 1),)), (0, ((1, 1),))), (2, 3), 0.0),
    "scatter": lambda b, x: b.scatter_add(x, [b.iota((2, 3), 0, INT), b.iota((2, 3), 1, INT)],
                                          (2, 3)),
    "search": lambda b, x: b.reduce("argmax", x, (1,)),
    "columns": lambda b, x: b.reduce("add", b.elementwise("exp", x), (0,)),
    "temporaries": lambda b, x: normalised(b, b.pad(x, STRAIGHT, (2, 3), 0.0)),
    "epilogue": lambda b, x: b.elementwise("exp", b.dot([(x, b.view(x, TRANSPOSED, (3, 2)))])),
    "body": lambda b, x: b.item(b.loop(twice(x.known), 3, [x], []), 0)}
STRAIGHT = ((0, ((0, 1),)), (0, ((1, 1),)))
INT = np.dtype(np.int64)


def normalised(b, x):
    """Rows divided by their sums: what is divided is kept for each row."""
    y = b.elementwise("exp", b.elementwise("sin", x))
    total = b.view(b.reduce("add", y, (1,)), ((0, ((0, 1),)),), x.shape)
    return b.elementwise("divide", y, total)


def twice(known):
    """The body of a loop."""
    b = ProgramBuilder()
    x = b.input(known)
    b.program.outputs = [b.elementwise("add", x, x).number]
    return b.program


@pytest.mark.parametrize("build", [b for b in BUILDS.values() if b.get("checked")],
                         ids=[k for k, b in BUILDS.items() if b.get("checked")])
@pytest.mark.parametrize("name", WRONG)
def test_a_planted_wrong_stride_is_caught(name, build, monkeypatch):
    program = built(WRONG[name], MATRIX)
    Compiled(program, **build)(MATRIX)
    right = Evaluator.strides
    monkeypatch.setattr(Evaluator, "strides",
                        lambda self, shape: tuple([s + 1 for s in right(self, shape)]))
    with pytest.raises(RuleError, match=r"the compiled statement %\d+ = .*left the memory of %"):
        Compiled(program, **build)(MATRIX)


@builds
@pytest.mark.parametrize("wrong", [5, -1, 2**40])
@pytest.mark.parametrize("size", [1, 3, 33])
def test_an_index_out_of_range_is_an_error(wrong, size, build):
    x, i = np.arange(5.0), np.zeros(size, np.int64)
    for write in (lambda b, x, i: b.pick(x, [i]),
                  lambda b, x, i: b.scatter_add(b.cast(i, x.dtype), [i], (5,))):
        compiled = Compiled(built(write, x, i), **build)
        compiled(x, i)
        for k in range(size):
            bad = i.copy()
            bad[k] = wrong
            with pytest.raises(IndexingError, match="an index is out of range of %"):
                compiled(x, bad)


def test_a_pick_from_what_is_not_stored():
    def write(b, x, i):
        seen = b.view(b.elementwise("exp", x), ((4, ((0, -1),)),), (5,))
        return b.pick(seen, [i])
    x, i = np.arange(5.0), np.array([0, 3, 3])
    compiled = Compiled(built(write, x, i))
    np.testing.assert_allclose(compiled(x, i)[0], np.exp(x)[::-1][i], rtol=1e-15)
    with pytest.raises(IndexingError, match=r"out of range of %3 = view"):
        compiled(x, i + 3)


def test_an_error_names_the_users_line():
    def f(x, i):
        return (x[i],)
    with ad.sites():
        graph, out = trace(f, aval((5,), np.dtype(float)), aval((3,), np.dtype(np.int64)))
    graph.outputs = [o.node for o in out]
    compiled = Compiled(lowered(graph))
    line = f.__code__.co_firstlineno + 1
    with pytest.raises(IndexingError, match=rf"test_emit.py:{line}"):
        compiled(np.arange(5.0), np.array([0, 9, 1]))


# ---- whole programs

@mostly_checked("seed", SEEDS, 2)
@quiet
def test_random_programs_and_their_gradients(seed, build):
    program = drawing.draw([seed, 9]).program
    xs = [np.asarray(v) for v in program.leaves.values()]
    with np.errstate(all="ignore"):
        weights = examine.weights_of(program, programs.run(program, xs), None)
    parts = programs.function(program, weights)
    wanted = tuple(k for k, x in enumerate(xs) if x.dtype.kind in "fc")
    gradient = ad.grad(lambda *a: sum(parts(*a)), wanted)
    for f in (lambda *a: (sum(parts(*a)),), gradient):
        with np.errstate(all="ignore"):
            graph, out = trace(f, *map(aval_of, xs))
            if any(n.prim is programs.gather for n in graph.nodes):
                pytest.skip("a row of the fuzz only, which has no statements")
            graph.outputs = [o.node for o in out if hasattr(o, "node")]
            lower = lowered(graph)
            expected = lower(*xs, *graph.closed)
            found = Compiled(lower, **build)(*xs, *graph.closed)
        for want, got in zip(expected, found, strict=True):
            assert got.dtype == np.asarray(want).dtype
            tight = 1e-2 if got.dtype.itemsize < 8 else 1e-7
            np.testing.assert_allclose(got, want, rtol=tight, atol=1e-8)


def test_without_llvmlite_the_error_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise ImportError(name)
    monkeypatch.setattr(native, "import_module", missing)
    native.llvm.cache_clear()
    with pytest.raises(MissingPackageError, match="pip install llvmlite"):
        native.llvm()
    monkeypatch.undo()
    assert native.llvm()


def test_the_table_of_what_runs_how():
    lines = {line.split()[0]: line.split()[1:] for line in ways().splitlines()[1:-3]}
    assert list(lines) == list(MATHS)
    assert lines["exp"][:2] == ["native", "native"]
    assert set(lines["gammaln"]) == {"call"}
    assert not is_native(np.dtype(np.complex128))
    assert host().vector_bytes in {16, 32, 64}
