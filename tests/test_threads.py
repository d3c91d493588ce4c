"""Threads, async tasks, interrupts: modes are per context, levels unique, stacks restored."""

import asyncio
import contextvars
import ctypes
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.box import bind, live
from adjoint.core.node import MODES, Modes, switch
from adjoint.core.primitive import Primitive
from adjoint.errors import LevelError


@pytest.fixture(autouse=True)
def restored():
    """After each test no mode is on and no level alive, here and in all threads."""
    interval, before = sys.getswitchinterval(), set(live)  # ad.teach has a level that never ends
    yield
    sys.setswitchinterval(interval)
    found = switch.armed, MODES.get(), set(live)
    switch.armed = 0  # so that one failure is one failure
    MODES.set(Modes())
    live.intersection_update(before)
    assert found == (0, Modes(), before)


def quartic(x):
    return x ** 4


def work(n):
    """Nested gradients of every kind, interrupted by no_grad; True if all are right."""
    x = 1.0 + n / 10.0
    t = ad.tensor(x, requires_grad=True)
    for k in range(15):
        y = t * t * t
        third = ad.grad(ad.grad(ad.grad(quartic)))(x)
        mixed = ad.jvp(ad.grad(quartic), (x,), (1.0,))[1]
        with ad.no_grad():
            constant = t * t
            inner = ad.hessian(quartic)(x)
            t += 0.0
        rows = ad.vmap(ad.grad(quartic))(np.array([x, 2.0 * x]))
        with ad.tape() as nodes:
            z = t * 2.0
        y.backward()
        right = (np.isclose(third, 24 * x) and np.isclose(mixed, 12 * x * x)
                 and np.isclose(inner, 12 * x * x) and not constant.requires_grad
                 and np.allclose(rows, 4 * np.array([x, 2 * x]) ** 3) and len(nodes) == 1
                 and z.requires_grad and np.isclose(t.grad.item(), 3 * x * x * (k + 1)))
        if not right:
            return False
    return True


def test_twenty_threads():
    sys.setswitchinterval(1e-6)
    with ThreadPoolExecutor(20) as pool:
        assert list(pool.map(work, range(20))) == [True] * 20


def test_no_grad_stays_in_its_thread():
    inside, leave, seen = threading.Event(), threading.Event(), []

    def other():
        with ad.no_grad():
            inside.set()
            leave.wait(5)
    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(5)
    x = ad.tensor(2.0, requires_grad=True)
    seen.append((x * x).requires_grad)  # armed, but not here
    with ad.tape() as nodes:
        np.sin(x * x)
    leave.set()
    thread.join()
    assert seen == [True]
    assert [n.prim.name for n in nodes] == ["multiply", "sin"]


def test_a_new_thread_starts_with_recording_on():
    seen = []
    x = ad.tensor(2.0, requires_grad=True)
    with ad.no_grad():
        thread = threading.Thread(target=lambda: seen.append((x * x).requires_grad))
        thread.start()
        thread.join()
    assert seen == [True]


def test_a_tensor_crosses_threads():
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda k: (x * float(k)).sum(), range(1, 5)))
        total = pool.submit(lambda: sum(parts)).result()
        pool.submit(total.backward).result()
    assert x.grad.tolist() == [10.0, 10.0]


def test_a_level_crosses_threads():
    def f(x):
        with ThreadPoolExecutor(2) as pool:
            return sum(pool.map(lambda k: x ** k, (2, 3)))
    assert ad.grad(f)(2.0) == 16.0
    assert ad.hessian(f)(2.0) == 14.0


def test_async_tasks():
    async def task(n):
        x = ad.tensor(float(n), requires_grad=True)
        with ad.no_grad():
            await asyncio.sleep(0)
            constant = x * x
            await asyncio.sleep(0)
        y = x * x
        await asyncio.sleep(0)
        with ad.tape() as nodes:
            await asyncio.sleep(0)
            z = np.sin(y)
        z.backward()
        return (not constant.requires_grad and len(nodes) == 1
                and np.isclose(x.grad.item(), 2 * n * np.cos(n * n)))

    async def main():
        return await asyncio.gather(*map(task, range(1, 9)))
    assert all(asyncio.run(main()))


ERRORS = [ZeroDivisionError, KeyboardInterrupt, GeneratorExit]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("transform", [
    ad.grad, ad.hessian, ad.jacobian, lambda f: ad.jacobian(f, mode="forward"), ad.checkpoint,
    lambda f: lambda x: ad.jvp(f, (x,), (1.0,)), lambda f: lambda x: ad.vjp(f, x),
    lambda f: lambda x: ad.linearize(f, x), lambda f: lambda x: ad.vmap(f)(np.full(2, x)),
    lambda f: ad.grad(ad.grad(f)), lambda f: ad.grad(ad.checkpoint(f))])
def test_an_error_in_the_function_restores_every_stack(error, transform):
    def f(x):
        with ad.no_grad(), ad.tape(), ad.sites():
            raise error
    with pytest.raises(error):
        transform(f)(2.0)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("rule", ["impl", "vjp", "jvp", "batch"])
def test_an_error_in_a_rule_restores_every_stack(error, rule):
    def fail(*args, **kwargs):
        raise error
    fields = {"impl": lambda x: x * 1.0, "vjp": lambda dy, y, x, needs: (dy,),
              "jvp": lambda dxs, y, x: dxs[0], "batch": lambda size, axes, x: (x, 0)}
    row = Primitive("fragile", **{**fields, rule: fail})

    def f(x):
        return bind(row, (x,), {})
    x = ad.tensor(2.0, requires_grad=True)
    calls = {"impl": lambda: f(x), "vjp": lambda: f(x).backward(),
             "jvp": lambda: ad.jvp(f, (2.0,), (1.0,)), "batch": lambda: ad.vmap(f)(np.ones(2))}
    with pytest.raises(error), ad.sites():
        calls[rule]()
    with pytest.raises(error):
        ad.grad({"vjp": f, "impl": f, "jvp": lambda x: ad.jvp(f, (x,), (1.0,))[1],
                           "batch": lambda x: ad.vmap(f)(x[None]).sum()}[rule])(2.0)
    assert x.grad is None


def test_modes_are_restored_when_a_block_is_left_out_of_order():
    first, second = ad.no_grad(), ad.enable_grad()
    first.__enter__()
    second.__enter__()
    second.__exit__(None, None, None)
    first.__exit__(None, None, None)
    assert ad.is_grad_enabled()


# ---- one .grad, many threads

@pytest.mark.parametrize("shape", [(), (3,)])
def test_gradients_from_many_threads_are_all_added(shape):
    """Whole numbers: the sum is exact in any order, and a lost addition shows."""
    sys.setswitchinterval(1e-6)
    x = ad.tensor(np.ones(shape), requires_grad=True)
    start = threading.Barrier(20)

    def add(n):
        start.wait(30)
        for k in range(50):
            (x * float(n + k)).sum().backward()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(add, range(20)))
    expected = float(sum(n + k for n in range(20) for k in range(50)))
    assert np.all(x.grad.numpy() == expected)


def test_one_graph_swept_by_many_threads():
    sys.setswitchinterval(1e-6)
    x = ad.tensor([1.0, 2.0], requires_grad=True)
    h = x * x
    h.retain_grad()
    y = (h * 3.0).sum()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: [y.backward(retain_graph=True) for _ in range(10)], range(20)))
    assert x.grad.tolist() == [1200.0, 2400.0]
    assert h.grad.tolist() == [600.0, 600.0]


def test_nested_gradients_of_a_tensor_that_crosses_threads():
    sys.setswitchinterval(1e-6)
    t = ad.tensor(2.0, requires_grad=True)

    def nested(k):
        inner = ad.grad(ad.grad(lambda x: x ** 3 * t))(float(k))  # 6 k t
        mixed = ad.jvp(ad.grad(lambda x: x ** 3 * t), (float(k),), (1.0,))[1]
        rows = ad.vmap(ad.grad(lambda x: x * x * t))(np.array([1.0, float(k)]))
        return inner + mixed + rows.sum()  # 12 k t + 2 (1 + k) t
    with ThreadPoolExecutor(20) as pool:
        parts = list(pool.map(nested, range(20)))
    sum(parts).backward()
    assert t.grad.item() == sum(14.0 * k + 2.0 for k in range(20))


# ---- async tasks and generators

BLOCKS = {
    "no_grad": ad.no_grad, "enable_grad": ad.enable_grad, "tape": ad.tape, "sites": ad.sites,
    "kinks": lambda: ad.kinks("raise"), "strict": ad.strict, "doctor": ad.doctor}
each_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


@each_block
def test_tasks_that_wait_inside_a_block(block):
    """Each task sees its own modes before, in and after its block, whoever runs in between."""
    before = MODES.get()

    async def task(n):
        for _ in range(n):
            await asyncio.sleep(0)
        with block():
            mine = MODES.get()
            for _ in range(3):
                await asyncio.sleep(0)
                assert MODES.get() == mine
            with ad.enable_grad():
                await asyncio.sleep(0)
                assert ad.grad(quartic)(2.0) == 32.0
            assert MODES.get() == mine
        assert MODES.get() == before
        await asyncio.sleep(0)
        return ad.grad(ad.grad(quartic))(1.0)

    async def main():
        return await asyncio.gather(*(task(n % 4) for n in range(12)))
    assert asyncio.run(main()) == [12.0] * 12


@each_block
def test_a_task_cancelled_inside_a_block(block):
    async def task():
        with block():
            await asyncio.sleep(30)

    async def main():
        waiting = asyncio.create_task(task())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return ad.is_grad_enabled()
    assert asyncio.run(main())


def suspended(block):
    with block():
        yield ad.is_grad_enabled()


@each_block
@pytest.mark.parametrize("end", ["close", "next", "throw", "del"])
def test_a_generator_suspended_in_a_block(block, end):
    generator = suspended(block)
    next(generator)
    if end == "throw":
        with pytest.raises(ZeroDivisionError):
            generator.throw(ZeroDivisionError)
    elif end == "next":
        assert list(generator) == []
    elif end == "close":
        generator.close()
    del generator
    assert MODES.get() == Modes()
    assert ad.is_grad_enabled()


@each_block
def test_a_generator_closed_inside_another_block(block):
    """Blocks that end out of order: what is left of the outer one must not stay on."""
    generator = suspended(block)
    next(generator)
    with ad.no_grad():
        generator.close()
        assert not ad.is_grad_enabled()
    assert MODES.get() == Modes()


@each_block
def test_a_generator_closed_in_another_thread(block):
    """The modes of the thread that closes it stay its own; the block's context is left as it was.

    Nobody can reach into another context: there the block stays on, until the context ends.
    """
    seen = []
    generator = suspended(block)
    contextvars.copy_context().run(next, generator)

    def close():
        with ad.no_grad():
            generator.close()
            seen.append(ad.is_grad_enabled())
        seen.append(MODES.get() == Modes())
    thread = threading.Thread(target=close)
    thread.start()
    thread.join()
    assert seen == [False, True]
    assert ad.is_grad_enabled()
    assert switch.armed == 1  # costs speed, never correctness
    switch.armed = 0


def test_a_generator_suspended_inside_a_transformation():
    """A value of a call that has ended says so, whoever kept the generator."""
    kept = []

    def f(x):
        def values():
            yield x * 2.0
            yield x * 3.0
        generator = values()
        kept.append(generator)
        return next(generator)
    assert ad.grad(f)(1.0) == 2.0
    with pytest.raises(LevelError):
        next(kept[0])


# ---- interrupts, from a signal and from another thread, at every place where user code runs

def by_signal():
    signal.raise_signal(signal.SIGINT)


def by_thread():
    """What a notebook or a debugger does: an exception set from outside."""
    here = ctypes.c_ulong(threading.get_ident())
    ctypes.pythonapi.PyThreadState_SetAsyncExc(here, ctypes.py_object(KeyboardInterrupt))


def by_raise():
    raise KeyboardInterrupt


def by_error():
    raise ZeroDivisionError


def user_function(where, stop):
    class Fragile(ad.Function):
        @staticmethod
        def forward(ctx, x):
            if where == "forward":
                stop()
            return x * 1.0

        @staticmethod
        def backward(ctx, dy):
            if where == "backward":
                stop()
            return dy
    return Fragile.apply


def fragile_row(where, stop):
    def rule(name, value):
        def apply(*args, **params):
            if name == where:
                stop()
            return value(*args)
        return apply
    row = Primitive(
        "fragile", rule("impl", lambda x: x * 1.0),
        vjp=rule("vjp", lambda dy, y, x, needs: (dy,)), jvp=rule("jvp", lambda dxs, y, x: dxs[0]),
        batch=rule("impl", lambda size, axes, x: (x, 0)))
    return lambda x: bind(row, (x,), {})


def with_hook(stop):
    def f(x):
        y = x * 1.0
        y.register_hook(lambda g: stop())
        return y
    return f


PLACES = {
    "impl": lambda stop: fragile_row("impl", stop), "vjp": lambda stop: fragile_row("vjp", stop),
    "forward": lambda stop: user_function("forward", stop),
    "backward": lambda stop: user_function("backward", stop), "hook": with_hook}
SWEEPS = {
    "backward": lambda f: f(ad.tensor(2.0, requires_grad=True)).backward(),
    "create_graph": lambda f: f(ad.tensor(2.0, requires_grad=True)).backward(create_graph=True),
    "grad": lambda f: ad.grad(f)(2.0), "grad of grad": lambda f: ad.grad(ad.grad(f))(2.0),
    "jvp of grad": lambda f: ad.jvp(ad.grad(f), (2.0,), (1.0,)),
    "jacobian": lambda f: ad.jacobian(f)(np.ones(2)), "vmap": lambda f: ad.vmap(ad.grad(f))(
        np.ones(2)), "checkpoint": lambda f: ad.grad(ad.checkpoint(f))(2.0),
    "in blocks": lambda f: in_blocks(lambda: ad.grad(f)(2.0))}


def in_blocks(call):
    with ad.tape(), ad.sites(), ad.enable_grad():
        call()


@pytest.fixture
def interruptible():
    """Shells have what they run in the background ignore interrupts, and Python inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("stop", [by_raise, by_error, by_signal, by_thread])
@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("place", PLACES)
def test_an_interrupt_restores_every_stack(place, sweep, stop):
    stopped = []

    def once():
        stopped.append(True)
        stop()
        for _ in range(1000):  # an exception set from outside is raised at one of these
            pass
    f = PLACES[place](once)

    def program(x):
        y = f(x * 1.0)
        return y if y.ndim == 0 or sweep == "jacobian" else y.sum()
    with pytest.raises((KeyboardInterrupt, ZeroDivisionError)):
        SWEEPS[sweep](program)
    assert stopped == [True]
    assert ad.grad(ad.grad(quartic))(1.0) == 12.0  # and everything works after it


def test_an_error_in_a_hook_leaves_every_gradient_as_it_was():
    a, b = (ad.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    (a * b).sum().backward()
    for x in (a, b):
        y = (a * b).sum()
        handle = x.register_hook(lambda g: by_error())
        with pytest.raises(ZeroDivisionError):
            y.backward()
        handle.remove()
        assert a.grad.tolist() == b.grad.tolist() == [1.0, 2.0]


def test_an_interrupt_at_the_start_of_any_function_restores_every_stack():
    """Ctrl-C can come anywhere: here it comes at the start of each function of ours in turn.

    All but one kind: an interrupt before a block's ``__exit__`` has done its work, which CPython
    allows between two bytecodes, and which a block written in Python cannot prevent.
    """
    home = str(Path(ad.__file__).parent)

    def program():
        x = ad.tensor([1.0, 2.0], requires_grad=True)
        y = x * x
        y.register_hook(lambda g: g * 1.0)
        with ad.no_grad():
            x * 2.0
        y.sum().backward()
        ad.grad(lambda v: ad.jvp(lambda w: w * v, (v,), (v,))[1])(2.0)

    def interrupted(number):
        count = 0

        def watch(frame, event, arg):
            nonlocal count
            code = frame.f_code
            ends = "__exit__" in (code.co_name, frame.f_back.f_code.co_name)
            if code.co_filename.startswith(home) and not ends:
                count += 1
                if count == number:
                    raise KeyboardInterrupt
        before = sys.gettrace()
        sys.settrace(watch)
        try:
            program()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(before)
        return False
    program()
    alive, number = set(live), 0
    while interrupted(number := number + 1):
        assert (switch.armed, MODES.get(), live) == (0, Modes(), alive), number
    assert number > 50
