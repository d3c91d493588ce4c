"""Reference slopes: finite differences, extrapolated to step 0, with an estimate of their error.

Richardson's table by Neville's scheme; of all its entries the one is taken, for each element, that
agrees best with its two neighbours (C. J. F. Ridders, Advances in Engineering Software 4 (1982)
75-76). Central differences give the slope, one-sided ones find kinks. Ladders of smaller and
smaller steps are tried until every element has settled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Array = Any
RUNGS = 9  # steps in a ladder, each half of the one before
SETTLED = 1e-7  # relative error at which no further ladder is tried
TRUST = 1e-3  # relative error beyond which a slope is no reference


@dataclass
class Slope:
    """For each element of the result: the slope lies in [low, high] within ``error``.

    It is NaN where nothing is known. The interval is a single number except at a kink, where it
    has the one-sided slopes as its ends.
    """

    low: Array
    high: Array
    error: Array
    natural: float  # a usual slope: the size of the value over that of the argument
    floor: float  # slopes smaller than this are as good as zero

    @property
    def kinks(self) -> Array:
        """Where the one-sided slopes differ."""
        return self.low < self.high

    @property
    def scale(self) -> float:
        """What a relative error of this direction refers to: the largest slope."""
        sizes = np.where(
            np.isfinite(self.error), np.maximum(np.abs(self.low), np.abs(self.high)), 0.0
        )
        return float(np.max(sizes, initial=self.floor))

    @property
    def known(self) -> Array:
        """Where the slope is known well enough to judge by."""
        zero = (np.abs(self.low) <= 8 * self.error) & (self.error <= TRUST * self.natural)
        return np.isfinite(self.error) & ((self.error <= TRUST * self.scale) | zero)


def slope(g: Callable[[float], Array], magnitude: float, smallest: float, eps: float,
          usual: Array = 0.0) -> Slope:
    """The derivative of ``g`` at 0.

    ``magnitude`` and ``smallest`` are the largest and the smallest |x| that the direction moves,
    ``eps`` the rounding of g relative to its value, or to ``usual`` where that is larger: a
    derivative far smaller than usual is what a cancellation left.
    """
    at = g(0.0)
    found: list[Slope] = []
    for start in ladders(magnitude, smallest):
        found.append(on_ladder(g, at, start, magnitude, eps, usual))
        best = chosen(found)
        if np.all(np.isfinite(best.error) & ~best.kinks & (best.error <= SETTLED * best.scale)):
            return best
    return chosen(found)


def ladders(magnitude: float, smallest: float) -> Iterator[float]:
    """The first steps: relative to 1 or x, the larger, then smaller; relative to a small x."""
    for shrink in (0, 10, 20):
        yield max(magnitude, 1.0) * 2.0 ** (-4 - shrink)
    if 0.0 < smallest < 1e-2:
        yield smallest / 16.0


def chosen(found: Sequence[Slope]) -> Slope:
    """For each element the ladder with the smallest error, one without a kink if there is one."""
    best = found[0]
    for s in found[1:]:
        clash = s.known & (
            np.abs(s.low - best.low) > 10 * (s.error + best.error)
        )  # coarse entries agreed by luck
        better = (best.kinks & ~s.kinks & s.known) | (
            (best.kinks == s.kinks) & (clash | np.isnan(best.error) | (s.error < best.error))
        )
        best = Slope(
            np.where(better, s.low, best.low),
            np.where(better, s.high, best.high),
            np.where(better, s.error, best.error),
            best.natural,
            best.floor,
        )
    return best


def on_ladder(
    g: Callable[[float], Array], at: Array, start: float, magnitude: float, eps: float,
    usual: Array,
) -> Slope:
    """The slopes from one ladder of steps."""
    level = np.maximum(np.abs(at), usual)
    steps = start * 0.5 ** np.arange(RUNGS)
    with np.errstate(all="ignore"):
        ahead, behind = [g(h) for h in steps], [g(-h) for h in steps]
        pairs = list(zip(ahead, behind, steps, strict=True))
        # g is rounded, and so is x before g sees it
        noise = [
            4.0 * eps * (level + magnitude * np.abs(a - b) / (2 * h)) / h for a, b, h in pairs
        ]
        noise = [
            np.where(np.isfinite(n), n, 4.0 * eps * level / h)
            for n, h in zip(noise, steps, strict=True)
        ]
        central, error = extrapolated([(a - b) / (2 * h) for a, b, h in pairs], noise, 4.0)
        right, right_error = extrapolated([(a - at) / h for a, _, h in pairs], noise, 2.0)
        left, left_error = extrapolated([(at - b) / h for _, b, h in pairs], noise, 2.0)
        return combined(
            (central, error),
            (left, left_error),
            (right, right_error),
            float(np.max(level, initial=0.0)) / max(magnitude, 1.0),
            float(np.sqrt(eps)),
        )


def combined(middle: Any, left: Any, right: Any, natural: float, small: float) -> Slope:
    """One slope from the three; an interval where left and right differ beyond their errors."""
    (central, error), (before, before_error), (after, after_error) = middle, left, right
    floor = small * natural
    gap, size = np.abs(after - before), np.maximum(np.abs(before), np.abs(after))
    kink = gap > 10.0 * (before_error + after_error) + 1e-6 * size + floor
    rough = ~kink & (
        gap > 0.1 * np.maximum(size, floor)
    )  # a cusp: the one-sided slopes do not settle
    if np.iscomplexobj(central):  # an interval needs an order: a kink is not judged
        return Slope(central, central, np.where(kink | rough, np.nan, error), natural, floor)
    beyond = np.isnan(error)  # the domain ends here: the slope on the other side
    side = np.where(np.isfinite(after_error), after, before)
    low = np.where(kink, np.fmin(before, after), np.where(beyond, side, central))
    high = np.where(kink, np.fmax(before, after), np.where(beyond, side, central))
    error = np.where(
        kink,
        before_error + after_error,
        np.where(beyond, np.fmin(before_error, after_error), error),
    )
    return Slope(low, high, np.where(rough, np.nan, error), natural, floor)


def extrapolated(
    slopes: Sequence[Array], noise: Sequence[Array], base: float
) -> tuple[Array, Array]:
    """The limit of ``slopes`` for step 0, and its error; ``base`` is 2 ** (order of the error)."""
    best = np.full(np.shape(slopes[0]), np.nan, np.asarray(slopes[0]).dtype)
    error = np.full(np.shape(slopes[0]), np.nan)
    before: list[Array] = []
    for d, rounding in zip(slopes, noise, strict=True):
        row = [d]
        for j, above in enumerate(before, start=1):
            last = row[-1]
            new = last + (last - above) / (base**j - 1.0)
            row.append(new)
            found = np.maximum(np.abs(new - last), np.abs(new - above)) + rounding
            better = np.isnan(error) | (found < error)
            better &= np.isfinite(found)
            best, error = np.where(better, new, best), np.where(better, found, error)
        before = row
    return best, error
