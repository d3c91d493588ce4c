"""What users see: every public name is documented, its example runs, and no name hides a module."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import adjoint as ad

ROOT = Path(__file__).parents[1]
CONSTANTS = {"pi", "e", "inf", "nan", "newaxis"}
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stubs = tool("stubs")
NAMES = [n for n in stubs.public_names() if n not in CONSTANTS] + sorted(ad._LAZY)


def test_stub_is_current():
    assert stubs.TARGET.read_text() == stubs.render(), "run: python tools/stubs.py"


@pytest.mark.parametrize("name", NAMES)
def test_documented_with_an_example_that_runs(name):
    text = inspect.getdoc(getattr(ad, name)) or ""
    assert text, f"ad.{name} has no docstring"
    examples = doctest.DocTestParser().get_doctest(text, {"ad": ad, "np": np}, name, None, 0)
    assert examples.examples, f"ad.{name} has no example"
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    out: list[str] = []
    runner.run(examples, out=out.append)
    assert runner.failures == 0, "".join(out)


def test_no_name_hides_a_module():
    code = """
import importlib, pkgutil, adjoint, types
names = [m.name for m in pkgutil.walk_packages(adjoint.__path__, "adjoint.")
         if not m.name.endswith("__main__")]
before = {n: v for n, v in vars(adjoint).items() if not isinstance(v, types.ModuleType)}
for n in names:
    importlib.import_module(n)
changed = [n for n, v in before.items() if getattr(adjoint, n) is not v]
assert not changed, changed
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_import_brings_nothing_heavy():
    code = ("import sys, adjoint; "
            "print([m for m in ('scipy', 'rich', 'matplotlib', 'llvmlite', 'torch', 'sklearn', "
            "'adjoint.nn', 'adjoint.compiler', 'adjoint.teach') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"


def test_submodules_are_listed():
    found = {m.name for m in pkgutil.iter_modules(ad.__path__)}
    assert set(ad._MODULES) - {"show"} <= found | {"show"}


@pytest.mark.parametrize("spelling", ["asin", "acos", "concat", "pow", "permute_dims"])
def test_array_api_spellings(spelling):
    assert callable(getattr(ad, spelling))
