"""Layers and losses as functions, written in rows: they differentiate because the rows do.

Losses accumulate in float64 and return a float64 scalar whatever the dtype of the predictions; the
gradient comes back in that dtype.
"""

from __future__ import annotations

import sys
import warnings
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.primitive import PUBLIC
from adjoint.errors import ArgumentError, DTypeError, IndexingError, ShapeError
from adjoint.generators import COMMON
from adjoint.tensors import is_tracked

relu, tanh, sigmoid = PUBLIC["relu"], PUBLIC["tanh"], PUBLIC["sigmoid"]
softmax, log_softmax, softplus = PUBLIC["softmax"], PUBLIC["log_softmax"], PUBLIC["softplus"]
REDUCTIONS = ("mean", "sum", "none")
PACKAGE = str(Path(__file__).parents[1])
float64 = np.dtype(np.float64)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """An affine map of the last axis, in the dtype of the weights.

        y = x W^T + b

    x: (..., in), weight: (out, in), bias: (out,) or None; y: (..., out). Raises ShapeError where
    the sizes differ.

    >>> weight, bias = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, 0.0])
    >>> ad.nn.functional.linear(np.ones((1, 2)), weight, bias)
    array([[3.5, 7. ]])
    """
    x = x if hasattr(x, "dtype") else np.asarray(x)
    return PUBLIC["linear"](x if x.dtype == weight.dtype else x.astype(weight.dtype), weight, bias)


def dropout(x: Any, p: float = 0.5, training: bool = True, generator: Any = None) -> Any:
    """Zeros in place of some elements, each with probability ``p``; the others are scaled up.

        y = x M / (1 - p),    M_i = 0 with probability p, else 1

    y = x unless ``training``. Raises ArgumentError unless 0 <= p < 1.

    >>> ad.nn.functional.dropout(np.ones(2), training=False)
    array([1., 1.])
    """
    check_share(p)
    if not training or p == 0.0:
        return x
    x = x if hasattr(x, "dtype") else np.asarray(x, float)
    source = COMMON if generator is None else generator
    kept = source.draw(x.shape, np.float32 if x.dtype == np.float32 else np.float64) >= p
    return PUBLIC["where"](kept, x / (1.0 - p), 0.0)


def check_share(p: Any) -> None:
    """An error for what is no share of elements that can be left out."""
    if not 0.0 <= p < 1.0:
        raise ArgumentError(f"dropout: p is the probability of a zero, at least 0 and below 1, "
                            f"not {p!r}")


# ---- losses

def nll_loss(x: Any, target: Any, weight: Any = None, ignore_index: int = -100,
             reduction: str = "mean") -> Any:
    """The negative log-likelihood of integer labels, given log-probabilities.

        l = -sum_n w[t_n] x[n, t_n] / sum_n w[t_n]

    x: (N, C) or (N, C, ...) or (C,), target: integers (N,), (N, ...) or (), weight: (C,). Labels
    equal to ``ignore_index`` do not count; ``reduction`` is "mean", "sum" or "none" (then the shape
    of target).

    >>> ad.nn.functional.nll_loss(np.log([[0.25, 0.75]]), [1])
    np.float64(0.2876820724517809)
    """
    x, target = as_array(x), as_array(target)
    check_reduction("nll_loss", reduction)
    rows, labels = labelled("nll_loss", x, target)
    return likelihood("nll_loss", rows, labels, target.shape, weight, ignore_index, reduction, 0.0)


def cross_entropy(x: Any, target: Any, weight: Any = None, ignore_index: int = -100,
                  reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Any:
    """The cross-entropy of classes, from logits: log_softmax and nll_loss in one.

        l = -mean_n log softmax(x_n)[t_n]

    x: (N, C) or (N, C, ...) or (C,) logits; target: integer labels (N,), (N, ...) or (), or
    probabilities in the shape of x. ``weight``: (C,), one factor for each class; labels equal to
    ``ignore_index`` do not count; ``label_smoothing`` mixes the target with the uniform
    distribution; ``reduction`` is "mean", "sum" or "none". Raises IndexingError for a label outside
    0..C-1, DTypeError for labels that are no integers.

    >>> ad.nn.functional.cross_entropy(np.zeros((2, 4)), [0, 3])
    np.float64(1.3862943611198906)
    """
    x, target = as_array(x), as_array(target)
    check_reduction("cross_entropy", reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ArgumentError("cross_entropy: label_smoothing is between 0 and 1, not "
                            f"{label_smoothing}")
    if target.dtype.kind == "f" and target.shape == x.shape:
        return soft_cross_entropy(x, target, weight, reduction, label_smoothing)
    rows, labels = labelled("cross_entropy", x, target)
    rows = log_softmax(rows, axis=-1)
    return likelihood("cross_entropy", rows, labels, target.shape, weight, ignore_index, reduction,
                      label_smoothing)


def soft_cross_entropy(x: Any, target: Any, weight: Any, reduction: str, smoothing: float) -> Any:
    """Cross-entropy against probabilities: -sum_c w_c p_c log softmax(x)_c for each example."""
    axis = min(1, len(x.shape) - 1)
    count = prod(x.shape) // (x.shape[axis] or 1)
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / x.shape[axis]
    if weight is not None:
        weight = class_weights("cross_entropy", weight, x.shape[axis])
        target = target * weight.reshape(weight.shape + (1,) * (len(x.shape) - axis - 1))
    each = -(log_softmax(x, axis=axis) * target).astype(float64).sum(axis)
    if reduction == "none":
        return each
    return each.sum() if reduction == "sum" else each.sum() * inverse(count)


def labelled(name: str, x: Any, target: Any) -> tuple[Any, Any]:
    """Rows of classes (M, C) and their labels (M,), from any of the shapes that PyTorch takes."""
    shape = x.shape
    expected = (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
    if target.dtype.kind not in "iu":
        raise DTypeError(
            f"{name}: labels are integers of shape {expected}, or probabilities in the shape of "
            f"the predictions {shape}; these are {target.dtype} of shape {target.shape}. Write "
            "target.astype(int)")
    if not shape or target.shape != expected:
        remedy = "; write target.ravel()" if prod(target.shape) == prod(expected) else ""
        raise ShapeError(f"{name}: predictions of shape {shape} go with labels of shape "
                         f"{expected}, not {target.shape}{remedy}")
    if len(shape) == 2:
        return x, target
    if len(shape) > 2:
        x = PUBLIC["moveaxis"](x, 1, -1)
    return PUBLIC["reshape"](x, (prod(expected), shape[min(1, len(shape) - 1)])), target.reshape(-1)


def likelihood(name: str, rows: Any, labels: Any, shape: Any, weight: Any, ignore_index: int,
               reduction: str, smoothing: float) -> Any:
    """The mean over rows, weighted by w[t], of -(1 - s) w[t] rows[t] - s/C sum_c w_c rows_c."""
    count, classes = rows.shape
    counted, labels = checked_labels(name, labels, classes, ignore_index)
    each = rows[np.arange(count), labels].astype(float64)
    share = None if counted is None else counted.astype(float64)
    scale = None if weight is None else class_weights(name, weight, classes)
    if scale is not None:
        picked = scale[labels].astype(float64)
        share = picked if share is None else share * picked
    if share is not None:
        each = PUBLIC["where"](share == 0.0, 0.0, each) * share
    if smoothing:
        spread = rows if scale is None else rows * scale
        spread = spread.astype(float64).sum(1) * (smoothing / classes)
        if counted is not None:
            spread = PUBLIC["where"](counted, spread, 0.0)
        each = each * (1.0 - smoothing) + spread
    if reduction == "none":
        return -each.reshape(shape)
    y = each.sum()
    if reduction == "sum":
        return -y
    mass = count if share is None else share.sum()
    return -y / mass if is_tracked(mass) else y * -inverse(float(mass))


def class_weights(name: str, weight: Any, classes: int) -> Any:
    """The factors of the classes. Raises ShapeError unless there is one for each."""
    weight = as_array(weight)
    if weight.shape != (classes,):
        raise ShapeError(f"{name}: weight has shape {weight.shape}, and there are {classes} "
                         f"classes; give one factor for each, shape ({classes},)")
    return weight


def checked_labels(name: str, labels: Any, classes: int, ignore_index: int) -> tuple[Any, Any]:
    """Which labels count (None: all), and the labels with 0 for those that do not."""
    if isinstance(labels, Box):
        if is_tracked(labels):  # inside vmap or a trace their values are not known
            counted = labels != ignore_index
            return counted, PUBLIC["where"](counted, labels, 0)
        labels = labels.concrete()
    if not labels.size or (np.minimum.reduce(labels) >= 0 and ignore_index < 0
                           and np.maximum.reduce(labels) < classes):
        return None, labels
    counted = labels != ignore_index
    wrong = labels[counted & ((labels < 0) | (labels >= classes))]
    if wrong.size:
        raise IndexingError(f"{name}: label {wrong[0]} is outside 0..{classes - 1}: the "
                            f"predictions have {classes} classes. Labels count from 0")
    return (None, labels) if counted.all() else (counted, np.where(counted, labels, 0))


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Any:
    """The squared error.

        l = mean_n (x_n - t_n)^2

    Warns if x and target have different shapes: (n, 1) against (n,) would broadcast to (n, n).
    ``reduction`` is "mean", "sum" or "none".

    >>> ad.nn.functional.mse_loss(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    np.float64(2.5)
    """
    x, target = as_array(x), as_array(target)
    check_reduction("mse_loss", reduction)
    check_shapes("mse_loss", x, target)
    error = x - target
    return gathered(error * error, reduction)


def binary_cross_entropy_with_logits(x: Any, target: Any, weight: Any = None,
                                     pos_weight: Any = None,
                                     reduction: str = "mean") -> Any:
    """The cross-entropy of yes and no, from logits, without overflow.

        l = mean_n -(t_n ln sigma(x_n) + (1 - t_n) ln(1 - sigma(x_n)))

    target: numbers between 0 and 1 in the shape of x (another shape warns). ``pos_weight``
    multiplies the first term, ``weight`` the whole; ``reduction`` is "mean", "sum" or "none".

    >>> F = ad.nn.functional
    >>> F.binary_cross_entropy_with_logits(np.array([0.0, 1000.0]), np.array([1.0, 1.0]))
    np.float64(0.34657359027997264)
    """
    x, target = as_array(x), as_array(target)
    check_reduction("binary_cross_entropy_with_logits", reduction)
    check_shapes("binary_cross_entropy_with_logits", x, target)
    no = softplus(-x)
    each = (1.0 - target) * x + (no if pos_weight is None
                                 else no * (1.0 + (as_array(pos_weight) - 1.0) * target))
    return gathered(each if weight is None else each * as_array(weight), reduction)


def accuracy(x: Any, target: Any) -> float:
    """The share of rows whose largest element is at the label: x (N, C), target integers (N,).

    >>> ad.nn.functional.accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), [1, 1])
    0.5
    """
    x, target = (a.concrete() if isinstance(a, Box) else np.asarray(a) for a in (x, target))
    if x.ndim != 2 or target.shape != x.shape[:1]:
        raise ShapeError(f"accuracy: predictions (N, C) go with labels (N,), not {x.shape} with "
                         f"{target.shape}")
    if not target.size:
        raise ShapeError("accuracy of no examples is not defined")
    return float(np.mean(x.argmax(1) == target))


# ---- what losses share

def gathered(each: Any, reduction: str) -> Any:
    """The loss of each element, reduced in float64."""
    if each.dtype != float64:
        each = each.astype(float64)
    if reduction == "none":
        return each
    return each.sum() if reduction == "sum" else each.sum() * inverse(prod(each.shape))


def inverse(count: float) -> float:
    """1 / count; the mean of nothing is NaN, as in NumPy and PyTorch."""
    return 1.0 / count if count else float("nan")


def as_array(x: Any) -> Any:
    """``x`` itself if it is an array or a Box, else an array of it."""
    return x if isinstance(x, (Box, np.ndarray)) else np.asarray(x)


def check_reduction(name: str, reduction: str) -> None:
    """An error for a reduction that does not exist."""
    if reduction not in REDUCTIONS:
        raise ArgumentError(f'{name}: reduction is "mean", "sum" or "none", not {reduction!r}')


def check_shapes(name: str, x: Any, target: Any) -> None:
    """Warn if predictions and targets would broadcast: the loss would compare each with each."""
    if x.shape == target.shape:
        return
    try:
        shape = np.broadcast_shapes(x.shape, target.shape)
    except ValueError:
        raise ShapeError(f"{name}: predictions of shape {x.shape} do not go with targets of shape "
                         f"{target.shape}; "
                         "the two are equal") from None
    same_size = prod(x.shape) == prod(target.shape)
    if not target.shape or (same_size and prod(shape) == prod(x.shape)):
        return  # one number as the target of all is meant; axes of size 1 in front change nothing
    crossed = prod(shape) > max(prod(x.shape), prod(target.shape))
    remedy = "predictions[:, 0] or targets[:, None]" if same_size else "equal shapes"
    warnings.warn(
        f"{name}: predictions of shape {x.shape} and targets of shape {target.shape} broadcast to "
        f"{shape}, so that {'each is compared with each' if crossed else 'some are used again'}. "
        f"Write {remedy}.",
        UserWarning, stacklevel=users_level())


def users_level() -> int:
    """The ``stacklevel`` at which a warning of the caller names the user's line."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame, level = frame.f_back, level + 1
    return level
