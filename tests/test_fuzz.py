"""Random programs over all operations, in small; the large run is `python -m tools.fuzz`.

A seed that failed once goes to REGRESSIONS with the operations that it needs: then it draws the
same program for good, whatever operations are added.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # tools/ is no installed package

from tools.fuzz import drawing, examine, mutation, programs, report, shrinking, work

pytestmark = pytest.mark.filterwarnings("ignore")  # rules may overflow far from the case
SEED, PROGRAMS = 20_261, 120
# (seed, operations): programs that had a mismatch.
REGRESSIONS = [
    (3, ("linalg._adjugate_slope",)),  # a rounding error of a value that is 0
    (0, ("item",)),  # a constant beside what is differentiated, among several values
    (0, ("nansum",)),
]


@pytest.fixture(scope="module")
def tally():
    found = report.Tally()
    for n in range(PROGRAMS):
        work.one(found, [SEED, n])
    return found


def test_random_programs_agree(tally):
    assert not tally.failures, "\n".join(map(report.described, tally.failures[:3]))


def test_most_steps_are_checked_at_both_orders(tally):
    derivatives = sum(n for name, n in tally.occurs.items() if name in programs.operations()
                      and not programs.operations()[name].nondiff)
    assert sum(tally.first.values()) > 0.8 * derivatives
    assert sum(tally.second.values()) > 0.6 * derivatives


def test_leaves_have_every_layout(tally):
    assert set(tally.leaves) == {"0-d", "size 1", "empty", "zero stride", "fortran",
                                 "negative stride", "not contiguous"}
    assert set(tally.flavours) == set(drawing.FLAVOURS)


def test_the_table_counts_every_operation(tally):
    table = tally.table()
    for name in report.everything():
        assert f"\n{name} " in "\n" + table
    for reason in {why for _, why in tally.rejects}:
        assert reason in table


@pytest.mark.parametrize("seed, names", REGRESSIONS)
def test_what_failed_once(seed, names):
    found = report.Tally()
    work.one(found, seed, names)
    assert not found.failures, report.described(found.failures[0])


def test_a_seed_over_given_operations_ignores_the_others():
    names = ("sin", "multiply")
    first, again = (drawing.draw(5, names).program for _ in range(2))
    assert {s.name for s in first.steps} <= set(names)
    assert programs.source(first, {}) == programs.source(again, {})


# ---------------------------------------------------------------- it can fail

def test_wrong_rules_are_found():
    for wrong in mutation.drawn(np.random.default_rng(3), 5):
        found = mutation.caught(wrong, SEED)
        assert found is not None, f"not found: {wrong}"
        assert wrong.ran, "the wrong rule was never used"


def test_a_right_derivative_of_order_one_is_not_enough():
    wrong = mutation.Mutation("sin", "vjp", "detach", 0)
    program = one_step("sin", [0.3, -0.2])
    assert not examine.examine(program).mismatches
    with mutation.mutated(wrong):
        assert not examine.examine(program, order=1).mismatches
        assert examine.examine(program).mismatches
    assert not examine.examine(program).mismatches, "the right rule is back"


def test_a_failure_is_shrunk_to_the_wrong_step_and_printed_as_python(capsys):
    wrong = mutation.Mutation("arctan", "vjp", "scale", 0)
    names = ("sin", "arctan", "add", "exp")
    with mutation.mutated(wrong):
        seed = next(n for n in range(100) if len(drawing.draw(n, names).program.steps) > 4
                    and examine.examine(drawing.draw(n, names).program).mismatches)
        made = drawing.draw(seed, names).program
        small, outcome = shrinking.shrink(made)
        text = report.described(report.Failure(seed, names, "", small, len(made.steps)))
        exec(compile(text, "shrunk", "exec"), {})
    assert outcome.mismatches
    assert [s.name for s in small.steps] == ["arctan"]
    assert "derivatives of f: NOT ok" in capsys.readouterr().out


def one_step(name, x):
    """A program that applies one operation to a leaf."""
    step = programs.Step(0, name, (programs.Bare(("x", 0)),))
    return programs.Program(0, None, {("x", 0): np.asarray(x)}, (step,))


# ---------------------------------------------------------------- points without a reference

@pytest.mark.parametrize("x, reason", [
    (0.0, "kink"), (1e-9, "kink"), (2e-8, "kink")])
def test_points_near_a_kink_are_rejected_and_counted(x, reason):
    found = examine.examine(one_step("abs", [x]))
    assert not found.mismatches
    rejected = [why for (order, why), n in found.rejects.items() if order == "first"]
    assert found.first or any(reason in why or "ill-conditioned" in why for why in rejected)
    if x == 0.0:
        assert rejected == ["kink"]


def test_a_singular_point_is_no_reference():
    found = examine.examine(one_step("sqrt", [1e-300]))
    assert not found.first
    assert sum(found.rejects.values())


@pytest.mark.parametrize("claimed, missed, rejected", [(1.0, 0, 1), (1.1, 0, 0), (1.2, 1, 0)])
def test_differences_that_contradict_are_confirmed_by_finer_ones(claimed, missed, rejected):
    """Coarse steps may agree with one another by luck; the slope here is 1, and 1.1 for them."""
    e = examine.Examination(one_step("sin", 0.3))
    one = np.ones(1)
    e.compare(claimed * one, lambda scale: lambda h: h * (1.0 if abs(h) < 1e-4 else 1.1) * one, one,
              1e-3 * one, "first")
    assert (len(e.out.mismatches), sum(e.out.rejects.values())) == (missed, rejected)


def test_nothing_but_differences_sees_a_rule_that_is_wrong_in_both_modes():
    """The two modes agree with each other; the differences do not."""
    program = one_step("tanh", [0.3])
    with mutation.mutated(mutation.Mutation("tanh", "vjp", "sign", 0)), \
            mutation.mutated(mutation.Mutation("tanh", "jvp", "sign", 0)):
        found = examine.examine(program)
    assert [m.kind for m in found.mismatches][:1] == ["first order, differences"]


def test_blocks_run_inside_rows_of_functions():
    """Not each of them is recorded: a block may hold integers only."""
    for n in range(200):
        made = drawing.draw([SEED, n]).program
        if not made.blocks or made.flavour != "double":
            continue
        xs = [ad.tensor(x, requires_grad=True) for x in made.leaves.values()]
        with ad.tape() as tape:
            programs.run(made, xs, wrapped=True)
        if made.blocks[0][0] in {n.prim.name for n in tape}:
            return
    raise AssertionError("no block of 200 programs was recorded")
