"""Layers: Linear, and the activations as modules."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.primitive import PUBLIC
from adjoint.errors import ArgumentError, ShapeError
from adjoint.tensors import Tensor

from . import functional
from .modules import Module
from .settings import generator, parameter_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator


class Linear(Module):
    """An affine map of the last axis.

        y = x W^T + b,    W: (out_features, in_features),  b: (out_features,)

    x: (..., in_features), cast to the dtype of the parameters (float32, `default_dtype`, or
    ``dtype=``); y: (..., out_features). Weights and biases are drawn uniformly from
    +-1/sqrt(in_features), PyTorch's initialisation, from ``rng`` (a NumPy Generator or a seed) or
    the common source (`manual_seed`). Raises ShapeError if the last axis of x has another size.

    >>> layer = ad.nn.Linear(3, 2, rng=0)
    >>> layer(np.ones((5, 3))).shape
    (5, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None,
                 rng: Generator | int | None = None) -> None:
        for name, n in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(n, (int, np.integer)) or n < 1:
                raise ArgumentError(f"Linear: {name} is an integer of at least 1, not {n!r}")
        kind, source, bound = parameter_dtype(dtype), generator(rng), 1.0 / math.sqrt(in_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Tensor(source.uniform(-bound, bound, (out_features, in_features)), True, kind)
        self.bias = Tensor(source.uniform(-bound, bound, out_features), True,
                           kind) if bias else None

    def forward(self, x: Any) -> Any:
        """The affine map."""
        return functional.linear(x, self.weight, self.bias)

    def describe(self) -> str:
        """The sizes."""
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")


def _activation(name: str, row: str, formula: str, example: str) -> Any:
    """A module without parameters that applies one operation to each element."""
    apply: Callable[[Any], Any] = PUBLIC[row]

    class Activation(Module):
        def forward(self, x: Any) -> Any:
            return apply(x)
    Activation.__name__ = Activation.__qualname__ = name
    Activation.forward.__doc__ = formula
    Activation.__doc__ = f"""{name} as a module.

        {formula}

    >>> ad.nn.{name}()(np.array([-1.0, 2.0]))
    {example}
    """
    return Activation


ReLU = _activation("ReLU", "relu", "y = max(x, 0)", "array([0., 2.])")
Tanh = _activation("Tanh", "tanh", "y = tanh x", "array([-0.76159416,  0.96402758])")
Sigmoid = _activation("Sigmoid", "sigmoid", "y = 1 / (1 + e^-x)", "array([0.26894142, 0.88079708])")


class Softmax(Module):
    """Positive numbers that sum to 1 along one axis.

        y_i = e^(x_i) / sum_j e^(x_j)

    >>> ad.nn.Softmax(dim=1)(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """The softmax."""
        return PUBLIC["softmax"](x, axis=self.dim)

    def describe(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of softmax along one axis, finite where softmax underflows.

        y_i = x_i - ln sum_j e^(x_j)

    >>> ad.nn.LogSoftmax(dim=1)(np.array([[0.0, 1000.0]]))
    array([[-1000.,     0.]])
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """The log-softmax."""
        return PUBLIC["log_softmax"](x, axis=self.dim)

    def describe(self) -> str:
        """The axis."""
        return f"dim={self.dim}"


class Dropout(Module):
    """Zeros in place of some elements while training, each with probability ``p``.

        y = x M / (1 - p),    M_i = 0 with probability p, else 1

    In evaluation (`Module.eval`) y = x. The mask is drawn from ``generator`` (an
    `ad.random.Generator`) or the common stream. Raises ArgumentError unless 0 <= p < 1. Source:
    Srivastava et al. (2014), Dropout: a simple way to prevent neural networks from overfitting.

    >>> layer = ad.nn.Dropout(0.5).eval()
    >>> layer(np.ones(3))
    array([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, generator: Any = None) -> None:
        functional.check_share(p)
        self.p, self.generator = p, generator

    def forward(self, x: Any) -> Any:
        """The masked x."""
        return functional.dropout(x, self.p, self.training, self.generator)

    def describe(self) -> str:
        """The probability."""
        return f"p={self.p}"


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` as one; the default leaves the batch axis alone.

    >>> ad.nn.Flatten()(np.zeros((5, 8, 8))).shape
    (5, 64)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        """The reshaped x."""
        shape = x.shape
        first, last = (d + len(shape) if d < 0 else d for d in (self.start_dim, self.end_dim))
        if not 0 <= first <= last < len(shape):
            raise ShapeError(f"Flatten({self.start_dim}, {self.end_dim}): an array of shape "
                             f"{shape} has no such axes")
        return PUBLIC["reshape"](x, (*shape[:first], math.prod(shape[first:last + 1]),
                                     *shape[last + 1:]))

    def describe(self) -> str:
        """The axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
