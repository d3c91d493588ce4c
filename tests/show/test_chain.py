"""The product form of the chain rule: golden numbers of the toy networks, and every adjoint."""
# ruff: noqa: RET504 - an assignment gives the result its name

import json
from pathlib import Path

import numpy as np
import pytest
from shared import toy

import adjoint as ad
from adjoint.errors import ArgumentError
from adjoint.show.explanation import explain

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden.json").read_text())


def matrices(x, y, W0, b0, W1, b1, W2, b2):
    f0 = b0 + W0 @ x
    h1 = ad.relu(f0)
    f1 = b1 + W1 @ h1
    h2 = ad.relu(f1)
    f2 = b2 + W2 @ h2
    r = f2 - y
    L = np.sum(r**2)
    return L


def explained(name, f):
    return explain(f, **{k: np.array(v, float)[()] for k, v in GOLDEN[name]["inputs"].items()})


CASES = [("toy_relu", toy(ad.relu)), ("toy_sin", toy(np.sin)), ("matrix_relu", matrices)]


@pytest.mark.parametrize(("name", "f"), CASES, ids=[c[0] for c in CASES])
@pytest.mark.parametrize("group", [True, False])
def test_values_are_golden(name, f, group):
    c = explained(name, f).chain(group=group)
    for variable, golden in GOLDEN[name]["adjoints"].items():
        np.testing.assert_allclose(c[variable], golden["f64"], rtol=0, atol=1e-12)
    for line in c:
        before = 0 if line.first else next(m for m in c.of(line.name) if m is not line).total
        np.testing.assert_allclose(before + line.amount, line.total, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["toy_relu", "toy_sin"])
def test_each_line_is_one_new_factor_times_what_was_known(name):
    c = explained(name, toy(ad.relu if name == "toy_relu" else np.sin)).chain("w1")
    assert [line.name for line in c] == ["f3", "h3", "f2", "h2", "f1", "w1"]
    known = {"l": 1.0}
    for line in c:
        assert line.first
        assert line.already == known[line.head]  # computed by a line above
        assert line.factor * line.already == pytest.approx(line.total, rel=1e-14)
        known[line.name] = line.total
    assert c["w1"] == pytest.approx(GOLDEN[name]["adjoints"]["w1"]["f64"], rel=0, abs=1e-12)
    assert [line.formula for line in c][1::2] == ["w3", "w2", "h1"]
    assert c.formula("w1") == ("dl/dw1 = ∂f1/∂w1 · ∂h2/∂f1 · ∂f2/∂h2 · ∂h3/∂f2 · ∂f3/∂h3 · "
                               "∂l/∂f3")


def test_inputs_come_last():
    names = [line.name for line in explained("toy_relu", toy(ad.relu)).chain()]
    assert names[:7] == ["f3", "h3", "f2", "h2", "f1", "h1", "f0"]
    assert sorted(names[7:]) == sorted(GOLDEN["toy_relu"]["inputs"])


def test_what_is_new_and_what_was_known_are_marked():
    sheet = explained("toy_relu", toy(ad.relu)).chain("w3").sheet()
    last = sheet.rows[-1].cells
    assert [(p.text, p.role) for p in last["product"].text] == [
        ("∂f3/∂w3", "new factor"), (" · ", ""), ("dl/df3", "already computed")]
    assert last["new factor"].text == "h3 = 0.016"
    assert last["new factor"].role == "new factor"
    assert last["already computed"].role == "already computed"


def test_matrices():
    e = explained("matrix_relu", matrices)
    c = e.chain()
    rows = {r.cells["derivative"].text: r.cells for r in c.sheet().rows}
    texts = {k: ["".join(p.text for p in v["product"].text), v["shape"]] for k, v in rows.items()}
    assert texts["dL/dW1"] == ["dL/df1 h1^T", "(3, 3)"]
    assert texts["dL/dW0"] == ["dL/df0 x^T", "(3, 2)"]
    assert texts["dL/dh2"] == ["W2^T dL/df2", "(3,)"]
    assert texts["dL/df1"] == ["dL/dh2 ⊙ [f1 > 0]", "(3,)"]
    assert texts["dL/db2"] == ["dL/df2", "(2,)"]
    line = c.of("W1")[0]  # dL/dW = dL/df h^T
    np.testing.assert_allclose(np.outer(line.already, e.value("h1")), line.total, atol=1e-12)
    assert line.factor.shape == (3, 9)  # numerator layout: elements of f1, elements of W1
    np.testing.assert_allclose(line.already @ line.factor, np.ravel(line.total), atol=1e-12)


def test_what_was_left_out_stands_in_brackets():
    def net(W, h):
        y = np.tanh(h @ W.T)
        L = np.sum(y)
        return L
    c = explain(net, np.ones((2, 3)), np.ones((4, 3))).chain("h")
    product = "".join(p.text for p in c.sheet().rows[-1].cells["product"].text)
    assert product.startswith("(dL/dy ⊙ (1 - y^2)) v")
    assert product.endswith("^T")


def test_every_piece_of_latex_stands_alone():
    for name, f in CASES:
        for group in (True, False):
            for row in explained(name, f).chain(group=group).sheet().rows:
                for piece in row.cells["product"].text:
                    latex = piece.latex
                    assert latex.count("{") == latex.count("}")
                    assert latex.count(r"\left") == latex.count(r"\right")
                    assert "\ue000" not in latex + piece.text


def test_a_second_use_accumulates():
    def f(w, x):
        h = w * x
        y = h * w
        return y
    c = explain(f, 3.0, 2.0).chain("w")
    assert [(line.name, line.head, line.first, line.total) for line in c] == [
        ("h", "y", True, 3.0), ("w", "y", True, 6.0), ("w", "h", False, 12.0)]
    signs = [r.cells["sign"] for r in c.sheet().rows]
    assert signs == ["=", "=", "+="]
    assert c["w"] == 12.0
    assert c.formula("w") == "dy/dw = ∂h/∂w · dy/dh + ∂y/∂w"


def test_results_with_axes():
    A = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.0]])

    def f(x):
        h = A @ x
        y = np.sin(h) * h
        return y
    e = explain(f, np.array([0.3, -0.4]))
    c = e.chain()
    np.testing.assert_allclose(c["x"], e.adjoint("x"), rtol=1e-12)
    assert c["h"].shape == (3, 3)
    assert "dy/dx" in str(c)
    v = explain(f, np.array([0.3, -0.4]), cotangent=np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(v.chain()["x"], v.adjoint("x"), rtol=1e-12)


def test_long_programs_are_summarised():
    def f(x):
        for _ in range(2_000):
            x = np.sin(x) + x
        return x
    e = explain(f, 1e-3)
    c = e.chain(group=False)
    assert len(c) == 6_000
    assert c["x"] == pytest.approx(e.adjoint("x"), rel=1e-12)
    assert len(c.sheet()) == 200
    assert "5,800 of 6,000 lines" in c.sheet().notes[0]
    assert len(c.sheet(limit=None)) == 6_000


def test_bad_input():
    e = explain(lambda x, w: x * w, 1.0, 2.0)
    with pytest.raises(ArgumentError, match="no step named"):
        e.chain("q")
    with pytest.raises(ArgumentError, match="there is no derivative by 'w' here; there is v3, x"):
        e.chain("x")["w"]
    with pytest.raises(ArgumentError, match="no variable"):
        e.chain("x").formula("w")


def test_what_was_computed_already_is_a_derivative_in_latex():
    latex = ad.explain(lambda x, w: (w * x) ** 2, 3.0, 2.0).chain("w", group=False).sheet().latex()
    assert r"\underline{$\frac{d v_{4}}{d v_{3}}$}" in latex
    assert "dv" not in latex
