"""The public functions that change shapes, against NumPy, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).normal(size=(2, 3, 4))
CALLS = {
    "reshape": [((6, 4),), ((-1,),), ((4, -1),), ((2, 3, 4),), ((1, 24, 1),)],
    "transpose": [(), ((1, 0, 2),), ((-1, 0, 1),), (None,)],
    "swapaxes": [(0, 1), (-1, 0), (1, 1)],
    "moveaxis": [(0, -1), ((0, 1), (-1, 0)), (-1, 0), ((0, 2), (2, 0))],
    "ravel": [()],
    "expand_dims": [(0,), (-1,), ((0, -1),), ((0, 2),), (3,)],
    "flip": [(), (0,), (-1,), ((0, 2),)],
    "broadcast_to": [((2, 3, 4),), ((5, 2, 3, 4),)],
    "pad": [(1,), ((1, 2),), (((0, 1), (2, 0), (1, 1)),), (((1, 0),),)],
}


@pytest.mark.parametrize(
    "name, args", [(n, a) for n, calls in CALLS.items() for a in calls], ids=str)
def test_against_numpy(name, args):
    def f(x):
        return getattr(ad, name)(x, *args)
    expected = getattr(np, name)(X, *args)
    np.testing.assert_array_equal(f(X), expected)
    np.testing.assert_array_equal(getattr(np, name)(ad.tensor(X), *args).numpy(), expected)
    # All of these are linear, and each element of the result is one of x or a constant.
    w = np.random.default_rng(1).normal(size=expected.shape)
    (g,) = ad.vjp(f, X)[1](w)
    assert g.shape == X.shape
    np.testing.assert_allclose((g * X).sum(), (w * expected).sum())
    np.testing.assert_array_equal(ad.jvp(f, (X,), (X,))[1], expected)


@pytest.mark.parametrize("mode", ["edge", "reflect", "symmetric", "wrap"])
@pytest.mark.parametrize("width", [1, (2, 1), ((0, 1), (2, 2), (1, 0)), 0])
def test_pad_with_own_elements(mode, width):
    x = X[:, :, :3]
    width = ((0, 1), (1, 1), (1, 0)) if mode == "reflect" and width == (2, 1) else width
    expected = np.pad(x, width, mode=mode)
    np.testing.assert_array_equal(ad.pad(x, width, mode=mode), expected)
    (g,) = ad.vjp(lambda x: ad.pad(x, width, mode=mode), x)[1](np.ones(expected.shape))
    assert g.sum() == expected.size


@pytest.mark.parametrize("constants", [
    2.0, 0, (1.0, 2.0), ((1.0, 2.0),), ((1.0, 2.0), (3.0, 4.0)), ((5.0,), (6.0,)), np.float64(3.0)],
    ids=str)
def test_pad_with_constants(constants):
    x, width = X[0], ((1, 2), (2, 1))
    expected = np.pad(x, width, constant_values=constants)
    y = ad.pad(x, width, constant_values=constants)
    np.testing.assert_array_equal(y, expected)
    assert y.dtype == expected.dtype
    (g,) = ad.vjp(lambda x: ad.pad(x, width, constant_values=constants), x)[1](
        np.arange(float(expected.size)).reshape(expected.shape))
    np.testing.assert_array_equal(
        g, np.arange(float(expected.size)).reshape(expected.shape)[1:-2, 2:-1])


def test_pad_keeps_the_dtype():
    assert ad.pad(np.ones(2, np.float32), 1, constant_values=2.0).dtype == np.float32
    np.testing.assert_array_equal(ad.pad(np.arange(3), 1, constant_values=7), [7, 0, 1, 2, 7])


def test_pad_with_a_tracked_constant():
    g = ad.grad(lambda c: ad.pad(np.ones(2), (1, 2), constant_values=c).sum())(5.0)
    assert g == 3.0


@pytest.mark.parametrize("arrays, axis", [
    ([X, X], 0), ([X, X[:, :1]], 1), ([X, X, X], -1), ([X, X], None), ([X[0, 0]], 0)])
def test_concatenate(arrays, axis):
    expected = np.concatenate(arrays, axis=axis)
    np.testing.assert_array_equal(ad.concatenate(arrays, axis=axis), expected)
    pull = ad.vjp(lambda *xs: ad.concatenate(xs, axis=axis), *arrays)[1]
    for g, x in zip(pull(np.ones(expected.shape)), arrays, strict=True):
        np.testing.assert_array_equal(g, np.ones(x.shape))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_stack(axis):
    xs = [X[0], X[1], X[0] * 2.0]
    np.testing.assert_array_equal(ad.stack(xs, axis), np.stack(xs, axis))


def test_concatenate_mixes_dtypes():
    x, i = np.ones(2, np.float32), np.arange(2)
    y, dy = ad.jvp(lambda x: ad.concatenate([x, i]), (x,), (x,))
    assert y.dtype == dy.dtype == np.concatenate([x, i]).dtype
    y, dy = ad.jvp(lambda x: ad.concatenate([x, x * 2]), (x,), (x,))
    assert y.dtype == dy.dtype == np.float32


def test_squeeze():
    x = X[:1, :, :1]
    for axis in (None, 0, -1, (0, 2)):
        np.testing.assert_array_equal(ad.squeeze(x, axis), np.squeeze(x, axis))
    assert ad.grad(lambda x: ad.squeeze(x).sum())(x).shape == x.shape


def test_unbroadcast():
    np.testing.assert_array_equal(ad.unbroadcast(X, (3, 1)), X.sum((0, 2))[:, None])
    np.testing.assert_array_equal(ad.unbroadcast(X, (3, 4), to_keep=2), X.sum(0))
    assert ad.unbroadcast(X, ()) == pytest.approx(X.sum())
    with pytest.raises(ShapeError, match=r"\(2, 3, 4\) is not what broadcasting makes of \(2,\)"):
        ad.unbroadcast(X, (2,))


REFUSED = [
    (lambda: ad.reshape(X, (5, 5)), ShapeError,
     r"\(2, 3, 4\) has 24 elements and cannot become \(5, 5\)"),
    (lambda: ad.reshape(X, (-1, 5)), ShapeError, "cannot become"),
    (lambda: ad.reshape(X, (-1, -1)), ShapeError, "one size may be -1|cannot become"),
    (lambda: ad.reshape(X, (-2, -12)), ShapeError, "cannot become"),
    (lambda: ad.reshape(X, (2.5, 4)), ArgumentError, "a shape is made of integers"),
    (lambda: ad.reshape(X, "abc"), ArgumentError, "a shape is made of integers"),
    (lambda: ad.transpose(X, (0, 1)), ShapeError, "not an order of 3 axes"),
    (lambda: ad.transpose(X, (0, 0, 1)), ShapeError, "not an order of 3 axes"),
    (lambda: ad.transpose(X, (0, 1, 3)), ShapeError, "axis 3 does not exist"),
    (lambda: ad.swapaxes(X, 0, 3), ShapeError, "axis 3 does not exist"),
    (lambda: ad.moveaxis(X, (0, 1), 0), ArgumentError, "as many axes"),
    (lambda: ad.moveaxis(X, (0, 0), (1, 2)), ShapeError, "twice"),
    (lambda: ad.expand_dims(X, 5), ShapeError, "axis 5 does not exist"),
    (lambda: ad.expand_dims(X, (0, 0)), ShapeError, "twice"),
    (lambda: ad.squeeze(X, 0), ShapeError, "axis 0 has size 2, not 1"),
    (lambda: ad.flip(X, 3), ShapeError, "axis 3 does not exist"),
    (lambda: ad.broadcast_to(X, (3,)), ShapeError, r"\(2, 3, 4\) does not broadcast to \(3,\)"),
    (lambda: ad.broadcast_to(ad.tensor(X, requires_grad=True), (2, 3, 5)), ShapeError,
     "does not broadcast"),
    (lambda: ad.concatenate([]), ArgumentError, "at least one"),
    (lambda: ad.concatenate([1.0, 2.0]), ShapeError, "use stack"),
    (lambda: ad.concatenate([X, X[0]]), ShapeError, r"\(2, 3, 4\), \(3, 4\)"),
    (lambda: ad.concatenate([X, X[:, :2]]), ShapeError, "differ elsewhere than along axis 0"),
    (lambda: ad.concatenate([X, X], axis=3), ShapeError, "axis 3 does not exist"),
    (lambda: ad.stack([]), ArgumentError, "at least one"),
    (lambda: ad.stack([X, X[0]]), ShapeError, "all must be equal"),
    (lambda: ad.pad(X, ((1, 2), (3, 4))), ShapeError, "pad_width"),
    (lambda: ad.pad(X, -1), ShapeError, "negative"),
    (lambda: ad.pad(X, 1.5), ArgumentError, "integers"),
    (lambda: ad.pad(X, 1, mode="median"), ArgumentError, "no mode 'median'"),
    (lambda: ad.pad(X, 1, constant_values=(1.0, 2.0, 3.0)), ShapeError, "constant_values"),
]


@pytest.mark.parametrize("call, error, message", REFUSED)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
