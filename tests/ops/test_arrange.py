"""Arranging functions: value against NumPy, derivatives in every mode and order, batches, errors.

Each case is a function of one array, written with NumPy's own name: on an array it is NumPy, on a
traced value it is ours. None of them computes, so NumPy's result is met exactly.
"""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler.numpy_builder import run
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace
from adjoint.errors import (
    ArgumentError,
    EscapeError,
    IndexingError,
    MutationError,
    ShapeError,
    UnsupportedError,
)

windows = np.lib.stride_tricks.sliding_window_view
V, M, C = np.array([0.5, -1.2, 0.7, 1.9]), np.linspace(-1.3, 1.7, 6).reshape(2, 3), np.linspace(
    -1.0, 2.0, 24).reshape(2, 3, 4)
S, E, Z = np.linspace(0.3, 2.0, 9).reshape(3, 3), np.zeros((0, 3)), np.array(1.5)
MASK = np.array([True, False, True, True])
COLUMNS = np.array([[2, 0], [1, 1]])

CASES = {
    "split": (lambda x: np.split(x, 2), V), "split at places": (lambda x: np.split(x, [1, 3]), V),
    "split along": (lambda x: np.split(x, 3, axis=-1), M),
    "split beyond the end": (lambda x: np.split(x, [2, 9]), V),
    "split backwards": (lambda x: np.split(x, [3, 1]), V),
    "array_split": (lambda x: np.array_split(x, 3), V),
    "array_split empty": (lambda x: np.array_split(x, 2), E),
    "hsplit": (lambda x: np.hsplit(x, 3), M), "hsplit vector": (lambda x: np.hsplit(x, 2), V),
    "vsplit": (lambda x: np.vsplit(x, 2), M), "dsplit": (lambda x: np.dsplit(x, 2), C),
    "unstack": (lambda x: np.unstack(x, axis=1), M),
    "hstack": (lambda x: np.hstack([x, x * 2.0]), M),
    "hstack 0-d": (lambda x: np.hstack([x, x]), Z),
    "vstack": (lambda x: np.vstack([x, x]), V), "vstack 0-d": (lambda x: np.vstack([x, 1.0]), Z),
    "dstack": (lambda x: np.dstack([x, x]), M), "dstack vector": (lambda x: np.dstack([x, x]), V),
    "column_stack": (lambda x: np.column_stack([x, x, M.reshape(2, 3)[:1].repeat(4, 0)]), V),
    "block": (lambda x: np.block([[x, np.ones((2, 1))], [np.zeros((1, 3)), 2.0]]), M),
    "block of one list": (lambda x: np.block([x, 1.0]), V), "block of one": (np.block, V),
    "append": (lambda x: np.append(x, 3.0), M), "append along": (
        lambda x: np.append(x, x, axis=1), M),
    "roll": (lambda x: np.roll(x, 1), M), "roll along": (lambda x: np.roll(x, -2, axis=1), M),
    "roll axes": (lambda x: np.roll(x, (1, -1), axis=(0, 2)), C),
    "roll one axis twice": (lambda x: np.roll(x, (1, 1), axis=0), V),
    "roll one shift": (lambda x: np.roll(x, 1, axis=(0, 1)), M), "roll empty": (
        lambda x: np.roll(x, 1, axis=0), E), "roll 0-d": (lambda x: np.roll(x, 1), Z),
    "fliplr": (np.fliplr, M), "flipud": (np.flipud, V), "rot90": (np.rot90, M),
    "rot90 twice": (lambda x: np.rot90(x, 2), M), "rot90 back": (lambda x: np.rot90(x, -1), M),
    "rot90 axes": (lambda x: np.rot90(x, 1, (2, 1)), C), "rot90 by 0": (
        lambda x: np.rot90(x, 4), M), "rot90 by 3 of axes": (lambda x: np.rot90(x, 3, (0, 2)), C),
    "rollaxis": (lambda x: np.rollaxis(x, 2), C), "rollaxis on": (
        lambda x: np.rollaxis(x, 0, 3), C), "rollaxis negative": (
        lambda x: np.rollaxis(x, -1, 1), C),
    "matrix_transpose": (np.matrix_transpose, C),
    "repeat": (lambda x: np.repeat(x, 2), M), "repeat along": (
        lambda x: np.repeat(x, 3, axis=0), M), "repeat each": (
        lambda x: np.repeat(x, [0, 2, 1], axis=1), M), "repeat none": (
        lambda x: np.repeat(x, 0, axis=1), M), "repeat 0-d": (lambda x: np.repeat(x, 2), Z),
    "tile": (lambda x: np.tile(x, 2), M), "tile up": (lambda x: np.tile(x, (2, 1, 2)), V),
    "tile fewer": (lambda x: np.tile(x, (3,)), C), "tile none": (lambda x: np.tile(x, 0), V),
    "tile 0-d": (lambda x: np.tile(x, (2, 2)), Z),
    "broadcast_arrays": (lambda x: np.broadcast_arrays(x, M), M[0]),
    "meshgrid": (lambda x: np.meshgrid(x, V), M[0]), "meshgrid ij": (
        lambda x: np.meshgrid(V, x, indexing="ij"), M[0]), "meshgrid of three": (
        lambda x: np.meshgrid(x, V, x), M[0]), "meshgrid sparse": (
        lambda x: np.meshgrid(x, x, sparse=True), M[0]), "meshgrid of one": (np.meshgrid, V),
    "atleast_1d": (np.atleast_1d, Z), "atleast_2d": (np.atleast_2d, V), "atleast_3d": (
        np.atleast_3d, V), "atleast_3d of a matrix": (np.atleast_3d, M), "atleast_3d of 0-d": (
        np.atleast_3d, Z), "atleast_2d of two": (lambda x: np.atleast_2d(x, x * x), V),
    "diag": (np.diag, V), "diag up": (lambda x: np.diag(x, 1), V), "diag down": (
        lambda x: np.diag(x, -2), V), "diag of a matrix": (np.diag, M), "diag of a matrix, up": (
        lambda x: np.diag(x, 1), M), "diag of a matrix, outside": (lambda x: np.diag(x, 5), M),
    "diagonal": (lambda x: np.diagonal(x, 1, 2, 1), C), "diagonal down": (
        lambda x: np.diagonal(x, -1), S), "diagflat": (lambda x: np.diagflat(x, -1), M),
    "tril": (np.tril, S), "tril up": (lambda x: np.tril(x, 1), C), "triu": (np.triu, S),
    "triu down": (lambda x: np.triu(x, -1), C), "triu of a vector": (np.triu, V), "tril wide": (
        lambda x: np.tril(x, -1), M),
    "take": (lambda x: np.take(x, [3, 0, 0]), M), "take along": (
        lambda x: np.take(x, [[2, 0]], axis=1), M), "take one": (lambda x: np.take(x, -1), V),
    "take wrapped": (lambda x: np.take(x, [5, -6], mode="wrap"), V), "take clipped": (
        lambda x: np.take(x, [9, -6], mode="clip"), V), "take nothing": (
        lambda x: np.take(x, np.zeros(0, int), axis=0), M),
    "take_along_axis": (lambda x: np.take_along_axis(x, COLUMNS, axis=1), M),
    "take_along_axis, broadcast": (lambda x: np.take_along_axis(x, COLUMNS[:1], axis=1), M),
    "take_along_axis, x broadcast": (lambda x: np.take_along_axis(x, COLUMNS, axis=1), M[:1]),
    "take_along_axis, flat": (lambda x: np.take_along_axis(x, np.array([5, 5, 0]), axis=None), M),
    "take_along_axis, last": (lambda x: np.take_along_axis(x, COLUMNS[:, None] + 1, axis=-1), C),
    "sorted by argsort": (lambda x: np.take_along_axis(
        x, np.argsort(np.asarray(M), axis=1), axis=1), M),
    "choose": (lambda x: np.choose([1, 0, 1, 1], [x, x * 2.0]), V), "choose, broadcast": (
        lambda x: np.choose([[0], [1]], [x, 5.0]), V), "choose, clipped": (
        lambda x: np.choose([7, -1, 0, 0], [x, x * 3.0], mode="clip"), V), "choose, wrapped": (
        lambda x: np.choose([7, -1, 0, 0], [x, x * 3.0], mode="wrap"), V),
    "compress": (lambda x: np.compress(MASK, x), V), "compress along": (
        lambda x: np.compress([True, False], x, axis=1), M), "extract": (
        lambda x: np.extract(np.asarray(M) > 0, x), M),
    "select": (lambda x: np.select([MASK, V > 0], [x, x * x], default=-1.0), V),
    "select by itself": (lambda x: np.select([x > 1.0, x > 0.0], [x, x * x], 0.5), V),
    "piecewise": (lambda x: np.piecewise(x, [x < 0, x >= 1.0], [-1.0, np.sqrt]), V),
    "piecewise, the rest": (lambda x: np.piecewise(x, [x < 0], [lambda v: -v, np.sqrt]), V),
    "piecewise, 0-d": (lambda x: np.piecewise(x, [x < 0, x >= 0], [np.exp, np.sin]), Z),
    "piecewise, one condition": (lambda x: np.piecewise(x, x > 0, [np.exp, 2.0]), V),
    "delete": (lambda x: np.delete(x, 1), M), "delete along": (
        lambda x: np.delete(x, [0, -1], axis=1), M), "delete a slice": (
        lambda x: np.delete(x, slice(None, None, 2)), V), "delete a mask": (
        lambda x: np.delete(x, MASK), V),
    "insert": (lambda x: np.insert(x, 1, 9.0), M), "insert many": (
        lambda x: np.insert(x, [0, 4, 4], [7.0, 8.0, 9.0]), V), "insert along": (
        lambda x: np.insert(x, 1, [5.0, 6.0], axis=1), M), "insert a row": (
        lambda x: np.insert(x, -1, x[0], axis=0), M), "insert columns": (
        lambda x: np.insert(x, [1, 1], np.ones((2, 2)), axis=1), M), "insert one column": (
        lambda x: np.insert(x, [1], [[5.0], [6.0]], axis=1), M), "insert several at one": (
        lambda x: np.insert(x, [2], [1.0, 2.0, 3.0]), V), "insert at a slice": (
        lambda x: np.insert(x, slice(0, 2), 4.0), V),
    "insert the tracked": (lambda x: np.insert(x * 2.0, 1, x), V),
    "sliding_window_view": (lambda x: windows(x, 3), V), "windows along": (
        lambda x: windows(x, 2, axis=1), M), "windows of two axes": (
        lambda x: windows(x, (2, 2)), M), "windows twice": (
        lambda x: windows(x, (2, 2), axis=(0, 0)), V),
    "kron": (lambda x: np.kron(x, M), M), "kron of unequal rank": (lambda x: np.kron(x, M), V),
    "kron of tensors": (lambda x: np.kron(x, x), M[0]), "kron 0-d": (lambda x: np.kron(2.0, x), V),
    "cross": (lambda x: np.cross(x, [1.0, 2.0, -1.0]), M), "cross with itself": (
        lambda x: np.cross(x, x[::-1] * x), S), "cross of axes": (
        lambda x: np.cross(x, S, axisa=0, axisb=1, axisc=0), S), "cross along": (
        lambda x: np.cross(x, np.ones((2, 3, 4)), axis=1), C),
    "vdot": (lambda x: np.vdot(x, x * x), M), "inner": (lambda x: np.inner(x, M), M),
    "outer": (lambda x: np.outer(x, x), V),
    "linspace": (lambda x: np.linspace(x, 3.0, 5), Z), "linspace to": (
        lambda x: np.linspace(0.0, x, 4, endpoint=False), Z), "linspace of arrays": (
        lambda x: np.linspace(x, x * x, 3, axis=1), M), "linspace of one": (
        lambda x: np.linspace(x, 2.0, 1), V), "linspace with its step": (
        lambda x: np.linspace(x, 2.0, 4, retstep=True), Z), "linspace of ints": (
        lambda x: np.linspace(0, x, 3), Z),
    "logspace": (lambda x: np.logspace(x, 2.0, 3), Z), "logspace of base": (
        lambda x: np.logspace(0.0, x, 4, base=2.0), Z), "geomspace": (
        lambda x: np.geomspace(x, 20.0, 4), Z), "geomspace to": (
        lambda x: np.geomspace(-1.0, -x, 4), Z),
    "vander": (np.vander, V), "vander increasing": (
        lambda x: np.vander(x, 3, increasing=True), V), "vander at 0": (
        lambda x: np.vander(x, 3), np.array([0.0, 1.0])),
    "polyval": (lambda x: np.polyval([2.0, -1.0, 0.5], x), M), "polyval of coefficients": (
        lambda x: np.polyval(x, 1.5), V), "polyval of both": (
        lambda x: np.polyval(x, x), V),
    "ravel": (np.ravel, M), "squeeze": (np.squeeze, M[:1]), "moveaxis": (
        lambda x: np.moveaxis(x, 0, -1), C), "swapaxes": (lambda x: np.swapaxes(x, 0, 1), M),
    "divmod": (lambda x: divmod(x, 0.7), V + 0.01), "np.divmod": (
        lambda x: np.divmod(x, 0.7), V + 0.01), "modf": (np.modf, V), "frexp": (np.frexp, V * 1.3),
}
# What reads the numbers themselves to choose the shape or the branch cannot run under vmap.
BY_VALUE = ("piecewise", "piecewise, the rest", "piecewise, 0-d", "piecewise, one condition")
every_case = pytest.mark.parametrize("case", CASES)


def parts(y):
    """The floating results of a call, in a list."""
    ys = list(y) if isinstance(y, (list, tuple)) else [y]
    return [v for v in ys if aval_of(v).dtype.kind == "f"]


def total(f, weights):
    """A scalar function: the weighted sum of sines of all that f returns."""
    return lambda x: sum((np.sin(v) * w).sum() for v, w in zip(parts(f(x)), weights, strict=True))


def weighted(case):
    f, x = CASES[case]
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=np.shape(v)) for v in parts(f(x))]
    return total(f, weights), x


def slopes(f, x, h=1e-4):
    """The gradient of a scalar function by extrapolated central differences."""
    def central(e, h):
        return (f(x + h * e) - f(x - h * e)) / (2 * h)
    units = np.eye(x.size).reshape(x.size, *x.shape) if x.size else []
    g = [(4 * central(e, h / 2) - central(e, h)) / 3 for e in units]
    return np.reshape(np.asarray(g, float), x.shape + np.shape(g)[1:])


@every_case
@pytest.mark.parametrize("dtype", [float, np.float32])
def test_value_is_numpys(case, dtype):
    f, x = CASES[case]
    x = x.astype(dtype)
    expected, got = f(x), f(ad.tensor(x, requires_grad=True))
    assert type(got) is type(expected) or not isinstance(expected, (list, tuple))
    pairs = zip(got, expected, strict=True) if isinstance(expected, (list, tuple)) else [
        (got, expected)]
    for g, e in pairs:
        g = g.detach().numpy() if isinstance(g, ad.Tensor) else np.asarray(g)
        assert (g.shape, g.dtype) == (np.shape(e), np.asarray(e).dtype)
        np.testing.assert_allclose(g, e, rtol=1e-14 if dtype is float else 3e-6, atol=1e-15)


@every_case
def test_derivatives_of_both_orders(case):
    f, x = weighted(case)
    g = ad.grad(f)(x)
    np.testing.assert_allclose(g, slopes(f, x), rtol=1e-7, atol=1e-8)
    leaf = ad.tensor(x, requires_grad=True)
    f(leaf).backward()
    np.testing.assert_array_equal(leaf.grad.numpy(), g)
    dx = np.random.default_rng(2).normal(size=x.shape)
    np.testing.assert_allclose(ad.jvp(f, (x,), (dx,))[1], (g * dx).sum(), rtol=1e-10, atol=1e-12)
    along = slopes(lambda t: ad.grad(f)(x + t * dx), np.zeros(()))
    forward = ad.jvp(ad.grad(f), (x,), (dx,))[1]
    np.testing.assert_allclose(forward, along, rtol=1e-6, atol=1e-7)
    reverse = ad.grad(lambda x: (ad.grad(f)(x) * dx).sum())(x)
    np.testing.assert_allclose(reverse, forward, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", [c for c in CASES if c not in BY_VALUE])
def test_batch_is_a_loop(case):
    f, x = weighted(case)
    xs = np.stack([x, x * 0.5, x + 0.25])
    got = ad.vmap(ad.grad(f))(xs)
    np.testing.assert_allclose(got, np.stack([ad.grad(f)(v) for v in xs]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", [c for c in CASES if c not in BY_VALUE])
def test_traced_and_lowered_is_eager(case):
    f, x = weighted(case)

    def both(x):
        return f(x), ad.grad(f)(x)
    graph, out = trace(both, aval_of(x))
    graph.outputs = [y.node for y in out]
    got = run(graph, x, *graph.closed)
    for g, e in zip(got, both(x), strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", BY_VALUE)
def test_what_reads_values_says_so_under_vmap(case):
    f, x = weighted(case)
    with pytest.raises(EscapeError, match=r"ad\.where"):
        ad.vmap(f)(np.stack([x, x]))


# ---- gather and scatter

def test_gather_and_scatter_in_every_spelling():
    index = np.array([[2, 0], [1, 1]])
    x = ad.tensor(M, requires_grad=True)
    for y in (ad.gather(x, 1, index), ad.gather(x, dim=1, index=ad.tensor(index)),
              x.gather(1, index), x.take_along_dim(index, dim=1)):
        np.testing.assert_array_equal(y.detach().numpy(), np.take_along_axis(M, index, 1))
    np.testing.assert_array_equal(ad.gather(M, 0, [[1, 0, 1]]), [[M[1, 0], M[0, 1], M[1, 2]]])
    np.testing.assert_array_equal(ad.gather(M, 1, [[2]]), [[M[0, 2]]])  # no axis broadcasts
    np.testing.assert_array_equal(
        ad.jacobian(lambda x: ad.gather(x, 1, index).sum())(M), [[1, 0, 1], [0, 2, 0]])


def test_scatter_replaces_and_scatter_add_adds():
    index, src = np.array([[2, 2], [1, 0]]), np.array([[5.0, 6.0, 7.0], [8.0, 9.0, 1.0]])
    expected = M.copy()
    np.put_along_axis(expected, index, src[:, :2], 1)
    np.testing.assert_array_equal(ad.scatter(M, 1, index, src), expected)
    added = M.copy()
    np.add.at(added, (np.arange(2)[:, None], index), src[:, :2])
    np.testing.assert_array_equal(ad.scatter_add(M, 1, index, src), added)
    np.testing.assert_array_equal(ad.scatter(M, 1, [[0], [1]], 9.0),
                                  [[9.0, *M[0, 1:]], [M[1, 0], 9.0, M[1, 2]]])
    dx, ds = ad.grad(lambda x, s: ad.scatter(x, 1, index, s).sum(), (0, 1))(M, src)
    np.testing.assert_array_equal(dx, [[1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(ds, [[0, 1, 0], [1, 1, 0]])  # the last of two writes counts
    dx, ds = ad.grad(lambda x, s: (ad.scatter_add(x, 1, index, s) ** 2).sum(), (0, 1))(M, src)
    np.testing.assert_allclose(dx, 2 * added)
    np.testing.assert_allclose(ds[:, :2], 2 * np.take_along_axis(added, index, 1))
    np.testing.assert_array_equal(ds[:, 2], 0)


def test_index_add_and_index_select():
    index, src = np.array([1, 1, 0]), np.arange(6.0).reshape(2, 3)
    expected = M.copy()
    np.add.at(expected, (slice(None), index), -2.0 * src)
    got = ad.tensor(M).index_add(1, index, src, alpha=-2.0)
    np.testing.assert_allclose(got.numpy(), expected)
    dx, ds, da = ad.grad(lambda x, s, a: (ad.index_add(x, 1, index, s, alpha=a) ** 2).sum(),
                         (0, 1, 2))(M, src, -2.0)
    np.testing.assert_allclose(dx, 2 * expected)
    np.testing.assert_allclose(ds, -4 * expected[:, index])
    np.testing.assert_allclose(da, (2 * expected[:, index] * src).sum())
    np.testing.assert_array_equal(ad.index_select(M, dim=1, index=[2, 0]), M[:, [2, 0]])


@pytest.mark.parametrize("f", [
    lambda x, s: ad.scatter(x, 0, [[1, 0, 1]], s), lambda x, s: ad.scatter_add(
        x, 0, [[1, 0, 1], [0, 0, 0]], s), lambda x, s: ad.index_add(x, 0, [1, 1], s),
    lambda x, s: ad.masked_fill(x, x > s, 2.0) * s, lambda x, s: ad.where(x > 0, x, s)])
def test_writes_of_two_in_all_modes(f):
    s = M[::-1] * 2.0
    dxs = (np.sin(M), np.cos(M))
    y, pull = ad.vjp(f, M, s)
    w = np.linspace(0.5, 1.5, y.size).reshape(y.shape)
    forward = (w * ad.jvp(f, (M, s), dxs)[1]).sum()
    np.testing.assert_allclose(sum((a * b).sum() for a, b in zip(pull(w), dxs, strict=True)),
                               forward)
    xs, ss = np.stack([M, M * 2.0]), np.stack([s, s - 1.0])
    np.testing.assert_allclose(ad.vmap(f)(xs, ss), [f(*v) for v in zip(xs, ss, strict=True)])


def test_indices_that_differ_in_a_batch():
    xs, index = np.stack([M, M * 2.0]), np.array([[[2, 0], [1, 1]], [[0, 0], [2, 1]]])
    for f in (lambda x, i: ad.gather(x, 1, i), lambda x, i: ad.take_along_axis(x, i, 1),
              lambda x, i: ad.scatter_add(x, 1, i, 3.0), ad.take,
              lambda x, i: ad.scatter(x, 1, i[:, :1], x)):
        np.testing.assert_array_equal(ad.vmap(f)(xs, index),
                                      [f(*v) for v in zip(xs, index, strict=True)])


# ---- methods, tensors, ends that are tracked

def test_methods_of_tensors():
    x, v = ad.tensor(M, requires_grad=True), ad.tensor(V, requires_grad=True)
    for got, expected in (
            (x.take([1, 0]), M.take([1, 0])), (x.diagonal(), M.diagonal()), (v.diag(), np.diag(V)),
            (x.tril(), np.tril(M)), (x.triu(1), np.triu(M, 1)), (x.roll(1, 0), np.roll(M, 1, 0)),
            (x.roll(1, dims=1), np.roll(M, 1, 1)), (v.tile(2), np.tile(V, 2)),
            (v.tile(2, 1), np.tile(V, (2, 1))),
            (v.repeat_interleave(2), V.repeat(2)), (v.compress(MASK), V.compress(MASK)),
            (x.repeat_interleave(2, dim=1), M.repeat(2, 1)), (divmod(v, 0.7)[1], V % 0.7),
            (divmod(3.0, v)[0], 3.0 // V),
            (v.outer(v), np.outer(V, V)), (x.kron(v), np.kron(M, V)), (x.rot90(), np.rot90(M)),
            (x.unbind(1)[2], M[:, 2]), (x.fliplr(), np.fliplr(M)), (v.hypot(1.0), np.hypot(V, 1.0)),
            (v.nan_to_num(), V), (ad.tensor([1, 0, 1, 1]).choose([v, 0.0]), [0, V[1], 0, 0]),
            (x.masked_fill(M > 0, 0.0), np.minimum(M, 0.0)), (x.movedim(0, 1), M.T)):
        np.testing.assert_allclose(np.asarray(got.detach()), expected)


def test_linspace_keeps_the_ends_in_the_graph():
    a = ad.tensor(1.0, requires_grad=True)
    y = ad.linspace(a, 3.0, 5)
    (y * y).sum().backward()
    expected = (2 * np.linspace(1, 3, 5) * np.linspace(1, 0, 5)).sum()
    np.testing.assert_allclose(a.grad.item(), expected)
    assert isinstance(ad.linspace(1.0, 3.0, 5), ad.Tensor)
    np.testing.assert_array_equal(np.linspace(a, 3.0, 5).detach().numpy(), np.linspace(1.0, 3.0, 5))


def test_linspace_of_integers_rounds_down():
    for ends in ((-1.5, 2.5), (-3.0, -1.0)):
        got = np.linspace(ad.tensor(ends[0]), ends[1], 4, dtype=int)
        np.testing.assert_array_equal(got.numpy(), np.linspace(*ends, 4, dtype=int))
    y, step = np.linspace(ad.tensor([1.0, 2.0]), 3.0, 1, retstep=True)
    assert y.shape == (1, 2)
    assert np.isnan(step)


def test_piecewise_of_one_condition_and_of_booleans():
    for x in (np.array(1.5), np.array([True, False])):
        expected = np.piecewise(x, x > 0, [0.0, 2])
        got = np.piecewise(ad.tensor(x), x > 0, [0.0, 2]).numpy()
        np.testing.assert_array_equal(got, expected)
        assert got.dtype == expected.dtype


def test_arange_of_a_tracked_end_raises():
    a = ad.tensor(3.0, requires_grad=True)
    for f in (np.arange, ad.arange):
        with pytest.raises(EscapeError, match="Write"):
            f(a)


def test_lists_and_integers():
    assert ad.tile([1, 2], 2).dtype == np.dtype(int)
    assert ad.take([1, 2, 3], [0]).tolist() == [1]
    np.testing.assert_array_equal(ad.cross([1, 0, 0], [0, 1, 0]), [0, 0, 1])
    np.testing.assert_array_equal(ad.vstack([[1, 2], [3.0, 4.0]]), [[1, 2], [3, 4]])


def test_complex_vdot_conjugates_the_first():
    a, b = np.array([1 + 2j, 3.0]), np.array([2.0, 1j])
    assert ad.vdot(a, b) == np.vdot(a, b)


# ---- errors

X = ad.tensor(M, requires_grad=True)
ERRORS = [
    (lambda: ad.split(X, 4, axis=1), ShapeError, "axis 1 of size 3 has no 4 equal sections"),
    (lambda: ad.split(X, 0), ArgumentError, "1 or more, not 0"),
    (lambda: ad.split(X, 1.5), ArgumentError, "is an integer, not 1.5"),
    (lambda: ad.split(1.0, 1), ShapeError, r"at least 1 axes.*shape is \(\)"),
    (lambda: ad.split(X, 2, axis=2), ShapeError, "axis 2 does not exist"),
    (lambda: ad.vsplit(V, 2), ShapeError, r"at least 2 axes.*\(4,\)"),
    (lambda: ad.dsplit(X, 2), ShapeError, r"at least 3 axes"),
    (lambda: ad.hstack([]), ArgumentError, "at least one array"),
    (lambda: ad.vstack([X, V]), ShapeError, r"\(2, 3\), \(1, 4\)"),
    (lambda: ad.block([[X], X]), ArgumentError, "equally deep"),
    (lambda: ad.block([]), ArgumentError, "equally deep"),
    (lambda: ad.roll(X, (1, 2), axis=(0, 1, 0)), ArgumentError, "lists of the same length"),
    (lambda: ad.roll(X, 1, axis=5), ShapeError, "axis 5 does not exist"),
    (lambda: ad.roll(X, 1.5), ArgumentError, "integers"),
    (lambda: ad.rot90(X, axes=(0, 0)), ShapeError, "names an axis twice"),
    (lambda: ad.rot90(X, axes=(0,)), ArgumentError, "names two axes"),
    (lambda: ad.rot90(V), ShapeError, "at least 2 axes"),
    (lambda: ad.repeat(X, [1, 2], axis=1), ShapeError, "2 repeats for an axis of size 3"),
    (lambda: ad.repeat(X, -1), ArgumentError, "not negative"),
    (lambda: ad.tile(X, -1), ArgumentError, "not negative"),
    (lambda: ad.broadcast_arrays(X, V), ShapeError, r"\(2, 3\), \(4,\) do not broadcast"),
    (lambda: ad.meshgrid(X), ShapeError, r"vectors are needed, not the shape \(2, 3\)"),
    (lambda: ad.meshgrid(V, indexing="yx"), ArgumentError, "yx"),
    (lambda: ad.diag(C), ShapeError, r"\(2, 3, 4\)"),
    (lambda: ad.diagonal(V), ShapeError, "at least 2 axes"),
    (lambda: ad.diagonal(X, axis1=1), ShapeError, "names an axis twice"),
    (lambda: ad.tril(1.0), ShapeError, "at least 1 axes"),
    (lambda: ad.take(X, [6]), IndexingError, "index 6 is out of bounds"),
    (lambda: ad.take(X, [0.5]), IndexingError, "integers, not float64"),
    (lambda: ad.take(X, [0], mode="no"), ArgumentError, "'no'"),
    (lambda: ad.take_along_axis(X, [0], 1), ShapeError, r"indices of shape \(1,\).*\(2, 3\)"),
    (lambda: ad.take_along_axis(X, np.zeros((3, 1), int), 1), ShapeError, r"\(3, 1\)"),
    (lambda: ad.gather(X, 1, [0]), ShapeError, r"index of shape \(1,\)"),
    (lambda: ad.gather(X, 1, np.zeros((3, 1), int)), ShapeError, r"\(3, 1\).*\(2, 3\)"),
    (lambda: ad.gather(X, 1, [[3]]), IndexingError, "index 3 is out of bounds"),
    (lambda: ad.gather(X, 1), ArgumentError, r"ad.gather\(x, axis, index\)"),
    (lambda: ad.gather(X, 1, [[0.5]]), IndexingError, "integers, not float64"),
    (lambda: ad.scatter(X, 1, [[0, 1]], [[1.0]]), ShapeError, r"source of shape \(1, 1\)"),
    (lambda: ad.scatter(X, 1, [[7]], 1.0), IndexingError, "index 7 is out of bounds"),
    (lambda: ad.scatter_add(X, 1, [[7]], 1.0), IndexingError, "index 7 is out of bounds"),
    (lambda: ad.index_add(X, 1, [0, 1], V), ShapeError, r"source has shape \(2, 2\)"),
    (lambda: ad.index_add(X, 0, [5], [[1.0] * 3]), IndexingError, "index 5"),
    (lambda: ad.index_select(X, 0, [[1]]), ShapeError, "vector"),
    (lambda: ad.compress([[True]], X), ShapeError, "vector"),
    (lambda: ad.compress([True] * 7, X), IndexingError, "index 6 is out of bounds"),
    (lambda: ad.compress([0.5], X), ArgumentError, "booleans, not float64"),
    (lambda: ad.choose([0, 2], [1.0, X[0, 0]]), IndexingError, "0 to 2"),
    (lambda: ad.choose([0], []), ArgumentError, "at least one choice"),
    (lambda: ad.select([M > 0], [X, X]), ArgumentError, "1 conditions for 2 choices"),
    (lambda: ad.select([M], [X]), ArgumentError, "booleans, not float64"),
    (lambda: ad.piecewise(X, [M > 0], [1.0, 2.0, 3.0]), ArgumentError, "1 conditions for 3"),
    (lambda: ad.delete(X, 9), IndexingError, "delete.*9"),
    (lambda: ad.insert(X, 9, 1.0), IndexingError, "insert.*9"),
    (lambda: ad.insert(X, [0, 1], [[1.0, 2.0, 3.0]], axis=1), ShapeError, "broadcast"),
    (lambda: ad.sliding_window_view(V, 5), ShapeError, "window of 5 in an axis of size 4"),
    (lambda: ad.sliding_window_view(X, 2), ArgumentError, "not one size for each"),
    (lambda: ad.cross(V, V), ShapeError, "3 components, not 4 and 4"),
    (lambda: ad.cross(X, np.ones((4, 3))), ShapeError, "do not broadcast"),
    (lambda: ad.vdot(X, V), ShapeError, "6 elements meet 4"),
    (lambda: np.linspace(X, 1.0, -1), ArgumentError, "not negative"),
    (lambda: np.linspace(X, 1.0, 2.5), ArgumentError, "is an integer, not 2.5"),
    (lambda: ad.vander(X), ShapeError, "vector"),
    (lambda: ad.polyval(X, np.ones(4)), ShapeError, "do not broadcast"),
    (lambda: ad.polyval(2.0, 1.0), ShapeError, "vector"),
    (lambda: np.piecewise(X, [], []), ArgumentError, "at least one condition"),
    (lambda: np.fill_diagonal(X, 1.0), MutationError, r"x\[np.diag_indices\(n\)\] = v"),
    (lambda: np.put_along_axis(X, [[0]], 1.0, 1), MutationError, r"x = ad.scatter\(x, axis"),
    (lambda: np.put(X, [0], 1.0), MutationError, "unravel_index"),
    (lambda: np.place(X, M > 0, [1.0]), MutationError, r"x\[mask\] = v"),
    (lambda: np.putmask(X, M > 0, 1.0), MutationError, "np.where"),
    (lambda: np.copyto(X, 1.0), MutationError, r"x\[...\] = v"),
    (lambda: np.copyto(np.zeros((2, 3)), X), MutationError, "np.where"),
    (lambda: np.apply_along_axis(np.sum, 0, X), UnsupportedError, "ad.vmap"),
    (lambda: np.apply_over_axes(np.sum, X, 0), UnsupportedError, "ad.vmap"),
]


@pytest.mark.parametrize("call, error, message", ERRORS)
def test_bad_input_names_the_shapes_and_values(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("write, remedy", [
    (lambda x: np.fill_diagonal(x, 0.0), lambda x: x.__setitem__(np.diag_indices(3), 0.0)),
    (lambda x: np.put(x, [0, 5], 7.0), lambda x: x.__setitem__(
        np.unravel_index([0, 5], x.shape), 7.0)),
    (lambda x: np.place(x, S > 1, [2.0]), lambda x: x.__setitem__(S > 1, 2.0))])
def test_the_remedy_writes_what_numpy_would(write, remedy):
    expected, t = S.copy(), ad.tensor(S)
    write(expected)
    remedy(t)
    np.testing.assert_array_equal(t.numpy(), expected)
