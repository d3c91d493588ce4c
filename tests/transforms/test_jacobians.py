"""jacobian and hessian: three layouts, two modes, trees, empty and 0-d, batched and nested."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, ShapeError

MODES = ("auto", "forward", "reverse")
A = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("out, into", [
    ((), ()), ((), (3,)), ((3,), ()), ((2,), (3,)), ((), (2, 3)), ((2, 3), ()), ((2, 2), (3,)),
    ((2,), (2, 3)), ((2, 2), (2, 3)), ((0,), (3,)), ((2,), (0,)), ((1,), (1,)), ((), (0, 2))])
def test_array_layout_is_result_then_argument(mode, out, into):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(int(np.prod(out)), int(np.prod(into))))
    x = rng.normal(size=into)

    def f(x):
        return (matrix @ np.sin(x).reshape(-1)).reshape(out)
    J = ad.jacobian(f, mode=mode)(x)
    assert J.shape == out + into
    np.testing.assert_allclose(J, (matrix * np.cos(x).reshape(-1)).reshape(out + into))


@pytest.mark.parametrize("mode", MODES)
def test_the_layouts_of_the_slides(mode):
    x, W = np.array([1.0, 2.0, 3.0]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    def by(f, v, layout):
        return ad.jacobian(f, layout=layout, mode=mode)(v)
    scalar = by(lambda v: (v * v).sum(), x, "numerator")
    assert scalar.tolist() == [[2.0, 4.0, 6.0]]  # (1, D)
    assert by(lambda v: (v * v).sum(), x, "denominator").tolist() == [[2.0], [4.0], [6.0]]
    vector = by(lambda v: A @ v, x, "numerator")
    assert vector.tolist() == A.tolist()  # (K, D)
    assert by(lambda v: A @ v, x, "denominator").tolist() == A.T.tolist()
    matrix = by(lambda V: (V * V).sum(), W, "numerator")
    assert matrix.tolist() == (2 * W).T.tolist()  # (C, B) for a (B, C) matrix
    assert by(lambda V: (V * V).sum(), W, "denominator").tolist() == (2 * W).tolist()
    assert by(lambda v: v * x, 2.0, "numerator").shape == (3, 1)
    assert by(lambda v: v * x, 2.0, "denominator").shape == (1, 3)
    assert by(lambda v: v * v, 2.0, "numerator").tolist() == [[4.0]]


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
@pytest.mark.parametrize("f, x", [
    (lambda x: x, np.ones((2, 2))), (lambda x: x[:, 0], np.ones((2, 2))),
    (lambda x: x.sum(), np.ones((2, 2, 2))), (lambda x: x[:, None] * x, np.ones(2))])
def test_more_axes_name_the_array_layout(layout, f, x):
    with pytest.raises(ShapeError, match='use layout="array"'):
        ad.jacobian(f, layout=layout)(x)


def test_unknown_options():
    with pytest.raises(ArgumentError, match="layout is one of array, numerator, denominator"):
        ad.jacobian(np.sin, layout="row")
    with pytest.raises(ArgumentError, match='mode is "auto"'):
        ad.jacobian(np.sin, mode="fast")
    with pytest.raises(ArgumentError, match="must be a function, not 3"):
        ad.jacobian(3, mode="forward")(1.0)


@pytest.mark.parametrize("mode", MODES)
def test_trees_in_and_out(mode):
    def f(p, c):
        return {"a": p["x"] * c, "b": [p["x"].sum() * p["y"]]}
    p = {"x": np.array([1.0, 2.0]), "y": 3.0}
    J = ad.jacobian(f, mode=mode)(p, 2)
    np.testing.assert_allclose(J["a"]["x"], 2 * np.eye(2))
    np.testing.assert_allclose(J["a"]["y"], [0.0, 0.0])
    np.testing.assert_allclose(J["b"][0]["x"], [3.0, 3.0])
    assert J["b"][0]["y"] == 3.0
    J = ad.jacobian(f, argnums=(0, 1), mode=mode)(p, 2.0)
    np.testing.assert_allclose(J["a"][1], [1.0, 2.0])


@pytest.mark.parametrize("mode", MODES)
def test_one_result_returned_twice_and_constant_results(mode):
    def f(x):
        y = x * x
        return y, y, 3.0
    J = ad.jacobian(f, mode=mode)(np.array([1.0, 2.0]))
    for block in J[:2]:
        np.testing.assert_allclose(block, np.diag([2.0, 4.0]))
    np.testing.assert_allclose(J[2], [0.0, 0.0])
    J[0][:] = 0.0
    np.testing.assert_allclose(J[1], np.diag([2.0, 4.0]))


def test_hessian_of_trees():
    def f(p):
        return p["a"] ** 2 * p["b"].sum() + (p["b"] ** 3).sum()
    H = ad.hessian(f)({"a": 2.0, "b": np.array([1.0, 2.0])})
    assert H["a"]["a"] == 6.0
    np.testing.assert_allclose(H["a"]["b"], [4.0, 4.0])
    np.testing.assert_allclose(H["b"]["a"], [4.0, 4.0])
    np.testing.assert_allclose(H["b"]["b"], np.diag([6.0, 12.0]))


def test_hessian_is_symmetric_and_agrees_with_every_spelling():
    rng = np.random.default_rng(1)
    M, x = rng.normal(size=(4, 4)), rng.normal(size=4)

    def f(x):
        return np.tanh(M @ x).sum() * (x @ x)
    H = ad.hessian(f)(x)
    np.testing.assert_allclose(H, H.T)
    for other in (ad.jacobian(ad.jacobian(f)), ad.jacobian(ad.grad(f), mode="reverse"),
                  ad.jacobian(ad.jacobian(f, mode="forward"), mode="forward"),
                  ad.jacobian(ad.jacobian(f, mode="forward"), mode="reverse")):
        np.testing.assert_allclose(other(x), H)
    for e, column in zip(np.eye(4), H.T, strict=True):
        np.testing.assert_allclose(ad.hvp(f, (x,), (e,)), column)


def test_hvp_of_several_arguments():
    def f(x, z):
        return (x * x * z).sum()
    hx, hz = ad.hvp(f, (np.array([1.0]), np.array([2.0])), (np.array([1.0]), np.array([1.0])))
    assert (hx.tolist(), hz.tolist()) == ([6.0], [2.0])


def test_third_derivatives_and_vmap():
    x = np.array([1.0, 2.0])
    T = ad.jacobian(ad.hessian(lambda x: (x ** 3).sum()))(x)
    assert T.shape == (2, 2, 2)
    np.testing.assert_allclose(T[[0, 1], [0, 1], [0, 1]], [6.0, 6.0])
    X = np.array([[1.0, 2.0], [3.0, 4.0]])
    J = ad.vmap(ad.jacobian(lambda v: v * v.sum()))(X)
    np.testing.assert_allclose(J, [ad.jacobian(lambda v: v * v.sum())(v) for v in X])
    H = ad.vmap(ad.hessian(lambda v: (v ** 3).sum()))(X)
    np.testing.assert_allclose(H, [np.diag(6 * v) for v in X])
    np.testing.assert_allclose(ad.jacobian(lambda X: ad.vmap(np.sin)(X).sum(axis=0))(X).shape,
                               (2, 2, 2))


def test_float32_stays():
    J = ad.jacobian(np.sin)(np.ones(2, np.float32))
    assert J.dtype == np.float32


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_the_function_runs_once(mode):
    calls = []
    ad.jacobian(lambda x: calls.append(1) or np.sin(x), mode=mode)(np.ones(5))
    assert len(calls) == 1
