"""What users of `ad.explain` found wrong, once each."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import adjoint as ad
from adjoint.show.terms import contribution
from adjoint.show.writing import formula
from adjoint.teach import AutogradValue


class Softplus(AutogradValue):
    def func(self, x: Any) -> Any:
        inner = np.exp(x)
        return np.log(np.sum(1 + inner))

    def grads(self, x: Any) -> Any:
        return (1 / (1 + np.exp(-x)),)


def formulas(e: Any) -> list[str]:
    """How each operation is computed."""
    return [f"{s.name} = {formula(s)}" for s in e.record.operations]


def back(e: Any) -> list[str]:
    """What each use of a step adds to its adjoint."""
    return [contribution(s, k, 0).text for s in e.record.operations
            for k, i in enumerate(s.inputs) if i.differentiated]


def test_a_method_of_a_teaching_class_names_nothing() -> None:
    def f(x: Any) -> Any:
        y = Softplus(x)
        return y * x + 3

    e = ad.explain(f, AutogradValue(0.5))
    assert e.names == ["x", "y", "v3", "v4"]
    first = f.__code__.co_firstlineno
    assert [s.place.line for s in e.record.operations] == [first + 1, first + 2, first + 2]
    assert {s.place.source for s in e.record.operations} == {"test_regressions_show.py"}


def test_equal_arrays_keep_their_own_names() -> None:
    a, b, c = np.ones(3), np.ones(3), np.ones(3)

    def f(x: Any) -> Any:
        return x * a + x * b * c

    found = formulas(ad.explain(f, np.arange(3.0)))
    assert found[:3] == ["v2 = x * a", "v3 = x * b", "v4 = v3 * c"]


def test_of_equal_arrays_none_is_guessed() -> None:
    space: dict[str, Any] = {"np": np}
    exec("a, b = np.ones(3), np.ones(3)\ndef f(x): return x * a * b", space)  # no source
    assert formulas(ad.explain(space["f"], np.arange(3.0))) == [
        "v2 = x * [1. 1. 1.]", "v3 = v2 * [1. 1. 1.]"]


def test_a_detached_value_has_not_the_name_of_what_moves() -> None:
    e = ad.explain(lambda x: x.detach() * x, 3.0)
    assert formulas(e) == ["v2 = detach(x) * x"]
    assert e.adjoint("x") == 3.0

    def held(x: Any) -> Any:
        a = x.detach()
        return a * x

    assert formulas(ad.explain(held, 3.0)) == ["v2 = a * x"]


def test_words_tell_a_kink_and_a_level_place_from_a_flat_side() -> None:
    def said(f: Any, x: float) -> str:
        return str(ad.explain(f, x).why())

    assert "is at its kink, where its slope is taken to be 0" in said(np.abs, 0.0)
    assert "is at its kink" in said(ad.relu, 0.0)
    assert "is dead (on its flat side)" in said(ad.relu, -1.0)
    assert "is level: the partial 2 x is 0 there" in said(lambda x: x ** 2, 0.0)
    assert "is level" in said(np.cos, 0.0)
    assert "is saturated" in said(np.tanh, 20.0)
    assert "multiplies with 0" in said(lambda x: x * 0.0, 2.0)


def test_words_about_one_element_and_about_parts_that_cancel() -> None:
    e = ad.explain(lambda x: np.sum(x ** 2), np.array([0.0, 1.0]))
    assert str(e.why("x")).startswith("dv3/dx = [0. 2.]; 1 of its 2 elements is 0.")
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    kinds = ad.explain(lambda a: np.trace(np.linalg.inv(a) @ a), a).why("a").kinds
    assert "cancels" in kinds and "vanishes" not in kinds


def test_words_speak_of_a_part_that_was_detached() -> None:
    w = ad.explain(lambda x: x.detach() * x, 3.0).why("x")
    assert w.kinds == ["gradient", "cut"]
    assert "goes on as a constant: it was detached" in str(w)


def test_what_goes_back_is_written_as_it_is_typed() -> None:
    matrix = np.array([[2.0, 1.0], [1.0, 3.0]])
    assert back(ad.explain(np.cumsum, np.ones(3))) == ["cumsum(v̄2, axis=0, reverse=True)"]
    assert back(ad.explain(lambda a: np.transpose(a, (0, 1)), matrix)) == ["v̄2"]
    assert back(ad.explain(lambda a: a.T, matrix)) == ["v̄2^T"]
    assert back(ad.explain(lambda a: np.transpose(a, (2, 0, 1)), np.ones((1, 2, 3)))) == [
        "transpose(v̄2, (1, 2, 0))"]
    assert back(ad.explain(lambda a: np.linalg.slogdet(a)[1], matrix))[0] == (
        "v̄2[1] a^(-T)")
    assert back(ad.explain(lambda x: x / -4.0, 1.0)) == ["v̄2 · 1/(-4)"]

    def written(x: Any) -> Any:
        y = x * 1.0
        y[1:] = x[0] ** 2
        return np.sum(y)

    assert any(t.endswith(".2[1:]") for t in back(ad.explain(written, np.ones(3))))


def test_complex_constants_stand_in_brackets() -> None:
    e = ad.explain(lambda x: np.real((2 + 1j) * x / (1 - 2j)), 0.5)
    assert formulas(e) == ["v2 = (2+1j) * x", "v3 = v2 / (1-2j)", "v4 = real(v3)"]
    assert r"(2+1j)\,x" in str(e.latex())


def test_a_matrix_that_meets_a_stack_is_summed_over_it() -> None:
    e = ad.explain(lambda x, w: np.sum(x @ w), np.ones((3, 2, 2)), np.ones((2, 2)))
    assert back(e)[:2] == ["v̄3 w^T", "unbroadcast(x^T v̄3)"]


def test_operations_on_several_arrays_name_them() -> None:
    e = ad.explain(lambda x, y: np.sum(np.concatenate([x, y])), np.ones(2), np.ones(1))
    assert formulas(e)[0] == "v3 = concatenate(x, y, axis=0)"
    assert back(e)[:2] == ["own part(v̄3)"] * 2
    e = ad.explain(lambda x, y: np.einsum("i,i->", x, y), np.ones(2), np.ones(2))
    assert formulas(e) == ["v3 = einsum('i,i->', x, y)"]


def test_rows_of_a_matrix_stand_below_each_other() -> None:
    e = ad.explain(lambda a: np.sum(a * 2), np.array([[1.0, 2.0], [3.0, 4.0]]))
    lines = e.table("forward", source=None).text(80).splitlines()
    first = next(line for line in lines if "[[1. 2.]" in line)
    second = next(line for line in lines if "[3. 4.]]" in line)
    assert first.index("1.") == second.index("3.")


def test_latex_of_a_stack_of_an_opaque_function_and_of_a_ring() -> None:
    e = ad.explain(lambda x, w: np.sum(x @ w), np.ones((3, 2, 2)), np.ones((2, 2)))
    assert r"\mathrm{unbroadcast}({x}^\top\,{\bar{v}_{3}})" in str(e.latex())

    class Cube(ad.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x ** 3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            x, = ctx.saved_tensors
            return g * 3 * x ** 2

    opaque = ad.explain(lambda x: Cube.apply(x) * 2, 2.0)
    assert formulas(opaque)[0] == "v2 = Cube(x)"
    assert r"\frac{\partial v_{2}}{\partial x} &= 12" in str(opaque.latex())

    def f(x: Any) -> Any:
        å = np.sin(x)  # noqa: PLC2401 - the letter is what is tested
        return å * x
    assert r"\mathring{a}" in str(ad.explain(f, 1.0).latex())


def test_a_second_backward_call_is_not_passed_over() -> None:
    w = ad.tensor(2.0, requires_grad=True)

    def step(times: int) -> None:
        for k in range(times):
            loss = (w - k) ** 2
            loss.backward()

    assert "backward() began 2 times: this is the sweep from loss" in ad.explain(
        step, 2).table().text(120)
    assert "backward()" not in ad.explain(step, 1).table().text(120)


def test_titles_notes_and_the_prompt() -> None:
    def power(c: float, x: Any) -> Any:
        return c * x ** 3

    assert ad.explain(partial(power, 2.0), 3.0).record.title.endswith("power")
    cell = compile("def f(x): return x * x", "/tmp/ipykernel_1/22.py", "exec")
    space: dict[str, Any] = {}
    exec(cell, space)
    e = ad.explain(space["f"], 3.0)
    assert "Lines are those of this notebook." in e.table().text(80)
    assert repr(e.why("x")).startswith("dv2/dx = 6.")
    assert repr(e.why()).startswith("x\n  dv2/dx = 6.")


def test_a_hook_changes_what_goes_back_and_no_partial() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        y.register_hook(lambda g: g * 10)
        return y ** 2

    e = ad.explain(f, 3.0)
    assert float(e.adjoint("x")) == 240.0
    assert [t.startswith("hook(") for t in back(e)] == [False, True, False]
    assert r"\mathrm{hook}(\bar{y})" in str(e.latex())


def test_a_literal_does_not_take_the_name_of_an_equal_variable():
    labels, ones = np.array([0, 1]), np.ones(3)

    def f(x, lp):
        assert ones.shape == (3,)
        return (x * np.ones(3)).sum() + lp[np.arange(2), labels].sum() + (x * ones).sum()
    e = ad.explain(f, np.ones(3), np.ones((2, 2)))
    constants = [s.name for s in e.record.constants]
    assert constants.count("ones") == 1
    assert constants.count("labels") <= 1
