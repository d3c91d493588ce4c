"""What `ad.explain` prints is true: of hooks, complex numbers, Jacobians, names, and bad settings.

Every number is compared with one that is computed without the library's rules: by hand, by NumPy,
or by differences.
"""
# ruff: noqa: RET504 - an assignment gives the result its name

from __future__ import annotations

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, DTypeError, ShapeError


def square(x):
    return x * x


# ---- settings that cannot be

@pytest.mark.parametrize("rows", [-1, 0, 1.5, True, "all"])
def test_a_count_of_rows_that_is_none_is_refused_at_the_call(rows):
    e = ad.explain(square, 2.0)
    for call in (e.table, e.forward):
        with pytest.raises(ArgumentError, match="write how many rows"):
            call(rows=rows)


@pytest.mark.parametrize("whole", ["yes", 2])
def test_whole_is_true_or_false(whole):
    e = ad.explain(square, 2.0)
    for call in (e.table, e.forward):
        with pytest.raises(ArgumentError, match="whole=True"):
            call(whole=whole)


@pytest.mark.parametrize("depth", [-1, 0.5, "a", True])
def test_layers_are_collapsed_at_a_depth(depth):
    with pytest.raises(ArgumentError, match="collapse"):
        ad.explain(square, 2.0).graph(collapse=depth)


@pytest.mark.parametrize("limit", [-1, 0, "a", True])
def test_a_limit_is_a_count(limit):
    e = ad.explain(square, 2.0)
    for call in (e.steps, e.chain().sheet, e.influence().sheet):
        with pytest.raises(ArgumentError, match="limit"):
            call(limit=limit)


def test_a_cotangent_is_looked_at_when_it_is_given():
    x = np.array([1.0, 2.0, 3.0])
    with pytest.raises(ShapeError, match=r"shape \(2,\)"):
        ad.explain(square, x, cotangent=np.ones(2))
    for wrong in ("a", [None, 1.0, 2.0], 1j * np.ones(3)):
        with pytest.raises(DTypeError, match="cotangent"):
            ad.explain(square, x, cotangent=wrong)
    given = ad.explain(square, x, cotangent=ad.Tensor([1.0, 0.0, 2.0]))
    assert given.adjoint("x").tolist() == [2.0, 0.0, 12.0]


# ---- what the caller set

def test_the_errstate_of_the_caller_holds():
    def f(x):
        return np.log(x) + x
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        ad.explain(f, -1.0)
    seen = []
    with np.errstate(invalid="call", call=lambda kind, _: seen.append(kind)):
        ad.explain(f, -1.0)
    assert seen == ["invalid value"]


@pytest.mark.filterwarnings("error")
def test_nothing_is_warned_of_where_the_caller_set_nothing():
    assert np.isnan(ad.explain(lambda x: np.log(x) + x, -1.0).value())


# ---- hooks

def hooked(x):
    a = x * x
    a.register_hook(lambda d: d * 10.0)
    y = 2.0 * a
    return y


def clipped(x):
    a = x * x
    a.register_hook(lambda d: np.clip(d, -1.0, 1.0))
    return 2.0 * a.sum()


def test_forward_mode_passes_by_a_hook():
    e = ad.explain(hooked, 3.0)
    row = next(r for r in e.forward("x").dict()["rows"] if r["step"] == "a")
    assert row["tangent"] == 6.0 and row["numbers"] == "6"
    assert row["rule"] == "a\u0307 = v\u03072"
    assert e.tangent(None, "x") == 12.0  # d(2 x^2)/dx at 3
    assert "tangents pass it by" in str(e.forward("x"))


def test_a_hook_has_no_factor_in_the_reverse_trace():
    table = ad.explain(hooked, 3.0).table("reverse")
    row = next(r for r in table.dict()["rows"] if "hook" in r["rule"])
    assert row["adjoint"] == 20.0
    text = table.text(160)
    assert "hook(2) = 20" in text and "∂a/∂v2" not in text and "A hook stands on a" in text


def test_products_over_paths_are_the_derivative_and_say_so():
    e = ad.explain(hooked, 3.0)
    for p in (e.paths("x"), e.paths("x", group=True)):
        assert p.total == 12.0 != e.adjoint("x") == 120.0
        assert sum(path.product for path in p) == 12.0
        assert "a hook on a has changed what goes back" in " ".join(p.notes)
    chain = e.chain()
    assert chain["x"] == 12.0 and [float(line.factor) for line in chain] == [2.0, 6.0]
    assert "a hook on a" in " ".join(chain.sheet().notes)
    assert e.partial("a", "v2") == 1.0


@pytest.mark.parametrize("elements", [False, True])
def test_a_hook_on_an_array_is_an_identity_in_paths(elements):
    e = ad.explain(clipped, np.array([1.0, -2.0, 3.0]))
    p = e.paths("x[1]" if elements else "x", elements=elements)
    expected = 4.0 * np.array([1.0, -2.0, 3.0])
    assert np.array_equal(p.total, expected[1] if elements else expected) and p.count == 2
    assert np.array_equal(e.adjoint("x"), expected / 2.0)  # clipped: 1, not 2
    assert "hook" not in p[0].formulas and ("I" in p[0].formulas or elements)


def test_latex_writes_a_hook_as_a_function():
    e = ad.explain(hooked, 3.0)
    latex = str(e.latex())
    assert r"\frac{\partial a}" not in latex and r"\mathrm{hook}(\bar{a}) = 20" in latex
    assert r"a hook: no derivative" in latex


def test_why_tells_of_a_hook_and_the_picture_names_it():
    e = ad.explain(hooked, 3.0)
    said = str(e.why("x"))
    assert e.why("x").kinds[:2] == ["gradient", "hook"]
    assert "dy/dx" not in said and "turns 2 into 20" in said
    assert ">hook<" in e.graph().svg() and "= 10" not in e.graph().svg()


def test_a_hook_that_answers_nothing_changes_nothing_that_is_said():
    def f(x):
        a = x * x
        a.register_hook(lambda d: None)
        return 2.0 * a
    e = ad.explain(f, 3.0)
    assert e.paths("x").total == e.adjoint("x") == 12.0
    assert "hook" not in " ".join(e.paths("x").notes) and "hook" not in e.why("x").kinds


def test_the_users_function_is_asked_in_the_sweep_alone():
    asked = []

    def f(x):
        a = x * x
        a.register_hook(lambda d: asked.append(float(d)))
        return 2.0 * a
    e = ad.explain(f, 3.0)
    for said in (e.table(), e.forward(), e.paths("x"), e.chain(), e.latex(), e.why()):
        str(said)
    assert asked == [2.0]


def test_a_hook_on_an_input_is_told_of():
    def f(x):
        x.register_hook(lambda d: 3.0 * d)
        return x * x
    e = ad.explain(f, 2.0)
    assert e.adjoint("x") == 4.0 and "A hook hangs on x" in str(e.table())


def test_a_search_asks_a_hook_for_each_path():
    e = ad.explain(clipped, np.array([1.0, -2.0, 3.0]))
    assert "once for each path" in str(e.steps("dfs"))


# ---- Jacobians between arrays, by the name that they deserve

def named_matrix(text, step, source, values):
    """The matrix that a factor of `paths` names."""
    text = text.strip("()")
    if " · " in text:
        left, right = (named_matrix(t, step, source, values) for t in text.split(" · "))
        return left @ right if np.ndim(left) else left * right
    if text.startswith("-"):
        return -named_matrix(text[1:], step, source, values)
    if text.startswith("diag("):
        return np.diag(np.ravel(np.broadcast_to(values[text[5:]], step)))
    if text == "broadcast":
        places = np.broadcast_to(np.arange(np.prod(source, dtype=int)).reshape(source), step)
        return np.eye(np.prod(source, dtype=int))[places.ravel()]
    if text == "ones":
        return np.ones((np.prod(step, dtype=int), np.prod(source, dtype=int)))
    if text == "I":
        return np.eye(np.prod(step, dtype=int))
    base = np.asarray(values[text.removesuffix("^T")])
    if text.endswith("^T"):
        return base.T
    return base if base.ndim != 1 or np.prod(source, dtype=int) != 1 else base[:, None]


RNG = np.random.default_rng(0)
X, B, C, W = RNG.normal(size=(4, 3)), RNG.normal(size=3), 2.5, RNG.normal(size=(3, 5))


@pytest.mark.parametrize("f, args, expected", [
    (lambda x, b: x + b, (X, B), ("I", "broadcast")),
    (lambda x, b: x - b, (X, B), ("I", "-broadcast")),
    (lambda x, b: x * b, (X, B), ("diag(b)", "diag(x) · broadcast")),
    (lambda x, c: x + c, (B, C), ("I", "ones")),
    (lambda x, c: c - x, (B, C), ("-I", "ones")),
    (lambda x, c: x * c, (B, C), ("c · I", "x")),
    (lambda x: x.sum(), (B,), ("ones",)),
    (lambda x: x.reshape(3, 1), (B,), ("I",)),
    (lambda x: x[1:], (B,), ("∂v2/∂x",)),
    (np.cumsum, (B,), None),
    (lambda x, w: x @ w, (B, W), ("w^T", "∂v3/∂w")),
    (lambda w, x: w @ x, (W.T, B), ("∂v3/∂w", "w"))])
def test_a_jacobian_is_named_as_what_it_is(f, args, expected):
    e = ad.explain(f, *args)
    output = e.record.output
    for k, step in enumerate(e.record.inputs):
        (edge,) = e.paths(step.name)[0].edges
        assert edge.text != "1"
        if expected is not None:
            assert edge.text == expected[k]
        if "∂" not in edge.text and "∈" not in edge.text:
            values = {s.name: s.value for s in e.record.steps}
            got = named_matrix(edge.text, output.shape, step.shape, values)
            reference = jacobian(f, args, k)
            np.testing.assert_allclose(np.reshape(got, reference.shape), reference, atol=1e-7)
            assert np.array_equal(np.shape(got), np.shape(edge.factor))


def jacobian(f, args, k, h=1e-6):
    """By central differences: (elements of the result, elements of argument k)."""
    columns = []
    for j in range(np.size(args[k])):
        step = np.zeros(np.size(args[k]))
        step[j] = h
        step = step.reshape(np.shape(args[k]))
        ends = [np.ravel(f(*[a + s * step if i == k else a for i, a in enumerate(args)]))
                for s in (1.0, -1.0)]
        columns.append((ends[0] - ends[1]) / (2.0 * h))
    return np.stack(columns, 1)


def test_a_number_that_is_spread_meets_ones():
    e = ad.explain(lambda x: x.sum(), np.ones(3))
    assert [r["rule"] for r in e.table("reverse").dict()["rows"]][1].endswith("· ones")


def test_an_element_of_a_linear_map_has_no_formula_that_is_another_number():
    e = ad.explain(lambda x, w: np.einsum("i,i->", x, w), B, 2.0 * B)
    for path in e.paths("x[1]"):
        assert path.formulas == ["∂v3/∂x[1]"] and path.factors == [2.0 * B[1]]
