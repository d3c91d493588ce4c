"""The chain rule as a sum over paths: against enumeration, adjoints and golden.json."""
# ruff: noqa: RET504 - an assignment gives the result its name

import json
import math
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, IndexingError
from adjoint.show.explanation import explain

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden.json").read_text())
SPECIAL = (0.0, -0.0, 1.0, -2.0, 0.5, 3.0, math.inf, -math.inf, math.nan, 1e200, 1e-200)


# ---- against the enumeration of every path

def random_program(rng, steps, special):
    """A program of additions and products with constants, some of which are not finite."""
    plan = [(rng.integers(0, k + 1), rng.integers(0, k + 1),
             float(rng.choice(SPECIAL)) if special else float(rng.normal())) for k in range(steps)]

    def f(x):
        values = [x]
        for i, j, c in plan:
            values.append(values[i] * c + values[j])
        return sum(values[1:], values[0] * 0.5)
    return f


def enumerated(graph, source, target):
    """Every path as its product, formed from the target on; by recursion, so for small graphs."""
    def ways(v):
        if v is target:
            return [1.0]
        out = []
        for e in v.uses:
            for p in ways(e.head):
                out.append(p if p == 0 else p * e.number)
        return out
    return ways(source)


def key(p):
    return (True, 0.0) if p != p else (False, abs(p))


@pytest.mark.parametrize("seed", range(40))
def test_count_total_and_the_largest_are_those_of_enumeration(seed):
    rng = np.random.default_rng(seed)
    special = seed % 2 == 1
    with np.errstate(all="ignore"):
        e = explain(random_program(rng, int(rng.integers(1, 7)), special), 1.5)
        p = e.paths("x", limit=7)
        products = enumerated(p.graph, p.source, p.target)
        adjoint = e.adjoint("x")
    assert p.count == len(products)
    best = sorted(products, key=key, reverse=True)[:7]
    assert [key(q.product) for q in p] == [key(b) for b in best]
    assert p.total == pytest.approx(adjoint, rel=1e-12, nan_ok=True)
    if not special:
        assert p.total == pytest.approx(math.fsum(products), rel=1e-9, abs=1e-12)
        assert p.absolute == pytest.approx(math.fsum(map(abs, products)), rel=1e-9)
        assert p.rest + math.fsum(q.product for q in p) == pytest.approx(p.total, abs=1e-9)
    for q in p:  # each is a way from source to target, and its factors make its product
        assert q.variables[0] is p.source
        assert q.variables[-1] is p.target
        assert len({tuple(map(id, r.edges)) for r in p}) == len(p)
        made = 1.0
        for factor in q.factors:
            made = made if made == 0 else made * factor
        assert key(made) == key(q.product)


@pytest.mark.parametrize("seed", range(12))
def test_folding_keeps_the_total(seed):
    rng = np.random.default_rng(100 + seed)
    e = explain(random_program(rng, 8, special=False), 1.5)
    kept = [s.name for s in e.record.operations][:: int(rng.integers(2, 5))]
    p = e.paths("x", group=kept, limit=10_000)
    names = {v.name for v in p.graph.variables}
    assert names <= {*kept, "x", p.target.name}
    assert p.count == len(p)
    assert math.fsum(q.product for q in p) == pytest.approx(float(e.adjoint("x")), rel=1e-10)
    for v in p.graph.variables:
        assert len({edge.tail for edge in v.sources}) == len(v.sources)


# ---- totals are adjoints, arrays and elements too

W = np.array([[1.0, 0.0], [-0.5, 2.0], [0.0, 0.25]])
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def attention(x):
    s = x @ x.T
    p = np.exp(s) / np.sum(np.exp(s), axis=1, keepdims=True)
    return np.sum((p @ x) ** 2)


PROGRAMS = {
    "broadcast": lambda x: np.sum(x * x[0] + 1.0),
    "matmul": lambda x: np.sum(np.tanh(W @ x)),
    "relu": lambda x: np.sum(ad.relu(x) * x),
    "sort": lambda x: np.sum(np.sort(x, axis=1) * np.arange(3.0)),
    "max": lambda x: np.max(x) * np.min(x),
    "cumulative": lambda x: np.sum(np.cumsum(x) * np.cumprod(x.ravel())),
    "slices": lambda x: np.sum(x[:, 1:] * x[:, :-1]),
    "where": lambda x: np.sum(np.where(x > 0, np.sqrt(abs(x)), x)),
    "norm": lambda x: np.linalg.norm(x) + np.linalg.det(x[:, :2]),
    "join": lambda x: np.sum(np.concatenate([x, 2 * x]) ** 2),
    "several": lambda x: (np.sum(np.linalg.svd(x, full_matrices=False)[1] ** 2)
                          + np.linalg.slogdet(x[:, :2])[1]),
    "attention": attention,
    "scalars": lambda x: np.sum(x) * np.mean(x) - x[0, 0] / x[1, 2],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_totals_are_adjoints(name):
    e = explain(PROGRAMS[name], X)
    whole = e.adjoint("x")
    p = e.paths("x")
    np.testing.assert_allclose(p.total, whole, rtol=1e-12, atol=1e-12)
    if len(p) == p.count:
        np.testing.assert_allclose(sum(q.product for q in p), whole, rtol=1e-10, atol=1e-10)
    for i in np.ndindex(X.shape):
        q = e.paths(f"x[{i[0]}, {i[1]}]", limit=3)
        assert q.total == pytest.approx(whole[i], rel=1e-9, abs=1e-11)
        assert q.count >= 1


def test_grouped_arrays_sum_to_the_adjoint_and_factors_multiply():
    def f(x, b):
        h = ad.relu(W @ x)
        g = h * h[0] + b
        return np.sum(g * h)
    e = explain(f, X, 0.5)
    p = e.paths("x", group=True)
    assert sorted(q.names[1:-1] for q in p) == [("h",), ("h", "g")]
    np.testing.assert_allclose(sum(q.product for q in p), e.adjoint("x"), rtol=1e-12)
    for q in p:
        made = np.eye(1)
        for factor in q.factors:
            made = made @ factor
        np.testing.assert_allclose(made.reshape(X.shape), q.product, rtol=1e-12, atol=1e-12)
    assert sum(q.share for q in p) == pytest.approx(1.0)


def test_results_with_axes():
    def f(x):
        y = W @ x
        return y * y
    e = explain(f, np.array([1.0, -2.0]))
    p = e.paths("x")
    assert p.count == 2
    assert p.total.shape == (3, 2)
    np.testing.assert_allclose(p.total, e.adjoint("x"), rtol=1e-12)
    np.testing.assert_allclose(p[0].product + p[1].product, e.adjoint("x"), rtol=1e-12)
    np.testing.assert_allclose(e.paths("x", of=1).total, e.adjoint("x")[1], rtol=1e-12)
    one = e.paths("x[0]", of=1)
    assert one.total == pytest.approx(e.adjoint("x")[1, 0], rel=1e-12)
    assert one.count == 2
    v = explain(f, np.array([1.0, -2.0]), cotangent=np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(v.paths("x").total, v.adjoint("x"), rtol=1e-12)
    np.testing.assert_allclose(e.paths("x", "y").total, W, rtol=1e-12)


def test_a_cotangent_begins_each_product():
    e = explain(lambda x: x * x, 3.0, cotangent=2.0)
    p = e.paths("x")
    assert [q.product for q in p] == [6.0, 6.0]
    assert p.total == e.adjoint("x") == 12.0
    assert "cotangent 2" in str(p)


# ---- structure: who reads whom

def test_a_zero_by_value_is_an_edge_and_a_zero_by_structure_is_none():
    e = explain(lambda x: ad.relu(W @ x), np.array([-1.0, -1.0]))
    d = e.influence(elements=True, group=False)
    pairs = {(a.tail.name, a.head.name): a.factor for a in d.edges}
    assert pairs["x[1]", "v2[0]"] == 0.0  # a weight that is 0
    assert pairs["v2[0]", "v3[0]"] == 0.0  # a dead unit
    assert ("v2[0]", "v3[1]") not in pairs
    assert len(pairs) == 6 + 3
    by_weights = explain(lambda w: np.sum(w @ np.ones(2)), W).influence(elements=True, group=False)
    reads = {(a.tail.name, a.head.name) for a in by_weights.edges if a.head.name.startswith("v2")}
    assert reads == {(f"w[{i}, {j}]", f"v2[{i}]") for i in range(3) for j in range(2)}


@pytest.mark.parametrize(("f", "count"), [
    (np.cumsum, 6), (np.sort, 9), (np.diff, 4), (np.max, 3), (lambda x: x[::-1], 3),
    (lambda x: x[:, None] * x, 18), (lambda x: np.concatenate([x, x]), 6),
])
def test_which_elements_read_which(f, count):
    d = explain(f, np.array([3.0, 0.0, -1.0])).influence(elements=True, group=False)
    last = [a for a in d.edges if a.head.step is d.target[0].step]
    assert len(last) == count


# ---- worked examples

def product_reading(x):
    a = np.sum(x)
    b = np.sum(np.log(x))
    y = np.cos(np.exp(x) * a / b)
    L = np.sum(y)
    return L


def exponent_reading(x):
    a = np.sum(x)
    b = np.sum(np.log(x))
    y = np.cos(np.exp(x * a) / b)
    L = np.sum(y)
    return L


def product_of_numbers(x1, x2, x3):
    xs = [x1, x2, x3]
    a = x1 + x2 + x3
    b = np.log(x1) + np.log(x2) + np.log(x3)
    y = [np.cos(np.exp(x) * a / b) for x in xs]
    L = y[0] + y[1] + y[2]
    return L


@pytest.mark.parametrize(("name", "f"), [("made_up_product", product_reading),
                                         ("made_up_exponent", exponent_reading)])
@pytest.mark.parametrize("group", [True, ("a", "b", "y")])
def test_seven_paths(name, f, group):
    golden = GOLDEN[name]
    e = explain(f, np.array(golden["inputs"]["x"], float))
    d = e.influence(elements=True, group=group, first=1)
    assert [v.name for v in d.variables] == ["x1", "x2", "x3", "a", "b", "y1", "y2", "y3", "L"]
    assert len(d.edges) == 18
    p = e.paths("x1", "L", elements=True, group=group, first=1)
    expected = {k: v["f64"] for k, v in golden["dL_dx1_paths"].items()}
    assert p.count == len(p) == 7
    assert {"->".join(q.names) for q in p} == set(expected)
    for q in p:
        assert q.product == pytest.approx(expected["->".join(q.names)], rel=0, abs=1e-12)
        assert math.prod(q.factors) == pytest.approx(q.product, rel=1e-14)
        assert q.share == pytest.approx(q.product / p.total)
    assert p.total == pytest.approx(golden["dL_dx1_sum_of_paths"]["f64"], rel=0, abs=1e-12)
    assert p.rest == 0
    assert e.paths("x[0]", group=group).total == p.total


def test_seven_paths_of_numbers():
    golden = GOLDEN["made_up_product"]
    p = explain(product_of_numbers, *golden["inputs"]["x"]).paths("x1", group=("a", "b", "y"))
    expected = {k: v["f64"] for k, v in golden["dL_dx1_paths"].items()}
    found = {"->".join(q.names).replace("y[0]", "y1").replace("y[1]", "y2").replace("y[2]", "y3"):
             q.product for q in p}
    assert found == pytest.approx(expected, rel=0, abs=1e-12)


def test_total_derivative():
    def f(x, w):
        z = x * w
        y = x**2 + x * np.sin(z)
        return y
    golden = GOLDEN["total_derivative"]
    e = explain(f, golden["inputs"]["x"], golden["inputs"]["w"])
    p = e.paths("x", "y", group="z")
    assert p.formula() == "dy/dx = ∂y/∂x + ∂y/∂z · ∂z/∂x"
    assert p.formula(latex=True).startswith(r"\frac{d y}{d x} = \frac{\partial y}{\partial x} + ")
    assert p.total == pytest.approx(golden["tangents"]["d/dx"]["y"]["f64"], rel=0, abs=1e-12)
    direct, through = p
    x, w = 1.5, 0.5
    assert direct.product == pytest.approx(2 * x + math.sin(x * w), abs=1e-12)
    assert through.factors == pytest.approx([x * math.cos(x * w), w], abs=1e-12)
    assert all("w" not in q.names for q in p)


def test_an_operand_that_stands_twice_is_two_paths():
    p = explain(lambda x: x * x, 3.0).paths("x")
    assert p.count == 2
    assert [q.product for q in p] == [3.0, 3.0]
    assert [e.position for q in p for e in q.edges] in ([0, 1], [1, 0])
    assert explain(lambda x: x * x, 3.0).paths("x", group=True)[0].factors == [6.0]

    def quartic(x):
        a = x * x
        b = 5 * a
        c = a * b
        L = -c
        return L
    q = explain(quartic, 2.0).paths("a", "c")  # dc/da = b + 5 a = 5a + 5a
    assert sorted(path.product for path in q) == [20.0, 20.0]
    assert q.total == 40.0


def test_shared_weights_have_a_path_for_each_use():
    def scan(w, x1, x2, x3):
        h = [np.tanh(w @ x) for x in (x1, x2, x3)]
        return np.sum(h[0]) + np.sum(h[1]) * np.sum(h[2])
    x = np.array([0.3, -0.2])
    e = explain(scan, W, x, 2 * x, 3 * x)
    p = e.paths("w")
    assert p.count == 3
    np.testing.assert_allclose(sum(q.product for q in p), e.adjoint("w"), rtol=1e-12)


# ---- counts beyond enumeration

@pytest.mark.parametrize("levels", [1_000, 10_000])
def test_a_chain_of_diamonds(levels):
    def diamonds(x):
        for _ in range(levels):
            x = x * 0.5 + x * 0.5
        return x
    p = explain(diamonds, 1.0).paths("x")
    assert p.count == 2**levels
    assert p.total == 1.0
    assert len(p) == 10
    assert p[0].product == 0.5**levels
    assert len({tuple(map(id, q.edges)) for q in p}) == 10
    assert p.rest == pytest.approx(1.0)
    assert "paths from x" in str(p)


def test_arrays_with_too_many_paths_say_so():
    def diamonds(x):
        for _ in range(30):
            x = np.sin(x) + x
        return np.sum(x)
    e = explain(diamonds, np.array([0.5, 1.0]))
    p = e.paths("x", limit=4)
    assert p.count == 2**30
    assert not p.exact
    assert len(p) == 4
    np.testing.assert_allclose(p.total, e.adjoint("x"), rtol=1e-12)
    assert "not surely the largest" in str(p)


# ---- shares and what is said about them

def test_cancelling_paths():
    p = explain(lambda x: 3.0 * x - 2.0 * x, 1.0).paths("x")
    assert [q.share for q in p] == [3.0, -2.0]
    assert p.absolute == 5.0
    assert p.cancels
    assert "opposite sign" in str(p)
    zero = explain(lambda x: x - x, 1.0).paths("x")
    assert zero.total == 0
    assert zero[0].share is None
    assert "the paths cancel each other" in str(zero)
    dead = explain(lambda x: ad.relu(x) * 2.0, -1.0).paths("x")
    assert "every path carries 0" in str(dead)


def test_no_path():
    def f(x, y):
        a = 2.0 * y
        return a * x
    p = explain(f, 1.0, 2.0).paths("x", "a")
    assert (p.count, len(p), p.total) == (0, 0, 0.0)
    assert "does not depend" in str(p)
    assert p.formula() == "da/dx = 0"


def test_a_path_without_edges():
    p = explain(lambda x: x * 2.0, 3.0).paths("x", "x")
    assert (p.count, p.total, p[0].names) == (1, 1.0, ("x",))


def test_zero_downstream_cancels_what_is_infinite_upstream():
    e = explain(lambda x: np.where(x > 0, np.sqrt(x), x), 0.0)
    p = e.paths("x")
    assert p.total == e.adjoint("x") == 1.0
    assert sorted(q.product for q in p) == [0.0, 1.0]


def test_printing():
    e = explain(lambda x: np.sin(x) * x, 2.0)
    p = e.paths("x")
    sheet = p.sheet()
    assert sheet.dict()["rows"][0]["product"] == p[0].product
    for text in (sheet.markdown(), sheet.latex(), sheet.html(), sheet.csv(), p._repr_html_()):
        assert "x" in text
    assert "v2 = sin(x)" in str(p)
    assert "∂v2/∂x" in str(e.influence(group=False))
    assert e.influence(group=False).find("v2").sources[0].text == "cos(x)"


# ---- bad input

@pytest.mark.parametrize(("ask", "kind", "says"), [
    (lambda e: e.paths("z"), ArgumentError, "no step named"),
    (lambda e: e.paths("x[7]"), IndexingError, r"shape \(3,\)"),
    (lambda e: e.paths("x[3]"), IndexingError, r"shape \(3,\)"),
    (lambda e: e.paths("x[-4]"), IndexingError, r"shape \(3,\)"),
    (lambda e: e.paths("x[0, 1]"), IndexingError, r"shape \(3,\)"),
    (lambda e: e.paths("x", elements=True), ArgumentError, r"x\[0\]"),
    (lambda e: e.paths("x", limit=0), ArgumentError, "limit"),
    (lambda e: e.paths("x", of=1.5), ArgumentError, "of="),
    (lambda e: e.paths("x", group=("nothing",)), ArgumentError, "no step named"),
    (lambda e: e.paths("x[0]", first=2), ArgumentError, "first"),
    (lambda e: e.paths("x[0]", "h"), ArgumentError, "name one of them"),
])
def test_bad_input(ask, kind, says):
    def f(x):
        h = np.sin(x)
        return np.sum(h * x)
    with pytest.raises(kind, match=says):
        ask(explain(f, np.arange(3.0)))


def test_too_many_elements_and_complex_steps():
    e = explain(lambda x: np.sum(np.sin(x)), np.ones(2_000))
    with pytest.raises(ArgumentError, match="at most 1,000"):
        e.paths("x[0]")
    assert e.paths("x").total.shape == (2_000,)
    with pytest.raises(ArgumentError, match="real and imaginary"):
        explain(lambda z: np.abs(z * z), 1.0 + 2.0j).paths("z")


def test_a_norm_is_shown_of_arrays_alone():
    def f(x, w):
        return np.sum(np.tanh(w * x))
    e = explain(f, 2.0, np.array([1.0, 0.5]))
    assert "norm" not in str(e.paths("x").sheet().dict())
    assert "norm" in str(e.paths("w").sheet().dict())


def test_a_long_influence_says_how_many_edges_are_left_out():
    d = ad.explain(lambda x: np.sin(x) * x + x, 2.0).influence(group=False)
    assert len(d.sheet(limit=None).dict()["rows"]) == len(d.edges) == 5
    few = d.sheet(limit=2)
    assert len(few.dict()["rows"]) == 2
    assert "3 edges are left out" in str(few)
