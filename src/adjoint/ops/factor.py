"""Factorisations: Cholesky, QR, singular values; what is built on them; functions of a matrix.

Cotangents are conjugated on the way in and out (see ``complexes.py``): between, the formulas are
those of the literature, with the inner product Re tr(X^H Y). Rows with several results hold them in
one array, side by side, and the public function takes it apart.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import NUMPY, PUBLIC, Label
from adjoint.errors import MatrixError, UnsupportedError

from .cases import Case, Cases, draw
from .declare import arrayed
from .degenerate import clusters, gaps, guard, shared, within
from .matrices import (
    ONE_ARRAY,
    adjoint,
    at,
    conj,
    converged,
    flip,
    is_matrix,
    is_square,
    offered,
    real_of,
    real_part,
    regular,
    row,
    square,
    square_cases,
    wide,
)
from .select import where
from .shape import concatenate
from .solve import solve_triangular
from .spectral import eigh, eigvalsh, rotated, turns

if TYPE_CHECKING:
    from collections.abc import Iterator


def _lower(x: Any, diagonal: float = 1.0) -> Any:
    """The lower triangle of square matrices, with the diagonal times a number."""
    n = x.shape[-1]
    return x * (np.tril(np.ones((n, n)), -1) + diagonal * np.eye(n)).astype(real_of(x.dtype))


# ---- cholesky

def _indefinite(x: Any) -> MatrixError:
    """The error for a matrix without Cholesky factor: the first leading minor that is at fault."""
    for index in np.ndindex(x.shape[:-2]):
        a, n = x[index], x.shape[-1]
        if _is_definite(a) or not np.isfinite(a).all():
            continue
        k = bisect_left(range(1, n + 1), x=True, key=lambda k, a=a: not _is_definite(a[:k, :k])) + 1
        least = np.linalg.eigvalsh(a[:k, :k])[0]
        return MatrixError(
            f"cholesky: the matrix{at(index)} is not positive definite: its leading minor of "
            f"order {k} has the eigenvalue {least:.3g} (pivot {k - 1} is not positive). A "
            f"covariance that is nearly singular needs a small multiple of np.eye({n}) added; "
            "ad.linalg.eigh is for indefinite matrices")
    return MatrixError("cholesky: the matrix is not positive definite, or holds NaN")


def _is_definite(x: Any) -> bool:
    try:
        np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        return False
    return True


def _cholesky_impl(x: Any) -> Any:
    try:
        return np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        is_square("cholesky", x)
        raise _indefinite(x) from None


def _cholesky_known(x: Any) -> Any:
    is_square("cholesky", x)
    return aval(x.shape, wide(x.dtype))


def _cholesky_jvp(dxs: Any, y: Any, x: Any) -> Any:
    """With dL = L Phi(L^-1 dX L^-H), Phi the lower triangle with half the diagonal."""
    if dxs[0] is None:
        return None
    half = _lower(dxs[0], 0.5)
    first = solve_triangular(y, half + adjoint(half), lower=True)
    return y @ _lower(solve_triangular(y, adjoint(first), lower=True), 0.5)


def _cholesky_vjp(dy: Any, y: Any, x: Any, needs: Any) -> Any:
    """With S = L^-H Phi(L^H Lbar) L^-1, made symmetric and folded into the triangle that counts."""
    p = _lower(adjoint(y) @ conj(dy), 0.5)
    first = solve_triangular(y, p, trans="C", lower=True)
    s = adjoint(solve_triangular(y, adjoint(first), trans="C", lower=True))
    return (conj(_lower(s + adjoint(s), 0.5)),)


def _definite(rng: np.random.Generator, *shape: int) -> Any:
    x = draw(rng, shape, (-1.0, 1.0))
    return x @ np.swapaxes(x, -1, -2) + 2.0 * np.eye(shape[-1])


_cholesky = row(
    "cholesky", _cholesky_impl, _cholesky_known,
    Label("cholesky({0})", r"\mathrm{{chol}}({0})",
          (r"{y}\,\Phi({y}^{{-1}}\,[\cdot]\,{y}^{{-\top}})",), "Cholesky factor", "((",
          (r"\Phi(S + S^\top),\ S = {y}^{{-\top}}\,\Phi({y}^\top\,{dy})\,{y}^{{-1}}",),
          work="n^3/3"),
    square_cases(make=_definite), jvp=_cholesky_jvp, vjp=_cholesky_vjp, keeps=frozenset("y"))


@offered("cholesky", np.linalg.cholesky)
def cholesky(a: Any, *, upper: bool = False) -> Any:
    """The lower triangular L with a = L L^H, or with ``upper`` the upper triangular L^H.

        dL = L Phi(L^-1 dA L^-H),   Phi: the lower triangle with half the diagonal

    As in NumPy only the lower triangle of a (with ``upper`` the upper one) is read; the symmetrised
    gradient is folded into it and the ignored triangle gets 0. Args: ``a`` (..., n, n), symmetric
    or Hermitian. Raises ShapeError if it is not square, MatrixError if it is not positive definite
    (with the order of the minor). Source: Murray (2016), "Differentiation of the Cholesky
    decomposition"; Seeger et al. (2017), "Auto-differentiating linear algebra".

    >>> ad.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]])
    array([[2., 0.],
           [1., 2.]])
    """
    x = square("cholesky", a)
    return adjoint(_cholesky(adjoint(x))) if upper else _cholesky(x)


# ---- qr: one array (k, m + n) with Q^T and R side by side

def _qr_impl(x: Any) -> Any:
    q, r = converged("qr", np.linalg.qr, x)
    return np.concatenate([np.swapaxes(q, -1, -2), r], -1)


def _qr_known(x: Any) -> Any:
    is_matrix("qr", x)
    m, n = x.shape[-2:]
    return aval((*x.shape[:-2], min(m, n), m + n), wide(x.dtype))


def _factors(y: Any, m: int) -> tuple[Any, Any]:
    """Q and R, of which R must be regular where a derivative is asked for."""
    r = y[..., m:]
    return flip(y[..., :m]), guard(r, r, check="columns")


def _qr_jvp(dxs: Any, y: Any, x: Any) -> Any:
    """With C = Q^H dA R^-1, X skew with the lower triangle of C: dQ = Q X + (I - QQ^H) dA R^-1."""
    if dxs[0] is None:
        return None
    m = x.shape[-2]
    q, r = _factors(y, m)
    rate = flip(solve_triangular(r, flip(dxs[0]), trans="T"))
    c = adjoint(q) @ rate
    half = _lower(c, 0.5)
    turn = half - adjoint(half)
    dq = q @ (turn - c) + rate
    return concatenate([flip(dq), (c - turn) @ r], axis=-1)


def _qr_vjp(dy: Any, y: Any, x: Any, needs: Any) -> Any:
    """With M = R Rbar^H - Qbar^H Q and its lower triangle mirrored: (Qbar + Q sym(M)) R^-H."""
    m = x.shape[-2]
    q, r = _factors(y, m)
    dy = conj(dy)
    dq, dr = flip(dy[..., :m]), dy[..., m:]
    half = _lower(r @ adjoint(dr) - adjoint(dq) @ q, 0.5)
    whole = dq + q @ (half + adjoint(half))
    return (conj(adjoint(solve_triangular(r, adjoint(whole)))),)


def _tall_cases(rng: np.random.Generator) -> Iterator[Case]:
    for shape in ((3, 3), (4, 2), (2, 4, 3), (1, 1), (3, 0), (0, 3, 2)):
        yield Case((regular(rng, *shape),))
    yield Case((np.asfortranarray(regular(rng, 3, 2)),))
    yield Case((regular(rng, 4, 3)[::-1],))
    yield Case((regular(rng, 3, 2).astype(np.float32),))
    yield Case((np.array([[5, 1], [1, 3], [0, 2]]),))


_qr = row(
    "qr", _qr_impl, _qr_known,
    Label("qr({0})", r"\mathrm{{qr}}({0})", (r"Q^\top\,[\cdot]\,R^{{-1}}",), "QR factors", "((",
          ((r"(\bar{{Q}} + Q\,\mathrm{{sym}}(M))\,R^{{-\top}},\ "
           r"M = R\,\bar{{R}}^\top - \bar{{Q}}^\top\,Q"),),
          work="4*m*n^2 - 4*n^3/3"),
    Cases(_tall_cases, ONE_ARRAY, near=True), jvp=_qr_jvp, vjp=_qr_vjp,
    keeps=frozenset("y"))


@offered("qr", np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """The factors of a = Q R, Q with orthonormal columns, R upper triangular, as a named tuple.

    Args: ``a`` (..., m, n), tall or wide; ``mode`` "reduced" (Q (..., m, k), R (..., k, n), k =
    min(m, n)) or "r" (R alone). A wide matrix is factored by its first m columns. Raises
    MatrixError for a derivative where columns (the first m) depend on each other, UnsupportedError
    for "complete" and "raw", whose further columns are arbitrary. Source: Walter & Lehmann (2010),
    "Algorithmic differentiation of linear algebra functions"; Seeger et al. (2017); Roberts &
    Roberts (2020), "QR and LQ decomposition matrix backpropagation algorithms", for wide ones.

    >>> abs(ad.linalg.qr([[3.0, 1.0], [4.0, 2.0]]).R.round(6))
    array([[5. , 2.2],
           [0. , 0.4]])
    """
    if mode not in ("reduced", "r"):
        raise UnsupportedError(f"qr: mode={mode!r} has no derivative here: the columns of Q beyond "
                               "the rank are arbitrary. Use mode='reduced' or 'r'")
    x = arrayed(a)
    is_matrix("qr", x)
    m, n = x.shape[-2:]
    y = _qr(x[..., :m])
    q, r = flip(y[..., :m]), y[..., m:]
    if n > m:
        r = concatenate([r, adjoint(q) @ x[..., m:]], axis=-1)
    return r if mode == "r" else QR(q, r)


QR: Any = type(np.linalg.qr(np.eye(1)))


# ---- svd: one array (k, m + 1 + n) with U^T, s and V^H side by side

def _svd_impl(x: Any, turn: bool) -> Any:
    u, s, vh = converged("svd", lambda x: np.linalg.svd(x, full_matrices=False), x)
    if turn:
        v = np.swapaxes(vh, -1, -2).conj()
        rotated(s, u, v)
        vh = np.swapaxes(v, -1, -2).conj()
    return np.concatenate([np.swapaxes(u, -1, -2), s[..., None].astype(u.dtype), vh], -1)


def _svd_known(x: Any, turn: bool) -> Any:
    is_matrix("svd", x)
    m, n = x.shape[-2:]
    return aval((*x.shape[:-2], min(m, n), m + 1 + n), wide(x.dtype))


def _svd_split(y: Any, m: int) -> tuple[Any, Any, Any]:
    return flip(y[..., :m]), real_part(y[..., m]), y[..., m + 1:]


def _lines(s: Any) -> Any:
    return s[..., None, :]


def _svd_jvp(dxs: Any, y: Any, x: Any, turn: bool) -> Any:
    """With K = U^H dX V: dU and dV from (K + K^H)/(s_j - s_i) and (K - K^H)/(s_j + s_i)."""
    if dxs[0] is None:
        return None
    u, s, vh = _svd_split(y, x.shape[-2])
    right = dxs[0] @ adjoint(vh)
    left = adjoint(u) @ dxs[0]
    k = guard(guard(adjoint(u) @ right, _lines(s), check="unsplit"), _lines(s), check="vectors")
    both, apart = gaps(s) * (k + adjoint(k)) / 2, gaps(s, 1) * (k - adjoint(k)) / 2
    du = u @ (both + apart) + (right - u @ k) / _lines(s)
    dvh = adjoint(both - apart) @ vh + (left - k @ vh) / s[..., None]
    ds = real_part((k * np.eye(k.shape[-1], dtype=s.dtype)).sum(-1))[..., None]
    return concatenate([flip(du), ds, dvh], axis=-1)


def _svd_vjp(dy: Any, y: Any, x: Any, needs: Any, turn: bool) -> Any:
    """With P = U^H Ubar, R = V^H Vbar: U (diag(sbar) + E o skew(P - R) + F o skew(P + R)) V^H.

    To it come the parts of Ubar and Vbar outside the spaces of U and V, divided by s.
    """
    u, values, vh = _svd_split(y, x.shape[-2])
    du, ds, dvh = _svd_split(conj(dy), x.shape[-2])
    s = values
    du = guard(du, _lines(s), check="unused")
    dvh = flip(guard(flip(dvh), _lines(s), check="unused"))
    s = where(s == 0, 1.0, s)  # nothing is divided by it
    p, r = adjoint(u) @ du, vh @ adjoint(dvh)
    q, t = (p + r) / 2, (p - r) / 2
    if q.dtype.kind == "c":
        q = guard(q, _lines(s), check="phase")
    inner = (within(_lines(ds), q, _lines(values)) + gaps(values) * (q - adjoint(q))
             + gaps(values, 1) * (t - adjoint(t)))
    dx = u @ inner @ vh + ((du - u @ p) / _lines(s)) @ vh
    return (conj(dx + (u / _lines(s)) @ (dvh - adjoint(r) @ vh)),)


def _apart(rng: np.random.Generator, *shape: int) -> Any:
    """A matrix with separate singular values."""
    return draw(rng, shape, (-0.5, 0.5)) + np.diag(2.0 * np.arange(max(shape[-2:])) + 1.5)[
        :shape[-2], :shape[-1]]


def _any_cases(*params: dict[str, Any]) -> Cases:
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        for p in params:
            for shape in ((3, 3), (4, 2), (2, 4), (2, 2, 3), (1, 1)):
                yield Case((_apart(rng, *shape),), p)
        p = params[0]
        yield Case((np.zeros((3, 0)),), p)
        yield Case((np.zeros((0, 3, 2)),), p)
        yield Case((np.asfortranarray(_apart(rng, 3, 2)),), p)
        yield Case((_apart(rng, 4, 3)[::-1],), p)
        yield Case((_apart(rng, 3, 2).astype(np.float32),), p)
        yield Case((np.array([[5, 1], [1, 3], [0, 2]]),), p)
    return Cases(generate, ONE_ARRAY, near=True)


_svd = row(
    "svd", _svd_impl, _svd_known,
    Label("svd({0})", r"\mathrm{{svd}}({0})", (r"(U^\top\,[\cdot]\,V)_{{ii}}",),
          "perturbation of singular values", "((",
          ((r"U\,(\mathrm{{diag}}(\bar{{s}}) + E \odot \mathrm{{skew}}(P - R) + F \odot"
           r" \mathrm{{skew}}(P + R))\,V^\top,\ P = U^\top\,\bar{{U}},\ R = V^\top\,\bar{{V}}"),),
          work="14*m*n^2 + 8*n^3"),
    _any_cases({"turn": False}), jvp=_svd_jvp, vjp=_svd_vjp, keeps=frozenset("y"))


def _svdvals_impl(x: Any) -> Any:
    return converged("svdvals", np.linalg.svdvals, x)


def _svdvals_known(x: Any) -> Any:
    is_matrix("svdvals", x)
    return aval((*x.shape[:-2], min(x.shape[-2:])), real_of(x.dtype))


def _svdvals_jvp(dxs: Any, y: Any, x: Any) -> Any:
    if dxs[0] is None:
        return None
    u, _, vh = _svd_split(_svd(x, turn=False), x.shape[-2])
    return shared(real_part((conj(u) * (dxs[0] @ adjoint(vh))).sum(-2)), y)


def _svdvals_vjp(dy: Any, y: Any, x: Any, needs: Any) -> Any:
    u, _, vh = _svd_split(_svd(x, turn=False), x.shape[-2])
    return (conj((u * _lines(shared(dy, y))) @ vh),)


_svdvals = row(
    "svdvals", _svdvals_impl, _svdvals_known,
    Label("svdvals({0})", r"\sigma({0})", (r"(U^\top\,[\cdot]\,V)_{{ii}}",),
          "perturbation of singular values", "((", (r"U\,\mathrm{{diag}}({dy})\,V^\top",),
          work="4*m*n^2 - 4*n^3/3"),
    _any_cases({}), jvp=_svdvals_jvp, vjp=_svdvals_vjp, keeps=frozenset({0, "y"}),
    kink=lambda x: (clusters(np.linalg.svdvals(x)).sum(-1) > 1) | (np.linalg.svdvals(x) == 0))


@offered("svd")
def svd(a: Any, full_matrices: bool = False, compute_uv: bool = True,
        hermitian: bool = False) -> Any:
    """The singular value decomposition a = U diag(s) V^H, as a named tuple (U, S, Vh).

    Args: ``a`` (..., m, n). The further columns of U and V that ``full_matrices=True`` asks for,
    the default of np.linalg.svd, are arbitrary: an error unless a is square. With
    ``compute_uv=False`` s alone; ``hermitian`` says that a is: its lower triangle is read, and the
    eigenvalues are taken, of which those of opposite signs are apart.
    Equal singular values are treated as equal eigenvalues are in `eigh`, with the same promises and
    errors; vectors of a singular value 0 have no derivative (MatrixError, unless they are not used:
    the truncation of a matrix of low rank has one), `svdvals` has. Source:
    Townsend (2016), "Differentiating the singular value decomposition"; Giles (2008), section
    2.2.6; Wan & Zhang (2019) for complex matrices.

    >>> ad.linalg.svd([[3.0, 0.0], [0.0, 2.0]]).S
    array([3., 2.])
    """
    if hermitian:
        return _svd_of_hermitian(a, compute_uv)
    x = arrayed(a)
    is_matrix("svd", x)
    if not compute_uv:
        return svdvals(x)
    m, n = x.shape[-2:]
    if full_matrices and m != n:
        raise UnsupportedError(f"svd: full_matrices=True of shape {x.shape}: the columns beyond "
                               f"{min(m, n)} are arbitrary. Write full_matrices=False")
    return SVD(*_svd_split(_svd(x, turn=turns(x)), m))


def _svd_of_hermitian(a: Any, compute_uv: bool) -> Any:
    """By eigenvalues, of which the signs go to V, as in NumPy: eigenvalues 1 and -1 stay apart."""
    if not compute_uv:
        return PUBLIC["flip"](PUBLIC["sort"](abs(eigvalsh(a, "L")), axis=-1), -1)
    w, v = eigh(a, "L")
    size = abs(w)
    order = PUBLIC["flip"](PUBLIC["argsort"](size, axis=-1), -1)
    ordered = PUBLIC["take_along_axis"]
    u = ordered(v, order[..., None, :], axis=-1)
    signs = ordered(where(w < 0, -1.0, 1.0), order, axis=-1)
    return SVD(u, ordered(size, order, axis=-1), adjoint(u * signs[..., None, :]))


SVD: Any = type(np.linalg.svd(np.eye(1)))
NUMPY[np.linalg.svd] = lambda a, full_matrices=True, compute_uv=True, hermitian=False: svd(
    a, full_matrices, compute_uv, hermitian)  # NumPy's default is the full one


@offered("svdvals", np.linalg.svdvals)
def svdvals(x: Any) -> Any:
    """The singular values of a matrix, descending.

        ds = Re diag(U^H dX V),    dL/dX = U diag(dL/ds) V^H

    Equal singular values share their cotangents; the second derivative there is a MatrixError. At
    a singular value 0 the gradient is one of the subgradients. Args: ``x`` (..., m, n). Source:
    Townsend (2016); Giles (2008), section 2.2.6.

    >>> ad.grad(lambda x: ad.linalg.svdvals(x).sum())(np.eye(2))
    array([[1., 0.],
           [0., 1.]])
    """
    return _svdvals(arrayed(x))
