"""Determinants, inverses and linear systems, of one matrix or of a stack in the leading axes.

Rules compute with transposes, not with conjugate transposes (see ``complexes.py``). The matrix
derivatives are those of Giles (2008), "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation", and of Magnus & Neudecker, "Matrix Differential Calculus".
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import NUMPY, PUBLIC, Label
from adjoint.errors import ArgumentError, DTypeError, MatrixError, ShapeError

from .cases import Case, Cases, draw
from .complexes import imag, real
from .declare import (
    COMPOSED,
    Composed,
    arrayed,
    batch_aligned,
    general,
    promoted,
    total,
)
from .linalg import matmul
from .reduce import sum as summed
from .select import where
from .shape import moveaxis, reshape, stack, swapaxes, unbroadcast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NO_SCALARS = {"0-d": "a matrix has two axes"}
ONE_ARRAY = {**NO_SCALARS, "broadcast left": "one array", "broadcast right": "one array"}


# ---- what all rows of linear algebra share

def flip(x: Any) -> Any:
    """Each matrix transposed."""
    return swapaxes(x, -1, -2)


def adjoint(x: Any) -> Any:
    """Each matrix transposed and conjugated."""
    return flip(conj(x))


def conj(x: Any) -> Any:
    """The conjugate of complex values; real ones as they are."""
    return x.conj() if x.dtype.kind == "c" else x


def wide(dtype: Any) -> Any:
    """The dtype that NumPy's linear algebra computes in: integers become float64."""
    if dtype.kind in "fc" and dtype.itemsize in ((2,) if dtype.kind == "f" else ()):
        raise DTypeError(f"linear algebra has no {dtype}; write x.astype(np.float32)")
    return dtype if dtype.kind in "fc" else np.dtype(float)


def real_of(dtype: Any) -> Any:
    """The dtype of absolute values."""
    return np.empty(0, wide(dtype)).real.dtype


def is_matrix(name: str, x: Any) -> None:
    """An error unless ``x`` has two axes or more."""
    if len(x.shape) < 2:
        raise ShapeError(f"{name}: a matrix has two axes, and the shape is {x.shape}; write "
                         "x[:, None] for a column, x[None, :] for a row")


def is_square(name: str, x: Any) -> None:
    """An error unless ``x`` is a square matrix, or a stack of them."""
    is_matrix(name, x)
    rows, columns = x.shape[-2:]
    if rows != columns:
        raise ShapeError(f"{name}: a square matrix is needed, and the shape is {x.shape} ({rows} "
                         f"rows, {columns} columns); ad.linalg.lstsq and ad.linalg.pinv are for "
                         "rectangular ones")


def square(name: str, x: Any) -> Any:
    """``x`` as an array that is square."""
    x = arrayed(x)
    is_square(name, x)
    wide(x.dtype)
    return x


def at(index: tuple[int, ...]) -> str:
    """Where in a stack a matrix stands, for messages."""
    return f" at index {index}" if index else ""


def singular(name: str, a: Any) -> MatrixError:
    """The error for a singular matrix: which, its rank, and what to use."""
    n = a.shape[-1]
    ranks = np.asarray(np.linalg.matrix_rank(a))
    where_singular = tuple(map(int, np.argwhere(ranks < n)[0])) if (ranks < n).any() else ()
    rank = int(ranks[where_singular]) if ranks.size else n
    return MatrixError(
        f"{name}: the matrix{at(where_singular)} of shape {(n, n)} is singular (its rank is "
        f"{min(rank, n - 1)}), so it has no inverse. Add a multiple of np.eye({n}) to it, or use "
        "ad.linalg.lstsq or ad.linalg.pinv")


def by_call(impl: Callable[..., Any], known: Callable[..., Any]) -> Any:
    """The lowering of what has no loop form: a call, whose Aval the row's rule announces."""
    def lower(b: Any, *refs: Any, **params: Any) -> Any:
        return b.call(lambda *xs: impl(*xs, **params), refs, known(*refs, **params))
    return lower


def row(name: str, impl: Any, known: Any, label: Label, cases: Cases, **fields: Any) -> Any:
    """A row on matrices in the last two axes; a batch is one more leading axis."""
    def batch(size: int, axes: Any, *xs: Any, **params: Any) -> Any:
        return apply(*batch_aligned(size, axes, xs), **params), 0
    derived: dict[str, Any] = {"batch": batch, "lower": by_call(impl, known)}
    apply = general("linalg." + name, impl, aval=known, label=label, cases=cases,
                    **derived | fields)
    return apply


def offered(name: str, *numpy: Any, label: Label | None = None, cases: Cases | None = None) -> Any:
    """Decorator: the function ``ad.linalg.name``; with cases it is tested as a composed one."""
    def enter(f: Any) -> Any:
        full = "linalg." + name
        if label is not None and cases is not None:
            COMPOSED[full] = Composed(full, f, label, cases)
        f.__name__ = f.__qualname__ = name
        PUBLIC[full] = f
        NUMPY.update(dict.fromkeys(numpy, f))
        return f
    return enter


def regular(rng: np.random.Generator, *shape: int) -> Any:
    """A well-conditioned matrix, or a stack of them."""
    n = shape[-1]
    return draw(rng, shape, (-1.0, 1.0)) + 3.0 * np.eye(shape[-2], n)


def square_cases(*params: dict[str, Any], make: Any = regular, extra: Any = (),
                 without: dict[str, str] | None = None) -> Cases:
    """The cases of a row with one square matrix."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        for p in params or ({},):
            for shape in ((3, 3), (2, 3, 3), (1, 1)):
                yield Case((make(rng, *shape),), p)
        p = params[0] if params else {}
        yield Case((np.zeros((0, 0)),), p)
        yield Case((np.zeros((0, 2, 2)),), p)
        yield Case((np.asfortranarray(make(rng, 3, 3)),), p)
        yield Case((make(rng, 3, 3)[::-1, ::-1],), p)
        yield Case((make(rng, 2, 2).astype(np.float32),), p)
        yield Case((np.array([[5, 1], [1, 3]]),), p)
        yield from extra
    return Cases(generate, {**ONE_ARRAY, **(without or {})}, near=True)


def trace_of(x: Any, z: Any) -> Any:
    """tr(x z) of each pair of matrices."""
    return summed(x * flip(z), axis=(-2, -1))


def matrix(x: Any) -> Any:
    """A number for each matrix, with two axes of size 1 behind it."""
    return x[..., None, None]


# ---- det: the adjugate is a polynomial, so it is exact at singular matrices

def _decomposed(x: Any) -> tuple[Any, Any, Any, Any]:
    u, s, vh = np.linalg.svd(x.astype(wide(x.dtype), copy=False))
    return u, s, vh, (np.linalg.det(u) * np.linalg.det(vh))[..., None, None]


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


def _adjugate_impl(x: Any) -> Any:
    if not x.shape[-1]:
        return np.zeros(x.shape, wide(x.dtype))
    u, s, vh, unit = _decomposed(x)
    v, uh = np.swapaxes(vh, -1, -2).conj(), np.swapaxes(u, -1, -2).conj()
    return unit * ((v * _others(s)[..., None, :]) @ uh)


def _slope_impl(x: Any, d: Any) -> Any:
    """The derivative of the adjugate along d: in the frame of the SVD, that of a diagonal matrix.

    adj(S + K)_ij = -K_ij prod_(l != i, j) s_l off the diagonal, and sum_j K_jj prod_(l != i, j) s_l
    on it, to first order.
    """
    shape = np.broadcast_shapes(x.shape, d.shape)
    if not x.shape[-1]:
        return np.zeros(shape, np.result_type(wide(x.dtype), wide(d.dtype)))
    u, s, vh, unit = _decomposed(x)
    v, uh = np.swapaxes(vh, -1, -2).conj(), np.swapaxes(u, -1, -2).conj()
    k, p = uh @ d @ v, _products(s)
    on = (p @ np.diagonal(k, axis1=-2, axis2=-1)[..., None])[..., 0]
    return unit * (v @ (on[..., None] * np.eye(s.shape[-1], dtype=s.dtype) - p * k) @ uh)


def _third(x: Any, e: Any, d: Any) -> Any:
    """The second derivative of the adjugate along e and d, for regular x; 0 if it is linear."""
    if x.shape[-1] <= 2:
        return np.zeros(np.broadcast_shapes(x.shape, e.shape, d.shape), e.dtype)
    b, j, s = _inverse(x, of="the third derivative of det"), adjugate(x), _slope(x, e)
    be = b @ e
    return (s * matrix(trace_of(b, d)) - j * matrix(trace_of(be @ b, d))
            - s @ d @ b + j @ d @ be @ b)


def _known_pair(x: Any, d: Any) -> Any:
    is_square("det", x)
    return aval(np.broadcast_shapes(x.shape, d.shape), np.result_type(wide(x.dtype), wide(d.dtype)))


def _square_known(name: str) -> Any:
    def known(x: Any, **_: Any) -> Any:
        is_square(name, x)
        return aval(x.shape, wide(x.dtype))
    return known


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
    Label("d adj({0})[{1}]", r"\mathrm{{d\,adj}}({0})[{1}]", ("1", r"\mathrm{{d\,adj}}({0})"),
          "polarisation"),
    Cases(_pair_cases, NO_SCALARS, near=True), jvp=_slope_jvp, vjp=_slope_vjp,
    keeps=frozenset("x"))
_adjugate = row(
    "adjugate", _adjugate_impl, _square_known("adjugate"),
    Label("adj({0})", r"\mathrm{{adj}}\,{0}", (r"\mathrm{{d\,adj}}({0})",), "adjugate"),
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
    Label("det({0})", r"\det {0}", (r"\mathrm{{adj}}({0})^\top",), "Jacobi's formula"),
    square_cases(extra=[Case((np.diag([1.0, 2.0, 0.0]),)), Case((np.ones((2, 2)),))]),
    jvp=lambda dxs, y, x: None if dxs[0] is None else trace_of(adjugate(x), dxs[0]),
    vjp=lambda dy, y, x, needs: (matrix(dy) * flip(adjugate(x)),), keeps=frozenset({0}))


@offered("det", np.linalg.det)
def det(x: Any) -> Any:
    """The determinant, with exact first and second derivatives at singular matrices too.

        d det(X) = tr(adj(X) dX)    (Jacobi's formula)

    Args: ``x`` of shape (..., n, n). Raises ShapeError if it is not square, and MatrixError for a
    third derivative at a singular matrix. Source: Magnus & Neudecker, chapter 8; Giles (2008),
    section 2.2.4, has the form with the inverse.

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
    if of == OF_SLOGDET and _is_rounding(x, y):
        raise singular(of, x)
    return y


def _is_rounding(x: Any, y: Any) -> bool:
    """Whether an inverse y of x has no digit that is right, by Skeel's condition number.

    Scaling rows leaves |y||x| as it is, scaling columns |x||y|; a diagonal matrix passes.
    """
    with np.errstate(all="ignore"):
        sizes = [(a @ b).sum(-1).max(-1, initial=0.0)
                 for a, b in ((abs(y), abs(x)), (abs(x), abs(y)))]
    return bool((np.minimum(*sizes) > 1.0 / np.finfo(y.dtype).eps).any())


_inverse = row(
    "inv", _inverse_impl, _square_known("inv"),
    Label("inv({0})", r"{0}^{{-1}}", (r"-{y}^\top\,\cdot\,{y}^\top",), "inverse"),
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
    return _inverse(square("inv", x), of="inv")


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
    rate = trace_of(_inverse(x, of=OF_SLOGDET), dxs[0])
    if rate.dtype.kind != "c":
        return stack([rate * 0.0, rate], -1)
    return stack([1j * imag(rate) * y[..., 0], real(rate) + 0j], -1)


def _slogdet_vjp(dy: Any, y: Any, x: Any, needs: Any) -> Any:
    rate = dy[..., 1]
    if dy.dtype.kind == "c":
        rate = real(rate) + 1j * imag(dy[..., 0] * y[..., 0])
    return (matrix(rate) * flip(_inverse(x, of=OF_SLOGDET)),)


_slogdet = row(
    "slogdet", _slogdet_impl, _slogdet_known,
    Label("slogdet({0})", r"\log|\det {0}|", (r"{0}^{{-\top}}",), "Jacobi's formula"),
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
    log = y[..., 1]
    return SLOGDET(y[..., 0], real(log) if log.dtype.kind == "c" else log)


SLOGDET: Any = type(np.linalg.slogdet(np.eye(1)))


# ---- linear systems

def _solve_impl(a: Any, b: Any) -> Any:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        raise singular("solve", a) from None


def _solve_known(a: Any, b: Any) -> Any:
    is_square("solve", a)
    n = a.shape[-1]
    if len(b.shape) < 2 or b.shape[-2] != n:
        raise ShapeError(f"solve: {n} equations (a has shape {a.shape}) do not fit the right-hand "
                         f"side of shape {b.shape}: it is a vector of {n}, or has {n} rows. Many "
                         "right-hand sides are columns: np.stack([b, c], axis=-1)")
    try:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"solve: the batch axes of {a.shape} and {b.shape} do not "
                         "broadcast") from None
    return aval((*lead, n, b.shape[-1]), wide(promoted(a, b)))


def _solve_jvp(dxs: Any, y: Any, a: Any, b: Any) -> Any:
    da, db = dxs
    return total([None if da is None else -_solve(a, da @ y),
                  None if db is None else _solve(a, db)])


def _solve_vjp(dy: Any, y: Any, a: Any, b: Any, needs: Any) -> Any:
    db = _solve(flip(a), dy)
    return (unbroadcast(-(db @ flip(y)), a.shape) if needs[0] else None,
            unbroadcast(db, b.shape) if needs[1] else None)


def _system_cases(rng: np.random.Generator) -> Iterator[Case]:
    for a, b in (((3, 3), (3, 2)), ((2, 3, 3), (3, 1)), ((3, 3), (2, 3, 3)), ((1, 1), (1, 1)),
                 ((2, 1, 2, 2), (3, 2, 1)), ((0, 0), (0, 2)), ((2, 2), (0, 2, 1)),
                 ((2, 3, 3), (3, 3))):
        yield Case((regular(rng, *a), draw(rng, b)))
    x = regular(rng, 3, 3)
    yield Case((np.asfortranarray(x), draw(rng, (3, 2))[::-1]))
    yield Case((x.astype(np.float32), draw(rng, (3, 2)).astype(np.float32)))
    yield Case((np.array([[5, 1], [1, 3]]), draw(rng, (2, 2))))


_solve = row(
    "solve", _solve_impl, _solve_known,
    Label("solve({0}, {1})", r"{0}^{{-1}}\,{1}", (r"-{0}^{{-\top}}\,\cdot\,{y}^\top",
                                                  r"{0}^{{-\top}}\,\cdot\,"), "linear system"),
    Cases(_system_cases, NO_SCALARS, near=True), jvp=_solve_jvp, vjp=_solve_vjp,
    keeps=frozenset({0, "y"}))


@offered("solve", np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """The solution x of the linear system a x = b, for one or many right-hand sides.

        dL/db = a^-T dL/dx,    dL/da = -dL/db x^T

    Args: ``a`` of shape (..., n, n); ``b`` a vector of n, or of shape (..., n, k) with a
    right-hand side in each column (as in NumPy 2, only one axis means a vector). Raises ShapeError
    if the shapes do not fit, MatrixError if a matrix is singular. Source: Giles (2008), section
    2.3.1.

    >>> ad.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0])
    array([1. , 0.5])
    """
    a, b = square("solve", a), arrayed(b)
    vector = len(b.shape) == 1
    y = _solve(a, b[:, None] if vector else b)
    return y[..., 0] if vector else y


def _kept_triangle(a: Any, lower: bool, unit: bool) -> Any:
    n = a.shape[-1]
    mask = np.tril(np.ones((n, n), bool), -1 if unit else 0)
    kept = where(mask if lower else mask.T, a, 0.0)
    return kept + np.eye(n, dtype=wide(a.dtype)) if unit else kept


def _triangular_cases(rng: np.random.Generator) -> Iterator[Case]:
    for case in _system_cases(rng):
        yield case
        yield Case(case.args, {"lower": True})
    x = regular(rng, 3, 3)
    yield Case((x, draw(rng, (3,))), {"lower": True, "trans": 1})
    yield Case((x, draw(rng, (3,))), {"unit_diagonal": True})


@offered("solve_triangular", label=Label(
    "solve_triangular({0}, {1})", r"{0}^{{-1}}\,{1}", (r"-{0}^{{-\top}}\,\cdot\,{y}^\top",
                                                       r"{0}^{{-\top}}\,\cdot\,"), "linear system"),
    cases=Cases(_triangular_cases, NO_SCALARS, near=True))
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False,
                     unit_diagonal: bool = False) -> Any:
    """The solution of a x = b where only one triangle of a counts; the other gets gradient 0.

    Args: ``a`` (..., n, n), ``b`` (n,) or (..., n, k), ``lower`` says which triangle, ``trans`` (0
    or "N", 1 or "T", 2 or "C") solves with the (conjugate) transpose, ``unit_diagonal`` takes the
    diagonal as ones. Names and meaning are those of scipy.linalg.solve_triangular, for which this
    stands. Raises as `solve` does. Source: Giles (2008), section 2.3.1.

    >>> ad.linalg.solve_triangular([[2.0, 0.0], [1.0, 1.0]], [2.0, 3.0], lower=True)
    array([1., 2.])
    """
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ArgumentError(f"solve_triangular: trans is 0, 1, 2, 'N', 'T' or 'C', not {trans!r}")
    a = _kept_triangle(square("solve_triangular", a), lower, unit_diagonal)
    a = flip(a) if trans in (1, "T") else adjoint(a) if trans in (2, "C") else a
    return solve(a, b)


@offered("cho_solve")
def cho_solve(c_and_lower: Any, b: Any) -> Any:
    """The solution of a x = b from the Cholesky factor of a: ``cho_solve((c, lower), b)``.

    Two triangular systems. Args and names are those of scipy.linalg.cho_solve. Raises as `solve`.

    >>> c = ad.linalg.cholesky([[4.0, 0.0], [0.0, 1.0]])
    >>> ad.linalg.cho_solve((c, True), [4.0, 3.0])
    array([1., 3.])
    """
    c, lower = c_and_lower
    first, second = ("N", "C") if lower else ("C", "N")
    y = solve_triangular(c, b, trans=first, lower=lower)
    return solve_triangular(c, y, trans=second, lower=lower)


@offered("tensorsolve", np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """The tensor x with tensordot(a, x, x.ndim) = b; ``axes`` of a are moved to its end first.

    Raises ShapeError if a is not square in that sense, MatrixError if it is singular. Source:
    `numpy.linalg.tensorsolve`; the derivative is that of `solve`.

    >>> ad.linalg.tensorsolve(np.eye(4).reshape(2, 2, 4), np.ones((2, 2)))
    array([1., 1., 1., 1.])
    """
    a, b = arrayed(a), arrayed(b)
    if axes is not None:
        a = moveaxis(a, axes, tuple(range(len(a.shape) - len(axes), len(a.shape))))
    rest = a.shape[len(b.shape):]
    n = prod(rest)
    if prod(a.shape[:len(b.shape)]) != n or prod(b.shape) != n:
        raise ShapeError(f"tensorsolve: shapes {a.shape} and {b.shape}: the first axes of a are "
                         "those of b, and the others have as many elements")
    return reshape(solve(reshape(a, (n, n)), reshape(b, (n,))), rest)


@offered("tensorinv", np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """The inverse of a as a map from its last axes to its first ``ind``.

    Raises ShapeError if a is not square in that sense, MatrixError if it is singular. Source:
    `numpy.linalg.tensorinv`; the derivative is that of `inv`.

    >>> ad.linalg.tensorinv(2.0 * np.eye(4).reshape(4, 2, 2), ind=1).shape
    (2, 2, 4)
    """
    a = arrayed(a)
    if ind <= 0:
        raise ArgumentError(f"tensorinv: ind is a positive number of axes, not {ind}")
    first, rest = a.shape[:ind], a.shape[ind:]
    if prod(first) != prod(rest):
        raise ShapeError(f"tensorinv: {first} and {rest} (ind={ind}) must have as many elements")
    return reshape(inv(reshape(a, (prod(first), prod(rest)))), (*rest, *first))


# ---- products

@offered("matrix_power", np.linalg.matrix_power)
def matrix_power(a: Any, n: int) -> Any:
    """The product of n factors a; of -n inverses if n is negative; the identity for 0.

    Args: ``a`` of shape (..., m, m), ``n`` an integer. By repeated squaring, so that derivatives
    are those of products. Raises ShapeError if a is not square, MatrixError for a negative power of
    a singular matrix.

    >>> ad.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5)
    array([[1., 5.],
           [0., 1.]])
    """
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool):
        raise ArgumentError(f"matrix_power: n is an integer, not {n!r}; ad.linalg.eigh gives real "
                            "powers of symmetric matrices")
    a = square("matrix_power", a)
    if n == 0:
        return where(np.True_, np.eye(a.shape[-1], dtype=a.dtype), a)
    base, n = (inv(a), -n) if n < 0 else (a, n)
    power = None
    while n:
        power = power if not n & 1 else base if power is None else power @ base
        n >>= 1
        base = base @ base if n else base
    return power


def _order(sizes: list[int]) -> dict[tuple[int, int], int]:
    """Where to split each run of factors, for the fewest multiplications."""
    count = len(sizes) - 1
    cost, split = {(i, i): 0 for i in range(count)}, {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            cost[i, j], split[i, j] = min(
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k)
                for k in range(i, j))
    return split


@offered("multi_dot", np.linalg.multi_dot)
def multi_dot(arrays: Any) -> Any:
    """The product of two or more matrices, in the order that takes the fewest multiplications.

    The first and the last may be vectors. Raises ShapeError if columns and rows do not match.
    Source: Cormen et al., "Introduction to Algorithms", section 15.2.

    >>> ad.linalg.multi_dot([np.ones((2, 3)), np.ones((3, 4)), np.ones(4)])
    array([12., 12.])
    """
    xs = [arrayed(x) for x in arrays]
    if len(xs) < 2 or any(len(x.shape) != 2 for x in xs[1:-1]) or any(
            len(x.shape) not in (1, 2) for x in xs):
        raise ShapeError("multi_dot: two or more matrices, of which the first and the last may be "
                         f"vectors; the shapes are {[x.shape for x in xs]}")
    first, last = len(xs[0].shape) == 1, len(xs[-1].shape) == 1
    xs[0] = xs[0][None, :] if first else xs[0]
    xs[-1] = xs[-1][:, None] if last else xs[-1]
    split = _order([xs[0].shape[0], *[x.shape[1] for x in xs]])

    def product(i: int, j: int) -> Any:
        return xs[i] if i == j else matmul(product(i, split[i, j]), product(split[i, j] + 1, j))
    y = product(0, len(xs) - 1)
    y = y[0] if first else y
    return y[..., 0] if last else y


@offered("matmul", np.linalg.matmul)
def linalg_matmul(x: Any, z: Any) -> Any:
    """The product of matrices: `adjoint.matmul`.

    >>> ad.linalg.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]])
    """
    return matmul(x, z)


@offered("matrix_transpose", np.linalg.matrix_transpose)
def matrix_transpose(x: Any) -> Any:
    """The last two axes exchanged. Raises ShapeError if there are not two.

    >>> ad.linalg.matrix_transpose([[1.0, 2.0]])
    array([[1.],
           [2.]])
    """
    x = arrayed(x)
    is_matrix("matrix_transpose", x)
    return flip(x)
