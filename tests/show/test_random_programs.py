"""Random programs over all operations: what is shown is the engine's, and everything prints.

The programs are those of the fuzz (`tools/fuzz`); by hand, hundreds of them were explained.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # tools/ is no installed package

from tools.fuzz import drawing, examine, programs

pytestmark = pytest.mark.filterwarnings("ignore")  # rules may overflow far from the case


def explained(seed):
    """The explanation of a random program, its function and its leaves."""
    program = drawing.draw([seed, 7]).program
    leaves = list(program.leaves.values())
    with np.errstate(all="ignore"):
        weights = examine.weights_of(program, programs.run(program, leaves), None)
    parts = programs.function(program, weights)
    leaves = [np.asarray(x) for x in leaves]

    def f(*xs):
        return sum(parts(*xs))
    return ad.explain(f, *leaves), f, leaves


def shown(e):
    """Everything that an explanation can print."""
    first = e.record.inputs[0]
    table = e.table()
    yield from (str(table), table.html(), table.latex(), table.markdown(), table.csv())
    yield from (str(e.latex(expand=True)), e.graph().svg(), e.graph().dot(), str(e.why()))
    yield from (str(e.forward(wrt=first.name)), str(e.modes()))
    yield from (str(e.steps(order)) for order in ("dfs", "topological", "index", "list"))
    if all(s.dtype.kind != "c" for s in e.record.steps):
        yield from (str(e.paths(first)), str(e.chain()))


@pytest.mark.parametrize("seed", [*range(12)])
def test_what_is_shown_is_what_the_engine_says(seed):
    e, f, leaves = explained(seed)
    wanted = [k for k, x in enumerate(leaves) if x.dtype.kind in "fc"]
    with np.errstate(all="ignore"):
        gradients = ad.grad(f, tuple(wanted))(*leaves)
    for step, gradient in zip(e.record.inputs, gradients, strict=True):
        adjoint = np.conj(e.adjoint(step))
        tight = 1e-9 if np.asarray(gradient).dtype.itemsize in {8, 16} else 1e-2
        np.testing.assert_allclose(adjoint, gradient, rtol=tight, atol=1e-9)
    for text in shown(e):
        assert len(text) > 20
