"""A failing program made as small as it stays failing."""

from dataclasses import replace

import numpy as np

from .examine import examine
from .programs import OURS, Bare, Feed, Given, Group, Pick, made, run

TRIALS = 300


def shrink(program, order=2, compiled=False):
    """The smallest program found that still has a mismatch, and its Outcome."""
    budget = [TRIALS]

    def failing(candidate):
        if budget[0] <= 0 or not candidate.steps:
            return None
        budget[0] -= 1
        try:
            out = examine(candidate, order, compiled=compiled)
        except Exception:  # noqa: BLE001 - a candidate that does not run is no smaller program
            return None
        return out if out.mismatches else None

    best = program, examine(program, order, compiled=compiled)
    for change in (fewer_outputs, without_blocks, own_leaves, constants, fewer_leaves):
        again = True
        while again:
            again = False
            for candidate in change(best[0]):
                out = failing(candidate)
                if out is not None:
                    best, again = (candidate, out), True
                    break
    return best


def fewer_outputs(program):
    """Only one step counts, and what it needs; or half of them."""
    numbers = [s.number for s in program.steps] if program.outputs is None else list(
        program.outputs)
    if len(numbers) < 2:
        return
    for n in numbers:
        yield needed(replace(program, outputs=(n,)))
    half = len(numbers) // 2
    yield needed(replace(program, outputs=tuple(numbers[:half])))
    yield needed(replace(program, outputs=tuple(numbers[half:])))


def needed(program):
    """The program without the steps that nothing reads."""
    wanted, steps = set(program.outputs), []
    for s in reversed(program.steps):
        if s.number in wanted:
            steps.append(s)
            wanted |= {key[1] for key in s.sources() if key[0] == "y"}
    return program.with_steps(reversed(steps))


def without_blocks(program):
    """Nothing inside another row."""
    if program.blocks:
        yield replace(program, blocks=())


def replaced(program, position, new, leaves=None):
    """The program with argument ``(step, argument, part)`` replaced, and what nobody reads gone."""
    k, a, p = position
    steps = list(program.steps)
    arguments = list(steps[k].arguments)
    if p is None:
        arguments[a] = new
    else:
        parts = list(arguments[a].parts)
        parts[p] = new
        arguments[a] = Group(tuple(parts))
    steps[k] = replace(steps[k], arguments=tuple(arguments))
    found = replace(program, leaves=leaves or program.leaves, steps=tuple(steps))
    return needed(found) if found.outputs is not None else found


def movable(program):
    """The arguments that are made of earlier values, the last first."""
    for k in reversed(range(len(program.steps))):
        for a, argument in enumerate(program.steps[k].arguments):
            if isinstance(argument, Group):
                for p, part in enumerate(argument.parts):
                    if isinstance(part, (Feed, Pick)):
                        yield (k, a, p), part
            elif isinstance(argument, (Feed, Pick)):
                yield (k, a, None), argument


def own_leaves(program):
    """An argument becomes a leaf of its own: nothing before it is needed."""
    with np.errstate(all="ignore"):
        values = run(program, program.leaves.values())
        for position, argument in movable(program):
            value = made(argument, values, OURS, None)
            if isinstance(argument, Feed) and np.asarray(value).dtype.kind == "f":
                name = ("x", 1 + max(n for _, n in program.leaves))
                yield replaced(program, position, Bare(name), program.leaves | {name: value})


def constants(program):
    """An argument becomes a constant."""
    with np.errstate(all="ignore"):
        values = run(program, program.leaves.values())
        for position, argument in movable(program):
            yield replaced(program, position, Given(made(argument, values, OURS, None)))


def fewer_leaves(program):
    """Leaves that nothing reads go."""
    used = {key for s in program.steps for key in s.sources()}
    kept = {key: x for key, x in program.leaves.items() if key in used}
    if kept and len(kept) < len(program.leaves):
        yield replace(program, leaves=kept)
