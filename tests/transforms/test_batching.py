"""vmap: axes, trees, shared values, rows without a batch rule, nesting and errors."""

from collections import OrderedDict

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.box import bind, live
from adjoint.core.primitive import Primitive
from adjoint.errors import ArgumentError, EscapeError, ShapeError

X = np.arange(6.0).reshape(2, 3) + 1.0


@pytest.mark.parametrize("in_axes", [0, 1, -1, (0,), (-2,)])
@pytest.mark.parametrize("out_axes", [0, 1, -1])
def test_axes(in_axes, out_axes):
    axis = in_axes[0] if isinstance(in_axes, tuple) else in_axes
    rows = np.moveaxis(X, axis, 0)
    expected = np.stack([np.array([r.sum(), r[0]]) for r in rows], axis=out_axes)
    got = ad.vmap(lambda r: np.stack([r.sum(), r[0]]), in_axes, out_axes)(X)
    np.testing.assert_allclose(got, expected)


def test_shared_arguments_and_trees():
    p = {"w": np.ones((2, 3)), "b": 2.0}
    got = ad.vmap(lambda p, x: (p["w"] * x).sum() + p["b"], in_axes=({"w": 0, "b": None}, 0))(p, X)
    np.testing.assert_allclose(got, X.sum(axis=1) + 2.0)
    got = ad.vmap(lambda p, x: (p["w"] * x).sum() + p["b"], in_axes=(None, 0))(p, X)
    assert got.shape == (2,)
    a, (b, c) = ad.vmap(lambda x: (x, (x.sum(), 3.0)), out_axes=(1, (0, 0)))(X)
    assert (a.shape, b.shape, c.tolist()) == ((3, 2), (2,), [3.0, 3.0])


@pytest.mark.parametrize("f", [
    lambda x: x[0] * x, lambda x: x @ np.ones((3, 4)), lambda x: np.ones((4, 3)) @ x,
    lambda x: x[:, None] * x, lambda x: x[[0, 0, 2]],
    lambda x: np.concatenate([x, np.ones(2)]), lambda x: np.where(x > 2, x, -x),
    lambda x: x.reshape(3, 1).T, lambda x: x.max(), lambda x: np.einsum("i,j->ij", x, x),
    ad.softmax, lambda x: ad.setitem(x, 0, x[1]), lambda x: np.pad(x, 1),
    lambda x: x.sum() * np.ones(2), lambda x: x.argmax(), np.prod, ad.logsumexp])
def test_agrees_with_a_loop(f):
    expected = np.stack([np.asarray(f(ad.tensor(r))) for r in X])
    np.testing.assert_allclose(ad.vmap(f)(X), expected)
    np.testing.assert_allclose(ad.vmap(f, in_axes=1)(X.T), expected)
    J = ad.vmap(ad.jacobian(lambda x: f(x) * 1.0))(X)
    np.testing.assert_allclose(J, np.stack([ad.jacobian(lambda x: f(x) * 1.0)(r) for r in X]))


def test_a_batched_index_and_a_batched_operand():
    i = np.array([2, 0])
    np.testing.assert_allclose(ad.vmap(lambda x, k: x[k])(X, i), X[[0, 1], i])
    np.testing.assert_allclose(ad.vmap(lambda k: ad.tensor(X[0])[k])(i), X[0][i])


def test_a_row_without_a_batch_rule_runs_element_by_element():
    shift = Primitive("shift", lambda x, z, by: np.roll(x, by) + z,
                      vjp=lambda dy, y, x, z, needs, by: (bind(back, (dy,), {"by": by}), dy),
                      jvp=lambda dxs, y, x, z, by: dxs[0] + dxs[1])
    back = Primitive("back", lambda dy, by: np.roll(dy, -by))

    def f(x, z):
        return bind(shift, (x, z), {"by": 1})
    Z = np.ones((2, 3))
    np.testing.assert_allclose(ad.vmap(f)(X, Z), np.roll(X, 1, axis=1) + 1.0)
    np.testing.assert_allclose(ad.vmap(f, in_axes=(0, None))(X, Z[0]), np.roll(X, 1, axis=1) + 1.0)
    got = ad.vmap(ad.grad(lambda x: (f(x, x * 0.0) * X[0]).sum()))(X)
    np.testing.assert_allclose(got, np.stack([np.roll(X[0], -1)] * 2))


def test_two_and_three_levels():
    a = np.arange(3.0)
    np.testing.assert_allclose(ad.vmap(ad.vmap(lambda x: x * x))(X), X * X)
    np.testing.assert_allclose(ad.vmap(ad.vmap(np.multiply, (None, 0)), (0, None))(a, a),
                               np.outer(a, a))
    cube = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_allclose(ad.vmap(ad.vmap(ad.vmap(np.sin)))(cube), np.sin(cube))
    np.testing.assert_allclose(ad.vmap(ad.vmap(lambda x, z: x @ z, (0, None)), (0, 0))(
        cube, np.ones((2, 4))), cube.sum(axis=-1))


def test_buffers_made_inside():
    def f(x):
        y = x * 0.0
        y[0] = x[1]
        y[1] += x[0]
        return y
    np.testing.assert_allclose(ad.vmap(f)(X), np.stack([X[:, 1], X[:, 0], 0 * X[:, 0]], axis=1))


def test_a_constant_buffer_cannot_take_a_batch():
    def f(x):
        y = ad.zeros(2)
        y[0] = x[0]
        return y
    with pytest.raises(ad.errors.MutationError, match=r"x = ad\.setitem"):
        ad.vmap(f)(X)


def test_errors():
    for call, text in (
            (lambda: ad.vmap(np.sin)(3.0), "shape \\(\\) has no axis 0"),
            (lambda: ad.vmap(np.sin, in_axes=2)(X), "has no axis 2"),
            (lambda: ad.vmap(np.add)(np.ones(2), np.ones(3)),
             "sizes \\[2, 3\\]; all must be equal"),
            (lambda: ad.vmap(np.sin, in_axes=None)(X), "no argument is mapped"),
            (lambda: ad.vmap(np.sin)(np.ones((0, 2))), "the mapped axis is empty")):
        with pytest.raises(ShapeError, match=text):
            call()
    for axes in ((0, 0), ({"a": 0},), "x"):
        with pytest.raises(ArgumentError, match="does not match"):
            ad.vmap(np.sin, in_axes=axes)(X)


def test_an_exception_inside_leaves_no_level():
    before = set(live)  # ad.teach has a level that never ends
    with pytest.raises(ZeroDivisionError):
        ad.vmap(lambda x: 1 / 0)(X)
    assert live == before


def test_axes_follow_the_keys_of_an_ordered_dict():
    tree = OrderedDict(b=np.arange(6.0).reshape(2, 3), a=np.arange(8.0).reshape(4, 2))
    axes = (OrderedDict(b=0, a=1),)
    mapped = ad.vmap(lambda d: {"b": d["b"].sum(), "a": d["a"].sum()}, in_axes=axes)(tree)
    assert mapped["b"].tolist() == tree["b"].sum(1).tolist()
    assert mapped["a"].tolist() == tree["a"].sum(0).tolist()
    mixed = ad.vmap(lambda d: d[1].sum() + d["k"], in_axes=({"k": None, 1: np.int64(1)},))(
        {"k": 1.0, 1: np.arange(6.0).reshape(2, 3)})
    assert mixed.tolist() == [4.0, 6.0, 8.0]


def test_axes_and_results_that_are_none():
    x = np.ones((2, 3))
    with pytest.raises(ArgumentError, match=r"in_axes=1\.0 does not match"):
        ad.vmap(np.sin, in_axes=1.0)(x)
    with pytest.raises(ArgumentError, match="out_axes=True does not match"):
        ad.vmap(np.sin, out_axes=True)(x)
    with pytest.raises(ArgumentError, match="returned str"):
        ad.vmap(lambda _: "text")(x)


def test_keyword_arguments_are_shared():
    z = np.array([1.0, 2.0, 3.0])
    assert ad.vmap(lambda x, z=None: x * z)(np.ones((2, 3)), z=z).tolist() == [z.tolist()] * 2


def test_an_index_that_is_another_for_each_element():
    table, at = np.array([1.0, 2.0, 4.0]), np.array([2, 0])
    with pytest.raises(EscapeError, match=r"ad\.tensor\(a\)\[i\] to index an array"):
        ad.vmap(lambda i: table[i])(at)
    assert ad.vmap(lambda i: ad.tensor(table)[i])(at).tolist() == [4.0, 1.0]
