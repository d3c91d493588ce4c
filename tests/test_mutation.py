"""Memory and mutation: values are owned, so a write never reaches what a graph has kept.

Each case runs twice: with CPython's reference counts, and on the path that always copies.
"""

import contextlib
import copy
import operator as python_operator
import weakref

import numpy as np
import pytest

import adjoint as ad
from adjoint import methods, tensors
from adjoint.core.node import aval_of
from adjoint.core.symbol import trace
from adjoint.errors import (
    AdjointError,
    DTypeError,
    EscapeError,
    GraphError,
    MutationError,
    ShapeError,
    UnsupportedError,
)


@pytest.fixture(autouse=True, params=["counts", "copies"])
def way(request, monkeypatch):
    if request.param == "copies":
        monkeypatch.setattr(tensors, "COUNTS", False)
        monkeypatch.setattr(methods, "COUNTS", False)
    return request.param


def leaf(*values):
    return ad.tensor(list(values), requires_grad=True)


# ---- what goes in and comes out

def test_tensor_copies_its_data():
    a = np.array([1.0, 2.0])
    x = ad.tensor(a, requires_grad=True)
    y = (x * x).sum()
    a[:] = 100.0
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_numpy_is_a_read_only_view():
    x = ad.tensor([1.0, 2.0])
    view = x.numpy()
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5.0
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 5.0
    assert np.shares_memory(view, x.numpy())
    x += 1.0
    assert view.tolist() == [1.0, 2.0]
    assert np.array(x).flags.writeable


def test_an_array_operand_that_is_kept_is_copied():
    x, a = leaf(1.0, 2.0), np.array([3.0, 4.0])
    y = (x * a).sum()
    view = a[::-1]
    view[:] = 0.0
    y.backward()
    assert x.grad.tolist() == [3.0, 4.0]


def test_a_read_only_view_of_a_writable_array_is_copied_too():
    x, a = leaf(1.0, 2.0), np.array([3.0, 4.0])
    view = a[:]
    view.flags.writeable = False
    y = (x * view).sum()
    a[:] = 0.0
    y.backward()
    assert x.grad.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("change", [
    lambda v: v.__iadd__(1.0), lambda v: v.__setitem__(0, 9.0), lambda v: v.zero_(),
    lambda v: v.fill_(7.0), lambda v: setattr(v, "data", np.zeros(2)), lambda v: v.mul_(2.0),
    lambda v: np.sin(v, out=v), lambda v: v.copy_([8.0, 8.0]),
], ids=["+=", "[0]=", "zero_", "fill_", "data", "mul_", "out", "copy_"])
def test_a_saved_tensor_changed_before_backward_has_no_effect(change):
    x, c = leaf(1.0, 2.0), ad.tensor([3.0, 4.0])
    y = (x * c).sum()
    change(c)
    y.backward()
    assert x.grad.tolist() == [3.0, 4.0]
    assert c.tolist() != [3.0, 4.0]


@pytest.mark.parametrize("change, refused", [
    (lambda v: v.data.__iadd__(1.0), False), (lambda v: v.detach().__imul__(0.0), False),
    (lambda v: v.data.__setitem__(0, 9.0), True), (lambda v: v.detach().zero_(), True),
], ids=["data+=", "detach*=", "data[0]=", "detach.zero_"])
def test_a_saved_leaf_changed_through_data_or_detach_has_no_effect(change, refused):
    """An operator gives a new value; a write that would be lost in one is refused."""
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    with pytest.raises(MutationError) if refused else contextlib.nullcontext():
        change(x)
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]
    assert x.tolist() == [1.0, 2.0]


def test_a_saved_result_changed_before_backward_has_no_effect():
    x = leaf(0.0, 1.0)
    y = np.exp(x)
    z = y.sum()
    y *= 0.0
    z.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([0.0, 1.0]))


def test_an_update_between_forward_and_backward_has_no_effect():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    with ad.no_grad():
        x -= 1.0
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]
    assert x.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("key", [0, -1, slice(1), (slice(None),), np.array([0, 1]), ..., [0, 1],
                                 np.array([True, False]), ad.tensor(1), ad.tensor([True, False])])
def test_writing_elements_stays_in_the_buffer_and_reads_keys_as_numpy(key, way):
    t, a = ad.tensor([1.0, 2.0]), np.array([1.0, 2.0])
    buffer = weakref.ref(t.value)
    t[key] = 7.0
    a[np.asarray(key) if isinstance(key, ad.Tensor) else key] = 7.0
    assert t.tolist() == a.tolist()
    if isinstance(key, (int, slice, tuple)):
        assert (buffer() is t.value) is (way == "counts")
    for wrong, error in ((9, IndexError), (slice(9, 9, 0), ValueError), ("a", IndexError)):
        with pytest.raises(error):
            t[wrong] = 1.0
    with pytest.raises(ShapeError):
        t[:] = np.ones(3)
    assert t.tolist() == a.tolist()


# ---- in place, on results

def reference(program, start):
    """The value by NumPy, and the gradient by finite differences of NumPy's program."""
    def value(v):
        return float(program(v.copy()))
    h, x = 1e-6, np.array(start)
    grad = [(value(x + h * e) - value(x - h * e)) / (2 * h) for e in np.eye(len(x))]
    return value(x), np.array(grad)


def increments(x):
    y = x * 1.0
    y[0] += 2.0 * x[1]
    y[1:] *= y[:-1]
    return (y * y).sum()


def overwrites(x):
    y = x * 2.0
    y[1] = x[0] * x[2]
    y[[0, 2]] = y[[2, 0]]
    return (y * x).sum()


def repeats(x):
    y = x * x
    y += x
    y -= 0.5
    y *= y
    y /= 2.0
    y **= 2
    return y.sum()


def masks(x):
    y = x * x
    y[x > 1.5] = 0.0
    y[::2] += x[::2]
    return y.sum()


def loops(x):
    y = x * 0.0
    for i in range(3):
        y[i] = x[i] * (y[i - 1] + 1.0) if i else x[i]
    return y.sum() * y[2]


PROGRAMS = [increments, overwrites, repeats, masks, loops]


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_place_programs_agree_with_numpy(program):
    start = [1.0, 2.0, 3.0]
    value, grad = reference(program, start)
    x = leaf(*start)
    y = program(x)
    y.backward()
    np.testing.assert_allclose(y.item(), value)
    np.testing.assert_allclose(x.grad.numpy(), grad, rtol=1e-6, atol=1e-6)
    assert x.tolist() == start


@pytest.mark.parametrize("program", PROGRAMS)
def test_in_place_programs_in_both_functional_modes(program):
    start = [1.0, 2.0, 3.0]
    value, grad = reference(program, start)
    got, dx = ad.value_and_grad(program)(np.array(start))
    np.testing.assert_allclose(got, value)
    np.testing.assert_allclose(dx, grad, rtol=1e-6, atol=1e-6)
    for e, g in zip(np.eye(3), grad, strict=True):
        np.testing.assert_allclose(ad.jvp(program, (np.array(start),), (e,)), (value, g),
                                   rtol=1e-6, atol=1e-6)


def test_everyone_who_holds_the_tensor_sees_the_write():
    x = leaf(1.0, 2.0)
    y = z = x * 1.0
    y += 1.0
    assert z is y
    assert z.tolist() == [2.0, 3.0]
    z[0] = 0.0
    assert y.tolist() == [0.0, 3.0]


def test_in_place_keeps_shape_and_dtype():
    x = ad.tensor(np.ones(2, np.float32), requires_grad=True)
    y = x * np.float32(2.0)
    y += np.full(2, 0.5)
    assert y.dtype == np.float32
    y.sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [2.0, 2.0]
    with pytest.raises(ShapeError, match=r"in place: the result has shape \(3, 2\)"):
        y += np.ones((3, 2))


@pytest.mark.parametrize("change", [
    lambda v: v.__iadd__(0.5), lambda v: v.__itruediv__(2), lambda v: v.__imul__(1j)])
def test_a_result_that_the_dtype_cannot_hold_is_an_error_as_in_numpy(change):
    t = ad.tensor([1, 2])
    with pytest.raises(DTypeError, match="does not fit into int64"):
        change(t)
    with pytest.raises(TypeError):
        change(np.array([1, 2]))
    assert t.tolist() == [1, 2]


def test_integer_tensors_change_in_place():
    t = ad.tensor([1, 2])
    t += 1
    t[0] = 7
    assert t.tolist() == [7, 3]
    assert t.dtype == np.int64


def test_broadcast_in_place():
    x, b = leaf(1.0, 2.0), ad.tensor(np.zeros((2, 2)))
    b += x
    (b * b).sum().backward()
    assert x.grad.tolist() == [4.0, 8.0]


def test_an_untracked_buffer_takes_tracked_values():
    x, out = leaf(1.0, 2.0), ad.zeros(3)
    out[1:] = x * x
    out.sum().backward()
    assert out.requires_grad
    assert x.grad.tolist() == [2.0, 4.0]


# ---- leaves

def test_a_leaf_cannot_be_changed_outside_no_grad():
    x = leaf(1.0, 2.0)
    for change in (lambda: x.__iadd__(1.0), lambda: x.__setitem__(0, 1.0), x.zero_,
                   lambda: np.sin(x, out=x), lambda: x.fill_(1.0)):
        with pytest.raises(GraphError, match="on a leaf that requires a gradient"):
            change()
    assert x.tolist() == [1.0, 2.0]


def test_an_update_inside_no_grad_keeps_the_leaf():
    x = leaf(1.0, 2.0)
    for _ in range(3):
        (x * x).sum().backward()
        with ad.no_grad():
            x -= 0.25 * x.grad
            x.grad = None
    assert x.is_leaf
    assert x.requires_grad
    assert x.tolist() == [0.125, 0.25]


def test_an_optimisers_update_stays_in_its_buffer(way):
    x = ad.tensor(np.ones(1000), requires_grad=True)
    before = weakref.ref(x.value)
    for _ in range(3):
        y = (x * x).sum()
        y.backward()
        with ad.no_grad():
            x -= 0.1 * x.grad
            x.grad.zero_()
    assert x.detach().numpy()[0] == pytest.approx(0.512)
    assert (before() is x.value) is (way == "counts")


def test_the_buffer_is_left_alone_while_a_view_or_graph_holds_it():
    x = leaf(1.0, 2.0)
    view, other = x.detach().numpy(), x.detach()
    y = x * x
    with ad.no_grad():
        x += 10.0
    assert view.tolist() == other.tolist() == [1.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_writes_in_no_grad_inside_a_function_move_the_value_alone():
    def f(x):
        y = x * x
        with ad.no_grad():
            y += 1.0
        return y * 2.0
    assert ad.value_and_grad(f)(3.0) == (20.0, 12.0)
    assert ad.jvp(f, (3.0,), (1.0,)) == (20.0, 12.0)

    def g(x):
        with ad.no_grad():
            x += 1.0
        return x * x
    assert ad.value_and_grad(g)(2.0) == (9.0, 6.0)
    assert ad.jvp(g, (2.0,), (1.0,)) == (9.0, 6.0)


def test_data_on_a_result_keeps_its_place_in_the_graph():
    x = leaf(1.0, 2.0)
    y = x * 3.0
    y.data = np.array([10.0, 20.0])
    (y * y).sum().backward()
    assert x.grad.tolist() == [60.0, 120.0]


# ---- slices are values

def test_an_in_place_operator_on_a_slice_gives_a_new_value():
    x = ad.tensor([[1.0, 2.0], [3.0, 4.0]])
    r = x[0]
    r += 10.0
    assert r.tolist() == [11.0, 12.0]
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    r[0] = 5.0  # its memory is its own now
    assert r.tolist() == [5.0, 12.0]


VIEWS = {
    "slice": lambda x: x[0], "range": lambda x: x[:1], "reshape": lambda x: x.reshape(4),
    "T": lambda x: x.T, "new axis": lambda x: x[None], "slice of slice": lambda x: x[0][1:],
    "ravel": np.ravel, "transposed slice": lambda x: x.T[0]}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("tracked", [True, False])
def test_writing_into_a_view_raises_while_its_base_is_alive(view, tracked):
    x = ad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=tracked) * 1.0
    r = view(x)
    for write in (lambda: r.__setitem__(0, 5.0), r.zero_, lambda: np.sin(r, out=r),
                  lambda: setattr(r, "data", np.zeros(r.shape)), lambda: r.fill_(1.0)):
        with pytest.raises(MutationError, match="slices are values"):
            write()
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_writing_into_a_view_raises_also_after_its_base_was_written():
    x = ad.tensor([1.0, 2.0, 3.0])
    r = x[:2]
    x[2] = 9.0
    with pytest.raises(MutationError):
        r[0] = 5.0


@pytest.mark.parametrize("copying", [
    lambda x: x[[0]], lambda x: x[x > 2.0], lambda x: x[0] + 0.0, lambda x: x[0].clone(),
    lambda x: np.concatenate([x, x])])
def test_what_numpy_copies_can_be_written(copying):
    x = ad.tensor([[1.0, 2.0], [3.0, 4.0]])
    r = copying(x)
    r[0] = 5.0
    assert np.all(r.numpy()[0] == 5.0)
    assert x.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_view_whose_base_is_gone_can_be_written():
    r = (ad.tensor([1.0, 2.0]) * 2.0)[:1]
    r[0] = 5.0
    y = np.sin(leaf(1.0, 2.0, 3.0, 4.0)).reshape(2, 2)
    y[0] = 1.0
    assert r.tolist() == [5.0]
    assert y[0].tolist() == [1.0, 1.0]


def test_writing_into_a_view_raises_under_every_transformation():
    def f(x):
        r = x[:1]
        r[0] = 5.0
        return x.sum() + r.sum()
    x = np.array([1.0, 2.0])
    for call in (lambda: ad.grad(f)(x), lambda: ad.jvp(f, (x,), (x,)), lambda: ad.hessian(f)(x),
                 lambda: ad.vmap(f)(np.ones((2, 2))), lambda: ad.jacobian(f, mode="forward")(x)):
        with pytest.raises(MutationError, match="slices are values"):
            call()


def test_x_i_plus_equals_v():
    x = leaf(1.0, 2.0)
    y = x * 1.0
    y[0] += x[1] * 3.0
    y[0] += 1.0
    y.sum().backward()
    assert y.tolist() == [8.0, 2.0]
    assert x.grad.tolist() == [1.0, 4.0]


# ---- out=

def test_out_rebinds_a_tensor():
    x, out = leaf(1.0, 2.0), ad.zeros(2)
    got = np.multiply(x, x, out=out)
    assert got is out
    out.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_out_of_another_shape_or_an_array_is_an_error():
    x = leaf(1.0, 2.0)
    with pytest.raises(ShapeError, match="out=t"):
        np.sin(x, out=ad.zeros(3))
    with pytest.raises(EscapeError, match="out=array"):
        np.sin(x, out=np.zeros(2))
    array = np.zeros(2)
    np.sin(x.detach(), out=array)
    np.testing.assert_allclose(array, np.sin([1.0, 2.0]))


# ---- aliasing

def separate(*arrays):
    arrays = [a.detach().numpy() if isinstance(a, ad.Tensor) else a for a in arrays]
    return all(not np.shares_memory(a, b) for n, a in enumerate(arrays) for b in arrays[:n])


def test_gradients_alias_neither_each_other_nor_the_cotangent():
    a, b, dy = leaf(1.0, 2.0), leaf(3.0, 4.0), np.array([1.0, 1.0])
    (a + b).backward(dy)
    assert separate(a.grad, b.grad, dy)
    a.grad *= 0.0
    dy[:] = 5.0
    assert b.grad.tolist() == [1.0, 1.0]
    seed = ad.tensor([1.0, 1.0])
    a.grad = b.grad = None
    (a + b).backward(seed)
    assert separate(a.grad, b.grad, seed)
    seed += 1.0
    a.grad[0] = 9.0
    assert b.grad.tolist() == [1.0, 1.0]


def test_gradients_that_are_views_own_their_memory():
    a = ad.tensor(np.ones((2, 2)), requires_grad=True)
    b = ad.tensor(np.ones(4), requires_grad=True)
    (a.reshape(4) + b).backward(np.ones(4))
    assert separate(a.grad, b.grad)
    a.sum().backward()
    a.grad[0, 0] = 7.0
    assert a.grad.tolist() == [[7.0, 2.0], [2.0, 2.0]]


def test_functional_gradients_and_values_are_separate():
    x, z, dy = np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.ones(2)
    value, pullback = ad.vjp(lambda x, z: x + z, x, z)
    dx, dz = pullback(dy)
    assert separate(value, x, z, dx, dz, dy)
    value, tangent = ad.jvp(lambda x: (x, x), (x,), (dy,))
    assert separate(x, dy, *tangent)
    assert separate(x, ad.vmap(lambda v: v)(x))


def test_changing_the_value_of_vjp_does_not_change_its_pullback():
    y, pullback = ad.vjp(np.exp, np.array([0.0, 1.0]))
    y[:] = 0.0
    np.testing.assert_allclose(pullback(np.ones(2))[0], np.exp([0.0, 1.0]))
    y, push = ad.linearize(np.exp, np.array([0.0, 1.0]))
    y[:] = 0.0
    np.testing.assert_allclose(push(np.ones(2)), np.exp([0.0, 1.0]))


def test_changing_the_argument_does_not_change_the_pullback():
    x = np.array([1.0, 2.0])
    _, pullback = ad.vjp(lambda x: x * x, x)
    x[:] = 0.0
    assert pullback(np.ones(2))[0].tolist() == [2.0, 4.0]


def test_the_argument_of_a_gradient_is_not_changed_by_the_function():
    def f(x):
        x[0] = 0.0
        x *= 2.0
        return (x * x).sum()
    x = np.array([1.0, 2.0])
    assert ad.grad(f)(x).tolist() == [0.0, 16.0]
    assert x.tolist() == [1.0, 2.0]


def test_numpy_functions_that_write_name_the_tensors_way():
    t = ad.tensor(np.zeros((2, 2)))
    with pytest.raises(MutationError, match=r"Write x\[np\.diag_indices"):
        np.fill_diagonal(t, 1.0)
    assert t.tolist() == [[0.0, 0.0], [0.0, 0.0]]


# ---- every spelling, every kind of key, every role: the value against NumPy, the gradient exactly

START = np.arange(1.0, 7.0).reshape(2, 3)
WEIGHTS = np.arange(6.0).reshape(2, 3) * 0.5 - 1.0
KEYS = {
    "int": 0, "negative": -1, "pair": (1, 2), "slice": slice(1),
    "step": (slice(None), slice(0, 3, 2)),
    "reversed": (slice(None, None, -1), slice(None, None, -1)), "ellipsis": ..., "all": slice(None),
    "ellipsis int": (..., 1), "new axis": (None, 0), "empty": slice(0, 0), "list": [1, 0],
    "array": np.array([1, 0]), "list pair": ([0, 1], [2, 0]), "mixed": (0, [0, 2]),
    "slice list": (slice(None), [2, 0]), "mask": START > 2.5, "row mask": np.array([True, False]),
    "no mask": START > 99.0, "mask int": (np.array([True, False]), 1), "tensor": ad.tensor([1, 0]),
    "tensor mask": ad.tensor(START > 2.5), "numpy int": np.int64(1)}


def read_key(key, a):
    """The key as NumPy takes it."""
    return key.numpy() if isinstance(key, ad.Tensor) and isinstance(a, np.ndarray) else key


def picked(a, key):
    return a[read_key(key, a)]


ELEMENT_WRITES = {
    "= number": lambda y, x, k: y.__setitem__(k, 7.0),
    "= row": lambda y, x, k: y.__setitem__(k, picked(x, k) * 3.0),
    "= 0-d": lambda y, x, k: y.__setitem__(k, x[0, 1] * 3.0),
    "= own": lambda y, x, k: y.__setitem__(k, picked(y, k) * 0.5),
    "+=": lambda y, x, k: y.__setitem__(k, python_operator.iadd(picked(y, k), x[1, 1])),
    "*= number": lambda y, x, k: y.__setitem__(k, python_operator.imul(picked(y, k), -2.0)),
    "-= row": lambda y, x, k: y.__setitem__(k, picked(y, k) - picked(x, k))}
WHOLE_WRITES = {
    "+=": lambda y, x: y.__iadd__(x), "-=": lambda y, x: y.__isub__(x[0]),
    "*=": lambda y, x: y.__imul__(3.0), "/=": lambda y, x: y.__itruediv__(4.0),
    "*= array": lambda y, x: y.__imul__(WEIGHTS), "+= own": lambda y, x: y.__iadd__(y),
    "+= view": lambda y, x: y.__iadd__(y[::-1]), "out": lambda y, x: np.add(y, x, out=y),
    "out of another": lambda y, x: np.subtract(x, 1.0, out=y),
    "out sum": lambda y, x: np.sum(np.stack([x, x + 1.0]), axis=0, out=y),
    "out matmul": lambda y, x: np.matmul(np.eye(2) * 2.0, x, out=y),
    "[...] =": lambda y, x: y.__setitem__(..., x[::-1])}


def exact(program):
    """The gradient of a linear program of NumPy arrays, by differences: no rounding, no step."""
    zero = program(START)
    return np.array([program(START + e.reshape(2, 3)) - zero for e in np.eye(6)]).reshape(2, 3)


def through_trace(program, x):
    graph, out = trace(program, aval_of(x))
    graph.outputs = [out.node]
    return ad.value_and_grad(lambda v: graph(v, *graph.closed)[0])(x)


def through_backward(program, x):
    t = ad.tensor(x, requires_grad=True)
    y = program(t)
    y.backward()
    assert np.array_equal(t.numpy() if not t.requires_grad else t.detach().numpy(), x)
    return y.item(), t.grad.numpy()


CONTEXTS = {
    "backward": through_backward,
    "grad": lambda f, x: ad.value_and_grad(f)(x),
    "grad of grad": lambda f, x: ad.grad(lambda v: ad.value_and_grad(f)(v)[0])(x),
    "jvp": lambda f, x: np.array([ad.jvp(f, (x,), (e.reshape(2, 3),))[1] for e in np.eye(6)]),
    "vmap": lambda f, x: ad.vmap(ad.grad(f))(np.stack([x, x]))[1],
    "checkpoint": lambda f, x: ad.value_and_grad(ad.checkpoint(f))(x),
    "trace": through_trace}


def agrees(program, context):
    value, gradient = program(START), exact(program)
    got = CONTEXTS[context](program, START)
    if isinstance(got, tuple):
        np.testing.assert_allclose(got[0], value)
        got = got[1]
    np.testing.assert_allclose(np.reshape(got, (2, 3)), gradient, atol=1e-12)


def finished(y):
    return (y * WEIGHTS).sum()


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("write", ELEMENT_WRITES)
def test_writing_elements_as_numpy(write, context):
    for name, key in KEYS.items():
        def program(x, key=key):
            y = x * 2.0
            ELEMENT_WRITES[write](y, x, read_key(key, x))
            return finished(y)
        try:
            agrees(program, context)
        except (AssertionError, AdjointError) as e:
            raise AssertionError(f"y[{name}] {write}: {e}") from e


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("write", WHOLE_WRITES)
def test_writing_whole_values_as_numpy(write, context):
    def program(x):
        y = x * 2.0
        WHOLE_WRITES[write](y, x)
        return finished(y)
    agrees(program, context)


@pytest.mark.parametrize("write", [*WHOLE_WRITES, "zero_", "fill_", "copy_", "add_", "data"])
def test_a_constant_is_written_as_by_numpy(write):
    """Untracked tensors are arrays: the same values, and no gradient."""
    tensor = {"zero_": lambda y, x: y.zero_(), "fill_": lambda y, x: y.fill_(2.0),
              "copy_": ad.Tensor.copy_, "add_": ad.Tensor.add_,
              "data": lambda y, x: setattr(y, "data", x)}
    array = {"zero_": lambda y, x: y.fill(0.0), "fill_": lambda y, x: y.fill(2.0),
             "copy_": np.copyto, "add_": lambda y, x: y.__iadd__(x),
             "data": np.copyto}
    t, a = ad.tensor(START), START.copy()
    other = t.detach() * 1.0
    (tensor | WHOLE_WRITES)[write](t, other)
    (array | WHOLE_WRITES)[write](a, START.copy())
    np.testing.assert_array_equal(t.numpy(), a)
    np.testing.assert_array_equal(other.numpy(), START)
    assert not t.requires_grad


@pytest.mark.parametrize("write", WHOLE_WRITES)
def test_writes_in_no_grad_move_the_value_alone(write):
    """The value is NumPy's; the gradient is that of the same program without the write."""
    def program(x):
        y = x * 2.0
        with ad.no_grad():
            WHOLE_WRITES[write](y, x)
        return finished(y * y)
    a = START * 2.0
    WHOLE_WRITES[write](a, START)
    for context in ("backward", "grad", "checkpoint"):
        value, gradient = CONTEXTS[context](program, START)
        np.testing.assert_allclose(value, finished(a * a))
        np.testing.assert_allclose(gradient, 2.0 * 2.0 * a * WEIGHTS)


@pytest.mark.parametrize("write", WHOLE_WRITES)
def test_a_leaf_is_written_in_no_grad_alone(write):
    t, a = ad.tensor(START, requires_grad=True), START.copy()
    before = (t * t).sum()
    with pytest.raises(GraphError, match="on a leaf that requires a gradient"):
        WHOLE_WRITES[write](t, ad.tensor(START))
    assert t.tolist() == START.tolist()
    with ad.no_grad():
        WHOLE_WRITES[write](t, ad.tensor(START))
    WHOLE_WRITES[write](a, START)
    np.testing.assert_array_equal(t.detach().numpy(), a)
    before.backward()
    np.testing.assert_array_equal(t.grad.numpy(), 2.0 * START)
    t.grad = None
    (t * t).sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), 2.0 * a)


@pytest.mark.parametrize("operator, operand", [
    ("iadd", 2), ("isub", 2), ("imul", 2), ("itruediv", 2), ("ipow", 2), ("ifloordiv", 2),
    ("imod", 2), ("iand", 2), ("ior", 2), ("ixor", 2),
    ("imatmul", np.eye(3, dtype=int) * 2)])
@pytest.mark.parametrize("dtype", [float, int])
def test_in_place_operators_as_numpy_or_its_error(operator, operand, dtype):
    a = np.arange(1, 10).reshape(3, 3).astype(dtype)
    t, expected = ad.tensor(a), a.copy()
    operand = operand.astype(dtype) if isinstance(operand, np.ndarray) else operand
    apply = getattr(python_operator, operator)
    try:
        apply(expected, operand)
    except TypeError:
        expected = None
    if expected is None:
        with pytest.raises((TypeError, DTypeError)):
            apply(t, operand)
        assert t.tolist() == a.tolist()
    else:
        same = apply(t, operand)
        assert same is t
        np.testing.assert_array_equal(same.numpy(), expected)
        assert same.dtype == expected.dtype


def test_a_chain_of_views_is_read_as_it_was():
    """A view that was read before its base was written keeps the values that were used."""
    x = ad.tensor(START, requires_grad=True)
    y = x * 2.0
    views = [y[0], y.T, y.reshape(3, 2), y.reshape(6)[1:], y[::-1, ::-1], np.diagonal(y[:, 1:]),
             np.broadcast_to(y, (2, 2, 3)), np.ravel(y)]
    values = [v.tolist() for v in views]
    y[...] = 0.0
    y += 5.0
    assert [v.tolist() for v in views] == values
    sum((v * v).sum() for v in views).backward()
    counts = np.full((2, 3), 1.0 + 1.0 + 1.0 + 2.0 + 1.0)  # T, reshape, reversed, broadcast, ravel
    counts[0] += 1.0
    counts.ravel()[1:] += 1.0
    counts[[0, 1], [1, 2]] += 1.0
    np.testing.assert_allclose(x.grad.numpy(), counts * 8.0 * START)


def test_integers_take_no_tracked_value():
    x, t = leaf(1.5), ad.tensor([1, 2])
    for write in (lambda: t.__setitem__(0, x[0]), lambda: np.multiply(x, 2.0, out=t[:1].clone())):
        with pytest.raises(DTypeError, match="int64"):
            write()
    t[0] = 1.5  # a constant is cut as by NumPy
    assert t.tolist() == [1, 2]
    with pytest.raises(DTypeError, match="does not fit into int64"):
        np.multiply(ad.tensor([1.5, 2.5]), 1.0, out=t)


def test_data_keeps_the_dtype_of_what_has_a_gradient():
    x = leaf(1.0, 2.0)
    x.data = np.array([3, 4])
    assert x.dtype == np.float64
    (x * 0.5).sum().backward()
    assert x.grad.tolist() == [0.5, 0.5]
    with pytest.raises(DTypeError, match=r"x\.data = v: v is complex128"):
        x.data = np.array([1j, 2.0])
    x.data += 1.0  # reads, adds, and assigns
    assert x.tolist() == [4.0, 5.0]
    x.data = x.data * 2.0
    assert x.tolist() == [8.0, 10.0]
    for write in (lambda: x.data.__setitem__(0, 9.0), lambda: x.data.fill_(9.0),
                  lambda: x.detach().add_(1.0), lambda: np.add(1.0, x.data, out=x.detach())):
        with pytest.raises(MutationError, match="slices are values"):  # it would be lost
            write()
    assert x.tolist() == [8.0, 10.0]


def test_a_write_to_a_part_of_a_complex_tensor_is_not_lost():
    z = ad.tensor([1.0 + 2.0j, 3.0])
    for part in (z.real, z.imag):
        with pytest.raises(MutationError):
            part[0] = 9.0
        part += 1.0
        part[0] = 9.0  # its memory is its own now
    assert z.tolist() == [1.0 + 2.0j, 3.0]


def test_an_element_of_an_array_refuses_a_tracked_value():
    """NumPy puts its own message over ours; ours is the cause, shown above it."""
    x, a = leaf(1.0, 2.0), np.zeros(2)
    with pytest.raises((ValueError, EscapeError)) as caught:
        a[0] = x[0]
    error = caught.value
    assert "ad.setitem(arr, i, x)" in str(error if isinstance(error, EscapeError)
                                          else error.__cause__)
    with pytest.raises((ValueError, EscapeError)):
        a[:] = x
    assert a.tolist() == [0.0, 0.0]


# ---- gradients, hooks and the user's own operations

def test_retain_grad_twice_counts_once():
    x = leaf(1.0, 2.0)
    y = x * 1.0
    y.retain_grad()
    y.retain_grad()
    y.sum().backward()
    assert y.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("pause", [ad.no_grad, contextlib.nullcontext])
def test_retain_grad_follows_a_change_in_place(pause):
    """The gradient is that of the value it stands beside; hooks stay with the old one."""
    x, seen = leaf(1.0, 2.0), []
    y = x * 1.0
    y.retain_grad()
    y.register_hook(lambda g: seen.append(g.tolist()))
    with pause():
        y *= 3.0
    y[0] = 5.0
    (y * 2.0).sum().backward()
    factor = 2.0 if pause is ad.no_grad else 6.0
    assert y.grad.tolist() == [2.0, 2.0]
    assert seen == [[0.0, factor]]
    assert x.grad.tolist() == [0.0, factor]


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("change", [
    lambda g: g.__imul__(5.0), lambda g: g.__setitem__(..., 5.0), lambda g: g.fill_(5.0)])
def test_a_hook_that_changes_its_gradient_changes_that_one_alone(change, create):
    for get in (lambda x: x * 1.0, lambda x: x + 0.0, lambda x: x):
        x, z = leaf(1.0, 2.0), leaf(1.0, 1.0)
        y = get(x)
        y.register_hook(lambda g: (change(g), None)[1])
        (y + z).backward(np.ones(2), create_graph=create)
        assert x.grad.tolist() == [5.0, 5.0]
        assert z.grad.tolist() == [1.0, 1.0]


class Changing(ad.Function):
    """Changes everything that it can reach, in place, after saving it."""

    @staticmethod
    def forward(ctx, x, z):
        ctx.save_for_backward(x, z)
        y = x * z
        with contextlib.suppress(AttributeError):
            x += 100.0
        z *= 0.0
        return y

    @staticmethod
    def backward(ctx, dy):
        x, z = ctx.saved_tensors
        parts = dy * z, dy * x
        dy *= 0.0
        with ad.no_grad():  # a recorded backward sees leaves
            x *= 0.0
            z += 3.0
        return parts


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("make", [leaf, lambda *v: np.array(v)], ids=["tensor", "array"])
def test_a_function_that_changes_what_it_sees(make, create):
    x, z, w = leaf(1.0, 2.0), make(3.0, 4.0), leaf(1.0, 1.0)
    y = Changing.apply(x, z)
    total = (y + w).sum()
    if isinstance(z, np.ndarray):
        assert z.tolist() == [3.0, 4.0]
        z[:] = 0.0
    for _ in range(2):
        x.grad = w.grad = None
        total.backward(retain_graph=True, create_graph=create)
        assert (y.tolist(), x.grad.tolist(), w.grad.tolist()) == (
            [3.0, 8.0], [3.0, 4.0], [1.0, 1.0])
    assert x.tolist() == [1.0, 2.0]


class SavesLate(ad.Function):
    @staticmethod
    def forward(ctx, x):
        x *= 2.0
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * 4.0 * x


def test_a_saved_value_that_was_changed_is_no_input():
    x = leaf(1.0, 2.0)
    SavesLate.apply(x).sum().backward()
    assert x.grad.tolist() == [8.0, 16.0]
    with pytest.raises(GraphError, match="changed in place in forward"):
        SavesLate.apply(x).sum().backward(create_graph=True)


def test_a_gradient_that_a_function_returns_is_its_own():
    array, tensor = np.array([3.0, 4.0]), ad.tensor([3.0, 4.0])
    for mine in (array, tensor):
        class Given(ad.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1.0

            @staticmethod
            def backward(ctx, dy, mine=mine):
                return mine
        x = leaf(1.0, 2.0)
        Given.apply(x).sum().backward()
        mine *= 0.0
        assert x.grad.tolist() == [3.0, 4.0]


# ---- arguments that are no operands (axes, shapes, widths, keys), changed before backward

PARAMETERS = {
    "transpose": (np.transpose, [1, 0]), "reshape": (np.reshape, [3, 2]),
    "reshape method": (lambda x, p: x.reshape(p), np.array([3, 2])),
    "broadcast_to": (np.broadcast_to, [2, 2, 3]), "flip": (np.flip, [0, 1]),
    "roll": (lambda x, p: np.roll(x, p, axis=(0, 1)), [1, 2]), "tile": (np.tile, np.array([1, 2])),
    "repeat": (lambda x, p: np.repeat(x, p, axis=0), np.array([1, 3])),
    "pad": (np.pad, [[1, 2], [0, 3]]), "pad array": (np.pad, np.array([[1, 2], [0, 3]])),
    "split": (lambda x, p: np.split(x, p, axis=1)[0], [1, 2]),
    "array_split": (lambda x, p: np.array_split(x, p, axis=1)[0], np.array([1, 2])),
    "take": (lambda x, p: np.take(x, p, axis=1), np.array([0, 2, 1])),
    "take list": (lambda x, p: np.take(x, p, axis=1), [0, 2, 1]),
    "take_along_axis": (lambda x, p: np.take_along_axis(x, p, 0), np.array([[0, 1, 0], [1, 1, 0]])),
    "list key": (lambda x, p: x[p], [0, 1, 1]),
    "array key": (lambda x, p: x[p], np.array([0, 1, 1])),
    "mask": (lambda x, p: x[p], np.array([True, False])),
    "key in tuple": (lambda x, p: x[:, p], np.array([0, 2])),
    "written key": (lambda x, p: ad.setitem(x, p, 0.0), np.array([0, 0])),
    "written value": (lambda x, p: ad.setitem(x, 0, p) * x, np.array([1.0, 2.0, 3.0])),
    "expand_dims": (np.expand_dims, [0, 3]), "moveaxis": (lambda x, p: np.moveaxis(x, p, [1, 0]),
                                                          [0, 1]),
    "list operand": (lambda x, p: x * p, [1.0, 2.0, 3.0]), "clip": (
        lambda x, p: np.clip(x, p, 5.0), np.array([0.0, 3.0, 9.0])),
    "where": (lambda x, p: np.where(p, x, 0.0), np.array([True, False, True])),
    "stacked list": (lambda x, p: np.stack([*p, x]) * 2.0, [START * 1.0, START * 2.0]),
    "joined list": (lambda x, p: p.append(x) or np.concatenate(p) * 2.0, [START * 3.0]),
    "tensordot": (lambda x, p: np.tensordot(x, START, p), [[0], [0]]),
    "einsum": (lambda x, p: np.einsum("ij,j->i", x, p), np.array([1.0, 2.0, 3.0])),
    "average": (lambda x, p: np.average(x, axis=1, weights=p), np.array([1.0, 2.0, 3.0])),
    "quantile": (lambda x, p: np.quantile(x, p, axis=0), np.array([0.1, 0.7])),
    "diff": (lambda x, p: np.diff(x, prepend=p), np.array([[1.0], [2.0]])),
    "cross_entropy": (ad.nn.functional.cross_entropy, np.array([0, 2]))}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_that_change_before_backward_have_no_effect(name):
    call, parameter = PARAMETERS[name]
    gradients = []
    for change in (False, True):
        x, p = ad.tensor(START, requires_grad=True), copy.deepcopy(parameter)
        try:
            y = call(x, p)
        except UnsupportedError:
            return  # no row yet: nothing is recorded that a change could reach
        if change and isinstance(p, list):
            p.reverse()
        elif change:
            p[...] = ~p if p.dtype == bool else p[::-1].copy()
        (y * np.arange(1.0, y.aval.size + 1.0).reshape(y.shape)).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_array_equal(*gradients)


# ---- writes under no_grad below several transformations

QUIET_WRITES = {**WHOLE_WRITES, "[0] =": lambda y, x: y.__setitem__(0, x[1] * 2.0), "zero_": None}


@pytest.mark.parametrize("write", QUIET_WRITES)
@pytest.mark.parametrize("wrap", [lambda f: f, ad.checkpoint], ids=["plain", "checkpoint"])
def test_a_write_in_no_grad_keeps_the_derivatives_of_every_level(write, wrap):
    """y = 2 x, then another value a without derivative: y y' = 2 a and (y y')' = 4, times w."""
    change = QUIET_WRITES[write] or (lambda y, x: y.fill(0.0) if isinstance(
        y, np.ndarray) else y.__setitem__(..., 0.0))
    a = START * 2.0
    change(a, START)

    def program(x):
        y = x * 2.0
        with ad.no_grad():
            change(y, x)
        return finished(y * y)
    f, first, second = wrap(program), 4.0 * a * WEIGHTS, 8.0 * WEIGHTS
    both = np.stack([START, START])
    np.testing.assert_allclose(ad.grad(f)(START), first)
    np.testing.assert_allclose(ad.vmap(ad.grad(f))(both)[1], first)
    np.testing.assert_allclose(ad.grad(lambda v: ad.vmap(f)(v).sum())(both)[0], first)
    np.testing.assert_allclose(ad.vmap(lambda v: ad.jvp(f, (v,), (START,))[1])(both)[0],
                               (first * START).sum())
    for nested in (ad.grad(lambda v: ad.grad(f)(v).sum()),
                   ad.grad(lambda v: ad.jvp(f, (v,), (np.ones((2, 3)),))[1]),
                   lambda v: ad.jvp(ad.grad(f), (v,), (np.ones((2, 3)),))[1],
                   lambda v: ad.hvp(f, (v,), (np.ones((2, 3)),))):
        np.testing.assert_allclose(nested(START), second)


def test_a_buffer_outside_takes_a_value_in_no_grad():
    """A running mean, kept by a function under a transformation: a number, after it and in it."""
    mean = ad.tensor([0.0, 0.0])

    def f(x):
        with ad.no_grad():
            mean.__iadd__(0.5 * (x - mean))
        return (x * mean).sum()
    assert ad.grad(f)(np.array([2.0, 4.0])).tolist() == [1.0, 2.0]
    assert ad.grad(lambda x: ad.grad(f)(x).sum())(np.array([2.0, 4.0])).tolist() == [0.0, 0.0]
    assert mean.tolist() == [1.5, 3.0]
    with pytest.raises(MutationError):
        ad.vmap(f)(np.ones((3, 2)))


# ---- NumPy's scalars: nobody can change one, so that another takes the name

def alias_of_sum(x):
    y = x.sum()
    z = y
    z += 1.0
    return y * z


def alias_of_element(x):
    t = x[0]
    s = t
    s *= t
    return s + t


def alias_of_number(x):
    total = first = x[1] * 2.0
    for k in range(3):
        total -= x[k] / first
    return total * first


SCALARS = {"sum": alias_of_sum, "element": alias_of_element, "number": alias_of_number}


@pytest.mark.parametrize("f", SCALARS.values(), ids=SCALARS)
def test_a_scalar_is_not_changed_in_place(f):
    x = np.array([3.0, 2.0, -1.0])
    expected, step = f(x), 1e-6
    slope = [(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(3)]
    value, gradient = ad.value_and_grad(f)(x)
    assert value == expected
    np.testing.assert_allclose(gradient, slope, rtol=1e-7)
    for k, e in enumerate(np.eye(3)):
        pushed = ad.jvp(f, (x,), (e,))
        assert pushed[0] == expected
        np.testing.assert_allclose(pushed[1], slope[k], rtol=1e-7)
    assert np.array_equal(ad.vmap(f)(np.stack([x, x])), [expected, expected])
    assert ad.jit(f)(x) == expected
    np.testing.assert_allclose(ad.jit(ad.grad(f))(x), slope, rtol=1e-7)
    np.testing.assert_allclose(ad.hessian(f)(x), ad.jacobian(ad.grad(f))(x), rtol=1e-12)


# ---- arrays without axes: NumPy changes those that were given, their copies and views

def given_twice(x):
    y = x
    y *= 2.0
    return x + y


def given_and_again(x):
    y = x
    y *= 2.0
    y += 1.0
    return x * y


def written_to(x):
    y = x
    x[...] = x * x
    y *= 2.0
    return x * y


def copied(x):
    y = z = x.copy()
    y *= 2.0
    y /= x
    return z * y + x


def cast(x):
    y = z = x.astype(np.float64)
    y -= 1.0
    y *= x
    return z * y


def viewed(x):
    y = z = np.stack([x, x * x])[1, ...]
    y += 1.0
    y *= 2.0
    return z * y


def flattened(x):
    y = z = (np.ones((1, 1)) @ np.stack([x])).reshape(())
    y += x
    return z * y


def computed(x):
    y = z = x * 1.0
    y += x
    y *= y
    return z * y


def quantile(x):
    y = z = np.quantile(np.stack([x, 2.0 * x]), 0.5)
    y += x
    return z * y


def chosen(x):
    y = z = np.where(x > 0, x, 0.0)
    y += 1.0
    return z * y


def selected(x):
    y = z = np.select([x > 5.0, x > 0.0], [0.0 * x, x * x])
    y *= x
    return z * y


def contracted(x):
    v = np.stack([x, 2.0 * x])
    y = z = np.tensordot(v, v, 1)
    y /= 2.0
    return z * y


def real_part(x):
    y = z = np.where(x > 0, x, 0.0).real
    y += 1.0
    v = w = (x * (1.0 + 2.0j)).real
    v += 1.0
    return z * y + w * v


def varied(x):
    y = z = np.cov(np.stack([x, 3.0 * x, -x]))
    y += x
    return z * y


def of_bessel(x):
    y = z = np.i0(x)
    y *= x
    return z * y


def mean_of_known(x):
    y = z = np.nanmean(np.stack([x, 2.0 * x]))
    y *= x
    return z * y


WITHOUT_AXES = [given_twice, given_and_again, written_to, copied, cast, viewed, flattened, computed,
                quantile, chosen, selected, contracted, real_part, varied, of_bessel, mean_of_known]


@pytest.mark.parametrize("f", WITHOUT_AXES)
@pytest.mark.parametrize("kind", [np.array, np.float64])
def test_what_numpy_changes_without_axes(f, kind):
    def numpy(v):
        return float(f(kind(v)))
    x, step = kind(3.0), 1e-6
    if kind is np.float64 and f is written_to:
        for call in (ad.grad, ad.jit, ad.vmap, lambda g: lambda v: ad.jvp(g, (v,), (1.0,))):
            with pytest.raises((MutationError, GraphError)):
                call(f)(np.ones(2) if call is ad.vmap else x)
        return
    expected, slope = numpy(3.0), (numpy(3.0 + step) - numpy(3.0 - step)) / (2 * step)
    curve = (numpy(3.0 + 1e-3) - 2 * expected + numpy(3.0 - 1e-3)) / 1e-6
    for both in (ad.value_and_grad(f), ad.jit(ad.value_and_grad(f)),
                 ad.value_and_grad(ad.checkpoint(f)), lambda v: ad.jvp(f, (v,), (1.0,)),
                 ad.jit(lambda v: ad.jvp(f, (v,), (1.0,)))):
        np.testing.assert_allclose(both(x), (expected, slope), rtol=1e-7)
    for second in (ad.grad(ad.grad(f)), ad.jit(ad.grad(ad.grad(f))), ad.hessian(f)):
        np.testing.assert_allclose(second(x), curve, rtol=1e-4, atol=1e-4)
    assert ad.linearize(f, x)[0] == pytest.approx(expected, rel=1e-14)
    assert x == 3.0
    if kind is np.float64:  # as for the elements of an array
        xs = np.array([3.0, 3.0])
        for batch in (ad.vmap(f)(xs), ad.jit(ad.vmap(f))(xs)):
            np.testing.assert_allclose(batch, [expected] * 2, rtol=1e-14)
        np.testing.assert_allclose(ad.vmap(ad.grad(f))(xs), [slope] * 2, rtol=1e-7)


@pytest.mark.parametrize("f", WITHOUT_AXES)
def test_tensors_without_axes_change_alike_in_and_out_of_transformations(f):
    x = ad.tensor(3.0, requires_grad=True)
    y = f(x.clone())
    y.backward()
    expected = y.item(), x.grad.item()
    for both in (ad.value_and_grad(f), ad.jit(ad.value_and_grad(f)),
                 ad.value_and_grad(ad.checkpoint(f)), lambda v: ad.jvp(f, (v,), (1.0,))):
        got = both(ad.tensor(3.0))
        np.testing.assert_allclose([g.item() for g in got], expected, rtol=1e-12)
    assert ad.vmap(f)(ad.tensor([3.0, 3.0])).tolist() == [expected[0]] * 2


def test_a_jit_of_an_argument_that_changes_is_refused():
    for x in (np.array(3.0), ad.tensor(3.0)):
        with pytest.raises(GraphError, match="changes its argument of shape"):
            ad.jit(given_twice)(x)


# ---- in bodies of control flow: what is passed is what it was

def doubled(c):
    d = c
    d *= 2.0
    return d + c


def chosen_and_doubled(c):
    return doubled(np.where(c > 0, c, 0.0))


BODIES = {  # a loop of Python's, which NumPy runs, and ours
    "cond": (doubled, lambda x: ad.cond(x > 0, doubled, lambda c: c, x)),
    "cond of a result": (chosen_and_doubled,
                         lambda x: ad.cond(x > 0, chosen_and_doubled, lambda c: c, x)),
    "cond in cond": (doubled, lambda x: ad.cond(
        x > 0, lambda c: ad.cond(c > 1, doubled, lambda c: c, c), lambda c: c, x)),
    "scan": (doubled, lambda x: ad.scan(lambda c, _: (doubled(c), None), x, length=1)[0]),
    "scan, what is stacked": (doubled, lambda x: ad.scan(
        lambda c, _: (c, doubled(c)), x, length=1)[1][0]),
    "fori_loop": (doubled, lambda x: ad.fori_loop(0, 1, lambda _, c: doubled(c), x)),
    "while_loop": (doubled, lambda x: ad.while_loop(lambda c: c < 5.0, doubled, x)),
    "derivative inside": (
        lambda x: (4.0 if isinstance(x, (np.ndarray, ad.Tensor)) else 3.0) * x,
        lambda x: ad.cond(x > 0, lambda c: ad.grad(doubled)(c) * c, lambda c: c, x)),
    "elements": (lambda x: doubled(x * 1.0) if not isinstance(x, ad.Tensor) else doubled(x),
                 lambda x: ad.map(doubled, np.stack([x, x]))[0]),
    "result": (lambda x: doubled(x * 1.0) if not isinstance(x, ad.Tensor) else doubled(x),
               lambda x: doubled(ad.cond(x > 0, lambda c: c, lambda c: 2.0 * c, x))),
}


def watched(f):
    def g(*args):
        with ad.doctor():
            return f(*args)
    return g


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("kind", [float, np.float64, np.array, ad.tensor])
def test_bodies_change_in_place_what_they_were_given(name, kind):
    numpy, f = BODIES[name]
    expected = float(numpy(kind(3.0)))
    slope = expected / 3.0  # all are linear
    x = kind(3.0)
    assert float(f(kind(3.0))) == expected
    assert float(ad.jit(f)(x)) == expected
    assert float(watched(f)(kind(3.0))) == expected
    both = ad.value_and_grad(f)
    one = ad.tensor(1.0) if kind is ad.tensor else 1.0
    for call in (both, ad.jit(both), watched(both), ad.value_and_grad(ad.checkpoint(f)),
                 lambda v: ad.jvp(f, (v,), (one,)), ad.jit(lambda v: ad.jvp(f, (v,), (one,))),
                 watched(lambda v: ad.jvp(f, (v,), (one,)))):
        assert [float(v) for v in call(x)] == [expected, slope]
    assert float(x) == 3.0


def test_a_loop_keeps_the_kind_of_its_carry():
    """In the second turn too, where NumPy would go on with the scalar that the first gave."""
    def f(x):
        return ad.scan(lambda c, _: (doubled(c), None), x, length=3)[0]
    for x, expected in ((1.0, 27.0), (np.float64(1.0), 27.0), (np.array(1.0), 64.0),
                        (ad.tensor(1.0), 64.0)):
        for call in (f, ad.grad(f), ad.jit(f), ad.jit(ad.grad(f)), watched(ad.grad(f))):
            assert float(call(x)) == expected


def test_a_tensor_of_no_axes_is_changed_in_place():
    y = ad.tensor([1.0, 2.0]).sum()
    z = y
    z += 1.0
    assert y is z
    assert y.item() == 4.0


# ---- what random programs of writes found (`test_wild_writes.py`)

def test_the_methods_sort_and_fill_work_in_place():
    def f(x):
        y = z = x * 1.0
        y.sort()
        y[1:].copy().fill(0.0)
        w = x * 2.0
        w.fill(x[0])
        return (z * np.array([1.0, 2.0, 4.0])).sum() + w.sum()
    x = np.array([3.0, 1.0, 2.0])
    assert f(x) == 26.0
    for both in (ad.value_and_grad(f), ad.jit(ad.value_and_grad(f))):
        value, gradient = both(x)
        assert (value, gradient.tolist()) == (26.0, [7.0, 1.0, 2.0])
    assert ad.vmap(f)(np.stack([x, x])).tolist() == [26.0, 26.0]
    t = ad.tensor([[3.0, 1.0], [2.0, 5.0]])
    assert t.sort(axis=0) is None
    assert t.tolist() == [[2.0, 1.0], [3.0, 5.0]]
    with pytest.raises(MutationError, match="slices are values"):
        t[0].sort()
    with pytest.raises(GraphError, match="on a leaf"):
        leaf(1.0, 2.0).sort()


@pytest.mark.parametrize("run", [ad.doctor, lambda: ad.kinks("warn"), ad.strict])
def test_a_view_is_not_written_to_while_somebody_watches(run):
    def f(x):
        y = x * 1.0
        y[:1][0] = 5.0
        return y.sum()
    with run(), pytest.raises(MutationError, match="slices are values"):
        ad.grad(f)(np.array([1.0, 2.0]))


def test_an_operator_without_derivative_changes_in_place_in_forward_mode():
    def f(x):
        y = z = x * 1.0
        y //= 0.5
        return (z * x).sum()
    x = np.array([1.3, 2.6])
    assert ad.jvp(f, (x,), (np.ones(2),)) == (f(x), 7.0)
    assert ad.hessian(f)(x).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def changes_and_returns(c):
    c *= 2.0
    c[0] = 7.0
    return c, c, c.sum()


def changed_by_a_call(call):
    def f(x):
        y = x * 1.0
        first, second, total = call(changes_and_returns)(y)
        y += x
        return (first * second * y).sum() * total
    return f


def row_of(y):
    return np.concatenate([np.ravel(part) for part in (y if isinstance(y, tuple) else (y,))])


def test_a_checkpointed_function_changes_its_argument():
    """Those who hold it see that; what it returns is that object, and twice the same is one."""
    expected, f = changed_by_a_call(lambda g: g), changed_by_a_call(ad.checkpoint)
    x = np.array([1.0, 2.0, 3.0])
    assert f(x) == expected(x)
    for run in (ad.value_and_grad, lambda g: lambda v: ad.jvp(g, (v,), (v,)), ad.jit,
                lambda g: ad.jit(ad.value_and_grad(g)), ad.hessian):
        np.testing.assert_allclose(row_of(run(f)(x)), row_of(run(expected)(x)), rtol=1e-12)
    assert ad.vmap(f)(np.stack([x, x])).tolist() == [expected(x)] * 2
    a = x.copy()
    assert ad.checkpoint(changes_and_returns)(a)[0] is a
    assert a.tolist() == [7.0, 4.0, 6.0]
    with pytest.raises(GraphError, match="on a leaf"):
        ad.checkpoint(changes_and_returns)(leaf(1.0, 2.0))
    with pytest.raises(MutationError, match="passed twice"):
        ad.checkpoint(lambda c, e: changes_and_returns(c)[2] * e)(a, a)
    with pytest.raises(MutationError, match="holds no tracked value"):
        ad.grad(lambda v: ad.checkpoint(lambda c: c.__imul__(v).sum())(np.ones(2)))(3.0)


def by_number(x):
    y = x * 1.0
    z = y
    y += 1.0
    z = z * 2.0
    return y * z


def by_copy(x):
    y = x.copy()
    z = y
    y += 1.0
    z = z * 2.0
    return y * z


@pytest.mark.parametrize("f", [by_number, by_copy])
@pytest.mark.parametrize("kinds", [
    [ad.tensor, np.float64, np.array], [np.array, np.float64, ad.tensor],
    [np.float64, ad.tensor, np.array]])
def test_one_compiled_function_serves_every_kind_inside_of_transformations(f, kinds):
    """A version belongs to what a change in place does, not to shape and dtype alone."""
    compiled = ad.jit(f)
    for kind in kinds:
        one = ad.tensor(1.0) if kind is ad.tensor else 1.0
        expected = [float(v) for v in ad.value_and_grad(f)(kind(0.75))]
        assert expected[0] == float(f(kind(0.75)))
        assert [float(v) for v in ad.value_and_grad(compiled)(kind(0.75))] == expected
        assert [float(v) for v in ad.jvp(compiled, (kind(0.75),), (one,))] == expected


def test_a_compiled_function_of_a_tensor_inside_of_a_transformation():
    def changes(x):
        x += np.arctan(x)
        return x * x
    x = ad.tensor(0.75)
    with pytest.raises(GraphError, match="changes its argument"):
        ad.grad(ad.jit(changes))(x)
    got = ad.value_and_grad(lambda v: ad.jit(lambda q: by_number(v) * q)(1.0))(x)
    assert [v.item() for v in got] == [v.item() for v in ad.value_and_grad(by_number)(x)]


@pytest.mark.parametrize("change", [lambda y: y.__imul__(y), lambda y: np.multiply(y, y, out=y),
                                    lambda y: y.__setitem__(..., y * y)])
def test_second_derivatives_of_functions_of_tensors_change_tensors(change):
    def f(x):
        y = z = np.sum(x * x)
        change(y)
        return z * y + x[0]
    x = ad.tensor([0.5, 0.25])
    expected = ad.jacobian(ad.grad(f))(x).numpy()
    for second in (ad.hessian(f), ad.jacobian(ad.grad(f), mode="forward"), ad.jit(ad.hessian(f))):
        np.testing.assert_allclose(second(x).numpy(), expected, rtol=1e-12)
    y = ad.jacobian(f, mode="forward")(x)
    np.testing.assert_allclose(y.numpy(), ad.grad(f)(x).numpy(), rtol=1e-12)


@pytest.mark.parametrize("operator", ["iand", "ior", "ixor"])
def test_masks_change_for_everyone_who_holds_them(operator):
    def f(x):
        mask = held = x > 0.5
        mask = getattr(python_operator, operator)(mask, x < 1.0)
        return np.where(held, x, 3.0 * x).sum()
    x = np.array([0.4, -0.8, 1.3, 0.7])
    expected = f(x)
    for got in (ad.value_and_grad(f)(x)[0], ad.jvp(f, (x,), (x,))[0], ad.jit(f)(x),
                ad.vmap(f)(np.stack([x, x]))[0], f(ad.tensor(x)).item()):
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def in_a_body(run):
    def f(x):
        known, y = np.array([1.0, 2.0]), x * 1.0

        def body(c, _):
            known[...] *= 2.0
            return c * known.sum(), None
        return run(body, y)
    return f, np.array([1.0, 2.0])


@pytest.mark.parametrize("run", [
    lambda b, y: ad.scan(b, y, length=3)[0], lambda b, y: ad.fori_loop(
        0, 3, lambda k, c: b(c, k)[0], y),
    lambda b, y: ad.cond(False, lambda c: b(c, c)[0], lambda c: c * 1.0, y),
    lambda b, y: ad.map(lambda c: b(c, c)[0], y)], ids=["scan", "fori_loop", "cond", "map"])
def test_a_body_may_not_change_an_array_outside(run):
    """It would change when the body is written down, once, and in a branch that is not taken."""
    f, x = in_a_body(run)
    for call in (f, ad.grad(lambda v: f(v).sum()), ad.jit(f), lambda v: ad.jvp(f, (v,), (v,)),
                 watched(f)):
        with pytest.raises(MutationError, match="writes into a tensor or array from outside"):
            call(x)
    known = np.array([1.0, 2.0])

    def change(c):
        known[0] = 5.0
        return c
    with pytest.raises(MutationError):
        ad.cond(True, change, change, 1.0)
    assert known.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("body", [
    lambda c, y: (c, c), lambda c, y: (c, y), lambda c, y: (y, y), lambda c, y: (c, c[::-1])])
@pytest.mark.parametrize("run", [
    lambda b, y: ad.cond(True, lambda c: b(c, y), lambda c: (c * 1.0, c * 1.0), y),
    lambda b, y: ad.scan(lambda c, _: b(c, y), y, length=1),
    lambda b, y: ad.fori_loop(0, 0, lambda _, s: b(s[0], y), (y, y)),
    lambda b, y: ad.while_loop(lambda s: s[0].sum() < -9.0, lambda s: b(s[0], y), (y, y))],
    ids=["cond", "scan", "fori_loop", "while_loop"])
def test_results_of_control_flow_are_values_of_their_own(run, body):
    def f(x):
        y = x * 1.0
        first, second = run(body, y)
        before = second * 1.0
        first += 1.0
        kept = second - before
        second *= 2.0
        return y.sum() + 10.0 * (kept * kept).sum()
    x = np.array([1.0, 2.0])
    for call in (f, watched(f), lambda v: ad.value_and_grad(f)(v)[0], ad.jit(f),
                 watched(lambda v: ad.value_and_grad(f)(v)[0]),
                 watched(lambda v: ad.jvp(f, (v,), (v,))[0])):
        assert call(x) == 3.0
    assert f(ad.tensor(x)).item() == 3.0


def as_given(c):
    return c


def as_pair(c):
    return c, c


@pytest.mark.parametrize("give", [
    lambda y: (ad.vmap(as_given)(y), y), ad.vmap(as_pair),
    ad.jit(lambda c: (c * 1.0, c)), ad.jit(as_pair),
    lambda y: ad.vjp(as_pair, y)[0], lambda y: ad.jvp(as_pair, (y,), (y,))[0]],
    ids=["batch", "batch twice", "compiled", "compiled twice", "reverse", "forward"])
def test_results_of_transformations_are_values_of_their_own(give):
    def f(x):
        y = x * 1.0
        first, second = give(y)
        first *= 0.0
        return y.sum() + second.sum()
    x = np.array([1.0, 2.0])
    for call in (f, lambda v: ad.value_and_grad(f)(v)[0], lambda v: ad.jvp(f, (v,), (v,))[0],
                 ad.jit(f), lambda v: f(ad.tensor(v)).item()):
        assert call(x) == 6.0
