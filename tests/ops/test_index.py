"""Reading and writing by key, against NumPy, and what is no key."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import EscapeError, IndexingError, ShapeError

X = np.random.default_rng(0).normal(size=(3, 4, 5))
KEYS = [
    0, -1, np.int64(1), (0, 1), (0, 1, 2), (-1, -2, -3), slice(None), slice(1, None),
    slice(None, None, -1), slice(5, 1, -2), slice(2, 2), (slice(None), 1),
    (slice(0, 2), slice(1, 3)), ..., (..., 0), (0, ...), (0, ..., 1), None, (None, 0),
    (slice(None), None, 1), (..., None), (None, ..., None), (),
    [0, 2], [[0, 1], [2, 0]], [-1, 0], ([0, 1], [2, 3]), ([0, 1], slice(None), [1, 2]),
    (slice(None), [0, 1]), (slice(None), [0, 1], [2, 2]), (0, slice(None), [1, 2]),
    ([0, 1], 0, slice(1, 3)), (0, [1, 2]), ([[0], [1]], [0, 1, 2]), (..., [0, 1]),
    ([0, 1], ..., [0, 1]), ([0, 1], None, [1, 2]), (None, [0, 1]), (slice(None), None, [0, 1]),
    [], ([], 0), np.array([True, False, True]), X > 0.5, np.zeros((3, 4), bool),
    (slice(None), np.array([True, False, True, True])), (0, np.array([[True] * 5] * 4)),
    ([0, 1], np.array([True, False, True, False])), True, np.array(True), [True, False, True],
    np.array([0, 1], np.uint8), np.array([0, 1], np.int32), (np.array(1), 2)]


@pytest.mark.parametrize("key", KEYS, ids=lambda k: str(k)[:40].replace("\n", ""))
def test_read(key):
    expected = X[key]
    for y in (ad.getitem(X, key), ad.tensor(X, requires_grad=True)[key].detach().numpy()):
        np.testing.assert_array_equal(y, expected)
        assert np.shape(y) == expected.shape
    w = np.random.default_rng(1).normal(size=expected.shape)
    (g,) = ad.vjp(lambda x: x[key], X)[1](w)
    exact = np.zeros(X.shape)
    np.add.at(exact, key, w)
    np.testing.assert_allclose(g, exact)
    np.testing.assert_array_equal(ad.jvp(lambda x: x[key], (X,), (X * 2,))[1], expected * 2)
    many = ad.vmap(lambda x: x[key])(np.stack([X, X * 2, -X]))
    np.testing.assert_array_equal(many, np.stack([expected, expected * 2, -expected]))


@pytest.mark.parametrize("key", KEYS, ids=lambda k: str(k)[:40].replace("\n", ""))
def test_write(key):
    v = np.random.default_rng(1).normal(size=X[key].shape)
    expected = X.copy()
    expected[key] = v
    np.testing.assert_array_equal(ad.setitem(X, key, v), expected)
    w = np.random.default_rng(2).normal(size=X.shape)
    dx, dv = ad.vjp(lambda x, v: ad.setitem(x, key, v), X, v)[1](w)
    # Linear in both: <w, f(x, v)> = <dx, x> + <dv, v>.
    np.testing.assert_allclose((w * expected).sum(), (dx * X).sum() + (dv * v).sum())
    mask = np.ones(X.shape)
    mask[key] = 0.0
    np.testing.assert_array_equal(dx, w * mask)
    y = ad.tensor(X)
    y[key] = v
    np.testing.assert_array_equal(y.numpy(), expected)
    many = ad.vmap(lambda v: ad.setitem(X, key, v))(np.stack([v, v]))
    np.testing.assert_array_equal(many, np.stack([expected, expected]))


@pytest.mark.parametrize("value", [1.0, 2, np.ones(5), np.ones((1, 5)), np.ones((4, 1)), [1.0] * 5],
                         ids=str)
def test_a_value_broadcasts(value):
    expected = X.copy()
    expected[0] = value
    np.testing.assert_array_equal(ad.setitem(X, 0, value), expected)
    if isinstance(value, np.ndarray):
        g = ad.grad(lambda v: ad.setitem(X, 0, v).sum())(value)
        assert g.shape == value.shape
        np.testing.assert_array_equal(g, np.full(value.shape, 20 / value.size))


def test_the_last_of_several_writes_gets_the_gradient():
    v = np.array([1.0, 2.0, 3.0])
    f = ad.grad(lambda v: (ad.setitem(np.zeros(2), [0, 0, 1], v) * np.array([10.0, 20.0])).sum())
    np.testing.assert_array_equal(f(v), [0.0, 10.0, 20.0])
    many = ad.vmap(lambda i: ad.grad(lambda v: ad.setitem(np.zeros(2), i, v)[0])(v))
    np.testing.assert_array_equal(many(np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1]])),
                                  [[0, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_batched_indices():
    i, j = np.array([[0, 1], [2, 0]]), np.array([[3, 1], [0, 0]])
    keys = (lambda i, j: (i, j), lambda i, j: (i, slice(None), j), lambda i, j: (slice(None), i),
            lambda i, j: (i, 0), lambda i, j: (..., i), lambda i, j: (slice(1, 3), j, i))
    for key in keys:
        expected = np.stack([X[key(i[k], j[k])] for k in range(2)])
        many = ad.vmap(lambda i, j, key=key: ad.getitem(X, key(i, j)))(i, j)
        np.testing.assert_array_equal(many, expected)
        both = ad.vmap(lambda x, i, j, key=key: x[key(i, j)])(np.stack([X, X]), i, j)
        np.testing.assert_array_equal(both, expected)
        one = ad.vmap(lambda j, key=key: ad.getitem(X, key(i[0], j)))(j)
        np.testing.assert_array_equal(one, np.stack([X[key(i[0], j[k])] for k in range(2)]))


def test_a_mask_of_a_0d_array():
    assert ad.getitem(np.float64(2.0), np.True_).shape == (1,)
    with pytest.raises(IndexingError, match=r"write ad\.where"):
        ad.getitem(np.float64(2.0), np.False_)


def test_values_are_not_shared_with_the_index_given():
    i = np.array([0, 1])
    x = ad.tensor(np.arange(3.0), requires_grad=True)
    y = x[i].sum()
    i[:] = 2
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1, 0])


REFUSED = [
    (lambda x: x[5], IndexingError, r"5.*shape is \(3, 4, 5\)"),
    (lambda x: x[0, 0, 0, 0], IndexingError, "too many indices"),
    (lambda x: x[[0, 7]], IndexingError, "7"),
    (lambda x: x[1.0], IndexingError, "integer"),
    (lambda x: x["a"], IndexingError, "not 'a'"),
    (lambda x: x[[0.5]], IndexingError, "integer"),
    (lambda x: x[..., ...], IndexingError, "ellipsis"),
    (lambda x: x[[0, 1], [0, 1, 2]], IndexingError, "broadcast"),
    (lambda x: x[np.array([True, False])], IndexingError, r"mask of shape \(2,\) does not fit"),
    (lambda x: x[np.ones((3, 5), bool)], IndexingError, r"mask of shape \(3, 5\)"),
    (lambda x: x[..., np.ones(4, bool)], IndexingError,
     r"mask of shape \(4,\) does not fit the axes \(5,\)"),
    (lambda x: ad.setitem(x, 0, np.ones(3)), ShapeError,
     r"\(3,\) does not broadcast to the \(4, 5\)"),
    (lambda x: ad.setitem(x, 0, np.ones((2, 4, 5))), ShapeError, r"\(2, 4, 5\)"),
    (lambda x: ad.setitem(x, 9, 1.0), IndexingError, "9"),
    (lambda x: ad.setitem(x, [0, 9], 1.0), IndexingError, "9"),
]


@pytest.mark.parametrize("call, error, message", REFUSED)
def test_refused(call, error, message):
    for x in (X, ad.tensor(X, requires_grad=True)):
        with pytest.raises(error, match=message):
            call(x) if isinstance(x, ad.Tensor) else call(Array(x))


class Array:
    """An ndarray whose square brackets are ours."""

    def __init__(self, value):
        self.value = value

    def __getitem__(self, key):
        return ad.getitem(self.value, key)

    def __array__(self, dtype=None, copy=None):
        return self.value


def test_a_tracked_mask_or_bound():
    x = ad.tensor([1.0, -2.0, 3.0], requires_grad=True)
    np.testing.assert_array_equal(x[x > 0].detach().numpy(), [1.0, 3.0])
    with pytest.raises(IndexingError, match=r"write x\[i.astype\(int\)\]"):
        x[x]
    with pytest.raises(EscapeError, match="item"):
        x[: x[0]]
    with pytest.raises(EscapeError, match=r"ad\.where"):
        ad.vmap(lambda z: z[z > 0])(np.ones((2, 3)))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("value", [np.arange(1.0, 4.0), np.arange(1.0, 4.0)[::-1],
                                   np.arange(1.0, 7.0)[::-2]], ids=["ahead", "backward", "steps"])
@pytest.mark.parametrize("places", [
    np.zeros(3, int), np.broadcast_to(0, 3), np.zeros(3, int)[::-1]],
    ids=["zeros", "no strides", "backward"])
def test_of_several_values_for_one_place_the_last_stays(places, value, compiled):
    """NumPy's own order is backward where no operand's strides are positive."""
    def f(x, v):
        return ad.setitem(x, (places, places), v).sum()
    run = ad.jit if compiled else lambda f: f
    x = np.zeros((2, 2))
    assert run(f)(x, value) == value[-1]
    dx, dv = run(ad.grad(f, (0, 1)))(x, value)
    assert dx.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert dv.tolist() == [0.0, 0.0, 1.0]
