"""The relu family: activations of neural networks, with PyTorch's slopes at their kinks.

The value of each is written in other rows, which is also what it lowers to; its slope stands beside
it, so that it is one node of the graph. What a branch does not take is put out of harm's way before
it is computed: no overflow is hidden by a choice.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any

import numpy as np

from adjoint.core.primitive import Label
from adjoint.errors import ArgumentError

from .arithmetic import absolute, astype, sign
from .cases import Case, array_cases
from .declare import APPLY, arrayed, function, general
from .exponential import exp, expm1, sigmoid, softplus
from .select import maximum, minimum, where
from .special import erfc, known_floating, lowered_as, real_only
from .trigonometric import tanh

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772  # selu: Klambauer et al. 2017
SQUARE = np.linspace(-7.0, 7.0, 15)


def _real(name: str, x: Any) -> Any:
    """``x`` as an array of floats."""
    x = real_only(name, arrayed(x))
    return x if x.dtype.kind == "f" else astype(x, float)


def _activation(name: str, value: Any, slope: Any, label: Label, *params: dict[str, Any],
                at: tuple[float, ...] = (), kink: Any = None) -> Any:
    """The row of an activation; ``at`` are its kinks for the first of ``params``."""
    def prepared(x: Any, **p: Any) -> Any:
        return value(_real(name, x), **p)

    def jvp(dxs: Any, y: Any, x: Any, **p: Any) -> Any:
        return None if dxs[0] is None else dxs[0] * slope(_real(name, x), **p)

    def vjp(dy: Any, y: Any, x: Any, needs: Any, **p: Any) -> tuple[Any]:
        return (dy * slope(_real(name, x), **p),)

    def batch(size: int, axes: Any, x: Any, **p: Any) -> tuple[Any, int]:
        return APPLY[name](x, **p), 0
    first, *others = params or ({},)
    return general(
        name, prepared, aval=known_floating, jvp=jvp, vjp=vjp, elementwise=True,
        depends="elementwise", keeps=frozenset({0}), lower=lowered_as(prepared), label=label,
        batch=batch, kink=kink,
        cases=array_cases(first, *others, domain=(-7.5, 7.5), extra=[
            *[Case((np.array([a, a]),), first, "kink") for a in at],
            Case((SQUARE + 0.25,), first), Case((np.array([-800.0, 800.0]),), first)]))


def _steps(x: Any, low: Any, inside: Any, high: Any, ends: tuple[float, float], closed: bool = False
           ) -> Any:
    """``low`` below ``ends``, ``inside`` between them (at them too if closed), ``high`` above."""
    one = x.dtype.type
    low, inside, high = (one(v) if isinstance(v, float) else v for v in (low, inside, high))
    if closed:
        return where(x < ends[0], low, where(x > ends[1], high, inside))
    return where(x <= ends[0], low, where(x >= ends[1], high, inside))


def _clipped(x: Any, low: float, high: float) -> Any:
    return minimum(maximum(x, low), high)


def _label(name: str, partial_: str, rule: str = "rectifier", params: str = "") -> Label:
    latex = name.replace("_", r"\_")
    return Label(name + f"({{0}}{params})", rf"\mathrm{{{{{latex}}}}}({{0}}{params})", (partial_,),
                 "chain rule for the " + rule)


def _at(*points: float) -> Any:
    return lambda x, **_: np.isin(x, points)


# ---- pieces of lines

_hardtanh = _activation(
    "hardtanh", _clipped,
    lambda x, low, high: _steps(x, 0.0, 1.0, 0.0, (low, high)),
    _label("hardtanh", "[{low} < {0} < {high}]", params=", {low}, {high}"),
    {"low": -1.0, "high": 1.0},
    {"low": 0.0, "high": 6.0}, at=(-1.0, 1.0),
    kink=lambda x, low, high: np.isin(x, (low, high)))


@function()
def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """``x`` held between two numbers, with slope 0 at both (`clip` shares the gradient there).

        y = min(max(x, min_val), max_val),    dy/dx = [min_val < x < max_val]

    Raises ArgumentError if ``min_val`` is above ``max_val``.

    >>> ad.hardtanh([-2.0, 0.5, 2.0])
    array([-1. ,  0.5,  1. ])
    """
    if not min_val <= max_val:
        raise ArgumentError(f"hardtanh: min_val {min_val} lies above max_val {max_val}; exchange "
                            "them")
    return _hardtanh(_real("hardtanh", x), low=float(min_val), high=float(max_val))


@function()
def relu6(x: Any) -> Any:
    """The rectifier cut off at 6, with slope 0 at 0 and at 6.

        y = min(max(x, 0), 6),    dy/dx = [0 < x < 6]

    >>> ad.relu6([-1.0, 2.0, 8.0])
    array([0., 2., 6.])
    """
    return _hardtanh(_real("relu6", x), low=0.0, high=6.0)


_leaky = _activation(
    "leaky_relu", lambda x, slope: where(x > 0, x, x * slope),
    lambda x, slope: where(x > 0, x.dtype.type(1.0), x.dtype.type(slope)),
    _label("leaky_relu", r"[{0} > 0] + ({slope})\,[{0} \le 0]", params=", {slope}"),
    {"slope": 0.01}, {"slope": -0.5},
    at=(0.0,), kink=lambda x, slope: np.equal(x, 0) & (slope != 1.0))


@function()
def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """The rectifier with a small slope for negative x, which it has at 0 too.

        y = x for x > 0, else s x,    dy/dx = 1 for x > 0, else s

    >>> ad.leaky_relu([-1.0, 2.0])
    array([-0.01,  2.  ])
    """
    return _leaky(_real("leaky_relu", x), slope=float(negative_slope))


_threshold = _activation(
    "threshold", lambda x, limit, value: where(x <= limit, x.dtype.type(value), x),  # NaN stays
    lambda x, limit, value: where(x <= limit, x.dtype.type(0.0), x.dtype.type(1.0)),
    _label("threshold", "[{0} > {limit}]", params=", {limit}, {value}"),
    {"limit": 1.0, "value": -2.0}, at=(1.0,),
    kink=lambda x, limit, value: np.equal(x, limit))


@function()
def threshold(x: Any, threshold: float, value: float) -> Any:
    """``x`` above the threshold, else ``value``, with slope 0 at the threshold.

        y = x for x > t, else v,    dy/dx = [x > t]

    >>> ad.threshold([0.5, 2.0], 1.0, -1.0)
    array([-1.,  2.])
    """
    return _threshold(_real("threshold", x), limit=float(threshold), value=float(value))


def _shrink_slope(x: Any, width: float) -> Any:
    return _steps(x, 1.0, 0.0, 1.0, (-width, width), closed=True)


def _size(name: str, lambd: float) -> float:
    if not lambd >= 0:
        raise ArgumentError(f"{name}: lambd is a number from 0 on, not {lambd!r}")
    return float(lambd)


_soft = _activation(
    "softshrink", lambda x, width: where(absolute(x) > width, x - width * sign(x),
                                        where(x == x, x.dtype.type(0.0), x)),
    _shrink_slope, _label("softshrink", r"[\left|{0}\right| > {width}]", params=", {width}"),
    {"width": 0.5},
    at=(-0.5, 0.5), kink=lambda x, width: np.isin(x, (-width, width)))
_hard = _activation(
    "hardshrink", lambda x, width: where(absolute(x) <= width, x.dtype.type(0.0), x),
    _shrink_slope, _label("hardshrink", r"[\left|{0}\right| > {width}]", params=", {width}"),
    {"width": 0.5},
    at=(-0.5, 0.5), kink=lambda x, width: np.isin(x, (-width, width)))


@function()
def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """``x`` moved towards 0 by ``lambd``, and 0 where it is not larger.

        y = sign(x) max(|x| - l, 0),    dy/dx = [|x| > l]

    Raises ArgumentError for a negative ``lambd``.

    >>> ad.softshrink([-2.0, 0.25, 1.0])
    array([-1.5,  0. ,  0.5])
    """
    return _soft(_real("softshrink", x), width=_size("softshrink", lambd))


@function()
def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """``x`` where it is larger than ``lambd`` in size, else 0.

        y = x [|x| > l],    dy/dx = [|x| > l]

    Raises ArgumentError for a negative ``lambd``.

    >>> ad.hardshrink([-2.0, 0.25, 1.0])
    array([-2.,  0.,  1.])
    """
    return _hard(_real("hardshrink", x), width=_size("hardshrink", lambd))


hardsigmoid = _activation(
    "hardsigmoid", lambda x: _clipped(x + 3.0, 0.0, 6.0) / 6.0,
    lambda x: _steps(x, 0.0, 1.0 / 6.0, 0.0, (-3.0, 3.0)),
    _label("hardsigmoid", r"\frac{{1}}{{6}}\,[\left|{0}\right| < 3]"), at=(-3.0, 3.0),
    kink=_at(-3.0, 3.0))
hardsigmoid.__doc__ = """The sigmoid as three straight pieces, with slope 0 at -3 and at 3.

        y = min(max(x + 3, 0), 6) / 6,    dy/dx = 1/6 for -3 < x < 3, else 0

    >>> ad.hardsigmoid([-4.0, 0.0, 3.0])
    array([0. , 0.5, 1. ])
    """
hardswish = _activation(
    "hardswish",
    lambda x: where(x < -3.0, x.dtype.type(0.0),
                    maximum(x, -3.0) * (_clipped(x + 3.0, 0.0, 6.0) / 6.0)),
    lambda x: _steps(x, 0.0, x / 3.0 + 0.5, 1.0, (-3.0, 3.0)),
    _label("hardswish", r"[{0} \ge 3] + [-3 < {0} < 3]\,(\frac{{{0}}}{{3}} + \frac{{1}}{{2}})"),
    at=(-3.0, 3.0), kink=_at(-3.0, 3.0))
hardswish.__doc__ = """x times the hard sigmoid of x; the slope at -3 is 0, at 3 it is 1.

        y = x min(max(x + 3, 0), 6) / 6,    dy/dx = x/3 + 1/2 for -3 < x < 3

    Below it is flat, above it is x itself, and at both kinks the slope is theirs, as in PyTorch.
    Source: Howard et al. 2019, MobileNetV3.

    >>> ad.hardswish([-4.0, 1.0, 4.0])
    array([0.        , 0.66666667, 4.        ])
    """


# ---- exponentials below 0

def _elu_value(x: Any, alpha: float, scale: float, rate: float) -> Any:
    below = minimum(x, 0.0) * rate
    return where(x > 0, x * scale, expm1(below) * (alpha * scale))


def _elu_slope(x: Any, alpha: float, scale: float, rate: float) -> Any:
    below = where(x > 0, x.dtype.type(0.0), x) * rate
    return where(x > 0, x.dtype.type(scale), exp(below) * (alpha * scale * rate))


_elu = _activation(
    "elu", _elu_value, _elu_slope,
    _label("elu", r"{scale}\,([{0} > 0] + ({alpha})\,({rate})\,e^{{({rate})\,{0}}}\,[{0} \le 0])",
           params=", {alpha}, {scale}, {rate}"),
    {"alpha": 0.5, "scale": 1.0, "rate": 1.0}, {"alpha": ALPHA, "scale": SCALE, "rate": 1.0},
    {"alpha": 2.0, "scale": 1.0, "rate": 0.5}, at=(0.0,),
    kink=lambda x, alpha, scale, rate: np.equal(x, 0) & (alpha * rate != 1.0))


@function()
def elu(x: Any, alpha: float = 1.0) -> Any:
    """The exponential linear unit; its slope at 0 is ``alpha``.

        y = x for x > 0, else alpha (e^x - 1),    dy/dx = 1 for x > 0, else alpha e^x

    Source: Clevert et al. 2015.

    >>> ad.elu([-1.0, 2.0])
    array([-0.63212056,  2.        ])
    """
    return _elu(_real("elu", x), alpha=float(alpha), scale=1.0, rate=1.0)


@function()
def selu(x: Any) -> Any:
    """The scaled exponential linear unit, which keeps mean 0 and variance 1.

        y = s x for x > 0, else s alpha (e^x - 1),    dy/dx = s for x > 0, else s alpha e^x

    Source: Klambauer et al. 2017, which gives s = 1.0507... and alpha = 1.6732...

    >>> ad.selu([-1.0, 2.0])
    array([-1.11133074,  2.10140197])
    """
    return _elu(_real("selu", x), alpha=ALPHA, scale=SCALE, rate=1.0)


@function()
def celu(x: Any, alpha: float = 1.0) -> Any:
    """The exponential linear unit without a kink.

        y = x for x > 0, else alpha (e^(x / alpha) - 1),    dy/dx = 1 for x > 0, else e^(x / alpha)

    Source: Barron 2017. Raises ArgumentError if ``alpha`` is 0.

    >>> ad.celu([-1.0, 2.0], alpha=2.0)
    array([-0.78693868,  2.        ])
    """
    if not alpha:
        raise ArgumentError("celu: alpha may not be 0; as alpha goes to 0 it becomes ad.relu")
    return _elu(_real("celu", x), alpha=float(alpha), scale=1.0, rate=1.0 / float(alpha))


# ---- smooth ones

def _silu_slope(x: Any) -> Any:
    s = sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


silu = _activation("silu", lambda x: x * sigmoid(x), _silu_slope,
                   _label("silu", r"\sigma({0})\,(1 + {0}\,(1 - \sigma({0})))",
                          "logistic function"))
silu.__doc__ = """x times the logistic function of x, also known as swish.

        y = x / (1 + e^-x),    dy/dx = s + y (1 - s) with s = 1 / (1 + e^-x)

    >>> ad.silu([0.0, 1.0])
    array([0.        , 0.73105858])
    """


def _mish_slope(x: Any) -> Any:
    t = tanh(softplus(x))
    return t + x * (1.0 - t * t) * sigmoid(x)


mish = _activation("mish", lambda x: x * tanh(softplus(x)), _mish_slope,
                   _label(
                       "mish", r"\tanh(\ln(1 + e^{{{0}}})) + "
                       r"{0}\,(1 - \tanh^2(\ln(1 + e^{{{0}}})))\,\sigma({0})",
                       "hyperbolic tangent"))
mish.__doc__ = """x times the hyperbolic tangent of softplus(x).

        y = x t with t = tanh(ln(1 + e^x)),    dy/dx = t + x (1 - t^2) / (1 + e^-x)

    Source: Misra 2019.

    >>> ad.mish([0.0, 1.0])
    array([0.        , 0.86509839])
    """


def _tanhshrink_value(x: Any) -> Any:
    """Near 0, where the two cancel, by the continued fraction tanh x = x / (1 + x^2 / (3 + ...)."""
    near = absolute(x) < 1.0
    inner = where(near, x, x.dtype.type(0.0))
    rest, square = 17.0 + 0.0 * inner, inner * inner
    for n in (15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0):
        rest = n + square / rest
    return where(near, inner * square / (rest + square), x - tanh(x))


tanhshrink = _activation("tanhshrink", _tanhshrink_value, lambda x: tanh(x) * tanh(x),
                         _label("tanhshrink", r"\tanh^2({0})", "hyperbolic tangent"))
tanhshrink.__doc__ = """x less its hyperbolic tangent.

        y = x - tanh x,    dy/dx = tanh(x)^2

    >>> ad.tanhshrink([0.0, 1.0])
    array([0.        , 0.23840584])
    """


def _distribution(x: Any) -> Any:
    """Phi(x), exact in both tails."""
    return 0.5 * erfc(x * -sqrt(0.5))


def _gelu_value(x: Any) -> Any:
    return x * _distribution(x)


def _gelu_slope(x: Any) -> Any:
    near = _clipped(x, -50.0, 50.0)  # the density beyond is 0, and x * x may overflow
    return _distribution(x) + near * exp(near * near * -0.5) * (1.0 / sqrt(2.0 * pi))


_gelu = _activation("gelu", _gelu_value, _gelu_slope,
                    _label("gelu", r"\Phi({0}) + {0}\,\varphi({0})", "error function"))


@function()
def gelu(x: Any, approximate: str = "none") -> Any:
    """The Gaussian error linear unit: x times the normal distribution function of x.

        y = x Phi(x),    dy/dx = Phi(x) + x e^(-x^2 / 2) / sqrt(2 pi)

    ``approximate="tanh"``: y = x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. Source: Hendrycks
    and Gimpel 2016. Raises ArgumentError for another ``approximate``.

    >>> ad.gelu([0.0, 1.0])
    array([0.        , 0.84134475])
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f'gelu: approximate is "none" or "tanh", not {approximate!r}')
    x = _real("gelu", x)
    if approximate == "none":
        return _gelu(x)
    near = _clipped(x, -50.0, 50.0)  # (1 + tanh u) / 2 is the sigmoid of 2u, exact in its tail
    return x * sigmoid(2.0 * sqrt(2.0 / pi) * (near + 0.044715 * near * near * near))
