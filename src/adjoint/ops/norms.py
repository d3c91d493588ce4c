"""Norms and condition numbers."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import Label
from adjoint.errors import ArgumentError, ShapeError

from .arithmetic import astype
from .cases import Case, array_cases
from .declare import arrayed, check_axis, general
from .determinant import inv
from .factor import svdvals
from .matrices import by_call, conj, is_matrix, offered, real_of, real_part, square, wide
from .reduce import axes_of, batched, full, reduced, restored
from .reduce import max as largest
from .reduce import min as smallest
from .reduce import sum as summed
from .select import stop_gradient, where
from .shape import moveaxis, reshape

# ---- the 2-norm over axes: a row, so that it is 0 at 0 and does not overflow on its way

def _euclid_impl(x: Any, axis: Any, keepdims: bool) -> Any:
    x = np.asarray(x).astype(wide(np.asarray(x).dtype), copy=False)
    with np.errstate(over="ignore", under="ignore"):
        y = np.sqrt(np.add.reduce((x * x.conj()).real, axis=axis, keepdims=keepdims))
    info = np.finfo(y.dtype)
    low = np.sqrt(info.tiny / info.eps)  # below it squares lose digits, or all
    if x.size and not np.all((y > low) & (y < np.inf)):
        scale = np.abs(x).max(axis=axis, keepdims=True)
        scale = np.where((scale > 0) & (scale < np.inf), scale, 1).astype(y.dtype)
        u = x / scale
        whole = scale * np.sqrt(np.add.reduce((u * u.conj()).real, axis=axis, keepdims=True))
        y = whole.reshape(reduced(x.shape, axis, keepdims))[()]
    return y


def _euclid_known(x: Any, axis: Any, keepdims: bool) -> Any:
    return aval(reduced(x.shape, axis, keepdims), real_of(x.dtype))


def _direction(y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """X / |x|, and 0 at 0."""
    y = restored(y, x, axis, keepdims)
    zero = y == 0
    return where(zero, 0.0, x / where(zero, 1.0, y))


def _euclid_jvp(dxs: Any, y: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    if dxs[0] is None:
        return None
    part = conj(_direction(y, x, axis, keepdims)) * dxs[0]
    return summed(real_part(part), axis=full(axis, len(x.shape)), keepdims=keepdims)


def _euclid_vjp(dy: Any, y: Any, x: Any, needs: Any, axis: Any, keepdims: bool) -> Any:
    return (restored(dy, x, axis, keepdims) * conj(_direction(y, x, axis, keepdims)),)


_euclid = general(
    "linalg.norm", _euclid_impl, aval=_euclid_known, jvp=_euclid_jvp, vjp=_euclid_vjp, arity=1,
    batch=batched("linalg.norm"), lower=by_call(_euclid_impl, _euclid_known),
    kink=lambda x, axis, keepdims: _euclid_impl(x, axis, keepdims) == 0, keeps=frozenset({0, "y"}),
    label=Label("norm({0}, axis={axis}, keepdims={keepdims})",
                r"\left\|{0}\right\|_{{\mathrm{{axis}}={axis}}}", (r"\frac{{{0}}}{{{y}}}",),
                "chain rule for the norm"),
    cases=array_cases(
        {"axis": None, "keepdims": False}, {"axis": (0,), "keepdims": False},
        {"axis": (0, 1), "keepdims": True}, {"axis": (1,), "keepdims": True}, empty=False,
        extra=[Case((np.zeros((0, 3)),), {"axis": (0,), "keepdims": False}),
               Case((np.zeros((2, 3)),), {"axis": (1,), "keepdims": False}, "kink"),
               Case((np.array([3e200, 4e200]),), {"axis": None, "keepdims": False}, "kink")]))


# ---- norms

def _of_vector(x: Any, p: Any, axis: Any, keepdims: bool) -> Any:
    """The p-norm over axes; ``axis`` is a tuple or None for all."""
    if p is None or p == 2:
        return _euclid(x, axis=axis, keepdims=keepdims)
    if isinstance(p, str) or np.isnan(p):
        raise ArgumentError(f"norm: the order {p!r} is not one of vectors: a number, np.inf, "
                            "-np.inf or None")
    size = abs(x)
    if p in (np.inf, -np.inf):
        return (largest if p > 0 else smallest)(size, axis=axis, keepdims=keepdims)
    if p == 0:
        return summed(astype(x != 0, real_of(x.dtype)), axis=axis, keepdims=keepdims)
    if p == 1:
        return summed(size, axis=axis, keepdims=keepdims)
    return _of_powers(size, p, axis, keepdims)


def _of_powers(size: Any, p: Any, axis: Any, keepdims: bool) -> Any:
    """(sum size^p)^(1/p), computed in units of what counts most, so that no power overflows."""
    unit = 1.0
    if prod(size.shape):
        most = stop_gradient((largest if p > 0 else smallest)(size, axis=axis, keepdims=True))
        unit = where((most > 0) & (most < np.inf), most, 1.0)
        size = size / unit
    absent = size == 0 if 0 < p < 1 else np.False_  # the slope there is infinite, on both sides
    powers = where(absent, 0.0, where(absent, 1.0, size) ** p)
    total = summed(powers, axis=axis, keepdims=True)
    zero = total == 0
    y = unit * where(zero, 0.0, where(zero, 1.0, total) ** (1.0 / p))
    return reshape(y, reduced(size.shape, axis, keepdims))


def _extreme(x: Any, p: Any) -> Any:
    """The largest along the last axis (0 of none), or with a negative order the smallest."""
    if p > 0 and not x.shape[-1]:
        return summed(x, axis=-1)
    return (largest if p > 0 else smallest)(x, axis=-1)


def _of_matrix(x: Any, p: Any, keepdims: bool) -> Any:
    """A norm of the matrices in the last two axes."""
    if p is None or p == "fro":
        n = len(x.shape)
        return _euclid(x, axis=(n - 2, n - 1), keepdims=keepdims)
    if p in ("nuc", 2, -2):
        s = svdvals(x)
        y = summed(s, axis=-1) if p == "nuc" else _extreme(s, p)
    elif p in (1, -1, np.inf, -np.inf):
        sums = summed(abs(x), axis=-2 if abs(p) == 1 else -1)
        y = _extreme(sums, p)
    else:
        raise ArgumentError(f"norm: the order {p!r} is not one of matrices: None, 'fro', 'nuc', 1, "
                            "-1, 2, -2, np.inf or -np.inf")
    return y[..., None, None] if keepdims else y


def _inexact(x: Any) -> Any:
    x = arrayed(x)
    return x if x.dtype.kind in "fc" else astype(x, float)


@offered("vector_norm", np.linalg.vector_norm)
def vector_norm(x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The norm (sum |x|^p)^(1/p) of all of x, or along axes.

        d|x|_2 = Re(x^H dx) / |x|_2,  0 at x = 0

    Args: ``x`` any shape, ``ord`` a number, np.inf (largest), -np.inf (smallest) or 0 (how many
    are not 0, without derivative). Ties of the largest share; |x_i| has derivative 0 at 0. Raises
    ArgumentError for another order. Source: Magnus & Neudecker; the array API standard.

    >>> ad.grad(ad.linalg.vector_norm)(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    """
    x = _inexact(x)
    axes = None if axis is None else axes_of("vector_norm", axis, len(x.shape))
    return _of_vector(x, ord, axes, keepdims)


@offered("matrix_norm", np.linalg.matrix_norm)
def matrix_norm(x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """A norm of a matrix, or of each of a stack.

    Args: ``x`` (..., m, n); ``ord`` "fro" (Frobenius), "nuc" (sum of singular values), 2, -2
    (largest, smallest singular value), 1, -1 (sums of columns), np.inf, -np.inf (sums of rows).
    The gradient at 0 is 0 for Frobenius, 1 and inf; ties share; where singular values are 0 or
    equal the gradient of "nuc" and 2 is one of the subgradients (`svdvals`). Raises ShapeError
    without two axes, ArgumentError for another order. Source: Watson (1992), "Characterization of
    the subdifferential of some matrix norms".

    >>> ad.grad(lambda x: ad.linalg.matrix_norm(x, ord=2))(np.diag([3.0, 1.0])) + 0.0
    array([[1., 0.],
           [0., 0.]])
    """
    x = _inexact(x)
    is_matrix("matrix_norm", x)
    return _of_matrix(x, ord, keepdims)


@offered("norm", np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """A vector or matrix norm, by NumPy's rules: one axis is a vector, two are a matrix.

    Without ``ord`` and ``axis`` the 2-norm of all elements. Orders, derivatives at 0 and at ties,
    and errors are those of `vector_norm` and `matrix_norm`. Raises ShapeError if the axes are more
    than two. Source: `numpy.linalg.norm`.

    >>> ad.linalg.norm([[3.0, 0.0], [0.0, 4.0]])
    np.float64(5.0)
    """
    x = _inexact(x)
    count = len(x.shape)
    if axis is None and ord is None:
        return _euclid(x, axis=None, keepdims=keepdims)
    axes = (tuple(range(count)) if axis is None else
            tuple(check_axis("norm", a, count) for a in (
                axis if isinstance(axis, (tuple, list)) else (axis,))))
    if len(axes) == 1:
        return _of_vector(x, ord, axes, keepdims)
    if len(axes) != 2 or axes[0] == axes[1]:
        raise ShapeError(f"norm: a norm is of one axis (vectors) or two (matrices), and here of "
                         f"{axes} of shape {x.shape}; give axis=, or ravel the array")
    y = _of_matrix(moveaxis(x, axes, (-2, -1)), ord, keepdims=False)
    return reshape(y, reduced(x.shape, axes, keepdims=True)) if keepdims else y


@offered("cond", np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """The condition number |x| |x^-1| of a matrix, in the 2-norm if ``p`` is None.

    Args: ``x`` (..., m, n), square unless p is None, 2 or -2; ``p`` an order of `matrix_norm`.
    Raises MatrixError for a singular matrix in other norms than the 2-norm, where it is inf.
    Source: Higham, "Accuracy and Stability of Numerical Algorithms", chapter 6.

    >>> ad.linalg.cond(np.diag([4.0, 2.0]))
    np.float64(2.0)
    """
    x = _inexact(x)
    is_matrix("cond", x)
    if not prod(x.shape[-2:]):
        raise ShapeError(f"cond: a matrix without elements, of shape {x.shape}, has no condition")
    if p in (None, 2, -2):
        s = svdvals(x)
        first, last = s[..., 0], s[..., -1]
        zero = first == 0
        first, last = where(zero, 1.0, first), where(zero, 1.0, last)
        return where(zero, np.inf, last / first if p == -2 else first / last)
    return _of_matrix(square("cond", x), p, keepdims=False) * _of_matrix(
        inv(x), p, keepdims=False)
