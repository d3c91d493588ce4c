"""EDGE_CASES.md as data: each entry is a question, its answer, and the spellings that must give it.

`case.py` says what an entry is and measures it; `kinks.py`, `singular.py`, `matrices.py` and
`system.py` hold the entries; `page.py` writes docs/edge_cases.md (`python tests/edge`). The tests
are in tests/test_edge_cases.py.
"""
