"""Places: no boxes overlap, arrows end at borders and pass no box, and all of it runs one way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adjoint import drawing
from adjoint.drawing import Diagram, Edge, Line, Vertex
from adjoint.drawing.diagram import DIRECTIONS, EDGE_KINDS, KINDS
from adjoint.drawing.layout import layout
from adjoint.drawing.measure import FONT, slot_of, texts_of
from adjoint.drawing.scene import Shape, Words, scene, spots
from adjoint.drawing.text import width_of

SURVEY = Diagram(
    [Vertex("v1", "input", ("v₁ = 2", Line("v̄₁ = 5.5", "adjoint")), marks=("accumulates",)),
     Vertex("v2", "input", ("v₂ = 5",), marks=("reused",), uses=2),
     Vertex("v3", lines=("v₃ = 0.693",), sign="ln"), Vertex("v4", lines=("v₄ = 10",), sign="×"),
     Vertex("v5", lines=("v₅ = −0.959",), sign="sin"), Vertex("v6", lines=("v₆",), sign="+"),
     Vertex("v7", "output", ("v₇ = 11.652",), sign="−")],
    [Edge("v1", "v3", "1/v₁ = 0.5", "flow", "0.5"), Edge("v1", "v4", "v₂ = 5", "flow", "5"),
     Edge("v2", "v4", "v₁ = 2", "flow", "2"), Edge("v2", "v5", "cos v₂", "flow"),
     Edge("v3", "v6", "1"), Edge("v4", "v6", "1"), Edge("v6", "v7"), Edge("v5", "v7", "−1")],
    title="B1", legend=True)


def rotated(diagram, direction):
    return Diagram(diagram.vertices, diagram.edges, diagram.title, legend=diagram.legend,
                   direction=direction)


def points(path, fine=24):
    """Points along a path, close together."""
    at = path[0][0]
    yield at
    for step in path[1:]:
        corners = (at, step[0], step[0], at) if len(step) == 1 else (at, *step)
        for k in range(1, fine + 1):
            t = k / fine
            if len(step) == 1:
                yield tuple(a + (b - a) * t for a, b in zip(at, step[0], strict=True))
            else:
                weight = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3)
                yield tuple(sum(w * c[n] for w, c in zip(weight, corners, strict=True))
                            for n in (0, 1))
        at = step[-1]


def inside(box, point, by):
    return (box.x + by < point[0] < box.x + box.width - by
            and box.y + by < point[1] < box.y + box.height - by)


def overlap(one, other):
    return (one.x + one.width > other.x + 1e-6 and other.x + other.width > one.x + 1e-6
            and one.y + one.height > other.y + 1e-6 and other.y + other.height > one.y + 1e-6)


def check_places(diagram):
    """What must hold of every picture."""
    places = layout(diagram)
    boxes = list(places.boxes.items())
    for k, (name, box) in enumerate(boxes):
        assert box.x >= -1e-6 and box.x + box.width <= places.width + 1e-6, name
        assert box.y >= -1e-6 and box.y + box.height <= places.height + 1e-6, name
        for other_name, other in boxes[k + 1:]:
            assert not overlap(box, other), (name, other_name)
    for edge, route in zip(diagram.edges, places.routes, strict=True):
        for path in filter(None, (route.path, route.back)):
            for point in points(path):
                assert -1 <= point[0] <= places.width + 1 and -1 <= point[1] <= places.height + 1
                for name, box in boxes:
                    if name not in (edge.tail, edge.head):
                        assert not inside(box, point, 0.5), (edge, name, point)
        check_ends(diagram, places, edge, route)
    check_labels(diagram, places)
    check_frames(diagram, places)


def check_ends(diagram, places, edge, route):
    """The arrow begins at the border of the box of its tail and ends at that of its head's entry.

    Both ways: the way back does the same from the other side.
    """
    down = diagram.direction == "down"
    axis = int(down)
    tail_box, _ = spots(places.looks[edge.tail], places.boxes[edge.tail], down)
    head_box, circle = spots(places.looks[edge.head], places.boxes[edge.head], down)
    start, end = route.path[0][0], route.path[-1][-1]
    assert start[axis] < end[axis]
    check_border(tail_box, start, axis, far=True)
    check_border(circle or head_box, end, axis, far=False)
    assert bool(route.back) == (edge.kind == "flow")
    if route.back:
        check_border(circle or head_box, route.back[0][0], axis, far=False)
        check_border(tail_box, route.back[-1][-1], axis, far=True)


def check_border(box, point, axis, far):
    low, size = ((box.x, box.width), (box.y, box.height))[axis]
    border = low + size if far else low
    depth = (border - point[axis]) * (1 if far else -1)
    assert -1e-6 <= depth <= size / 2 + 1e-6  # round borders lie further in
    other_low, other_size = ((box.y, box.height), (box.x, box.width))[axis]
    assert other_low - 1e-6 <= point[1 - axis] <= other_low + other_size + 1e-6


def check_labels(diagram, places):
    """No label lies on a box or on another label."""
    rooms = []
    for edge, route in zip(diagram.edges, places.routes, strict=True):
        label, back = texts_of(edge)
        assert (route.label is None) == (not label and not back)
        if route.label:
            x, y = route.label
            along, across, through = slot_of(edge, diagram.direction == "down")
            wide, high = (across, along) if diagram.direction == "down" else (along, across)
            left, top = ((x - through - wide / 2, y - high / 2) if diagram.direction == "down"
                         else (x - wide / 2, y - through - high / 2))
            room = type(next(iter(places.boxes.values())))(left, top, wide, high)
            assert all(not overlap(room, box) for box in places.boxes.values()), edge
            assert all(not overlap(room, other) for other in rooms), edge
            rooms.append(room)


def check_frames(diagram, places):
    """A frame holds its own vertices and no others; frames of one depth lie apart."""
    for k, one in enumerate(places.frames):
        for other in places.frames[k + 1:]:
            if one.depth == other.depth:
                assert not overlap(one.box, other.box), (one.name, other.name)
    for vertex in diagram.vertices:
        box = places.boxes[vertex.key]
        around = [f for f in places.frames if overlap(f.box, box)]
        assert [f.name for f in sorted(around, key=lambda f: f.depth)] == list(vertex.group)
        for f in around:
            assert f.box.x <= box.x and f.box.x + f.box.width >= box.x + box.width
            assert f.box.y <= box.y and f.box.y + f.box.height >= box.y + box.height


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_graph_of_the_survey(direction):
    check_places(rotated(SURVEY, direction))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", ["single", "none", "diamonds", "wide", "fan", "skip", "pair"])
def test_shapes(shape, direction):
    names = {"single": 1, "none": 0, "diamonds": 9, "wide": 31, "fan": 31, "skip": 13, "pair": 2}
    n = names[shape]
    edges = {"single": [], "none": [], "pair": [],
             "diamonds": [(k, k + 1) for k in range(n - 1) for _ in (0, 1)],
             "wide": [(k, n - 1) for k in range(n - 1)], "fan": [(0, k) for k in range(1, n)],
             "skip": [(k, k + 1) for k in range(n - 1)] + [(0, 11), (1, 11), (2, 12)]}[shape]
    check_places(Diagram([Vertex(str(k), lines=(f"name {k}", "0.5"), sign="+" if k % 2 else "")
                          for k in range(n)],
                         [Edge(str(a), str(b), "" if b % 3 else "1/x", "flow") for a, b in edges],
                         direction=direction))


@st.composite
def diagrams(draw, grouped=False):
    n = draw(st.integers(1, 14))
    words = st.text("abcWM₁²_ é", max_size=14)
    paths = st.sampled_from([(), ("a",), ("a", "b"), ("a", "c"), ("d",)] if grouped else [()])
    vertices = [Vertex(str(k), draw(st.sampled_from(KINDS)),
                       tuple(draw(st.lists(words, max_size=3))), sign=draw(st.sampled_from(
                           ["", "", "+", "matmul"])),
                       marks=tuple(draw(st.sets(st.sampled_from(["accumulates", "skipped",
                                                                 "reused"])))),
                       group=draw(paths)) for k in range(n)]
    ends = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] != p[1])
    pairs = draw(st.lists(ends, max_size=20)) if n > 1 else []
    kinds = st.sampled_from(EDGE_KINDS)
    return Diagram(vertices, [Edge(str(min(p)), str(max(p)), draw(words), draw(kinds), draw(words))
                              for p in pairs], direction=draw(st.sampled_from(DIRECTIONS)))


@given(diagrams())
@settings(max_examples=60, deadline=None)
def test_random_graphs(diagram):
    check_places(diagram)


@given(diagrams(grouped=True))
@settings(max_examples=60, deadline=None)
def test_random_graphs_with_groups(diagram):
    check_places(diagram)


def test_a_group_that_is_entered_again_is_drawn_twice():
    vertices = [Vertex("a", lines=("a",), group=("layer",)), Vertex("b", lines=("b",)),
                Vertex("c", lines=("c",), group=("layer",))]
    diagram = Diagram(vertices, [Edge("a", "b"), Edge("b", "c")])
    check_places(diagram)
    assert [f.name for f in layout(diagram).frames] == ["layer", "layer"]
    joined = Diagram(vertices, [Edge("a", "b"), Edge("a", "c")])
    assert len(layout(joined).frames) == 1


def test_leaves_stand_just_before_their_first_use():
    chain = [Edge(f"x{k}", f"x{k + 1}") for k in range(6)]
    vertices = [Vertex(f"x{k}", lines=("x",)) for k in range(7)] + [Vertex("w", lines=("w",))]
    places = layout(Diagram(vertices, [*chain, Edge("w", "x6")])).boxes
    middle = {key: box.x + box.width / 2 for key, box in places.items()}
    assert middle["w"] == pytest.approx(middle["x5"])


def test_no_crossing_where_none_is_needed():
    """Four interleaved paths, given in an order in which all of them cross."""
    vertices = [Vertex(f"{c}{k}", lines=(c,)) for k in range(3) for c in
                ("abcd" if k % 2 else "dbca")]
    edges = [Edge(f"{c}{k}", f"{c}{k + 1}") for c in "abcd" for k in range(2)]
    places = layout(Diagram(vertices, edges))
    for route in places.routes:
        assert len({round(y, 6) for _, y in points(route.path)}) == 1  # straight lines


def test_long_edges_are_straight_between_their_ends():
    places = layout(Diagram([Vertex(str(k), lines=("x",)) for k in range(12)],
                            [*(Edge(str(k), str(k + 1)) for k in range(11)), Edge("0", "11")]))
    path = places.routes[-1].path
    assert sum(len(step) == 3 for step in path) == 2  # it turns twice: out, and back in


def test_far_edges_of_deep_graphs_take_lanes_and_stay_clear_of_boxes():
    n = 240
    edges = [Edge(str(k), str(k + 1)) for k in range(n - 1)]
    edges += [Edge(str(k), str(n - 1 - k), "far" if k % 9 == 0 else "", "flow")
              for k in range(n // 2 - 5)]
    diagram = Diagram([Vertex(str(k), lines=(str(k),)) for k in range(n)], edges)
    places = layout(diagram)
    lanes = [r for r in places.routes if len([s for s in r.path if len(s) == 3]) == 4]
    assert len(lanes) > 10
    for edge, route in zip(edges, places.routes, strict=True):
        if route in lanes[::7]:
            others = [b for name, b in places.boxes.items() if name not in (edge.tail, edge.head)]
            for point in points(route.path, 400):
                assert not any(inside(b, point, 0.5) for b in others), edge


def test_text_fits_into_its_box():
    """Against the widths of matplotlib's copy of the font, which are exact."""
    from matplotlib.textpath import TextPath
    for text in ("v₁ = 11.652", "log_softmax(axis=-1)", "∂y/∂x · Σ √ θ", "WWW mmm", "Жук é ā"):
        for bold in (False, True):
            place = TextPath((0, 0), text.translate(str.maketrans("₁", "1")), size=FONT,
                             prop={"family": "DejaVu Sans", "weight": "bold" if bold else "normal"})
            assert place.get_extents().width <= width_of(text, FONT, bold) * 1.03 + 4.0, text
    page = scene(SURVEY)
    for part in page.parts:
        shapes = [t for t in part.things if isinstance(t, Shape)]
        for words in [t for t in part.things if isinstance(t, Words)]:
            wide = width_of(words.text, words.size, words.bold)
            left = words.x - {"start": 0, "middle": wide / 2, "end": wide}[words.anchor]
            assert left >= 0 and left + wide <= page.width and 0 < words.y < page.height
            if len(shapes) > 0 and words.anchor == "middle":
                assert any(s.box.x <= left and left + wide <= s.box.x + s.box.width
                           and s.box.y <= words.y - words.size * 0.7
                           and words.y <= s.box.y + s.box.height for s in shapes), words


def test_pictures_are_the_same_every_time():
    assert drawing.svg(SURVEY) == drawing.svg(rotated(SURVEY, "right"))
    assert drawing.svg(SURVEY) != drawing.svg(rotated(SURVEY, "down"))
