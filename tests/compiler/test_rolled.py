"""Loops over numbers, whose carries stay in registers: the interpreter's values, and checks."""

import numpy as np
import pytest

import adjoint as ad

pytest.importorskip("llvmlite.binding", reason="machine code needs llvmlite")

from adjoint.compiler.compiled import Compiled
from adjoint.compiler.program import ProgramBuilder, lowered
from adjoint.compiler.rolled import Rolled, is_rolled
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace
from adjoint.errors import IndexingError, RuleError

ROWS, TABLE = np.linspace(-2.0, 2.0, 40), np.arange(12.0).reshape(3, 4)
PLACES = np.arange(40) * 7 % 12


def program_of(f, *args):
    graph, out = trace(f, *map(aval_of, args))
    graph.outputs = [o.node for o in flat(out)]
    return lowered(graph)


def flat(out):
    return [x for part in out for x in flat(part)] if isinstance(out, (tuple, list)) else [out]


def recurrence(x, rows):
    """A carry, a row each turn, what is stacked, and a number that all turns share."""
    def turn(c, r):
        c = np.sin(c) * r + np.exp(x * 0.1)
        return c, c * c
    return ad.scan(turn, x, rows)


def turned(x, rows):
    """Two carries that change places, one of them an integer; rows from the last to the first."""
    def turn(c, r):
        a, b, k = c
        return (b, a + r, k + 3), (k, a > b)
    return ad.scan(turn, (x, x * 2.0, np.int64(1)), rows[::-1])


def truth(x, rows):
    """A carry that is a truth value."""
    def turn(c, r):
        odd, y = c
        return (odd != (r > 0.3), np.where(odd, y + r, y * 0.5)), odd
    return ad.scan(turn, (x > 0.0, x), rows)


def given_back(x, rows):
    """Carries that the body leaves as they are, and a result that is the row itself."""
    return ad.scan(lambda c, r: (c, (r, c)), x, rows)


def nested(x, rows):
    """A loop in the body of a loop."""
    def turn(c, r):
        return ad.fori_loop(0, 5, lambda i, d: d * r + 0.5, c) * 0.1, c
    return ad.scan(turn, x, rows)


def no_number(x, rows):
    """A value that stands for NaN, in the carry and in what is stacked."""
    def turn(c, r):
        y = c * np.log(r)
        y = np.where((c == 0.0) & np.isnan(y), 0.0, y)
        c = np.where(np.isnan(y), x * 0.0, y + r)
        return c, y
    return ad.scan(turn, x, rows)


CASES = [recurrence, turned, truth, given_back, nested, no_number]


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize("f", CASES, ids=lambda f: f.__name__)
def test_the_values_of_the_interpreter(f, checked):
    for dtype in (np.float64, np.float32):
        x, rows = dtype(0.7), ROWS.astype(dtype)
        program = program_of(f, x, rows)
        with np.errstate(invalid="ignore"):
            right = program(x, rows)
        for got, expected in zip(Compiled(program, checked=checked)(x, rows), right, strict=True):
            assert got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=50 * np.finfo(dtype).eps)


def test_which_loops_are_rolled():
    """Those over numbers, not those over vectors."""
    def rolled(f, *args):
        compiled = Compiled(program_of(f, *args))
        layout = compiled.layout
        return [is_rolled(layout.program, n, body) for (n, _), body in layout.bodies.items()]
    assert rolled(recurrence, 0.7, ROWS) == [True]
    assert rolled(recurrence, ROWS[:3], ROWS) == [False]


def picking(x, table, places):
    """A body that looks up what it is given whole, at an index of the user's."""
    def turn(c, k):
        return c + table.reshape(12)[k] * c, c
    return ad.scan(turn, x, places)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_constant_of_the_body_and_few_turns(count):
    """The body has an array of its own, and arrays of one element for numbers."""
    table = np.array([3.0, -1.0, 2.0, 0.5])
    def body(c, k):
        return c * ad.take(table, k, axis=0) + 1.0, c
    graph, out = trace(body, aval_of(np.ones(1)), aval_of(np.ones(1, np.int64)))
    graph.outputs = [o.node for o in out]
    builder = ProgramBuilder()
    given = np.full(1, 0.5), np.arange(5).reshape(5, 1)[:count] % 4
    x, places = [builder.input(aval_of(a)) for a in given]
    loop = builder.loop(graph, count, [x], [places])
    builder.program.outputs = [builder.item(loop, k).number for k in range(2 if count else 1)]
    compiled = Compiled(builder.program, checked=True)
    assert [is_rolled(compiled.program, n, body) for (n, _), body in
            compiled.layout.bodies.items()] == [count > 0]
    for got, expected in zip(compiled(*given), builder.program(*given), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_an_index_out_of_range_is_named():
    program = program_of(picking, 0.01, TABLE, PLACES)
    for got, expected in zip(Compiled(program)(0.01, TABLE, PLACES), program(0.01, TABLE, PLACES),
                             strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)
    with pytest.raises(IndexingError, match="out of range"):
        Compiled(program)(0.01, TABLE, PLACES + 5)


def test_a_wrong_stride_is_caught(monkeypatch):
    """Planted: rows that are too far from one another."""
    program, right = program_of(recurrence, 0.7, ROWS), Rolled.placed
    Compiled(program, checked=True)(0.7, ROWS)
    monkeypatch.setattr(Rolled, "placed", lambda self, n: tuple([2 * k for k in right(self, n)]))
    with pytest.raises(RuleError, match="left the memory"):
        Compiled(program, checked=True)(0.7, ROWS)


def test_a_chain_of_scalars():
    """The gradient of a chain that is re-rolled: the values are those of the eager one."""
    def f(x):
        for _ in range(60):
            x = np.sin(x) * 1.01
        return x
    for x in (0.7, -0.7, 30.0, 0.0, -0.0, 3.2e6):
        np.testing.assert_allclose(ad.jit(ad.grad(f))(x), ad.grad(f)(x), rtol=1e-13)
        assert np.signbit(ad.jit(f)(x)) == np.signbit(f(x))
