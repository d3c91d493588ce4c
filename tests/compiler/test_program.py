"""The first stage of the compiler: rows lowered to a Program, run as its statements mean."""

import sys
from pathlib import Path

import numpy as np
import pytest
from compilations import MATRIX, ROWS, SEEDS, TRANSPOSED
from hypothesis import given, settings
from hypothesis import strategies as st

import adjoint as ad
from adjoint.compiler.program import ProgramBuilder, lowered
from adjoint.compiler.views import composed, is_identity, normal, outside
from adjoint.core.node import aval, aval_of
from adjoint.core.symbol import trace
from adjoint.errors import RuleError

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tools/ is no installed package

from tools.fuzz import drawing, examine, programs


def traced(f, *args):
    """The Program of ``f`` and the closed-over values that it takes behind the arguments."""
    graph, out = trace(f, *map(aval_of, args))
    outs = out if isinstance(out, tuple) else (out,)
    graph.outputs = [o.node for o in outs]
    return lowered(graph), graph.closed


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.filterwarnings("ignore")  # cases go to singular points
def test_every_row_lowers_to_statements_that_mean_the_same(row):
    ran = 0
    for case in row.cases(np.random.default_rng(0)):
        with np.errstate(all="ignore"):
            expected = row.impl(*case.args, **case.params)
        b = ProgramBuilder()
        out = row.lower(b, *[b.input(aval_of(a)) for a in case.args], **case.params)
        b.program.outputs = [out.number]
        (got,) = b.program(*case.args)
        pairs = zip(expected, got, strict=True) if isinstance(expected, tuple) else [
            (expected, got)]
        for e, g in pairs:
            e, g = np.asarray(e), np.asarray(g)
            assert (g.shape, g.dtype) == (e.shape, e.dtype)
            np.testing.assert_allclose(g, e, rtol=1e-5 if g.dtype.itemsize < 8 else 1e-9, atol=1e-9)
        ran += 1
    assert ran


# ---- views

@st.composite
def slices(draw, shape):
    """A NumPy index of slices, flips and permuted axes, and the same as an index expression."""
    parts, entries, sizes = [], [], []
    for n in shape:
        step = draw(st.sampled_from([1, 2, -1, -2]))
        picked = range(n)[::step]
        parts.append(slice(None, None, step))
        entries.append((picked[0], step))
        sizes.append(len(picked))
    order = draw(st.permutations(range(len(shape))))
    where = {d: k for k, d in enumerate(order)}
    index = tuple((start, ((where[d], step),)) for d, (start, step) in enumerate(entries))
    return tuple(parts), order, index, tuple(sizes[d] for d in order)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_views_of_views_are_views(data, shape):
    x = np.arange(float(np.prod(shape))).reshape(shape)
    b = ProgramBuilder()
    ref, expected = b.input(aval_of(x)), x
    for _ in range(3):
        parts, order, index, sizes = data.draw(slices(expected.shape))
        ref = b.view(ref, index, sizes)
        expected = expected[parts].transpose(order)
    b.program.outputs = [ref.number]
    np.testing.assert_array_equal(b.program(x)[0], expected)
    assert [s.name for s in b.program.statements].count("view") <= 3
    live = [b.program.statements[n].name for n in b.program.live()]
    assert live in (["input"], ["input", "view"])


def test_a_view_that_changes_nothing_is_its_operand():
    b = ProgramBuilder()
    x = b.input(aval_of(MATRIX))
    once = b.view(x, TRANSPOSED, (3, 2))
    assert b.view(once, TRANSPOSED, (2, 3)).number == x.number


def test_index_algebra():
    assert composed(TRANSPOSED, TRANSPOSED) == ((0, ((0, 1),)), (0, ((1, 1),)))
    assert normal(((0, ((1, 0), (0, 2))),), (3, 1)) == ((0, ((0, 2),)),)
    assert is_identity(((0, ()),), (1,), (1,))
    assert not is_identity(((1, ((0, 1),)),), (4,), (4,))
    assert outside(((0, ((0, 1),)),), (2,), (3,)) == "reads 0 to 2 along an axis of size 2"
    assert outside(((5, ((0, 1),)),), (2,), (0,)) == ""


# ---- statements

def test_equal_statements_are_one():
    program, _ = traced(lambda x: np.sin(x) * 2.0 + np.sin(x) * 2.0, MATRIX)
    names = [s.parameters for s in program.statements if s.name == "elementwise"]
    assert sorted(p[0] for p in names) == ["add", "multiply", "sin"]


def test_constants_are_told_apart_by_their_bits():
    b = ProgramBuilder()
    numbers = [b.const(c).number for c in (0.0, -0.0, 0, np.float32(0), 0.0, float("nan"),
                                           float("nan"))]
    assert len(set(numbers)) == 5
    assert numbers[0] == numbers[4]
    assert numbers[5] == numbers[6]
    b.program.outputs = numbers[:2]
    assert [np.signbit(v) for v in b.program()] == [False, True]


def test_statements_know_their_lines():
    def f(x):
        y = np.sin(x)
        return y * x
    with ad.sites():
        program, _ = traced(f, MATRIX)
    lines = {program.statements[n].parameters[0]: {ad.line_of(site)[1] for site in sites}
             for n, sites in program.sites.items() if program.statements[n].name == "elementwise"}
    first = f.__code__.co_firstlineno
    assert lines == {"sin": {first + 1}, "multiply": {first + 2}}


def test_dead_statements_are_not_run():
    def boom(x):
        raise AssertionError
    b = ProgramBuilder()
    x = b.input(aval_of(MATRIX))
    b.call(boom, [x], x.known)
    b.program.outputs = [b.elementwise("sin", x).number]
    np.testing.assert_array_equal(b.program(MATRIX)[0], np.sin(MATRIX))


def test_closed_over_values_are_inputs():
    w = ad.tensor(3.0, requires_grad=True)
    program, closed = traced(lambda x: w * x, MATRIX)
    assert closed == [w]
    np.testing.assert_array_equal(program(MATRIX, np.float64(5.0))[0], 5.0 * MATRIX)


def test_it_prints():
    program, _ = traced(lambda x: np.sum(x.T), MATRIX)
    lines = program.show().splitlines()
    assert lines[0] == "%0 = input(0): float64[2, 3]"
    assert "reduce(%1, add, (0, 1))" in lines[2]
    assert lines[-1] == "return %2"
    def long(x):
        for _ in range(500):
            x = np.sin(x)
        return x
    assert "442 more statements" in traced(long, 1.0)[0].show()


@pytest.mark.parametrize(("write", "text"), [
    (lambda b, x, i: b.elementwise("add", x, b.view(x, TRANSPOSED, (3, 2))), "shapes"),
    (lambda b, x, i: b.elementwise("add", x, b.cast(x, np.float32)), "dtypes"),
    (lambda b, x, i: b.select(x, x, x), "condition of float64"),
    (lambda b, x, i: b.view(x, TRANSPOSED, (4, 4)), "reads 0 to 3 along an axis of size 2"),
    (lambda b, x, i: b.pad(x, ((5, ((0, 1),)), (0, ((1, 1),))), (6, 3), 0.0), "reads 5 to 6"),
    (lambda b, x, i: b.pick(x, [i]), "1 index arrays"),
    (lambda b, x, i: b.copy(x, (4,)), "makes shape"),
    (lambda b, x, i: b.dot([(x, x)]), "operands of shapes")])
def test_promises_of_the_language(write, text):
    b = ProgramBuilder()
    x, i = b.input(aval_of(MATRIX)), b.input(aval((4,), np.dtype(np.intp)))
    with pytest.raises(RuleError, match=text):
        write(b, x, i)


# ---- whole programs

@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.filterwarnings("ignore")
def test_random_programs_and_their_gradients(seed):
    program = drawing.draw([seed, 9]).program
    xs = [np.asarray(v) for v in program.leaves.values()]
    with np.errstate(all="ignore"):
        weights = examine.weights_of(program, programs.run(program, xs), None)
    parts = programs.function(program, weights)
    wanted = tuple(k for k, x in enumerate(xs) if x.dtype.kind in "fc")
    ran = 0
    gradient = ad.grad(lambda *a: sum(parts(*a)), wanted)
    for f in (lambda *a: (sum(parts(*a)),), gradient):
        with np.errstate(all="ignore"):
            expected = f(*xs)
            graph, out = trace(f, *map(aval_of, xs))
            if any(n.prim is programs.gather for n in graph.nodes):
                pytest.skip("a row of the fuzz only, which has no statements")
            live = [(o, e) for o, e in zip(out, expected, strict=True) if hasattr(o, "node")]
            graph.outputs = [o.node for o, _ in live]
            found = lowered(graph)(*xs, *graph.closed)
        for (_, e), got in zip(live, found, strict=True):
            assert got.dtype == np.asarray(e).dtype
            tight = 1e-2 if got.dtype.itemsize < 8 else 1e-7
            np.testing.assert_allclose(got, e, rtol=tight, atol=1e-8)
        ran += 1
    assert ran == 2
