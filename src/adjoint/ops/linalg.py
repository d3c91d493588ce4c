"""Products of matrices and tensors: matmul, and what is written with it and einsum."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import numpy as np

from adjoint.core.node import aval, ndarray
from adjoint.core.primitive import Label
from adjoint.errors import ArgumentError, ShapeError

from . import loops
from .arithmetic import astype
from .cases import CONTRACTED, Case, Cases, array_cases, draw, pair_cases
from .declare import (
    bilinear,
    composed,
    gives_arrays,
    promoted,
    shape_of,
)
from .einsum import einsum
from .reduce import _summed
from .shape import axes_once, expand_dims, moveaxis, reshape, swapaxes, unbroadcast

NO_BROADCAST = {"0-d": "matmul takes no 0-d array"}


# ---- matmul

def _flip(x: Any) -> Any:
    """A matrix (or batch of them) transposed."""
    return x.T if len(x.shape) == 2 else swapaxes(x, -1, -2)


def _left(dy: Any, x: Any, z: Any) -> Any:
    """dL/dx = dL/dy z^T; a vector is a matrix with one row (x) or column (z)."""
    if x.ndim == z.ndim == 2:
        return dy.dot(z.T) if dy.__class__ is z.__class__ is ndarray else dy @ z.T
    if len(z.shape) == 1:
        return dy * z if len(x.shape) == 1 else unbroadcast(expand_dims(dy, -1) * z, x.shape)
    if len(x.shape) == 1:
        return unbroadcast((z @ expand_dims(dy, -1))[..., 0], x.shape)
    return unbroadcast(dy @ _flip(z), x.shape)


def _right(dy: Any, x: Any, z: Any) -> Any:
    """dL/dz = x^T dL/dy, with the same reading of vectors."""
    if x.ndim == z.ndim == 2:
        return x.T.dot(dy) if x.__class__ is dy.__class__ is ndarray else x.T @ dy
    if len(x.shape) == 1:
        return dy * x if len(z.shape) == 1 else unbroadcast(
            expand_dims(x, -1) * expand_dims(dy, -2), z.shape)
    if len(z.shape) == 1:
        return unbroadcast((_flip(x) @ expand_dims(dy, -1))[..., 0], z.shape)
    return unbroadcast(_flip(x) @ dy, z.shape)


def _product_shape(x: Any, z: Any) -> tuple[int, ...]:
    a, b = x.shape, z.shape
    inner = b[-2] if len(b) > 1 else b[-1] if b else None
    if not a or not b:
        raise ShapeError(f"matmul: shapes {a} and {b}: a 0-d value is not a matrix; use x * z")
    if a[-1] != inner:
        raise ShapeError(f"matmul: shapes {a} and {b} do not fit: {a[-1]} columns meet {inner} "
                         "rows. Transpose one of them with x.T or x.mT.")
    try:
        lead = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError:
        raise ShapeError(f"matmul: the batch axes of {a} and {b} do not broadcast") from None
    return (*lead, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def _batch_matmul(size: int, axes: Any, x: Any, z: Any) -> Any:
    """Vectors become matrices, the batch axis goes in front of all others."""
    ranks = [len(shape_of(v)) - (a is not None) for v, a in zip((x, z), axes, strict=True)]
    x = expand_dims(x, -2) if ranks[0] == 1 else x
    z = expand_dims(z, -1) if ranks[1] == 1 else z
    rank = max(2, *ranks)
    wide = []
    for v, a in zip((x, z), axes, strict=True):
        s = shape_of(v)
        wide.append(v if a is None else reshape(v, (size, *(1,) * (rank + 1 - len(s)), *s[1:])))
    y = matmul(*wide)
    y = y[..., 0, :] if ranks[0] == 1 else y
    return y[..., 0] if ranks[1] == 1 else y, 0


def _lower_matmul(b: loops.Builder, x: Any, z: Any) -> Any:
    out = _product_shape(x, z)
    dtype = promoted(x, z)
    x, z = loops.cast(b, x, dtype), loops.cast(b, z, dtype)
    x = loops.reshaped(b, x, (1, *x.shape)) if len(x.shape) == 1 else x
    z = loops.reshaped(b, z, (*z.shape, 1)) if len(z.shape) == 1 else z
    lead = np.broadcast_shapes(x.shape[:-2], z.shape[:-2])
    x, z = [loops.broadcast(b, v, (*lead, *v.shape[-2:])) for v in (x, z)]
    return loops.reshaped(b, b.dot(((x, z),)), out)


def _matmul_cases(rng: np.random.Generator) -> Any:
    for a, b in (((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)),
                 ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 1)), ((2, 1, 2, 3), (4, 3, 2)),
                 ((1, 1), (1, 1)), ((0, 3), (3, 2)), ((2, 0), (0, 3)), ((4, 2, 3), (3,)),
                 ((3,), (4, 3, 2)), ((1, 2, 2), (3, 2, 2)), ((3, 2, 2), (1, 2, 2))):
        yield Case((draw(rng, a), draw(rng, b)))
    x = draw(rng, (3, 3))
    yield Case((np.asfortranarray(x), x[::-1]))
    yield Case((x.astype(np.float32), x.astype(np.float32)))
    yield Case((x, np.arange(9).reshape(3, 3)))


matmul = bilinear(
    "matmul", np.matmul, _left, _right,
    lambda x, z: aval(_product_shape(x, z), promoted(x, z)), numpy=[np.matmul],
    label=Label("{0} @ {1}", r"{0}\,{1}", ("{1}", "{0}"), "matrix product", "**",
                (r"{dy}\,{1}^\top", r"{0}^\top\,{dy}")),
    batch=_batch_matmul, lower=_lower_matmul, cases=Cases(_matmul_cases, NO_BROADCAST),
    doc="""The matrix product; a vector is a row on the left, a column on the right.

    Leading axes broadcast. Raises ShapeError if columns and rows do not match.

        Y = X Z,    dL/dX = dL/dY Z^T,    dL/dZ = X^T dL/dY

    >>> ad.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    array([[11.]])
    """)


# ---- written with them

@composed(np.dot, label=Label("dot({0}, {1})", r"{0} \cdot {1}", ("{1}", "{0}"),
                              "product rule", "(*"),
          cases=pair_cases(((3,), (3,), {}), ((2, 3), (3,), {}), ((3,), (3, 2), {}), ((), (3,), {}),
                           ((2, 3), (), {}), ((2, 3), (4, 3, 2), {}), ((2, 1, 3), (3,), {}),
                           ((0, 3), (3,), {}), ((2, 0), (0, 2), {})))
def dot(x: Any, z: Any) -> Any:
    """The inner product of vectors, the product of matrices; the last axis with the last but one.

    >>> ad.dot([1.0, 2.0], [3.0, 4.0])
    np.float64(11.0)
    """
    a, b = len(shape_of(x)), len(shape_of(z))
    if a == 0 or b == 0:
        return np.multiply(x, z)
    return matmul(x, z) if a <= 2 and b <= 2 else tensordot(x, z, ((-1,), (-2 if b > 1 else -1,)))


@composed(np.tensordot, kind=gives_arrays,
          label=Label("tensordot({0}, {1})", r"\mathrm{{tensordot}}({0}, {1})", ("{1}", "{0}"),
                      "product rule"),
          cases=pair_cases(
              ((2, 3), (3, 2), {"axes": 1}), ((2, 3), (2, 3), {"axes": 2}),
              ((2,), (3,), {"axes": 0}),
              ((2, 3, 4), (4, 2), {"axes": ((0, -1), (1, 0))}), ((0, 3), (3, 2), {"axes": 1}),
              ((), (2,), {"axes": 0}), ((2, 3), (3,), {"axes": (-1, 0)}), without=CONTRACTED))
def tensordot(x: Any, z: Any, axes: Any = 2) -> Any:
    """The sum of products over pairs of axes; the axes left over follow each other.

    >>> ad.tensordot([1.0, 2.0], [3.0, 4.0], 1)
    array(11.)
    """
    a, b = len(shape_of(x)), len(shape_of(z))
    if isinstance(axes, int):
        if axes > min(a, b):
            raise ShapeError(f"tensordot: {axes} axes cannot be paired in shapes {shape_of(x)} and "
                             f"{shape_of(z)}")
        axes = (tuple(range(a - axes, a)), tuple(range(axes)))
    first, second = axes_once("tensordot", axes[0], a), axes_once("tensordot", axes[1], b)
    if len(first) != len(second):
        raise ArgumentError(f"tensordot: axes {axes} does not pair as many axes of x as of z")
    left, right = list(ascii_letters[:a]), list(ascii_letters[a:a + b])
    for i, j in zip(first, second, strict=True):
        right[j] = left[i]
    shared = {left[i] for i in first}
    out = [c for c in left + right if c not in shared]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(out)}", x, z)


@composed(np.outer, label=Label("outer({0}, {1})", r"{0}\,{1}^\top", ("{1}", "{0}"),
                                "product rule", "(*", (r"{dy}\,{1}", r"{dy}^\top\,{0}")),
          cases=pair_cases(((2,), (3,), {}), ((2, 2), (3,), {}), ((), (3,), {}), ((3,), (), {}),
                           ((0,), (3,), {})))
def outer(x: Any, z: Any) -> Any:
    """All products of an element of ``x`` with one of ``z``, both flattened.

        Y_ij = x_i z_j

    >>> ad.outer([1.0, 2.0], [3.0, 4.0])
    array([[3., 4.],
           [6., 8.]])
    """
    return reshape(x, (-1, 1)) * reshape(z, (1, -1))


@composed(np.inner, label=Label("inner({0}, {1})", r"\left\langle {0}, {1} \right\rangle",
                                ("{1}", "{0}"), "product rule"),
          cases=pair_cases(((3,), (3,), {}), ((2, 3), (4, 3), {}), ((), (2,), {}), ((2,), (), {}),
                           ((0, 3), (3,), {})))
def inner(x: Any, z: Any) -> Any:
    """The sum of products along the last axes.

    >>> ad.inner([1.0, 2.0], [3.0, 4.0])
    np.float64(11.0)
    """
    if not shape_of(x) or not shape_of(z):
        return np.multiply(x, z)
    return tensordot(x, z, ((-1,), (-1,)))


@composed(np.trace, label=Label("trace({0})", r"\mathrm{{tr}}({0})", ("I",), "trace", "((",
                                (r"{dy}\,I",)),
          cases=array_cases(
              {}, {"offset": 1}, {"offset": -1}, {"offset": 2}, {"axis1": 1, "axis2": 0},
              shapes=((3, 3), (2, 3, 4), (3, 4)), layout=False,
              without={"0-d": "a diagonal needs two axes",
                       "negative stride": "its cases are those of einsum",
                       "broadcast left": "one array", "broadcast right": "one array"}, extra=[
                  Case((np.ones((1, 1)),)), Case((np.ones((0, 3)),)),
                  Case((np.arange(4).reshape(2, 2),)),
                  Case((np.asfortranarray(np.arange(6.0).reshape(2, 3)),)),
                  Case((np.ones((2, 2), np.float32),)), Case((np.ones((2, 3)),), {"offset": 5})]))
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The sum of a diagonal.

        y = sum_i X_ii,    dy/dX = I

    >>> ad.trace([[1.0, 2.0], [3.0, 4.0]])
    np.float64(5.0)
    """
    if len(shape_of(x)) < 2:
        raise ShapeError(f"trace: a diagonal needs two axes; the shape is {shape_of(x)}")
    x = moveaxis(x, (axis1, axis2), (-2, -1))
    rows, columns = shape_of(x)[-2:]
    x = x[..., :, offset:] if offset >= 0 else x[..., -offset:, :]
    n = max(min(rows - max(-offset, 0), columns - max(offset, 0)), 0)
    if x.dtype.kind not in "fc":  # counted as by a sum
        x = astype(x, _summed(x.dtype))
    return einsum("...ii->...", x[..., :n, :n])
