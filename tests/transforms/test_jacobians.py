"""jacobian and hessian: three layouts, two modes, trees, empty and 0-d, batched and nested."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, DTypeError, ShapeError

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


def parts(f, z):
    """df/dRe z and df/dIm z by central differences, for each element of z."""
    h, steps = 1e-6, np.eye(z.size).reshape(z.size, *z.shape)
    return [np.stack([(f(z + h * d * e) - f(z - h * d * e)) / (2 * h) for e in steps], axis=-1)
            for d in (1.0, 1j)]


@pytest.mark.parametrize("mode", MODES)
def test_complex_results_of_real_arguments(mode):
    def f(x):
        return (2.0 - 1j) * x[:2] * x[2] + 1j * np.sin(x[0])
    x = np.array([0.5, -1.0, 2.0])
    J = ad.jacobian(f, mode=mode)(x)
    assert J.dtype == complex
    np.testing.assert_allclose(J, parts(f, x)[0], atol=1e-9)
    slope = ad.jacobian(lambda t: np.exp(1j * t), mode=mode)(0.5)
    assert type(slope) is complex and slope == pytest.approx(1j * np.exp(0.5j))
    narrow = ad.jacobian(lambda v: 1j * v, mode=mode)(np.ones(2, np.float32))
    assert narrow.dtype == np.complex64
    real, mixed = ad.jacobian(lambda x, z: x * z, argnums=(0, 1), mode=mode)(
        np.array([2.0, 3.0]), np.array([1j, 2.0 + 1j]))
    np.testing.assert_allclose(real, np.diag([1j, 2.0 + 1j]))
    np.testing.assert_allclose(mixed, np.diag([2.0, 3.0]))


@pytest.mark.parametrize("mode", MODES)
def test_holomorphic_functions_and_real_results_of_complex_arguments(mode):
    z = np.array([1.0 + 2.0j, -0.5j])

    def f(z):
        return np.stack([z[0] * z[1], np.exp(z[1]), z[0] ** 3])
    np.testing.assert_allclose(ad.jacobian(f, mode=mode)(z), parts(f, z)[0], atol=1e-8)

    def g(z):
        return np.stack([np.abs(z[0]) ** 2, (z[0] * z[1]).real, z[1].imag])
    by_real, by_imaginary = parts(g, z)
    J = ad.jacobian(g, mode=mode)(z)
    np.testing.assert_allclose(J, by_real - 1j * by_imaginary, atol=1e-8)
    dz = ad.grad(lambda z: g(z).sum())(z)
    np.testing.assert_allclose(J.sum(axis=0), dz.conj())
    both = ad.jacobian(lambda z: (g(z), f(z)), mode=mode)(z)
    np.testing.assert_allclose(both[0], J)
    np.testing.assert_allclose(both[1], parts(f, z)[0], atol=1e-8)


def test_hessian_of_a_complex_argument_says_what_to_write():
    for z in (np.ones(2) * 1j, 1j, ad.tensor([1j])):
        with pytest.raises(DTypeError, match=r"real and imaginary .*ad\.hessian\(f, \(0, 1\)\)"):
            ad.hessian(lambda z: (np.abs(z) ** 2).sum())(z)
    H = ad.hessian(lambda x, y: np.abs(x + 1j * y) ** 2, (0, 1))(1.0, 2.0)
    assert H == ((2.0, 0.0), (0.0, 2.0))
    assert ad.hessian(lambda x, z: (x * np.abs(z)) ** 2)(1.0, 3j) == pytest.approx(18.0)


def test_argnums_may_be_a_numpy_integer():
    def f(x, z):
        return x * z
    assert ad.grad(f, argnums=np.int64(1))(2.0, 3.0) == 2.0
    assert ad.jacobian(f, argnums=np.int8(-1))(2.0, 3.0) == 2.0
    assert ad.value_and_grad(f, argnums=(np.int64(0), 1))(2.0, 3.0) == (6.0, (3.0, 2.0))


@pytest.mark.parametrize("argnums", [1.0, None, "x", np.float64(0), True, (0, 1.0)])
def test_argnums_are_positions(argnums):
    for transform in (ad.jacobian, ad.grad, ad.value_and_grad, ad.hessian):
        with pytest.raises(ArgumentError, match="position of an argument"):
            transform(lambda x, z: x * z, argnums=argnums)(1.0, 2.0)
