"""The shape of the source: imports go down only, no cycles, and sizes that one can read."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "adjoint"
FILES = sorted(SOURCE.rglob("*.py"))
LAYERS = (  # what stands in one line may import what stands in the lines before it, and its own
    {"errors"},
    {"drawing"},  # pictures of graphs; knows nothing of nodes or derivatives
    {"core"},
    {"scalars"},  # who sees a change in place of a value without axes
    {"ops"},
    {"tensors", "modes", "methods", "hooks", "functions", "creation", "exits", "instead", "teach",
     "linalg", "generators", "random", "transforms", "updates"},
    {"checking", "health", "nn", "optim", "data", "io", "show", "compiler"},
    {"", "cli", "__main__"},
)
MAY_IMPORT_COMPILER = {"", "cli", "compiler"}
FILE_LIMIT, CORE_LIMIT, FLAT_LIMIT = 400, 600, 150
LONG_FUNCTION, SHORT_SHARE = 30, 0.95
SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
           tokenize.ENCODING, tokenize.ENDMARKER}


def module_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def imported(path: Path) -> set[str]:
    """The modules of this package that a file imports anywhere, lazily or not, but for types."""
    names = {module_of(p) for p in FILES}
    here = module_of(path).split(".") if module_of(path) else []
    package = here if path.name == "__init__.py" else here[:-1]
    found: set[str] = set()
    for node in running(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("adjoint").lstrip(".") for a in node.names
                      if a.name.partition(".")[0] == "adjoint"}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[:len(package) - node.level + 1] + (
                    node.module.split(".") if node.module else [])
            elif node.module and node.module.split(".")[0] == "adjoint":
                base = node.module.split(".")[1:]
            else:
                continue
            for a in node.names:
                whole = ".".join([*base, a.name])
                found.add(whole if whole in names else ".".join(base))
    return found - {module_of(path)}


def running(tree: ast.AST):
    """The nodes of a module that run: not those under ``if TYPE_CHECKING``."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += node.orelse
        else:
            stack += ast.iter_child_nodes(node)


def layer(module: str) -> int:
    top = module.split(".", maxsplit=1)[0]
    return next(n for n, names in enumerate(LAYERS) if top in names)


def code_lines(path: Path) -> int:
    """Lines with code on them: no blanks, comments or docstrings."""
    lines: set[int] = set()
    start = True
    for t in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if t.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            start = True
        elif t.type not in SKIPPED and not (t.type == tokenize.STRING and start):
            start = False
            lines.update(range(t.start[0], t.end[0] + 1))
    return len(lines)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_go_down(path):
    module = module_of(path)
    for other in imported(path):
        assert layer(other) <= layer(module), f"{module} imports {other}, which stands above it"
        if other.split(".")[0] == "compiler":
            assert module.split(".")[0] in MAY_IMPORT_COMPILER


def test_no_cycles():
    edges = {module_of(p): imported(p) for p in FILES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, "a cycle: " + " -> ".join([*way[way.index(module):], module])
        if module not in done:
            for other in sorted(edges.get(module, ())):
                visit(other, (*way, module))
            done.add(module)
    for module in edges:
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_size_of_files(path):
    assert code_lines(path) <= (FLAT_LIMIT if path.name == "flat.py" else FILE_LIMIT)


def test_size_of_core():
    assert sum(code_lines(p) for p in FILES if p.parent.name == "core") <= CORE_LIMIT


def test_functions_are_short():
    lengths = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                first = body[0].lineno if body else node.lineno
                name = f"{module_of(path)}.{node.name}:{node.lineno}"
                lengths[name] = node.end_lineno - first + 1
    long = {name: n for name, n in lengths.items() if n > LONG_FUNCTION}
    assert len(long) <= (1 - SHORT_SHARE) * len(lengths), long


def test_core_needs_only_numpy():
    allowed = {"numpy", "adjoint", "__future__", "cmath", "collections", "contextvars",
               "dataclasses", "itertools", "math", "operator", "threading", "typing"}
    for path in (SOURCE / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {a.name.split(".")[0] for a in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module.split(".")[0] in allowed


def test_no_raw_row_names_in_the_core():
    """The core knows no operation by name but those that broadcasting and `out=` need."""
    allowed = {"sum_to", "cast", "broadcast_to", "write_out", "getitem",
               "all"}  # a word of `depends`
    from adjoint.core.primitive import REGISTRY
    for path in (SOURCE / "core").glob("*.py"):
        if path.name == "box.py":
            continue  # its table says which row stands behind each operator
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in set(REGISTRY) - allowed, (path.name, node.value)
