"""Random numbers as a row: a function of a key and a counter, the same eager and compiled.

Philox 4x32-10 turns a key and a counter into four words that look random, so an element of an array
needs nothing but its own place. Who draws holds the state, two 64-bit numbers, and moves the
counter on by `blocks`.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.node import aval
from adjoint.core.primitive import Label

from . import loops
from .cases import Case, Cases
from .declare import constant

if TYPE_CHECKING:
    from collections.abc import Iterator

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
LOW, WORD = 0xFFFFFFFF, 1 << 32
UINT64 = np.dtype(np.uint64)


class OfArrays:
    """Words in NumPy arrays."""

    def number(self, value: int) -> Any:
        """A constant."""
        return np.uint64(value)

    def low(self, x: Any) -> Any:
        """The lower word."""
        return x & np.uint64(LOW)

    def high(self, x: Any) -> Any:
        """The upper word."""
        return x >> np.uint64(32)

    def add(self, x: Any, number: int) -> Any:
        """The sum of two words, without its carry."""
        return self.low(x + np.uint64(number))

    def times(self, x: Any, number: int) -> Any:
        """A product of 64 bits."""
        return x * np.uint64(number)

    def xor(self, x: Any, z: Any) -> Any:
        """The bits that differ."""
        return x ^ z


class OfStatements:
    """Words in statements of the loop language."""

    def __init__(self, b: Any, shape: tuple[int, ...]) -> None:
        self.b, self.shape = b, shape

    def number(self, value: int) -> Any:
        """A constant."""
        return loops.broadcast(self.b, self.b.const(np.uint64(value)), self.shape)

    def low(self, x: Any) -> Any:
        """The lower word."""
        return self.b.elementwise("bitwise_and", x, self.number(LOW))

    def high(self, x: Any) -> Any:
        """The upper word."""
        return self.b.elementwise("floor_divide", x, self.number(WORD))

    def add(self, x: Any, number: int) -> Any:
        """The sum of two words, without its carry."""
        return self.low(self.b.elementwise("add", x, self.number(number)))

    def times(self, x: Any, number: int) -> Any:
        """A product of 64 bits."""
        return self.b.elementwise("multiply", x, self.number(number))

    def xor(self, x: Any, z: Any) -> Any:
        """The bits that differ."""
        return self.b.elementwise("bitwise_xor", x, z)


def philox(words: Any, key: Any, counter: Any) -> list[Any]:
    """Four words for each counter.

    Source: Salmon, Moraes, Dror and Shaw (2011), Parallel random numbers: as easy as 1, 2, 3.
    """
    first, second = words.low(key), words.high(key)
    x = [words.low(counter), words.high(counter), words.number(0), words.number(0)]
    for n in range(ROUNDS):
        if n:
            first, second = words.add(first, WEYL[0]), words.add(second, WEYL[1])
        p, q = words.times(x[0], MULTIPLIERS[0]), words.times(x[2], MULTIPLIERS[1])
        x = [words.xor(words.xor(words.high(q), x[1]), first), words.low(q),
             words.xor(words.xor(words.high(p), x[3]), second), words.low(p)]
    return x


def parts(dtype: Any) -> int:
    """How many numbers one block gives: four of 24 bits, or two of 53."""
    return 4 if dtype == np.float32 else 2


def blocks(shape: tuple[int, ...], dtype: Any) -> int:
    """By how much the counter moves on."""
    return -(-prod(shape) // parts(dtype))


WITHOUT: dict[str, str] = {
    **dict.fromkeys(("0-d", "size 1", "empty", "fortran"), "the state is two numbers in a row"),
    "float32": "the state is whole numbers"}


def _uniform_impl(state: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    count = blocks(shape, dtype)
    words = OfArrays()
    counter = state[1] + np.arange(count, dtype=np.uint64)
    x = philox(words, np.broadcast_to(state[0], (count,)), counter)
    if dtype == np.float32:
        y = np.concatenate([(w >> np.uint64(8)).astype(np.float32) for w in x])
        y *= np.float32(2.0 ** -24)
    else:
        high, low = [np.concatenate([x[k], x[k + 2]]) for k in (0, 1)]
        y = (high >> np.uint64(5)).astype(np.float64)
        y *= 2.0 ** 26
        y += (low >> np.uint64(6)).astype(np.float64)
        y *= 2.0 ** -53
    return y[:prod(shape)].reshape(shape)[()]


def _uniform_lower(b: Any, state: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    size, count = prod(shape), blocks(shape, dtype)
    if not size:
        return loops.broadcast(b, b.const(dtype.type(0)), shape)
    flat, words = (size,), OfStatements(b, (size,))
    place = b.iota(flat, 0, UINT64)
    part = b.elementwise("floor_divide", place, words.number(count))
    block = b.elementwise("subtract", place, b.elementwise("multiply", part, words.number(count)))
    key, start = [loops.broadcast(b, b.view(state, ((k, ()),), ()), flat) for k in (0, 1)]
    x = philox(words, key, b.elementwise("add", start, block))

    def chosen(ws: list[Any]) -> Any:
        y = ws[-1]
        for k in reversed(range(len(ws) - 1)):
            y = b.select(b.elementwise("equal", part, words.number(k)), ws[k], y)
        return y

    def number(word: Any, dropped: int) -> Any:
        shifted = b.elementwise("floor_divide", word, words.number(1 << dropped))
        return b.cast(shifted, dtype)

    def scaled(y: Any, factor: float) -> Any:
        return b.elementwise("multiply", y, loops.broadcast(b, b.const(dtype.type(factor)), flat))
    if dtype == np.float32:
        y = scaled(number(chosen(x), 8), 2.0 ** -24)
    else:
        high, low = chosen([x[0], x[2]]), chosen([x[1], x[3]])
        y = scaled(b.elementwise("add", scaled(number(high, 5), 2.0 ** 26), number(low, 6)),
                   2.0 ** -53)
    return loops.reshaped(b, y, shape)


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    for shape in ((), (1,), (5,), (2, 3), (0, 2)):
        for dtype in (np.float64, np.float32):
            state = rng.integers(0, 1 << 63, 2).astype(np.uint64)
            yield Case((state,), {"shape": shape, "dtype": np.dtype(dtype)})
    flipped = rng.integers(0, 1 << 63, 2).astype(np.uint64)[::-1]
    yield Case((flipped,), {"shape": (3,), "dtype": np.dtype(float)})


random_uniform = constant(
    "random_uniform", _uniform_impl, 1, label=Label("random_uniform({0})", r"U({0})"),
    aval=lambda state, shape, dtype: aval(shape, dtype), batch=None, lower=_uniform_lower,
    elementwise=False, depends="all", cases=Cases(_cases, WITHOUT),
    doc="""Numbers in [0, 1) by Philox 4x32-10, from a state of a key and a counter.

    >>> y = ad.random_uniform(np.array([0, 0], np.uint64), shape=(2,), dtype=np.dtype(float))
    >>> y.shape, bool((0 <= y).all() and (y < 1).all())
    ((2,), True)
    """)
