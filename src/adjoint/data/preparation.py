"""What one does with examples before training: split, standardise, cut into mini-batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from adjoint.core.box import Box
from adjoint.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator


def split(x: Any, labels: Any, parts: Sequence[float] = (0.6, 0.2, 0.2), seed: Generator | int = 0
          ) -> list[tuple[Any, Any]]:
    """Examples in disjoint parts, each with the same share of every class (stratified).

    x: (N, ...), labels: (N,), ``parts``: shares that sum to 1. Returns one pair (x, labels) for
    each part, in random order. Whole examples are dealt so that the sizes of the parts, and of
    every class within them, are as near to the shares as whole numbers allow.

    >>> x, labels = np.arange(10.0), np.repeat([0, 1], 5)
    >>> [part[1].tolist().count(0) for part in ad.data.split(x, labels)]
    [3, 1, 1]
    """
    x, labels = np.asarray(x), np.asarray(labels)
    check_pair(x, labels)
    if labels.ndim != 1:
        raise ShapeError(f"split: labels have shape (N,), not {labels.shape}")
    if min(parts, default=0.0) < 0.0 or abs(sum(parts) - 1.0) > 1e-9:
        raise ArgumentError(f"split: the parts are shares that sum to 1, not {tuple(parts)}")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, shuffled within
    ends = np.cumsum(parts)
    # Example k of the sorted order goes to the part in which its place, counted within its class,
    # falls: half a step from the ends, so that rounding favours no part.
    _, first, count = np.unique(labels[order], return_index=True, return_counts=True)
    place = (np.arange(len(x)) - np.repeat(first, count) + 0.5) / np.repeat(count, count)
    part = np.minimum(np.searchsorted(ends, place, side="right"), len(parts) - 1)
    chosen = [rng.permutation(order[part == k]) for k in range(len(parts))]
    return [(x[i], labels[i]) for i in chosen]


class Scaler(NamedTuple):
    """What `standardise` measured: called with an array, it gives (x - mean) / deviation."""

    mean: np.ndarray[Any, Any]
    deviation: np.ndarray[Any, Any]

    def __call__(self, x: Any) -> Any:
        """The standardised x."""
        return (x - self.mean) / self.deviation


def standardise(train: Any, *others: Any, common: bool = False) -> tuple[Any, ...]:
    """Features with mean 0 and deviation 1, by the statistics of the training set alone.

        y = (x - mean(train)) / std(train)

    Each array is (N, ...); the statistics are over the first axis. A feature that is constant in
    the training set is only centred. With ``common`` one deviation serves all features, so that a
    feature that hardly varies stays small: pixels are scaled so. Returns the arrays, and last the
    `Scaler` for new ones.

    >>> train, test, scaler = ad.data.standardise(np.array([[1.0], [3.0]]), np.array([[5.0]]))
    >>> train.ravel().tolist(), test.ravel().tolist()
    ([-1.0, 1.0], [3.0])
    """
    train = np.asarray(train)
    if train.ndim < 1 or not len(train):
        raise ShapeError(f"standardise: no examples to measure in an array of shape {train.shape}")
    deviation = train.std(0, dtype=np.float64)
    if common:
        deviation = np.sqrt(np.mean(deviation ** 2))
    scaler = Scaler(train.mean(0, dtype=np.float64), np.where(deviation > 0.0, deviation, 1.0))
    return (*[scaler(np.asarray(x)) for x in (train, *others)], scaler)


def batches(x: Any, labels: Any, size: int, rng: Generator | int | None = None
            ) -> Iterator[tuple[Any, Any]]:
    """Mini-batches of ``size`` examples, each example once; the last one may be smaller.

    With ``rng`` (a NumPy Generator or a seed) the order is random, without it is the order given.
    Arrays give arrays and tensors give tensors. Raises ShapeError if x and labels differ in length.

    >>> [y.tolist() for _, y in ad.data.batches(np.zeros((5, 2)), np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    x, labels = (a if isinstance(a, Box) else np.asarray(a) for a in (x, labels))
    check_pair(x, labels)
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ArgumentError(f"batches: size is an integer of at least 1, not {size!r}")
    return _cut(x, labels, int(size), rng)


def _cut(x: Any, labels: Any, size: int, rng: Generator | int | None) -> Iterator[tuple[Any, Any]]:
    count = x.shape[0]
    order = None if rng is None else np.random.default_rng(rng).permutation(count)
    for start in range(0, count, size):
        chosen = slice(start, start + size) if order is None else order[start:start + size]
        yield x[chosen], labels[chosen]


def check_pair(x: Any, labels: Any) -> None:
    """An error unless there is one label for each example."""
    if not x.shape or x.shape[:1] != labels.shape[:1]:
        raise ShapeError(f"examples of shape {x.shape} and labels of shape {labels.shape}: there "
                         "is one label for each example along the first axis")
