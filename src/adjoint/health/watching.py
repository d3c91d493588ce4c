"""How a block sees what happens in it: operations, sweeps, and Python's branches.

A `Watch` stands in the context's Modes, behind ``switch.armed``: `bind` hands it every operation,
`modes.sweep` every sweep, `Box.__bool__` every truth that Python asks for. While it works it takes
itself out, so the steps that an interpreter makes inside (levels below, rules) are not seen twice.
"""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import bind
from adjoint.core.node import MODES, Mode, Modes
from adjoint.core.reverse import sweep
from adjoint.modes import site

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from adjoint.core.primitive import Primitive

ASIDE: dict[str, Any] = {"watch": None, "tapes": ()}  # what a block has changed


class Looker:
    """Somebody who looks: a doctor, or who reports kinks. Each hook may be left as it is."""

    quiet = False  # NumPy's own warnings are left out: the looker says more

    @property
    def by_results(self) -> bool:
        """Whether a compiled function may run as it is, if its results are looked at."""
        return False

    def wrong(self, outs: Sequence[Any]) -> bool:
        """Whether the results of a compiled function are worth a second run, step by step."""
        return bool(outs)

    def operation(self, row: Primitive, args: Sequence[Any], params: dict[str, Any], y: Any) -> Any:
        """See one operation; returns its result."""
        return y

    def truth(self, x: Any) -> None:
        """See that Python asks whether ``x`` is true."""

    def moved(self, n: Any, dxs: Sequence[Any], dy: Any) -> None:
        """See the tangents of a recorded step: `linearize` pushes them through its graph."""

    def sweep(self, seeds: Mapping[Any, Any], retain: bool, record: Any) -> dict[Any, Any]:
        """See one sweep; returns its result."""
        return sweep(seeds, retain, record)


class Watch:
    """Those who look at what happens in a context: at most one of each kind."""

    __slots__ = ("lookers", "quiet")

    def __init__(self, lookers: tuple[Looker, ...]) -> None:
        self.lookers, self.quiet = lookers, any(looker.quiet for looker in lookers)

    @property
    def by_results(self) -> bool:
        """Whether all are content with the results of compiled functions."""
        return all(looker.by_results for looker in self.lookers)

    def wrong(self, outs: Sequence[Any]) -> bool:
        """Whether one of them wants to see how the results of a compiled function are made."""
        return any(looker.wrong(outs) for looker in self.lookers)

    @contextmanager
    def resting(self) -> Generator[None]:
        """A block in which nobody looks."""
        with aside(), np.errstate(all="ignore" if self.quiet else None):
            yield

    def replaced(self, watch: Watch | None) -> Watch | None:
        """What looks in a block inside; ``watch`` is made of these lookers and its own."""
        return watch

    def __call__(self, row: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        """Apply ``row`` and look at what came out."""
        with aside():
            if self.quiet:
                with np.errstate(all="ignore"):
                    y = bind(row, args, params)
            else:
                y = bind(row, args, params)
            for looker in self.lookers:
                y = looker.operation(row, args, params, y)
        return y

    def truth(self, x: Any) -> None:
        """Python asks whether ``x`` is true."""
        with aside():
            for looker in self.lookers:
                looker.truth(x)

    def moved(self, n: Any, dxs: Sequence[Any], dy: Any) -> None:
        """A tangent went through the recorded step ``n``."""
        with aside():
            for looker in self.lookers:
                looker.moved(n, dxs, dy)

    def sweep(self, seeds: Mapping[Any, Any], retain: bool, record: Any) -> dict[Any, Any]:
        """A sweep begins; who has something to see in it runs it."""
        own = [k for k in self.lookers if type(k).sweep is not Looker.sweep]
        with aside():
            return (own[0].sweep if own else sweep)(seeds, retain, record)


@contextmanager
def aside() -> Generator[None]:
    """Without the Watch of this context; `armed` stays as it is, because the block is still on.

    It is noted as a block, so that it lasts when blocks inside it end.
    """
    before = MODES.get()
    MODES.set(before._replace(watch=None, blocks=(*before.blocks, ASIDE)))
    try:
        yield
    finally:
        MODES.set(before)


class Sink:
    """A tape that holds nothing; where one is on, every Node keeps its values while it lives."""

    idle = True

    def append(self, n: Any) -> None:
        """Let the Node go."""
        del n


def entered(make: Callable[[], Looker], kind: type[Looker], on: bool, modes: Modes) -> Modes:
    """``modes`` with a new looker in the place of the one of its kind."""
    before = modes.watch.lookers if modes.watch is not None else ()
    others = tuple(k for k in before if not isinstance(k, kind))
    lookers = (*others, make()) if on else others
    tapes = (*modes.tapes, Sink()) if on and kind.quiet else modes.tapes
    watch = Watch(lookers) if lookers else None
    if modes.watch is not None:
        watch = modes.watch.replaced(watch)
    return modes._replace(watch=watch, site=modes.site or site, tapes=tapes)


class Block(Mode):
    """A block, or a decorator, in which a looker looks."""

    def __init__(self, make: Callable[[], Looker], kind: type[Looker], on: bool = True,
                 answer: Any = None) -> None:
        self.renew, self.answer = functools.partial(Block, make, kind, on, answer), answer
        super().__init__(functools.partial(entered, make, kind, on))

    def __enter__(self) -> Any:
        super().__enter__()
        return self.answer

    def __call__(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Run ``f`` in a block of its own, each time."""
        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self.renew():
                return f(*args, **kwargs)
        return wrapped
