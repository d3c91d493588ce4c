"""Linear algebra beside torch 2.13: values, gradients, Hessian-vector products, real and complex.

Where the two differ on purpose the reason stands in DIFFERENT, and the test fails too if the
difference has gone.
"""

import numpy as np
import pytest

import adjoint as ad

torch = pytest.importorskip("torch", reason="parity is against torch: python3 go.py parity")
RNG = np.random.default_rng(5)
L, T = ad.linalg, torch.linalg


def definite(x):
    return x @ np.swapaxes(x, -1, -2).conj() + np.eye(x.shape[-1])


def general(x):
    return x


def rebuilt_eigh(eigh, exp):
    def f(x):
        w, v = eigh((x + x.mT.conj()) / 2)[:2]
        return (v * exp(-w)[..., None, :]) @ v.mT.conj()
    return f


def rebuilt_svd(svd, exp):
    def f(x):
        u, s, vh = svd(x, full_matrices=False)
        return (u * exp(s)[..., None, :]) @ vh
    return f


SQUARE, RECTANGULAR = ((3, 3), (2, 3, 3)), ((3, 3), (4, 2), (2, 4))
FUNCTIONS = {  # ours, torch's, what makes the matrix, shapes
    "det": (L.det, T.det, general, SQUARE),
    "slogdet": (lambda x: L.slogdet(x)[1], lambda x: T.slogdet(x)[1], general, SQUARE),
    "inv": (L.inv, T.inv, general, SQUARE),
    "matrix_power": (lambda x: L.matrix_power(x, -3), lambda x: T.matrix_power(x, -3), general,
                     SQUARE),
    "solve a vector": (lambda x: L.solve(x, x[0]), lambda x: T.solve(x, x[0]), general, ((3, 3),)),
    "solve": (lambda x: L.solve(x, x @ x), lambda x: T.solve(x, x @ x), general, SQUARE),
    "solve_triangular": (
        lambda x: L.solve_triangular(x, x.mT, lower=True),
        lambda x: T.solve_triangular(x.tril(), x.mT, upper=False), general, SQUARE),
    "cholesky": (lambda x: L.cholesky((x + x.mT.conj()) / 2),
                 lambda x: T.cholesky((x + x.mT.conj()) / 2), definite, SQUARE),
    "cholesky upper": (lambda x: L.cholesky((x + x.mT.conj()) / 2, upper=True),
                       lambda x: T.cholesky((x + x.mT.conj()) / 2, upper=True), definite, SQUARE),
    "qr, Q": (lambda x: L.qr(x)[0], lambda x: T.qr(x)[0], general, RECTANGULAR),
    "qr, R": (lambda x: L.qr(x)[1], lambda x: T.qr(x)[1], general, RECTANGULAR),
    "eigvalsh": (L.eigvalsh, T.eigvalsh, definite, SQUARE),
    "eigh": (rebuilt_eigh(L.eigh, np.exp), rebuilt_eigh(T.eigh, torch.exp), definite, SQUARE),
    "eigvals": (lambda x: L.eigvals(x) ** 2, lambda x: T.eigvals(x) ** 2, general, ((3, 3),)),
    "eig": (lambda x: abs(L.eig(x)[1]), lambda x: abs(T.eig(x)[1]), general, ((3, 3),)),
    "svdvals": (L.svdvals, T.svdvals, general, RECTANGULAR),
    "svd": (rebuilt_svd(L.svd, np.exp), rebuilt_svd(T.svd, torch.exp), general, RECTANGULAR),
    "pinv": (L.pinv, T.pinv, general, RECTANGULAR),
    "expm": (L.expm, T.matrix_exp, general, SQUARE),
    "cond": (L.cond, T.cond, general, RECTANGULAR),
    "multi_dot": (lambda x: L.multi_dot([x, x.T, x]), lambda x: T.multi_dot([x, x.T, x]), general,
                  RECTANGULAR),
    **{f"matrix_norm {p}": (lambda x, p=p: L.matrix_norm(x, ord=p),
                            lambda x, p=p: T.matrix_norm(x, ord=p), general, RECTANGULAR)
       for p in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)},
    **{f"vector_norm {p}": (lambda x, p=p: L.vector_norm(x, ord=p, axis=-1),
                            lambda x, p=p: T.vector_norm(x, ord=p, dim=-1), general, RECTANGULAR)
       for p in (0, 0.5, 1, 2, 3, np.inf, -np.inf)},
}


def close(got, expected, what):
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, what
    scale = np.abs(expected).max(initial=0.0) + 1.0
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-8 * scale, err_msg=what)


def loss(x, f, w):
    z = f(x) * w
    return z.real.sum() if "complex" in str(z.dtype) else z.sum()


@pytest.mark.parametrize("dtype", [float, complex], ids=["real", "complex"])
@pytest.mark.parametrize("case", FUNCTIONS)
def test_value_gradient_and_hessian_vector_product(case, dtype):
    ours, theirs, make, shapes = FUNCTIONS[case]
    for shape in shapes:
        x = RNG.normal(size=shape)
        x = make(x if dtype is float else x + 1j * RNG.normal(size=shape))
        y = theirs(torch.tensor(x))
        close(ours(ad.tensor(x)).numpy(), y.numpy(), f"{case}{shape}: value")
        w = RNG.normal(size=tuple(y.shape)) + 1j * RNG.normal(size=tuple(y.shape))
        w = w if y.is_complex() else w.real
        dx = RNG.normal(size=shape)
        t = torch.tensor(x, requires_grad=True)
        (g,) = torch.autograd.grad(loss(t, theirs, torch.tensor(w)), t, create_graph=True,
                                   allow_unused=True)
        mine = ad.grad(lambda x, w=w: loss(x, ours, w))(x)
        close(mine, np.zeros(shape) if g is None else g.detach().numpy(force=True),
              f"{case}{shape}: gradient")
        if dtype is float and g is not None and g.requires_grad:
            (h,) = torch.autograd.grad((g * torch.tensor(dx)).sum(), t, allow_unused=True)
            mine = ad.grad(lambda x, w=w, dx=dx: (ad.grad(lambda x: loss(x, ours, w))(x)
                                                  * dx).sum())(x)
            close(mine, np.zeros(shape) if h is None else h.numpy(force=True),
                  f"{case}{shape}: second")


def sum_of_eigh(eigh):
    def f(x):
        w, v = eigh(x)
        return ((v * w) @ v.T).sum()
    return f


def sum_of_svd(svd):
    def f(x):
        u, s, vh = svd(x)
        return ((u * s) @ vh).sum()
    return f


DIFFERENT = {  # ours, torch's, matrix, our gradient
    "det at rank n-1 (EDGE_CASES: torch gives zeros)": (
        L.det, T.det, np.diag([1.0, 2.0, 0.0]), np.diag([0.0, 0.0, 2.0])),
    "eigh with equal eigenvalues (EDGE_CASES: torch gives NaN)": (
        sum_of_eigh(L.eigh), sum_of_eigh(T.eigh), np.eye(3), np.ones((3, 3))),
    "svd with equal values (torch gives NaN)": (
        sum_of_svd(L.svd), sum_of_svd(T.svd), np.eye(3), np.ones((3, 3))),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_known_differences(case):
    ours, theirs, x, expected = DIFFERENT[case]
    close(ad.grad(ours)(x), expected, case)
    t = torch.tensor(x, requires_grad=True)
    theirs(t).backward()
    assert not np.allclose(t.grad.numpy(), expected), "torch agrees now"


@pytest.mark.parametrize("f, g, x", [
    (L.det, T.det, np.zeros((3, 3))), (lambda x: L.svdvals(x).sum(), lambda x: T.svdvals(x).sum(),
                                       np.eye(3)),
    (lambda x: L.svdvals(x).sum(), lambda x: T.svdvals(x).sum(), np.zeros((3, 3))),
    (L.norm, T.norm, np.zeros((3, 3))), (lambda x: L.norm(x[0], 1), lambda x: T.norm(x[0], 1),
                                         np.zeros((3, 3)))], ids=range(5))
def test_points_where_both_agree(f, g, x):
    t = torch.tensor(x, requires_grad=True)
    g(t).backward()
    close(ad.grad(f)(x), t.grad.numpy(), "gradient")
