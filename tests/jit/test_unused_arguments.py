"""Arguments that no machine code reads: of another shape, dtype or class they are another call."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, UnusedInputError

X = np.arange(4.0).reshape(2, 2)
SHAPES = {
    "argument": (lambda x, y: x * y.shape[0], lambda y: (X, y)),
    "list": (lambda given: given[0] * len(given[1]), lambda y: ([X, y],)),
    "dict": (lambda given: given["x"] * len(given["y"]), lambda y: ({"x": X, "y": y},)),
    "constant": (lambda y: np.ones(y.shape) * 2.0, lambda y: (y,)),
    "slope": (ad.grad(lambda y: (y * 1.5).sum()), lambda y: (y,)),
    "size": (lambda y: float(y.size), lambda y: (y,))}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_dtypes_are_asked_of_what_is_not_read(name):
    f, given = SHAPES[name]
    compiled = ad.jit(f)
    for y in [np.ones(3)] * 4 + [np.ones(5), np.ones((1, 2)), np.ones(3, np.float32), np.ones(3)]:
        found, expected = compiled(*given(y)), f(*given(y))
        assert np.shape(found) == np.shape(expected)
        assert np.asarray(found).dtype == np.asarray(expected).dtype
        np.testing.assert_array_equal(found, expected)


def test_what_is_no_array_is_refused_at_each_call():
    f = ad.jit(ad.grad(lambda x: x.sum()))
    for _ in range(4):
        f(X)
    with pytest.raises(ArgumentError, match="no number and no"):
        f("text")
    assert isinstance(f(ad.tensor(X)), ad.Tensor)


def test_nothing_depends_on_them_in_transformations():
    f = ad.jit(lambda x, y: x.sum() * len(y))
    for _ in range(4):
        f(X, X)
    np.testing.assert_array_equal(ad.grad(f, 1)(X, X), np.zeros_like(X))
    with pytest.raises(UnusedInputError):
        ad.grad(f, 1, on_unused="error")(X, X)
    np.testing.assert_array_equal(ad.vmap(f, in_axes=(None, 0))(X, X), [12.0, 12.0])


def test_donated_and_not_read():
    f = ad.jit(lambda x, y: x * 2.0, donate_argnums=1)
    for _ in range(4):
        y = np.ones((2, 2))
        np.testing.assert_array_equal(f(X, y), X * 2.0)
    np.testing.assert_array_equal(X, np.arange(4.0).reshape(2, 2))
    np.testing.assert_array_equal(f(X, np.ones(3)), X * 2.0)
