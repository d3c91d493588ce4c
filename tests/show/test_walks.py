"""Ways to walk the graph (B18): the same gradient in every order, and visits counted."""

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError
from adjoint.show.walks import ORDERS


def survey(x1, x2):
    a = np.log(x1)
    b = x1 * x2
    c = np.sin(x2)
    return a + b - c


def diamonds(n):
    def f(x):
        for _ in range(n):
            x = x + x
        return x
    return f


def layer(w, b, x):
    product = w @ x
    return np.tanh(ad.add(b, product))


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_gives_the_gradient(order):
    e = ad.explain(survey, 2.0, 5.0)
    gradient = e.steps(order).gradient
    assert gradient == pytest.approx({"x1": 5.5, "x2": 2.0 - np.cos(5.0)}, rel=1e-15)


@pytest.mark.parametrize("order", ORDERS)
def test_arrays_and_jacobians_too(order):
    rng = np.random.default_rng(0)
    w, b, x = rng.normal(size=(2, 3)), rng.normal(size=2), rng.normal(size=3)
    e = ad.explain(layer, w, b, x)
    walk = e.steps(order)
    for name in ("w", "b", "x"):
        np.testing.assert_allclose(walk.gradient[name], e.adjoint(name), rtol=1e-14)
    assert walk.gradient["w"].shape == (2, 2, 3)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_diamonds_are_visited_once_per_path_or_once(n):
    e = ad.explain(diamonds(n), 1.0)
    assert e.steps("dfs").count == len(e.steps("dfs").visits) == 2 ** (n + 1) - 1
    for order in ("topological", "index"):
        assert e.steps(order).count == n + 1
    assert e.steps("list").count == n


def test_a_thousand_diamonds_are_counted_not_visited():
    e = ad.explain(diamonds(1000), 1.0)
    walk = e.steps("dfs")
    assert walk.count == 2 ** 1001 - 1
    assert len(walk.visits) == 100
    assert walk.gradient == {"x": 2.0 ** 1000}
    assert "more are not listed" in str(walk)


def test_the_search_visits_as_on_the_slides():
    e = ad.explain(layer, np.ones((2, 3)), np.ones(2), np.ones(3), cotangent=np.ones(2))
    assert e.steps("dfs").names == ["v6", "v5", "b", "product", "w", "x"]


def test_the_search_visits_what_asks_for_no_gradient_and_leaves_nothing_there():
    e = ad.explain(layer, np.ones((2, 3)), np.ones(2), ad.Tensor(np.ones(3)), cotangent=np.ones(2))
    walk = e.steps("dfs")
    assert walk.names == ["v5", "v4", "b", "product", "w", "x"]
    assert walk.visits[-1].cotangent is None and walk.count == 6
    assert walk.gradient.keys() == {"w", "b"} == walk.visits[-1].buffer.keys()
    assert "skipped: none is asked" in str(walk) and "6 visits of 6 steps" in str(walk)
    assert e.steps("index").count == 5


def test_the_search_goes_deep_first():
    e = ad.explain(survey, 2.0, 5.0)
    assert e.steps("dfs").names == ["v7", "v6", "a", "x1", "b", "x1", "x2", "c", "x2"]
    buffers = [v.buffer for v in e.steps("dfs").visits]
    assert buffers[3] == {"x1": 0.5}
    assert buffers[5] == {"x1": 5.5}


def test_the_engines_buffer_forgets_what_it_used():
    e = ad.explain(survey, 2.0, 5.0)
    buffers = [set(v.buffer) for v in e.steps("index").visits]
    assert buffers[0] == {"v6", "c"}
    assert buffers[-1] == {"x1", "x2"}
    kept = [set(v.buffer) for v in e.steps("topological").visits]
    assert kept[-1] == {"v7", "v6", "a", "b", "c", "x1", "x2"}


def test_the_list_meets_operations_that_the_result_does_not_need():
    def f(x):
        unused = x * 3.0
        assert unused.shape == ()
        return x * 2.0
    e = ad.explain(f, 1.0)
    walk = e.steps("list")
    assert walk.names == ["v3", "unused"]
    assert walk.gradient == {"x": 2.0}
    assert walk.visits[1].cotangent is None
    assert e.steps("index").names == ["v3", "x"]


def test_it_prints():
    e = ad.explain(survey, 2.0, 5.0)
    text = e.steps("topological").sheet().text(width=150)
    assert "x̄2 = -0.284" in text
    assert "x̄2 += 2" in text
    assert "7 visits of 7 steps" in text
    assert "<table" in e.steps("dfs")._repr_html_()


def test_mistakes_are_named():
    e = ad.explain(survey, 2.0, 5.0)
    with pytest.raises(ArgumentError, match="'dfs'"):
        e.steps("bfs")
    with pytest.raises(ArgumentError, match="limit=0"):
        e.steps(limit=0)


ORDERS = ("dfs", "topological", "index", "list")


@pytest.mark.parametrize("order", ORDERS)
def test_inputs_that_are_not_reached_have_zeros(order):
    e = ad.explain(lambda x, y: x * 2.0, np.ones(2), np.ones(3))
    gradient = e.steps(order).gradient
    np.testing.assert_array_equal(gradient["x"], 2.0 * np.eye(2))
    np.testing.assert_array_equal(gradient["y"], np.zeros((2, 3)))


@pytest.mark.parametrize("order", ORDERS)
def test_nothing_is_visited_through_what_sends_nothing_back(order):
    def f(x):
        return np.sum(x * np.heaviside(x, 0.5) + np.floor(x) * x)
    walk = ad.explain(f, np.array([0.5, 1.5])).steps(order, limit=1000)
    assert walk.count == len(walk.visits)
    np.testing.assert_array_equal(walk.gradient["x"], [1.0, 2.0])
