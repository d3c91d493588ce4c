"""What several tests use: a program of the worked examples, and the loading of a script."""

import importlib.util
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def toy(a, every=False):
    """The toy network of the worked examples with the activation ``a``: its loss.

    With ``every`` all the values that it names.
    """
    def program(x, y, b0, b1, b2, b3, w0, w1, w2, w3):
        f0 = b0 + w0 * x
        h1 = a(f0)
        f1 = b1 + w1 * h1
        h2 = a(f1)
        f2 = b2 + w2 * h2
        h3 = a(f2)
        f3 = b3 + w3 * h3
        l = (f3 - y) ** 2
        return {"f0": f0, "h1": h1, "f1": f1, "h2": h2, "f2": f2, "h3": h3, "f3": f3,
                "l": l} if every else l
    return program


def example(name):
    """The module that a script of examples/ is."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
