"""Making tensors: constants by shape, and arrays joined from tracked values and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.primitive import NUMPY
from adjoint.ops.arithmetic import astype
from adjoint.ops.declare import function, holds_box, shape_of
from adjoint.ops.shape import broadcast_to, stack

from .tensors import Tensor, tensor, untracked


def zeros_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of zeros with the shape and dtype of ``x``.

    >>> ad.zeros_like(np.ones(2))
    tensor([0., 0.])
    """
    return zeros(shape_of(x), dtype=dtype or dtype_like(x), requires_grad=requires_grad)


def ones_like(x: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A Tensor of ones with the shape and dtype of ``x``.

    >>> ad.ones_like(np.zeros(2))
    tensor([1., 1.])
    """
    return ones(shape_of(x), dtype=dtype or dtype_like(x), requires_grad=requires_grad)


def dtype_like(x: Any) -> Any:
    """The dtype of an array, a tensor, a number or nested lists."""
    return x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype


EXAMPLES = {
    "zeros": ("2", "tensor([0., 0.])"), "ones": ("2", "tensor([1., 1.])"),
    "eye": ("2", "tensor([[1., 0.],\n            [0., 1.]])"),
    "arange": ("3.0", "tensor([0., 1., 2.])"),
    "linspace": ("0.0, 1.0, 3", "tensor([0. , 0.5, 1. ])")}


def _made(f: Any) -> Any:
    def make(*args: Any, requires_grad: bool = False, **kwargs: Any) -> Tensor:
        value: Any = f(*args, **kwargs)
        if isinstance(value, Box):  # np.linspace of tracked ends
            return value  # pyright: ignore[reportReturnType]
        y = untracked(value)
        return y.requires_grad_() if requires_grad else y
    name = make.__name__ = make.__qualname__ = f.__name__
    call, shown = EXAMPLES[name]
    make.__doc__ = (f"A Tensor made as by `numpy.{name}`; ``requires_grad=True`` makes it a leaf.\n"
                    f"\n    >>> ad.{name}({call})\n    {shown}\n    ")
    return make


zeros, ones, eye = _made(np.zeros), _made(np.ones), _made(np.eye)
arange, linspace = _made(np.arange), _made(np.linspace)


@function()
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """An array filled with one value, differentiable in that value.

    >>> ad.full(2, 7.0)
    tensor([7., 7.])
    """
    if isinstance(fill_value, Box):
        return broadcast_to(fill_value if dtype is None else astype(fill_value, dtype), shape)
    return untracked(np.full(shape, fill_value, dtype))


@function()
def array(data: Any, dtype: Any = None) -> Any:
    """Nested lists of tracked values and numbers, joined into one array that is tracked too.

    >>> x = ad.tensor(2.0, requires_grad=True)
    >>> ad.array([x, 3.0, x * x]).sum().backward()
    >>> x.grad
    tensor(5.)
    """
    if isinstance(data, Box):
        y: Any = data
    elif holds_box(data):
        y = stack([array(d) if holds_box(d) else tensor(d) for d in data])
    else:
        y = tensor(data)
    return y if dtype is None else y.astype(dtype)


def asarray(data: Any, dtype: Any = None) -> Any:
    """``data`` itself if it is a tensor, else `array` of it.

    >>> ad.asarray([1.0])
    tensor([1.])
    """
    return array(data, dtype)


def _full_like(x: Any, fill_value: Any, dtype: Any = None) -> Any:
    if isinstance(fill_value, Box) or isinstance(x, Tensor):
        return full(shape_of(x), fill_value, dtype or x.dtype)
    return np.full(shape_of(x), fill_value, dtype or x.dtype)


NUMPY[np.full_like] = _full_like
