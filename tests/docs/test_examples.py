"""The pages of the worked examples: all there, each with its question, all by ad.explain."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {f"B{k}": DOCS / "examples" / f"b{k:02}.md" for k in range(1, 22)} | {
    "B22": DOCS / "errata.md", "training": DOCS / "examples" / "training_step.md"}
WHOLE = ("B7", "B9", "B14", "training")  # what the issue wants shown in every way


@pytest.mark.parametrize("name", PAGES)
def test_the_page_asks_and_explains(name):
    text = PAGES[name].read_text()
    front = text.split("---")[1]
    assert "question:" in front
    assert "change:" in front
    assert re.search(r"\bexplain\(", text), "its numbers come from ad.explain"
    assert "**Answer" in text


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("method", ["paths", "latex", "graph", "why"])
def test_these_go_through_everything(name, method):
    assert re.search(rf"\.{method}\(", PAGES[name].read_text())


def test_the_other_pages_are_there():
    for name in ("claims.md", "glossary.md", "notebooks/value_from_zero.md",
                 "notebooks/first_ten_minutes.md", "notebooks/ray_tracer.md"):
        assert (DOCS / name).exists()
