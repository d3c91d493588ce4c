"""Random programs over all rows of the registry, and what is asked of their derivatives.

Start at `programs.py` (a program is data), then `drawing.py` (how one is made of the rows' cases),
`examine.py` (what must agree), `shrinking.py`, `mutation.py`.
The command is `python -m tools.fuzz`.
"""
