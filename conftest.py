"""Run the Python blocks of README.md and docs/ as tests (`python3 go.py check`).

One namespace per page; `<!-- skip: next -->` leaves the next block out.
"""

import os
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE

import numpy as np
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

import adjoint

# Tests neither fill the user's cache of machine code nor are answered from it.
os.environ.setdefault("ADJOINT_CACHE", "off")

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=ELLIPSIS | NORMALIZE_WHITESPACE),
             SkipParser()],
    patterns=["*.md"],
).pytest()


@pytest.fixture(autouse=True)
def _names_in_docstrings(doctest_namespace: dict[str, object]) -> None:
    """Examples in docstrings are written with these two names."""
    doctest_namespace.update(ad=adjoint, np=np)
