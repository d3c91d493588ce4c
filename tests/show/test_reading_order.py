"""The page that says in which order to read `show` names every module, and none that is gone."""

import re
from pathlib import Path

from adjoint import show

FOLDER = Path(show.__file__).parent


def test_every_module_is_named_once_at_least():
    said = set(re.findall(r"`(\w+\.py)`", (FOLDER / "README.md").read_text(encoding="utf-8")))
    there = {path.name for path in FOLDER.glob("*.py")} - {"__init__.py"}
    assert said == there


def test_what_explain_returns_has_a_public_type():
    e = show.explain(lambda x: x * x, 2.0)
    for made in (e, e.record, e.step(), e.table(), e.forward(), e.modes(), e.paths("x"), e.chain(),
                 e.paths("x")[0], e.influence(), e.latex(), e.graph(), e.steps(), e.why(),
                 e.why("x")):
        assert any(kind.__name__ in show.__all__ for kind in type(made).__mro__), made
