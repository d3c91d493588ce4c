"""Eigenvalues and singular values: equal ones, gauges, triangles, order 2."""

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import MatrixError

L = ad.linalg
RNG = np.random.default_rng(11)


def orthogonal(n):
    return np.linalg.qr(RNG.normal(size=(n, n)))[0]


def with_values(*values):
    q = orthogonal(len(values))
    return q @ np.diag(values) @ q.T


def function_of(g):
    """V diag(g(w)) V^H by eigh."""
    def f(a):
        w, v = L.eigh(a)
        return (v * g(w)) @ np.swapaxes(v, -1, -2).conj()
    return f


def same(w):
    return w


SYMMETRIC = {
    "I of two": np.eye(2), "I of three": np.eye(3), "diag(1, 1, 2)": np.diag([1.0, 1.0, 2.0]),
    "turned 1 1 2 3": with_values(1, 1, 2, 3), "turned 2 2 2 5": with_values(2, 2, 2, 5),
    "two blocks": with_values(1, 1, 3, 3), "separate": with_values(1, 2, 3)}


@pytest.mark.parametrize("case", SYMMETRIC)
def test_sum_of_the_matrix_itself(case):
    """EDGE_CASES: in a function that does not depend on the gauge the gradient is right: ones."""
    a = SYMMETRIC[case]
    g = ad.grad(lambda a: function_of(same)(a).sum())(a)
    np.testing.assert_allclose(g, np.ones(a.shape), atol=1e-12)
    t = ad.tensor(a, requires_grad=True)
    w, v = np.linalg.eigh(t)
    ((v * w) @ v.T).sum().backward()
    np.testing.assert_allclose(t.grad.numpy(), np.ones(a.shape), atol=1e-12)


@pytest.mark.parametrize("case", SYMMETRIC)
def test_functions_of_a_matrix(case):
    """The derivatives of a**3, exp(a) and inv(a) by eigh are those that need no eigenvalues."""
    a, c = SYMMETRIC[case], RNG.normal(size=SYMMETRIC[case].shape)
    c = c + c.T
    for g, plain in ((lambda w: w ** 3, lambda a: a @ a @ a), (np.exp, L.expm),
                     (lambda w: 1.0 / w, L.inv)):
        got = ad.grad(lambda a, g=g: (function_of(g)(a) * c).sum())(a)
        expected = ad.grad(lambda a, f=plain: (f(a) * c).sum())(a)
        np.testing.assert_allclose(got, (expected + expected.T) / 2, rtol=1e-8, atol=1e-8)
    values = ad.grad(lambda a: (L.eigh(a).eigenvalues ** 3).sum())(a)
    np.testing.assert_allclose(values, 3 * a @ a, atol=1e-10)


def test_a_sum_of_two_kinds_in_a_block_of_three():
    """phi(V g(w) V^T) + h(w): the fit needs three equal values to be confirmed."""
    def f(a):
        return function_of(np.exp)(a)[0].sum() + (L.eigh(a).eigenvalues ** 2).sum()
    for a in (np.eye(3), with_values(2, 2, 2, 5)):
        got = ad.grad(f)(a)
        c = np.zeros(a.shape)
        c[0] = 1.0
        exact = ad.grad(lambda a, c=c: (L.expm(a) * c).sum())(a) + 2 * a
        np.testing.assert_allclose(got, (exact + exact.T) / 2, rtol=1e-8, atol=1e-8)


def test_two_decompositions_are_two_functions():
    a, c = with_values(1, 1, 2), C @ C
    got = ad.grad(lambda a: (function_of(np.exp)(a) * C).sum() + (
        function_of(lambda w: w ** 2)(a) * c).sum())(a)
    exact = ad.grad(lambda a: (L.expm(a) * C).sum() + ((a @ a) * c).sum())(a)
    np.testing.assert_allclose(got, (exact + exact.T) / 2, rtol=1e-8, atol=1e-8)


DEPENDENT = {
    "one element of a vector": lambda a: L.eigh(a).eigenvectors[0, 0],
    "vectors and values": lambda a: (L.eigh(a).eigenvectors * np.arange(1.0, 4.0)).sum(),
    "a projector of one vector": lambda a: projector(L.eigh(a).eigenvectors[:, :1])[0].sum(),
    "one value beside vectors": lambda a: L.eigh(a).eigenvalues[0],
    "two functions of one decomposition": lambda a: two_functions(*L.eigh(a)),
}
C = RNG.normal(size=(3, 3))


def projector(v):
    return v @ v.T


def two_functions(w, v):
    """It depends on no gauge, but its cotangents do not tell the derivative: the limit of eigh."""
    return ((v * np.exp(w)) @ v.T * C).sum() + ((v * w ** 2) @ v.T * (C @ C)).sum()


@pytest.mark.parametrize("case", DEPENDENT)
@pytest.mark.parametrize("a", [np.eye(3), with_values(1, 1, 2)], ids=["I", "turned"])
def test_what_depends_on_the_gauge_is_an_error(case, a):
    with pytest.raises(MatrixError, match=r"the values 1, 1.*\(positions \[0, 1.*are equal"):
        ad.grad(DEPENDENT[case])(a)
    x = with_values(1, 2, 3)
    assert np.isfinite(ad.grad(DEPENDENT[case])(x)).all()


def test_the_error_names_the_matrix_of_a_stack():
    x = np.stack([np.diag([1.0, 2.0]), np.diag([3.0, 3.0])])
    with pytest.raises(MatrixError, match=r"the values 3, 3 \(positions \[0, 1\] at index \(1,\)"):
        ad.grad(lambda x: L.eigh(x).eigenvectors[:, 0, 0].sum())(x)
    with pytest.raises(MatrixError, match=r"at index \(1,\)"):
        ad.vmap(ad.grad(lambda x: L.eigh(x).eigenvectors[0, 0]))(x)


def test_forward_mode():
    """Right where the direction splits no equal eigenvalues, else an error."""
    a = np.diag([1.0, 1.0, 2.0])
    d = np.diag([1.0, 2.0, 3.0])
    d[0, 2] = d[2, 0] = 0.5
    np.testing.assert_allclose(ad.jvp(function_of(same), (a,), (d,))[1], d, atol=1e-14)
    np.testing.assert_allclose(ad.jvp(function_of(np.exp), (a,), (np.diag([1.0, 2.0, 3.0]),))[1],
                               np.diag(np.exp([1, 1, 2]) * [1, 2, 3]), atol=1e-12)
    with pytest.raises(MatrixError, match="direction that splits them"):
        ad.jvp(function_of(same), (a,), (np.ones((3, 3)),))
    b = with_values(1, 2, 4)
    np.testing.assert_allclose(ad.jvp(function_of(same), (b,), (np.ones((3, 3)),))[1],
                               np.ones((3, 3)), atol=1e-12)


@pytest.mark.parametrize("second", [
    lambda f, a: ad.hessian(f)(a), lambda f, a: ad.jacobian(ad.grad(f))(a),
    lambda f, a: ad.grad(lambda a: ad.jvp(f, (a,), (np.diag([1.0, 2.0]),))[1])(a)],
    ids=["hessian", "twice reverse", "reverse over forward"])
@pytest.mark.parametrize("f", [
    lambda a: function_of(same)(a).sum(), lambda a: (L.eigvalsh(a) ** 2).sum(),
    lambda a: (L.svdvals(a) ** 2).sum()], ids=["eigh", "eigvalsh", "svdvals"])
def test_no_wrong_second_derivative(f, second):
    """At equal values it is an error, elsewhere that of the function without eigenvalues."""
    with pytest.raises(MatrixError, match="are equal"):
        second(f, np.eye(2))
    assert np.isfinite(second(f, np.array([[2.0, 0.5], [0.5, 1.0]]))).all()


def test_second_derivatives_at_separate_values():
    a, c = with_values(1, 2, 4), RNG.normal(size=(3, 3))
    got = ad.hessian(lambda a: (function_of(np.exp)(a) * c).sum())(a)
    exact = ad.hessian(lambda a: (L.expm((a + a.T) / 2) * c).sum())(a)
    np.testing.assert_allclose(got, exact, rtol=1e-7, atol=1e-9)


def test_values_share_where_they_are_equal():
    for f in (L.eigvalsh, L.svdvals):
        for x in (np.eye(2), np.eye(3)):
            n = len(x)
            for mode in (ad.grad, ad.jacobian):
                np.testing.assert_allclose(mode(lambda a, f=f: f(a).sum())(x), np.eye(n))
                np.testing.assert_allclose(mode(lambda a, f=f: f(a).max())(x), np.eye(n) / n)
            forward = ad.jvp(lambda a, f=f: f(a).sum(), (x,), (np.ones((n, n)),))[1]
            assert forward == pytest.approx(n)
    g = ad.grad(lambda a: (L.eigvalsh(a) ** 3).sum())(with_values(1, 1, 2))
    assert np.linalg.eigvalsh(g) == pytest.approx([3, 3, 12])
    np.testing.assert_allclose(ad.grad(lambda a: L.norm(a, 2))(np.eye(2)), np.eye(2) / 2)


def test_triangles():
    """Without UPLO the Hermitian part counts; with it one triangle, and the other gets 0."""
    a = RNG.normal(size=(3, 3))
    np.testing.assert_allclose(L.eigvalsh(a), np.linalg.eigvalsh((a + a.T) / 2), rtol=1e-12)
    for uplo in "LU":
        np.testing.assert_allclose(np.linalg.eigvalsh(ad.tensor(a), uplo).numpy(),
                                   np.linalg.eigvalsh(a, uplo), rtol=1e-12)
        for f in (lambda a, u=uplo: (L.eigvalsh(a, u) * np.arange(3.0)).sum(),
                  lambda a, u=uplo: (L.eigh(a, u).eigenvectors ** 2 * C).sum()):
            g, d = ad.grad(f)(a), RNG.normal(size=(3, 3))
            np.testing.assert_array_equal(np.triu(g, 1) if uplo == "L" else np.tril(g, -1), 0)
            slope = (f(a + 1e-6 * d) - f(a - 1e-6 * d)) / 2e-6
            assert (g * d).sum() == pytest.approx(slope, rel=1e-6)


def test_complex_eigh():
    x = RNG.normal(size=(3, 3)) + 1j * RNG.normal(size=(3, 3))
    a, d = x + x.conj().T, x @ x.conj().T
    w = RNG.normal(size=(3, 3)) + 1j * RNG.normal(size=(3, 3))

    def f(a):
        return (function_of(np.exp)(a) * w).real.sum()
    g = ad.grad(f)(a)
    slope = (f(a + 1e-6 * d) - f(a - 1e-6 * d)) / 2e-6
    assert (g.conj() * d).real.sum() == pytest.approx(slope, rel=1e-6)
    assert ad.jvp(f, (a,), (d,))[1] == pytest.approx(slope, rel=1e-6)
    np.testing.assert_allclose(g, g.conj().T)
    with pytest.raises(MatrixError, match="phases of complex vectors"):
        ad.grad(lambda a: (L.eigh(a).eigenvectors * w).real.sum())(a)
    flat = np.diag([1.0, 1.0, 2.0]) + 0j
    got = ad.grad(lambda a: (function_of(lambda w: w ** 2)(a) * (w + w.conj().T)).real.sum())(flat)
    exact = ad.grad(lambda a: ((a @ a) * (w + w.conj().T)).real.sum())(flat)
    np.testing.assert_allclose(got, (exact + exact.conj().T) / 2, atol=1e-10)


# ---- svd

def rebuilt(g):
    def f(a):
        u, s, vh = L.svd(a)
        return (u * g(s)) @ vh
    return f


@pytest.mark.parametrize("a", [
    np.eye(3), orthogonal(3), orthogonal(4)[:, :3] @ np.diag([2.0, 2.0, 1.0]) @ orthogonal(3),
    np.diag([2.0, 2.0, 1.0])[:, :] @ orthogonal(4)[:3], np.diag([3.0, 2.0, 1.0]) + 0.1],
    ids=["I", "orthogonal", "tall", "wide", "separate"])
def test_svd_with_equal_values(a):
    c = RNG.normal(size=a.shape)
    np.testing.assert_allclose(ad.grad(lambda a: rebuilt(same)(a).sum())(a), np.ones(a.shape),
                               atol=1e-12)
    np.testing.assert_allclose(ad.grad(lambda a: (rebuilt(lambda s: s ** 3)(a) * c).sum())(a),
                               ad.grad(lambda a: ((a @ a.T @ a) * c).sum())(a), atol=1e-10)


def test_svd_and_its_gauge():
    with pytest.raises(MatrixError, match="are equal"):
        ad.grad(lambda a: L.svd(a).U[0, 0])(np.eye(2))
    with pytest.raises(MatrixError, match="singular value number 1 is 0"):
        ad.grad(lambda a: L.svd(a).U[0, 1])(np.diag([1.0, 0.0]))
    with pytest.raises(MatrixError, match="splits"):
        ad.jvp(rebuilt(same), (np.eye(2),), (np.ones((2, 2)),))
    x = RNG.normal(size=(3, 2)) + 1j * RNG.normal(size=(3, 2))
    with pytest.raises(MatrixError, match="phases"):
        ad.grad(lambda a: (L.svd(a).U * x).real.sum())(x)
    d = x[::-1] * 1j
    w = x[:, ::-1]

    def f(a):
        return (rebuilt(np.exp)(a) * w).real.sum()
    slope = (f(x + 1e-6 * d) - f(x - 1e-6 * d)) / 2e-6
    assert (ad.grad(f)(x).conj() * d).real.sum() == pytest.approx(slope, rel=1e-6)
    assert ad.jvp(f, (x,), (d,))[1] == pytest.approx(slope, rel=1e-6)


def test_svd_as_numpy():
    x = RNG.normal(size=(2, 3, 4))
    for got, expected in zip(np.linalg.svd(ad.tensor(x), full_matrices=False),
                             np.linalg.svd(x, full_matrices=False), strict=True):
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(L.svd(x, compute_uv=False), np.linalg.svdvals(x), rtol=1e-12)
    assert L.svd(np.eye(3), full_matrices=True).U.shape == (3, 3)


# ---- eig

def test_eig_as_numpy():
    rotation = np.array([[0.0, -1.0], [1.0, 0.5]])
    for x in (np.diag([1.0, 2.0]) + 0.1, rotation, rotation + 0.2j):
        for got, expected in zip(np.linalg.eig(ad.tensor(x)), np.linalg.eig(x), strict=True):
            np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12)
            assert got.dtype == np.complex128
    g = ad.grad(lambda a: (L.eigvals(a) ** 2).real.sum())(rotation)
    np.testing.assert_allclose(g, 2 * rotation.T, atol=1e-12)
    h = ad.hessian(lambda a: (L.eigvals(a) ** 2).real.sum())(rotation)
    np.testing.assert_allclose(h, ad.hessian(lambda a: ad.trace(a @ a))(rotation), atol=1e-10)


def test_equal_values_in_float32():
    a = with_values(1, 1, 2, 3).astype(np.float32)
    g = ad.grad(lambda a: function_of(same)(a).sum())(a)
    np.testing.assert_allclose(g, np.ones((4, 4)), atol=1e-4)
    with pytest.raises(MatrixError, match="are equal"):
        ad.grad(lambda a: L.eigh(a).eigenvectors[0, 0])(np.eye(2, dtype=np.float32))
    z = (RNG.normal(size=(3, 3)) + 1j * RNG.normal(size=(3, 3))).astype(np.complex64)
    z = z + z.conj().T
    g = ad.grad(lambda a: function_of(same)(a).real.sum())(z)
    np.testing.assert_allclose(g, np.ones((3, 3)), atol=1e-4)


def test_float32_stays_float32():
    x = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)
    for name in ("eigh", "eig", "svd"):
        y = getattr(L, name)(x)
        assert {np.zeros(1, p.dtype).real.dtype for p in y} == {np.dtype(np.float32)}
        assert ad.grad(lambda a, n=name: abs(getattr(L, n)(a)[0]).sum())(x).dtype == np.float32


# ---- found by review: chains, second derivatives that rounding spoils, defective matrices

def test_a_chain_of_close_values_is_one_block():
    """Each equals the next, the first and the last differ: the parts of the rule meet."""
    step = 1.2 * 64 * 2.2e-16 * 4
    c = np.random.default_rng(0).normal(size=(4, 4))
    for a in (np.diag([1.0, 1.0 + step, 1.0 + 2 * step, 2.0]),):
        got = ad.grad(lambda a: (function_of(np.exp)(a) * (c + c.T)).sum())(a)
        exact = ad.grad(lambda a: (L.expm(a) * (c + c.T)).sum())(a)
        np.testing.assert_allclose(got, exact, rtol=1e-9, atol=1e-9)
        u = np.eye(4)[[1, 0, 3, 2]]
        got = ad.grad(lambda a: (rebuilt(lambda s: s ** 3)(a) * c).sum())(u @ a)
        exact = ad.grad(lambda a: ((a @ a.T @ a) * c).sum())(u @ a)
        np.testing.assert_allclose(got, exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("gap", [1e-7, 1e-9, 1e-12])
def test_a_second_derivative_without_digits_is_an_error(gap):
    """It loses eps/gap^2; the first loses eps/gap, and so does that of eigvalsh."""
    a, c = np.diag([1.0, 1.0 + gap, 2.0]), C + C.T
    for f in (lambda a: (function_of(np.exp)(a) * c).sum(),
              lambda a: (rebuilt(lambda s: s ** 3)(a) * c).sum()):
        assert np.isfinite(ad.grad(f)(a)).all()
        for second in (ad.hessian, lambda f: ad.jacobian(ad.grad(f))):
            with pytest.raises(MatrixError, match=r"nearly equal, and .* too few digits"):
                second(f)(a)
    h = ad.hessian(lambda a: (L.eigvalsh(a) ** 2).sum())(a)
    exact = ad.hessian(lambda a: (((a + a.T) / 2) ** 2).sum())(a)
    np.testing.assert_allclose(h, exact, atol=1e-14 / gap)


@pytest.mark.parametrize("gap", [1e-3, 1e-5])
def test_second_derivatives_near_equal_values(gap):
    a, c = np.diag([1.0, 1.0 + gap, 2.0]), C + C.T
    got = ad.hessian(lambda a: (function_of(np.exp)(a) * c).sum())(a)
    exact = ad.hessian(lambda a: (L.expm((a + a.T) / 2) * c).sum())(a)
    np.testing.assert_allclose(got, exact, atol=1e-14 / gap ** 2)


@pytest.mark.parametrize("jordan", [
    [[1.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0]], [[1.0, 1.0, 0], [0, 1, 1], [0, 0, 1]],
    [[0.0, 1.0, 0], [0, 0, 1], [0, 0, 0]]], ids=["pair", "triple", "nilpotent"])
def test_defective_matrices_have_no_eigenvalue_derivative(jordan):
    """Rounding splits their eigenvalues by 1e-8 or 1e-5, far more than eps: still an error."""
    q = orthogonal(3)
    for a in (q @ np.array(jordan) @ q.T, np.array(jordan)):
        for f in (lambda a: L.eigvals(a).real.max(), lambda a: L.eig(a).eigenvectors[0, 0].real):
            with pytest.raises(MatrixError, match="as far as rounding can tell"):
                ad.grad(f)(a)
            with pytest.raises(MatrixError, match="as far as rounding can tell"):
                ad.jvp(f, (a,), (np.eye(3),))


def test_a_badly_conditioned_eigenvalue_is_not_a_defective_one():
    a = np.array([[1.0, 1e6], [0.0, 1.001]])
    got = ad.grad(lambda a: L.eigvals(a).real.max())(a)
    np.testing.assert_allclose(got, [[0.0, 0.0], [1e9, 1.0]], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 4), (4, 5), (4, 4)])
def test_the_truncation_of_a_matrix_of_low_rank(shape):
    """Unused vectors of the singular value 0 do not stand in the way."""
    rng = np.random.default_rng(5)
    a = rng.normal(size=(shape[0], 2)) @ rng.normal(size=(2, shape[1]))
    c, dx = rng.normal(size=shape), rng.normal(size=shape)

    def truncated(a):
        u, s, vh = L.svd(a)
        return (((u[:, :2] * s[:2] ** 2) @ vh[:2]) * c).sum()
    slope = (truncated(a + 1e-6 * dx) - truncated(a - 1e-6 * dx)) / 2e-6
    assert (ad.grad(truncated)(a) * dx).sum() == pytest.approx(slope, rel=1e-6)
    np.testing.assert_allclose(ad.grad(lambda a: L.svd(a).S[:2].sum())(a),
                               ad.grad(lambda a: L.svdvals(a)[:2].sum())(a), atol=1e-12)
    assert np.isfinite(ad.grad(lambda a: L.svd(a).S.sum())(a)).all()
    with pytest.raises(MatrixError, match="is 0, so its vectors are arbitrary"):
        ad.grad(lambda a: (L.svd(a).U[:, :3] ** 2 * 2.0).sum())(a)
    with pytest.raises(MatrixError, match="is 0, so its vectors are arbitrary"):
        ad.grad(lambda a: L.svd(a).Vh[3, 0])(a)
    with pytest.raises(MatrixError, match=r"svd: the .* forward mode"):
        ad.jvp(truncated, (a,), (dx,))


def test_hermitian_reads_one_triangle_as_numpy_does():
    a = RNG.normal(size=(2, 3, 3)) + 1j * RNG.normal(size=(2, 3, 3))
    t = ad.tensor(a)
    for got, expected in zip(np.linalg.svd(t, hermitian=True),
                             np.linalg.svd(a, hermitian=True), strict=True):
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(np.linalg.svd(t, compute_uv=False, hermitian=True).numpy(),
                               np.linalg.svd(a, compute_uv=False, hermitian=True), rtol=1e-12)
    np.testing.assert_allclose(np.linalg.pinv(t, hermitian=True).numpy(),
                               np.linalg.pinv(a, hermitian=True), rtol=1e-10)
    x, d = a.real[0], RNG.normal(size=(3, 3))
    for f in (lambda a: (L.svd(a, hermitian=True).S * np.arange(3.0)).sum(),
              lambda a: (L.svd(a, hermitian=True).Vh ** 2 * C).sum(),
              lambda a: (L.svd(a, compute_uv=False, hermitian=True) ** 3 * C[0]).sum(),
              lambda a: (L.pinv(a, hermitian=True) * C).sum()):
        g = ad.grad(f)(x)
        np.testing.assert_array_equal(np.triu(g, 1), 0)
        slope = (f(x + 1e-6 * d) - f(x - 1e-6 * d)) / 2e-6
        assert (g * d).sum() == pytest.approx(slope, rel=1e-5)
        assert ad.jvp(f, (x,), (d,))[1] == pytest.approx(slope, rel=1e-5)
    opposite = np.diag([1.0, -1.0])  # equal as singular values, apart as eigenvalues
    assert np.isfinite(ad.grad(lambda a: L.svd(a, hermitian=True).U[0, 1])(opposite)).all()


@pytest.mark.parametrize("gap", [1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13])
def test_functions_of_a_matrix_keep_their_digits_near_equal_values(gap):
    """The quotients alone are off by eps/gap, up to a share of a thousand."""
    rng = np.random.default_rng(2)
    for _ in range(4):
        q, u = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
        values, c = np.array([1.0, 1.0 + gap, 2.0, 3.0]), rng.normal(size=(4, 4))
        a, c = (q * values) @ q.T, c + c.T
        got = ad.grad(lambda a, c=c: (function_of(np.exp)(a) * c).sum())(a)
        exact = ad.grad(lambda a, c=c: (L.expm(a) * c).sum())(a)
        np.testing.assert_allclose(got, (exact + exact.T) / 2, atol=3e-7 * abs(exact).max())
        x = (u * values) @ q.T
        got = ad.grad(lambda x, c=c: (rebuilt(lambda s: s ** 3)(x) * c).sum())(x)
        exact = ad.grad(lambda x, c=c: ((x @ x.T @ x) * c).sum())(x)
        np.testing.assert_allclose(got, exact, atol=3e-7 * abs(exact).max())


@pytest.mark.parametrize("gap", [1e-8, 1e-10, 1e-12])
def test_what_depends_on_near_vectors_is_as_large_as_it_is(gap):
    """Nothing is taken from a derivative of size 1/gap, however small its weight."""
    for weight in (1.0, 1e-6):
        a = np.array([[1.0, 0.0], [0.0, 1.0 + gap]])
        got = ad.grad(lambda a, w=weight: w * L.eigh(a).eigenvectors[0, 1] * L.eigh(
            a).eigenvectors[0, 0] + function_of(np.exp)(a)[0, 0])(a)
        actual = a[1, 1] - a[0, 0]
        assert abs(got[0, 1]) == pytest.approx(weight / actual / 2, rel=1e-6)
