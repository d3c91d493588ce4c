"""Linear systems, of one matrix or of a stack in the leading axes.

The derivatives are those of Giles (2008), "Collected matrix derivative results for forward and
reverse mode algorithmic differentiation", section 2.3.1.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import Label
from adjoint.errors import ArgumentError, MatrixError, ShapeError

from .cases import Case, Cases, draw
from .declare import arrayed, promoted, total
from .determinant import inv
from .matrices import (
    NO_SCALARS,
    at,
    conj,
    flip,
    is_square,
    offered,
    regular,
    row,
    singular,
    square,
    wide,
)
from .select import where
from .shape import moveaxis, reshape, unbroadcast

if TYPE_CHECKING:
    from collections.abc import Iterator


# ---- linear systems

def _solve_impl(a: Any, b: Any) -> Any:
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        raise singular("solve", a) from None


def _solve_known(a: Any, b: Any, name: str = "solve") -> Any:
    return aval(_solution_shape(name, a, b), wide(promoted(a, b)))


def _solution_shape(name: str, a: Any, b: Any) -> tuple[int, ...]:
    is_square(name, a)
    n = a.shape[-1]
    if len(b.shape) < 2 or b.shape[-2] != n:
        raise ShapeError(f"{name}: {n} equations (a has shape {a.shape}) do not fit the right-hand "
                         f"side of shape {b.shape}: it is a vector of {n}, or has {n} rows. Many "
                         "right-hand sides are columns: np.stack([b, c], axis=-1)")
    try:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"{name}: the batch axes of {a.shape} and {b.shape} do not "
                         "broadcast") from None
    return (*lead, n, b.shape[-1])


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
    Label("solve({0}, {1})", r"{0}^{{-1}}\,{1}", (r"-{0}^{{-1}}\,[\cdot]\,{y}", "{0}^{{-1}}"),
          "linear system", "(*", (r"-{0}^{{-\top}}\,{dy}\,{y}^\top", r"{0}^{{-\top}}\,{dy}"),
          work="2*n^3/3 + 2*n^2*k"),
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


# ---- triangular systems

def _triangular_impl(a: Any, b: Any, lower: bool, turned: bool, unit: bool) -> Any:
    from scipy.linalg.lapack import get_lapack_funcs
    *lead, _, _ = _solution_shape("solve_triangular", a, b)
    dtype = wide(np.result_type(a, b))
    a, b = (np.broadcast_to(v, (*lead, *v.shape[-2:])).astype(dtype, copy=False) for v in (a, b))
    y = np.empty(b.shape, dtype)
    if not y.size:
        return y
    substitute: Any = get_lapack_funcs(("trtrs",), (a, b))[0]
    for index in np.ndindex(*lead):  # the transpose of a matrix in C order needs no copy
        y[index], info = substitute(a[index].T, b[index], lower=not lower, trans=not turned,
                                    unitdiag=unit)
        if info:
            raise MatrixError(f"solve_triangular: the matrix{at(index)} is singular: number "
                              f"{info - 1} of its diagonal is 0")
    return y


def _counted(a: Any, lower: bool, unit: bool) -> Any:
    """The elements that count, and zeros."""
    mask = np.tril(np.ones(a.shape[-2:], bool), -1 if unit else 0)
    return where(mask if lower else mask.T, a, 0.0)


def _triangular_jvp(dxs: Any, y: Any, a: Any, b: Any, lower: bool, turned: bool, unit: bool
                    ) -> Any:
    da, db = dxs
    if da is not None:
        da = _counted(da, lower, unit)
        da = -((flip(da) if turned else da) @ y)
    rate = total([da, db])
    return None if rate is None else _triangular(a, rate, lower=lower, turned=turned, unit=unit)


def _triangular_vjp(dy: Any, y: Any, a: Any, b: Any, needs: Any, lower: bool, turned: bool,
                    unit: bool) -> Any:
    db = _triangular(a, dy, lower=lower, turned=not turned, unit=unit)
    da = None
    if needs[0]:
        da = -(y @ flip(db) if turned else db @ flip(y))
        da = _counted(unbroadcast(da, a.shape), lower, unit)
    return da, unbroadcast(db, b.shape) if needs[1] else None


def _triangular_cases(rng: np.random.Generator) -> Iterator[Case]:
    for case in _system_cases(rng):
        for lower in (False, True):
            yield Case(case.args, {"lower": lower, "turned": False, "unit": False})
    x = regular(rng, 3, 3)
    yield Case((x, draw(rng, (3, 2))), {"lower": True, "turned": True, "unit": False})
    yield Case((x, draw(rng, (3, 2))), {"lower": False, "turned": False, "unit": True})


_triangular = row(
    "solve_triangular", _triangular_impl,
    lambda a, b, **_: _solve_known(a, b, "solve_triangular"),
    Label("solve_triangular({0}, {1}, lower={lower}, turned={turned}, unit={unit})",
          r"\mathrm{{tri}}({0})^{{-1}}\,{1}",
          (r"-\mathrm{{tri}}({0})^{{-1}}\,\mathrm{{tri}}(\cdot)\,{y}",
           r"\mathrm{{tri}}({0})^{{-1}}"),
          "linear system", "(*",
          (r"-\mathrm{{tri}}^\ast(\mathrm{{tri}}({0})^{{-\top}}\,{dy}\,{y}^\top)",
           r"\mathrm{{tri}}({0})^{{-\top}}\,{dy}"),
          work="n^2*k"),
    Cases(_triangular_cases, NO_SCALARS, near=True), jvp=_triangular_jvp, vjp=_triangular_vjp,
    keeps=frozenset({0, "y"}))


@offered("solve_triangular")
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False,
                     unit_diagonal: bool = False) -> Any:
    """The solution of a x = b where only one triangle of a counts; the other gets gradient 0.

    Args: ``a`` (..., n, n), ``b`` (n,) or (..., n, k), ``lower`` says which triangle, ``trans`` (0
    or "N", 1 or "T", 2 or "C") solves with the (conjugate) transpose, ``unit_diagonal`` takes the
    diagonal as ones. Names and meaning are those of scipy.linalg.solve_triangular, for which this
    stands; by substitution (LAPACK's trtrs), which is more exact than the condition number says.
    Raises as `solve` does. Source: Giles (2008), section 2.3.1.

    >>> ad.linalg.solve_triangular([[2.0, 0.0], [1.0, 1.0]], [2.0, 3.0], lower=True)
    array([1., 2.])
    """
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ArgumentError(f"solve_triangular: trans is 0, 1, 2, 'N', 'T' or 'C', not {trans!r}")
    a, b = square("solve_triangular", a), arrayed(b)
    vector = len(b.shape) == 1
    y = _triangular(conj(a) if trans in (2, "C") else a, b[:, None] if vector else b, lower=lower,
                    turned=trans not in (0, "N"), unit=unit_diagonal)
    return y[..., 0] if vector else y


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
