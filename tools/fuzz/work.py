"""What one process does: some programs, or one mutation."""

import numpy as np

from .drawing import draw
from .examine import examine
from .mutation import caught, drawn
from .report import Failure, Tally
from .shrinking import shrink


def chunk(job):
    """The Tally of the programs ``first`` to ``last - 1``."""
    seed, first, last, names, compiled = job
    tally = Tally()
    for n in range(first, last):
        one(tally, [seed, n], names, compiled=compiled)
    return tally


def one(tally, seed, names=None, shrunk=True, compiled=False):
    """Draw and examine one program, and enter it."""
    made = draw(seed, names)
    try:
        outcome = examine(made.program, compiled=compiled)
    except Exception as e:  # noqa: BLE001 - a program that ran once must run again
        tally.failures.append(Failure(seed, names, f"{type(e).__name__}: {e}", made.program, None))
        tally.enter(made, None)
        return None
    tally.enter(made, outcome)
    if outcome.mismatches:
        small, found = (shrink(made.program, compiled=compiled) if shrunk
                        else (made.program, outcome))
        tally.failures.append(Failure(
            seed, names, f"{found.mismatches[0].kind}: {found.mismatches[0].text}", small,
            len(made.program.steps)))
    return outcome


def mutation_chunk(job):
    """One of the mutations of a seed: what was done, and whether it was found."""
    seed, n, count = job
    mutation = drawn(np.random.default_rng(seed), count)[n]
    found = caught(mutation, seed)
    if found is None:
        return f"NOT FOUND: {mutation} (it ran {mutation.ran} times)", False
    number, outcome = found
    return (f"found: {mutation}, by program {number} ({outcome.mismatches[0].kind}; "
            f"it ran {mutation.ran} times)"), True
