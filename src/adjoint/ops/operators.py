"""The fastest way to run a row on values one level down."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box, bind
from adjoint.core.node import NO_PARAMS, ndarray

if TYPE_CHECKING:
    from collections.abc import Callable

    from adjoint.core.primitive import Primitive


def product(x: Any, z: Any) -> Any:
    """``x @ z``; for vectors and matrices by `numpy.dot`, the same BLAS call with less ado.

    It takes 0.29 instead of 0.86 us for 2 by 2. Stacks of matrices and Boxes go by the operator.
    """
    if x.__class__ is ndarray and z.__class__ is ndarray and 0 < x.ndim < 3 and 0 < z.ndim < 3:
        return x.dot(z)
    return x @ z


# On arrays and NumPy scalars an operator is its ufunc without the parsing of arguments.
OPERATORS: dict[Any, Callable[..., Any]] = {
    np.add: operator.add, np.subtract: operator.sub, np.multiply: operator.mul,
    np.true_divide: operator.truediv, np.negative: operator.neg, np.matmul: product}


def runner(row: Primitive) -> Callable[..., Any]:
    """The fastest way to apply ``row`` to values one level down, be they arrays or Boxes."""
    impl = row.impl
    if isinstance(impl, np.ufunc):
        return OPERATORS.get(impl, impl)  # a Box comes back through the NumPy protocol
    if getattr(impl, "__module__", "") == "_operator":
        return impl

    def run(*xs: Any) -> Any:
        for x in xs:
            if isinstance(x, Box):
                return bind(row, xs, NO_PARAMS)
        return impl(*xs)
    return run
