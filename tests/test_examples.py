"""Every script in examples/ runs from top to bottom, without a warning."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
TOLD = {"digits.py": "test accuracy 9", "regression.py": "frequency 2.0",
        "counting.py": "n(n-1)", "ray_tracer.py": "centre x: 0.437 -> 0.300000"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_runs(path, tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", path], cwd=tmp_path, check=False,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert TOLD[path.name] in done.stdout
    assert not list(tmp_path.iterdir())
