"""Rank, pseudo-inverse and least squares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.node import aval
from adjoint.core.primitive import Label
from adjoint.errors import ArgumentError, EscapeError, ShapeError

from .cases import Case, Cases, draw
from .declare import arrayed, promoted, total
from .degenerate import guard
from .factor import svdvals
from .matrices import (
    NO_SCALARS,
    ONE_ARRAY,
    adjoint,
    conj,
    converged,
    is_matrix,
    offered,
    row,
    square_cases,
    wide,
)
from .norms import vector_norm
from .reduce import max as largest
from .select import where
from .shape import reshape, unbroadcast
from .spectral import hermitian as hermitian_part
from .spectral import triangle
from .units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterator


# ---- rank

def _rank_impl(x: Any, tol: Any, hermitian: bool, rtol: Any) -> Any:
    return np.asarray(np.linalg.matrix_rank(x, tol, hermitian, rtol=rtol))[()]


def _rank_known(x: Any, **_: Any) -> Any:
    is_matrix("matrix_rank", x)
    return aval(x.shape[:-2], np.intp)


_rank = row(
    "matrix_rank", _rank_impl, _rank_known, Label("rank({0})", r"\mathrm{{rank}}({0})"),
    square_cases({"tol": None, "hermitian": False, "rtol": None}), nondiff=True)


@offered("matrix_rank", np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The number of singular values above a tolerance: an integer, without derivative.

    Args as in `numpy.linalg.matrix_rank`; a vector has rank 1, or 0 if it is zero, whatever the
    tolerances.

    >>> int(ad.linalg.matrix_rank(np.ones((2, 2))))
    1
    """
    x = arrayed(A)
    if len(x.shape) < 2:
        return _rank(reshape(x, (1, -1)), tol=0.0, hermitian=False, rtol=None)
    return _rank(x, tol=tol, hermitian=hermitian, rtol=rtol)


# ---- pinv, lstsq

def _pinv_impl(x: Any, rcond: Any) -> Any:
    return converged("pinv", lambda x: np.linalg.pinv(x, rcond), x)


def _pinv_known(x: Any, rcond: Any) -> Any:
    is_matrix("pinv", x)
    return aval((*x.shape[:-2], x.shape[-1], x.shape[-2]), wide(x.dtype))


def _full_rank(y: Any, x: Any, rcond: Any) -> Any:
    """``y``, if no singular value counts as 0."""
    s = svdvals(x)
    if s.shape[-1]:
        limit = np.asarray(rcond)[..., None] * largest(s, axis=-1, keepdims=True)
        s = where(s > limit, s, 0.0)
    return guard(y, s[..., None, :], check="full")


def _pinv_jvp(dxs: Any, y: Any, x: Any, rcond: Any) -> Any:
    """With P = A^+: -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P."""
    if dxs[0] is None:
        return None
    p, h = _full_rank(y, x, rcond), adjoint(dxs[0])
    dy = -(p @ dxs[0] @ p)
    m, n = x.shape[-2:]
    if m > n:  # else A P = I, and the term is rounding
        left = p @ adjoint(p) @ h
        dy = dy + left - left @ x @ p
    if m < n:
        right = h @ adjoint(p) @ p
        dy = dy + right - p @ (x @ right)
    return dy


def _pinv_vjp(dy: Any, y: Any, x: Any, needs: Any, rcond: Any) -> Any:
    p, g = _full_rank(y, x, rcond), conj(dy)
    ph, gh = adjoint(p), adjoint(g)
    dx = -(ph @ g @ ph)
    m, n = x.shape[-2:]
    if m > n:
        left = gh @ p @ ph
        dx = dx + left - x @ (p @ left)
    if m < n:
        right = ph @ p @ gh
        dx = dx + right - right @ p @ x
    return (conj(dx),)


def _tall_or_wide(rng: np.random.Generator) -> Iterator[Case]:
    p = {"rcond": 1e-13}
    for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1), (3, 0), (0, 3, 2)):
        yield Case((draw(rng, shape, (-0.5, 0.5)) + 2.0 * np.eye(*shape[-2:]),), p)
    x = draw(rng, (3, 2), (-0.5, 0.5)) + 2.0 * np.eye(3, 2)
    yield Case((np.asfortranarray(x),), p)
    yield Case((x[::-1],), p)
    yield Case((x.astype(np.float32),), {"rcond": 1e-5})
    yield Case((np.array([[5, 1], [1, 3], [0, 2]]),), p)


_pinv = row(
    "pinv", _pinv_impl, _pinv_known,
    Label("pinv({0})", "{0}^{{+}}", (r"-{y}\,[\cdot]\,{y} + \dots",), "pseudo-inverse", "(^",
          ((r"-{y}^\top\,{dy}\,{y}^\top + (I - {0}\,{y})\,{dy}^\top\,{y}\,{y}^\top"
           r" + {y}^\top\,{y}\,{dy}^\top\,(I - {y}\,{0})"),)),
    Cases(_tall_or_wide, ONE_ARRAY, near=True), jvp=_pinv_jvp, vjp=_pinv_vjp,
    keeps=frozenset({0, "y"}))


@offered("pinv", np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """The Moore-Penrose pseudo-inverse.

        dP = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P

    Args: ``a`` (..., m, n); singular values below ``rcond`` (or ``rtol``) times the largest count
    as 0, by default max(m, n) roundings; ``hermitian`` says that a is, and only its lower triangle
    is read. Raises MatrixError for a derivative at a matrix of less
    than full rank, where the pseudo-inverse jumps. Source: Golub & Pereyra (1973), "The
    differentiation of pseudo-inverses and nonlinear least squares problems".

    >>> ad.linalg.pinv([[2.0], [0.0]])
    array([[0.5, 0. ]])
    """
    x = hermitian_part(triangle("pinv", a, "L")) if hermitian else arrayed(a)
    is_matrix("pinv", x)
    if rcond is not None and rtol is not None:
        raise ArgumentError("pinv: rcond and rtol are two names of one limit; give one")
    limit = rtol if rcond is None else rcond
    if limit is None:
        limit = float(np.finfo(wide(x.dtype)).eps) * max(x.shape[-2:])
    unit = unit_of(x, (-2, -1))  # the derivatives multiply two and three inverses
    return _pinv(x, rcond=limit) if unit is None else _pinv(x / unit, rcond=limit) / unit


def _lstsq_impl(a: Any, b: Any, rcond: float) -> Any:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (a, b))
    y = np.empty((*lead, a.shape[-1], b.shape[-1]), wide(np.result_type(a, b)))
    for index in np.ndindex(lead):
        y[index] = converged("lstsq", lambda a, b: np.linalg.lstsq(a, b, rcond)[0], a[index],
                             b[index])
    return y


def _lstsq_known(a: Any, b: Any, rcond: float) -> Any:
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return aval((*lead, a.shape[-1], b.shape[-1]), wide(promoted(a, b)))


def _lstsq_jvp(dxs: Any, y: Any, a: Any, b: Any, rcond: float) -> Any:
    """With P = A^+: dX = P (dB - dA X) + P P^H dA^H (B - A X) + (I - P A) dA^H P^H X."""
    da, db = dxs
    p = _pinv(a, rcond=rcond)
    p = p if da is None else _full_rank(p, a, rcond)
    rate = total([None if da is None else -(da @ y), db])
    if rate is None:
        return None
    dy = p @ rate
    m, n = a.shape[-2:]
    if da is not None and m > n:  # else nothing is left over
        dy = dy + p @ (adjoint(p) @ (adjoint(da) @ (b - a @ y)))
    if da is not None and m < n:
        turned = adjoint(da) @ (adjoint(p) @ y)
        dy = dy + turned - p @ (a @ turned)
    return dy


def _lstsq_vjp(dy: Any, y: Any, a: Any, b: Any, needs: Any, rcond: float) -> Any:
    p, g = _pinv(a, rcond=rcond), conj(dy)
    if not needs[0]:  # linear in b, whatever the rank
        return None, unbroadcast(conj(adjoint(p) @ g), b.shape)
    p = _full_rank(p, a, rcond)
    u = adjoint(p) @ g
    da = -(u @ adjoint(y))
    m, n = a.shape[-2:]
    if m > n:
        da = da + (b - a @ y) @ adjoint(p @ u)
    if m < n:
        da = da + (adjoint(p) @ y) @ adjoint(g - p @ (a @ g))
    return unbroadcast(conj(da), a.shape), (
        unbroadcast(conj(u), b.shape) if needs[1] else None)


def _lstsq_cases(rng: np.random.Generator) -> Iterator[Case]:
    p = {"rcond": 1e-13}
    for shape in ((3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1), (3, 0)):
        a = draw(rng, shape, (-0.5, 0.5)) + 2.0 * np.eye(*shape[-2:])
        yield Case((a, draw(rng, (shape[-2], 2))), p)
    a, b = draw(rng, (3, 2), (-0.5, 0.5)) + 2.0 * np.eye(3, 2), draw(rng, (2, 3, 1))
    yield Case((np.asfortranarray(a), b), p)
    yield Case((a[::-1], b[0]), p)
    yield Case((a.astype(np.float32), b[0].astype(np.float32)), {"rcond": 1e-5})
    yield Case((np.array([[5, 1], [1, 3], [0, 2]]), b[0]), p)


_lstsq = row(
    "lstsq", _lstsq_impl, _lstsq_known,
    Label("lstsq({0}, {1})", r"{0}^{{+}}\,{1}", (r"-{0}^{{+}}\,[\cdot]\,{y} + \dots", "{0}^{{+}}"),
          "least squares", "(*",
          ((r"-U\,{y}^\top + ({1} - {0}\,{y})\,({0}^{{+}}\,U)^\top"
           r" + {0}^{{+\top}}\,{y}\,({dy} - {0}^{{+}}\,{0}\,{dy})^\top,\ U = {0}^{{+\top}}\,{dy}"),
           r"{0}^{{+\top}}\,{dy}")),
    Cases(_lstsq_cases, NO_SCALARS, near=True), jvp=_lstsq_jvp, vjp=_lstsq_vjp,
    keeps=frozenset({0, 1, "y"}))


@offered("lstsq", np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """The least-squares solution of a x = b: (x, residuals, rank, singular values), as NumPy.

        x = a^+ b    (of smallest norm, if there are several)
        dL/db = u = a^+H dL/dx,    dL/da = -u x^H + (b - a x) (a^+ u)^H    (m > n)

    Args: ``a`` (m, n), ``b`` (m,) or (m, k). ``residuals`` are the sums of squares of a x - b if
    m > n and the rank is n, else empty. Raises ShapeError if the rows do not match, MatrixError for
    a derivative with respect to a where it has not full rank. Source: Golub & Pereyra (1973).

    >>> ad.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0])[0]
    array([2.])
    """
    a, b = arrayed(a), arrayed(b)
    is_matrix("lstsq", a)
    if len(a.shape) != 2 or len(b.shape) not in (1, 2) or a.shape[0] != b.shape[0]:
        raise ShapeError(f"lstsq: {a.shape[-2]} equations (a has shape {a.shape}) do not fit the "
                         f"right-hand side of shape {b.shape}: it has {a.shape[-2]} rows. Map over "
                         "stacks of systems with ad.vmap")
    m, n = a.shape
    roundings = float(np.finfo(wide(np.result_type(a.dtype, b.dtype))).eps)
    limit = roundings * (max(m, n) if rcond is None else 1) if (
        rcond is None or rcond < 0) else float(rcond)
    vector = len(b.shape) == 1
    x = _lstsq(a, b[:, None] if vector else b, rcond=limit)
    x = x[:, 0] if vector else x
    rank, s = matrix_rank(a, rtol=limit), svdvals(a)
    square_of = vector_norm(b - a @ x, axis=0, keepdims=vector) ** 2
    whole = m > n and _is_full(rank, n)
    return x, square_of if whole else square_of[:0], rank, s


def _is_full(rank: Any, n: int) -> bool:
    """Whether the rank is n, of all systems of a batch or of none; taken for granted in a trace."""
    while isinstance(rank, Box):
        rank = rank.value
    full_rank = rank is None or np.equal(rank, n)
    if np.all(full_rank) != np.any(full_rank):
        raise EscapeError("lstsq: some systems of this batch have full rank and residuals, others "
                          "have none, so the results differ in shape; leave vmap, or write "
                          "ad.linalg.pinv(a) @ b")
    return bool(np.all(full_rank))
