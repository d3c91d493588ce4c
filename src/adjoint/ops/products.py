"""Powers and products of several matrices, and NumPy's second names for what `linalg.py` has."""

from __future__ import annotations

from typing import Any

import numpy as np

from adjoint.core.primitive import PUBLIC
from adjoint.errors import ArgumentError, ShapeError

from .declare import arrayed, check_axis
from .determinant import inv
from .linalg import matmul
from .matrices import conj, flip, is_matrix, offered, square
from .reduce import sum as summed
from .select import where

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
    if first and last:
        return y[0, 0]
    return y[0] if first else y[:, 0] if last else y


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


# ---- NumPy's second names, which work on the last two axes

@offered("trace", np.linalg.trace)
def trace(x: Any, *, offset: int = 0) -> Any:
    """The sum of a diagonal of each matrix: `adjoint.trace` over the last two axes.

    >>> ad.linalg.trace(np.ones((2, 3, 3)))
    array([3., 3.])
    """
    return PUBLIC["trace"](x, offset, -2, -1)


@offered("diagonal", np.linalg.diagonal)
def diagonal(x: Any, *, offset: int = 0) -> Any:
    """A diagonal of each matrix: `adjoint.diagonal` over the last two axes.

    >>> ad.linalg.diagonal(np.eye(2))
    array([1., 1.])
    """
    return PUBLIC["diagonal"](x, offset, -2, -1)


@offered("cross", np.linalg.cross)
def cross(x: Any, z: Any, *, axis: int = -1) -> Any:
    """The cross product of vectors with three elements: `adjoint.cross`.

    Raises ShapeError if there are not three.

    >>> ad.linalg.cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    array([0., 0., 1.])
    """
    x, z = arrayed(x), arrayed(z)
    for v in (x, z):
        if v.shape[check_axis("cross", axis, len(v.shape))] != 3:
            raise ShapeError(f"cross: vectors have three elements, and the shapes are {x.shape} "
                             f"and {z.shape} (axis {axis})")
    return PUBLIC["cross"](x, z, axis=axis)


@offered("vecdot", np.linalg.vecdot)
def vecdot(x: Any, z: Any, *, axis: int = -1) -> Any:
    """The inner product x^H z along an axis; leading axes broadcast.

    Raises ShapeError if the shapes do not fit. Source: the array API standard.

    >>> ad.linalg.vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    array([3., 7.])
    """
    x, z = arrayed(x), arrayed(z)
    if x.shape[check_axis("vecdot", axis, len(x.shape))] != z.shape[
            check_axis("vecdot", axis, len(z.shape))]:
        raise ShapeError(f"vecdot: shapes {x.shape} and {z.shape} have vectors of different length "
                         f"along axis {axis}")
    return summed(conj(x) * z, axis=axis)
