"""Random programs and random loops, compiled, against NumPy on the statements as lowered.

What runs: 300 programs of the fuzz over all rows, each with its gradient, and 300 loops with their
gradients, by the builds of `compilations.EVERY` in turn: vectors of three widths, fused or apart,
re-rolled or not, shared among threads or not, or checked. Each build sees eleven of each.
ADJOINT_RANDOM=20000 in the environment runs so many of each; `python3 go.py fuzz --compiled` runs
programs through `ad.jit` itself.
"""

import os

import numpy as np
import pytest
from compilations import EVERY, agree_all, compiled, drawn, is_rounded, looped, outcomes, quiet

COUNT, BUNCH = int(os.environ.get("ADJOINT_RANDOM", "300")), 10
NAMES = [*EVERY]


def build_of(n):
    """The name of a build, all of them in turn."""
    return NAMES[n % len(NAMES)]


@pytest.mark.parametrize("first", range(0, COUNT, BUNCH))
@quiet
def test_random_programs_and_their_gradients(first):
    ran = 0
    for n in range(first, first + BUNCH):
        found = drawn([n, 9])
        if found is None:
            continue
        program, args = found
        with np.errstate(all="ignore"):
            outcome = outcomes(compiled(program, **EVERY[build_of(n)]), args)
            double = 1e-2 if is_rounded(program) else 1e-7
            agree_all(outcome, outcomes(program, args), double, 1e-2, 1e-8,
                      f"program {n}, {build_of(n)}")
        ran += 1
    assert ran > BUNCH // 2


@pytest.mark.parametrize("first", range(0, COUNT, BUNCH))
@quiet
def test_random_loops_and_their_gradients(first):
    for n in range(first, first + BUNCH):
        loop_agrees(n, build_of(n))


def loop_agrees(n, build):
    """A random loop by a build."""
    program, args = looped(n)
    outputs = compiled(program, **EVERY[build])(*args)
    agree_all(outputs, program(*args), 1e-9, 2e-4, 2e-4 if n % 2 else 1e-9, f"loop {n}, {build}")


# Loops that went wrong: a dot behind what its kernel stored besides; a dot read along an axis of
# one element; carries over one another; what more than twelve kernels need.
@pytest.mark.parametrize(("n", "build"), [
    (24, "128-checked"), (132, "128-checked"), (153, "512-rolled"), (157, "512-rolled")])
def test_what_failed_once(n, build):
    loop_agrees(n, build)
