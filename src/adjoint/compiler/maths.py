"""The closed table of scalar functions: what the statement ``elementwise`` may name.

One row each. The NumPy function is the meaning of the name; every other column must agree with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.ops.exponential import log_sigmoid, sigmoid, softplus
from adjoint.ops.select import relu
from adjoint.ops.special import digamma, erf, erfc, gammaln

if TYPE_CHECKING:
    from collections.abc import Callable


class Scalar(NamedTuple):
    """One scalar function, applied element by element."""

    arity: int
    numpy: Callable[..., Any]


UNARY = {
    "negative": np.negative, "positive": np.positive, "abs": np.absolute, "sign": np.sign,
    "square": np.square, "reciprocal": np.reciprocal, "sqrt": np.sqrt, "cbrt": np.cbrt,
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1,
    "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
    "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "arcsinh": np.arcsinh, "arccosh": np.arccosh, "arctanh": np.arctanh,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint,
    "logical_not": np.logical_not, "invert": np.invert,
    "isfinite": np.isfinite, "isnan": np.isnan, "isinf": np.isinf,
    "signbit": np.signbit, "real": np.real, "imag": np.imag, "conjugate": np.conjugate}
BINARY = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.true_divide,
    "power": np.power, "floor_divide": np.floor_divide, "remainder": np.remainder,
    "arctan2": np.arctan2, "logaddexp": np.logaddexp, "logaddexp2": np.logaddexp2,
    "hypot": np.hypot, "fmod": np.fmod, "copysign": np.copysign,
    "maximum": np.maximum, "minimum": np.minimum,
    "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "equal": np.equal, "not_equal": np.not_equal,
    "logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor,
    "bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor}
# Functions that NumPy lacks: the row's own implementation is their only definition.
OWN = {f.row.name: f.row.impl for f in (
    sigmoid, log_sigmoid, softplus, relu, erf, erfc, gammaln, digamma)}

MATHS: dict[str, Scalar] = {
    **{name: Scalar(1, f) for name, f in UNARY.items()},
    **{name: Scalar(2, f) for name, f in BINARY.items()},
    **{name: Scalar(1, f) for name, f in OWN.items()}}
