"""Read a page of the site and run it in this process: what tests/docs is made of.

A page is what MyST-NB takes for one: Markdown with ```{code-cell} blocks, or a notebook. Start
with `read`, then `Page.run`, which returns what a reader would see, one `Shown` for each output.
"""

import ast
import base64
import builtins
import contextlib
import io
import json
import linecache
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
CELL = re.compile(r"\{code-cell\}")
EVALUATED = re.compile(r"\{eval\}(`+)(.+?)\1(?!`)", re.DOTALL)
TARGETS = re.compile(r"\]\([^)\s]*\)|<https?://[^>]*>|https?://\S+")
DECIMAL = re.compile(r"\d\.\d|(?<![\w.)\]])\.\d|\d[eE][-+]?\d|\d\s*\\(?:times|cdot)\s*10\^")
MAGIC = re.compile(r"^%.*", re.MULTILINE)  # %xmode and the like say nothing about results
REASON = re.compile(r"^# (?:fixed|measured): \S.*$", re.MULTILINE)
# What a browser is shown of an object that offers several forms.
FORMS = ("_repr_html_", "_repr_svg_", "_repr_png_", "_repr_jpeg_", "_repr_markdown_",
         "_repr_latex_")
# Names inside a page, by which a part refers to another; they may be numbered anew each time.
NAMES = re.compile(r"""\s(?:id|for|href|xlink:href|aria-\w+|clip-path|name)=(["'])#?.*?\1"""
                   r"""|url\(#[^)]*\)""")


@dataclass(frozen=True)
class Cell:
    """A code cell: its source, its tags, the line of the page on which it begins."""

    source: str
    tags: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Shown:
    """One thing that the page shows: where it comes from, and as what it appears."""

    place: str
    text: str
    cell: Cell | None = None  # None: an {eval} in a sentence
    expression: str = ""

    def excused(self, fixed) -> bool:
        """Whether the page says, with a reason, that this need not follow the inputs."""
        if self.cell is None:
            return self.expression in fixed
        return not {"fixed", "measured"}.isdisjoint(self.cell.tags)


@dataclass(frozen=True)
class Page:
    """A page: its front matter, and its prose and cells in order (`parts`)."""

    path: Path
    front: dict[str, Any]
    parts: tuple[str | Cell, ...] = field(repr=False)

    @property
    def cells(self) -> list[Cell]:
        return [part for part in self.parts if isinstance(part, Cell)]

    def tagged(self, tag: str) -> list[Cell]:
        """The cells that have the tag."""
        return [cell for cell in self.cells if tag in cell.tags]

    def typed_numbers(self) -> list[str]:
        """The decimal numbers that somebody typed into the prose, with what stands around them."""
        found = []
        for prose in (str(self.front.get("question", "")),
                      *(part for part in self.parts if isinstance(part, str))):
            text = TARGETS.sub("]()", EVALUATED.sub("", prose))
            found += [text[max(0, m.start() - 30):m.end() + 20].replace("\n", " ")
                      for m in DECIMAL.finditer(text)]
        return found

    def run(self, change=None) -> tuple[list[Shown], dict[str, Any]]:
        """Run the page, with other inputs if `change` names some; return what it shows, its names.

        A value of `change` that is a string is an expression, in which the page's names are known.
        """
        namespace: dict[str, Any] = {"__name__": "__main__"}
        shown: list[Shown] = []
        with at_home(self.path):
            number = 0
            for part in self.parts:
                if isinstance(part, str):
                    shown += evaluated(part, namespace)
                    continue
                number += 1
                where = f"cell {number} (line {part.line})"
                shown += [Shown(where, plain(text), part)
                          for text in executed(part, f"<{self.path.stem}, {where}>", namespace)]
                if "inputs" in part.tags:
                    apply(change or {}, part, namespace)
        return shown, namespace


def read(path) -> Page:
    """Read the page at `path`."""
    path = Path(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        book = json.loads(text)
        parts = [notebook_part(cell) for cell in book["cells"] if cell["cell_type"] != "raw"]
        return Page(path, book["metadata"], tuple(parts))
    head = FRONT.match(text)
    front = yaml.safe_load(head.group(1)) or {} if head else {}
    return Page(path, front, tuple(markdown_parts(text, head.end() if head else 0)))


def computing(folder) -> list[Path]:
    """The pages in `folder` that MyST-NB executes."""
    found = [*Path(folder).rglob("*.ipynb")]
    for path in Path(folder).rglob("*.md"):
        front = read(path).front if path.name != "README.md" else {}
        if front.get("file_format") == "mystnb" or "jupytext" in front:
            found.append(path)
    return sorted(found)


def notebook_part(cell) -> str | Cell:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    return Cell(source, tuple(cell["metadata"].get("tags", ())), 0)


def markdown_parts(text, start) -> Iterator[str | Cell]:
    """Cut Markdown into prose and cells."""
    above = text[:start].count("\n")
    body = text[start:]
    lines, done = body.split("\n"), 0
    for token in MarkdownIt().parse(body):
        if token.type == "fence" and not token.level and CELL.match(token.info):
            begin, end = token.map
            yield "\n".join(lines[done:begin])
            yield cell_of(token.content, above + begin + 1)
            done = end
    yield "\n".join(lines[done:])


def cell_of(content, line) -> Cell:
    """Take the options (`:tags: [...]`, or YAML between two `---`) off a cell's source."""
    block = re.match(r"---\n(.*?)\n---\n?", content, re.DOTALL)
    options = block.group(1) if block else ""
    if not block:
        block = re.match(r"(?::[\w-]+:.*\n)*", content)
        options = re.sub(r"^:([\w-]+):", r"\1:", block.group(), flags=re.MULTILINE)
    tags = (yaml.safe_load(options) or {}).get("tags") or []
    return Cell(content[block.end():].strip("\n"), tuple(tags), line)


@contextlib.contextmanager
def at_home(path):
    """Run in the folder of the page, where its kernel would; leave no trace of it."""
    import matplotlib as mpl
    mpl.use("Agg")
    from matplotlib import pyplot as plt
    before, path_before, modules = Path.cwd(), list(sys.path), set(sys.modules)
    examples = Path(__file__).parents[2] / "examples"
    os.chdir(path.parent)
    sys.path.insert(0, str(examples))
    plt.close("all")
    try:
        with mpl.rc_context({"svg.hashsalt": "adjoint"}):
            yield
    finally:
        plt.close("all")
        os.chdir(before)
        sys.path[:] = path_before
        for name in set(sys.modules) - modules:  # a helper keeps no state from one run to the next
            file = getattr(sys.modules[name], "__file__", None)
            if file and Path(file).parent == examples:
                del sys.modules[name]


def apply(change, cell, namespace) -> None:
    """Give inputs other values; only names that the cell assigns are inputs."""
    assigned = {node.id for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for name, value in change.items():
        if name not in assigned:
            raise KeyError(f"change: {name!r} is not assigned in the cell tagged `inputs`")
        new = eval(value, namespace) if isinstance(value, str) else value
        if repr(new) == repr(namespace[name]):
            raise ValueError(f"change: {name} already is {new!r}")
        namespace[name] = new


def evaluated(prose, namespace) -> list[Shown]:
    """What each {eval} of the prose gives."""
    return [Shown(f"{{eval}}`{m.group(2)}`", appearance(eval(m.group(2).strip(), namespace)),
                  expression=m.group(2).strip()) for m in EVALUATED.finditer(prose)]


def executed(cell, name, namespace) -> list[str]:
    """Execute a cell as a kernel would; return its outputs in order."""
    source = MAGIC.sub("pass", cell.source)
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    body = ast.parse(source, name).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    outputs: list[str] = []
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), displaying(outputs), raising(cell, outputs):
        exec(compile(ast.Module(body, []), name, "exec"), namespace)
        if last:
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
            if value is not None and not source.rstrip().endswith(";"):
                outputs.append(appearance(value))
    return [*filter(None, [printed.getvalue()]), *outputs, *figures()]


@contextlib.contextmanager
def raising(cell, outputs):
    """Have a cell that is tagged so show its error; it must raise one."""
    if "raises-exception" not in cell.tags:
        yield
        return
    try:
        yield
    except Exception as error:  # noqa: BLE001  whatever the page wants to show
        outputs.append(f"{type(error).__name__}: {error}")
    else:
        raise AssertionError(f"line {cell.line}: tagged raises-exception, but nothing is raised")


@contextlib.contextmanager
def displaying(outputs):
    """Have `display`, IPython's too, append to `outputs`."""
    from IPython import display as module

    def display(*values, **_options):
        outputs.extend(map(appearance, values))
    before, module.display = module.display, display
    builtins.display = display
    try:
        yield
    finally:
        module.display = before
        del builtins.display


def figures() -> list[str]:
    """The open figures, which a notebook shows at the end of a cell."""
    from matplotlib import pyplot as plt
    found = [appearance(plt.figure(number)) for number in plt.get_fignums()]
    plt.close("all")
    return found


def appearance(value) -> str:
    """Return the form of `value` that a browser is shown."""
    if hasattr(value, "savefig"):
        stream = io.StringIO()
        value.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()
    for form in FORMS:
        method = None if isinstance(value, type) else getattr(value, form, None)
        said = method() if method else None
        if said is not None:
            said = said[0] if isinstance(said, tuple) else said
            return base64.b64encode(said).decode() if isinstance(said, bytes) else said
    return repr(value)


def plain(text) -> str:
    """Return `text` without the names by which its parts refer to each other."""
    return NAMES.sub(" ", text)
