"""Random tensors: a `Generator` holds a key and a counter, and each draw moves the counter on.

The numbers are functions of that state (`ops/random.py`), so a function compiled by `ad.jit` draws
the same stream as the function itself, and saving the state saves the place in the stream.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any

import numpy as np

from .core.node import MODES
from .core.primitive import PUBLIC
from .errors import ArgumentError, DTypeError
from .ops.random import blocks
from .tensors import Tensor

Shape = Any
FLOATS = (np.dtype(np.float64), np.dtype(np.float32))


class Generator:
    """A stream of random numbers; ``state`` is a tensor of two uint64, the key and the counter.

    Equal seeds give equal streams, eager and compiled, on every machine. Draws are tensors without
    gradient; locations and scales keep theirs: ``loc + scale * normal(shape)``. Raises
    ArgumentError for a seed that is no integer of at least 0.

    >>> a, b = ad.random.Generator(1), ad.random.Generator(1)
    >>> bool((a.uniform((3,)) == b.uniform((3,))).all())
    True
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is None:
            seed = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or seed < 0:
            raise ArgumentError(f"a seed is an integer of at least 0, not {seed!r}")
        key = int(seed) if seed < 1 << 64 else int(
            np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
        self.state: Any = Tensor(np.array([key, 0], np.uint64))

    def __repr__(self) -> str:
        key, counter = map(int, self.state.numpy())
        return f"Generator(key={key}, counter={counter})"

    def uniform(self, shape: Shape = (), low: Any = 0.0, high: Any = 1.0,
                dtype: Any = np.float64) -> Any:
        """Numbers spread evenly over [low, high).

        x = low + (high - low) U
        """
        u = self.draw(shape, dtype)
        if isinstance(low, float) and isinstance(high, float) and (low, high) == (0.0, 1.0):
            return u
        return low + (high - low) * u

    def draw(self, shape: Shape, dtype: Any) -> Any:
        """Numbers in [0, 1), and the counter behind them."""
        shape, kind = shape_of(shape), np.dtype(dtype)
        if kind not in FLOATS:
            raise DTypeError(f"random numbers are float64 or float32, not {kind}")
        adopt = getattr(MODES.get().trace, "adopt", None)
        if adopt is not None:  # in the body of a loop the state goes from turn to turn
            adopt(self.state)
        u = PUBLIC["random_uniform"](self.state, shape=shape, dtype=kind)
        self.state += np.array([0, blocks(shape, kind)], np.uint64)
        return u

    def normal(self, shape: Shape = (), loc: Any = 0.0, scale: Any = 1.0,
               dtype: Any = np.float64) -> Any:
        """Numbers of the normal distribution.

            x = loc + scale sqrt(-2 ln U) cos(2 pi V)

        Source: Box and Muller (1958), A note on the generation of random normal deviates.
        """
        shape = shape_of(shape)
        u, v = self.draw(shape, dtype), self.draw(shape, dtype)
        z = np.sqrt(-2.0 * np.log1p(-u)) * np.cos((2.0 * np.pi) * v)
        plain = isinstance(loc, float) and isinstance(scale, float) and (loc, scale) == (0.0, 1.0)
        return z if plain else loc + scale * z

    def exponential(self, shape: Shape = (), scale: Any = 1.0, dtype: Any = np.float64) -> Any:
        """Numbers of the exponential distribution.

        x = -scale ln(1 - U)
        """
        return -scale * np.log1p(-self.draw(shape, dtype))

    def gumbel(self, shape: Shape = (), loc: Any = 0.0, scale: Any = 1.0,
               dtype: Any = np.float64) -> Any:
        """Numbers of the Gumbel distribution.

        x = loc - scale ln(-ln(1 - U))
        """
        return loc - scale * np.log(-np.log1p(-self.draw(shape, dtype)))

    def laplace(self, shape: Shape = (), loc: Any = 0.0, scale: Any = 1.0,
                dtype: Any = np.float64) -> Any:
        """Numbers of the Laplace distribution.

        x = loc - scale sign(W) ln(1 - 2 |W|),    W = U - 1/2
        """
        w = self.draw(shape, dtype) - 0.5
        return loc - scale * np.sign(w) * np.log1p(-2.0 * np.abs(w))

    def bernoulli(self, p: Any = 0.5, shape: Shape = None) -> Any:
        """True with probability ``p``, False else; ``shape`` is that of p unless it is given."""
        return self.draw(np.shape(p) if shape is None else shape, np.float64) < p

    def permutation(self, n: int) -> Any:
        """The numbers 0 to n - 1 in random order."""
        return PUBLIC["argsort"](self.draw((n,), np.float64))


def shape_of(shape: Shape) -> tuple[int, ...]:
    """A shape, which may be given as one size."""
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if any(not isinstance(n, (int, np.integer)) or n < 0 for n in sizes):
        raise ArgumentError(f"a shape is a size or a tuple of sizes of at least 0, not {shape!r}")
    return tuple(map(int, sizes))


# Of the functions of ad.random, and of layers that are given no other. This may be imported in the
# middle of a tracing, whose own it is not: hence made in no context.
COMMON: Generator = Context().run(Generator)


def seed(number: int) -> None:
    """Begin the common stream anew, from a key of its own for each number.

    >>> ad.random.seed(0)
    >>> x = ad.random.uniform(2)
    >>> ad.random.seed(0)
    >>> bool((x == ad.random.uniform(2)).all())
    True
    """
    COMMON.state[...] = Generator(number).state


def _common(name: str) -> Any:
    method = getattr(Generator, name)

    def draw(*args: Any, **kwargs: Any) -> Any:
        return method(COMMON, *args, **kwargs)
    draw.__name__ = draw.__qualname__ = name
    told = method.__doc__.rstrip()
    draw.__doc__ = f"{told}\n\n    From the common stream; see `Generator`.\n    "
    return draw


uniform, normal, exponential, gumbel, laplace, bernoulli, permutation = map(_common, (
    "uniform", "normal", "exponential", "gumbel", "laplace", "bernoulli", "permutation"))
