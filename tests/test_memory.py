"""Memory: no reference cycle, graphs freed when let go, a million steps without recursion."""

import contextlib
import copy
import gc
import pickle
import resource
import sys
import threading
import tracemalloc
import weakref
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.errors import ShapeError

LONG = 1_000_000


class Square(ad.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2.0 * x * dy


def plain(x):
    return np.sin(x * x).sum()


def created(x):
    y = np.sin(x * x).sum()
    y.backward(create_graph=True)
    return (x.grad * x.grad).sum()


def hooked(x):
    y = x * x
    y.register_hook(lambda g: g * 2.0)
    y.retain_grad()
    x.register_hook(lambda g: g * 1.0)
    return y.sum()


def in_place(x):
    y = x * 1.0
    y[0] = y[1] * 2.0
    y += x
    return (y * y).sum()


GRAPHS = [
    plain, created, hooked, in_place, lambda x: Square.apply(x).sum(),
    lambda x: ad.checkpoint(lambda v: np.sin(v) * x)(x).sum(), lambda x: x[:1].sum() + x.T.sum(),
    lambda x: ad.grad(lambda v: (v * v * x).sum())(x).sum(), lambda x: ad.vmap(np.sin)(x).sum(),
    lambda x: ad.jvp(np.sin, (x,), (x,))[1].sum(), lambda x: ad.vjp(np.sin, x)[1](x)[0].sum(),
    lambda x: ad.hessian(lambda v: (v ** 3).sum())(x).sum()]


@pytest.fixture
def collector_off():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("swept", [False, True])
@pytest.mark.parametrize("build", GRAPHS)
def test_no_reference_cycle(collector_off, build, swept):
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    y = build(x)
    if swept:
        y.backward()
    dead = [weakref.ref(x), weakref.ref(y)] + ([weakref.ref(x.grad)] if x.grad is not None else [])
    del x, y
    assert [r() for r in dead] == [None] * len(dead)
    assert gc.collect() == 0


def test_functional_transforms_leave_nothing(collector_off):
    x = np.ones(3)
    for call in (lambda: ad.grad(lambda v: (v ** 3).sum())(x), lambda: ad.jacobian(np.sin)(x),
                 lambda: ad.hessian(lambda v: (v ** 3).sum())(x), lambda: ad.vmap(np.sin)(x),
                 lambda: ad.jvp(np.sin, (x,), (x,)), lambda: ad.linearize(np.sin, x)[1](x),
                 lambda: ad.grad(lambda v: ad.checkpoint(np.sin)(v).sum())(x)):
        call()
        gc.collect()
        call()
        assert gc.collect() == 0


def test_the_graph_lives_as_long_as_a_result_needs_it(collector_off):
    x = ad.tensor(2.0, requires_grad=True)
    y = x * x
    z = y * 3.0
    leaf = weakref.ref(x)
    del y
    z.backward()
    assert x.grad.item() == 12.0
    del x, z
    assert leaf() is None


def test_a_leaf_that_is_gone_gets_no_gradient():
    x = ad.tensor(2.0, requires_grad=True)
    w = ad.tensor(3.0, requires_grad=True)
    y = x * w
    del x
    y.backward()
    assert w.grad.item() == 2.0


def chain(n):
    x = ad.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(n):
        y = y * 1.0
    return x, y


def test_a_million_steps_built_swept_and_freed():
    x, y = chain(LONG)
    y.backward()
    assert x.grad.item() == 1.0


def test_a_million_steps_freed_without_a_sweep_in_a_small_stack():
    # From 3.13 on CPython nests deallocation as deep as its C recursion limit allows.
    before = threading.stack_size((64 if sys.version_info < (3, 13) else 1024) * 1024)
    try:
        errors = []

        def free():
            try:
                holder.clear()
            except (RecursionError, MemoryError) as e:
                errors.append(e)
        holder = [chain(LONG)]
        thread = threading.Thread(target=free)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert errors == []
    assert holder == []


def test_a_hundred_thousand_steps_in_every_mode():
    def long(x):
        for _ in range(100_000):
            x = x * 1.0
        return x
    assert ad.grad(long)(2.0) == 1.0
    assert ad.jvp(long, (2.0,), (1.0,)) == (2.0, 1.0)
    assert ad.linearize(long, 2.0)[1](1.0) == 1.0
    assert ad.grad(ad.checkpoint(long))(2.0) == 1.0
    x, y = chain(100_000)
    y.backward(create_graph=True)
    assert x.grad.item() == 1.0
    del x, y


def test_nothing_but_what_rules_read_is_held():
    def peak(f):
        x = ad.tensor(np.ones(50_000), requires_grad=True)
        tracemalloc.start()
        try:
            y = f(x)
            return tracemalloc.get_traced_memory()[0] / 400_000, y
        finally:
            tracemalloc.stop()

    def adds(x):
        for _ in range(20):
            x = x + 1.0
        return x

    def sines(x):
        for _ in range(20):
            x = np.sin(x)
        return x
    assert peak(adds)[0] < 2.5  # sums keep nothing: the result alone
    assert 19.0 < peak(sines)[0] < 22.0


def test_the_sweep_frees_as_it_goes():
    x = ad.tensor(np.ones(50_000), requires_grad=True)
    tracemalloc.start()
    try:
        y = x
        for _ in range(40):
            y = np.sin(y)
        forward = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        y.sum().backward()
        rise = tracemalloc.get_traced_memory()[1] - forward
    finally:
        tracemalloc.stop()
    assert rise < 8 * 400_000


# ---- more kinds of program, each run twice with the collector off: the second leaves nothing

def trained(optimizer):
    def run():
        net = ad.nn.Sequential(ad.nn.Linear(3, 4), ad.nn.Tanh(), ad.nn.Linear(4, 2))
        opt = optimizer(net.parameters())
        for _ in range(2):
            opt.zero_grad()
            loss = ad.nn.CrossEntropyLoss()(net(np.ones((5, 3), np.float32)), np.zeros(5, int))
            loss.backward()
            opt.step()
        opt.state_dict()
        net.state_dict()
    return run


def leaf(*values):
    return ad.tensor(list(values), requires_grad=True)


def with_handles():
    x = leaf(1.0, 2.0)
    y = x * x
    handles = [t.register_hook(lambda g: g * 2.0) for t in (x, y, y)]
    handles[0].remove()
    y.sum().backward()


def retained_and_changed():
    x = leaf(1.0, 2.0)
    y = x * 1.0
    y.retain_grad()
    y *= 2.0
    with ad.no_grad():
        y += 1.0
        x -= 1.0
    y.grad_fn, y.grad_fn.next_functions, repr(y)
    y.sum().backward()


def own_gradient():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward(create_graph=True)
    x.grad = x.grad * x
    x.grad.sum().backward()


def written():
    y = ad.zeros(3)
    y[1:] = leaf(1.0, 2.0)
    y[0] += y[1]
    np.add(y, y, out=y)
    y.data = y.data * 2.0
    y.sum().backward()


def failing(where):
    def run():
        x = leaf(1.0, 2.0)
        y = x * x
        if where == "hook":
            y.register_hook(lambda g: 1 / 0)
        with contextlib.suppress(ZeroDivisionError, ShapeError):
            if where == "forward":
                y @ np.ones((3, 3))
            elif where == "function":
                ad.grad(lambda v: (v * y).sum() / 0 if 1 / 0 else v)(x)
            else:
                y.sum().backward(create_graph=where == "recorded")
                1 / 0  # the graph is let go with the traceback
    return run


def in_blocks():
    with ad.tape() as nodes, ad.sites():
        x = leaf(1.0, 2.0)
        (np.sin(x) * x).sum().backward(retain_graph=True)
    return len(nodes)


def with_several():
    x = leaf(1.0, 2.0)
    a, b = Pair.apply(x)
    (a * b).sum().backward(create_graph=True)
    x.grad.sum().backward()


class Pair(ad.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.scale = 2.0
        return x * 2.0, x * x

    @staticmethod
    def backward(ctx, da, db):
        (x,) = ctx.saved_tensors
        return da * 2.0 + db * 2.0 * x


def cubes(v):
    return (v ** 3).sum()


def taught():
    a, b = ad.teach.Value(2.0), ad.teach.Value(3.0)
    (a * b + a).backward()


KINDS = {
    "SGD": trained(lambda p: ad.optim.SGD(p, lr=0.1, momentum=0.9)),
    "Adam": trained(ad.optim.Adam), "AdamW": trained(ad.optim.AdamW), "handles": with_handles,
    "retained": retained_and_changed, "own gradient": own_gradient, "written": written,
    "blocks": in_blocks, "several": with_several,
    "failing forward": failing("forward"), "failing hook": failing("hook"),
    "failing function": failing("function"), "failing sweep": failing("recorded"),
    "jacobian": lambda: ad.jacobian(np.sin)(leaf(1.0, 2.0)).sum().backward(),
    "forward jacobian": lambda: ad.jacobian(np.sin, mode="forward")(leaf(1.0)).sum().backward(),
    "hessian": lambda: ad.hessian(cubes)(leaf(1.0, 2.0)).sum().backward(),
    "hvp": lambda: ad.hvp(cubes, (leaf(1.0),), (leaf(1.0),)).sum().backward(),
    "vmap of grad": lambda: ad.vmap(ad.grad(cubes))(leaf(1.0, 2.0)).sum().backward(),
    "checkpoint twice": lambda: ad.checkpoint(ad.checkpoint(np.sin))(leaf(1.0)).sum().backward(),
    "grad of checkpoint": lambda: ad.hessian(ad.checkpoint(cubes))(np.ones(2)),
    "copy": lambda: copy.deepcopy(leaf(1.0, 2.0)), "pickle": lambda: pickle.dumps(leaf(1.0)),
    "check": lambda: ad.check(np.sin, np.ones(2)),
    "teach": taught}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_program_is_freed_at_once(collector_off, kind):
    """What is counted is ours: NumPy and the interpreter may leave cycles of their own."""
    KINDS[kind]()  # caches are filled
    gc.collect()
    KINDS[kind]()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        left = [o for o in gc.garbage if type(o).__module__.startswith("adjoint")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert left == []


def test_the_check_for_cycles_can_fail(collector_off):
    def build():
        y = leaf(1.0) * 1.0
        y.register_hook(lambda g: g * y)  # the user's own cycle, through the closure
        return weakref.ref(y)
    alive = build()
    assert alive() is not None
    assert gc.collect() > 0
    assert alive() is None


def test_an_exception_keeps_a_graph_no_longer_than_its_traceback(collector_off):
    def fail():
        x = leaf(1.0, 2.0)
        y = x * x
        dead.append(weakref.ref(y))
        y.register_hook(lambda g: 1 / 0)
        y.sum().backward()
    dead = []
    try:
        fail()
    except ZeroDivisionError as e:
        kept = e
        assert dead[0]() is not None
    kept.__traceback__ = None
    del kept
    assert dead[0]() is None


def test_a_result_of_a_function_does_not_hold_what_is_behind_it(collector_off):
    x = leaf(1.0, 2.0)
    h = x * 2.0
    y = Square.apply(h)
    dead = weakref.ref(h)
    del h
    assert dead() is None
    y.sum().backward()
    assert x.grad.tolist() == [8.0, 16.0]


def test_a_removed_hook_is_let_go(collector_off):
    class Hook:
        def __call__(self, g):
            return None
    x, hook = leaf(1.0), Hook()
    y, dead = x * 2.0, weakref.ref(hook)
    handles = [x.register_hook(hook), y.register_hook(hook)]
    y.sum().backward()
    for handle in handles:
        handle.remove()
    del hook
    assert dead() is None


def hooked_link(y):
    y = y * 1.0
    y.register_hook(lambda g: None)
    return y


@pytest.mark.parametrize("link", [
    Square.apply, hooked_link, lambda y: y.__iadd__(0.0), ad.checkpoint(lambda v: v * 1.0),
    lambda y: y.reshape(1)[0], lambda y: ad.setitem(y.reshape(1), 0, y)[0]],
    ids=["Function", "hook", "in place", "checkpoint", "views", "writes"])
def test_a_long_chain_of_any_kind_is_freed_without_recursion(link):
    """In a small stack, where a hundred frames of recursion for each step would not fit."""
    def build():
        x = leaf(1.0)
        y = x[0] * 1.0
        for _ in range(20_000):
            y = link(y)
        return [x, y]
    before = threading.stack_size(256 * 1024 if sys.version_info < (3, 13) else 1024 * 1024)
    holder = [build()]
    try:
        thread = threading.Thread(target=holder.clear)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert holder == []


def resident():
    """The resident memory of this process in bytes; its peak where there is no /proc."""
    path = Path("/proc/self/statm")
    if path.exists():
        return int(path.read_text().split()[1]) * resource.getpagesize()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def training():
    """A step of training as a function: hooks, retained gradients, state, in-place updates."""
    rng = np.random.default_rng(0)
    net = ad.nn.Sequential(ad.nn.Linear(8, 16), ad.nn.Tanh(), ad.nn.Linear(16, 1))
    x, opt = rng.normal(size=(32, 8)).astype(np.float32), ad.optim.Adam(net.parameters())

    def step():
        opt.zero_grad()
        y = net(x)
        y.retain_grad()
        y.register_hook(lambda g: None)
        loss = (y * y).mean()
        loss.backward()
        opt.step()
        return loss
    return step


def test_ten_thousand_steps_of_training_hold_their_memory():
    """Nothing of a step may stay: not a Node, not an array.

    A step makes a dozen Nodes, each over 100 bytes, and activations of 32 * 16 * 4 bytes = 2 kB.
    Were one Node of each step kept, 9,000 steps would add 1 MB; one activation, 18 MB. The
    allocator may keep a few pages of its own: half a megabyte is allowed.
    """
    step = training()
    for _ in range(1000):  # caches and the allocator's pools are filled
        step()
    gc.collect()
    before = resident()
    for _ in range(9000):
        step()
    assert resident() - before < 512 * 1024


# `check` runs for seconds; `pickle` fills free lists of its own for hundreds of steps.
@pytest.mark.parametrize("kind", ["training", *(k for k in KINDS if k not in ("check", "pickle"))])
def test_steps_leave_no_bytes_behind(kind):
    """By tracemalloc: a round of 30 steps leaves less than 30 of our smallest objects (a Tensor).

    The interpreter's free lists fill while we look, ever more slowly; a leak is in every round.
    """
    step = training() if kind == "training" else KINDS[kind]
    step()
    gc.collect()
    sizes = []
    tracemalloc.start()
    try:
        for _ in range(8):
            for _ in range(30):
                step()
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert min(after - before for before, after in pairwise(sizes)) < 30 * sys.getsizeof(leaf(1.0))


def test_a_long_sweep_frees_values_on_the_way():
    """Activations and gradients are of one size here: both at once would be twice as much."""
    weights = [ad.tensor(np.full((200, 200), 0.01), requires_grad=True) for _ in range(32)]
    tracemalloc.start()
    try:
        h = ad.tensor(np.ones((200, 200)))
        for w in weights:
            h = ad.tanh(h @ w)
        loss = h.sum()
        del h
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        loss.backward()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after == pytest.approx(held, rel=0.1)
    assert peak < 1.5 * held


def test_stretches_change_no_gradient():
    """A zero that cancels in one stretch, a NaN that stays in another, a leaf that all reach."""
    x = np.linspace(0.0, 2.0, 50_000)

    def f(x, scale):
        y = x * scale
        for k in range(12):
            y = np.where(y > 0, np.sqrt(y), x) + y * 0.5 if k % 3 == 0 else np.sin(y) * scale
        return y.sum() + np.log(np.exp(scale * -1000.0))
    t, s = ad.tensor(x, requires_grad=True), ad.tensor(1.0, requires_grad=True)
    with np.errstate(divide="ignore"):
        y = f(t, s)
    y.backward(retain_graph=True)
    whole, t.grad, s.grad = (t.grad.numpy(), s.grad.item()), None, None
    y.backward()
    np.testing.assert_array_equal(t.grad.numpy(), whole[0])
    np.testing.assert_array_equal(s.grad.item(), whole[1])
    assert np.isfinite(whole[0]).all()
    assert np.isnan(whole[1])
