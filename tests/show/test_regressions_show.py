"""What users of `ad.explain` found wrong, once each."""

from __future__ import annotations

from typing import Any

import numpy as np

import adjoint as ad
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
