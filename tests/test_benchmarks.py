"""The tables of the benchmarks, from figures that nobody has measured."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def told(body):
    """What lines of Python print among the benchmarks, which set the environment they run in."""
    done = subprocess.run([sys.executable, "-c", body], cwd=ROOT / "benchmarks", text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
                          capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_numbers_of_tables_are_written_out():
    assert told("from compiled import read\n"
                "for x in (0.12345, 99.96, 999.4, 999.6, 1234.5): print(read(x), read(x, 3))") == [
        "0.1235 0.123", "99.96 100", "999.4 999", "999.6 1,000", "1,234 1,234"]


def test_first_calls_are_told_beside_those_of_other_libraries():
    lines = told("""
from compiling import peers_table
def found(cold, cached, **others):
    return {"cold": {"first": cold}, "cached": {"first": cached}, **others}
print(peers_table({"chain 1000": found(1.0, 1.0), "G": found(2.0, 1.0),
                   "3": found(2.0, 0.5, **{"jax.jit": [8.0], "torch.compile": [3000.0, 100.0]})}))
""")
    cells = [[c.strip() for c in line.split("|")[2:-1]] for line in lines]
    assert cells[0] == ["adjoint, ms: cold, cached", "jax.jit, ms",
                        "torch.compile, ms: cold, cached", "jax.jit / adjoint of target",
                        "torch.compile / adjoint of target"]
    assert cells[2:] == [["2.0, 0.5", "8", "3,000, 100", "4 of 5 **missed**",
                          "1,500 of 100, 200 of 50"], ["2.0, 1.0", "-", "-", "-", "-"]]
