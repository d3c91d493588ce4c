"""The public reductions: axes, keepdims and PyTorch's names against NumPy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

import adjoint as ad
from adjoint.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(size=(2, 3, 4))
AXES = (None, 0, 1, -1, -3, (0,), (0, 2), (2, 0), (-1, 0), (0, 1, 2), (), [0, 1])
NAMES = ("sum", "mean", "prod", "max", "min", "all", "any")
DIFFERENTIABLE = ("sum", "mean", "prod", "max", "min", "logsumexp")
FUNCTIONS = {"logsumexp": special.logsumexp}


def reference(name, x, axis, keepdims):
    axis = tuple(axis) if isinstance(axis, list) else axis
    if name == "logsumexp" and axis == ():
        return x
    return FUNCTIONS.get(name, getattr(np, name, None))(x, axis=axis, keepdims=keepdims)


def slope(f, x, dx, h=1e-4):
    return (f(x + h * dx) - f(x - h * dx)) / (2 * h)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", [*NAMES, "logsumexp"])
def test_values(name, axis, keepdims):
    x = X > 0 if name in ("all", "any") else X
    f, expected = getattr(ad, name), reference(name, x, axis, keepdims)
    for y in (f(x, axis=axis, keepdims=keepdims), f(x, dim=axis, keepdims=keepdims),
              f(ad.tensor(x), axis, keepdims=keepdims).numpy()):
        assert np.shape(y) == np.shape(expected)
        assert np.asarray(y).dtype == np.asarray(expected).dtype
        np.testing.assert_allclose(y, expected, rtol=1e-13)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_derivatives(name, axis, keepdims):
    def f(x):
        return getattr(ad, name)(x, axis=axis, keepdims=keepdims)
    rng = np.random.default_rng(1)
    dx, w = rng.normal(size=X.shape), rng.normal(size=np.shape(f(X)))
    dy = ad.jvp(f, (X,), (dx,))[1]
    np.testing.assert_allclose(dy, slope(f, X, dx), rtol=1e-6, atol=1e-8)
    (g,) = ad.vjp(f, X)[1](w)
    np.testing.assert_allclose((g * dx).sum(), (w * dy).sum(), rtol=1e-10)


@pytest.mark.parametrize("axis", [0, 1, -1, None, (0, 2)], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name, axis):
    def f(x):
        return getattr(ad, name)(x, axis=axis)
    np.testing.assert_allclose(f(X), getattr(special, name)(X, axis=axis), rtol=1e-12)
    rng = np.random.default_rng(1)
    dx, w = rng.normal(size=X.shape), rng.normal(size=X.shape)
    dy = ad.jvp(f, (X,), (dx,))[1]
    np.testing.assert_allclose(dy, slope(f, X, dx), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose((ad.vjp(f, X)[1](w)[0] * dx).sum(), (w * dy).sum(), rtol=1e-10)
    if axis is not None:
        np.testing.assert_array_equal(getattr(ad, name)(X, dim=axis), f(X))


def test_softmax_takes_the_last_axis():
    np.testing.assert_allclose(ad.softmax(X).sum(-1), np.ones((2, 3)))
    np.testing.assert_array_equal(ad.softmax([0, 0]), [0.5, 0.5])
    np.testing.assert_array_equal(ad.log_softmax(np.array([0.0, 1000.0])), [-1000.0, 0.0])


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions(name, axis, keepdims):
    expected = getattr(np, name)(X, axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(getattr(ad, name)(X, axis=axis, keepdims=keepdims), expected)
    y = getattr(ad.tensor(X, requires_grad=True), name)(axis, keepdims=keepdims)
    assert not y.requires_grad
    np.testing.assert_array_equal(y.numpy(), expected)


def test_pytorchs_names():
    x = ad.tensor(X)
    np.testing.assert_array_equal(x.sum(dim=1, keepdim=True).numpy(), X.sum(1, keepdims=True))
    np.testing.assert_array_equal(x.mean(dim=(0, -1)).numpy(), X.mean((0, -1)))
    np.testing.assert_array_equal(ad.argmax(X, dim=1), X.argmax(1))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("name", NAMES)
def test_dtypes(name, dtype):
    x = np.array([[1, 0, 1], [1, 1, 1]], dtype)
    got, expected = getattr(ad, name)(x, axis=0), getattr(np, name)(x, axis=0)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected)


def test_dtype_is_an_argument():
    x = np.ones(3, np.float32)
    assert ad.sum(x, dtype=np.float64).dtype == np.float64
    assert ad.grad(lambda x: ad.mean(x, dtype=np.float64))(x).dtype == np.float32


def test_numpys_functions_arrive_here():
    x = ad.tensor(X, requires_grad=True)
    for y in (np.sum(x), np.add.reduce(x, axis=None), x.sum()):
        assert y.requires_grad
        assert y.item() == X.sum()
    np.testing.assert_array_equal(np.max(x, axis=(0, 1), keepdims=True).detach().numpy(),
                                  X.max((0, 1), keepdims=True))


@pytest.mark.parametrize("name", [*NAMES, "logsumexp", "argmax", "softmax"])
@pytest.mark.parametrize("axis, error, message", [
    (3, ShapeError, "axis 3 does not exist; the array has 3 axes, 0 to 2"),
    (-4, ShapeError, "axis -4 does not exist"),
    (1.0, ArgumentError, "axis"),
    ("rows", ArgumentError, "axis"),
    (True, ArgumentError, "axis must be an integer, not True"),
])
def test_axes_that_do_not_exist(name, axis, error, message):
    with pytest.raises(error, match=message):
        getattr(ad, name)(X, axis=axis)


@pytest.mark.parametrize("name", [*NAMES, "logsumexp", "softmax"])
def test_an_axis_twice(name):
    for axis in ((0, 0), (0, -3)):
        with pytest.raises(ShapeError, match="twice"):
            getattr(ad, name)(X, axis=axis)
    with pytest.raises(ShapeError, match="axis 5"):
        getattr(ad, name)(X, axis=(0, 5))


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin", "logsumexp", "softmax",
                                  "log_softmax"])
def test_the_extreme_of_nothing(name):
    x = np.zeros((0, 3))
    with pytest.raises(ShapeError, match=r"shape \(0, 3\)"):
        getattr(ad, name)(x, axis=0)
    assert np.shape(getattr(ad, name)(x, axis=1)) in ((0,), (0, 3))


def test_0d_has_no_axis():
    with pytest.raises(ShapeError, match="axis 0 does not exist"):
        ad.sum(np.float64(1.0), axis=0)
    assert ad.sum(np.float64(1.0), axis=()) == 1.0


@pytest.mark.parametrize("f", [
    np.sum, np.prod, np.cumsum, np.cumprod, np.add.reduce, np.multiply.reduce, np.add.accumulate,
    np.multiply.accumulate])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, bool, np.float32, np.int64, float])
def test_the_dtype_that_is_asked_for(f, dtype):
    for x in (np.array([100, 100, 27], np.int8), np.array([3, 0, 200]), np.array([1, 1], bool)):
        for got in (f(ad.tensor(x), dtype=dtype), ad.jit(lambda x: f(x, dtype=dtype))(x)):
            expected = f(x, dtype=dtype)
            assert got.dtype == expected.dtype
            np.testing.assert_array_equal(np.asarray(got), expected)


def test_a_trace_counts_truths():
    for x in (np.ones((3, 3), bool), np.full((2, 2), 100, np.int8), np.ones((2, 3), np.uint16)):
        for got in (np.trace(ad.tensor(x)), ad.jit(np.trace)(x), ad.trace(x)):
            assert got.dtype == np.trace(x).dtype
            assert int(np.asarray(got)) == np.trace(x)
