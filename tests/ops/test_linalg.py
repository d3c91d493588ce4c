"""Products of matrices and tensors, against NumPy, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
SUBSCRIPTS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ij", (2, 3)), ("ji", (2, 3)),
    ("ii", (3, 3)), ("ii->i", (3, 3)), ("iii->i", (3, 3, 3)), ("iij->ij", (3, 3, 2)),
    ("iijj->ij", (3, 3, 2, 2)), ("iijj->", (3, 3, 2, 2)), ("ijij->ji", (2, 3, 2, 3)),
    ("iji->j", (2, 3, 2)), ("ij->", (2, 3)), ("ij->ji", (2, 3)),
    ("...j,jk->...k", (2, 3), (3, 4)), ("...j,jk->...k", (5, 2, 3), (3, 4)),
    ("...ij,...jk", (5, 2, 3), (3, 4)), ("...i->...", (2, 3)),
    ("i...,i...->...", (2, 3), (2, 3)), ("...,...", (2, 3), (3,)), ("...ii->...", (2, 3, 3)),
    ("i,j,k->ijk", (2,), (3,), (4,)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("i,i,i->", (3,), (3,), (3,)), ("ij,ij->ij", (1, 3), (2, 3)), ("ij,ij->i", (2, 3), (2, 1)),
    ("i,i->", (3,), (1,)), ("i,i->i", (1,), (3,)), (" i j , j k -> i k ", (2, 3), (3, 4)),
    (",->", (), ()), ("i,->i", (3,), ()), ("ab,AB->aB", (2, 3), (2, 4)),
    ("ij,ii->j", (3, 2), (3, 3))]


def draw(shapes):
    return [np.asarray(RNG.normal(size=s))[()] for s in shapes]


@pytest.mark.parametrize("text, shapes", [(t, s) for t, *s in SUBSCRIPTS], ids=str)
def test_einsum(text, shapes):
    xs = draw(shapes)

    def f(*xs):
        return ad.einsum(text, *xs)
    expected = np.einsum(text, *xs)
    np.testing.assert_allclose(f(*xs), expected, atol=1e-14)
    np.testing.assert_allclose(np.einsum(text, *map(ad.tensor, xs)).numpy(), expected, atol=1e-14)
    dxs, w = draw(shapes), RNG.normal(size=expected.shape)
    dy = ad.jvp(f, tuple(xs), tuple(dxs))[1]
    h = 1e-5
    moved = [f(*[x + s * h * dx for x, dx in zip(xs, dxs, strict=True)]) for s in (1, -1)]
    np.testing.assert_allclose(dy, (moved[0] - moved[1]) / (2 * h), rtol=1e-7, atol=1e-7)
    parts = ad.vjp(f, *xs)[1](w[()])
    assert [p.shape for p in parts] == [np.shape(x) for x in xs]
    total = sum((p * dx).sum() for p, dx in zip(parts, dxs, strict=True))
    np.testing.assert_allclose(total, (w * dy).sum(), rtol=1e-9, atol=1e-12)


def test_einsum_keeps_float32():
    x = np.ones((3, 3), np.float32)
    assert ad.einsum("ii->i", x).dtype == np.float32
    assert ad.grad(lambda x: ad.einsum("ii->i", x).sum())(x).dtype == np.float32


MATRICES = [((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)),
            ((5, 2, 3), (5, 3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
            ((1, 2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)),
            ((2, 1, 2, 3), (3, 3, 1)), ((1, 3), (3,)), ((3,), (3, 1))]


@pytest.mark.parametrize("a, b", MATRICES, ids=str)
@pytest.mark.parametrize("name", ["matmul", "dot", "inner", "outer", "tensordot"])
def test_products(name, a, b):
    x, z = draw((a, b))
    if name == "inner":
        z = np.swapaxes(z, -1, -2) if z.ndim > 1 else z
    try:
        expected = getattr(np, name)(x, z, **({"axes": 1} if name == "tensordot" else {}))
    except ValueError:
        params = {"axes": 1} if name == "tensordot" else {}
        with pytest.raises(ShapeError):
            getattr(ad, name)(x, z, **params)
        return

    def f(x, z):
        return getattr(ad, name)(x, z, **({"axes": 1} if name == "tensordot" else {}))
    np.testing.assert_allclose(f(x, z), expected, atol=1e-14)
    dx, dz = draw((x.shape, z.shape))
    dy = ad.jvp(f, (x, z), (dx, dz))[1]
    exact = f(dx, z) + f(x, dz)
    np.testing.assert_allclose(dy, exact, atol=1e-13)
    w = np.asarray(RNG.normal(size=np.shape(expected)))[()]
    gx, gz = ad.vjp(f, x, z)[1](w)
    np.testing.assert_allclose((gx * dx).sum() + (gz * dz).sum(), (w * exact).sum(), rtol=1e-9)


@pytest.mark.parametrize("params", [
    {}, {"offset": 1}, {"offset": -2}, {"offset": 9}, {"axis1": 1, "axis2": 2},
    {"axis1": -1, "axis2": 0}], ids=str)
def test_trace(params):
    x = RNG.normal(size=(3, 4, 5))
    expected = np.trace(x, **params)
    np.testing.assert_allclose(ad.trace(x, **params), expected)
    (g,) = ad.vjp(lambda x: ad.trace(x, **params), x)[1](np.ones(np.shape(expected)))
    np.testing.assert_allclose((g * x).sum(), np.sum(expected), atol=1e-12)


REFUSED = [
    (lambda: ad.matmul(np.ones((2, 3)), np.ones((4, 3))), ShapeError,
     r"\(2, 3\) and \(4, 3\) do not fit: 3 columns meet 4 rows"),
    (lambda: ad.matmul(2.0, np.ones((3, 3))),
     ShapeError, r"a 0-d value is not a matrix; use x \* z"),
    (lambda: ad.matmul(np.ones((2, 2, 3)), np.ones((3, 3, 4))), ShapeError, "batch axes"),
    (lambda: ad.tensor(np.ones((2, 3))) @ np.ones(2), ShapeError, "3 columns meet 2 rows"),
    (lambda: ad.tensor(np.ones((2, 3)), requires_grad=True) @ ad.tensor(np.ones((2, 3))),
     ShapeError, r"x\.mT"),
    (lambda: np.ones((2, 3)) @ ad.tensor(np.ones((2, 3)), requires_grad=True), ShapeError,
     "do not fit"),
    (lambda: ad.dot(np.ones((2, 3)), np.ones(2)), ShapeError, "do not fit"),
    (lambda: ad.dot(np.ones((2, 2, 3)), np.ones((2, 2))), ShapeError, r"\(2, 2, 3\), \(2, 2\)"),
    (lambda: ad.inner(np.ones(2), np.ones(3)), ShapeError, r"\(2,\), \(3,\)"),
    (lambda: ad.tensordot(np.ones((2, 3)), np.ones((2, 3)), 1), ShapeError, "size"),
    (lambda: ad.tensordot(np.ones((2, 3)), np.ones((2, 3)), 3), ShapeError, "axes"),
    (lambda: ad.tensordot(np.ones((2, 3)), np.ones(3), ((0, 1), (0,))),
     ArgumentError, "as many axes"),
    (lambda: ad.tensordot(np.ones((2, 3)), np.ones(3), (5, 0)),
     ShapeError, "axis 5 does not exist"),
    (lambda: ad.tensordot(np.ones((2, 2)), np.ones((2, 2)), ((0, 0), (0, 1))), ShapeError, "twice"),
    (lambda: ad.trace(np.ones(3)), ShapeError, "two axes"),
    (lambda: ad.trace(np.ones((3, 3)), axis1=0, axis2=0), ShapeError, "twice"),
    (lambda: ad.einsum("ij,jk->ik", np.ones((2, 3)), np.ones((4, 2))), ShapeError,
     r"'j' in 'ij,jk->ik' has size 3 and 4; the shapes are \(2, 3\), \(4, 2\)"),
    (lambda: ad.einsum("ij,jk->ik", np.ones((2, 3))),
     ArgumentError, "names 2 operands, and 1 were given"),
    (lambda: ad.einsum("ijk->i", np.ones((2, 3))), ShapeError, "an operand with 2 axes"),
    (lambda: ad.einsum("i->i", np.ones((2, 3))), ShapeError, "an operand with 2 axes"),
    (lambda: ad.einsum("ij->ik", np.ones((2, 3))), ArgumentError, "no operand has"),
    (lambda: ad.einsum("ij->ii", np.ones((2, 2))), ArgumentError, "repeats a letter"),
    (lambda: ad.einsum("i1->i", np.ones((2, 2))), ArgumentError, "letters"),
    (lambda: ad.einsum("ij->i->j", np.ones((2, 2))), ArgumentError, "letters|->"),
    (lambda: ad.einsum("...i...->i", np.ones((2, 2))), ArgumentError, r"\.\.\."),
    (lambda: ad.einsum("i..->i", np.ones((2, 2))), ArgumentError, "letters"),
    (lambda: ad.einsum("ii->i", np.ones((1, 3))), ShapeError, "'i'"),
    (lambda: ad.einsum(np.ones((2, 2)), [0, 1]), ArgumentError, "string"),
    (lambda: ad.einsum("...i->i", np.ones((2, 2))), ArgumentError, "write it in the result too"),
]


@pytest.mark.parametrize("call, error, message", REFUSED)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
