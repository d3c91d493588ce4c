"""`e.latex`: lines of derivations in every layout, nested formulas, and LaTeX that compiles."""

import re
import shutil
import subprocess
from itertools import pairwise

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, ShapeError
from adjoint.show.expansion import expanded

RNG = np.random.default_rng(0)


def survey(x1, x2):
    a = np.log(x1)
    b = x1 * x2
    c = np.sin(x2)
    return a + b - c


def layer(w, x, b):
    z = w @ x
    return np.tanh(z + b)


def network(w1, b1, w2, b2, x):
    h = ad.relu(w1 @ x + b1)
    return np.sum((w2 @ h + b2) ** 2)


NETWORK = (RNG.normal(size=(3, 2)), RNG.normal(size=3), RNG.normal(size=(2, 3)),
           RNG.normal(size=2), RNG.normal(size=2))


def lines(e, part, **settings):
    return [(line.left, line.right) for line in e.latex(**settings).parts[part]]


def test_the_program_and_its_values():
    found = lines(ad.explain(survey, 2.0, 5.0), "The program")
    assert found[0] == ("x_{1}", "= 2")
    assert found[2] == ("a", r"= \ln(x_{1}) = 0.693")
    assert found[-1] == ("v_{7}", "= v_{6} - c = 11.652")


def test_local_derivatives_have_rules():
    e = ad.explain(survey, 2.0, 5.0)
    found = {line.left: line for line in e.latex().parts["Local derivatives"]}
    line = found[r"\frac{\partial b}{\partial x_{1}}"]
    assert (line.right, line.remark) == ("= x_{2} = 5", "product rule")
    assert "logarithm" in found[r"\frac{\partial a}{\partial x_{1}}"].remark
    assert found[r"\frac{\partial v_{7}}{\partial c}"].right == "= -1"


def test_a_number_that_is_added_has_the_constant_rule():
    """Once for each number; one that is a factor, an exponent or a numerator is in a derivative."""
    e = ad.explain(lambda x: 99 + 3 * x ** 2 - 99 + 5 / x, 2.0)
    found = e.latex().parts["Local derivatives"]
    assert [(line.left, line.right) for line in found if line.remark == "constant rule"] == [
        (r"\mathrm{d}\,99", "= 0")]
    assert [line.remark for line in found] == ["power rule", "constant factor", "constant rule",
        "sum rule", "difference rule", "reciprocal rule", "sum rule", "sum rule"]


def test_backward_assigns_first_and_adds_later():
    found = lines(ad.explain(survey, 2.0, 5.0), "Backward")
    mine = [right for left, right in found if left == r"\bar{x}_{1}"]
    assert mine == [r"= \bar{b} \cdot x_{2} = 5",
                    r"\mathrel{+}= \bar{a} \cdot \frac{1}{x_{1}} = 0.5,\quad \bar{x}_{1} = 5.5"]


@pytest.mark.parametrize(("layout", "weight", "x"), [
    ("array", r"{\underbrace{\bar{z}}_{2}}\,{\underbrace{x}_{3}}^\top",
     r"{\underbrace{w}_{2 \times 3}}^\top\,{\underbrace{\bar{z}}_{2}}"),
    ("numerator", r"\underbrace{x}_{3 \times 1}\,\underbrace{Z}_{1 \times 2}",
     r"\underbrace{Z}_{1 \times 2}\,\underbrace{w}_{2 \times 3}"),
    ("denominator", r"{\underbrace{Z}_{2 \times 1}}\,{\underbrace{x}_{3 \times 1}}^\top",
     r"{\underbrace{w}_{2 \times 3}}^\top\,{\underbrace{Z}_{2 \times 1}}")])
def test_layouts_put_factors_in_their_order(layout, weight, x):
    e = ad.explain(layer, RNG.normal(size=(2, 3)), RNG.normal(size=3), RNG.normal(size=2),
                   cotangent=np.ones(2))
    found = lines(e, "Backward", layout=layout)[-2:]
    above = r"\frac{\partial (u \cdot v_{6})}{\partial z}"
    rights = [right.replace(above, "Z") for _, right in found]
    assert rights[0].startswith(f"= {weight} =")
    assert rights[1].startswith(f"= {x} =")


@pytest.mark.parametrize("layout", ["numerator", "denominator"])
def test_the_shapes_under_the_factors_multiply(layout):
    """Of every product of matrices: the columns of a factor are the rows of the next one."""
    e = ad.explain(network, *NETWORK)
    checked = 0
    for _, right in lines(e, "Backward", layout=layout):
        factors = right.split(" = ")[0]
        if r"\odot" in factors or r"\sum" in factors or "mathrm{broadcast" in factors:
            continue
        shapes = [tuple(map(int, m[1].split(r" \times "))) if not m[2] else
                  tuple(map(int, m[1].split(r" \times ")))[::-1]
                  for m in re.finditer(r"_\{(\d+ \\times \d+)\}\}?(\^\\top)?", factors)]
        for a, b in pairwise(shapes):
            assert a[1] == b[0], right
            checked += 1
    assert checked >= 4


def test_numbers_stand_in_the_layout():
    e = ad.explain(lambda w, x: w @ x, np.array([[1.0, 2.0]]), np.array([3.0, 4.0]),
                   cotangent=np.ones(1))
    rights = [r for left, r in lines(e, "Backward", layout="numerator") if "partial w" in left]
    assert r"\begin{pmatrix} 3 \\ 4 \end{pmatrix}" in rights[0]  # 2 x 1: transposed
    rights = [r for left, r in lines(e, "Backward", layout="denominator") if "partial w" in left]
    assert r"\begin{pmatrix} 3 & 4 \end{pmatrix}" in rights[0]


def test_a_vector_result_has_jacobians():
    e = ad.explain(lambda x: np.sin(x) * x, np.array([1.0, 2.0]))
    first = lines(e, "Backward", layout="numerator")[0]
    assert r"\begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}" in first[1]


def test_the_nested_formula():
    e = ad.explain(survey, 2.0, 5.0)
    assert e.latex(expand=True).formula[0].right == r"= \ln(x_{1}) + x_{1}\,x_{2} - \sin(x_{2})"
    assert expanded(e.record.output, latex=False)[0][1] == "ln(x1) + x1 * x2 - sin(x2)"


@pytest.mark.parametrize(("f", "text"), [
    (lambda a, b: (a + b) * (a - b), "(a + b) * (a - b)"),
    (lambda a, b: a - (b - a), "a - (b - a)"),
    (lambda a, b: a / (b * a), "a / (b * a)"),
    (lambda a, b: np.exp(-(a + b)), "exp(-(a + b))"),
    (lambda a, b: (a * b) ** 2 + 1.0, "(a * b) ^ 2 + 1"),
    (lambda a, b: a * -2.0 + b, "a * (-2) + b")])
def test_brackets_where_they_are_needed(f, text):
    e = ad.explain(f, 1.5, 0.5)
    found = expanded(e.record.output, latex=False)[0][1]
    assert found == text
    value = eval(found.replace("^", "**"), {"a": 1.5, "b": 0.5, "exp": np.exp})
    assert value == pytest.approx(float(f(1.5, 0.5)))


def test_a_long_formula_is_broken_into_its_terms():
    def f(x, w):
        return sum((np.tanh(w[k] * x + (x - w[k]) ** 3) / (1.0 + w[k]) for k in range(4)), x)
    d = ad.explain(f, 2.0, [1.0, 2.0, 3.0, 4.0]).latex(expand=True)
    (line,) = d.formula
    rows = d.titled()["The formula"]
    assert [row.right.split("w")[0] for row in rows[1:]] == [r"\quad + \frac{\tanh("] * 4
    assert line.right == "".join(row.right.removeprefix(r"\quad") for row in rows)
    assert all(r"\\ " not in row.right for row in rows) and str(d).count(r"&\quad + ") == 4


def test_a_formula_that_explodes_leaves_parts_by_name():
    def f(x):
        for _ in range(200):
            x = x * x + x
        return x
    e = ad.explain(f, 0.1)
    parts = expanded(e.record.output, latex=False)
    assert len(parts) > 10
    assert max(len(text) for _, text in parts) < 20_000


def test_long_derivations_leave_out_their_middle():
    def f(x):
        for _ in range(2_000):
            x = np.sin(x)
        return x
    text = str(ad.explain(f, 1.0).latex())
    assert "more lines" in text
    assert len(text) < 100_000


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX on this machine")
@pytest.mark.parametrize("case", ["survey", "network", "hostile", "teach", "step"])
def test_it_compiles(case, tmp_path):
    net = ad.nn.Sequential(ad.nn.Linear(2, 3), ad.nn.ReLU(), ad.nn.Linear(3, 2))
    e = {"survey": lambda: ad.explain(survey, 2.0, 5.0),
         "network": lambda: ad.explain(network, *NETWORK),
         "hostile": lambda: ad.explain(lambda p: p["\\input{x}_$%&#^~<b>"] * p["a_1"],
                                       {"\\input{x}_$%&#^~<b>": 1.0, "a_1": 2.0}),
         "teach": lambda: ad.explain(survey, ad.teach.Value(2.0), ad.teach.Value(5.0)),
         "step": lambda: ad.explain(lambda x: ad.nn.functional.cross_entropy(
             net(x), np.array([0, 1])), np.ones((2, 2), np.float32))}[case]()
    layouts = ("array",) if case == "step" else ("array", "numerator", "denominator")
    for layout in layouts:
        (tmp_path / "d.tex").write_text(e.latex(layout=layout, expand=True).document())
        ran = subprocess.run(["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "d.tex"],
                             cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout[-1500:]
        assert "Undefined control" not in ran.stdout


def test_one_display_for_notebooks():
    text = ad.explain(survey, 2.0, 5.0).latex()._repr_latex_()
    assert text.startswith("$$\\begin{array}{l}")
    assert text.endswith("\\end{array}$$")
    assert text.count("\\begin{aligned}") == text.count("\\textbf{") == 3


def test_mistakes_are_named():
    e = ad.explain(lambda x: (x * 2.0).sum(), np.ones((2, 2, 2)))
    with pytest.raises(ArgumentError, match="'numerator'"):
        e.latex(layout="rows")
    with pytest.raises(ShapeError, match="layout='array'"):
        e.latex(layout="numerator")
    assert "broadcast" in str(e.latex()) or "mathbf" in str(e.latex())


def squares(x):
    r = x - 1.0
    return np.sum(r ** 2)


@pytest.mark.parametrize(("layout", "sent"), [
    ("array", r"\underbrace{\mathbf{1}}_{3}"), ("numerator", r"\mathbf{1}^\top}_{1 \times 3}"),
    ("denominator", r"\underbrace{\mathbf{1}}_{3 \times 1}\,")])
def test_a_sum_sends_its_cotangent_back_to_every_element(layout, sent):
    e = ad.explain(squares, np.array([1.0, 2.0, 4.0]))
    text = str(e.latex(layout=layout))
    assert sent in text and "broadcast" not in text
    assert "broadcast" not in str(e.table()) and "\u00b7 ones \u2299 2 r" in str(e.chain())


def test_powers_have_their_exponent_everywhere():
    e = ad.explain(lambda x: (x ** 3) ** 2, 2.0)
    for text in (str(e.latex()), e.graph().dot(), str(e.why("x")), str(e.table())):
        assert "- 1" not in text
    assert r"{3}\,{x}^{2}" in str(e.latex())
    p = ad.explain(lambda x: np.sum(x ** 3), np.array([1.0, 2.0])).paths("x[1]", elements=True)
    assert p[0].product == 12.0 and "3 x[1]^2" in str(p)
