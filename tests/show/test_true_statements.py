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
