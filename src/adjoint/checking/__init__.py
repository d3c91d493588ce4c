"""`ad.check`: hold the derivatives of a function against finite differences and against each other.

It is public because users write operations too (`ad.Function`, rows). Start reading at `check`;
`problem.py` says how a function is called, `differences.py` finds reference slopes, `examine.py`
has the tests, `report.py` what comes out.
"""

from .checker import assert_derivatives, check
from .report import Finding, Report

__all__ = ["Finding", "Report", "assert_derivatives", "check"]
