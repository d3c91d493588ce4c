"""The update formulas: SGD, Adam and AdamW, as PyTorch computes them.

Each is written on arrays, with as few new ones as its formula allows: the state is changed in
place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.errors import ArgumentError, DTypeError

from .optimizer import Optimizer, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from adjoint.tensors import Tensor


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if it is asked for.

        g = dL/dp + weight_decay p,    b = momentum b + (1 - dampening) g,    p = p - lr b

    At its first step b is g. With ``nesterov``, p = p - lr (g + momentum b). Raises ArgumentError
    for a negative setting, and for ``nesterov`` without momentum or with dampening. Source:
    Sutskever et al. (2013), On the importance of initialization and momentum in deep learning.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> opt = ad.optim.SGD([x], lr=0.1)
    >>> (x * x).backward()
    >>> opt.step()
    >>> x
    tensor(1.6, requires_grad=True)
    """

    def __init__(self, parameters: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0,
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(parameters, {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov})

    def check(self, group: dict[str, Any]) -> None:
        """Nesterov's formula has momentum and no dampening."""
        super().check(group)
        if group["nesterov"] and (group["momentum"] == 0.0 or group["dampening"] != 0.0):
            raise ArgumentError("SGD: nesterov=True needs momentum > 0 and dampening = 0, for "
                                "example momentum=0.9")

    def change(self, p: Tensor, g: Any, state: State, group: dict[str, Any]) -> Any:
        """The formula of the class."""
        momentum = group["momentum"]
        if group["weight_decay"]:
            g = g + group["weight_decay"] * p.value
        if momentum:
            b = state.get("momentum_buffer")
            if b is None:
                b = +g
            else:
                b *= momentum
                b += (1.0 - group["dampening"]) * g
            state["momentum_buffer"] = b  # stored again: a 0-d value is not changed in place
            g = g + momentum * b if group["nesterov"] else b
        return group["lr"] * g


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square.

        m = b1 m + (1 - b1) g,    v = b2 v + (1 - b2) g^2
        p = p - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

    ``weight_decay`` is added to the gradient, g + weight_decay p (`AdamW` decays p itself). Raises
    ArgumentError for a negative setting or betas outside [0, 1), DTypeError for complex parameters.
    Source: Kingma and Ba (2015),
    Adam: A Method for Stochastic Optimization.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> opt = ad.optim.Adam([x], lr=0.1)
    >>> (x * x).backward()
    >>> opt.step()
    >>> round(x.item(), 6)
    1.9
    """

    decoupled = False

    def __init__(self, parameters: Iterable[Any], lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check(self, group: dict[str, Any]) -> None:
        """The two betas are shares below 1, and the square of a gradient is that of a real one."""
        super().check(group)
        name, betas = type(self).__name__, group["betas"]
        numbers = isinstance(betas, (tuple, list)) and len(betas) == 2 and all(
            isinstance(b, (int, float, np.number)) for b in betas)
        if not numbers or not all(0.0 <= b < 1.0 for b in betas):
            raise ArgumentError(f"{name}: betas are two numbers of at least 0 and below 1, not "
                                f"{betas!r}")
        if any(p.dtype.kind == "c" for p in group["params"]):
            raise DTypeError(f"{name} scales by the square of a real gradient. Hold a complex "
                             "parameter as two real ones, z = x + 1j * y, or use SGD")

    def change(self, p: Tensor, g: Any, state: State, group: dict[str, Any]) -> Any:
        """The formula of the class."""
        (first, second), decay, lr = group["betas"], group["weight_decay"], group["lr"]
        if decay and not self.decoupled:
            g = g + decay * p.value
        if not state:
            state.update(step=0.0, exp_avg=g * 0.0, exp_avg_sq=g * 0.0)
        m, v = state["exp_avg"], state["exp_avg_sq"]
        t = state["step"] + 1.0  # a float, so that a compiled step has it as an input
        m += (1.0 - first) * (g - m)
        v *= second
        square = g * g
        square *= 1.0 - second
        v += square
        state["step"], state["exp_avg"], state["exp_avg_sq"] = t, m, v  # 0-d values are new ones
        # Both corrections are numbers: they are multiplied together, and with eps, not with arrays.
        correction = (1.0 - second ** t) ** 0.5
        y = np.sqrt(v)
        y += group["eps"] * correction
        y = np.divide(m, y, out=y) if y.ndim else m / y
        y *= lr * correction / (1.0 - first ** t)
        if decay and self.decoupled:  # p (1 - lr decay) - y, as one subtraction
            y += (lr * decay) * p.value
        return y


class AdamW(Adam):
    """Adam with weight decay of its own, not scaled by the running means.

        p = p (1 - lr weight_decay),    then the step of `Adam` without decay

    Source: Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> opt = ad.optim.AdamW([x], lr=0.1, weight_decay=0.5)
    >>> (x * x).backward()
    >>> opt.step()
    >>> round(x.item(), 6)
    1.8
    """

    decoupled = True

    def __init__(self, parameters: Iterable[Any], lr: float = 1e-3,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float = 1e-2) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)
