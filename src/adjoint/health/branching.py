"""Kinks: points at which the one-sided derivatives differ, so that the derivative is a convention.

A row says by its field ``kink`` where it has them. Python's own branches (``max(x, 0)``, ``if x >
0``) are kinks too, which no row knows: there the truth of a comparison whose two sides are equal
tells.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from adjoint.core.box import Box
from adjoint.core.forward import Dual
from adjoint.core.node import MODES
from adjoint.core.reverse import Tracked
from adjoint.errors import ArgumentError, KinkError, KinkWarning
from adjoint.exits import bottom
from adjoint.modes import site
from adjoint.ops.protocol import COMPARE
from adjoint.show.places import located
from adjoint.tensors import untracked
from adjoint.transforms.batching import Batch

from .describing import number
from .parts import Part, concrete, element, parts, place
from .report import KINK, Finding, Report
from .watching import Block, Looker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adjoint.core.primitive import Primitive

COMPARISONS = frozenset(COMPARE.values())
HELD = 1000  # ties of comparisons whose truth may still be asked for
CONVENTION = ("the one-sided derivatives differ here, and the derivative is a convention: where it "
              "matters move the point, or choose a smooth function (ad.softplus, ad.logsumexp)")
BRANCH = ("Python takes one branch, and the derivative is that of this branch alone; np.maximum, "
          "np.minimum and np.abs have a stated derivative there, np.where chooses by element")


class Kinks(Looker):
    """Reports evaluations on a kink."""

    def __init__(self, mode: str) -> None:
        self.mode, self.ties = mode, dict[int, tuple[Any, str, tuple[str, str]]]()

    def operation(self, row: Primitive, args: Sequence[Any], params: dict[str, Any], y: Any) -> Any:
        """Ask the row whether it sits on a kink; remember a comparison of equals."""
        compared = row.name in COMPARISONS
        if (row.kink is None and not compared) or not any(map(differentiated, args)):
            return y
        if not all(map(concrete, args)):
            return y
        if compared:
            return self.compared(row, args, y)
        for batch, values in members(args):
            mask = np.asarray(row.kink(*values, **params) if row.kink is not None else False)
            if mask.any():
                self.say(row.name, tuple(batch), values, mask, CONVENTION)
                break
        return y

    def compared(self, row: Primitive, args: Sequence[Any], y: Any) -> Any:
        """Keep the tie of a comparison until Python asks for its truth."""
        values = [bottom(a) for a in args]
        if any(isinstance(v, Box) or np.size(v) != 1 for v in values):
            return y
        if not np.all(np.equal(*values)):
            return y
        y = y if isinstance(y, Box) else untracked(np.asarray(y)[()])  # NumPy's would not tell us
        if len(self.ties) >= HELD:
            self.ties.clear()
        left, right = (number(np.asarray(v).reshape(-1)[0]) for v in values)
        self.ties[id(y)] = y, row.label.text, (left, right)
        return y

    def truth(self, x: Any) -> None:
        """Python asks for the truth of ``x``: a branch."""
        tie = self.ties.get(id(x))
        if tie is None or tie[0] is not x:
            return
        _, text, operands = tie
        file, line, source = located(site())
        self.report(Finding(
            KINK, KINK, text.format("x", "z"), file, line, source, operands=operands,
            happened=f"a branch of Python at a tie: {text.format(*operands)}", remedy=BRANCH))

    def say(self, name: str, batch: tuple[int, ...], values: Sequence[Any], mask: Any, remedy: str
            ) -> None:
        """Report the first element on a kink."""
        there = place(Part("", mask), mask)
        told: list[str] = []
        for v in values:
            held = list(parts(np.asarray(v, dtype=float) if np.asarray(v).dtype.kind in "iub"
                              else np.asarray(v)))
            at = element(held[0], there) if held else None
            told.append(f"array {np.shape(v)}" if at is None else number(at))
        file, line, source = located(site())
        self.report(Finding(KINK, KINK, name, file, line, source, there.at, batch, there.shape,
                            tuple(told), remedy=remedy))

    def report(self, finding: Finding) -> None:
        """Warn, or raise."""
        text = str(Report([finding]))
        if self.mode == "raise":
            raise KinkError(text)
        warnings.warn(text, KinkWarning, stacklevel=2)


def differentiated(x: Any) -> bool:
    """Whether a derivative of ``x`` is asked for."""
    paused = MODES.get().paused
    while isinstance(x, Box) and x.level >= paused:
        if isinstance(x, Dual) or (isinstance(x, Tracked) and x.node is not None):
            return True
        x = x.value
    return False


def members(args: Sequence[Any]) -> list[tuple[tuple[int, ...], list[Any]]]:
    """The arguments as arrays, for each member of the batch (of vmap), with its indices."""
    plain = [(bottom(a), levels_of(a)) for a in args]
    sizes: dict[int, int] = {}
    for array, own in plain:
        sizes.update(zip(own, np.shape(array), strict=False))
    order = sorted(sizes)
    found: list[tuple[tuple[int, ...], list[Any]]] = []
    for index in np.ndindex(*[sizes[level] for level in order]):
        at = dict(zip(order, index, strict=True))
        found.append((index, [array[tuple(at[level] for level in own)] if own else array
                              for array, own in plain]))
    return found


def levels_of(x: Any) -> tuple[int, ...]:
    """The batch levels of the leading axes of the array in ``x``."""
    levels: tuple[int, ...] = ()
    while isinstance(x, Box):
        if isinstance(x, Batch):
            levels = (x.level, *levels)
        x = x.value
    return levels


def kinks(mode: str = "warn") -> Block:
    """A block that reports every evaluation exactly on a kink: operation, line, element, operands.

    A kink is a point where the one-sided derivatives differ: a tie of max, abs at 0, a bound of
    clip. The derivative there is a convention, which a reasoning about smooth functions does not
    have in mind. A branch of Python that is taken at a tie (``max(x, 0)``, ``if x > 0``
    at 0) is one too. Seen are values that are differentiated: tensors that require a gradient, and
    what runs under `grad`, `jvp` and their like. Also a decorator.

    Args:
        mode: "warn" (KinkWarning), "raise" (KinkError), or "off", inside another such block.

    Raises KinkError; ArgumentError for another ``mode``.

    >>> with ad.kinks("raise"):
    ...     ad.grad(np.abs)(0.5)
    1.0
    """
    if mode not in ("warn", "raise", "off"):
        raise ArgumentError(f'ad.kinks(mode): "warn", "raise" or "off", not {mode!r}')
    return Block(lambda: Kinks(mode), Kinks, on=mode != "off")
