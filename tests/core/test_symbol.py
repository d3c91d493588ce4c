"""Tracing: the Graph computes what the function does, and nothing from outside is swallowed."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.box import Level, bind
from adjoint.core.forward import dual
from adjoint.core.node import MODES, Modes, aval, aval_of, switch
from adjoint.core.primitive import REGISTRY
from adjoint.core.symbol import Graph, Symbol, trace
from adjoint.errors import EscapeError, LevelError, MutationError
from adjoint.transforms.batching import batch

X = np.array([0.5, 1.0, 2.0])
SCALAR, VECTOR = aval((), np.dtype(float)), aval((3,), np.dtype(float))


def traced(f, *args):
    """The Graph of ``f`` for arguments like these."""
    graph, out = trace(f, *map(aval_of, args))
    graph.outputs = [out.node]
    return graph


def in_place(x):
    y = x * 1.0
    y[0] += 2.0
    y *= x
    return y


FUNCTIONS = {
    "arithmetic": lambda x: (x * 2.0 + x / 3.0 - x ** 2).sum(),
    "in place": in_place, "matmul": lambda x: x @ np.ones((3, 2)),
    "index": lambda x: x[[0, 0, 2]] * x[::-1], "where": lambda x: np.where(x > 1.0, x, -x),
    "softmax": ad.softmax, "shape": lambda x: x.reshape(3, 1).T[None],
    "grad": ad.grad(lambda v: (np.sin(v) * v).sum()),
    "grad of grad": ad.grad(lambda v: ad.grad(lambda u: (u ** 3).sum())(v).sum()),
    "jvp": lambda x: ad.jvp(np.sin, (x,), (x,))[1],
    "hvp": lambda x: ad.hvp(lambda v: (v ** 3).sum(), (x,), (x,)),
    "vjp": lambda x: ad.vjp(np.tanh, x)[1](x)[0],
    "vmap": ad.vmap(lambda v: v * v), "jacobian": ad.jacobian(np.sin),
    "vmap of grad": ad.vmap(ad.grad(np.sin)),
    "hessian": ad.hessian(lambda v: (v ** 3).sum()),
    "checkpoint": ad.grad(lambda v: ad.checkpoint(np.sin)(v).sum()),
    "constant": lambda x: x * 0.0 + np.ones(3)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_graph_gives_the_same_numbers(name):
    f = FUNCTIONS[name]
    graph = traced(f, X)
    assert len(graph.inputs) == 1
    assert not graph.closed
    for x in (X, 2.0 * X):
        np.testing.assert_allclose(graph(x)[0], f(x), rtol=1e-13)


@pytest.mark.parametrize("name", ["arithmetic", "grad", "index", "jvp", "vmap"])
def test_a_graph_can_be_transformed(name):
    f = FUNCTIONS[name]
    graph = traced(f, X)

    def again(x):
        return graph(x)[0].sum()

    def direct(x):
        return f(x).sum()
    np.testing.assert_allclose(ad.grad(again)(X), ad.grad(direct)(X))
    np.testing.assert_allclose(ad.jvp(again, (X,), (X,)), ad.jvp(direct, (X,), (X,)))
    np.testing.assert_allclose(ad.vmap(again)(np.stack([X, X])), [direct(X)] * 2)


def test_nodes_are_in_order_and_avals_are_right():
    graph = traced(FUNCTIONS["grad of grad"], X)
    known = set(graph.inputs)
    for n in graph.nodes:
        assert all(i in known or i.prim.name == "constant" for i in n.inputs)
        assert n.value is None
        known.add(n)
    env = dict.fromkeys(graph.inputs, X)
    for n in graph.nodes:
        env[n] = bind(n.prim, [env.get(i, i.value) for i in n.inputs], n.params)
        assert aval_of(env[n]).shape == n.aval.shape
        assert aval_of(env[n]).dtype == n.aval.dtype


@pytest.mark.parametrize("branch", [
    lambda x: x if x.sum() > 0 else -x, lambda x: x if bool(x[0]) else -x,
    lambda x: x * x.sum().item(), lambda x: x * x.tolist()[0], lambda x: max(x[0], x[1]),
    lambda x: ad.grad(lambda v: v if v > 0 else -v)(x[0])])
def test_python_branching_is_the_teaching_error(branch):
    with pytest.raises(EscapeError, match=r"does not exist yet.*ad.where.*ad.cond"):
        trace(branch, VECTOR)
    assert switch.armed == 0
    assert MODES.get() == Modes()


@pytest.mark.parametrize("exit_", [float, int, np.asarray, lambda x: np.array([x, x]), complex,
                                   lambda x: f"{x:.2f}", lambda x: x.detach().numpy()])
def test_no_way_out_of_a_trace(exit_):
    with pytest.raises(EscapeError):
        trace(lambda x: exit_(x) and x, SCALAR)


def test_length_iteration_shape_and_printing_work():
    graph, out = trace(lambda x: sum(v * v for v in x) * len(x) * x.shape[0], VECTOR)
    graph.outputs = [out.node]
    np.testing.assert_allclose(graph(X)[0], 9 * (X ** 2).sum())
    seen = []
    trace(lambda x: seen.append(repr(x)) or x, VECTOR)
    trace(ad.grad(lambda v: seen.append(repr(v)) or v.sum()), VECTOR)
    assert "float64[3]" in seen[0]
    assert "traced" in seen[1]


def test_a_view_is_never_written_under_a_trace():
    def write(x, view):
        r = view(x)
        r[0] = 5.0
        return r.sum() + x.sum()
    for view in (lambda x: x[:1], lambda x: x.reshape(3, 1), lambda x: x.T):
        for f in (write, lambda x, view: ad.grad(lambda v: write(v, view))(x)):
            with pytest.raises(MutationError, match="slices are values"):
                trace(lambda x, f=f, view=view: f(x, view), VECTOR)
    for view in (lambda x: x[[0, 1]], lambda x: x[:1].clone(), lambda x: x + 1.0):
        graph = traced(lambda x, view=view: write(x, view), X)
        np.testing.assert_allclose(graph(X)[0], write(ad.tensor(X), view).item())


# ---- the barrier

def closing(outside):
    """Trace a body that closes over ``outside``; the Graph, with its output set."""
    graph, out = trace(lambda x: x * outside + outside, SCALAR)
    graph.outputs = [out.node]
    return graph


def test_a_closed_over_tensor_becomes_an_input():
    w = ad.tensor(3.0, requires_grad=True)
    graph = closing(w)
    assert len(graph.inputs) == 2
    assert graph.closed[0] is w
    y = graph(2.0, w)[0]
    y.backward()
    assert (y.item(), w.grad.item()) == (9.0, 3.0)


def test_a_closed_over_dual_and_batch_become_inputs():
    y, dy = ad.jvp(lambda w: closing(w)(2.0, w)[0], (3.0,), (1.0,))
    assert (y, dy) == (9.0, 3.0)
    np.testing.assert_allclose(ad.vmap(lambda w: closing(w)(2.0, w)[0])(X), 3 * X)
    assert ad.grad(lambda w: closing(w)(2.0, w)[0])(3.0) == 3.0
    assert ad.hessian(lambda w: closing(w)(w, w)[0])(3.0) == 2.0
    with Level() as level:
        for outside in (dual(1.0, 1.0, level), batch(X, level)):
            graph = closing(outside)
            assert graph.closed[0] is outside


def test_a_closed_over_symbol_of_an_outer_trace_becomes_an_input():
    def outer(w):
        inner = closing(w)
        assert isinstance(inner.closed[0], Symbol)
        assert inner.closed[0].graph is not inner
        return inner(w, w)[0]
    graph = traced(outer, 2.0)
    assert graph(3.0)[0] == 12.0


def test_transformations_of_a_body_act_inside():
    w = ad.tensor(3.0, requires_grad=True)
    graph, out = trace(ad.grad(lambda v: v * v * w), SCALAR)
    graph.outputs = [out.node]
    assert graph.closed[0] is w
    y = graph(2.0, w)[0]
    assert y.item() == 12.0
    y.backward()
    assert w.grad.item() == 4.0


def test_a_tensor_made_in_the_body_is_a_constant_of_the_body():
    def body(x):
        return x * ad.tensor(2.0)
    graph, out = trace(body, SCALAR)
    graph.outputs = [out.node]
    assert graph(3.0, *graph.closed)[0].item() == 6.0


def test_mixing_traces_is_an_error():
    kept = []
    trace(lambda x: kept.append(x * 2.0) or x, SCALAR)
    with pytest.raises(LevelError, match="mixes values of two traces"):
        def body(x):
            return x.interpret(REGISTRY["multiply"], (x, kept[0]), {})
        trace(body, SCALAR)


def test_a_leaked_symbol_has_no_value():
    kept = []
    trace(lambda x: kept.append(x) or x, SCALAR)
    with pytest.raises(EscapeError, match=r"does not exist yet"):
        bool(kept[0])
    assert isinstance(trace(lambda x: x, SCALAR)[0], Graph)


def test_an_exception_in_the_body_ends_the_trace():
    for error in (ZeroDivisionError, KeyboardInterrupt):
        def body(x, error=error):
            raise error
        with pytest.raises(error):
            trace(body, SCALAR)
    assert switch.armed == 0
    assert MODES.get() == Modes()
