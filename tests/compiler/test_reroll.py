"""The stage that re-rolls: what becomes a loop, what does not, and that nothing changes."""

import sys

import numpy as np
import pytest
from compilations import random_loop

import adjoint as ad
from adjoint.compiler import reroll, verify
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.periods import Run, runs
from adjoint.compiler.program import Program, ProgramBuilder, Statement, lowered
from adjoint.compiler.reroll import rerolled
from adjoint.compiler.simplify import simplified
from adjoint.compiler.verify import proved, unrolled
from adjoint.core.node import aval, aval_of
from adjoint.core.symbol import trace

COMPILED = range(0, 30, 8)  # seeds of the loops that run as machine code too


def program_of(f, *args):
    """The simplified Program of a function of arrays."""
    graph, out = trace(f, *map(aval_of, args))
    graph.outputs = [o.node for o in flat(out) if hasattr(o, "node")]
    return simplified(lowered(graph))


def flat(out):
    if isinstance(out, (tuple, list)):
        return [x for part in out for x in flat(part)]
    return [out]


def loops(program):
    """Turns and statements of each loop's body, but for its inputs."""
    return [(s.parameters[1], sum(b.name not in {"input", "const"} for b in map(
        s.parameters[0].statements.__getitem__, s.parameters[0].live())))
        for s in program.statements if s.name == "loop"]


def check(f, *args, native=False, ordered=True):
    """The re-rolled Program, which gives what it gave; also as machine code.

    Without ``ordered`` sums may be in another order.
    """
    before = program_of(f, *args)
    after = rerolled(before)
    if after is not before:
        assert proved(after, before)
    with np.errstate(all="ignore"):
        expected = before(*args)
        for got, want in zip(after(*args), expected, strict=True):
            tight = 0.0 if ordered else 2e-4 if want.dtype.itemsize < 8 else 1e-12
            np.testing.assert_allclose(got, want, rtol=tight, atol=tight)
        if native:
            for got, want in zip(Compiled(after)(*args), expected, strict=True):
                loose = 2e-4 if want.dtype.itemsize < 8 else 1e-9
                np.testing.assert_allclose(got, want, rtol=loose, atol=loose)
    return after


# ---- stretches that repeat

@pytest.mark.parametrize(("text", "found"), [
    ("xxabcabcabcabcabcabcabcabcyy", [(2, 3, 24)]),
    ("a" * 30, [(0, 1, 30)]),
    ("abc" * 3 + "xyz", []),
    ("ab" * 12 + "q" + "cde" * 9, [(0, 2, 24), (25, 3, 27)]),
    ("aab" * 10, [(0, 3, 30)]),
    ("abcdefgh" * 3, [])])
def test_periods(text, found):
    assert [tuple(r) for r in runs([ord(c) for c in text])] == found


def test_turns_of_a_run():
    assert Run(1, 2, 7).turns(list(range(9))) == [[1, 2], [3, 4], [5, 6]]


# ---- what becomes a loop

def test_chain():
    def f(x):
        for _ in range(500):
            x = np.sin(x) * 1.01
        return x
    after = check(f, 0.7, native=True)
    assert loops(after) == [(500, 2)]
    assert [s.name for s in after.statements] == ["input", "loop", "item"]


def test_chain_and_its_gradient():
    def f(x):
        y = x
        for _ in range(300):
            y = np.sin(y) * 1.01
        return y
    after = check(ad.value_and_grad(f), 0.7, native=True)
    assert [turns for turns, _ in loops(after)] == [300, 298]
    assert len(after.live()) < 30


def test_rnn_and_its_gradient():
    rng = np.random.default_rng(0)
    Wx, Wh, b, x, h = [rng.normal(size=s).astype(np.float32) * 0.3 for s in (
        (3, 8), (8, 8), (8,), (30, 4, 3), (4, 8))]

    def f(Wx, Wh, b, x, h):
        for t in range(30):
            h = np.tanh(x[t] @ Wx + h @ Wh + b)
        return np.mean(h * h)
    after = check(ad.value_and_grad(f, (0, 1, 2)), Wx, Wh, b, x, h, native=True)
    assert [turns for turns, _ in loops(after)] == [30, 29]
    (forward, backward) = [s for s in after.statements if s.name == "loop"]
    body = [s.name for s in forward.parameters[0].statements if s.name != "input"]
    assert body == ["dot", "view", "elementwise", "elementwise"]
    # The partials 1 - h h are computed where they are read, from the states that are kept.
    assert [k.shape for k in forward.known] == [(4, 8), (30, 4, 8)]
    assert sorted(k.shape for k in backward.known) == [(3, 8), (4, 8), (8,), (8, 8)]


def test_windows_that_slide():
    rng = np.random.default_rng(0)
    x, W, v = rng.normal(size=(3, 25)), rng.normal(size=(6, 4)), rng.normal(size=(4, 2))

    def f(x, W, v):
        y = 0.0
        for p in range(20):
            y = y + np.tanh(x[:, p:p + 6] @ W) @ v
        return np.sum(y * y)
    after = check(ad.value_and_grad(f, (1, 2)), x, W, v, native=True)
    assert [turns for turns, _ in loops(after)] == [20, 20]
    rows = [s for s in after.statements if s.name == "view" and s.known.shape == (20, 3, 6)]
    assert ((0, ((1, 1),)), (0, ((0, 1), (2, 1)))) in [s.parameters[0] for s in rows]


def recurrence(x, h, W):
    for t in range(30):
        h = np.tanh(x[t] @ W + h)
    return np.mean(h * h)


def test_the_gradient_of_slices_is_one_pad():
    rng = np.random.default_rng(0)
    x, h, W = rng.normal(size=(30, 4, 3)), rng.normal(size=(4, 8)), rng.normal(size=(3, 8))
    before = program_of(ad.grad(recurrence), x, h, W)
    after = check(ad.grad(recurrence), x, h, W, native=True)
    assert [turns for turns, _ in loops(after)] == [30, 29]
    pads = [[p.statements[n].name for n in p.live()].count("pad") for p in (before, after)]
    assert pads == [30, 2]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_zeros_of_either_sign_in_a_sum_of_pads(sign):
    b = ProgramBuilder()
    x, y, z = np.array([0.0, -0.0, sign, np.inf]), np.full((30, 4), -sign), np.full((30, 4), -0.0)
    state, rows, total = [b.input(aval_of(a)) for a in (x, y, z)]
    for t in range(30):
        row = b.view(rows, ((t, ()), (0, ((0, 1),))), (4,))
        state = b.elementwise("multiply", state, row)
        pad = b.pad(state, ((t, ()), (0, ((0, 1),))), (30, 4), 0.0)
        total = b.elementwise("add", total, pad)
    b.program.outputs = [total.number]
    after = rerolled(b.program)
    assert loops(after) == [(30, 1)]
    with np.errstate(all="ignore"):
        got, want = after(x, y, z)[0], b.program(x, y, z)[0]
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


def test_a_complex_zero_beside_a_loop():
    def f(x, z):
        for _ in range(40):
            x = ad.sin(x) * 1.01
        return x, z + np.complex128(0)
    assert len(loops(check(f, 0.7, np.array([1 + 2j, complex(-0.0, -0.0)])))) == 1


def test_pads_that_overlap_are_one_scatter():
    def f(x, w):
        y = 0.0
        for p in range(20):
            y = y + np.tanh(x[p:p + 3] * w)
        return np.sum(y * y)
    args = np.arange(22.0) / 9, np.array([0.5, -1.0, 2.0])
    after = check(ad.grad(f, (0, 1)), *args, native=True, ordered=False)
    assert len(loops(after)) == 2
    (scatter,) = [s for s in after.statements if s.name == "scatter_add"]
    assert scatter.known.shape == (22,)
    assert len(after.live()) < 90


def test_results_that_are_stacked():
    def f(x, w):
        return np.sum(np.stack([np.tanh(np.sum(x[t:t + 4] * w)) for t in range(24)]) ** 2)
    after = check(f, np.arange(27.0) / 9, np.array([0.5, -1.0, 2.0, 0.1]), native=True)
    assert len(after.live()) < 24


def test_training_steps_of_a_network():
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(8, 5)), rng.normal(size=(8, 2))
    parameters = [rng.normal(size=s) * 0.3 for s in ((5, 6), (6,), (6, 2), (2,))]

    def loss(W, b, V, c, X, Y):
        return np.mean((np.tanh(X @ W + b) @ V + c - Y) ** 2)

    def f(*args):
        parameters, data = args[:4], args[4:]
        for _ in range(12):
            gradient = ad.grad(loss, (0, 1, 2, 3))(*parameters, *data)
            parameters = [p - 0.1 * g for p, g in zip(parameters, gradient, strict=True)]
        return tuple(parameters)
    after = check(f, *parameters, X, Y, native=True)
    assert [turns for turns, _ in loops(after)] == [12]
    assert len([n for n in after.live() if after.statements[n].name == "dot"]) <= 8


def test_numbers_that_differ_become_a_table():
    def f(x):
        for t in range(30):
            x = np.sin(x) * (0.5 + 0.01 * t)
        return x
    after = check(f, np.arange(3.0), native=True)
    assert loops(after) == [(30, 3)]
    (table,) = [c for c in after.constants if np.shape(c)]
    np.testing.assert_array_equal(table, 0.5 + 0.01 * np.arange(30))


@pytest.mark.parametrize("divide", [True, False])
def test_numbers_that_a_rule_would_treat_apart(divide):
    def f(x):
        for t in range(24):
            x = np.cos(x) / (t + 1) if divide else np.cos(x) * (t - 3.0) + x * (t * 0.25)
        return np.sum(x)
    after = check(ad.value_and_grad(f), np.arange(3.0), native=True)
    assert len(loops(after)) == 2
    assert min(turns for turns, _ in loops(after)) >= (22 if divide else 17)


def test_every_other_row_backwards():
    x = np.arange(120.0).reshape(60, 2)

    def f(x):
        y = x[59]
        for t in range(58, 0, -2):
            y = np.sin(y) + x[t] * y
        return y
    after = check(f, x, native=True)
    (view,) = [s for s in after.statements if s.name == "view" and len(s.known.shape) == 2]
    assert view.parameters[0] == ((58, ((0, -2),)), (0, ((1, 1),)))
    assert loops(after) == [(29, 3)]


def test_what_each_turn_makes_is_stacked():
    def f(x):
        made = []
        for _ in range(12):
            x = np.sin(x) * 2.0 - 0.3
            made.append(x)
        return np.stack(made)
    check(f, np.arange(3.0))


def test_states_that_change_places():
    def f(x, z):
        for _ in range(20):
            x, z = np.sin(z), x * 0.5
        return x, z
    after = check(f, np.arange(3.0), np.ones(3), native=True)
    assert [turns for turns, _ in loops(after)] == [20]


def test_only_the_last_value_is_kept_if_only_that_is_read():
    def f(x):
        for _ in range(20):
            y = np.sin(x) * x
            x = np.cos(y)
        return x, y
    after = check(f, np.arange(3.0), native=True)
    (loop,) = [s for s in after.statements if s.name == "loop"]
    assert [k.shape for k in loop.known] == [(3,), (3,)]


def test_a_read_over_two_turns_is_two_carries():
    def f(u, v, c):
        for _ in range(40):
            u, v = v, 2.0 * v - u + c * (np.roll(v, 1) - v)
        return np.sum(v * u)
    args = np.linspace(0.0, 1.0, 6), np.linspace(1.0, 0.0, 6) ** 2, np.full(6, 0.1)
    after = check(f, *args, native=True)
    ((turns, size),) = loops(after)
    (loop,) = [s for s in after.statements if s.name == "loop"]
    assert turns == 38
    assert [k.shape for k in loop.known] == [(6,), (6,)]
    assert size <= 12
    after = check(ad.grad(f, (0, 1, 2)), *args, native=True)
    assert len(loops(after)) == 2
    assert len(after.live()) < 120


def test_a_state_of_four_turns_ago():
    def f(x):
        past = [x, x * 2.0, x * 3.0, x * 4.0]
        for _ in range(30):
            past.append(np.sin(past[-1]) - past[-4] * 0.1 + past[-2])
        return past[-1] + past[-3]
    check(f, np.arange(3.0), native=True)
    check(ad.grad(lambda x: np.sum(f(x))), np.arange(3.0), native=True)


# ---- programs as users write them

def gru(x, W, U):
    h = np.zeros((4, 6))
    for t in range(24):
        z = ad.sigmoid(x[t] @ W[:, :6] + h @ U[:, :6])
        r = ad.sigmoid(x[t] @ W[:, 6:12] + h @ U[:, 6:12])
        n = np.tanh(x[t] @ W[:, 12:] + (r * h) @ U[:, 12:])
        h = (1 - z) * n + z * h
    return np.sum(h ** 2)


def lstm(x, W, U, b):
    h, c, out = np.zeros((4, 6)), np.zeros((4, 6)), 0.0
    for t in range(24):
        z = x[t] @ W + h @ U + b
        i, f, g, o = z[:, :6], z[:, 6:12], z[:, 12:18], z[:, 18:]
        c = ad.sigmoid(f) * c + ad.sigmoid(i) * np.tanh(g)
        h = ad.sigmoid(o) * np.tanh(c)
        out = out + np.sum(h * h)
    return out


def runge_kutta(y, A):
    def slope(y):
        return np.tanh(A @ y) - 0.1 * y
    for _ in range(24):
        k1 = slope(y)
        k2 = slope(y + 0.05 * k1)
        k3 = slope(y + 0.05 * k2)
        k4 = slope(y + 0.1 * k3)
        y = y + 0.1 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.sum(y * y)


def adam(w, X, y):
    m, v = np.zeros(5), np.zeros(5)
    for t in range(1, 25):
        g = X.T @ (X @ w - y) / 8
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.01 * (m / (1 - 0.9 ** t)) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
    return np.sum((X @ w - y) ** 2)


def descent(w, X, y):
    m = np.zeros(5)
    for _ in range(24):
        m = 0.9 * m + ad.grad(lambda w: np.mean((X @ w - y) ** 2))(w)
        w = w - 0.1 * m
    return np.sum(w * w)


def kalman(y, A, C, q):
    m, P, likelihood = np.zeros(3), np.eye(3), 0.0
    for t in range(24):
        m, P = A @ m, A @ P @ A.T + q * np.eye(3)
        s, e = C @ P @ C + 0.5, y[t] - C @ m
        K = P @ C / s
        m, P = m + K * e, P - K[:, None] * (C @ P)[None, :]
        likelihood = likelihood + e * e / s + np.log(s)
    return likelihood


def rosenbrock(x):
    return sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(24))


def every_other(x, W):
    h = np.zeros(5)
    for t in range(24):
        h = np.tanh(W @ h + x[t])
        if t % 2:
            h = h * 1.5 + 0.1
    return np.sum(h)


SHAPES = {gru: ((24, 4, 3), (3, 18), (6, 18)), lstm: ((24, 4, 3), (3, 24), (6, 24), (24,)),
          runge_kutta: ((5,), (5, 5)), adam: ((5,), (8, 5), (8,)), descent: ((5,), (8, 5), (8,)),
          kalman: ((24,), (3, 3), (3,), ()), rosenbrock: ((25,),), every_other: ((24, 5), (5, 5))}
NATIVE = {gru, rosenbrock}


@pytest.mark.parametrize("f", SHAPES, ids=lambda f: f.__name__)
def test_gradients_of_loops(f):
    rng = np.random.default_rng(0)
    args = [np.asarray(rng.normal(size=s) * 0.4) for s in SHAPES[f]]
    if f is kalman:
        args[3] = np.array(0.3)
    wanted = tuple(range(len(args)))
    before = program_of(ad.value_and_grad(f, wanted), *args)
    after = check(ad.value_and_grad(f, wanted), *args, native=f in NATIVE, ordered=False)
    assert len(loops(after)) == 2
    assert len(after.live()) < len(before.live()) / 3.5


# ---- what does not

def test_little_stays_as_it_is():
    def f(x):
        for _ in range(5):
            x = np.sin(x) * 2.0
        return x
    before = program_of(f, 0.3)
    assert rerolled(before) is before


def test_what_runs_by_python_stays_outside():
    def f(x):
        for _ in range(10):
            x = np.linalg.inv(x) * 2.0 + x.T * 0.5
        return x
    after = check(f, np.eye(2) + 0.1)
    assert not loops(after)


def test_loops_that_are_there_stay():
    graph, out = trace(lambda a: (np.sin(a),), aval((3,), np.dtype(float)))
    graph.outputs = [o.node for o in out]
    b = ProgramBuilder()
    x = y = b.input(aval((3,), np.dtype(float)))
    y = b.item(b.loop(graph, 5, [y], []), 0)
    for _ in range(40):
        y = b.elementwise("sin", y)
    b.program.outputs = [y.number]
    after = rerolled(b.program)
    assert [s.parameters[1] for s in after.statements if s.name == "loop"] == [5, 40]
    np.testing.assert_array_equal(after(np.ones(3))[0], b.program(np.ones(3))[0])
    assert x.number in after.inputs


# ---- the proof

def changed(program, change):
    """A Program with one statement of its loop's body changed."""
    after = Program()
    for s in program.statements:
        if s.name == "loop":
            body = Program()
            body.inputs, body.outputs = s.parameters[0].inputs, s.parameters[0].outputs
            body.constants = s.parameters[0].constants
            body.statements = [change(inner) for inner in s.parameters[0].statements]
            s = s._replace(parameters=(body, *s.parameters[1:]))
        after.statements.append(s)
    after.inputs, after.outputs, after.constants = (
        program.inputs, program.outputs, program.constants)
    return after


def test_a_wrong_loop_is_not_proved(monkeypatch):
    def f(x, z):
        for t in range(20):
            x = np.sin(x) - z[t] * x
        return x
    before = program_of(f, np.ones(3), np.ones((20, 3)))
    after = rerolled(before)
    assert proved(changed(after, lambda s: s), before)
    padded = program_of(ad.grad(recurrence), *[np.ones(n) for n in ((30, 4, 3), (4, 8), (3, 8))])
    rolled = rerolled(padded)
    assert proved(rolled, padded)
    astray = changed(rolled, lambda s: s)
    k = [s.name == "pad" and s.known.shape == (30, 4, 3) and len(
        astray.statements[s.inputs[0]].known.shape) == 3 for s in astray.statements].index(True)
    s = astray.statements[k]
    for index in (((0, ((0, 1),)), *s.parameters[0][1:]),
                  (s.parameters[0][0], (0, ((2, 1),)), (0, ((2, 1),)))):
        astray.statements[k] = s._replace(parameters=(index, *s.parameters[1:]))
        assert not proved(astray, padded)
    wrongs = [
        lambda s: s._replace(parameters=("cos",)) if s.parameters == ("sin",) else s,
        lambda s: s._replace(inputs=s.inputs[::-1]) if s.parameters == ("subtract",) else s,
        lambda s: Statement("elementwise", (0, 0), ("multiply",), s.known)
        if s.parameters == ("multiply",) else s]
    for wrong in wrongs:
        assert not proved(changed(after, wrong), before)
    monkeypatch.setattr(reroll, "with_loops", lambda *_: changed(after, wrongs[0]))
    assert rerolled(before) is before


def test_a_stack_read_as_a_whole_is_no_proof():
    b = ProgramBuilder()
    x = b.input(aval((3,), np.dtype(float)))
    body = ProgramBuilder()
    a = body.input(aval((3,), np.dtype(float)))
    body.program.outputs = [body.elementwise("sin", a).number] * 2
    stack = b.item(b.loop(body.program, 4, [x], []), 1)
    b.program.outputs = [b.reduce("add", stack, (0,)).number]
    same = ProgramBuilder()
    same.program.outputs = [same.input(aval((3,), np.dtype(float))).number]
    assert not proved(b.program, same.program)
    with pytest.raises(verify.UnknownRow):
        unrolled(b.program)


def test_unrolled_is_what_it_was():
    def f(x, z):
        for t in range(20):
            x = np.sin(x) - z[19 - t] * x
        return x
    before = program_of(f, np.ones(3), np.ones((20, 3)))
    again = unrolled(rerolled(before))
    assert len(again.statements) == len(before.statements)
    functions = [s.parameters for s in again.statements if s.name == "elementwise"]
    assert functions.count(("sin",)) == 20


# ---- lines, and time

def test_bodies_know_their_lines():
    def f(x):
        for _ in range(20):
            x = np.sin(x)
            x = x * 1.5
        return x
    with ad.sites():
        before = program_of(f, np.ones(3))
    after = rerolled(before)
    (loop,) = [s for s in after.statements if s.name == "loop"]
    body, first = loop.parameters[0], f.__code__.co_firstlineno
    lines = {body.statements[n].parameters[0]: {ad.line_of(site)[1] for site in sites}
             for n, sites in body.sites.items() if body.statements[n].name == "elementwise"}
    assert lines == {"sin": {first + 2}, "multiply": {first + 3}}
    (n,) = [n for n, s in enumerate(after.statements) if s.name == "loop"]
    assert {ad.line_of(site)[1] for site in after.sites[n]} == {first + 2, first + 3}


def calls(f, *args):
    """How many Python functions a call runs."""
    count = 0

    def profile(frame, event, arg):
        nonlocal count
        count += event == "call"
    sys.setprofile(profile)
    try:
        f(*args)
    finally:
        sys.setprofile(None)
    return count


def test_time_is_linear():
    def gradient_of_chain(n):
        def f(x):
            h = x
            for _ in range(n):
                h = np.sin(h * x) + x
            return h
        return program_of(ad.value_and_grad(f), 0.3)
    small, large = gradient_of_chain(80), gradient_of_chain(480)
    assert calls(rerolled, large) <= 6.5 * calls(rerolled, small)
    assert len(rerolled(large).live()) == len(rerolled(small).live())


def test_stretches_that_nearly_repeat_are_read_once():
    words = [[5, 6, 7, 8] * 3 + [k] for k in range(100, 400)]
    text = [x for word in words for x in word] * 3  # three times the whole: too few
    reads = 0

    class Counted(list):
        def __getitem__(self, at):
            nonlocal reads
            reads += not isinstance(at, slice)
            return super().__getitem__(at)
    assert runs(Counted(text)) == []
    assert reads < 20 * len(text)


# ---- random loops

@pytest.mark.parametrize("seed", range(30))
def test_random_loops_and_their_gradients(seed):
    f, args = random_loop(seed)
    check(ad.value_and_grad(f, (1, 2, 3)), *args, native=seed in COMPILED)
    check(ad.grad(f, (0, 4)), *args, native=seed in COMPILED, ordered=False)


def test_most_random_loops_are_rolled():
    rolled = 0
    for seed in range(12):
        f, args = random_loop(seed)
        rolled += bool(loops(rerolled(program_of(ad.value_and_grad(f, (1, 2, 3)), *args))))
    assert rolled >= 11
