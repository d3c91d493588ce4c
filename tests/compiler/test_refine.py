"""The stage that knows who reads a value; diagonals, zeros and transposes in random programs."""

import numpy as np
import pytest
from compilations import built, quiet

from adjoint.compiler.compiled import Compiled
from adjoint.compiler.program import ProgramBuilder
from adjoint.compiler.refine import refined
from adjoint.compiler.simplify import simplified
from adjoint.core.node import aval, aval_of

I, J = np.dtype(np.int64), np.dtype(np.int32)
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 3.0, 1e30, -1e-310, -7.0])
TURN = ((0, ((1, 1),)), (0, ((0, 1),)))


class Drawn:
    """A random Program of values on diagonals, products in which a zero wins, and transposes."""

    def __init__(self, seed):
        self.rng, self.b = np.random.default_rng(seed), ProgramBuilder()
        n, m = (int(k) for k in self.rng.integers(self.rng.random() > 0.15, 6, 2))
        shapes = [(n, m), (n, m), (m, n), (n, m, 2), (n,), (m,)]
        self.args = [self.rng.choice(SPECIAL, shape) for shape in shapes]
        self.pool = [self.b.input(aval_of(a)) for a in self.args]
        steps = (self.diagonal, self.diagonal, self.function, self.product, self.annihilated,
                 self.truth, self.turned, self.total, self.padded, self.times, self.repeated)
        for _ in range(self.rng.integers(4, 16)):
            x = self.pick(lambda p: len(p.shape) > 1 and p.dtype.kind == "f")
            found = steps[self.rng.integers(len(steps))](x)
            if found is not None and np.prod(found.shape) < 400:
                self.pool.append(found)
        self.b.program.outputs = [p.number for p in self.pool[-3:]]

    def pick(self, fits):
        found = [p for p in self.pool if fits(p)]
        return found[self.rng.integers(len(found))] if found else None

    def alike(self, x):
        return self.pick(lambda p: p.shape == x.shape and p.dtype == x.dtype)

    def one(self, names):
        return str(self.rng.choice(names.split()))

    def splat(self, value, x):
        return self.b.view(self.b.const(x.dtype.type(value)), (), x.shape)

    def diagonal(self, x):
        row, column = (int(d) for d in self.rng.choice(len(x.shape), 2, replace=False))
        here, there = (self.b.iota(x.shape, d, self.rng.choice([I, J])) for d in (row, column))
        if here.dtype != there.dtype:
            there = self.b.cast(there, here.dtype)
        offset = int(self.rng.integers(-2, 3))
        where = self.b.elementwise("equal", here, self.b.elementwise(
            "add", there, self.splat(offset, there)))
        outside = self.rng.choice([0.0, 0.0, 0.0, -0.0, 1.0, np.inf])
        return self.b.select(where, x, self.splat(outside, x))

    def function(self, x):
        return self.b.elementwise(self.one("negative abs exp square tanh"), x)

    def product(self, x):
        return self.b.elementwise(self.one("add subtract multiply maximum"), x, self.alike(x))

    def annihilated(self, x):
        z = self.alike(x)
        p = self.b.elementwise("multiply", x, z)
        lost = self.b.elementwise("isnan", p)
        zero = self.b.elementwise("equal", x if self.rng.random() < 0.7 else p, self.splat(0, x))
        return self.b.select(self.b.elementwise("logical_and", zero, lost), self.splat(0, p), p)

    def truth(self, x):
        c = self.b.elementwise(self.one("equal less not_equal"), x, self.splat(0, x))
        d = self.b.elementwise(self.one("isnan isinf"), self.alike(x))
        c = self.b.elementwise(self.one("logical_and logical_or"), c, d)
        return self.b.select(c, self.alike(x), self.splat(0, x))

    def turned(self, x):
        if len(x.shape) != 2:
            return None
        turned = self.b.view(x, TURN, x.shape[::-1])
        other = self.alike(turned)
        y = turned if other is None else self.b.elementwise("multiply", turned, other)
        z = self.pick(lambda p: len(p.shape) == 2 and p.shape[0] == y.shape[1])
        y = y if z is None else self.b.dot([(y, z)])
        return self.b.view(y, TURN, y.shape[::-1])

    def total(self, x):
        return self.b.reduce("add", x, (int(self.rng.integers(len(x.shape))),))

    def padded(self, x):
        order = [int(d) for d in self.rng.permutation(len(x.shape))]
        low, high, step = self.rng.integers(0, 3, 2).tolist() + [int(self.rng.choice([1, 1, 2]))]
        shape = [low + step * max(x.shape[d] - 1, 0) + 1 + high for d in order]
        index = tuple([(low, ((d, step),)) for d in order])
        return self.b.pad(x, index, tuple(shape), float(self.rng.choice([0.0, 0.0, -0.0, 1.0])))

    def times(self, x):
        z = self.pick(lambda p: len(p.shape) == len(x.shape) == 2 and p.shape[0] == x.shape[1])
        return None if z is None else self.b.dot([(x, z)])

    def repeated(self, _):
        v = self.pick(lambda p: len(p.shape) == 1 and p.dtype.kind == "f")
        axis, n = int(self.rng.integers(2)), int(self.rng.integers(1, 6))
        shape = (v.shape[0], n) if axis == 0 else (n, v.shape[0])
        return self.b.view(v, ((0, ((axis, 1),)),), shape)


@quiet
def test_no_value_changes_but_for_nobody():
    """NaN, infinities and the sign of each zero are what they were."""
    with np.errstate(all="ignore"):
        for seed in range(150):
            drawn = Drawn([seed, 3])
            program = drawn.b.program
            after = refined(simplified(program, stabilise=False), stabilise=False)
            for got, want in zip(after(*drawn.args), program(*drawn.args), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-12, atol=0, err_msg=str(seed))
                np.testing.assert_array_equal(np.signbit(got)[want == 0],
                                              np.signbit(want)[want == 0], err_msg=str(seed))


@quiet
def test_machine_code_of_what_is_left():
    with np.errstate(all="ignore"):
        for seed in range(12):
            drawn = Drawn([seed, 4])
            program = drawn.b.program
            after = refined(simplified(program, stabilise=False), stabilise=False)
            found = Compiled(after, checked=True)(*drawn.args)
            for got, want in zip(found, program(*drawn.args), strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12, err_msg=str(seed))


def summed(b, x):
    """Minus a sum, of terms to which 0 is added."""
    zeros = b.view(b.const(np.float64(0)), (), x.shape)
    return b.reduce("add", b.elementwise("negative", b.elementwise("add", x, zeros)), (0,))


def test_a_program_without_such_values_is_the_same():
    program = simplified(built(lambda b, x: b.elementwise("exp", x), np.ones(3)))
    assert refined(program) is program


def test_bodies_of_loops_are_refined():
    b = ProgramBuilder()
    carry, x = (b.input(aval(shape, np.dtype(float))) for shape in ((), (4,)))
    b.program.outputs = [b.elementwise("add", carry, summed(b, x)).number]

    def write(o, first, rows):
        return o.item(o.loop(b.program, 3, [first], [rows]), 0)
    args = np.float64(1.0), np.arange(12.0).reshape(3, 4)
    program = simplified(built(write, *args))
    after = refined(program)
    loop, = (s for s in after.statements if s.name == "loop")
    before, = (s for s in program.statements if s.name == "loop")
    assert len(loop.parameters[0].live()) < len(before.parameters[0].live())
    np.testing.assert_array_equal(after(*args), program(*args))


@pytest.mark.parametrize("reader", ["sum", "output", "quotient"])
def test_who_reads_decides_whether_the_sign_of_a_zero_matters(reader):
    def write(b, x):
        y = b.elementwise("add", x, b.view(b.const(np.float64(0)), (), x.shape))
        one = b.view(b.const(np.float64(1)), (), x.shape)
        z = b.elementwise("divide", one, y) if reader == "quotient" else (
            b.elementwise("negative", y))
        return z if reader == "output" else b.reduce("add", z, (0,))
    x = np.array([-0.0, 1.0])
    program = simplified(built(write, x))
    after = refined(program)
    assert (after is program) == (reader != "sum")
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.signbit(after(x)[0]), np.signbit(program(x)[0]))
        np.testing.assert_array_equal(after(x)[0], program(x)[0])


def test_a_view_of_fewer_axes_is_no_permutation():
    """What drops an axis of size one has an entry more in its index than in its shape."""
    x = np.arange(6.0).reshape(2, 3, 1)
    b = ProgramBuilder()
    y = b.elementwise("tanh", b.input(aval_of(x)))
    b.program.outputs = [b.view(y, ((0, ((1, 1),)), (0, ((0, 1),)), (0, ())), (3, 2)).number]
    np.testing.assert_array_equal(refined(simplified(b.program))(x)[0], np.tanh(x)[:, :, 0].T)
