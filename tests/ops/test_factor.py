"""Linear algebra against NumPy, SciPy and differences, real and complex, and what is refused.

The rules of each row are tested by tests/test_rows.py on real matrices; here are the public
functions, complex matrices, stacks, second derivatives at singular matrices and the messages.
"""

from __future__ import annotations

import doctest
import warnings

import numpy as np
import pytest
import scipy.linalg

import adjoint as ad
from adjoint.errors import (
    AdjointError,
    ArgumentError,
    DTypeError,
    MatrixError,
    ShapeError,
    UnsupportedError,
)

L = ad.linalg
RNG = np.random.default_rng(7)


def draw(*shape, dtype=float):
    x = RNG.normal(size=shape)
    return x if dtype is float else x + 1j * RNG.normal(size=shape)


def definite(x):
    return x @ np.swapaxes(x, -1, -2).conj() + np.eye(x.shape[-1])


def general(x):
    return x


def shifted(x):
    return x + 4.0 * np.eye(*x.shape[-2:])


def parts(y):
    return y if isinstance(y, tuple) else (y,)


# name: what makes the matrix, arguments behind it, weights make a scalar of each part
FUNCTIONS = {
    "det": (general, ()), "slogdet": (general, ()), "inv": (general, ()),
    "matrix_power 3": (general, (3,)), "matrix_power -2": (general, (-2,)),
    "matrix_power 0": (general, (0,)), "cholesky": (definite, ()), "qr": (general, ()),
    "eigvalsh": (definite, ()), "svdvals": (general, ()), "pinv": (general, ()),
    "cond": (general, ()), "cond 1": (general, (1,)), "cond fro": (general, ("fro",)),
    "norm": (general, ()), "matrix_norm": (general, ()), "vector_norm": (general, ()),
    "matrix_transpose": (general, ())}
SHAPES = {"qr": ((3, 3), (4, 2), (2, 4), (2, 4, 3)), "svdvals": ((3, 3), (4, 2), (2, 2, 4)),
          "pinv": ((3, 3), (4, 2), (2, 4), (2, 4, 3)), "cond": ((3, 3), (4, 2), (2, 3, 2))}


@pytest.mark.parametrize("dtype", [float, complex], ids=["real", "complex"])
@pytest.mark.parametrize("case", FUNCTIONS)
def test_numpys_functions(case, dtype):
    """Value, kind of the result, both modes against differences, single matrices and stacks."""
    make, args = FUNCTIONS[case]
    name = case.split()[0]
    for shape in SHAPES.get(case, ((3, 3), (2, 3, 3))):
        x = make(draw(*shape, dtype=dtype))
        ours, numpys = getattr(L, name), getattr(np.linalg, name)
        expected = numpys(x, *args)
        got = numpys(ad.tensor(x), *args)
        assert type(got).__name__ == type(expected).__name__ or not isinstance(expected, tuple)
        for g, e in zip(parts(got), parts(expected), strict=True):
            assert g.dtype == np.asarray(e).dtype
            np.testing.assert_allclose(g.numpy(), e, rtol=1e-9, atol=1e-12)
        weights = [draw(*np.shape(e), dtype=complex) for e in parts(expected)]

        def f(x, ours=ours, weights=weights):
            return sum((y * w).real.sum() for y, w in zip(parts(ours(x, *args)), weights,
                                                          strict=True))
        against_differences(f, x, make, dtype)


def against_differences(f, x, make, dtype):
    dx = draw(*x.shape, dtype=dtype)
    dx = dx + np.swapaxes(dx, -1, -2).conj() if make is definite else dx
    h = 1e-5
    measured = (8 * (f(x + h * dx) - f(x - h * dx)) - f(x + 2 * h * dx) + f(x - 2 * h * dx)) / (
        12 * h)
    scale = 1 + abs(measured)
    assert abs((ad.grad(f)(x).conj() * dx).real.sum() - measured) < 2e-7 * scale
    assert abs(ad.jvp(f, (x,), (dx,))[1] - measured) < 2e-7 * scale


@pytest.mark.parametrize("dtype", [float, complex], ids=["real", "complex"])
@pytest.mark.parametrize("name", ["expm", "logm", "sqrtm"])
def test_functions_of_a_matrix(name, dtype):
    for shape in ((3, 3), (2, 2, 2)):
        x = definite(draw(*shape, dtype=dtype))
        expected = np.stack([getattr(scipy.linalg, name)(m) for m in x.reshape(-1, *shape[-2:])])
        np.testing.assert_allclose(getattr(L, name)(x), expected.reshape(shape), rtol=1e-9)
        w = draw(*shape, dtype=complex)
        against_differences(lambda x, w=w: (getattr(L, name)(x) * w).real.sum(), x, general, dtype)


def test_expm_is_its_series():
    """Frechet derivative and second derivative at a matrix where the series is short."""
    x = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    e, w = draw(3, 3), draw(3, 3)

    def series(x):
        y, term = np.eye(3), np.eye(3)
        for k in range(1, 25):
            term = term @ x / k
            y = y + term
        return y
    dy = ad.jvp(L.expm, (x,), (e,))[1]
    np.testing.assert_allclose(dy, ad.jvp(series, (x,), (e,))[1], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dy, scipy.linalg.expm_frechet(x, e, compute_expm=False), atol=1e-12)
    second = [ad.hvp(lambda x, f=f: (f(x) * w).sum(), (x,), (e,)) for f in (L.expm, series)]
    np.testing.assert_allclose(*second, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [float, complex], ids=["real", "complex"])
@pytest.mark.parametrize("a, b", [
    ((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3,)), ((2, 3, 3), (3, 2)),
    ((2, 3, 3), (2, 3, 1)), ((3, 3), (2, 3, 3)), ((2, 1, 3, 3), (4, 3, 2))], ids=str)
def test_solve(a, b, dtype):
    """One axis is a vector, anything else holds columns: the rule of NumPy 2."""
    x, z = shifted(draw(*a, dtype=dtype)), draw(*b, dtype=dtype)
    expected = np.linalg.solve(x, z)
    np.testing.assert_allclose(np.linalg.solve(ad.tensor(x), z).numpy(), expected, rtol=1e-10)
    w = draw(*expected.shape, dtype=complex)
    against_differences(lambda x: (L.solve(x, z) * w).real.sum(), x, general, dtype)
    against_differences(lambda z: (L.solve(x, z) * w).real.sum(), z, general, dtype)


@pytest.mark.parametrize("params", [
    {}, {"lower": True}, {"trans": 1}, {"trans": "C", "lower": True}, {"unit_diagonal": True}],
    ids=str)
def test_solve_triangular(params):
    x, z = shifted(draw(3, 3, dtype=complex)), draw(3, 2, dtype=complex)
    np.testing.assert_allclose(L.solve_triangular(x, z, **params),
                               scipy.linalg.solve_triangular(x, z, **params), rtol=1e-10)
    g = ad.grad(lambda x: L.solve_triangular(x, z, **params).real.sum())(x)
    ignored = np.triu(g, 1) if params.get("lower") else np.tril(g, -1)
    np.testing.assert_array_equal(ignored, 0)
    against_differences(lambda x: (L.solve_triangular(x, z, **params) * z).real.sum(), x, general,
                        complex)


def test_cho_solve():
    a, b = definite(draw(3, 3)), draw(3)
    for lower in (True, False):
        c = L.cholesky(a, upper=not lower)
        np.testing.assert_allclose(L.cho_solve((c, lower), b), np.linalg.solve(a, b), rtol=1e-10)
    g = ad.grad(lambda b: L.cho_solve((L.cholesky(a), True), b) @ b)(b)
    np.testing.assert_allclose(g, 2 * np.linalg.solve(a, b), rtol=1e-10)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_reads_one_triangle(upper):
    a = definite(draw(3, 3))
    spoilt = a + 100.0 * np.tril(np.ones((3, 3)), -1).T if not upper else a + 100.0 * np.tril(
        np.ones((3, 3)), -1)
    np.testing.assert_allclose(L.cholesky(spoilt, upper=upper),
                               np.linalg.cholesky(a, upper=upper), rtol=1e-12)
    g = ad.grad(lambda a: L.cholesky(a, upper=upper).sum())(spoilt)
    np.testing.assert_array_equal(np.tril(g, -1) if upper else np.triu(g, 1), 0)
    symmetric = ad.grad(lambda a: L.cholesky((a + a.T) / 2, upper=upper).sum())(a)
    np.testing.assert_allclose(symmetric, (g + g.T) / 2, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("m, n", [(3, 3), (5, 2), (2, 5)])
@pytest.mark.parametrize("dtype", [float, complex], ids=["real", "complex"])
def test_lstsq(m, n, dtype):
    for b in (draw(m, dtype=dtype), draw(m, 2, dtype=dtype)):
        a = draw(m, n, dtype=dtype)
        got, expected = L.lstsq(a, b), np.linalg.lstsq(a, b, None)
        for g, e in zip(got, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-12)
        w = draw(*np.shape(expected[0]), dtype=complex)

        def f(a, b=b, w=w):
            x, residuals, *_ = L.lstsq(a, b)
            return (x * w).real.sum() + residuals.sum()
        against_differences(f, a, general, dtype)


def test_tensorsolve_tensorinv_multi_dot():
    a, b = draw(2, 3, 6), draw(2, 3)
    np.testing.assert_allclose(np.linalg.tensorsolve(ad.tensor(a), b).numpy(),
                               np.linalg.tensorsolve(a, b), rtol=1e-9)
    moved = draw(2, 6, 3)
    np.testing.assert_allclose(L.tensorsolve(moved, b, axes=(1,)),
                               np.linalg.tensorsolve(moved, b, axes=(1,)), rtol=1e-9)
    np.testing.assert_allclose(L.tensorinv(draw(4, 2, 2) * 0 + np.eye(4).reshape(4, 2, 2), ind=1),
                               np.linalg.tensorinv(np.eye(4).reshape(4, 2, 2), ind=1))
    against_differences(lambda a: (L.tensorsolve(a, b) ** 2).sum(), a, general, float)
    xs = [draw(2, 5), draw(5, 3), draw(3, 4), draw(4)]
    for chosen in (xs, xs[:3], [xs[0][0], *xs[1:]], [xs[0][0], *xs[1:3]], xs[:2]):
        np.testing.assert_allclose(L.multi_dot(chosen), np.linalg.multi_dot(chosen), rtol=1e-12)
    g = ad.grad(lambda x: L.multi_dot([xs[0], x, *xs[2:]]).sum())(xs[1])
    np.testing.assert_allclose(g, np.outer(xs[0].sum(0), xs[2] @ xs[3]), rtol=1e-12)


NORMS = [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", [float, complex], ids=["real", "complex"])
def test_norms(dtype):
    x = draw(2, 3, 4, dtype=dtype)
    for p in NORMS:
        for axis in ((0, 2), (1, 2), (-1, 0)):
            for keepdims in (False, True):
                np.testing.assert_allclose(L.norm(x, p, axis, keepdims),
                                           np.linalg.norm(x, p, axis, keepdims), rtol=1e-12)
        against_differences(lambda x, p=p: L.norm(x, p, (2, 1)).sum(), x, general, dtype)
    for p in (None, 0, 0.5, 1, 2, 3, -1, -2.5, np.inf, -np.inf):
        for axis in (0, -1, (1,)):
            np.testing.assert_allclose(L.norm(x, p, axis), np.linalg.norm(x, p, axis), rtol=1e-12)
        against_differences(lambda x, p=p: L.norm(x, p, 1).sum(), x, general, dtype)
        vector = 2 if p is None else p
        np.testing.assert_allclose(L.vector_norm(x, ord=vector, axis=(0, 2)),
                                   np.linalg.vector_norm(x, ord=vector, axis=(0, 2)), rtol=1e-12)
    assert L.norm(x) == pytest.approx(np.linalg.norm(x))


def test_norm_does_not_leave_the_range_of_floats():
    for size in (1e200, 1e-200):
        x = size * np.array([3.0, 4.0])
        np.testing.assert_allclose(L.norm(x), 5.0 * size, rtol=1e-15)
        np.testing.assert_allclose(ad.grad(L.norm)(x), [0.6, 0.8], rtol=1e-15)


# ---- det at singular matrices: exact at both orders

SINGULAR = {"rank n-1": np.diag([1.0, 2.0, 0.0]), "rank n-2": np.diag([3.0, 0.0, 0.0]),
            "zero": np.zeros((3, 3)), "a full one": np.arange(9.0).reshape(3, 3),
            "ones": np.ones((3, 3)), "regular": np.diag([1.0, 2.0, 3.0]) + 0.1}


def leibniz(x):
    return (x[0, 0] * (x[1, 1] * x[2, 2] - x[1, 2] * x[2, 1])
            - x[0, 1] * (x[1, 0] * x[2, 2] - x[1, 2] * x[2, 0])
            + x[0, 2] * (x[1, 0] * x[2, 1] - x[1, 1] * x[2, 0]))


@pytest.mark.parametrize("case", SINGULAR)
def test_det_is_a_polynomial(case):
    x, e = SINGULAR[case], draw(3, 3)
    np.testing.assert_allclose(ad.grad(L.det)(x), ad.grad(leibniz)(x), atol=1e-13)
    np.testing.assert_allclose(ad.jvp(L.det, (x,), (e,))[1], ad.jvp(leibniz, (x,), (e,))[1],
                               atol=1e-12)
    expected = ad.hessian(leibniz)(x)
    np.testing.assert_allclose(ad.hessian(L.det)(x), expected, atol=1e-12)
    np.testing.assert_allclose(ad.jacobian(ad.grad(L.det))(x), expected, atol=1e-12)
    np.testing.assert_allclose(
        ad.grad(lambda x: ad.jvp(L.det, (x,), (e,))[1])(x), np.tensordot(expected, e, 2),
        atol=1e-12)


@pytest.mark.parametrize("case", SINGULAR)
def test_third_derivative_of_det(case):
    x, e = SINGULAR[case], draw(3, 3)

    def third(f):
        def along(f):
            return lambda x: ad.jvp(f, (x,), (e,))[1]
        return ad.grad(along(along(f)))(x)
    np.testing.assert_allclose(third(L.det), third(leibniz), rtol=1e-10, atol=1e-13)


def test_det_of_one_singular_matrix_in_a_stack():
    x = np.stack([SINGULAR["rank n-1"], SINGULAR["regular"]])
    expected = np.stack([ad.grad(leibniz)(m) for m in x])
    np.testing.assert_allclose(ad.grad(lambda x: L.det(x).sum())(x), expected, atol=1e-13)
    np.testing.assert_allclose(ad.vmap(ad.grad(L.det))(x), expected, atol=1e-13)


# ---- what is refused

NEGATIVE = np.array([[1.0, 2.0], [2.0, 1.0]])
ONES = np.ones((2, 2))
REFUSED = [
    (lambda: L.det(np.ones(3)), ShapeError, r"det: a matrix has two axes, and the shape is \(3,\)"),
    (lambda: L.inv(np.ones((2, 3))), ShapeError, r"inv: a square matrix .* \(2, 3\) \(2 rows, 3"),
    (lambda: np.linalg.det(ad.tensor(np.ones((2, 3)))), ShapeError, "det: a square matrix"),
    (lambda: L.inv(ONES), MatrixError,
     r"inv: .* of shape \(2, 2\) is singular \(its rank is 1\).*np.eye\(2\)"),
    (lambda: L.inv(np.stack([np.eye(2), ONES])), MatrixError, r"the matrix at index \(1,\)"),
    (lambda: np.linalg.solve(ad.tensor(ONES), np.ones(2)), MatrixError, "solve: .* singular"),
    (lambda: L.solve(np.eye(3), np.ones((2, 3))), ShapeError, r"solve: 3 equations .*\(2, 3\)"),
    (lambda: L.solve(np.eye(3), np.ones(2)), ShapeError, "solve: 3 equations"),
    (lambda: L.solve(np.ones((2, 3, 3)), np.ones((3, 3, 1))), ShapeError, "batch axes"),
    (lambda: ad.grad(lambda a: L.slogdet(a).logabsdet)(ONES), MatrixError,
     "the derivative of slogdet .*singular"),
    (lambda: ad.jvp(lambda a: L.slogdet(a)[1], (ONES,), (ONES,)), MatrixError, "slogdet"),
    (lambda: ad.grad(lambda a: L.slogdet(a)[1])(np.arange(1.0, 10.0).reshape(3, 3)), MatrixError,
     r"slogdet .*singular \(its rank is 2\)"),
    (lambda: L.cholesky(NEGATIVE), MatrixError,
     r"cholesky: .* not positive definite: its leading minor of order 2 has the eigenvalue -1"),
    (lambda: L.cholesky(np.stack([np.eye(2), NEGATIVE])), MatrixError, r"at index \(1,\)"),
    (lambda: L.cholesky(np.diag([-1.0, 1.0])), MatrixError, "leading minor of order 1"),
    (lambda: ad.grad(lambda a: L.qr(a).Q.sum())(np.ones((3, 2))), MatrixError, "full rank"),
    (lambda: L.qr(np.eye(2), mode="complete"), UnsupportedError, "mode='reduced'"),
    (lambda: L.svd(np.ones((3, 2)), full_matrices=True), UnsupportedError, "full_matrices=False"),
    (lambda: ad.grad(lambda a: L.pinv(a).sum())(ONES), MatrixError, "full rank"),
    (lambda: ad.grad(lambda a: L.lstsq(a, np.ones(2))[0].sum())(ONES), MatrixError, "full rank"),
    (lambda: L.lstsq(np.ones((3, 2)), np.ones(2)), ShapeError, "3 equations"),
    (lambda: ad.grad(lambda a: L.eigvals(a).real[0])(np.eye(2)), MatrixError,
     "eigenvalues 0 and 1 are equal"),
    (lambda: ad.grad(lambda a: L.eig(a).eigenvectors[0, 0].imag)(
        np.array([[1.0, 2.0, 1.0], [-2.0, 1.0, 0.5], [0.1, 0.7, 2.0]])), MatrixError, "phases"),
    (lambda: L.eigh(np.eye(2), UPLO="X"), ArgumentError, "UPLO is 'L' or 'U'"),
    (lambda: L.svdvals(np.full((2, 2), np.nan)), MatrixError, "svdvals: .*NaN"),
    (lambda: L.inv(np.eye(2, dtype=np.float16)), DTypeError, r"no float16; write x.astype"),
    (lambda: L.matrix_power(np.eye(2), 0.5), ArgumentError, "n is an integer"),
    (lambda: L.matrix_power(ONES, -1), MatrixError, "singular"),
    (lambda: L.norm(np.ones(3), "fro"), ArgumentError, "not one of vectors"),
    (lambda: L.norm(ONES, 3), ArgumentError, "not one of matrices"),
    (lambda: L.norm(np.ones((2, 2, 2)), 2), ShapeError, "one axis"),
    (lambda: L.norm(ONES, axis=2), ShapeError, "axis 2 does not exist"),
    (lambda: L.multi_dot([ONES]), ShapeError, "two or more"),
    (lambda: L.multi_dot([ONES, np.ones((3, 2))]), ShapeError, "do not fit"),
    (lambda: L.tensorsolve(np.ones((2, 3)), np.ones(2)), ShapeError, "tensorsolve"),
    (lambda: L.tensorinv(np.ones((2, 3)), 1), ShapeError, "tensorinv"),
    (lambda: L.tensorinv(np.eye(2), 0), ArgumentError, "positive"),
    (lambda: L.solve_triangular(np.eye(2), np.ones(2), trans=3), ArgumentError, "trans"),
    (lambda: L.logm(np.diag([-1.0, 1.0])), MatrixError, r"astype\(complex\)"),
    (lambda: L.sqrtm(np.diag([-1.0, 1.0])), MatrixError, r"astype\(complex\)"),
    (lambda: L.funm(np.eye(2)), AttributeError, "ad.linalg has no 'funm'"),
]


@pytest.mark.parametrize("call, error, message", REFUSED)
def test_refused(call, error, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(error, match=message) as caught:
            call()
    if error is MatrixError:
        assert isinstance(caught.value, np.linalg.LinAlgError)
        assert isinstance(caught.value, AdjointError)


def test_empty_matrices():
    x = np.zeros((0, 0))
    assert L.det(x) == 1.0
    for name in ("inv", "cholesky", "eigvalsh", "svdvals", "expm", "adjugate"):
        y = getattr(L, name)(x)
        assert y.shape[0] == 0
        assert ad.grad(lambda x, name=name: getattr(L, name)(x).sum())(x).shape == (0, 0)


def test_integers_become_floats():
    x = np.array([[2, 1], [1, 3]])
    for name in ("det", "inv", "cholesky", "qr", "eigh", "svd", "pinv", "norm", "cond"):
        for y, e in zip(parts(getattr(L, name)(x)), parts(getattr(np.linalg, name)(x)),
                        strict=True):
            np.testing.assert_allclose(y, e, rtol=1e-12, atol=1e-14)
            assert np.asarray(y).dtype == np.float64


@pytest.mark.parametrize("name", L.__all__)
def test_documented_with_an_example_that_runs(name):
    function = getattr(L, name)
    text = function.__doc__
    assert text and function.__name__ in (name, "norm")
    examples = doctest.DocTestParser().get_doctest(text, {"ad": ad, "np": np}, name, None, 0)
    assert examples.examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    out: list[str] = []
    runner.run(examples, out=out.append)
    assert runner.failures == 0, "".join(out)


def test_scipy_is_not_needed_but_for_functions_of_a_matrix():
    import subprocess
    import sys
    code = ("import sys, numpy as np, adjoint as ad\n"
            "ad.grad(lambda a: ad.linalg.svd(a).S.sum() + ad.linalg.det(a))(np.eye(2) + 0.1)\n"
            "assert 'scipy' not in sys.modules\nad.linalg.expm(np.eye(2))\n"
            "assert 'scipy' in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_lstsq_in_a_batch():
    a, b = draw(4, 5, 2), draw(4, 5)
    got = ad.vmap(lambda a, b: L.lstsq(a, b)[:2])(a, b)
    for k in range(4):
        for g, e in zip(got, np.linalg.lstsq(a[k], b[k], None)[:2], strict=True):
            np.testing.assert_allclose(g[k], e, rtol=1e-9)


@pytest.mark.parametrize("call", [
    lambda f, x: f.trace(x), lambda f, x: f.trace(x, offset=1), lambda f, x: f.diagonal(x),
    lambda f, x: f.diagonal(x, offset=-1), lambda f, x: f.cross(x, x[::-1]),
    lambda f, x: f.cross(x, x[:, ::-1], axis=1), lambda f, x: f.vecdot(x, x[0]),
    lambda f, x: f.vecdot(x, x[:, ::-1], axis=0), lambda f, x: f.outer(x[0, 0], x[0, 1]),
    lambda f, x: f.tensordot(x, x, axes=((1, 2), (1, 2))), lambda f, x: f.matmul(x, x)])
def test_second_names(call):
    x = draw(3, 3, 3, dtype=complex)
    np.testing.assert_allclose(call(np.linalg, ad.tensor(x)).numpy(), call(np.linalg, x),
                               rtol=1e-12)
    w = draw(*call(np.linalg, x).shape, dtype=complex)
    against_differences(lambda x: (call(np.linalg, x) * w).real.sum(), x, general, complex)


@pytest.mark.parametrize("x", [np.diag([1.0, 1e-20]), np.array([[1.0, 1e-20], [1.0, 2e-20]]),
                               np.array([[1.0, 1.0], [1e-20, 2e-20]])], ids=range(3))
def test_slogdet_of_a_badly_scaled_matrix(x):
    """Small is not singular: the derivative is as exact as the inverse."""
    np.testing.assert_allclose(ad.grad(lambda a: L.slogdet(a)[1])(x), np.linalg.inv(x).T)


# ---- found by review

def conditioned(m, n, cond=1e8):
    k = min(m, n)
    u, v = (np.linalg.qr(RNG.normal(size=(p, k)))[0] for p in (m, n))
    return (u * np.logspace(0, -np.log10(cond), k)) @ v.T


@pytest.mark.parametrize("m, n", [(6, 4), (4, 4), (4, 6)])
def test_lstsq_of_an_ill_conditioned_system(m, n):
    """Through the pseudo-inverse the gradient had one digit at condition 1e8; now it has seven."""
    mpmath = pytest.importorskip("mpmath", reason="the gradient is computed with sixty digits")
    a = conditioned(m, n)
    b, w = a @ RNG.normal(size=n), RNG.normal(size=n)
    with mpmath.workdps(60):
        big, rhs, weights = (mpmath.matrix(v.tolist()) for v in (a, b, w))
        p = (mpmath.inverse(big.T * big) * big.T if m >= n
             else big.T * mpmath.inverse(big * big.T))
        x, u = p * rhs, p.T * weights
        exact = (-u * x.T + (rhs - big * x) * (p * u).T
                 + (p.T * x) * (weights - p * (big * weights)).T)
        exact = np.array(exact.tolist(), float)
        through_b = np.array(u.tolist(), float).ravel()
    got, db = ad.grad(lambda a, b: L.lstsq(a, b)[0] @ w, (0, 1))(a, b)
    np.testing.assert_allclose(got, exact, atol=1e-6 * abs(exact).max())
    np.testing.assert_allclose(db, through_b, atol=1e-7 * abs(through_b).max())


def test_lstsq_of_an_ill_conditioned_square_system_is_solve():
    a, b, w = conditioned(4, 4), RNG.normal(size=4), RNG.normal(size=4)
    got, expected = (ad.grad(lambda a, f=f: f(a, b) @ w)(a)
                     for f in (lambda a, b: L.lstsq(a, b)[0], L.solve))
    np.testing.assert_allclose(got, expected, atol=1e-6 * abs(expected).max())


def test_solve_triangular_is_substitution():
    """Columns that grow: the condition number is 1e30, and every digit is right."""
    n = 12
    a = np.tril(np.ones((n, n))) * np.logspace(0, 30, n)
    x = RNG.normal(size=n)
    b = a @ x
    y = L.solve_triangular(a, b, lower=True)
    np.testing.assert_allclose(a @ y, b, rtol=1e-14)
    with pytest.raises(MatrixError, match="number 1 of its diagonal is 0"):
        L.solve_triangular(np.diag([1.0, 0.0]), np.ones(2))
    stacked = np.stack([np.eye(2), np.diag([0.0, 1.0])])
    with pytest.raises(MatrixError, match=r"at index \(1,\).*number 0"):
        L.solve_triangular(stacked, np.ones((2, 1)))
    with pytest.raises(ShapeError, match="solve_triangular: 2 equations"):
        L.solve_triangular(np.eye(2), np.ones(3))


@pytest.mark.parametrize("dtype", [float, complex], ids=["real", "complex"])
@pytest.mark.parametrize("trans", ["N", "T", "C"])
@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_solve_triangular_every_way(dtype, trans, lower, unit):
    for a, b in (((3, 3), (3,)), ((2, 3, 3), (3, 2)), ((3, 3), (2, 3, 1))):
        x, z = shifted(draw(*a, dtype=dtype)), draw(*b, dtype=dtype)
        params = {"lower": lower, "trans": trans, "unit_diagonal": unit}
        y = L.solve_triangular(x, z, **params)
        kept = np.tril(x, -1) if lower else np.triu(x, 1)
        kept = kept + (np.eye(3) if unit else x * np.eye(3))
        kept = {"N": kept, "T": kept.swapaxes(-1, -2), "C": kept.swapaxes(-1, -2).conj()}[trans]
        np.testing.assert_allclose(kept @ (y[..., None] if len(b) == 1 else y),
                                   (z[..., None] if len(b) == 1 else z) + 0 * kept[..., :1],
                                   rtol=1e-10, atol=1e-12)
        w = draw(*y.shape, dtype=complex)
        against_differences(lambda x, z=z, w=w, p=params: (
            L.solve_triangular(x, z, **p) * w).real.sum(), x, general, dtype)
        against_differences(lambda z, x=x, w=w, p=params: (
            L.solve_triangular(x, z, **p) * w).real.sum(), z, general, dtype)


@pytest.mark.parametrize("size", [1e-160, 1e-150, 1e200])
@pytest.mark.parametrize("p", [2, 0.5, 3, -1, -2.5, 1.5])
def test_vector_norms_scale(size, p):
    """|s x| = s |x|, and the gradient is the same, where squares and powers leave the range."""
    x = np.array([3.0, -4.0, 1.0])
    np.testing.assert_allclose(L.norm(size * x, p), size * np.linalg.norm(x, p), rtol=1e-14)
    np.testing.assert_allclose(ad.grad(lambda x: L.norm(x, p))(size * x),
                               ad.grad(lambda x: L.norm(x, p))(x), rtol=1e-13)


def test_norms_of_single_precision_near_the_edge():
    x = np.array([3e-22, 4e-22], np.float32)
    np.testing.assert_allclose(ad.grad(L.norm)(x), [0.6, 0.8], rtol=1e-6)


def test_an_element_zero_in_a_norm_of_order_below_one():
    """|x_i| has derivative 0 at 0, in every order."""
    x = np.array([1.0, 0.0, 4.0])
    np.testing.assert_allclose(ad.grad(lambda x: L.norm(x, 0.5))(x), [3.0, 0.0, 1.5])
    assert ad.jvp(lambda x: L.norm(x, 0.5), (x,), (np.ones(3),))[1] == pytest.approx(4.5)


@pytest.mark.parametrize("p", ["nuc", 2, 1, np.inf, "fro", None])
def test_norms_of_nothing_are_numpys(p):
    for shape in ((0, 0), (0, 3), (3, 0)):
        assert L.norm(np.zeros(shape), p) == np.linalg.norm(np.zeros(shape), p) == 0.0


def test_columns_of_different_size_are_no_matter_to_qr():
    rng = np.random.default_rng(0)
    a, scale = rng.normal(size=(4, 3)), np.array([1.0, 1e-20, 1e20])
    got = ad.grad(lambda a: (L.qr(a).Q ** 2)[0].sum())(a * scale) * scale
    np.testing.assert_allclose(got, ad.grad(lambda a: (L.qr(a).Q ** 2)[0].sum())(a), atol=1e-14)
    with pytest.raises(MatrixError, match="full rank"):
        ad.grad(lambda a: L.qr(a).R.sum())(a[:, [0, 1, 0]] * scale)
    with pytest.raises(MatrixError, match="full rank"):
        ad.grad(lambda a: L.qr(a).R.sum())(a * np.array([1.0, 0.0, 1.0]))


@pytest.mark.filterwarnings("ignore:Matrix is singular")  # SciPy says so too
def test_functions_of_singular_matrices():
    for x in (np.diag([0.0, 1.0]), np.arange(9.0).reshape(3, 3)):
        with pytest.raises(MatrixError, match=r"logm, .* singular"):
            L.logm(x)
    with pytest.raises(MatrixError, match=r"derivative of sqrtm: .* singular"):
        ad.grad(lambda x: L.sqrtm(x).sum())(np.diag([0.0, 1.0]))
    with pytest.raises(MatrixError, match=r"derivative of sqrtm: .* singular"):
        ad.jvp(L.sqrtm, (np.diag([0.0, 1.0]),), (np.eye(2),))
    np.testing.assert_allclose(L.sqrtm(np.diag([0.0, 4.0])), np.diag([0.0, 2.0]))
    small = np.diag([1e-20, 1.0])
    np.testing.assert_allclose(np.diag(ad.grad(lambda x: ad.trace(L.logm(x)))(small)), [1e20, 1.0])
    np.testing.assert_allclose(np.diag(ad.grad(lambda x: ad.trace(L.sqrtm(x)))(small)), [5e9, 0.5])
    for name in ("expm", "logm", "sqrtm"):
        assert np.isnan(getattr(L, name)(np.array([[np.nan, 0.0], [0.0, 1.0]]))).all()


def test_ranks_and_conditions_of_special_shapes():
    for x in (np.ones(3), np.zeros(3), np.ones(()), np.ones((2, 3))):
        assert np.linalg.matrix_rank(ad.tensor(x)) == np.linalg.matrix_rank(x)
    for p in (None, 2, -2):
        x = np.stack([np.eye(2), np.zeros((2, 2))])
        np.testing.assert_array_equal(L.cond(x, p), np.linalg.cond(x, p))
    with pytest.raises(ShapeError, match="cond: a matrix without elements"):
        L.cond(np.zeros((0, 0)))
    with pytest.raises(ArgumentError, match="two names"):
        L.pinv(np.eye(2), 1e-3, rtol=1e-3)
    with pytest.raises(DTypeError, match=r"np\.float64"):
        L.inv(np.eye(2, dtype=np.longdouble))


@pytest.mark.parametrize("cond", [1e2, 1e5, 1e8, 1e12])
def test_det_of_an_ill_conditioned_matrix(cond):
    """The gradient has the digits of a polynomial, not those of the inverse (eps cond).

    A rounding of the matrix changes the adjugate by eps s_1 / s_4 of itself.
    """
    mpmath = pytest.importorskip("mpmath", reason="the gradient is computed with sixty digits")
    a = conditioned(5, 5, cond)
    with mpmath.workdps(60):
        big = mpmath.matrix(a.tolist())
        exact = np.array((mpmath.det(big) * mpmath.inverse(big)).T.tolist(), float)
    got = ad.grad(L.det)(a)
    bound = 30 * np.finfo(float).eps * cond ** 0.75 * abs(exact).max()
    np.testing.assert_allclose(got, exact, rtol=0, atol=bound)


def test_the_minor_that_is_not_positive_is_found_fast():
    a = np.eye(400)
    a[300, 300] = -1.0
    with pytest.raises(MatrixError, match=r"leading minor of order 301 has the eigenvalue -1 "):
        L.cholesky(a)
    complex_one = np.array([[1.0, 2j], [-2j, 1.0]])
    with pytest.raises(MatrixError, match="order 2 has the eigenvalue -1 "):
        L.cholesky(complex_one)


def test_scalars_and_tensors_come_as_numpy_says():
    """A number is a NumPy scalar, not a 0-d array; of Tensors every part is a Tensor."""
    x = draw(3, 3)
    for y in (*L.slogdet(x), L.det(x), L.multi_dot([x[0], x, x[1]]), L.cond(x), L.norm(x)):
        assert type(y) is np.float64
    for m in (x, x[:, :2]):
        parts_of = L.lstsq(ad.tensor(m), np.ones(3))
        assert all(isinstance(y, ad.Tensor) for y in parts_of)


def test_lstsq_is_linear_in_b_whatever_the_rank():
    a, b, db = np.ones((3, 2)), draw(3), draw(3)
    np.testing.assert_allclose(ad.grad(lambda b: L.lstsq(a, b)[0].sum())(b), np.ones(3) / 3)
    dx = ad.jvp(lambda b: L.lstsq(a, b)[0], (b,), (db,))[1]
    np.testing.assert_allclose(dx, np.full(2, db.mean() / 2))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("f", [L.det, lambda x: L.svdvals(x).sum(), lambda x: L.svd(x).S.sum(),
                               lambda x: L.norm(x, 2), lambda x: L.pinv(x).sum()])
def test_what_is_not_finite_is_named_and_never_loops(f, bad):
    """LAPACK's gesdd does not return for some matrices with infinities."""
    a = np.diag([1.0, bad, 2.0])
    for derive in (ad.grad(f), lambda a: ad.jvp(f, (a,), (np.eye(3),))):
        with (np.errstate(all="ignore"),
              pytest.raises(MatrixError, match=r"has (nan|-?inf) at \(1, 1\)")):
            derive(a)
