"""`python tests/edge` writes docs/edge_cases.md, if every entry holds."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from edge import page

faults = page.faults()
print(page.count())
print(f"{len(faults)} faults", *faults, sep="\n")
if faults:
    raise SystemExit(1)
page.TARGET.write_text(page.render())
print(f"wrote {page.TARGET.name}")
