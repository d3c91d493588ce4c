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
    each part, in random order. The size of a part is its share of N, rounded; of every class it
    holds that share to within two examples. Labels that are all different (a regression)
    give a plain random split. Raises ShapeError if x and labels differ in length, ArgumentError for
    shares that do not sum to 1, and for a seed that is none.

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
    rng = random_numbers("split", seed)
    shuffled = rng.permutation(len(x))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]  # by class, shuffled within
    # Every class is spread evenly from 0 to 1, half a step from the ends; then all of them together
    # are cut at the shares. Examples at the same place come in the shuffled order.
    _, first, count = np.unique(labels[order], return_index=True, return_counts=True)
    place = (np.arange(len(x)) - np.repeat(first, count) + 0.5) / np.repeat(count, count)
    rank = np.lexsort((np.argsort(shuffled)[order], place)).argsort()
    ends = np.rint(np.cumsum(parts) * len(x)).astype(int)
    part = np.minimum(np.searchsorted(ends, rank, side="right"), len(parts) - 1)
    chosen = [rng.permutation(order[part == k]) for k in range(len(parts))]
    return [(x[i], labels[i]) for i in chosen]


def random_numbers(name: str, seed: Generator | int) -> Generator:
    """A Generator, made of a seed if it is none."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name}: {seed!r} is no NumPy Generator and no seed; a seed is an "
                            "integer of at least 0") from None


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
    the training set, but for rounding, is only centred. With ``common`` one deviation serves all
    features, so that a feature that hardly varies stays small: pixels are scaled so. Returns the
    arrays, and last the `Scaler` for new ones. Raises ShapeError if there is no example, or
    features differ in shape.

    >>> train, test, scaler = ad.data.standardise(np.array([[1.0], [3.0]]), np.array([[5.0]]))
    >>> train.ravel().tolist(), test.ravel().tolist()
    ([-1.0, 1.0], [3.0])
    """
    train = np.asarray(train)
    if train.ndim < 1 or not len(train):
        raise ShapeError(f"standardise: no examples to measure in an array of shape {train.shape}")
    arrays = [np.asarray(x) for x in others]
    for x in arrays:
        if x.shape[1:] != train.shape[1:]:
            raise ShapeError(f"standardise: examples of shape {x.shape} beside training examples "
                             f"of shape {train.shape}; all axes but the first are equal")
    deviation = np.where(is_constant(train), 0.0, train.std(0, dtype=np.float64))
    if common:
        deviation = np.sqrt(np.mean(deviation ** 2))
    scaler = Scaler(train.mean(0, dtype=np.float64), np.where(deviation == 0.0, 1.0, deviation))
    return (*map(scaler, (train, *arrays)), scaler)


def is_constant(x: Any) -> Any:
    """Which features vary by no more than rounding: dividing by their deviation is noise."""
    low, high = (np.asarray(end, np.float64) for end in (x.min(0), x.max(0)))
    eps = np.finfo(x.dtype if x.dtype.kind == "f" else np.float64).eps
    return high - low <= 4.0 * eps * np.maximum(np.abs(low), np.abs(high))


def batches(x: Any, labels: Any, size: int, rng: Generator | int | None = None
            ) -> Iterator[tuple[Any, Any]]:
    """Mini-batches of ``size`` examples, each example once; the last one may be smaller.

    With ``rng`` (a NumPy Generator) the order is random and another one for every call; a seed
    gives the same order each time; without it is the order given. Arrays give arrays and tensors
    give tensors. Raises ShapeError if x and labels differ in length, ArgumentError for a size below
    1 or a seed that is none.

    >>> [y.tolist() for _, y in ad.data.batches(np.zeros((5, 2)), np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    """
    x, labels = (a if isinstance(a, Box) else np.asarray(a) for a in (x, labels))
    check_pair(x, labels)
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ArgumentError(f"batches: size is an integer of at least 1, not {size!r}")
    order = None if rng is None else random_numbers("batches", rng).permutation(x.shape[0])
    return _cut(x, labels, int(size), order)


def _cut(x: Any, labels: Any, size: int, order: Any) -> Iterator[tuple[Any, Any]]:
    count = x.shape[0]
    for start in range(0, count, size):
        chosen = slice(start, start + size) if order is None else order[start:start + size]
        yield x[chosen], labels[chosen]


def check_pair(x: Any, labels: Any) -> None:
    """An error unless there is one label for each example."""
    if not x.shape or x.shape[:1] != labels.shape[:1]:
        raise ShapeError(f"examples of shape {x.shape} and labels of shape {labels.shape}: there "
                         "is one label for each example along the first axis")
