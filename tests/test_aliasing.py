"""No aliasing: gradients, cotangents, results and the user's arrays share no memory.

The tests of rows go over every case of every row and of every composed operation, so an operation
that is added is tested without editing this file.
"""

import zlib

import numpy as np
import pytest

import adjoint as ad
from adjoint import methods, tensors
from adjoint.core.box import Box, bind
from adjoint.core.node import aval_of
from adjoint.core.primitive import REGISTRY
from adjoint.errors import ArgumentError, MutationError, ShapeError, UnsupportedError
from adjoint.exits import bottom
from adjoint.ops.declare import COMPOSED
from adjoint.transforms.trees import flatten, unflatten

# `item` takes a tuple apart, the others run Graphs: no arrays to write into.
ROWS = {name: (lambda *a, _row=row, **p: bind(_row, a, p), row.cases)
        for name, row in sorted(REGISTRY.items())
        if not row.nondiff and name not in (
            "item", "checkpoint", "cond", "jit", "scan", "while_loop")}
OPERATIONS = ROWS | {name + "*": (c.decompose, c.cases) for name, c in sorted(COMPOSED.items())}
EVERY = pytest.mark.parametrize("name", OPERATIONS)
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # 0/0 in the cases is meant


@pytest.fixture(params=["counts", "copies"])
def way(request, monkeypatch):
    if request.param == "copies":
        monkeypatch.setattr(tensors, "COUNTS", False)
        monkeypatch.setattr(methods, "COUNTS", False)
    return request.param


class Call:
    """A case as a function of fresh copies of its arrays, with leaves where a gradient can be."""

    def __init__(self, name, case):
        self.f, self.params = OPERATIONS[name][0], case.params
        self.given, self.structure = flatten(case.args)
        self.places = [k for k, a in enumerate(self.given) if aval_of(a).dtype.kind in "fc"]

    def fresh(self):
        return [np.array(a) if isinstance(a, np.ndarray) else a for a in self.given]

    def __call__(self, leaves):
        return self.f(*unflatten(self.structure, leaves), **self.params)

    def gradful(self):
        with np.errstate(all="ignore"):
            y = self(self.given)
        return bool(self.places) and not isinstance(y, tuple) and aval_of(y).dtype.kind in "fc"


def calls(name):
    """Up to a dozen cases of each operation that have a gradient."""
    cases = OPERATIONS[name][1](np.random.default_rng(zlib.crc32(name.encode())))
    found = [c for c in (Call(name, case) for case, _ in zip(cases, range(40), strict=False))
             if c.gradful()]
    return found[::max(len(found) // 12, 1)]


def memory(*trees):
    """The arrays in trees of tensors, arrays and numbers; a number has no memory to share."""
    return [b for x in flatten(trees)[0] if isinstance(b := bottom(x), np.ndarray) and b.size]


def clashes(arrays, others=()):
    """Pairs that share memory, among ``arrays`` and between them and ``others``."""
    return [(i, j) for i, a in enumerate(arrays)
            for j, b in enumerate([*arrays[:i], *others]) if np.shares_memory(a, b)]


def like(y, seed=0):
    """Random numbers in the shape and dtype of y."""
    known = aval_of(y)
    return np.asarray(np.random.default_rng(seed).normal(size=known.shape), known.dtype)


def test_the_check_can_fail():
    a = np.ones(4)
    assert clashes(memory(a, a[::2]))
    assert clashes(memory(a), memory([a.reshape(2, 2)]))
    assert not clashes(memory(a[:2], a[2:]), memory(a.copy()))


# ---- every row

@EVERY
def test_gradients_share_no_memory(name):
    for call in calls(name):
        leaves = call.fresh()
        for k in call.places:
            leaves[k] = ad.tensor(leaves[k], requires_grad=True)
        y = call(leaves)
        if not isinstance(y, Box) or not y.requires_grad:
            continue
        for create in (False, True):
            seed = like(y)
            y.backward(seed, retain_graph=True, create_graph=create)
            grads = [x.grad for x in leaves if isinstance(x, ad.Tensor) and x.grad is not None]
            assert len({id(g) for g in grads}) == len(grads)
            assert not clashes(memory(grads), memory(seed, leaves, y)), call.params
            for x in leaves:
                if isinstance(x, ad.Tensor):
                    x.grad = None


@EVERY
def test_functional_results_share_no_memory(name):
    for call in calls(name):
        values = call.fresh()
        xs = [values[k] for k in call.places]

        def f(*some, _call=call, _values=values):
            leaves = list(_values)
            for k, x in zip(_call.places, some, strict=True):
                leaves[k] = x
            return _call(leaves)
        y, pullback = ad.vjp(f, *xs)
        dy = like(y)
        assert not clashes(memory(y, pullback(dy)), memory(values, dy)), call.params
        y, push = ad.linearize(f, *xs)
        moves = [like(x, 1) for x in xs]
        assert not clashes(memory(y, push(*moves)), memory(values, moves)), call.params
        stacks = [np.stack([x, x]) for x in xs]
        assert not clashes(memory(ad.vmap(f)(*stacks)), memory(values, stacks)), call.params


def spoil(x):
    """Overwrite an array or a list of the user's with something else."""
    if isinstance(x, list):
        x.reverse()
    elif isinstance(x, np.ndarray) and x.flags.writeable:
        x[...] = {"f": np.nan, "c": np.nan, "b": False}.get(x.dtype.kind, 0)


def gradients(call, spoiled):
    """The gradient for each place in turn, the other arguments raw; changed before backward."""
    found = []
    for k in call.places:
        np.random.seed(0)  # SciPy's logm estimates norms with this stream
        leaves = call.fresh()
        leaves[k] = x = ad.tensor(leaves[k], requires_grad=True)
        y = call(leaves)
        if not isinstance(y, Box) or not y.requires_grad:
            continue
        total = (y * like(y)).sum().real
        if spoiled:
            for other in leaves:
                if other is not x:
                    spoil(other)
            y *= np.nan
            with ad.no_grad():
                x.fill_(np.nan)
        total.backward()
        found.append(0.0 if x.grad is None else x.grad.numpy().copy())
    return found


@EVERY
def test_a_gradient_is_that_of_the_values_that_were_used(name, way):
    """What went in and came out is overwritten between forward and backward."""
    for call in calls(name):
        for good, got in zip(gradients(call, False), gradients(call, True), strict=True):
            np.testing.assert_array_equal(got, good, err_msg=str(call.params))


@pytest.mark.parametrize("name", [n for n in ROWS if not REGISTRY[n].alias])
def test_results_of_a_row_without_alias_can_be_written(name, way):
    """Where NumPy's result is an array of its own, ours takes a write and its argument stays."""
    for call in calls(name):
        leaves = call.fresh()
        for k in call.places:
            leaves[k] = ad.tensor(leaves[k])
        y, before = call(leaves), [np.array(bottom(x)) for x in leaves]
        if isinstance(y, ad.Tensor) and y.aval.size:
            y[...] = 7.0
            assert np.all(y.numpy() == 7.0)
            for x, a in zip(leaves, before, strict=True):
                np.testing.assert_array_equal(bottom(x), a)


# ---- views, against NumPy

VIEWS = {
    "x[0]": lambda x: x[0], "x[:1]": lambda x: x[:1], "x[..., 1]": lambda x: x[..., 1],
    "x[::-1, ::2]": lambda x: x[::-1, ::2], "x[None]": lambda x: x[None], "x[0][1:]":
    lambda x: x[0][1:], "x[1:][0][::2]": lambda x: x[1:][0][::2],
    "x[[0, 1]]": lambda x: x[[0, 1]], "x[x > 2]": lambda x: x[np.arange(6).reshape(2, 3) > 2],
    "x[0, [1, 2]]": lambda x: x[0, [1, 2]], "x[1, 2]": lambda x: x[1, 2], "x[:]": lambda x: x[:],
    "reshape": lambda x: x.reshape(3, 2), "reshape copy": lambda x: x.T.reshape(6),
    "reshape(-1)[:2]": lambda x: x.reshape(-1)[:2], "T": lambda x: x.T, "T[0]": lambda x: x.T[0],
    "ravel": lambda x: x.ravel(), "ravel of T": lambda x: x.T.ravel(), "np.ravel": np.ravel,
    "transpose": np.transpose, "swapaxes": lambda x: np.swapaxes(x, 0, 1),
    "moveaxis": lambda x: np.moveaxis(x, 0, 1), "expand_dims": lambda x: np.expand_dims(x, 0),
    "squeeze": lambda x: np.squeeze(x[None]), "diagonal": np.diagonal, "diag": np.diag,
    "flip": np.flip, "flip 0": lambda x: np.flip(x, 0), "broadcast_to":
    lambda x: np.broadcast_to(x, (2, 2, 3)), "atleast_3d": np.atleast_3d,
    "split": lambda x: np.split(x, 3, axis=1)[1], "hsplit": lambda x: np.hsplit(x, 3)[0],
    "array_split": lambda x: np.array_split(x, 2)[1], "rot90": np.rot90,
    "x.real": lambda x: x.real,
    "positive": np.positive, "copy": np.copy, "squeeze nothing": np.squeeze,
    "reshape same": lambda x: x.reshape(2, 3), "astype same": lambda x: x.astype(float),
    "swap twice": lambda x: x.T.T, "matrix_transpose": lambda x: x.swapaxes(-1, -2),
    "iterated": lambda x: next(iter(x)), "unpacked": lambda x: [*x][1]}


@pytest.mark.parametrize("tracked", [False, True], ids=["constant", "result"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_write_into_a_view_is_numpys_or_an_error(view, tracked, way):
    """A write that NumPy would let reach the base raises; any other one does what NumPy does."""
    a = np.arange(6.0).reshape(2, 3)
    x = ad.tensor(a, requires_grad=tracked) * 1.0
    f = VIEWS[view]
    try:
        r, s = f(x), f(a)
    except UnsupportedError:
        return  # NumPy's function has no row yet: an error, and no silent view
    assert (r is x) == (s is a)
    if s is a:
        return
    for write in (lambda v: v.__setitem__(..., 9.0), lambda v: v.__iadd__(1.0)):
        before, shown = a.copy(), np.array(bottom(x))
        in_place = write.__code__.co_names == ("__iadd__",)
        if isinstance(s, np.ndarray) and s.flags.writeable:
            write(s)
        elif not in_place:
            continue  # a number, or read-only: NumPy has no write here to agree with
        reached = not np.array_equal(a, before)
        a[...] = before  # in-place operators on views leave the base alone here: documented
        try:
            write(r)
        except MutationError:
            assert not in_place
            assert reached or np.shares_memory(bottom(r), bottom(x))
        else:
            assert in_place or not reached
            np.testing.assert_array_equal(bottom(x), shown)


def test_in_place_operators_on_views_have_numpys_value(way):
    for name, f in VIEWS.items():
        a = np.arange(6.0).reshape(2, 3)
        x = ad.tensor(a)
        try:
            r, s = f(x), np.array(f(a))
        except UnsupportedError:
            continue
        if r is x:
            continue
        r += 1.0
        np.testing.assert_array_equal(r.numpy(), s + 1.0, err_msg=name)
        np.testing.assert_array_equal(x.numpy(), np.arange(6.0).reshape(2, 3), err_msg=name)
        if r.ndim:
            r[...] = 5.0  # its memory is its own now
        assert np.all(x.numpy() == np.arange(6.0).reshape(2, 3)), name


# ---- gradients

def leaf(*values):
    return ad.tensor(list(values), requires_grad=True)


SAME = {
    "a + b": lambda a, b: a + b, "a - b": lambda a, b: a - b,
    "stack": lambda a, b: np.stack([a, b]).sum(0), "a + b + a": lambda a, b: a + b + a,
    "concatenate": lambda a, b: np.concatenate([a, b])[:2] + b, "where":
    lambda a, b: np.where([True, True], a, 0.0) + b, "clone": lambda a, b: a.clone() + b.copy(),
    "reshape": lambda a, b: a.reshape(2, 1).reshape(2) + b[::-1][::-1],
    "astype": lambda a, b: a.astype(float) + b.astype(float),
    "checkpoint": lambda a, b: ad.checkpoint(lambda x, z: x + z)(a, b * 1.0),
    "in place": lambda a, b: (a * 1.0).__iadd__(b), "hooked": lambda a, b: hooked(a) + hooked(b)}


def hooked(x):
    y = x + 0.0
    y.register_hook(lambda g: None)
    y.register_hook(lambda g: g)
    return y


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("seed", [lambda: np.ones(2), lambda: ad.tensor([1.0, 1.0]),
                                  lambda: leaf(1.0, 1.0)], ids=["array", "tensor", "leaf"])
@pytest.mark.parametrize("program", SAME)
def test_changing_one_gradient_or_cotangent_leaves_the_others(program, seed, create, way):
    a, b, dy = leaf(1.0, 2.0), leaf(3.0, 4.0), seed()
    y = SAME[program](a, b)
    y.retain_grad()
    y.backward(dy, create_graph=create)
    assert not clashes(memory(a.grad, b.grad, y.grad), memory(dy, a, b, y))
    expected = b.grad.tolist(), y.grad.tolist()
    with ad.no_grad():
        a.grad *= 0.0
        a.grad[0] = 5.0
        dy *= 3.0
    assert (b.grad.tolist(), y.grad.tolist()) == expected
    with ad.no_grad():
        y.grad += 1.0
    assert b.grad.tolist() == expected[0]
    assert a.grad.tolist() == [5.0, 0.0]


def test_a_gradient_that_is_set_is_a_copy(way):
    a, b, g, array = leaf(1.0, 2.0), leaf(3.0, 4.0), ad.tensor([1.0, 1.0]), np.ones(2)
    a.grad = b.grad = g
    a.grad += 1.0
    g[0] = 7.0
    assert b.grad.tolist() == [1.0, 1.0]
    assert not clashes(memory(a.grad, b.grad, g))
    a.grad = array
    array[:] = 0.0
    assert a.grad.tolist() == [1.0, 1.0]
    same = a.grad
    a.grad *= 2.0
    assert a.grad is same
    a.grad = a.grad
    assert a.grad is same


def test_a_tensor_can_be_its_own_gradient_without_a_cycle():
    x = leaf(1.0, 2.0)
    x.grad = x
    assert x.grad is not x
    assert not clashes(memory(x, x.grad))


@pytest.mark.parametrize("optimizer", [
    lambda p: ad.optim.SGD(p, lr=0.5), lambda p: ad.optim.SGD(p, lr=1.0, momentum=0.9),
    lambda p: ad.optim.SGD(p, lr=1.0, momentum=0.9, nesterov=True, weight_decay=0.1),
    ad.optim.Adam, lambda p: ad.optim.Adam(p, weight_decay=0.1),
    ad.optim.AdamW], ids=["SGD", "momentum", "nesterov", "Adam", "decay", "AdamW"])
def test_an_optimiser_changes_its_parameter_alone(optimizer, way):
    x, c = leaf(1.0, 2.0), np.array([3.0, 4.0])
    opt = optimizer([x])
    for _ in range(3):
        before, view = x.tolist(), x.detach().numpy()
        y = (x * x * c).sum()
        (x * x * c).sum().backward()
        g = x.grad.tolist()
        opt.step()
        assert x.grad.tolist() == g
        assert view.tolist() == before != x.tolist()
        x.grad = None
        y.backward()  # built before the step
        np.testing.assert_allclose(x.grad.numpy(), 2.0 * np.array(before) * c)
        x.grad = None
    assert not clashes(memory(x), memory(*opt.state.values()))


def test_state_dicts_are_snapshots(way):
    net = ad.nn.Sequential(ad.nn.Linear(2, 2), ad.nn.Linear(2, 1))
    opt = ad.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step():
        opt.zero_grad()
        net(np.ones((3, 2))).sum().backward()
        opt.step()
    step()
    saved, state = net.state_dict(), opt.state_dict()
    expected = [np.array(bottom(v)) for v in saved.values()]
    buffers = [s["momentum_buffer"].copy() for s in state["state"].values()]
    step()
    for v, e in zip(saved.values(), expected, strict=True):
        np.testing.assert_array_equal(bottom(v), e)
    for s, e in zip(state["state"].values(), buffers, strict=True):
        np.testing.assert_array_equal(s["momentum_buffer"], e)
    net.load_state_dict(saved)
    assert not clashes(memory(list(net.parameters())), memory(saved))


# ---- transformations: results of which two are one, or one is an argument or closed over

ARRAY, TENSOR = np.array([1.0, 2.0]), ad.tensor([1.0, 2.0])
SHARING = {
    "x, x": lambda x: (x, x), "x": lambda x: x, "array": lambda x: (x, ARRAY, ARRAY),
    "tensor": lambda x: (x * 1.0, TENSOR, TENSOR), "views": lambda x: (x[:1], x[1:], x.reshape(2)),
    "views of array": lambda x: (x, ARRAY[:1], ARRAY[::-1]), "x + x": lambda x: (x + x, x),
    "clone": lambda x: (x.clone(), x.clone()), "checkpoint": lambda x: ad.checkpoint(
        lambda v: (v, v, ARRAY))(x * 1.0), "in place": lambda x: ((x * 1.0).__iadd__(0.0), x)}


def through_vjp(f, x):
    y, pullback = ad.vjp(f, x)
    ones = unflatten(flatten(y)[1], [np.ones(v.shape) for v in flatten(y)[0]])
    return y, pullback(ones), ones


def through_linearize(f, x):
    y, push = ad.linearize(f, x)
    dx = np.ones(x.shape)
    return y, push(dx), push(dx), dx


TRANSFORMS = {
    "vjp": through_vjp, "linearize": through_linearize,
    "vmap": lambda f, x: ad.vmap(f)(x.reshape(1, 2)),
    "vmap out_axes": lambda f, x: ad.vmap(f, in_axes=1, out_axes=-1)(x.reshape(2, 1)),
    "jacobian": lambda f, x: ad.jacobian(lambda v: flatten(f(v))[0][0])(x),
    "hessian": lambda f, x: ad.hessian(lambda v: (flatten(f(v))[0][0] ** 2).sum())(x)}


@pytest.mark.parametrize("make", [lambda: np.array([1.0, 2.0]), lambda: ad.tensor([1.0, 2.0])],
                         ids=["array", "tensor"])
@pytest.mark.parametrize("program", SHARING)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_results_of_a_transformation_are_apart(transform, program, make):
    x = make()
    out = TRANSFORMS[transform](SHARING[program], x)
    assert not clashes(memory(out), memory(x, ARRAY, TENSOR))
    assert all(v is not TENSOR for v in flatten(out)[0])


@pytest.mark.parametrize("make", [lambda: np.array([1.0, 2.0]), lambda: ad.tensor([1.0, 2.0])],
                         ids=["array", "tensor"])
@pytest.mark.parametrize("program", SHARING)
def test_results_of_jvp_are_apart(program, make):
    x, dx = make(), make()
    out = ad.jvp(SHARING[program], (x,), (dx,))
    assert not clashes(memory(out), memory(x, dx, ARRAY, TENSOR))
    assert all(v is not TENSOR for v in flatten(out)[0])


def test_what_was_given_to_a_transformation_can_change(way):
    a, dx = np.array([1.0, 2.0]), np.array([1.0, 1.0])
    _, pullback = ad.vjp(lambda x: x * x * a, a)
    _, push = ad.linearize(lambda x: x * x * a, a)
    dy = np.ones(2)
    a[:] = 0.0
    assert pullback(dy)[0].tolist() == [2.0, 8.0]
    assert push(dx).tolist() == [2.0, 8.0]
    first = pullback(dy)[0]
    dy[:] = dx[:] = 0.0
    assert first.tolist() == [2.0, 8.0]
    first[:] = 0.0
    assert pullback(np.ones(2))[0].tolist() == [2.0, 8.0]


def test_vmap_without_an_output_axis():
    x = np.ones((3, 2))
    y, z = ad.vmap(lambda v: (v, ARRAY), out_axes=(0, None))(x)
    assert (y.shape, z.tolist()) == ((3, 2), [1.0, 2.0])
    with pytest.raises(ArgumentError, match="out_axes=None for a result"):
        ad.vmap(lambda v: v, out_axes=None)(x)
    with pytest.raises(ArgumentError, match="out_axes=None"):
        ad.vmap(lambda v: (v.sum(), 1.0), out_axes=(None, None))(x)
    with pytest.raises(ShapeError, match="out_axes=2"):
        ad.vmap(lambda v: v, out_axes=2)(x)
    t = ad.tensor([1.0, 2.0], requires_grad=True)
    z = ad.vmap(lambda v: t, out_axes=None)(x)
    (z * z).sum().backward()
    assert t.grad.tolist() == [2.0, 4.0]
