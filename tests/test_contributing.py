"""CONTRIBUTING.md: its example operation, added to a copy of the sources, is right and tested."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run Python on a copy of the package that has the example's row."""
    source = tmp_path_factory.mktemp("clone") / "src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    with (source / "adjoint" / "ops" / "arithmetic.py").open("a") as f:
        f.write(BLOCKS[0])

    def call(*words):
        return subprocess.run(
            [sys.executable, *words], env={**os.environ, "PYTHONPATH": str(source)}, cwd=ROOT,
            capture_output=True, text=True, check=False)
    where = call("-c", "import adjoint; print(adjoint.__file__)").stdout
    assert where.startswith(str(source)), "the copy is what is tested"
    return call


def test_the_example_checks_itself(run):
    out = run("-c", BLOCKS[1])
    assert out.returncode == 0, out.stderr
    assert out.stdout.startswith("derivatives of rsqrt: ok")


def test_every_test_of_rows_takes_it_up_and_passes(run):
    out = run("-m", "pytest", "tests/test_rows.py", "-k", "rsqrt", "-p", "no:cacheprovider")
    assert out.returncode == 0, out.stdout
    assert int(re.search(r"(\d+) passed", out.stdout)[1]) >= 10


def test_a_wrong_sign_in_it_is_caught(run, tmp_path):
    wrong = BLOCKS[0].replace("-0.5 * y / x", "0.5 * y / x").replace('"rsqrt"', '"wrong"')
    assert wrong.count("wrong") == 1
    program = tmp_path / "wrong.py"
    program.write_text("from adjoint.ops.arithmetic import *\nfrom adjoint.core.primitive import "
                       "Label\nfrom adjoint.ops.declare import elementwise\nimport numpy as np\n"
                       + wrong + "import adjoint as ad\nprint(ad.check('wrong'))\n")
    out = run(str(program))
    assert out.stdout.startswith("derivatives of wrong: NOT ok"), out.stderr


def test_what_it_names_exists():
    folders = "src|tests|tools|benchmarks|ops|compiler"
    for path in re.findall(rf"((?:{folders})/[\w/.]+\.(?:py|md))", TEXT):
        assert (ROOT / path).exists() or (ROOT / "src" / "adjoint" / path).exists(), path


def test_the_tests_that_it_names_exist():
    for file, words in re.findall(r"-m pytest \"?(tests/\S+?\.py)(.*)", TEXT):
        if "rsqrt" in words:
            continue
        extra = re.sub(r'"', "", words).strip()
        target = [file + extra] if extra.startswith("::") else [file, *extra.split()]
        out = subprocess.run([sys.executable, "-m", "pytest", *target, "--collect-only"], cwd=ROOT,
                             capture_output=True, text=True, check=False)
        assert out.returncode == 0, out.stdout


def test_the_benchmark_runs(tmp_path):
    found = tmp_path / "out.json"
    out = subprocess.run(
        [sys.executable, "benchmarks/eager.py", "--quick", "--no-chain", "--json", str(found)],
        cwd=ROOT, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    rows = json.loads(found.read_text())["eager"]
    assert {r["size"] for r in rows} == {0, 4, 10_000}
    assert all(t > 0 for r in rows for t in r["times"]["adjoint"])
    assert "| 10,000 | `matmul` |" in out.stdout
