"""Rows of networks that are one operation, though they could be composed: they run far oftener."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import Label
from adjoint.errors import ShapeError

from . import loops
from .cases import Case, Cases, draw
from .declare import arrayed, bilinear, function, promoted, shape_of
from .linalg import matmul
from .operators import product
from .shape import expand_dims, reshape, swapaxes


def _known(x: Any, weight: Any) -> Any:
    if not x.shape or len(weight.shape) != 2 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(misfit(x, weight))
    return aval((*x.shape[:-1], weight.shape[0]), promoted(x, weight))


def misfit(x: Any, weight: Any) -> str:
    """The message for sizes that do not meet."""
    if len(weight.shape) != 2:
        return f"linear: weights are a matrix (out, in), not of shape {weight.shape}"
    size = x.shape[-1] if x.shape else 1
    return (f"linear: the input has shape {x.shape}, and the weights {weight.shape} take a last "
            f"axis of size {weight.shape[1]}. Reshape the input, or make the layer with "
            f"in_features={size}")


def _left(dy: Any, x: Any, weight: Any) -> Any:
    return product(dy, weight)


def _right(dy: Any, x: Any, weight: Any) -> Any:
    """dL/dW = dL/dY^T X: computed so, and not as the transpose of X^T dL/dY, it lies in C order."""
    if len(x.shape) == 1:
        return expand_dims(dy, -1) * x
    if len(x.shape) > 2:
        rows = prod(x.shape[:-1])
        dy, x = reshape(dy, (rows, dy.shape[-1])), reshape(x, (rows, x.shape[-1]))
    return product(dy.T, x)


def _batch(size: int, axes: Any, x: Any, weight: Any) -> Any:
    if axes[1] is None:
        return _linear(x, weight), 0
    weight = swapaxes(weight, -1, -2)
    missing = 0 if axes[0] is None else max(0, 3 - len(shape_of(x)))
    if axes[0] is None:
        return _unbatched(x, weight)
    for _ in range(missing):
        x = expand_dims(x, 1)
    for _ in range(len(shape_of(x)) - 3):
        weight = expand_dims(weight, 1)
    y = matmul(x, weight)
    return (y[:, 0] if missing else y), 0


def _unbatched(x: Any, weight: Any) -> Any:
    """The same x for each of many weights."""
    alone = len(shape_of(x)) == 1
    x = expand_dims(x, 0) if alone else x
    for _ in range(len(shape_of(x)) - 2):
        weight = expand_dims(weight, 1)
    y = matmul(x, weight)
    return (y[:, 0] if alone else y), 0


def _lower(b: loops.Builder, x: Any, weight: Any) -> Any:
    dtype = promoted(x, weight)
    shape = (*x.shape[:-1], weight.shape[0])
    x = loops.reshaped(b, loops.cast(b, x, dtype), (prod(x.shape[:-1]), x.shape[-1]))
    weight = loops.permuted(b, loops.cast(b, weight, dtype), (1, 0))
    return loops.reshaped(b, b.dot(((x, weight),)), shape)


def _cases(rng: np.random.Generator) -> Any:
    for a, w in (((2, 3), (4, 3)), ((3,), (4, 3)), ((5, 2, 3), (4, 3)), ((1, 1), (1, 1)),
                 ((1,), (1, 1)), ((0, 3), (2, 3)), ((2, 0), (3, 0)), ((2, 3, 2, 2), (3, 2))):
        yield Case((draw(rng, a), draw(rng, w)))
    x = draw(rng, (3, 3))
    yield Case((np.asfortranarray(x), x[::-1]))
    yield Case((x.astype(np.float32), x.astype(np.float32)))
    yield Case((x, np.arange(9).reshape(3, 3)))


_linear = bilinear(
    "linear", lambda x, weight: product(x, weight.T), _left, _right, _known, batch=_batch,
    lower=_lower,
    label=Label("{0} @ transpose({1})", r"{0}\,{1}^\top", ("{1}", "{0}"), "matrix product", "**",
                (r"{dy}\,{1}", r"{dy}^\top\,{0}")),
    cases=Cases(_cases, {"0-d": "the last axis meets that of the weights",
                         "broadcast right": "the weights are one matrix"}))


@function()
def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """An affine map of the last axis.

        y = x W^T + b,    dL/dx = dL/dy W,    dL/dW = dL/dy^T x,    dL/db = sum dL/dy

    x: (..., in), weight: (out, in), bias: (out,) or None; y: (..., out). Raises ShapeError where
    the sizes differ.

    >>> ad.linear([[1.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]], [0.5, 0.0])
    array([[3.5, 7. ]])
    """
    x = arrayed(x)
    weight = weight if hasattr(weight, "shape") else np.asarray(weight)
    if not x.shape or len(weight.shape) != 2 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(misfit(x, weight))
    y = _linear(x, weight)
    return y if bias is None else y + bias
