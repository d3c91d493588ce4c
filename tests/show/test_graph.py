"""`e.graph`: what is drawn of a program, on slides too, and of programs too long to draw."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ArgumentError, FormatError
from adjoint.show.graph import influence_picture


def survey(x1, x2):
    a = np.log(x1)
    b = x1 * x2
    c = np.sin(x2)
    return a + b - c


def vertices(picture):
    return {v.text[0].text: v for v in picture.diagram.vertices}


def edges(picture):
    names = {v.key: v.text[0].text for v in picture.diagram.vertices}
    return {(names[e.tail], names[e.head]): e for e in picture.diagram.edges}


def words(picture):
    return "".join(ET.fromstring(picture.svg()).itertext())


def test_values_adjoints_partials_and_flow():
    picture = ad.explain(survey, 2.0, 5.0).graph()
    found = vertices(picture)
    assert [line.text for line in found["x1"].text] == ["x1", "2", "x̄1 = 5.5"]
    assert found["x1"].kind == "input"
    assert set(found["x1"].marks) == {"accumulates", "reused"}
    assert found["x1"].uses == 2
    assert found["v7"].kind == "output"
    assert [found[n].sign for n in ("a", "b", "c", "v6", "v7")] == ["ln", "*", "sin", "+", "-"]
    edge = edges(picture)["x2", "c"]
    assert (edge.label, edge.kind, edge.contribution) == ("cos(x2) = 0.284", "flow", "= -0.284")
    assert edges(picture)["x1", "a"].contribution == "+= 0.5"


def test_every_number_reaches_the_svg():
    text = words(ad.explain(survey, 2.0, 5.0).graph())
    for number in ("0.693", "-0.959", "10.693", "11.652", "-0.284", "1.716", "5.5"):
        assert number in text


def test_skipped_leaves_and_constants():
    picture = ad.explain(lambda x, w: x * w + 3.0, ad.tensor(2.0), 4.0).graph()
    found = vertices(picture)
    assert found["x"].marks == ("skipped",)
    assert edges(picture)["x", "v2"].kind == "skipped"
    assert found["3"].kind == "constant"
    assert edges(picture)["3", "v3"].kind == "plain"
    hidden = ad.explain(lambda x: x + 3.0, 4.0).graph(hide="constants")
    assert "3" not in vertices(hidden)


@pytest.mark.parametrize(("hide", "gone"), [("adjoints", "x̄1"), ("values", "10.693"),
                                            ("partials", "cos(x2)")])
def test_parts_can_be_hidden(hide, gone):
    e = ad.explain(survey, 2.0, 5.0)
    assert gone in words(e.graph())
    assert gone not in words(e.graph(hide=hide))


def test_slides_have_one_size():
    e = ad.explain(survey, 2.0, 5.0)
    slides = [e.graph(until="x2"), e.graph(until="b"), e.graph(back="v7"), e.graph(back="b"),
              e.graph()]
    sizes = {ET.fromstring(s.svg()).get("viewBox") for s in slides}
    assert len(sizes) == 1
    assert "10.693" not in words(slides[1])
    assert "x̄1" not in words(slides[1])
    assert "v̄7 = 1" in words(slides[2])
    assert "ā = 1" not in words(slides[2])
    assert "b̄ = 1" in words(slides[3])


def test_layers_are_boxes_and_collapse():
    net = ad.nn.Sequential(ad.nn.Linear(3, 4), ad.nn.Tanh(), ad.nn.Linear(4, 2))

    def loss(x):
        return ad.nn.functional.cross_entropy(net(x), np.array([0, 1]))
    e = ad.explain(loss, ad.tensor(np.ones((2, 3), np.float32)))
    assert {v.group for v in e.graph().diagram.vertices} >= {
        ("net", "0: Linear"), ("net", "1: Tanh"), ("net", "2: Linear"), ("cross_entropy",)}
    outer = vertices(e.graph(collapse=1))
    weight = outer["net.0.weight"]
    assert [line.text for line in weight.text[1:]] == ["shape 4 x 3", "n̄et.0.weight: 4 x 3"]
    assert outer["net"].text[1].text == "5 operations"
    inner = vertices(e.graph(collapse=2))
    assert inner["1: Tanh"].text[1].text == "1 operation"
    assert {"0: Linear", "cross_entropy"} <= set(inner)  # the latter has no layers inside
    assert edges(e.graph(collapse=1))["net", "cross_entropy"].kind == "flow"


def test_long_programs_are_drawn_with_their_middle_left_out():
    def f(x):
        for _ in range(3_000):
            x = np.sin(x)
        return x
    picture = ad.explain(f, 1.0).graph()
    assert len(picture.diagram.vertices) < 60
    assert "... 2,960 operations ..." in vertices(picture)
    picture.svg()


def test_many_inputs_are_drawn_as_one():
    xs = [float(k) for k in range(400)]
    picture = ad.explain(lambda xs: np.sum(np.stack(xs)), xs).graph()
    assert len(picture.diagram.vertices) < 100


def test_the_influence_diagram_has_nine_nodes():
    def made_up(x):
        a = x.sum()
        b = np.log(x).sum()
        y = np.cos(np.exp(x * a) / b)
        return y.sum()
    e = ad.explain(made_up, np.array([0.1, 0.5, 0.9]))
    picture = influence_picture(e.influence(elements=True))
    assert len(picture.diagram.vertices) == 9
    assert edges(picture)["x[0]", "a"].label == "1"


def test_texts_and_files(tmp_path):
    picture = ad.explain(survey, 2.0, 5.0).graph()
    assert picture.dot().startswith("digraph")
    assert "flowchart" in picture.mermaid()
    for ending in ("svg", "png", "pdf", "dot", "mmd"):
        picture.write(tmp_path / f"graph.{ending}")
        assert (tmp_path / f"graph.{ending}").stat().st_size > 500
    with pytest.raises(FormatError):
        picture.write(tmp_path / "graph.gif")
    assert (tmp_path / "graph.png").read_bytes().startswith(b"\x89PNG")


def test_notebooks_show_static_svg():
    e = ad.explain(survey, 2.0, 5.0)
    assert e._repr_svg_() == e.graph().svg()
    assert "<script" not in e._repr_svg_()


def test_hostile_names():
    e = ad.explain(lambda p: p["<script>alert(1)</script>"] * 2.0,
                   {"<script>alert(1)</script>": 1.0})
    assert "<script" not in e.graph().svg()


def test_mistakes_are_named():
    e = ad.explain(survey, 2.0, 5.0)
    with pytest.raises(ArgumentError, match="adjoints, values"):
        e.graph(hide="everything")
    with pytest.raises(ArgumentError, match="no step named"):
        e.graph(until="q")
    with pytest.raises(ArgumentError, match="right, down"):
        e.graph(direction="left")
