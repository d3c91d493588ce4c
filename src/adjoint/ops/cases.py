"""Valid arguments of a row: tests, fuzz, parity and documentation read them, so a new row is tested where it stands.

A `Case` is one call. What it covers (0-d, empty, broadcasting, ...) is read off its arguments by `tags`, so it cannot
be claimed; a row says in ``Cases(without={tag: reason})`` what it cannot have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Domain = tuple[float, float]
TAGS = ("0-d", "size 1", "empty", "fortran", "negative stride", "float32", "integer", "broadcast left", "broadcast right")


@dataclass(frozen=True)
class Case:
    """One valid call of a row: ``row(*args, **params)``.

    ``domain`` is "regular", "kink" (one-sided derivatives differ) or "singular" (a partial is infinite or missing);
    finite differences hold only at regular points.
    """

    args: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    domain: str = "regular"


@dataclass(frozen=True)
class Cases:
    """The generator of a row's cases, with the tags that it cannot have and why."""

    generate: Callable[[np.random.Generator], Iterable[Case]]
    without: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, rng: np.random.Generator) -> Iterator[Case]:
        return iter(self.generate(rng))


def tags(case: Case) -> set[str]:
    """What a case covers, read off its array arguments."""
    arrays = [np.asarray(a) for a in case.args if not isinstance(a, (str, tuple))]
    found = {case.domain}
    for a in arrays:
        found |= array_tags(a)
    if len(arrays) > 1:
        shape = np.broadcast_shapes(*[a.shape for a in arrays[:2]]) if broadcastable(arrays) else None
        if shape is not None and arrays[0].shape != shape:
            found.add("broadcast left")
        if shape is not None and arrays[1].shape != shape:
            found.add("broadcast right")
    return found


def array_tags(a: np.ndarray[Any, Any]) -> set[str]:
    """What one array covers."""
    facts = {
        "0-d": a.ndim == 0, "size 1": a.ndim > 0 and a.size == 1, "empty": a.size == 0,
        "fortran": a.ndim > 1 and a.flags.f_contiguous and not a.flags.c_contiguous,
        "negative stride": any(s < 0 for s in a.strides), "float32": a.dtype == np.float32,
        "integer": a.dtype.kind in "iu", "bool": a.dtype.kind == "b"}
    return {tag for tag, holds in facts.items() if holds}


def broadcastable(arrays: Sequence[np.ndarray[Any, Any]]) -> bool:
    """Whether the first two shapes broadcast."""
    try:
        np.broadcast_shapes(arrays[0].shape, arrays[1].shape)
    except ValueError:
        return False
    return True


def draw(rng: np.random.Generator, shape: tuple[int, ...], domain: Domain = (-2.0, 2.0)) -> Any:
    """Distinct values in the domain, at least a thousandth of it away from its ends and from 0."""
    low, high = domain
    x = rng.uniform(low + 0.001 * (high - low), high - 0.001 * (high - low), shape)
    x = np.where(np.abs(x) < 0.001 * (high - low), 0.1 * (high - low) * 0.5 + low * (low > 0), x)
    return x if shape else float(x)


def layouts(rng: np.random.Generator, domain: Domain = (-2.0, 2.0)) -> Iterator[Any]:
    """One array of every kind of shape and memory layout."""
    yield np.float64(draw(rng, (), domain))
    for shape in ((1,), (4,), (2, 3), (0,), (0, 3)):
        yield draw(rng, shape, domain)
    yield np.asfortranarray(draw(rng, (3, 4), domain))
    yield draw(rng, (5,), domain)[::-1]
    yield draw(rng, (3,), domain).astype(np.float32)


def integers(domain: Domain) -> np.ndarray[Any, Any]:
    """Integers of the domain, as many as there are up to four."""
    inside = [i for i in range(int(np.ceil(domain[0] + 1e-9)), int(np.floor(domain[1] - 1e-9)) + 1)]
    return np.array(inside[-4:], dtype=np.int64)


def elementwise_cases(domains: Sequence[Domain], kinks: Sequence[tuple[float, ...]] = (),
                      singular: Sequence[tuple[float, ...]] = (), without: Mapping[str, str] | None = None) -> Cases:
    """The cases of an elementwise row, from the domain of each argument and its special points."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        first, *rest = domains
        for x in layouts(rng, first):
            others = [draw(rng, x.shape, d).astype(x.dtype) if x.shape else x.dtype.type(draw(rng, (), d)) for d in rest]
            yield Case((x, *others))
        whole = integers(first)
        if whole.size:
            yield Case((whole, *[draw(rng, whole.shape, d) for d in rest]))
        if rest:
            for a, b in (((3, 1), (4,)), ((4,), (2, 1, 4)), ((), (3,)), ((2, 3), ()), ((1,), (3,)), ((3,), (1,))):
                yield Case((np.asarray(draw(rng, a, first)), np.asarray(draw(rng, b, rest[0])),
                            *[draw(rng, np.broadcast_shapes(a, b), d) for d in rest[1:]]))
            if integers(rest[0]).size:
                z = integers(rest[0])
                yield Case((draw(rng, z.shape, first), z, *[draw(rng, z.shape, d) for d in rest[1:]]))
        for points, domain in ((kinks, "kink"), (singular, "singular")):
            for point in points:
                yield Case(tuple(np.array([v, v]) for v in point), {}, domain)
    return Cases(generate, without or {})


def array_cases(*params: dict[str, Any], shapes: Sequence[tuple[int, ...]] = ((2, 3),), domain: Domain = (-2.0, 2.0),
                extra: Sequence[Case] = (), without: Mapping[str, str] | None = None, layout: bool = True) -> Cases:
    """The cases of a row with one array: each of ``params`` on each of ``shapes``, the first also on every layout."""
    def generate(rng: np.random.Generator) -> Iterator[Case]:
        for p in params:
            for shape in shapes:
                yield Case((np.asarray(draw(rng, shape, domain)),), p)
        if layout:
            for x in layouts(rng, domain):
                yield Case((x,), params[0])
            yield Case((integers((-3.0, 5.0)),), params[0])
        yield from extra
    return Cases(generate, without or {})
