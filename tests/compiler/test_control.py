"""Branches and loops in loops: machine code and the interpreter agree, and what is taken out."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tests/compilations.py
from compilations import random_loop

import adjoint as ad
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.distribute import distributed
from adjoint.compiler.native import BASELINE
from adjoint.compiler.periods import readers_of
from adjoint.compiler.program import CONTROL, ProgramBuilder, lowered
from adjoint.compiler.reroll import rerolled
from adjoint.compiler.seeds import seeded
from adjoint.compiler.simplify import simplified
from adjoint.compiler.verify import proved
from adjoint.core.node import aval, aval_of
from adjoint.core.symbol import trace

Q = np.random.default_rng(0)
X, ROWS, W = Q.standard_normal(6), Q.standard_normal((5, 6)) * 0.3, Q.standard_normal((6, 6)) * 0.4


def flat(out):
    return [x for part in out for x in flat(part)] if isinstance(out, (tuple, list)) else [out]


def program_of(f, *args):
    """The Program of a function of arrays, as the later stages have it."""
    graph, out = trace(f, *map(aval_of, args))
    graph.outputs = [o.node for o in flat(out) if hasattr(o, "node")]
    return simplified(lowered(graph))


def near(got, expected, tolerance=1e-12):
    for x, z in zip(got, expected, strict=True):
        np.testing.assert_allclose(x, z, rtol=tolerance, atol=tolerance)


def taken(f, *args):
    """The names of the statements of a Program whose loops were thinned, which gives the same."""
    before = rerolled(program_of(f, *args))
    after = distributed(before)
    again = simplified(after)
    for program in (after, again):
        near(program(*args), before(*args), 1e-9)
    near(Compiled(again)(*args), before(*args), 1e-9)
    return before, after


def loops(program):
    return [s for s in program.statements if s.name == "loop"]


# ---- control flow in control flow

def doubled(c, r):
    return ad.while_loop(lambda s: np.sum(s ** 2) < 9.0, lambda s: s * 1.5 + 0.1, c + r) * 0.5, c


def chosen(c, r):
    return ad.cond(np.sum(r) > 0, np.sin, lambda c: c * r, c), c


def summed(c, r):
    return ad.scan(lambda h, v: (np.tanh(h + v * r), h), c, np.arange(4.0))


def last(f):
    return lambda x, rows: np.sum(ad.scan(f, x, rows)[0])


FUNCTIONS = {
    "branch": lambda x, rows: ad.cond(np.sum(x) > 0, np.sin, np.exp, x),
    "the other branch": lambda x, rows: ad.cond(np.sum(x) > 1e9, np.sin, np.exp, x),
    "branch that gives what it got": lambda x, rows: ad.cond(
        x[0] > 0, lambda x: (x, x, np.ones(6)), lambda x: (x * 2, np.zeros(6), x), x),
    "gradient of a branch": ad.grad(lambda x, rows: np.sum(ad.cond(x[1] < 0, np.sin, np.exp, x))),
    "turns not known": lambda x, rows: ad.while_loop(
        lambda c: c[0] < 30.0, lambda c: (c[0] * 2, c[1] + np.sin(c[1])), (1.5, x)),
    "no turn": lambda x, rows: ad.while_loop(lambda c: c[0] > 1e9, lambda c: c * 2, x),
    "states that change places": lambda x, rows: ad.while_loop(
        lambda c: c[2] < 5, lambda c: (c[1], c[0] * 0.5, c[2] + 1), (x, rows[0], 0)),
    "computed bounds": lambda x, rows: ad.fori_loop(
        0, np.int64(3) + (x[0] > 0), lambda i, c: c + np.sin(c) * i, x),
    "loop in a loop": lambda x, rows: ad.scan(summed, x, rows),
    "gradient of a loop in a loop": ad.grad(last(summed), (0, 1)),
    "stacks of stacks": lambda x, rows: ad.map(
        lambda r: ad.map(lambda v: np.array([1.0, 2.0]) * v, r), rows),
    "turns not known in a loop": lambda x, rows: ad.scan(doubled, x, rows),
    "branch in a loop": lambda x, rows: ad.scan(chosen, x, rows),
    "gradient of a branch in a loop": ad.grad(last(chosen), (0, 1)),
    "loop in turns not known": lambda x, rows: ad.while_loop(
        lambda c: np.sum(c) < 50.0, lambda c: ad.scan(lambda h, r: (h + r ** 2, None), c, rows)[0],
        x),
    "loop in a branch": lambda x, rows: ad.cond(
        x[0] > 9, lambda x: (x * 2, rows),
        lambda x: ad.scan(lambda h, r: (h + r ** 2, h), x, rows), x),
    "constants far inside": lambda x, rows: ad.fori_loop(0, 3, lambda i, c: ad.fori_loop(
        0, 2, lambda j, d: ad.fori_loop(0, 4, lambda k, e: np.sin(e) + k * np.arange(6.0), d) + j,
        c) + i, x),
}
BUILDS = {"host": {}, "checked": {"checked": True},
          "16 bytes": {"target": BASELINE, "fuse": False, "plan": False}}


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_control_flow(name, build):
    """All of it is machine code, and gives what the interpreter gives."""
    program = program_of(FUNCTIONS[name], X, ROWS)
    assert any(s.name in CONTROL for s in program.statements) or "stacks" in name
    compiled = Compiled(program, **BUILDS[build])
    assert not compiled.layout.called
    for _ in range(2):
        near(compiled(X, ROWS), program(X, ROWS))


def test_the_eager_values():
    for f in FUNCTIONS.values():
        near(flat(ad.jit(f)(X, ROWS)), flat(f(X, ROWS)))


# ---- what is taken out of loops

def windows(x, w, b):
    total = 0.0
    for p in range(12):
        total = np.tanh(x[:, p:p + 4] @ w + b) @ np.ones((5, 1)) + total
    return np.sum(total ** 2)


def test_a_loop_without_carries_is_none():
    args = Q.standard_normal((3, 15)), Q.standard_normal((4, 5)), Q.standard_normal(5)
    before, after = taken(ad.value_and_grad(windows, (0, 1, 2)), *args)
    assert len(loops(before)) == 2
    assert not loops(after)


def test_thin_products_are_one_behind_the_loop():
    """One vector at a time: each turn would read and write all of the weights' gradient."""
    def f(rows, w, h):
        for t in range(16):
            h = np.tanh(rows[t] + h @ w)
        return np.sum(h)
    args = Q.standard_normal((16, 1, 6)), W, Q.standard_normal((1, 6))
    before, after = taken(ad.grad(f, 1), *args)
    backward = loops(before)[-1].parameters[0], loops(after)[-1].parameters[0]
    shapes = [{body.statements[o].known.shape for o in body.outputs} for body in backward]
    assert (6, 6) in shapes[0]
    assert (6, 6) not in shapes[1]


def test_thick_products_stay():
    def f(rows, w, h):
        for t in range(16):
            h = np.tanh(rows[t] + h @ w)
        return np.sum(h)
    args = Q.standard_normal((16, 20, 6)), W, Q.standard_normal((20, 6))
    _, after = taken(ad.grad(f, 1), *args)
    body = loops(after)[-1].parameters[0]
    assert (6, 6) in {body.statements[o].known.shape for o in body.outputs}


def test_what_does_not_change_is_made_once():
    def f(x, rows, w):
        return ad.scan(lambda c, r: (np.tanh(c @ np.exp(w).T + r), None), x, rows)[0]
    before, after = taken(f, Q.standard_normal((6, 6)), Q.standard_normal((9, 6, 6)), W)
    assert "exp" in str(loops(before)[0].parameters[0].show())
    assert "exp" not in str(loops(after)[0].parameters[0].show())


def test_formulas_of_few_are_made_for_all_turns():
    """The cosines of the backward turns of a chain depend on no cotangent."""
    def f(x):
        for _ in range(60):
            x = np.sin(x) * 1.01
        return x
    before, after = taken(ad.grad(f), np.asarray(0.7))
    inside = [[s.parameters[0].show() for s in loops(p)] for p in (before, after)]
    assert any("cos" in body for body in inside[0])
    assert not any("cos" in body for body in inside[1])


@pytest.mark.parametrize("first, term", [(-0.0, -0.0), (-0.0, 0.0), (0.0, -0.0), (np.inf, -np.inf)])
def test_zeros_of_either_sign(first, term):
    """A sum from 0 of terms that are all -0 is 0, and -0 turn by turn."""
    def f(x, rows):
        return ad.scan(lambda c, r: (c + r, None), x, rows)[0]
    args = np.full(3, first), np.full((7, 3), term)
    program = program_of(f, *args)
    with np.errstate(invalid="ignore"):
        (expected,), (got,) = program(*args), distributed(program)(*args)
    assert expected.tobytes() == got.tobytes()


def test_large_turns_stay_in_their_loop():
    """All turns at once would need much memory."""
    def f(rows):
        return ad.map(lambda r: np.exp(np.sin(r) * np.cos(r)), rows)
    known = aval_of(np.broadcast_to(0.0, (50, 1000, 1000)))
    graph, out = trace(f, known)
    graph.outputs = [out.node]
    program = simplified(lowered(graph))
    assert distributed(program) is program


@pytest.mark.parametrize("statement", [
    lambda b, r: b.reduce("argmax", r, (1,)), lambda b, r: b.scan("add", r, 0),
    lambda b, r: b.copy(r, (12,)),
    lambda b, r: b.pad(r, ((1, ((0, 1),)), (0, ((1, 2),))), (5, 9), 7.0),
    lambda b, r: b.dot([(r, b.view(r, ((0, ((1, 1),)), (0, ((0, 1),))), (4, 3)))]),
    lambda b, r: b.pick(r, [b.const(np.array([2, 0])), b.const(np.array([3, 1]))]),
    lambda b, r: b.pick(b.const(np.arange(9.0)), [b.cast(b.elementwise("abs", r), int)]),
    lambda b, r: b.scatter_add(r, [b.iota((3, 4), 0, int), b.cast(b.elementwise("abs", r), int)],
                               (3, 9)),
    lambda b, r: b.select(b.elementwise("less", r, b.view(b.const(0.0), (), (3, 4))), r,
                          b.view(b.const(1.0), (), (3, 4)))],
    ids=["argmax", "scan", "copy", "pad", "dot", "pick", "pick from one", "scatter", "select"])
def test_statements_for_all_turns(statement):
    b, outer = ProgramBuilder(), ProgramBuilder()
    b.program.outputs = [statement(b, b.input(aval((3, 4), np.dtype(float)))).number]
    rows = np.clip(Q.standard_normal((5, 3, 4)) * 3, -8, 8)
    y = outer.loop(b.program, 5, [], [outer.input(aval_of(rows))])
    outer.program.outputs = [outer.item(y, 0).number]
    after = distributed(outer.program)
    assert not loops(after)
    near(after(rows), outer.program(rows))
    near(Compiled(simplified(after))(rows), outer.program(rows))


def vectors(A, x):
    for _ in range(10):
        x = np.tanh(A @ x)
    return x.sum()


def pairs(x, y):
    """Each turn makes a matrix of two vectors, which is read afterwards."""
    made = []
    for k in range(8):
        x = np.sin(x) + k
        made.append(x[:, None] * y[None, :])
    return np.stack(made) + 1.0


@pytest.mark.parametrize("f, shapes", [
    (ad.grad(vectors), ((30, 30), (30,))), (pairs, ((30,), (40,)))],
    ids=["matrix-vector", "pairs"])
def test_turns_stack_vectors_and_no_matrices_made_of_them(f, shapes):
    """Ten turns of a matrix times a vector stacked ten matrices of repeated vectors."""
    before, after = taken(f, *[Q.standard_normal(s) / 4 for s in shapes])
    for program, most in ((before, 3), (after, 2)):
        known = [k for s in loops(program) for k in (
            *s.known[s.parameters[2]:], *[program.statements[i].known for i in s.inputs])]
        assert max(len(k.shape) for k in known) == most


@pytest.mark.parametrize("seed", range(0, 36, 3))
def test_random_loops(seed):
    f, args = random_loop(seed)
    before = rerolled(program_of(ad.value_and_grad(f, (0, 1, 2, 3, 4)), *args))
    after = simplified(distributed(before))
    tolerance = 1e-9 if args[0].dtype == float else 2e-3
    with np.errstate(all="ignore"):
        expected = before(*args)
        near(after(*args), expected, tolerance)
        near(Compiled(after, checked=True)(*args), expected, tolerance)


def test_the_gradient_of_a_compiled_loop_runs_it_once():
    """The forward loop is there with what the backward one reads, and not once more without."""
    def f(x, rows):
        y, ys = ad.scan(lambda c, r: (np.tanh(c @ W + r), c * 2.0), x, rows)
        return np.sum(y * y) + np.sum(np.sin(ys))
    compiled = ad.jit(f)
    near(ad.grad(compiled, (0, 1))(X, ROWS), ad.grad(f, (0, 1))(X, ROWS))
    (plan,) = [p for plans in compiled.plans.values() for p in plans]
    (backward,) = plan.graph.derived.values()
    assert len(loops(backward.program)) == 2


def test_sums_begin_with_zero():
    """So that the first turn is like the others, and no turn stays outside."""
    args = Q.standard_normal((3, 15)), Q.standard_normal((4, 5)), Q.standard_normal(5)
    before = program_of(ad.value_and_grad(windows, (1, 2)), *args)
    after = rerolled(before)
    assert [s.parameters[1] for s in loops(after)] == [12, 12]
    assert proved(after, before)


def test_terms_that_may_be_minus_zero_get_no_zero():
    b = ProgramBuilder()
    total, *rest = [b.elementwise("negative", b.input(aval((3,), np.dtype(float))))
                    for _ in range(8)]
    for x in rest:
        total = b.elementwise("add", total, x)
    b.program.outputs = [total.number]
    live = b.program.live()
    assert seeded(b.program, live, readers_of(b.program, live)) is b.program
