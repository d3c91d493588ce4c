"""With which dtype parameters are made, and from which random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import MODES
from adjoint.errors import ArgumentError, DTypeError
from adjoint.modes import DEFAULT_DTYPE

if TYPE_CHECKING:
    from numpy.random import Generator



class _Source:
    """The random numbers of layers that are given no Generator of their own."""

    generator = np.random.default_rng()


class default_dtype:  # noqa: N801 - a function to its users, like open
    """Make the parameters of layers in this dtype from now on, or inside a ``with`` block only.

    The setting belongs to the context (thread or async task), and is float32 until it is changed.
    Raises DTypeError for a dtype that has no gradients.

    >>> with ad.default_dtype("float64"):
    ...     layer = ad.nn.Linear(2, 1)
    >>> layer.weight.dtype
    dtype('float64')
    >>> ad.nn.Linear(2, 1).weight.dtype
    dtype('float32')
    """

    def __init__(self, dtype: Any) -> None:
        self.before = DEFAULT_DTYPE.get()
        DEFAULT_DTYPE.set(parameter_dtype(dtype))

    def __enter__(self) -> None:
        """Nothing more: the dtype is set already."""

    def __exit__(self, *_: object) -> None:
        DEFAULT_DTYPE.set(self.before)

    def __repr__(self) -> str:
        return f"default_dtype({DEFAULT_DTYPE.get()})"


def parameter_dtype(dtype: Any = None) -> np.dtype[Any]:
    """The dtype of new parameters: the one given, or the default."""
    if dtype is None:
        noted = getattr(MODES.get().trace, "noted", None)
        if noted is not None:  # a compiled function depends on the setting
            noted.add("default_dtype")
        return DEFAULT_DTYPE.get()
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f'{dtype!r} is no dtype; write "float32" or "float64"') from None
    if found.kind not in "fc":
        raise DTypeError("parameters have gradients, so their dtype is floating point, not "
                         f"{found}; write "
                         '"float32" or "float64"')
    return found


def manual_seed(seed: int) -> Generator:
    """Make the random numbers that layers begin with from ``seed``; returns their Generator.

    It holds for the whole process. A layer that is given ``rng=`` uses that one instead.

    >>> a = ad.nn.manual_seed(0).random()
    >>> a == ad.nn.manual_seed(0).random()
    True
    """
    try:
        _Source.generator = np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ArgumentError(f"a seed is an integer of at least 0, not {seed!r}") from None
    return _Source.generator


def generator(rng: Generator | int | None = None) -> Generator:
    """The Generator to draw from: the one given (or seeded by an integer), or the common one."""
    if rng is None:
        return _Source.generator
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, (int, np.integer)) and rng >= 0:
        return np.random.default_rng(rng)
    raise ArgumentError(f"rng is a NumPy Generator or a seed, not {rng!r}; write "
                        "rng=np.random.default_rng(0)")
