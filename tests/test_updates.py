"""``x.at[key]``: the arrays of NumPy's ufunc.at, their gradients, compiled too."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, DTypeError, EscapeError, ShapeError

X = np.arange(12.0).reshape(3, 4) + 0.5
KEYS = {
    "one": (1, 2), "row": 1, "slice": np.s_[::2, 1:], "negative step": np.s_[::-1, -2],
    "mask": X > 5.0, "integers": np.array([2, 0]), "pairs": (np.array([0, 1]), np.array([3, -1])),
    "twice": np.array([1, 0, 1, 1]), "pairs twice": (np.array([0, 0, 2]), np.array([1, 1, -1])),
    "new axis": np.s_[None, 0], "list": ([0, 0],), "nothing": np.array([], int)}
WAYS = {"set": None, "add": np.add, "multiply": np.multiply, "mul": np.multiply,
        "min": np.minimum, "max": np.maximum}


def expected(key, way, v):
    y = X.copy()
    if way == "set":
        y[key] = v
    else:
        WAYS[way].at(y, key, v)
    return y


def values(key):
    return np.random.default_rng(0).normal(size=X[key].shape) * 6.0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("key", KEYS)
def test_as_ufuncs_at(key, way):
    key = KEYS[key]
    v = values(key)

    def change(x, v):
        return getattr(x.at[key], way)(v)
    for given in (v, 3.0):
        np.testing.assert_allclose(change(ad.tensor(X), given).numpy(), expected(key, way, given))
        np.testing.assert_allclose(ad.jit(change)(X, given), expected(key, way, given))
    assert ad.check(change, X, v)
    np.testing.assert_allclose(ad.tensor(X).at[key].get().numpy(), X[key])


def test_the_array_itself_stays():
    x = ad.tensor([1.0, 2.0])
    y = x.at[0].add(1.0)
    np.testing.assert_array_equal(x.numpy(), [1.0, 2.0])
    np.testing.assert_array_equal(y.numpy(), [2.0, 2.0])


def test_in_a_loop_and_in_a_batch():
    def f(x):
        return ad.fori_loop(0, 3, lambda i, c: c.at[i].add(i * 2.0), x)
    np.testing.assert_allclose(ad.jit(f)(np.zeros(3)), [0.0, 2.0, 4.0])
    np.testing.assert_allclose(ad.vmap(lambda x: x.at[1].max(0.0))(X - 6.0)[:, 1],
                               np.maximum(X - 6.0, 0.0)[:, 1])


@pytest.mark.parametrize(("do", "error", "message"), [
    (lambda x: x.at.set(1.0), ArgumentError, "which places"),
    (lambda x: x.at[0].add(np.zeros(3)), ShapeError, "does not broadcast"),
    (lambda x: x.at[0].add(1j), DTypeError, "does not fit"),
    (lambda x: ad.jit(lambda x, i: x.at[i].max(0.0))(x, np.array([0, 1])), EscapeError,
     "not known while")])
def test_what_cannot_be(do, error, message):
    with pytest.raises(error, match=message):
        do(ad.tensor([1.0, 2.0]))
