"""What is written: SVG that any parser reads, PNG, PDF, DOT, Mermaid; hostile names; errors."""

import importlib
import re
import sys
import warnings
import xml.etree.ElementTree as ET

import pytest

import adjoint as ad
from adjoint import drawing
from adjoint.drawing import Diagram, Edge, Line, Vertex
from adjoint.drawing.markup import plain, quoted
from adjoint.drawing.text import runs_of, shortened, visible
from adjoint.errors import ArgumentError, FormatError, GraphError, MissingPackageError

png_module = importlib.import_module("adjoint.drawing.png")  # `drawing.png` is its function
NAME = "{http://www.w3.org/2000/svg}"
HOSTILE = ['<script>alert("x")</script>', "a & b ]]> &lt;", r"\frac{a}{b} $x$ \N",
           "a\x00b\nc\td\x1b",
           "\u202eabc", "\ud800", '"]; end; --> {|}', "`x` #quot; #lt;b#gt;", "%% {init}", ""]


def picture(**more):
    return Diagram(
        [Vertex("x", "input", ("x = 2", Line("x\u0304 = 5.5", "adjoint")),
                marks=("accumulates", "reused"), uses=3, tip="the input"),
         Vertex("c", "constant", ("3",)), Vertex("s", "input", ("s",), marks=("skipped",)),
         Vertex("y", lines=("v₁₂", "x²"), sign="×", group=("net", "0: Linear")),
         Vertex("o", "operation", ("ln",), group=("net",)),
         Vertex("z", "output", ("z",), marks=("current",))],
        [Edge("x", "y", "3", "flow", "6"), Edge("c", "y"), Edge("s", "y", "", "skipped"),
         Edge("y", "o", "1", "flow"), Edge("o", "z", "1/y", "flow", "1")], **more)


def texts(svg):
    return ["".join(t.itertext()) for t in ET.fromstring(svg).iter(NAME + "text")]


def test_svg_shows_kinds_marks_labels_and_gradients():
    root = ET.fromstring(drawing.svg(picture(title="A <title>", legend=True)))
    words = ["".join(t.itertext()) for t in root.iter(NAME + "text")]
    for word in ("x = 2", "x\u0304 = 5.5", "+=", "×3", "3", "6", "1/y", "v12", "net", "0: Linear",
                 "A <title>", "gradient flows back", "gradient accumulates", "no gradient asked"):
        assert word in words, word
    colours = {"".join(t.itertext()): t.get("fill") for t in root.iter(NAME + "text")}
    assert colours["x\u0304 = 5.5"] == colours["6"] != colours["x = 2"]
    dashed = [p for p in root.iter(NAME + "path") if p.get("stroke-dasharray") == "5 3"]
    assert {p.get("stroke") for p in dashed} == {colours["6"]}
    assert len(dashed) == 4  # three edges with a flow, and the legend
    assert [t.text for t in root.iter(NAME + "title")][:2] == ["A <title>", "x → y 3 6"]


def test_svg_can_be_read_aloud_and_stands_alone():
    text = drawing.svg(picture(title="T"))
    root = ET.fromstring(text)
    wide, high = root.get("width"), root.get("height")
    assert root.get("viewBox") == f"0 0 {wide} {high}" and root.get("role") == "img"
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert root.get("aria-labelledby").split() == ids[:2]
    assert root.find(NAME + "desc").text == ("A graph: 1 variable, 2 inputs, 1 output, 1 constant, "
                                             "1 operation; 5 arrows.")
    assert set(re.findall(r"url\(#([^)]*)\)", text)) <= set(ids)
    other = drawing.svg(picture(title="another"))
    assert not set(ids) & {e.get("id") for e in ET.fromstring(other).iter() if e.get("id")}
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    card = root.find(NAME + "rect")
    assert card.get("fill") == "#ffffff" and float(card.get("width")) >= float(wide) - 2


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_harmless_and_visible(name):
    diagram = Diagram([Vertex("a", lines=(name,), sign=name, tip=name, group=(name,)),
                       Vertex(name + "b", "operation", (name,))],
                      [Edge("a", name + "b", name, "flow", name, name)], name, name)
    svg = drawing.svg(diagram)
    svg.encode()
    shown = shortened(visible(name), 36)
    if name:
        assert any(shown in t for t in texts(svg))
    assert {e.tag.removeprefix(NAME) for e in ET.fromstring(svg).iter()} <= {
        "svg", "title", "desc", "defs", "marker", "path", "rect", "ellipse", "g", "text", "tspan"}
    assert drawing.png(diagram).startswith(b"\x89PNG")
    drawing.dot(diagram).encode()
    for line in drawing.mermaid(diagram).splitlines():
        assert line.count('"') in (0, 2) or line.startswith("title:"), line


def test_what_cannot_be_seen_is_spelled_out():
    assert visible("a\x00\n\t\u202e") == r"a\x00\n\t\u202e"
    assert visible("v\u0304\u0304\u0304\u0304") == "v\u0304\u0304"
    assert [(r.text, r.level) for r in runs_of("x₁₂²y")] == [("x", 0), ("12", -1), ("2", 1),
                                                             ("y", 0)]


def test_dot_and_mermaid_have_the_same_marks():
    dot, mermaid = drawing.dot(picture()), drawing.mermaid(picture())
    assert dot.count("{") == dot.count("}") and dot.startswith("digraph {\n  rankdir=LR;")
    assert dot.count(" -> ") == 8  # three of them are ways back
    assert [mermaid.count(a) for a in (" <-->", " -->", " -.->")] == [3, 1, 1]
    assert dot.count("style=dashed, constraint=false") == 3
    assert dot.count("subgraph") == mermaid.count("subgraph") == 2
    assert "peripheries=2" in dot and ":::current" in mermaid and ":::skipped" in mermaid
    assert mermaid.splitlines()[0] == "flowchart LR"
    assert drawing.mermaid(picture(direction="down")).startswith("flowchart TB")
    assert quoted('say "hi" \\') == r'"say \"hi\" \\"'
    assert plain('<b>"#') == "#60;b#62;#34;#35;"


def test_a_backslash_and_an_n_are_no_new_line_of_mermaid():
    assert plain(r"\n") == "#92;\u2060n"
    assert plain("style: #") == "style#58; #35;"


def test_hidden_parts_keep_their_room():
    shown = Diagram([Vertex("a", lines=("a", Line("adj", "adjoint"))), Vertex("b", lines=("b",))],
                    [Edge("a", "b", "1", "flow")])
    hidden = Diagram([Vertex("a", lines=("a", Line("adj", "hidden"))),
                      Vertex("b", lines=("b",), marks=("hidden",))],
                     [Edge("a", "b", "1", "hidden")])
    one, other = ET.fromstring(drawing.svg(shown)), ET.fromstring(drawing.svg(hidden))
    assert texts(drawing.svg(hidden)) == ["a"]
    assert one.get("height") == other.get("height")
    assert "adj" not in drawing.dot(hidden) + drawing.mermaid(hidden)


@pytest.mark.parametrize("ending, head", [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF"),
                                          ("dot", b"digraph"), ("gv", b"digraph"),
                                          ("mmd", b"flowchart"), ("PNG", b"\x89PNG")])
def test_the_ending_says_which_file(tmp_path, ending, head):
    path = tmp_path / f"graph.{ending}"
    drawing.write(picture(), path)
    assert path.read_bytes().startswith(head)


def test_png_is_as_large_as_the_svg_and_is_the_same_every_time():
    root = ET.fromstring(drawing.svg(picture()))
    data = drawing.png(picture(), scale=2)
    size = [int.from_bytes(data[k:k + 4], "big") for k in (16, 20)]
    assert size == pytest.approx([2 * float(root.get(k)) for k in ("width", "height")], abs=2)
    assert data == drawing.png(picture(), scale=2)


def test_a_very_large_png_has_fewer_pixels_for_a_point():
    n = 260
    data = drawing.png(Diagram([Vertex(str(k), lines=("a long line of text",)) for k in range(n)],
                               [Edge(str(k), str(k + 1)) for k in range(n - 1)]), scale=4)
    assert int.from_bytes(data[16:20], "big") <= 16000


def test_a_users_settings_of_matplotlib_change_nothing():
    import matplotlib as mpl
    before = drawing.png(picture())
    with mpl.rc_context({"font.family": "serif", "savefig.bbox": "tight", "font.size": 30,
                         "lines.linewidth": 9, "patch.linewidth": 9}):
        assert drawing.png(picture()) == before


def test_files_that_cannot_be_written(tmp_path, monkeypatch):
    for name in ("graph.jpg", "graph", ".svg"):
        with pytest.raises(FormatError, match=r"\.svg, \.png, \.pdf"):
            drawing.write(picture(), tmp_path / name)
    with pytest.raises(FormatError, match="does not exist"):
        drawing.write(picture(), tmp_path / "no" / "graph.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(FormatError, match="is a folder"):
        drawing.write(picture(), tmp_path / "folder.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for call in (lambda: drawing.write(picture(), tmp_path / "g.png"),
                 lambda: drawing.pdf(picture())):
        with pytest.raises(MissingPackageError, match="pip install matplotlib"):
            call()
    drawing.write(picture(), tmp_path / "graph.svg")


@pytest.mark.parametrize("make, error, words", [
    (lambda: Diagram([Vertex("a"), Vertex("a")]), GraphError, "a key of its own"),
    (lambda: Diagram([Vertex("a")], [Edge("a", "b")]), GraphError, "'b', which is not in"),
    (lambda: Diagram([Vertex("a")], [Edge("a", "a")]), GraphError, "cycles"),
    (lambda: Diagram([Vertex("a"), Vertex("b")], [Edge("a", "b"), Edge("b", "a")]), GraphError,
     "kind='flow'"),
    (lambda: Diagram([Vertex("a", "circle")]), ArgumentError, "one of variable, input"),
    (lambda: Diagram([Vertex("a", marks=("red",))]), ArgumentError, "accumulates, skipped"),
    (lambda: Diagram([Vertex("a", marks="reused")]), ArgumentError, "write a tuple"),
    (lambda: Diagram([Vertex("a", lines=(3,))]), ArgumentError, "write str"),
    (lambda: Diagram([Vertex("a", lines=(Line("a", "bold"),))]), ArgumentError, "name, value"),
    (lambda: Diagram([Vertex("a")], direction="LR"), ArgumentError, "right, down"),
    (lambda: Diagram([Vertex("a"), Vertex("b")], [Edge("a", "b", kind="back")]), ArgumentError,
     "plain, flow"),
])
def test_errors_say_what_to_write(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_the_picture_of_a_value_is_drawn_here():
    x = ad.teach.Value(2.0, label="x")
    y = x * x
    y.backward()
    assert "x | data 2 | grad 4" in texts(y.picture())
    assert 'role="img"' in y.picture()


def test_letters_that_the_font_lacks_are_drawn_in_another():
    from matplotlib import font_manager
    others = {f.name: f.fname for f in font_manager.fontManager.ttflist
              if f.name == "DejaVu Math TeX Gyre"}
    if not others:
        pytest.skip("matplotlib came without its mathematical font")
    letter = next(chr(n) for n in sorted(png_module._letters(*others.values()))
                  if n not in png_module._letters(font_manager.findfont("DejaVu Sans")) and n > 999)
    found = png_module._families("x" + letter)
    assert found[0] == "DejaVu Sans" and len(found) > 1
    paths = [f.fname for f in font_manager.fontManager.ttflist if f.name in found]
    assert any(ord(letter) in png_module._letters(p) for p in paths)
    assert png_module._families("xy·∂") == ["DejaVu Sans"]


def test_letters_that_no_font_has_are_told_of_once(monkeypatch):
    monkeypatch.setattr(png_module, "_letters", lambda path: frozenset(range(128)))
    png_module._families.cache_clear()
    picture = Diagram([Vertex("x", lines=("\u91cd",))])
    with pytest.warns(UserWarning, match="no font here has the letters \u91cd"):
        drawing.png(picture)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing.png(picture)
    png_module._families.cache_clear()
