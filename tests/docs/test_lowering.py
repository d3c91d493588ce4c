"""docs/lowering.md says how every row runs; it is generated, and current."""

import subprocess
import sys
from pathlib import Path

from adjoint.core.primitive import REGISTRY

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "lowering.md"


def test_the_page_is_current():
    """In a process of its own: tests enter rows of theirs into the registry."""
    done = subprocess.run([sys.executable, "-m", "tools.lowerings", "--print"], cwd=ROOT,
                          capture_output=True, text=True, check=True)
    assert done.stdout == PAGE.read_text(), "run: python -m tools.lowerings"


def test_every_row_of_the_library_has_a_line_and_a_way():
    lines = dict(line.split(" | ")[:2] for line in PAGE.read_text().splitlines()
                 if line.startswith("| `") and line.count("|") == 6)
    own = [name for name, row in REGISTRY.items()
           if str(getattr(row.impl, "__module__", "")).startswith("adjoint.ops")]
    assert len(own) > 90
    assert {f"| `{name}`" for name in own} <= lines.keys()
    assert set(lines.values()) == {"native", "Python", "as its body"}
