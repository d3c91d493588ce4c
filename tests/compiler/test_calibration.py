"""How BLAS is compared with the products that we write."""

import os
import threading
import time

import numpy as np
import pytest

import adjoint as ad
from adjoint.compiler import blas, calibration
from adjoint.compiler.native import host
from adjoint.compiler.program import ProgramBuilder
from adjoint.core.node import aval


def test_scipy_is_not_asked_where_numpy_is_slower(monkeypatch):
    dtype, asked = np.dtype(np.float32), []
    monkeypatch.setattr(calibration, "SIDES", (40, 80))
    monkeypatch.setattr(blas, "address", lambda symbol: asked.append(symbol) or 0)
    for faster in (False, True):
        monkeypatch.setattr(calibration, "is_faster", lambda *_, faster=faster: faster)
        assert calibration.measured(dtype, host(), 1) == blas.NEVER
        assert asked == ["adjoint_sgemm"] * faster


@pytest.mark.parametrize(("theirs", "rounds"), [(1.0, 2), (4.0, 2), (1.8, 4)])
def test_clear_times_are_taken_twice(theirs, rounds, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(calibration, "perf_counter", lambda: clock[0])

    def takes(seconds):
        calls.append(seconds)
        clock[0] += seconds
    calls = []
    found = calibration.compared(lambda: takes(2.0), lambda: takes(theirs), 1.1)
    assert found == pytest.approx((2.0, theirs))
    assert len(calls) == 2 * rounds


def product(depths, side=512):
    """A product of so many pairs."""
    b, dtype = ProgramBuilder(), np.dtype(np.float32)
    b.program.outputs = [b.dot([(b.input(aval((side, k), dtype)), b.input(aval((k, side), dtype)))
                                for k in depths]).number]
    return b.program


def test_what_is_asked_is_all_of_k():
    assert calibration.wanted(product([512])) == calibration.wanted(product([256, 256])) == [
        "float32"]
    assert calibration.wanted(product([256, 255])) == []


def test_nothing_is_measured_for_what_uses_no_blas(monkeypatch):
    monkeypatch.setattr(blas, "limits", {})
    with ad.deterministic():
        calibration.prepare(product([512]), host())
    assert blas.limits == {}


def test_other_limits_stand_while_one_is_measured(monkeypatch):
    other, seen = ("float64", host().vector_bytes), []

    class Limits(dict):
        def clear(self):
            super().clear()
            seen.append(self.get(other))
    monkeypatch.setattr(blas, "limits", Limits({other: 512.0}))
    monkeypatch.setattr(calibration, "made", lambda *_: seen.append(blas.limits[other]))
    calibration.square(np.dtype(np.float32), 80, host(), 80)
    assert blas.limits == {other: 512.0}
    assert seen == [512.0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process")  # of Python 3.12: it is multi-threaded
def test_a_fork_while_another_thread_measures(monkeypatch):
    monkeypatch.setattr(blas, "limits", {})
    begun, done = threading.Event(), threading.Event()
    monkeypatch.setattr(calibration, "limit_of", lambda *_: begun.set() or done.wait(60) or 1.0)
    thread = threading.Thread(target=calibration.know, args=(["float32"], host()))
    thread.start()
    assert begun.wait(60)
    child = os.fork()
    if not child:
        calibration.limit_of = lambda *_: 2.0
        calibration.know(["float32"], host())
        os._exit(int(blas.limits[("float32", host().vector_bytes)]))
    done.set()
    thread.join()
    end, found = time.monotonic() + 60, (0, 0)
    while not found[0] and time.monotonic() < end:
        found = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not found[0]:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(found[1]) == 2
