"""Trace tables against the golden numbers and the engine; every output of them; what they cost."""

import csv
import io
import json
import re
import warnings
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import adjoint as ad
from adjoint import nn, optim
from adjoint.cli.training import show_trace
from adjoint.errors import ArgumentError, ShapeError
from adjoint.show.terms import called, is_sum
from adjoint.show.writing import lowered
from adjoint.teach import AutogradValue

GOLDEN = json.loads((Path(__file__).parents[1] / "data" / "golden.json").read_text())
BAR, DOT = "\u0304", "\u0307"


def survey(x1, x2):
    return np.log(x1) + x1 * x2 - np.sin(x2)


def slides(x1, x2):
    v3, v4, v5 = np.log(x1), x1 * x2, np.sin(x2)
    v6 = v3 + v4
    return v6 - v5


def quartic(x):
    a = x ** 2
    b = 5 * a
    c = a * b
    L = -c
    return L  # noqa: RET504 - the slide's name of the result


def neg_log_sigmoid(x, w):
    a = x ** 2
    b = w * a
    c = ad.sigmoid(b)
    g = np.log(c)
    L = -g
    return L  # noqa: RET504 - the slide's name of the result


def made_up(x):
    a, b = x.sum(), np.log(x).sum()
    return np.cos(np.exp(x) * a / b)


def rows_of(sheet):
    return sheet.dict()["rows"]


def near(example, kind, name):
    return pytest.approx(GOLDEN[example][kind][name]["f64"], rel=1e-12, abs=1e-300)


# ---- the golden examples

def test_the_slides_table():
    e = ad.explain(slides, 2.0, 5.0)
    text = e.table().text(120)
    for number in ("0.693", "-0.959", "10.693", "11.652", "-0.284", "1.716", "5.5"):
        assert re.search(rf"(?<![\d.-]){re.escape(number)}(?!\d)", text)
    left = [line.split(" │ ")[0].split() for line in text.splitlines()]
    assert ["v4", "x1", "*", "x2", str(slides.__code__.co_firstlineno + 1), "10"] in left
    for row in rows_of(e.table("forward")):
        name = row["step"]
        assert row["value"] == near("baydin", "values", name)
    for row in rows_of(e.table("nodes")):
        assert row["grad"] == near("baydin", "adjoints", row["step"])


def test_each_contribution_is_a_line():
    lines = [(row["rule"], row["numbers" if "numbers" in row else "contribution"], row["adjoint"])
             for row in rows_of(ad.explain(survey, 2.0, 5.0, names="v").table("reverse"))]
    assert lines[0] == (f"v{BAR}7 = ∂v7/∂v7", None, 1.0)
    assert (f"v{BAR}1 = v{BAR}4 · v2", 5.0, 5.0) in lines
    assert lines[-1] == (f"v{BAR}1 += v{BAR}3 · 1/v1", 0.5, 5.5)
    text = ad.explain(survey, 2.0, 5.0, names="v").table("reverse").text(100)
    assert re.search(rf"v{BAR}1 = v{BAR}4 · v2 +∂v4/∂v1 = 5 +1 · 5 +5$", text, re.MULTILINE)
    assert re.search(rf"v{BAR}1 \+= v{BAR}3 · 1/v1 +∂v3/∂v1 = 0\.5 +5 \+ 1 · 0\.5 +5\.5$", text,
                     re.MULTILINE)


def test_both_traces_begin_in_the_first_line_and_stand_beside_each_other():
    lines = ad.explain(survey, 2.0, 5.0, names="v").table(source=None).text(120).splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("v1 "))
    assert f"│ v{BAR}7 = ∂v7/∂v7" in lines[first]
    assert [line.split()[0] for line in lines[first:first + 7]] == [f"v{k}" for k in range(1, 8)]
    assert lines[first + 8].strip().startswith(f"│ v{BAR}1 += ")


def test_narrow_windows_have_one_trace_under_the_other():
    text = ad.explain(survey, 2.0, 5.0, names="v").table().text(70)
    forward, reverse = text.split("reverse: adjoints")
    assert "ln(v1)" in forward
    assert f"v{BAR}" not in forward
    assert not re.search(r"^v[1-7] ", reverse, re.MULTILINE)
    assert f"v{BAR}7 = ∂v7/∂v7" in reverse


def test_each_adjoint_beside_its_step():
    found = rows_of(ad.explain(survey, 2.0, 5.0, names="v").table(order="step"))
    assert [row["step"] for row in found if row["step"]] == [f"v{k}" for k in range(1, 8)]
    assert found[0]["rule"] == f"v{BAR}1 = v{BAR}4 · v2"
    assert found[1] == {"step": None, "operation": None, "line": None, "value": None,
                        "rule": f"v{BAR}1 += v{BAR}3 · 1/v1", "partial": 0.5, "contribution": 0.5,
                        "adjoint": 5.5}


def test_the_node_table_of_the_quartic():
    found = {row["step"]: row for row in rows_of(ad.explain(quartic, 2.0).table("nodes"))}
    assert {name: row["grad"] for name, row in found.items()} == {
        "L": 1.0, "c": -1.0, "b": -4.0, "a": -40.0, "x": -160.0}
    for name, row in found.items():
        assert row["grad"] == near("quartic", "adjoints", name)
        assert row["value"] == near("quartic", "values", name)
    assert found["c"]["parents"] == "a, b"
    assert found["c"]["args"] == [4.0, 20.0]
    assert found["b"]["parents"] == "5, a"
    assert found["x"]["parents"] is None or found["x"]["parents"] == ""


def test_forward_mode_at_a_node():
    e = ad.explain(neg_log_sigmoid, 2.0, 0.5)
    sheet = e.forward("x")
    found = {row["step"]: row for row in rows_of(sheet)}
    assert found["b"]["tangent"] == 2 * 0.5 * 2.0
    assert found["b"]["rule"] == f"b{DOT} = w{DOT} · a + a{DOT} · w"
    assert found["b"]["numbers"] == "0 · 4 + 4 · 0.5"
    assert found["a"]["rule"] == f"a{DOT} = x{DOT} · 2 x"
    for name, row in found.items():
        golden = GOLDEN["neg_log_sigmoid"]["tangents"]["d/dx"][name]["f64"]
        assert row["tangent"] == pytest.approx(golden, rel=1e-12, abs=1e-300)


def test_forward_mode_by_several_inputs():
    e = ad.explain(slides, 2.0, 5.0)
    for sheet in (e.forward(), e.forward(("x1", "x2"))):
        for row in rows_of(sheet):
            for x in ("x1", "x2"):
                golden = GOLDEN["baydin"]["tangents"][f"d/d{x}"][row["step"]]["f64"]
                assert row[f"tangent {x}"] == pytest.approx(golden, rel=1e-12, abs=1e-300)
    text = e.forward(("x1", "x2"), source=None).text(140)
    assert re.search(rf"v{DOT}4 = x{DOT}1 · x2 \+ x{DOT}2 · x1 +│ 1 · 5 \+ 0 · 2 ", text)


def test_a_direction():
    x = np.array([1.5, 2.0, 0.7])
    e = ad.explain(made_up, x)
    direction = np.array([1.0, -2.0, 0.5])
    last = rows_of(e.forward("x", tangent=direction))[-1]
    np.testing.assert_allclose(last["tangent"], ad.jvp(made_up, (x,), (direction,))[1], rtol=1e-13)
    last = rows_of(e.forward("x"))[-1]
    np.testing.assert_allclose(last["tangent"], ad.jacobian(made_up)(x), rtol=1e-13)


# ---- the engine's numbers

@pytest.mark.parametrize("seed", range(3))
def test_contributions_add_up_to_what_the_engine_gives(seed):
    def f(x, z):
        return (np.tanh(x @ z) * x[0] + z.sum()).sum() / 2.0
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=3), rng.normal(size=(3, 4))
    sums = {}
    for row in rows_of(ad.explain(f, x, z).table("reverse", partials=False))[1:]:
        name = row["rule"].replace(BAR, "").split()[0]
        before = sums.get(name)
        assert (before is None) == (" += " not in row["rule"])
        sums[name] = np.asarray(row["contribution"]) + (0.0 if before is None else before)
        np.testing.assert_allclose(sums[name], row["adjoint"], rtol=1e-12)
    np.testing.assert_allclose(sums["x"], ad.grad(f)(x, z), rtol=1e-12)
    np.testing.assert_allclose(sums["z"], ad.grad(f, 1)(x, z), rtol=1e-12)


@pytest.mark.parametrize(("f", "x"), [
    (lambda x: np.sqrt(x) * 0.0, 0.0), (lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0)])
def test_a_zero_downstream_cancels_as_in_the_engine(f, x):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = ad.explain(f, x)
        assert rows_of(e.table("nodes"))[0]["grad"] == ad.grad(f)(x) == 0.0
        assert str(e.table())


def test_numbers_are_equal_in_all_outputs():
    x = np.array([0.1, 1 / 3])
    sheet = ad.explain(lambda x, w: (np.sin(x) * w).sum(), x, 0.7).table("reverse", digits=6)
    exact = [row["adjoint"] for row in rows_of(sheet)]
    written = list(csv.DictReader(io.StringIO(sheet.csv())))
    assert [json.loads(row["adjoint"]) for row in written] == exact
    assert json.loads(sheet.json())["rows"] == rows_of(sheet)
    shown = [ad.show.numbers.shown(np.array(a) if isinstance(a, list) else a, 6) for a in exact]
    outputs = {"text": sheet.text(200), "markdown": sheet.markdown(),
               "html": unescape(re.sub(r"<[^>]*>", "", sheet.html())), "latex": sheet.latex()}
    for name, output in outputs.items():
        plain = re.sub(r"\\?[\s&\[\]{}|\\$]+|\b(?:left|right|begin|end|array|rr?)\b", " ", output)
        for text in shown:
            for number in re.findall(r"-?\d+\.\d+", text):
                assert number in plain, (name, number)


def test_whole_tables_in_every_format():
    sheet = ad.explain(survey, 2.0, 5.0).table()
    assert r"\mathrel{+{=}}" in sheet.latex()
    assert r"\frac{1}{x_{1}}" in sheet.latex()
    assert sheet.latex(document=True).startswith(r"\documentclass")
    assert "<table" in sheet.html()
    assert sheet.markdown().count("\n|") >= 9
    assert len(sheet.csv().splitlines()) == 1 + len(sheet)


# ---- every kind of program

def test_a_result_with_axes_has_jacobians():
    x = np.array([1.5, 2.0, 0.7])
    e = ad.explain(made_up, x)
    sheet = e.table()
    found = {row["rule"].replace(BAR, "").split()[0]: row["adjoint"] for row in rows_of(sheet)}
    np.testing.assert_allclose(found["x"], ad.jacobian(made_up)(x), rtol=1e-12)
    assert np.shape(found["a"]) == (3,)
    assert "each adjoint is a Jacobian" in sheet.notes[1]
    entry = f"{found['x'][0][0]:.3f}"
    assert entry in sheet.text(150)  # small Jacobians are written in full
    assert "min" in e.table(whole=False).text(150)


def test_a_cotangent_is_given():
    x = np.array([1.5, 2.0, 0.7])
    e = ad.explain(made_up, x, cotangent=np.ones(3))
    first, *_, last = rows_of(e.table("reverse"))
    assert first["rule"].endswith("as given")
    np.testing.assert_allclose(last["adjoint"], np.ones(3) @ ad.jacobian(made_up)(x), rtol=1e-12)
    assert rows_of(e.modes())[2]["passes"] == 1


def test_no_operation_at_all():
    e = ad.explain(lambda x: x, 2.0)
    (row,) = rows_of(e.table())
    assert (row["step"], row["value"], row["adjoint"]) == ("x", 2.0, 1.0)
    assert rows_of(e.forward())[0]["tangent"] == 1.0
    assert [row["operations"] for row in rows_of(e.modes())] == [0, 0, 0]


def test_an_input_twice_in_one_operation():
    lines = rows_of(ad.explain(lambda x: x * x, 3.0).table("reverse", source=None))
    assert [row["adjoint"] for row in lines] == [1.0, 3.0, 6.0]
    assert [row["rule"].split()[1] for row in lines] == ["=", "=", "+="]


def test_inputs_that_the_result_does_not_depend_on():
    sheet = ad.explain(lambda x, y: x * 2.0, 2.0, np.ones(3)).table("reverse")
    last = rows_of(sheet)[-1]
    assert last["rule"] == f"y{BAR} = 0"
    assert last["adjoint"] == [0.0, 0.0, 0.0]
    assert "not reached" in str(sheet)


def test_constants_and_skipped_arguments_are_noted():
    scale = np.array([1.0, 2.0])

    def f(x, y):
        return (x * scale * y).sum()
    sheet = ad.explain(f, ad.tensor([1.0, 2.0], requires_grad=True), ad.tensor([3.0, 4.0])).table()
    assert "Constants: scale of shape (2,)." in sheet.notes
    assert "No gradient is asked of y of shape (2,)." in sheet.notes


def test_integers_pass_through():
    row = rows_of(ad.explain(lambda x, n: x ** n, 2.0, 3).table("reverse"))[-1]
    assert (row["rule"], row["adjoint"]) == (f"x{BAR} = v{BAR}2 · 3 x^2", 12.0)


def test_second_order():
    f = ad.grad(lambda x: np.sin(x) * x ** 3)
    e = ad.explain(f, 2.0)
    assert rows_of(e.table("nodes"))[0]["grad"] == pytest.approx(ad.grad(f)(2.0), rel=1e-14)
    assert rows_of(e.forward())[-1]["tangent"] == pytest.approx(ad.grad(f)(2.0), rel=1e-14)


def test_several_results_of_one_row():
    a = np.arange(4.0).reshape(2, 2)

    def f(a):
        return np.linalg.svd(a)[1].sum()
    e = ad.explain(f, a)
    np.testing.assert_allclose(rows_of(e.table("nodes"))[0]["grad"], ad.grad(f)(a), rtol=1e-10)
    np.testing.assert_allclose(rows_of(e.forward())[-1]["tangent"], ad.grad(f)(a), rtol=1e-10)
    assert all(output() for output in (e.table().html, e.table().latex, e.forward().latex))


def test_complex_values():
    e = ad.explain(lambda z: np.abs(z * z) ** 2, 1.0 + 2.0j)
    text = e.table().text(150)
    assert "-3+4j" in text
    assert "(-6.000-8j) · (1+2j)" in text  # a sum is bracketed as a factor


def test_broadcasting_is_undone_by_name():
    sheet = ad.explain(lambda x, b: (x + b).sum(), np.ones((3, 2)), np.array([-1.0, 1.0])).table()
    last = rows_of(sheet)[-1]
    assert last["rule"] == f"b{BAR} = unbroadcast(v{BAR}3 · 1)"
    assert last["adjoint"] == [3.0, 3.0]


def test_matrix_products_say_what_goes_back():
    w = np.arange(6.0).reshape(2, 3)
    e = ad.explain(lambda w, x: (w @ x).sum(), w, np.ones(3))
    rules = [row["rule"].replace(BAR, "") for row in rows_of(e.table("reverse"))]
    assert "x = w^T v3" in rules
    assert "w = v3 x^T" in rules
    (rule,) = [row["rule"] for row in rows_of(e.forward("x")) if row["step"] == "v3"]
    assert rule == f"v{DOT}3 = w{DOT} @ x + w @ x{DOT}"


def test_a_training_step_is_grouped_by_layers():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 2, rng=rng))
    opt, x, labels = optim.SGD(net.parameters(), lr=0.1), rng.normal(size=(5, 3)), [0, 1, 0, 1, 1]

    def step():
        loss = nn.CrossEntropyLoss()(net(x), np.array(labels))
        loss.backward()
        opt.step()
    e = ad.explain(step)
    sheet = e.table()
    headings = [g["heading"] for g in sheet.dict()["groups"]]
    assert headings[:4] == ["inputs", "net › 0: Linear", "net › 1: Tanh", "net › 2: Linear"]
    assert sheet.html(collapsed=True).count("<details>") == len(headings)
    assert "bottom up" in sheet.notes[0]
    grads = {row["step"]: row["grad"] for row in rows_of(e.table("nodes"))}
    for name, p in net.named_parameters():
        np.testing.assert_allclose(grads[f"net.{name}"], p.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_teaching_classes():
    x = AutogradValue(2.0)
    e = ad.explain(lambda x: x * x + x, x)
    assert rows_of(e.table("nodes"))[0]["grad"] == 5.0
    assert rows_of(e.forward())[-1]["tangent"] == 5.0
    assert "forward" in str(e.modes())


def test_hostile_names_are_escaped():
    def f(p):
        return p["<b>&$x_1"] * 2.0
    sheet = ad.explain(f, {"<b>&$x_1": 2.0}).table()
    assert "<b>&" not in sheet.html()
    assert r"\ensuremath{\$}x\_1" in sheet.latex()


# ---- what is not finite

def test_a_value_that_is_not_finite_gets_the_doctors_line():
    sheet = ad.explain(lambda x: np.log(x) + x, -1.0).table()
    (note,) = [n for n in sheet.notes if "nan" in n]
    assert note.startswith("v2 = ln(x) is nan (line ")
    assert "np.where(x > 0, x, 1.0)" in note
    assert '<mark class="bad">nan</mark>' in sheet.html()
    remedies = [found.remedy for found in ad.diagnose(lambda x: np.log(x) + x, -1.0).findings]
    assert any(remedy and remedy in note for remedy in remedies)


def test_an_adjoint_that_is_not_finite():
    (note,) = [n for n in ad.explain(lambda x: np.sqrt(x) * 2.0, 0.0).table().notes if "inf" in n]
    assert note.startswith(f"x{BAR} is inf, by v2 = sqrt(x)")
    assert "np.linalg.norm" in note


def test_the_element_that_is_not_finite():
    notes = ad.explain(lambda x: np.log(x).sum(), np.array([1.0, -1.0, 0.0])).table().notes
    (note,) = [n for n in notes if n.startswith("v2")]
    assert "not finite (1 nan and 1 inf of 3 elements), first at [1]" in note
    assert "and 1 other value" in note


def test_an_input_that_is_not_finite():
    notes = ad.explain(lambda x: x * 2.0, np.inf).table("forward").notes
    assert any(n.startswith("x is inf from the start") for n in notes)


# ---- settings

def test_settings():
    e = ad.explain(survey, 2.0, 5.0)
    assert "0.693147" in e.table(digits=6).text(150)
    assert "0.693147" in e.table().text(150, digits=6)
    assert "left out" in e.table(rows=4).text(150)
    assert "np.log(x1)" in e.table("forward", source="text").text(200)
    assert "line" not in e.table(source=None).text(150)
    assert "local partial" not in e.table(partials=False).text(150)
    assert "cos(x2) = 0.284" in e.table("forward").text(150)


@pytest.mark.parametrize(("settings", "message"), [
    ({"part": "backward"}, "'forward', 'reverse', 'nodes'"), ({"order": "up"}, "'time', 'step'"),
    ({"source": "file"}, "'line', 'text'"), ({"digits": 0}, "1 to 17")])
def test_settings_that_do_not_exist(settings, message):
    with pytest.raises(ArgumentError, match=message):
        ad.explain(survey, 2.0, 5.0).table(**settings)


def test_forward_says_what_is_wrong():
    e = ad.explain(lambda x, k: x * k, np.ones(3), ad.tensor(2.0))
    with pytest.raises(ArgumentError, match="no step named 'z'"):
        e.forward("z")
    with pytest.raises(ArgumentError, match="k is a skipped"):
        e.forward("k")
    with pytest.raises(ArgumentError, match="wrt is empty"):
        e.forward(())
    with pytest.raises(ShapeError, match=r"it has shape \(2,\), x \(3,\)"):
        e.forward("x", tangent=np.ones(2))
    with pytest.raises(ArgumentError, match="belongs to one input"):
        ad.explain(survey, 2.0, 5.0).forward(tangent=1.0)
    with pytest.raises(ArgumentError, match="9 inputs are too many"):
        ad.explain(lambda *xs: sum(xs), *np.ones(9)).forward()


def test_without_a_source_lines_have_numbers():
    space = {}
    exec(compile("def g(x):\n  y = x * x\n  return y * x", "<stdin>", "exec"), space)
    sheet = ad.explain(space["g"], 2.0).table("forward")
    assert [row["line"] for row in rows_of(sheet)] == [None, 2, 3]
    assert "Lines are those of <stdin>." in sheet.notes


# ---- costs

@pytest.mark.parametrize("n", [2, 3, 7, 30])
def test_multiplications_of_a_product(n):
    def product(*theta):
        found = theta[0]
        for t in theta[1:]:
            found = found * t
        return found
    values, forward, back = rows_of(ad.explain(product, *np.linspace(0.5, 1.5, n)).modes())
    assert (values["multiplications"], back["multiplications"]) == (n - 1, 2 * (n - 1))
    assert (forward["passes"], back["passes"]) == (n, 1)
    # The tangent of theta_1 takes part in n - 1 multiplications, that of theta_i in n - i + 1.
    assert forward["multiplications"] == (n - 1) + sum(n - i + 1 for i in range(2, n + 1))


def test_forward_passes_are_counted_as_if_they_were_made():
    def f(x, w, b):
        return np.tanh(w @ x + b) @ x * np.sin(b[0])
    rng = np.random.default_rng(0)
    args = rng.normal(size=3), rng.normal(size=(3, 3)), rng.normal(size=3)
    together = rows_of(ad.explain(f, *args).modes())[1]["operations"]
    alone = [rows_of(ad.explain(f, *[
        a if k == n else ad.tensor(a) for n, a in enumerate(args)]).modes())[1]["operations"]
        for k in range(3)]
    assert together == sum(alone)


def test_matrix_products_are_counted_by_their_numbers():
    w, x = np.ones((4, 3)), np.ones(3)
    values, _, back = rows_of(ad.explain(lambda w: (w @ x).sum(), w).modes())
    assert values["multiplications"] == back["multiplications"] == 12
    assert values["operations"] == 12 + 8 + 3
    assert [row["passes"] for row in rows_of(ad.explain(lambda w: w @ x, w).modes())] == [1, 12, 4]


def test_accumulation_counts_as_addition():
    _, _, once = rows_of(ad.explain(lambda x, y: x * y, 2.0, 3.0).modes())
    _, _, twice = rows_of(ad.explain(lambda x: x * x, 2.0).modes())
    assert twice["operations"] == once["operations"] + 1


@pytest.mark.parametrize(("f", "values", "back"), [
    (lambda x: np.sum(np.concatenate([x, x])), 5, 3),  # two parts are added
    (lambda x: np.sum(np.pad(x, 2)), 6, 0),
    (lambda x: np.sum(x[[2, 0]]), 1, 0),
    (lambda x: np.sum(x[::-1]), 2, 0),
    (lambda x: x[0] * x[1], 1, 2 + 3),
    (lambda x: x.max(), 2, None),
    (lambda x: np.sum(np.sort(x)), 3 + 2, None)])
def test_moving_numbers_is_free(f, values, back):
    found, _, sweep = rows_of(ad.explain(f, np.array([3.0, 1.0, 2.0])).modes())
    assert found["operations"] == values
    assert back is None or sweep["operations"] == back


def test_partials_are_exact_in_csv_and_dict():
    e = ad.explain(slides, 2.0, 5.0)
    found = {row["operation"]: row["partials"] for row in rows_of(e.table("forward"))}
    assert found["x1 * x2"] == [5.0, 2.0]
    assert found["sin(x2)"] == pytest.approx([np.cos(5.0)], rel=1e-15)


def test_an_argument_that_is_not_finite_is_the_reason():
    e = ad.explain(lambda x: np.sum(x ** 2), np.array([1.0, np.nan]))
    notes = " ".join(e.table().text(400).split())
    assert "x is not finite (1 nan of 2 elements) from the start" in notes
    assert "since x is not finite" in notes
    assert "Remedy" not in notes


def test_an_operand_that_is_spread_is_seen_where_it_stands():
    e = ad.explain(lambda x, y: np.sum(x ** y), np.array([1.0, -1.0]), np.array([0.5]))
    notes = " ".join(e.table().text(400).split())
    assert "first at [1]" in notes
    assert "a negative number to a power that is not whole" in notes


def test_averages_are_exact():
    _, forward, _ = rows_of(ad.explain(lambda x, y: x * y + np.sin(x), 2.0, 3.0).modes())
    assert (forward["operations"], forward["operations per pass"]) == (4, 2)
    assert (forward["multiplications"], forward["multiplications per pass"]) == (3, 1.5)
    assert isinstance(forward["operations per pass"], int)


def test_the_seed_of_one_pass_is_a_derivative_by_itself():
    one = rows_of(ad.explain(slides, 2.0, 5.0).forward("x1"))
    assert one[0]["rule"].endswith("∂x1/∂x1")
    both = rows_of(ad.explain(slides, 2.0, 5.0).forward())
    assert both[0]["rule"].endswith("= seed")


# ---- long programs

def test_long_programs_are_summarised():
    def f(x):
        for _ in range(20_000):
            x = x * 1.0001
        return x
    e = ad.explain(f, 1.0)
    for sheet in (e.table(), e.table("forward"), e.forward(), e.table(order="step")):
        text = sheet.text(150)
        assert "19,941 rows left out" in text
        assert len(text.splitlines()) < 150
        made = [row for row in sheet.rows if row.cells.made is not None]
        assert len(made) == 60  # no other cell was made
    assert [row["operations"] for row in rows_of(e.modes())] == [20_000] * 3


# ---- words

@pytest.mark.parametrize(("text", "expected"), [
    ("cos x2", "cos(x2)"), ("y ln v1", "y ln(v1)"), ("2 sin h.2", "2 sin(h.2)"),
    ("cos(x)", "cos(x)"), ("ln x[1]", "ln x[1]"), ("max a", "max(a)")])
def test_functions_are_typed_with_brackets(text, expected):
    assert called(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("3 x^(3 - 1)", "3 x^2"), ("2 x^(2 - 1)", "2 x"), ("0.5 x^(0.5 - 1)", "0.5 x^(-0.5)"),
    ("b a^(b - 1)", "b a^(b - 1)")])
def test_powers_have_one_exponent(text, expected):
    assert lowered(text) == expected


@pytest.mark.parametrize(("text", "expected"), [
    ("-1", True), ("1 - h^2", True), ("x[-1]", False), ("y(1 - y)", False), ("1+2j", True),
    ("1.000e-09", False), ("e^(x - y)", False), ("[x > 0] + 3", True), ("1/x1", False)])
def test_sums_need_brackets(text, expected):
    assert is_sum(text) is expected


def test_the_demo_fits_a_terminal(capsys):
    show_trace(Console(width=80))
    out = capsys.readouterr().out
    assert f"x{BAR}1 += v{BAR}3 · 1/x1" in out
    assert "│" in out
    assert max(map(len, out.replace(BAR, "").splitlines())) <= 80
