"""Programs in the loop language of ``ops/loops.py``, and what runs them."""
