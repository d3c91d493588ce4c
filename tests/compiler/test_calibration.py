"""How BLAS is compared with the products that we write."""

import numpy as np
import pytest

from adjoint.compiler import blas, calibration
from adjoint.compiler.native import host


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
