"""Avals, Nodes, modes, the registry: what the book says of them."""

import gc
import math
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.core import node as nodes
from adjoint.core.box import Level, bind, live
from adjoint.core.node import MODES, NO_PARAMS, Aval, Mode, Modes, aval, aval_of, constant, switch
from adjoint.core.primitive import NUMPY, PUBLIC, REGISTRY, Primitive, register
from adjoint.core.reverse import order
from adjoint.errors import GraphError, RuleError


def test_avals_are_interned():
    assert aval((2, 3), np.dtype(float)) is aval((2, 3), np.dtype(float))
    assert aval_of(np.ones((2, 3))) is aval_of(np.zeros((2, 3)))
    assert aval_of(np.float64(1.0)) is aval_of(ad.tensor(2.0))
    assert aval_of(np.ones(2)) is not aval_of(np.ones(2, np.float32))
    assert aval_of(ad.tensor([1.0])) is aval_of(ad.tensor([2.0]) * 3.0)


@pytest.mark.parametrize("spelled", [np.float32, "float32", "f4"])
def test_asking_by_another_spelling_of_a_dtype_leaves_the_aval_that_others_hold(spelled):
    held = aval((2, 9), np.dtype("f4"))
    assert aval((2, 9), spelled) is held
    assert aval_of(np.ones((2, 9), np.float32)) is held


def test_interning_forgets_before_it_grows_without_limit(monkeypatch):
    monkeypatch.setattr(nodes, "KNOWN_LIMIT", 10)
    for n in range(50):
        assert aval((n, 7), np.dtype(float)).shape == (n, 7)
    assert len(nodes.known) <= 12
    x = ad.tensor(np.ones((3, 7)), requires_grad=True)
    (x * np.ones((3, 7)) * x).sum().backward()
    assert x.grad.tolist() == (2 * np.ones((3, 7))).tolist()


def test_python_numbers_are_weak():
    for number, kind in ((1, "i"), (1.0, "f"), (1j, "c")):
        known = aval_of(number)
        assert known.weak
        assert known.dtype.kind == kind
    x = ad.tensor(np.ones(2, np.float32))
    assert (x * 2.0).dtype == np.float32
    assert (x * np.float64(2.0)).dtype == np.float64


def test_aval_says_shape_dtype_size():
    known = Aval((2, 0, 3), np.dtype("f4"))
    assert (known.ndim, known.size, known.inexact, repr(known)) == (3, 0, True, "float32[2, 0, 3]")
    assert known == Aval((2, 0, 3), np.dtype("f4"))
    assert hash(known) == hash(Aval((2, 0, 3), np.dtype("f4")))


def test_index_is_a_topological_order_and_inputs_are_nodes():
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    y = (np.sin(x) * x + 3.0).sum()
    found = order([y.node])
    assert [n.index for n in found] == sorted((n.index for n in found), reverse=True)
    for n in found:
        assert all(isinstance(i, nodes.Node) for i in n.inputs)
        assert all(i.index < n.index or i.prim.name == "constant" for i in n.inputs)


def test_only_what_a_rule_reads_is_kept():
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    y = np.sin(x + 1.0)
    add = y.node.inputs[0]
    assert add.prim.name == "add"
    assert add.value is not None  # the derivative of sin reads it
    assert y.node.value is None
    z = np.exp(x + 1.0)
    assert z.node.value is z.value
    assert z.node.inputs[0].value is None


def test_a_freed_graph_is_an_error_not_a_wrong_number():
    x = ad.tensor(2.0, requires_grad=True)
    y = x * x
    y.backward()
    with pytest.raises(GraphError, match="freed"):
        order([y.node])


def test_constants_are_shared_or_private(monkeypatch):
    monkeypatch.setattr(nodes, "numbers", {})  # which other tests may have filled
    assert constant(2.5) is constant(2.5)
    assert constant(0.0) is not constant(-0.0)
    assert math.copysign(1.0, constant(-0.0).value) == -1.0
    a = np.ones(2)
    assert constant(a).value is not a
    assert constant(a, keep=False).value is None
    assert math.isnan(constant(math.nan).value)


def test_negative_zero_survives_recording():
    x = ad.tensor(1.0, requires_grad=True)
    one, other = x * 0.0, x * -0.0
    assert math.copysign(1.0, one.item()) == 1.0
    assert math.copysign(1.0, other.item()) == -1.0
    other.backward()
    assert math.copysign(1.0, x.grad.item()) == -1.0


def test_modes_nest_and_restore():
    assert MODES.get() == Modes()
    with Mode(lambda m: m._replace(whole=True)), Mode(lambda m: m._replace(paused=5)):
        assert MODES.get()._replace(blocks=()) == Modes(paused=5, whole=True)
        assert switch.armed == 2
    assert switch.armed == 0
    assert MODES.get() == Modes()


def test_blocks_end_in_any_order():
    first, second, nodes = ad.no_grad(), ad.strict(), ad.tape()
    x = ad.tensor(2.0, requires_grad=True)
    first.__enter__()
    recorded = nodes.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert (x * x).requires_grad
    assert [n.prim.name for n in recorded] == ["multiply"]
    assert MODES.get().strict
    nodes.__exit__(None, None, None)
    assert (x * x).requires_grad
    assert len(recorded) == 1
    second.__exit__(None, None, None)
    assert MODES.get() == Modes()
    assert switch.armed == 0


def test_a_generator_is_left_with_its_block_open():
    def paused():
        with ad.no_grad():
            yield 1

    x = ad.tensor(2.0, requires_grad=True)
    generator = paused()
    next(generator)
    with ad.enable_grad():
        generator.close()
        assert (x * x).requires_grad
    assert (x * x).requires_grad
    assert np.sum(x * x, axis=None).requires_grad
    assert MODES.get() == Modes()


def test_levels_end():
    with Level() as outer, Level() as inner:
        assert {outer, inner} <= live
        assert inner > outer
    assert not {outer, inner} & live


def test_registry_refuses_a_second_row_of_one_name():
    with pytest.raises(ValueError, match="a row named 'sin' exists already; choose another name"):
        register(Primitive("sin", np.sin))
    assert REGISTRY["sin"].vjp is not None
    assert all(name == row.name for name, row in REGISTRY.items())


def test_every_numpy_function_of_the_table_is_public_or_said_here():
    assert NUMPY[np.sin] is PUBLIC["sin"]
    assert all(callable(f) for f in NUMPY.values())


def test_a_wrong_keeps_fails_instead_of_using_a_wrong_number():
    row = Primitive("cube", lambda x: x ** 3, vjp=lambda dy, y, x, needs: (dy * 3.0 * x * x,))
    x = ad.tensor(2.0, requires_grad=True)
    with pytest.raises(TypeError):
        bind(row, (x + 1.0,), {}).backward()


@pytest.mark.parametrize("row, text", [
    (Primitive("short", np.sum, vjp=lambda dy, y, x, needs: (dy * np.ones(1),)),
     r"the vjp of short gave shape \(1,\) for an argument of shape \(2,\)"),
    (Primitive("wide", np.sum, vjp=lambda dy, y, x, needs: (dy * np.ones((1, 2)),)),
     r"the vjp of wide gave shape \(1, 2\)")])
def test_a_wrong_shape_names_the_row(row, text):
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuleError, match=text):
        bind(row, (x,), {}).backward()


def test_a_wrong_shape_that_reaches_a_variable_is_an_error():
    row = Primitive("same", lambda x: x * 1.0, vjp=lambda dy, y, x, needs: (dy[:1],))
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RuleError, match=r"a gradient of shape \(1,\) arrived at a variable of"):
        bind(row, (x,), NO_PARAMS).sum().backward()
    with pytest.raises(RuleError, match=r"ad\.check finds it"):
        ad.grad(lambda x: bind(row, (x,), NO_PARAMS).sum())(np.ones(2))


def test_a_missing_or_wrong_jvp_names_the_row():
    missing = Primitive("missing", lambda x: x * 1.0, vjp=lambda dy, y, x, needs: (dy,))
    with pytest.raises(RuleError, match="missing has no jvp rule"):
        ad.jvp(lambda x: bind(missing, (x,), {}), (1.0,), (1.0,))
    with pytest.raises(RuleError, match="missing has no jvp rule"):
        ad.linearize(lambda x: bind(missing, (x,), {}), 1.0)[1](1.0)
    wrong = Primitive("wrong", lambda x: x * 1.0, jvp=lambda dxs, y, x: dxs[0][:1])
    with pytest.raises(RuleError, match=r"the jvp of wrong gave shape \(1,\) for a result of"):
        ad.jvp(lambda x: bind(wrong, (x,), {}), (np.ones(2),), (np.ones(2),))


def test_tape_holds_steps_values_and_lines():
    x = ad.tensor(2.0, requires_grad=True)
    with ad.tape() as outer:
        y = x * x
        with ad.tape() as inner:
            z = np.sin(y)
    assert [n.prim.name for n in outer] == ["multiply", "sin"]
    assert [n.prim.name for n in inner] == ["sin"]
    assert [n.value for n in outer] == [4.0, np.sin(4.0)]
    assert outer[0] is y.node
    assert inner[0] is z.node
    file, line = ad.line_of(inner[0].site)
    assert file == __file__
    assert "z = np.sin(y)" in Path(file).read_text().splitlines()[line - 1]


def test_nothing_of_this_leaves_cycles():
    gc.collect()
    gc.disable()
    try:
        with ad.tape():
            ad.grad(np.sin)(1.0)
        assert gc.collect() == 0
    finally:
        gc.enable()
