"""Installed packages that know nothing of adjoint are not walked; all other modules are."""

import importlib
import sys

import pytest

import adjoint as ad
from adjoint.compiler.inside import is_closed
from adjoint.compiler.reachable import reach


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Makes a package of a thousand functions that name each other, installed or not."""
    made = []

    def make(name, folder, head=""):
        place = tmp_path / folder / name
        place.mkdir(parents=True)
        lines = [head, "SCALE = 2.0"]
        lines += [f"def f{k}(x): return f{(7 * k + 1) % 1000}(x) * SCALE" for k in range(1000)]
        (place / "__init__.py").write_text("\n".join([*lines, "def scaled(x): return x * SCALE"]))
        monkeypatch.syspath_prepend(str(place.parent))
        importlib.invalidate_caches()
        made.append(name)
        return importlib.import_module(name)
    yield make
    for name in made:
        sys.modules.pop(name)


def test_a_large_installed_package_is_not_looked_through(package):
    """An attribute that is a module, such as jax.numpy, took 30 ms of each call."""
    heavy = package("heavy_one", "site-packages")

    class Peer:
        m = heavy
    peer = Peer()

    def f(x):
        return x * 2.0 if isinstance(x, float) else peer.m.f1(x)
    found = reach(f)
    assert is_closed("heavy_one")
    assert len(found.same) + len(found.equal) + len(found.numbers) < 50
    assert ad.jit(f)(3.0) == 6.0


@pytest.mark.parametrize("folder, head", [
    ("somewhere", ""), ("site-packages", "import adjoint"),
    ("site-packages", "from adjoint import grad"), ("dist-packages", "import adjoint.nn as nn")])
def test_numbers_of_other_packages_are_inputs(package, folder, head):
    """Also of an installed one that is written for adjoint: it may be the user's own."""
    module = package(f"module_{len(head)}_{folder.partition('-')[0]}", folder, head)

    def f(x):
        return module.scaled(x)
    compiled = ad.jit(f)
    assert [compiled(3.0), compiled(3.0)] == [6.0, 6.0]
    module.SCALE = 5.0
    assert compiled(3.0) == 15.0
    assert not is_closed(module.__name__)
