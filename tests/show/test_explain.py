"""What `ad.explain` captures: names, lines, layers, values, derivatives of all programs."""

import gc
import linecache
import sys

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, GraphError, ShapeError
from adjoint.show.writing import formula
from adjoint.teach import AutogradValue, ForwardValue, Value


def survey(x1, x2):
    a = np.log(x1)
    b, c = x1 * x2, np.sin(x2)
    return a + b - c


def quartic(x):
    a = x ** 2
    b = 5 * a
    c = a * b
    return -c


def lines_of(e):
    return [(s.name, formula(s)) for s in e.record.steps]


def test_names_come_from_the_source():
    e = ad.explain(survey, 2.0, 5.0)
    assert lines_of(e) == [("x1", "x1"), ("x2", "x2"), ("a", "ln(x1)"), ("b", "x1 * x2"),
                           ("c", "sin(x2)"), ("v6", "a + b"), ("v7", "v6 - c")]


def test_names_on_request():
    e = ad.explain(survey, 2.0, 5.0, names="v")
    assert e.names == [f"v{k}" for k in range(1, 8)]
    assert e.step("v7") is e.record.output


def test_v_names_reach_named_steps_too():
    e = ad.explain(survey, 2.0, 5.0)
    assert e.step("v3") is e.step("a")


def test_every_step_knows_its_line():
    e = ad.explain(survey, 2.0, 5.0)
    place = e.step("c").place
    assert place.file == __file__
    assert place.line == survey.__code__.co_firstlineno + 2
    assert "np.sin(x2)" in place.text
    assert str(e.step("x1").place) == "no line"


def test_without_source_the_line_has_a_number():
    space = {}
    exec(compile("def g(x):\n  y = x * x\n  return y * x", "<stdin>", "exec"), space)
    e = ad.explain(space["g"], 2.0)
    assert e.names == ["x", "y", "v3"]
    assert str(e.step("y").place) == "line 2 of <stdin>"


def test_a_loop_numbers_what_recurs():
    def f(x):
        for _ in range(3):
            x = np.sin(x)
        return x
    assert ad.explain(f, 1.0).names == ["x", "x.2", "x.3", "x.4"]


def test_lists_and_inner_functions_name_too():
    def layer(w, h):
        inside = w * h
        return np.tanh(inside)

    def f(w):
        ys = []
        h = 1.0
        for _ in range(2):
            h = layer(w, h)
            ys.append(h * 2.0)
        return ys[0] + ys[1]
    assert ad.explain(f, 0.5).names == ["w", "inside", "h", "ys[0]", "inside.2", "h.2", "ys[1]",
                                        "v8"]


def test_containers_give_paths():
    e = ad.explain(lambda p: p["w"] * p["b"][0], {"w": 2.0, "b": [3.0]})
    assert set(e.names) == {"p['w']", "p['b'][0]", "v3"}
    assert e.adjoint("p['w']") == 3.0


def test_closures_and_skipped_arguments():
    w, k = ad.tensor(2.0, requires_grad=True), ad.tensor([3.0, 4.0])

    def f(x):
        return (w * x * k).sum()
    e = ad.explain(f, ad.tensor(4.0))
    kinds = {s.name: s.kind for s in [*e.record.steps, *e.record.constants]}
    assert kinds["w"] == "input"
    assert kinds["x"] == "skipped"
    assert kinds["k"] == "constant"
    assert e.adjoint("w") == 28.0


def test_constants_come_in_a_fixed_order():
    """They have no place in time; a page with a picture of them is the same each time."""
    def f(x):
        return 2.0 * x + 3.0 - 5.0 / (x - 7.0) + 11.0 * x + 13.0
    found = []
    for _ in range(8):
        kept = [object() for _ in range(137 * len(found))]  # other places in memory
        found.append([s.value for s in ad.explain(f, 1.5).record.constants])
        del kept
    assert len({tuple(map(float, each)) for each in found}) == 1
    assert found[0] == [2, 3, 7, 5, 11, 13]
    once = ad.explain(lambda x: np.mean(x) * 2.0, np.ones(5))  # the 5 is made once and kept
    again = ad.explain(lambda x: 3.0 * np.mean(x * 2.0), np.ones(5))
    assert [s.name for s in once.record.constants] == ["5", "2"]
    assert [s.name for s in again.record.constants] == ["2", "5", "3"]


def test_values_and_derivatives_are_those_of_the_engine():
    x = np.array([1.5, 2.0, 0.7])

    def f(x):
        a = x.sum()
        b = np.log(x).sum()
        return np.cos(np.exp(x / a) * b)
    e = ad.explain(f, x)
    np.testing.assert_allclose(e.value(), f(x), rtol=1e-15)
    np.testing.assert_allclose(e.adjoint("x"), ad.jacobian(f)(x), rtol=1e-13)
    np.testing.assert_allclose(e.tangent(None, wrt="x"), ad.jacobian(f)(x), rtol=1e-13)
    assert e.adjoint("a").shape == (3,)
    assert e.tangent("a", wrt="x").shape == (3,)


def test_a_cotangent_makes_a_vector_jacobian_product():
    x, v = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    e = ad.explain(lambda x: x * x.sum(), x, cotangent=v)
    np.testing.assert_allclose(e.adjoint("x"), ad.vjp(lambda x: x * x.sum(), x)[1](v)[0])
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        ad.explain(lambda x: x * x, x, cotangent=np.ones(3)).adjoint("x")


def test_a_direction_for_forward_mode():
    x, v = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    e = ad.explain(lambda x: (x * x).sum(), x)
    assert e.tangent(None, "x", v) == pytest.approx(2.0)
    with pytest.raises(ShapeError):
        e.tangent(None, "x", np.ones(3))


def test_local_partials():
    e = ad.explain(lambda x, w: np.sum((x @ w) ** 2.0), np.eye(2), np.array([3.0, 4.0]))
    np.testing.assert_allclose(e.flows.entries(e.step("v3"), 1), np.eye(2))
    np.testing.assert_allclose(e.partial("v4", "v3"), [6.0, 8.0])
    assert e.partial("v5", "v4").shape == (2,)
    assert ad.explain(lambda x: x * x, 3.0).partial("v2", "x") == 6.0
    with pytest.raises(ArgumentError, match="not computed from"):
        e.partial("v5", "x")


@pytest.mark.parametrize("kind", [float, Value, AutogradValue])
def test_teaching_classes_give_the_same_record(kind):
    x = kind(2.0)
    e = ad.explain(quartic, x)
    assert e.names == ["x", "a", "b", "c", "v5"]
    assert [float(e.value(n)) for n in e.names] == [2.0, 4.0, 20.0, 80.0, -80.0]
    assert [float(e.adjoint(n)) for n in e.names] == [-160.0, -40.0, -4.0, -1.0, 1.0]
    assert float(e.tangent(None, wrt="x")) == -160.0
    assert e.step("b").place.line == quartic.__code__.co_firstlineno + 2
    if kind is not float:
        assert x.grad == 0.0  # explaining leaves no trace


def test_a_program_that_makes_its_own_values():
    def program():
        w = Value(3.0, label="weight")
        x = Value(2.0)
        y = w * x
        return y.tanh()
    e = ad.explain(program)
    assert e.names == ["weight", "x", "y", "v4"]
    assert sys.gettrace() is None or "coverage" in repr(sys.gettrace())


def test_forward_values_keep_no_graph():
    with pytest.raises(ArgumentError, match="keeps no graph"):
        ad.explain(quartic, ForwardValue(2.0))


def test_a_training_step_is_explained_through_its_loss():
    rng = np.random.default_rng(0)
    net = ad.nn.Sequential(ad.nn.Linear(3, 4, rng=rng), ad.nn.Tanh(), ad.nn.Linear(4, 2, rng=rng))
    optimizer = ad.optim.SGD(net.parameters(), lr=0.1)
    before = net[0].weight.detach().numpy().copy()
    x, labels = np.ones((5, 3), np.float32), np.array([0, 1, 0, 1, 1])

    def step(x):
        out = net(x)
        loss = ad.nn.functional.cross_entropy(out, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    e = ad.explain(step, x)
    assert e.record.output.name == "loss"
    assert [s.name for s in e.record.inputs] == ["x", "net.0.weight", "net.0.bias", "net.2.weight",
                                                 "net.2.bias"]
    assert e.step("out").group == ("net", "2: Linear")
    assert e.record.output.group == ("cross_entropy",)
    gradient = net[0].weight.grad.numpy()
    np.testing.assert_allclose(e.adjoint("net.0.weight"), gradient, rtol=1e-6)
    np.testing.assert_allclose(before - 0.1 * gradient, net[0].weight.detach().numpy(), rtol=1e-6)
    np.testing.assert_array_equal(e.value("net.0.weight"), before)


def penalised(w, gradient):
    """A training step with a gradient penalty, as Wasserstein critics have it."""
    def critic(x):
        return np.tanh((x * w).sum()) * 2.0

    def step(x):
        g = gradient(critic, x)
        penalty = (g * g).sum()
        loss = critic(x) + 0.1 * penalty
        w.grad = None
        loss.backward()
    return step


def by_backward(f, x):
    x = ad.tensor(x, requires_grad=True)
    f(x).backward(create_graph=True)
    return x.grad


@pytest.mark.parametrize("gradient", [
    lambda f, x: ad.grad(f)(x), lambda f, x: ad.vjp(f, x)[1](1.0)[0],
    lambda f, x: ad.value_and_grad(f)(x)[1], by_backward], ids=["grad", "vjp", "value", "backward"])
def test_a_gradient_inside_the_loss_is_not_what_is_explained(gradient):
    w = ad.tensor([0.3, -0.4, 0.5], requires_grad=True)
    e = ad.explain(penalised(w, gradient), ad.tensor([1.0, 2.0, -1.0]))
    assert e.record.output.name == "loss"
    assert {"g", "penalty", "w"} <= set(e.names)
    np.testing.assert_allclose(e.adjoint("w"), w.grad.numpy(), rtol=1e-14)
    said = any("backward() began 2 times" in text for text in e.record.remarks)
    assert said == (gradient is by_backward)


def test_a_step_that_takes_its_gradients_by_functions_is_explained_by_them():
    def step(w):
        gradient = ad.grad(lambda w: (w * w).sum())(w)
        with ad.no_grad():
            w -= 0.1 * gradient
    e = ad.explain(step, np.array([1.0, 2.0]))
    assert e.value() == 5.0


def test_shared_layers_are_told_apart_by_call():
    net = ad.nn.Linear(2, 2)

    def f(x):
        for _ in range(2):
            x = net(x)
        return x.sum()
    groups = {s.group for s in ad.explain(f, np.ones(2, np.float32)).record.operations}
    assert groups == {("net",), ("net.2",), ()}


def test_second_order():
    def f(x):
        return np.sin(x) * x
    e = ad.explain(ad.grad(f), 2.0)
    assert e.value() == pytest.approx(ad.grad(f)(2.0))
    assert e.adjoint("x") == pytest.approx(ad.grad(ad.grad(f))(2.0))


def test_several_results_are_one_step_each():
    a = np.random.default_rng(1).normal(size=(3, 3))

    def f(a):
        u, s, vt = np.linalg.svd(a)
        return s.sum() + u[0, 0] + vt[1, 1]
    e = ad.explain(f, a)
    assert {"u", "s", "vt"} <= set(e.names) or {"u", "s"} <= set(e.names)
    np.testing.assert_allclose(e.adjoint("a"), ad.grad(f)(a), atol=1e-13)
    np.testing.assert_allclose(e.tangent(None, "a"), ad.grad(f)(a), atol=1e-13)


def test_zero_downstream_wins_here_too():
    def f(x):
        return np.where(x > 0, np.sqrt(x), 0.0).sum()
    x = np.array([0.0, 4.0])
    np.testing.assert_array_equal(ad.explain(f, x).adjoint("x"), ad.grad(f)(x))


def test_what_is_not_finite_is_a_value():
    e = ad.explain(lambda x: np.log(x) * 2.0, -1.0)  # no warning is raised: the tests would fail
    assert np.isnan(e.value("v2"))


def test_unused_inputs_have_adjoint_zero():
    e = ad.explain(lambda x, z: x * 2.0, 1.0, np.ones(2))
    np.testing.assert_array_equal(e.adjoint("z"), np.zeros(2))


def test_builtin_functions_have_no_source():
    e = ad.explain(np.sin, 1.0)
    assert e.adjoint(e.record.inputs[0]) == np.cos(1.0)


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: ad.explain(quartic, 2), ArgumentError, "2.0, not 2"),
    (lambda: ad.explain(lambda x: 3.0, 2.0), GraphError, "returned a constant"),
    (lambda: ad.explain(lambda x: x.detach() * 2.0, 2.0), GraphError, "detach"),
    (lambda: ad.explain(lambda x: (x, x * 2), 2.0), ArgumentError, "2 results"),
    (lambda: ad.explain(3), ArgumentError, "must be a function"),
    (lambda: ad.explain(quartic, 2.0, names="q"), ArgumentError, "'source'"),
    (lambda: ad.explain(quartic, 2.0).step("z"), ArgumentError, "no step named 'z'"),
    (lambda: ad.explain(lambda x: x * 2.0, np.ones(2000)).adjoint("x"), ArgumentError, "2,000"),
    (lambda: ad.explain(lambda x: x.sum(), np.ones(2000)).tangent(None, "x"), ArgumentError,
     "tangent=v")])
def test_mistakes_are_named(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_modes_are_as_before_after_an_error():
    def f(x):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        ad.explain(f, 2.0)
    x = ad.tensor(2.0, requires_grad=True)
    y = x * x
    assert y.node.site is None


def test_the_collector_of_cycles_is_as_before():
    e = ad.explain(quartic, 2.0)
    for wanted in (True, False):
        (gc.enable if wanted else gc.disable)()
        try:
            e.paths("x")
            e.table()
            with pytest.raises(ArgumentError):
                e.chain("nothing")
            ad.explain(quartic, 2.0).adjoint("x")
            assert gc.isenabled() is wanted
        finally:
            gc.enable()


def test_backward_inside_frees_as_before_outside():
    x = ad.tensor(2.0, requires_grad=True)

    def program():
        y = x * x
        y.backward()
    assert ad.explain(program).adjoint("x") == 4.0
    y = x * x
    y.backward()
    with pytest.raises(GraphError):
        y.backward()


def test_places_are_read_once_printed_only():
    linecache.clearcache()
    e = ad.explain(survey, 2.0, 5.0)
    assert __file__ not in linecache.cache
    assert e.step("a").place.text


def test_an_index_array_is_told_by_its_name():
    labels = np.array([0, 0, 1])
    e = ad.explain(lambda x: np.sum(x[np.arange(3), labels] * x[:, 0]), np.ones((3, 2)))
    text = e.table("forward").text(200)
    assert "x[[0 1 2], labels]" in text
    assert "x[:, 0]" in text
    assert r"\mathit{labels}" in e.latex().latex()


class Network(ad.nn.Module):
    def __init__(self, rng):
        self.first, self.second = ad.nn.Linear(3, 2, rng=rng), ad.nn.Linear(2, 1, rng=rng)

    def forward(self, x):
        return self.second(ad.relu(self.first(x)))


def test_parameters_are_named_as_the_explained_function_reaches_them():
    rng = np.random.default_rng(0)
    net, layers = Network(rng), [ad.nn.Linear(3, 3, rng=rng) for _ in range(2)]

    def whole(x):
        return net(x).sum()

    def looped(x):
        for layer in layers:
            x = layer(x)
        return x.sum()
    x = ad.Tensor(np.ones((4, 3), np.float32))
    assert [s.name for s in ad.explain(whole, x).record.inputs] == [
        "net.first.weight", "net.first.bias", "net.second.weight", "net.second.bias"]
    assert [s.name for s in ad.explain(looped, x).record.inputs] == [
        f"layers[{k}].{name}" for k in range(2) for name in ("weight", "bias")]
