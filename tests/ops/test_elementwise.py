"""Elementwise functions: shapes that do not broadcast are one error, on every way in."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.primitive import PUBLIC, REGISTRY
from adjoint.errors import ShapeError

BINARY = [name for name, row in REGISTRY.items()
          if row.elementwise and not name.startswith("bitwise")  # of integers alone
          and len(next(iter(row.cases(np.random.default_rng(0)))).args) == 2]
X, Z = np.ones((2, 3)) * 0.5, np.ones(2)


@pytest.mark.parametrize("name", BINARY)
def test_shapes_that_do_not_broadcast(name):
    f = PUBLIC[name]
    x, z = ad.tensor(X, requires_grad=True), ad.tensor(Z, requires_grad=True)
    pairs = [(x, z), (x, Z), (X, z), (X, Z)]
    for a, b in pairs:
        with pytest.raises(ShapeError, match=r"the shapes \(2, 3\) and \(2,\) do not broadcast"):
            f(a, b)
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2,\)"):
        ad.grad(lambda x: f(x, Z).sum())(X)
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2,\)"):
        ad.jvp(lambda x: f(x, Z), (X,), (X,))
    with pytest.raises(ShapeError, match=r"do not broadcast"):
        ad.vmap(lambda x: f(x, Z))(np.stack([X, X]))


@pytest.mark.parametrize("f", [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.mod,
    operator.floordiv, operator.lt, operator.eq])
def test_operators(f):
    x = ad.tensor(X, requires_grad=True)
    for a, b in ((x, Z), (X, ad.tensor(Z)), (x, ad.tensor(Z))):
        with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2,\)"):
            f(a, b)


def test_where():
    for args in ((X > 0, X, Z), (np.ones(4, bool), X, X), (X > 0, ad.tensor(X), Z)):
        with pytest.raises(ShapeError, match="where: the shapes"):
            ad.where(*args)
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2,\)"):
        ad.clip(ad.tensor(X), Z, None)


def test_where_needs_both():
    with pytest.raises(ad.errors.ArgumentError, match="both"):
        ad.where(X > 0, X)


@pytest.mark.parametrize("name", ["sin", "exp", "sqrt", "abs", "sigmoid", "relu"])
def test_kinds(name):
    """Arrays in, arrays out; numbers and lists too."""
    f = getattr(ad, name)
    assert f(0.5) == f(np.float64(0.5)) == f(np.array([0.5]))[0] == f([0.5])[0]
    assert isinstance(f(ad.tensor(0.5)), ad.Tensor)
