"""Losses as modules: settings once, then ``loss(predictions, targets)``."""

from __future__ import annotations

from typing import Any

from adjoint.tensors import Tensor

from . import functional
from .modules import Module


class _Loss(Module):
    """A loss with settings; an unknown reduction is an error at once."""

    def __init__(self, reduction: str) -> None:
        functional.check_reduction(type(self).__name__, reduction)
        self.reduction = reduction

    def describe(self) -> str:
        """The settings that are not None."""
        return (", ".join(f"{k}={v!r}" for k, v in vars(self).items() if v is not None
                          and not isinstance(v, Tensor)))


class CrossEntropyLoss(_Loss):
    """The cross-entropy of classes from logits, as `functional.cross_entropy`.

        l = -mean_n log softmax(x_n)[t_n]

    >>> ad.nn.CrossEntropyLoss()(np.zeros((2, 4)), [0, 3])
    np.float64(1.3862943611198906)
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                 label_smoothing: float = 0.0) -> None:
        super().__init__(reduction)
        self.weight = None if weight is None else _buffer(weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, x: Any, target: Any) -> Any:
        """The loss of logits against labels or probabilities."""
        return functional.cross_entropy(x, target, self.weight, self.ignore_index, self.reduction,
                                        self.label_smoothing)


class NLLLoss(_Loss):
    """The negative log-likelihood of labels from log-probabilities, as `functional.nll_loss`.

        l = -sum_n w[t_n] x[n, t_n] / sum_n w[t_n]

    >>> ad.nn.NLLLoss()(np.log([[0.25, 0.75]]), [1])
    np.float64(0.2876820724517809)
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100,
                 reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.weight = None if weight is None else _buffer(weight)
        self.ignore_index = ignore_index

    def forward(self, x: Any, target: Any) -> Any:
        """The loss of log-probabilities against labels."""
        return functional.nll_loss(x, target, self.weight, self.ignore_index, self.reduction)


class MSELoss(_Loss):
    """The squared error, as `functional.mse_loss`; warns where the shapes differ.

        l = mean_n (x_n - t_n)^2

    >>> ad.nn.MSELoss()(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    np.float64(2.5)
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, x: Any, target: Any) -> Any:
        """The loss of predictions against targets."""
        return functional.mse_loss(x, target, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """The cross-entropy of yes and no from logits, without overflow.

        l = mean_n -(t_n ln sigma(x_n) + (1 - t_n) ln(1 - sigma(x_n)))

    >>> ad.nn.BCEWithLogitsLoss()(np.zeros(2), np.array([0.0, 1.0]))
    np.float64(0.6931471805599453)
    """

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(reduction)
        self.weight = None if weight is None else _buffer(weight)
        self.pos_weight = None if pos_weight is None else _buffer(pos_weight)

    def forward(self, x: Any, target: Any) -> Any:
        """The loss of logits against numbers between 0 and 1."""
        return functional.binary_cross_entropy_with_logits(x, target, self.weight, self.pos_weight,
                                                           self.reduction)


def _buffer(x: Any) -> Tensor:
    """A constant of the loss, saved with its state."""
    return x if isinstance(x, Tensor) else Tensor(x)
