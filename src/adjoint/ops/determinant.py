"""Determinants and inverses, of one matrix or of a stack in the leading axes.

The matrix derivatives are those of Giles (2008), "Collected matrix derivative results for forward
and reverse mode algorithmic differentiation", and of Magnus & Neudecker, "Matrix Differential
Calculus".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import Label

from .cases import Case, Cases, draw
from .complexes import imag, real
from .declare import total
from .matrices import (
    NO_SCALARS,
    converged,
    flip,
    is_square,
    matrix,
    offered,
    regular,
    row,
    singular,
    square,
    square_cases,
    square_known,
    trace_of,
    wide,
)
from .shape import stack, unbroadcast

if TYPE_CHECKING:
    from collections.abc import Iterator


# ---- det: the adjugate is a polynomial, so it is exact at singular matrices

OF_DET = "the derivative of det"
WELL = 1e-8  # well conditioned is what loses less than this much of all digits, as a share


def _decomposed(x: Any) -> tuple[Any, Any, Any, Any]:
    """U, s, V^H of x with rows and columns of a size, what det U det V^H is, and the exponents.

    With X = R S C, R and C diagonal, adj(X) = adj(C) adj(S) adj(R); R and C are powers of two, so
    this is exact, and S knows small rows and columns as well as large ones.
    """
    x = x.astype(wide(x.dtype), copy=False)
    sizes = _exponents(x)
    r = _bounded(sizes.max(-1, keepdims=True))
    c = _bounded((sizes - r).max(-2, keepdims=True))
    u, s, vh = converged(OF_DET, np.linalg.svd, _shifted(x, -r - c))
    unit = (np.linalg.det(u) * np.linalg.det(vh))[..., None, None]
    return u, s, vh, (unit, np.swapaxes(r, -1, -2), np.swapaxes(c, -1, -2))


LOWEST = -1 << 20  # stands for the exponent of 0


def _exponents(x: Any) -> Any:
    """The power of two of each element, LOWEST for 0 and for what is no number."""
    size = np.maximum(abs(x.real), abs(x.imag)) if x.dtype.kind == "c" else abs(x)
    return np.where((size > 0) & (size < np.inf), np.frexp(size)[1], LOWEST)


def _bounded(e: Any) -> Any:
    """The exponents, and 0 where all is 0."""
    return np.where(e > LOWEST // 2, e, 0)


def _shifted(x: Any, exponents: Any) -> Any:
    """X times two to the exponents, also where that power is out of range."""
    exponents = exponents.astype(np.intc)
    if x.dtype.kind != "c":
        return np.ldexp(x, exponents)
    y = np.empty(np.broadcast_shapes(x.shape, exponents.shape), x.dtype)
    y.real, y.imag = np.ldexp(x.real, exponents), np.ldexp(x.imag, exponents)
    return y


def _lifted(x: Any, exponents: Any) -> tuple[Any, Any]:
    """X times two to the exponents, divided by the power of two of its largest, and that power."""
    top = _bounded((_exponents(x) + exponents).max((-2, -1), keepdims=True))
    return _shifted(x, exponents - top), top


def _products(s: Any) -> Any:
    """For each pair i < j the product of all s but s_i and s_j, without a division."""
    n = s.shape[-1]
    ones = np.ones((*s.shape[:-1], 1), s.dtype)
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    after = np.flip(np.cumprod(np.flip(np.concatenate([s[..., 1:], ones], -1), -1), -1), -1)
    rows = np.where(np.triu(np.ones((n, n), bool), 1), s[..., None, :], s.dtype.type(1))
    between = np.cumprod(rows, -1)
    between = np.concatenate([np.ones_like(between[..., :1]), between[..., :-1]], -1)
    upper = np.triu(before[..., :, None] * between * after[..., None, :], 1)
    return upper + np.swapaxes(upper, -1, -2)


def _others(s: Any) -> Any:
    """For each i the product of all s but s_i."""
    ones = np.ones((*s.shape[:-1], 1), s.dtype)
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], -1), -1)
    after = np.flip(np.cumprod(np.flip(np.concatenate([s[..., 1:], ones], -1), -1), -1), -1)
    return before * after


def _by_inverse(x: Any) -> Any:
    """det(X) X^-1 where that is as exact as the way by singular values, else None."""
    try:
        y = np.linalg.inv(x)
    except np.linalg.LinAlgError:
        return None
    d = np.linalg.det(x)
    info = np.finfo(y.dtype)
    with np.errstate(all="ignore"):
        usual = (abs(d) > info.tiny) & (abs(d) < np.inf) & (_condition(x, y) < WELL / info.eps)
        return d[..., None, None] * y if usual.all() else None


def _of_two(x: Any) -> Any:
    """The adjugate of matrices of 2 rows."""
    y = np.flip(np.swapaxes(x, -1, -2), (-2, -1)).copy()
    y[..., 0, 1], y[..., 1, 0] = -x[..., 0, 1], -x[..., 1, 0]
    return y


def _of_three(x: Any, z: Any) -> Any:
    """The minors of 3 rows, one of x and one of z in each: for z = x the adjugate, exact as it is.

    Their sizes do not meet: each is rounded for itself, and not as a share of the largest.
    """
    x, z = np.swapaxes(x[..., NEXT, :], -1, -2), np.swapaxes(z[..., LAST, :], -1, -2)
    return x[..., NEXT, :] * z[..., LAST, :] - x[..., LAST, :] * z[..., NEXT, :]


NEXT, LAST = [1, 2, 0], [2, 0, 1]


def _adjugate_impl(x: Any) -> Any:
    if not x.shape[-1]:
        return np.zeros(x.shape, wide(x.dtype))
    if x.shape[-1] in (2, 3):
        x = x.astype(wide(x.dtype), copy=False)
        return converged(OF_DET, _of_two, x) if x.shape[-1] == 2 else converged(
            OF_DET, _of_three, x, x)
    quick = _by_inverse(x)
    if quick is not None:
        return quick
    u, s, vh, (unit, r, c) = _decomposed(x)
    v, uh = np.swapaxes(vh, -1, -2).conj(), np.swapaxes(u, -1, -2).conj()
    s, e = np.frexp(s[..., None, :])
    others, top = _lifted(_others(s), e.sum(-1, keepdims=True) - e)
    return _shifted(unit * ((v * others) @ uh), _power(r, c) + top)


def _power(r: Any, c: Any) -> Any:
    """The exponents of adj(C) adj(S) adj(R), beside those of adj(S)."""
    return c.sum((-2, -1), keepdims=True) + r.sum((-2, -1), keepdims=True) - c - r


def _slope_impl(x: Any, d: Any) -> Any:
    """The derivative of the adjugate along d: in the frame of the SVD, that of a diagonal matrix.

    adj(S + K)_ij = -K_ij prod_(l != i, j) s_l off the diagonal, and sum_j K_jj prod_(l != i, j) s_l
    on it, to first order.
    """
    shape = np.broadcast_shapes(x.shape, d.shape)
    if not x.shape[-1]:
        return np.zeros(shape, np.result_type(wide(x.dtype), wide(d.dtype)))
    if x.shape[-1] in (2, 3):
        x, d = (a.astype(wide(a.dtype), copy=False) for a in (x, d))
        return converged(OF_DET, _of_three, x, d) + _of_three(d, x) if x.shape[-1] == 3 else (
            _of_two(np.broadcast_to(d, shape).astype(np.result_type(x, d))))
    u, s, vh, (unit, r, c) = _decomposed(x)
    v, uh = np.swapaxes(vh, -1, -2).conj(), np.swapaxes(u, -1, -2).conj()
    d, size = _lifted(d.astype(wide(d.dtype), copy=False), -np.swapaxes(c + r, -1, -2))
    s, e = np.frexp(s)
    e = e.sum(-1)[..., None, None] - e[..., :, None] - e[..., None, :]
    p, top = _lifted(_products(s), e)
    k = uh @ d @ v
    on = (p @ np.diagonal(k, axis1=-2, axis2=-1)[..., None])[..., 0]
    y = unit * (v @ (on[..., None] * np.eye(s.shape[-1], dtype=s.dtype) - p * k) @ uh)
    return _shifted(y, _power(r, c) + top + size)


def _third(x: Any, e: Any, d: Any) -> Any:
    """The second derivative of the adjugate along e and d, from 4 rows on for regular x."""
    if x.shape[-1] <= 2:  # the adjugate is linear
        return np.zeros(np.broadcast_shapes(x.shape, e.shape, d.shape), e.dtype)
    if x.shape[-1] == 3:  # it is quadratic
        return _slope(e, d)
    b, j, s = inverse(x, of="the third derivative of det"), adjugate(x), _slope(x, e)
    be = b @ e
    return (s * matrix(trace_of(b, d)) - j * matrix(trace_of(be @ b, d))
            - s @ d @ b + j @ d @ be @ b)


def _known_pair(x: Any, d: Any) -> Any:
    is_square("det", x)
    return aval(np.broadcast_shapes(x.shape, d.shape), np.result_type(wide(x.dtype), wide(d.dtype)))


def _slope_jvp(dxs: Any, y: Any, x: Any, d: Any) -> Any:
    dx, dd = dxs
    return total([None if dx is None else _third(x, dx, d), None if dd is None else _slope(x, dd)])


def _slope_vjp(dy: Any, y: Any, x: Any, d: Any, needs: Any) -> Any:
    """D^2 det and D^3 det are symmetric in their directions, so each part is again a slope."""
    back = flip(dy)
    return (unbroadcast(flip(_third(x, back, d)), x.shape) if needs[0] else None,
            unbroadcast(flip(_slope(x, back)), d.shape) if needs[1] else None)


def _pair_cases(rng: np.random.Generator) -> Iterator[Case]:
    for a, d in (((3, 3), (3, 3)), ((2, 3, 3), (3, 3)), ((3, 3), (2, 3, 3)), ((1, 1), (1, 1)),
                 ((0, 0), (0, 0)), ((0, 2, 2), (2, 2))):
        yield Case((regular(rng, *a), draw(rng, d)))
    x = regular(rng, 3, 3)
    yield Case((np.asfortranarray(x), x[::-1]))
    yield Case((x.astype(np.float32), x.astype(np.float32)))
    yield Case((np.array([[5, 1], [1, 3]]), draw(rng, (2, 2))))


_slope = row(
    "_adjugate_slope", _slope_impl, _known_pair,
    Label("d_adj({0}, {1})", r"\mathrm{{d\,adj}}({0})[{1}]",
          (r"\mathrm{{d^2\,adj}}({0})[\cdot, {1}]", r"\mathrm{{d\,adj}}({0})[\cdot]"),
          "polarisation", "((",
          (r"\mathrm{{d^2\,adj}}({0})[{dy}^\top, {1}]^\top",
           r"\mathrm{{d\,adj}}({0})[{dy}^\top]^\top")),
    Cases(_pair_cases, NO_SCALARS, near=True), jvp=_slope_jvp, vjp=_slope_vjp,
    keeps=frozenset("x"))
_adjugate = row(
    "adjugate", _adjugate_impl, square_known("adjugate"),
    Label("adj({0})", r"\mathrm{{adj}}({0})", (r"\mathrm{{d\,adj}}({0})[\cdot]",),
          "derivative of the adjugate", "((", (r"\mathrm{{d\,adj}}({0})[{dy}^\top]^\top",)),
    square_cases(),
    jvp=lambda dxs, y, x: None if dxs[0] is None else _slope(x, dxs[0]),
    vjp=lambda dy, y, x, needs: (flip(_slope(x, flip(dy))),), keeps=frozenset({0}))


@offered("adjugate")
def adjugate(x: Any) -> Any:
    """The adjugate (classical adjoint): x adj(x) = det(x) I; the transposed matrix of cofactors.

    Defined and differentiable at singular matrices too, as its elements are polynomials.
    Args: ``x`` of shape (..., n, n). Raises ShapeError if it is not square. Source: Magnus &
    Neudecker, chapter 8; Stewart (1998), "On the adjugate matrix", for the form by singular values.

    >>> ad.linalg.adjugate([[1.0, 2.0], [3.0, 4.0]])
    array([[ 4., -2.],
           [-3.,  1.]])
    """
    return _adjugate(square("adjugate", x))


def _det_impl(x: Any) -> Any:
    return np.asarray(np.linalg.det(x))[()]


def _det_known(x: Any) -> Any:
    is_square("det", x)
    return aval(x.shape[:-2], wide(x.dtype))


_det = row(
    "det", _det_impl, _det_known,
    Label("det({0})", r"\det({0})", (r"\mathrm{{adj}}({0})^\top",), "Jacobi's formula", "((",
          (r"{dy}\,\mathrm{{adj}}({0})^\top",),
          work="2*n^3/3"),
    square_cases(extra=[Case((np.diag([1.0, 2.0, 0.0]),)), Case((np.ones((2, 2)),))]),
    jvp=lambda dxs, y, x: None if dxs[0] is None else trace_of(adjugate(x), dxs[0]),
    vjp=lambda dy, y, x, needs: (matrix(dy) * flip(adjugate(x)),), keeps=frozenset({0}))


@offered("det", np.linalg.det)
def det(x: Any) -> Any:
    """The determinant, with exact first and second derivatives at singular matrices too.

        d det(X) = tr(adj(X) dX)    (Jacobi's formula)

    From 4 rows on the elements of a derivative are exact as shares of the largest, after rows and
    columns are scaled.
    Args: ``x`` of shape (..., n, n). Raises ShapeError if it is not square, and MatrixError for a
    third derivative at a singular matrix of 4 rows or more. Source: Magnus & Neudecker, chapter 8;
    Giles (2008), section 2.2.4, has the form with the inverse.

    >>> ad.grad(ad.linalg.det)(np.diag([1.0, 2.0, 0.0])) + 0.0
    array([[0., 0., 0.],
           [0., 0., 0.],
           [0., 0., 2.]])
    """
    return _det(square("det", x))


# ---- inv, slogdet

def _inverse_impl(x: Any, of: str) -> Any:
    try:
        y = np.linalg.inv(x)
    except np.linalg.LinAlgError:
        is_square(of, x)
        raise singular(of, x) from None
    if of == OF_SLOGDET and is_rounding(x, y):
        raise singular(of, x)
    return y


def is_rounding(x: Any, y: Any) -> bool:
    """Whether an inverse y of x has no digit that is right, by Skeel's condition number.

    Scaling rows leaves |y||x| as it is, scaling columns |x||y|; a diagonal matrix passes.
    """
    limit = 1.0 / np.finfo(y.dtype).eps
    with np.errstate(all="ignore"):
        if (_condition(x, y) < limit).all():  # the usual condition number is no smaller
            return False
        sizes = [(a @ b).sum(-1).max(-1, initial=0.0)
                 for a, b in ((abs(y), abs(x)), (abs(x), abs(y)))]
    return bool((np.minimum(*sizes) > limit).any())


def _condition(x: Any, y: Any) -> Any:
    """The condition number of x with inverse y, in the norm of largest row sums."""
    return abs(x).sum(-1).max(-1, initial=0.0) * abs(y).sum(-1).max(-1, initial=0.0)


inverse = row(
    "inv", _inverse_impl, square_known("inv"),
    Label("inv({0})", r"{0}^{{-1}}", (r"-{y}\,[\cdot]\,{y}",), "derivative of the inverse", "(^",
          (r"-{y}^\top\,{dy}\,{y}^\top",),
          work="2*n^3"),
    square_cases({"of": "inv"}),
    jvp=lambda dxs, y, x, of: None if dxs[0] is None else -(y @ dxs[0] @ y),
    vjp=lambda dy, y, x, needs, of: (-(flip(y) @ dy @ flip(y)),), keeps=frozenset("y"))


@offered("inv", np.linalg.inv)
def inv(x: Any) -> Any:
    """The inverse of a matrix.

        Y = X^-1,    dY = -Y dX Y,    dL/dX = -Y^T dL/dY Y^T

    Args: ``x`` of shape (..., n, n). Raises ShapeError if it is not square, MatrixError if it is
    singular. Source: Giles (2008), section 2.2.3.

    >>> ad.linalg.inv([[2.0, 0.0], [0.0, 4.0]])
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    return inverse(square("inv", x), of="inv")


def _slogdet_impl(x: Any) -> Any:
    sign, log = np.linalg.slogdet(x)
    return np.stack([sign, log.astype(np.asarray(sign).dtype)], -1)


def _slogdet_known(x: Any) -> Any:
    is_square("slogdet", x)
    return aval((*x.shape[:-2], 2), wide(x.dtype))


OF_SLOGDET = "the derivative of slogdet (the logarithm of the determinant 0)"


def _slogdet_jvp(dxs: Any, y: Any, x: Any) -> Any:
    if dxs[0] is None:
        return None
    rate = trace_of(inverse(x, of=OF_SLOGDET), dxs[0])
    if rate.dtype.kind != "c":
        return stack([rate * 0.0, rate], -1)
    return stack([1j * imag(rate) * y[..., 0], real(rate) + 0j], -1)


def _slogdet_vjp(dy: Any, y: Any, x: Any, needs: Any) -> Any:
    rate = dy[..., 1]
    if dy.dtype.kind == "c":
        rate = real(rate) + 1j * imag(dy[..., 0] * y[..., 0])
    return (matrix(rate) * flip(inverse(x, of=OF_SLOGDET)),)


_slogdet = row(
    "slogdet", _slogdet_impl, _slogdet_known,
    Label("slogdet({0})", r"(\mathrm{{sign}}(\det({0})),\,\ln(\left|\det({0})\right|))",
          (r"(0,\,{0}^{{-\top}})",), "Jacobi's formula", "((", (r"{dy}_{{1}}\,{0}^{{-\top}}",),
          work="2*n^3/3"),
    square_cases(), jvp=_slogdet_jvp, vjp=_slogdet_vjp, keeps=frozenset({0, "y"}))


@offered("slogdet", np.linalg.slogdet)
def slogdet(x: Any) -> Any:
    """The sign of the determinant and the logarithm of its absolute value, as NumPy's named tuple.

        d log|det X| = Re tr(X^-1 dX)

    Args: ``x`` of shape (..., n, n). Raises ShapeError if it is not square; a derivative at a
    singular matrix is a MatrixError, as the logarithm has none there. Source: Giles (2008),
    section 2.2.4.

    >>> float(ad.linalg.slogdet([[2.0, 0.0], [0.0, -3.0]]).sign)
    -1.0
    """
    y = _slogdet(square("slogdet", x))
    sign, log = (y[..., 0], y[..., 1]) if len(y.shape) > 1 else (y[0], y[1])
    return SLOGDET(sign, real(log) if log.dtype.kind == "c" else log)


SLOGDET: Any = type(np.linalg.slogdet(np.eye(1)))
