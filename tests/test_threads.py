"""Threads, async tasks, interrupts: modes are per context, levels unique, stacks restored."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import adjoint as ad
from adjoint.core.box import bind, live
from adjoint.core.node import MODES, Modes, switch
from adjoint.core.primitive import Primitive


@pytest.fixture(autouse=True)
def restored():
    """After each test no mode is on and no level alive, here and in all threads."""
    interval, before = sys.getswitchinterval(), set(live)  # ad.teach has a level that never ends
    yield
    sys.setswitchinterval(interval)
    assert switch.armed == 0
    assert MODES.get() == Modes()
    assert live == before


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
