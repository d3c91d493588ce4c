"""Linear algebra: singular and degenerate matrices, and exact rules elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import numpy as np

from .case import NAMES, Case, Refusal

EYE, ZERO = np.eye(3), np.zeros((3, 3))
A = np.array([[2.0, 0.5, -0.3], [0.1, 1.5, 0.4], [-0.2, 0.3, 1.0]])
B = np.array([[1.0, -2.0], [0.5, 0.3], [2.0, 1.0]])
TALL = np.array([[1.0, 0.2], [0.3, 2.0], [-0.5, 0.7]])
POSITIVE = np.array([[2.0, 0.3, 0.1], [0.3, 1.5, -0.2], [0.1, -0.2, 1.0]])
ONE_RANK = np.ones((2, 2))


# ---- answers of their own: formulas for complex numbers, and a complex step

def complex_step(f: Callable[..., Any], *xs: np.ndarray) -> tuple[np.ndarray, ...]:
    """The gradient of an analytic f, without subtraction (Squire and Trapp 1998)."""
    parts = []
    for k, x in enumerate(xs):
        g = np.zeros(x.shape)
        for i in np.ndindex(x.shape):
            moved = [z.astype(complex) for z in xs]
            moved[k][i] += 1e-30j
            g[i] = np.sum(f(*moved)).imag / 1e-30
        parts.append(g)
    return tuple(parts)


def cholesky(x: Any) -> Any:
    """The factor L of the lower triangle, analytic in it."""
    n, y = len(x), np.zeros_like(x)
    for j, i in product(range(n), range(n)):
        if i >= j:
            s = x[i, j] - y[i, :j] @ y[j, :j]
            y[i, j] = np.sqrt(s) if i == j else s / y[j, j]
    return y


def triangle(x: Any) -> Any:
    """R of a QR decomposition, with a positive diagonal: L' of the Gram matrix."""
    return cholesky(x.T @ x).T


def series(x: Any) -> Any:
    """exp of a matrix by its power series."""
    y = term = np.eye(len(x)).astype(x.dtype)
    for k in range(1, 60):
        term = term @ x / k
        y = y + term
    return y


def least_squares(x: Any, z: Any) -> Any:
    """By the normal equations."""
    return np.linalg.solve(x.T @ x, x.T @ z)


def sign(p: tuple[int, ...]) -> float:
    return (-1.0) ** sum(p[i] > p[j] for j in range(len(p)) for i in range(j))


def det_hessian(x: np.ndarray) -> np.ndarray:
    """The second derivatives of det, from Leibniz' sum over permutations."""
    n = len(x)
    h = np.zeros((n, n, n, n))
    for p in permutations(range(n)):
        for i, k in permutations(range(n), 2):
            h[i, p[i], k, p[k]] += sign(p) * np.prod(
                [x[r, p[r]] for r in range(n) if r not in (i, k)])
    return h.reshape(n * n, n * n)


# ---- what spellings may use, and the page prints

HELPERS = """
def rebuilt(w, v): return (v * w) @ v.T
def product(u, s, vh): return (u * s) @ vh
def positive(q, r): return np.sign(np.diagonal(r))[:, None] * r
"""
exec(HELPERS, NAMES)

DETERMINANT = """
    np.linalg.det(x)
    ad.linalg.det(x)
    np.linalg.det(x.T)
    np.linalg.det(x[None])[0]
    ad.linalg.det(ad.stack([x, x])).mean()
    np.dot(x[0], np.cross(x[1], x[2]))
    """
FORWARD = ("ad.jvp", "ad.linearize", "vmap of jvp", "jvp of one element")

DEGENERATE = [
    Case("det at rank n-1: diag(1, 2, 0)", DETERMINANT,
         (np.diag([1, 2, 0]),), (np.diag([0, 0, 2]),), det_hessian(np.diag([1.0, 2.0, 0.0])),
         "torch all zeros (wrong, silent); HIPS error", tolerance=1e-12),
    Case("the same by eigenvalues and by the adjugate", "np.linalg.eigvalsh(x).prod()\n"
         "ad.linalg.eigvalsh(x).prod()\nnp.trace(ad.linalg.adjugate(x) @ x) / 3.0\n"
         "np.linalg.svdvals(x).prod()",
         (np.diag([1, 2, 0]),), (np.diag([0, 0, 2]),)),
    Case("det at rank n-2: diag(1, 0, 0)", DETERMINANT, (np.diag([1, 0, 0]),), (ZERO,),
         det_hessian(np.diag([1.0, 0.0, 0.0]))),
    Case("det of the 3x3 zero matrix", DETERMINANT, (ZERO,), (ZERO,), det_hessian(ZERO),
         "torch, jax 0"),
    Case("det of a matrix of ones", DETERMINANT, (np.ones((3, 3)),), (ZERO,),
         det_hessian(np.ones((3, 3)))),
    Case("det at rank n-1, 2 by 2", "np.linalg.det(x)\nx[0, 0] * x[1, 1] - x[0, 1] * x[1, 0]",
         (ONE_RANK,), ([[1, -1], [-1, 1]],), det_hessian(ONE_RANK)),
    Case("eigh with equal eigenvalues, gauge-invariant", """
        rebuilt(*np.linalg.eigh(x)).sum()
        rebuilt(*ad.linalg.eigh(x)).sum()
        """,
         (EYE,), (np.ones((3, 3)),), peers="NaN everywhere", without=FORWARD,
         note="sum of V diag(l) V'; forward mode refuses a tangent that splits equal eigenvalues"),
    Case("eigh with two equal eigenvalues of three", "rebuilt(*np.linalg.eigh(x)).sum()\n"
         "rebuilt(*ad.linalg.eigh(x)).sum()", (np.diag([1, 1, 2]),), (np.ones((3, 3)),),
         peers="NaN everywhere", without=FORWARD),
    Case("svd with equal singular values, gauge-invariant", "product(*np.linalg.svd(x)).sum()\n"
         "product(*ad.linalg.svd(x)).sum()", (EYE,), (np.ones((3, 3)),), peers="NaN everywhere",
         without=FORWARD),
    Case("sum of the singular values of I", """
        np.linalg.svdvals(x).sum()
        ad.linalg.svdvals(x).sum()
        np.linalg.svd(x, compute_uv=False).sum()
        np.linalg.norm(x, "nuc")
        np.linalg.matrix_norm(x, ord="nuc")
        np.linalg.eigvalsh(x).sum()
        ad.linalg.eigvalsh(x).sum()
        np.trace(x)
        """, (EYE,), (EYE,), peers="agree"),
    Case("the same, with vectors that nobody reads", "np.linalg.svd(x)[1].sum()\n"
         "np.linalg.svd(x).S.sum()\nnp.linalg.eigh(x)[0].sum()\n"
         "np.linalg.eigh(x).eigenvalues.sum()", (EYE,), (EYE,), without=FORWARD,
         note="forward mode moves the vectors too: it refuses, and names nothing silently"),
    Case("sum of the singular values of 0", """
        np.linalg.svdvals(x).sum()
        np.linalg.svd(x, compute_uv=False).sum()
        ad.linalg.svdvals(x).sum()
        """, (ZERO,), (EYE,), peers="agree"),
    Case("2-norm of I: equal singular values share", "np.linalg.norm(x, 2)\n"
         "ad.linalg.matrix_norm(x, ord=2)\nnp.linalg.svdvals(x).max()\n"
         "np.linalg.svd(x, compute_uv=False).max()", (np.eye(2),), (np.eye(2) / 2,)),
    Case("Frobenius norm of 0", "np.linalg.norm(x)\nnp.linalg.norm(x, 'fro')\nad.linalg.norm(x)\n"
         "np.linalg.matrix_norm(x)\nnp.linalg.vector_norm(x)\nnp.linalg.norm(x.ravel())\n"
         "np.linalg.norm(x, axis=(0, 1))", (ZERO,), (ZERO,), peers="torch 0; jax and HIPS NaN"),
    Case("1-norm, nuclear and inf-norm of the zero matrix", "np.linalg.norm(x, 1)\n"
         "np.linalg.norm(x, np.inf)\nnp.linalg.norm(x, -1)\nnp.linalg.norm(x.ravel(), 1)\n"
         "np.abs(x).sum(0).max()", (ZERO,), (ZERO,)),
    Case("inf-norm of equal elements shares", "np.linalg.norm(x.ravel(), np.inf)\n"
         "np.abs(x).max()", (np.ones((2, 2)),), (np.full((2, 2), 0.25),)),
    Case("expm of 0", "ad.linalg.expm(x).sum()\nad.linalg.expm(x[None]).sum()",
         (np.zeros((2, 2)),), (np.ones((2, 2)),),
         [[(i[1] == k[0]) / 2 + (k[1] == i[0]) / 2 for k in np.ndindex(2, 2)]
          for i in np.ndindex(2, 2)]),
    Case("expm of a defective matrix", "ad.linalg.expm(x).sum()", (np.array([[0, 1], [0, 0]]),),
         complex_step(series, np.array([[0.0, 1.0], [0.0, 0.0]]))),
    Case("matrix_power of 0", "np.linalg.matrix_power(x, 2).sum()\n(x @ x).sum()\n"
         "np.einsum('ij,jk->', x, x)\nnp.linalg.multi_dot([x, x, np.eye(2)]).sum()",
         (np.zeros((2, 2)),), (np.zeros((2, 2)),)),
]

EXACT = [
    Case("cholesky, lower: the ignored triangle gets 0", "np.linalg.cholesky(x).sum()\n"
         "ad.linalg.cholesky(x).sum()\nnp.linalg.cholesky(x[None]).sum()\n"
         "np.linalg.cholesky(np.tril(x) + np.tril(x, -1).T).sum()", (POSITIVE,),
         complex_step(cholesky, POSITIVE), peers="agree"),
    Case("cholesky, upper: the ignored triangle gets 0", "np.linalg.cholesky(x, upper=True).sum()\n"
         "ad.linalg.cholesky(x, upper=True).sum()", (POSITIVE,),
         complex_step(lambda x: cholesky(x.T).T, POSITIVE),
         peers="jax leaks into the ignored triangle"),
    Case("qr, tall: R", "positive(*np.linalg.qr(x)).sum()\npositive(*ad.linalg.qr(x)).sum()",
         (TALL,), complex_step(triangle, TALL), peers="HIPS lacks qr", single=False),
    Case("qr, wide: R", "positive(*np.linalg.qr(x)).sum()", (TALL.T,), complex_step(
        lambda x: np.linalg.inv(triangle(x[:, :2]).T) @ x[:, :2].T @ x, TALL.T.copy()),
        peers="HIPS lacks qr", single=False),
    Case("pinv, tall", "np.linalg.pinv(x).sum()\nad.linalg.pinv(x).sum()", (TALL,),
         complex_step(lambda x: np.linalg.inv(x.T @ x) @ x.T, TALL)),
    Case("pinv, wide", "np.linalg.pinv(x).sum()\nad.linalg.pinv(x).sum()", (TALL.T,),
         complex_step(lambda x: x.T @ np.linalg.inv(x @ x.T), TALL.T)),
    Case("lstsq, one right-hand side", "np.linalg.lstsq(x, y)[0].sum()\n"
         "ad.linalg.lstsq(x, y)[0].sum()\n(np.linalg.pinv(x) @ y).sum()\n"
         "np.linalg.solve(x.T @ x, x.T @ y).sum()", (TALL, B[:, 0]),
         complex_step(least_squares, TALL, B[:, 0]), peers="HIPS lacks lstsq",
         without=("vmap of grad", "vmap of jvp"), note="NumPy's lstsq knows no batches"),
    Case("lstsq, many right-hand sides", "np.linalg.lstsq(x, y)[0].sum()\n"
         "(np.linalg.pinv(x) @ y).sum()", (TALL, B), complex_step(least_squares, TALL, B),
         peers="HIPS lacks lstsq", without=("vmap of grad", "vmap of jvp")),
    Case("solve, one right-hand side", "np.linalg.solve(x, y).sum()\nad.linalg.solve(x, y).sum()\n"
         "(np.linalg.inv(x) @ y).sum()", (A, B[:, 0]), complex_step(np.linalg.solve, A, B[:, 0])),
    Case("solve, many right-hand sides", "np.linalg.solve(x, y).sum()\n"
         "ad.linalg.solve(x, y).sum()\n(np.linalg.inv(x) @ y).sum()\n"
         "np.linalg.solve(x[None], y[None]).sum()\nnp.linalg.tensorsolve(x, y[:, 0]).sum() + "
         "np.linalg.solve(x, y[:, 1]).sum()", (A, B), complex_step(np.linalg.solve, A, B)),
    Case("inv", "np.linalg.inv(x).sum()\nad.linalg.inv(x).sum()\n"
         "np.linalg.solve(x, np.eye(3)).sum()\nnp.linalg.matrix_power(x, -1).sum()\n"
         "(ad.linalg.adjugate(x) / np.linalg.det(x)).sum()\nnp.linalg.pinv(x).sum()",
         (A,), complex_step(np.linalg.inv, A)),
    Case("expm", "ad.linalg.expm(x).sum()\nad.linalg.expm(x[None]).sum()", (A,),
         complex_step(series, A), peers="HIPS lacks expm"),
    Case("slogdet", "np.linalg.slogdet(x)[1]\nad.linalg.slogdet(x).logabsdet\n"
         "np.log(np.linalg.det(x))\n2.0 * np.log(np.diagonal(np.linalg.cholesky("
         "x @ x.T))).sum() / 2.0", (A,), (np.linalg.inv(A).T,)),
]

SPLIT = np.array([[1.0, 2.0, 0.5], [2.0, 5.0, 0.3], [0.5, 0.3, 4.0]])
REFUSALS = [
    Refusal("slogdet of a singular matrix", "np.linalg.slogdet(x)[1]\nad.linalg.slogdet(x)[1]\n"
            "ad.linalg.slogdet(x).logabsdet\nnp.linalg.slogdet(x[None])[1].sum()",
            np.ones((3, 3)), SPLIT, "MatrixError", "singular", "inf and NaN"),
    Refusal("inv and solve of a singular matrix", "np.linalg.inv(x).sum()\nad.linalg.inv(x).sum()\n"
            "np.linalg.solve(x, np.ones(3)).sum()\nnp.linalg.matrix_power(x, -1).sum()",
            np.ones((3, 3)), SPLIT, "MatrixError", "singular", "LinAlgError"),
    Refusal("eigh with equal eigenvalues, gauge-dependent", "np.linalg.eigh(x)[1][0, 0]\n"
            "ad.linalg.eigh(x)[1][0, 0]\n(np.linalg.eigh(x).eigenvectors * np.arange(3.0)).sum()",
            EYE, SPLIT, "MatrixError", "equal", "NaN"),
    Refusal("svd with equal singular values, gauge-dependent", "np.linalg.svd(x)[0][0, 0]\n"
            "ad.linalg.svd(x).U[0, 0]\n(np.linalg.svd(x)[2] * np.arange(3.0)).sum()",
            EYE, SPLIT, "MatrixError", "equal", "NaN"),
    Refusal("cholesky of a matrix that is not positive definite", "np.linalg.cholesky(x).sum()\n"
            "ad.linalg.cholesky(x).sum()", -EYE, SPLIT, "MatrixError", "positive", "LinAlgError"),
]

CASES = DEGENERATE + EXACT
