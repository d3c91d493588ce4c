"""Memory: no reference cycle, graphs freed when let go, a million steps without recursion."""

import gc
import sys
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import adjoint as ad

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
