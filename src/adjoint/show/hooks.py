"""Hooks of the user's in a derivation: what is said of functions that are no part of a derivative.

A hook leaves the value as it is, and what goes back is whatever it answers. Tangents and products
over paths pass it by; adjoints do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .flows import Contribution, Flows
    from .record import Record, Step

LISTED = 8  # steps that a note names


def changed(flows: Flows, steps: Iterable[Step]) -> Iterator[Contribution]:
    """What went back through the hooks among some steps that have answered another cotangent."""
    hooks = {s for s in steps if s.is_hook}
    for c in flows.reverse.contributions if hooks else ():
        if c.user in hooks and not np.array_equal(c.amount, flows.adjoint(c.user), equal_nan=True):
            yield c


def hook_notes(record: Record) -> list[str]:
    """The hooks on steps and on inputs."""
    found = [f"A hook stands on {s}: what goes back through it is what it answers, tangents pass "
             "it by. Where it changes that, the adjoints before it are not derivatives."
             for s in listed([s for s in record.steps if s.is_hook])]
    leaves = [s for s in record.inputs if getattr(s.node, "hooks", None)]
    return found + [f"A hook hangs on {s}: the gradient is what it answers, the adjoint here what "
                    "it is given." for s in listed(leaves)]


def bypassed(flows: Flows, steps: Iterable[Step], what: str) -> list[str]:
    """That products of partials pass by the hooks among some steps: ``what`` is no adjoint."""
    return [f"a hook on {s} has changed what goes back, and the products pass it by: {what}"
            for s in listed([c.user for c in changed(flows, steps)])]


def listed(steps: Sequence[Step]) -> list[str]:
    """The names of some steps in a row, as the only one of a list; none for none."""
    names = [s.name for s in steps[:LISTED]]
    more = f" and {len(steps) - LISTED:,} more" if len(steps) > LISTED else ""
    return [", ".join(names) + more] if names else []
