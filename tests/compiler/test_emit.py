"""The second stage of the compiler: each statement a loop of machine code, against NumPy.

What runs: all cases of all rows, every function of the table on every dtype, every kind of
statement over rows of 1 to 33 elements, casts, reductions, loops, calls and what goes wrong, each
at 128-, 256- and 512-bit vectors, fused and each statement apart, as lowered and simplified and
re-rolled, and checked (`compilations.BUILDS`). `test_random.py` has the random programs and loops.
"""

from itertools import cycle

import numpy as np
import pytest
from compilations import (
    BUILDS,
    CHECKED,
    MATRIX,
    ROWS,
    STATED,
    TRANSPOSED,
    agree_all,
    built,
    cases_of,
    casts,
    check,
    compiled,
    function_on_dtypes,
    of_size,
    quiet,
    reductions,
)

import adjoint as ad
from adjoint.compiler import gemm
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.evaluator import Evaluator
from adjoint.compiler.layout import Layout, ways
from adjoint.compiler.maths import MATHS
from adjoint.compiler.native import host
from adjoint.compiler.program import ProgramBuilder, lowered
from adjoint.compiler.text import is_native
from adjoint.core.node import aval
from adjoint.core.symbol import trace
from adjoint.errors import IndexingError, RuleError

builds = pytest.mark.parametrize("build", STATED.values(), ids=STATED)


# ---- every row

@pytest.mark.parametrize("row", ROWS, ids=str)
@quiet
def test_every_row(row):
    program, args = cases_of(row)
    with np.errstate(all="ignore"):
        expected = program(*args)
        for name, build in BUILDS.items():
            agree_all(compiled(program, **build)(*args), expected, 1e-12, 1e-5, 1e-13, name)


@pytest.mark.parametrize(("row", "build"), [*zip(ROWS, cycle(STATED), strict=False)], ids=str)
@quiet
def test_every_statement_of_every_row(row, build):
    program, args = cases_of(row, 1)
    program.outputs = [*range(len(program.statements))]
    check(program, args, **STATED[build])


# ---- the table of functions

@pytest.mark.parametrize("function", MATHS)
@quiet
def test_every_function_on_every_dtype(function):
    for build in STATED.values():
        check(*function_on_dtypes(function), **build)


@builds
@quiet
def test_every_cast(build):
    check(*casts(), **build)


# ---- every statement, over sizes

@pytest.mark.parametrize("size", range(1, 34))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_size(size, dtype):
    program, args = of_size(size, dtype)
    expected = program(*args)
    half = (size + (dtype == np.float32)) % 2  # of the builds, the others at the next size
    for name, build in [(k, b) for k, b in BUILDS.items() if not b.get("rolled")][half::2]:
        agree_all(compiled(program, **build)(*args), expected, 1e-12, 1e-4,
                  1e-14 if dtype == np.float64 else 1e-5, name)


@pytest.mark.parametrize("size", [1, 7, 19, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_statement_of_some_sizes(size, dtype):
    for build in STATED.values():
        check(*of_size(size, dtype), **build)


@builds
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
def test_reductions_of_each_dtype(dtype, build):
    check(*reductions(dtype), **build)


@builds
@pytest.mark.parametrize("depths", [(5, 1), (1, 5), (17, 1, 9), (0, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.int64, np.int8])
def test_sums_of_products_of_unlike_depths(dtype, depths, build):
    rng = np.random.default_rng(4)
    args = [rng.integers(-3, 4, shape).astype(dtype) for k in depths
            for shape in ((3, k), (k, 1))]
    program = built(lambda b, *xs: b.dot(list(zip(xs[::2], xs[1::2], strict=True))), *args)
    np.testing.assert_array_equal(compiled(program, **build)(*args)[0], program(*args)[0])


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
@pytest.mark.parametrize("shape", [(1,), (3, 1), (1, 3), (1, 1), (40, 1), (20, 3, 1)])
def test_sums_of_one_minus_zero(shape, build):
    x = np.full(shape, -0.0)
    axes = tuple([d for d, n in enumerate(shape) if n == 1])
    program = built(lambda b, x: [b.reduce("add", x, a) for a in (axes, axes[:1], ())], x)
    for got, want in zip(compiled(program, **build)(x), program(x), strict=True):
        assert got.shape == want.shape
        assert not np.signbit(got).any()
        assert not np.signbit(want).any()


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


@builds
def test_a_stored_view_whose_rows_a_loop_reads(build):
    x, start = np.arange(12.0).reshape(4, 3) / 8, np.array([1.0, 2.0, 3.0])
    graph = traced_body(lambda a, row, w: (a * row + w.sum(),),
                        *[aval(s, x.dtype) for s in ((3,), (3,), (3, 4))])
    def write(b, x, start):
        rows = b.scan("add", x, 0)
        back = b.view(rows, ((3, ((0, -1),)), (0, ((1, 1),))), (4, 3))
        later = b.scan("add", b.scan("maximum", b.view(x, TRANSPOSED, (3, 4)), 0), 1)
        return back, b.item(b.loop(graph, 4, [start], [back, later], 1), 0)
    program = built(write, x, start)
    for got, want in zip(Compiled(program, **build)(x, start), program(x, start), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)


@builds
def test_a_view_that_python_reads_after_a_loop_had_a_copy(build):
    x, start = np.arange(12.0).reshape(4, 3) / 8, np.arange(4.0)
    graph = traced_body(lambda a, row: (a * row + 1.0,), *[aval((4,), x.dtype)] * 2)
    def write(b, x, start):
        turned = b.view(b.scan("add", x, 0), TRANSPOSED, (3, 4))
        one = b.item(b.loop(graph, 3, [start], [turned]), 0)
        later = b.scan("add", b.scan("maximum", b.view(x, TRANSPOSED, (3, 4)), 0), 1)
        late = b.elementwise("add", later, b.view(one, ((0, ((1, 1),)),), (3, 4)))
        again = b.call(twice_by_python, [turned], aval((3, 4), x.dtype))
        return b.elementwise("add", b.scan("add", late, 0), again)
    program = built(write, x, start)
    for got, want in zip(Compiled(program, **build)(x, start), program(x, start), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)


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
    "flat": lambda b, x: b.elementwise("exp", x),
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
TESTED = {**CHECKED, **{f"{k}-threads": {**b, "threads": True} for k, b in CHECKED.items()}}


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


def test_what_strides_are_planted_in():
    """All that `test_a_planted_wrong_stride_is_caught` must have: flat, row and GEMM kernels."""
    kinds = {name: Layout(built(write, MATRIX)).schedule.groups[-1] for name, write in
             WRONG.items()}
    assert kinds["flat"].flat
    assert kinds["sum"].flat
    assert (kinds["temporaries"].kind, kinds["temporaries"].outer) == ("nest", (2,))
    assert (kinds["dot"].kind, kinds["epilogue"].kind) == ("dot", "dot")
    assert gemm.suits(built(WRONG["dot"], MATRIX), 2)


@pytest.mark.parametrize("build", TESTED.values(), ids=TESTED)
@pytest.mark.parametrize("name", WRONG)
def test_a_planted_wrong_stride_is_caught(name, build, monkeypatch):
    program = built(WRONG[name], MATRIX)
    compiled(program, **build)(MATRIX)
    right = Evaluator.strides
    monkeypatch.setattr(Evaluator, "strides",
                        lambda self, shape: tuple([s + 1 for s in right(self, shape)]))
    with pytest.raises(RuleError, match=r"the compiled statement %\d+ = .*left the memory of %"):
        compiled(program, **build)(MATRIX)


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


@builds
@pytest.mark.parametrize("i", [[0], [0, 0]], ids=str)
def test_a_loaded_index_of_a_sum_that_a_register_holds(i, build):
    def write(b, x, i):  # along an axis of one row: the only place that there is
        centred = b.elementwise("subtract", x, b.view(
            b.reduce("maximum", x, (1,)), ((0, ()),), (1, 3)))
        squares = b.reduce("add", b.elementwise("multiply", centred, centred), (1,))
        return [centred, b.elementwise("tanh", b.pick(squares, [i]))]
    x, i = np.array([[1.0, 2.0, 4.0]]) / 8, np.array(i)
    program = built(write, x, i)
    for got, want in zip(compiled(program, **build)(x, i), program(x, i), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-15)
    with pytest.raises(IndexingError, match="an index is out of range of %"):
        compiled(program, **build)(x, i + 1)


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


# ---- what is known of functions

def test_the_table_of_what_runs_how():
    lines = {line.split()[0]: line.split()[1:] for line in ways().splitlines()[1:-3]}
    assert list(lines) == list(MATHS)
    assert lines["exp"][:2] == ["native", "native"]
    assert set(lines["gammaln"]) == {"call"}
    assert not is_native(np.dtype(np.complex128))
    assert host().vector_bytes in {16, 32, 64}
