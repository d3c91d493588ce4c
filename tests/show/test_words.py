"""`e.why`: each kind of reason, on a program that has it, and none where there is none."""

import numpy as np
import pytest

import adjoint as ad


def why(f, *args, name="x"):
    return ad.explain(f, *args).why(name)


def test_a_dead_rectifier():
    found = why(lambda x, w: ad.relu(w * x) * 2.0, -1.0, 3.0)
    assert found.kinds == ["gradient", "dead"]
    assert "[v3 > 0] is 0 there (v3 = -3)" in str(found)
    assert "test_words.py" in str(found)


def test_a_part_of_a_layer_is_dead():
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(6, 4)), rng.normal(size=4)
    before = weight @ x
    e = ad.explain(lambda weight, x: ad.relu(weight @ x).sum(), weight, x)
    dead = next(r for r in e.why("weight").reasons if r.kind == "dead")
    assert (dead.count, dead.size) == (int(np.sum(before <= 0)), 6)
    zeros = e.why("weight").reasons[0]
    assert (zeros.count, zeros.size) == (4 * dead.count, 24)


def test_masks():
    found = why(lambda x: np.where(x > 0, x, 0.0).sum(), np.array([-1.0, 2.0, 3.0]))
    reason = found.reasons[1]
    assert (reason.kind, reason.count, reason.size) == ("masked", 1, 3)
    assert "x[0] = -1" in reason.text


def test_a_factor_of_zero():
    assert why(lambda x, w: x * w, 3.0, 0.0).kinds == ["gradient", "zero factor"]
    found = why(lambda x, w: (x @ w).sum(), np.ones((2, 3)), np.array([1.0, 0.0, 2.0]))
    assert "multiplies with w, which is 0 at 1 of 3 elements" in str(found)


@pytest.mark.parametrize("scale", [4.0, 40.0])  # a partial of 1e-3, and one that is exactly 0
def test_saturation(scale):
    assert "saturated" in why(lambda x: np.tanh(scale * x) * 2.0, 1.0).kinds


def test_parts_that_cancel():
    assert why(lambda x, w: x - x + w, 2.0, 3.0).kinds == ["gradient", "cancels"]
    assert "cancels" not in why(lambda x: x + x, 2.0).kinds


def test_what_was_detached():
    found = why(lambda x, w: x.detach() * w, 2.0, 3.0)
    assert found.kinds == ["gradient", "cut"]
    assert "detached" in str(found)


def test_rows_without_a_derivative_cut():
    def f(x, w):
        largest = np.argmax(x * 2.0)
        return w * float(largest)
    found = why(f, np.array([1.0, 3.0]), 2.0)
    assert found.kinds == ["gradient", "cut"]
    assert "argmax (line" in str(found)
    assert "v3, which is computed from x" in str(found)


def test_no_grad_cuts():
    def f(x, w):
        with ad.no_grad():
            y = np.sin(x)
        return y * w
    assert "sin (line" in str(why(f, 1.0, 2.0))


def test_unused():
    assert "Nothing is computed from x" in str(why(lambda x, w: w * 2.0, 1.0, 2.0))

    def f(x, w):
        aside = x * 3.0
        assert aside.requires_grad
        return w * 2.0
    assert "ends in aside, which v4 does not need" in str(why(f, 1.0, 2.0))


def test_skipped_arguments_say_how_to_ask():
    e = ad.explain(lambda x, w: x * w, ad.tensor(2.0), 3.0)
    assert e.why("x").kinds == ["skipped"]
    assert "requires_grad=True" in str(e.why("x"))
    assert "skipped" in e.why()["x"].kinds


def test_vanishing_and_exploding():
    def deep(x):
        for _ in range(30):
            x = ad.sigmoid(x)
        return x

    def growing(x):
        for _ in range(20):
            x = x * 3.0
        return x
    found = why(deep, 0.5)
    assert "vanishes" in found.kinds
    assert "over 30 steps" in str(found)
    assert "explodes" in why(growing, 1.0).kinds
    assert "by a factor of 3 a step" in str(why(growing, 1.0))


def test_what_carries_most():
    found = why(lambda x: 9.0 * x + x * np.sin(0.1), 1.0)
    path = next(r for r in found.reasons if r.kind == "path")
    assert "x -> v2 -> v4" in path.text
    assert "99%" in path.text


def test_not_finite():
    found = why(lambda x: np.log(x) * 2.0, -1.0)
    assert "the first value that is not is v2 = ln(x) = nan" in str(found)
    found = why(lambda x: np.sqrt(x) * 2.0, 0.0)
    assert found.kinds[:2] == ["gradient", "not finite"]
    assert "v2 = sqrt(x)" in str(found)


def test_a_healthy_gradient_needs_one_line():
    assert why(lambda x: np.sin(x) * 2.0, 1.0).kinds == ["gradient"]
    assert why(lambda x: x, 1.0).kinds == ["gradient"]


def test_jacobians_too():
    found = why(lambda x: ad.relu(x) * 2.0, np.array([-1.0, 2.0]))
    assert found.kinds == ["gradient", "dead"]


def test_names_are_escaped_in_html():
    e = ad.explain(lambda p: p["<b>"] * 2.0, {"<b>": 1.0})
    assert "<b>'" not in e.why()._repr_html_()
    assert "&lt;b&gt;" in e.why()._repr_html_()
