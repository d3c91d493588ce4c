"""What `adjoint explain` runs: ``module:function`` or ``file.py:function``, and its arguments.

Start at `load`; `arguments` reads a JSON file, and `called` runs something of the user's so that
its errors name the user's lines.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import re
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from adjoint.errors import AdjointError, ArgumentError, FormatError
from adjoint.modes import HERE

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLE = '{"x1": 2.0, "x2": 5.0}'
FRAMES = 3  # of the user's, under an error


def is_target(text: str) -> bool:
    """Whether a text is a module or file with a function, not a formula, which has no colon."""
    return ":" in text


# ---- the function

def load(target: str) -> Callable[..., Any]:
    """The function that ``module:function`` or ``path/to/file.py:function`` names.

    Raises ArgumentError where there is no such module, file or function; AdjointError where
    importing it fails.
    """
    place, _, name = (part.strip() for part in target.rpartition(":"))
    if not place or not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise ArgumentError(f"{target!r} has a colon, so it is no formula; a function is written "
                            "module:function or path/to/file.py:function")
    if place.endswith(".py") or "/" in place or "\\" in place:
        module = called(f"running {place}", lambda: from_file(Path(place)))
    else:
        module = called(f"importing {place}", lambda: from_name(place))
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ArgumentError(without_function(found, part, place))
        found = getattr(found, part)
    if not callable(found):
        raise ArgumentError(f"{target} is no function: it is {type(found).__name__}; write a "
                            "function def f(x): ... that returns the result")
    return found


def from_name(name: str) -> Any:
    """Import a module; those in the current folder are found, too."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if e.name is None or not f"{name}.".startswith(f"{e.name}."):
            raise
        file = Path(name.replace(".", "/") + ".py")
        near = [p.stem for p in Path().glob("*.py")]
        close = difflib.get_close_matches(name, near, 1, 0.5)
        hint = f"did you mean {close[0]}?" if close else (
            f"there is no {file} in {Path.cwd()}, and no installed package of this name; a file is "
            "written path/to/file.py:function")
        raise ArgumentError(f"there is no module {name!r}; {hint}") from None
    finally:
        sys.path.pop(0)


def from_file(path: Path) -> Any:
    """Run a file as a module of its own; what lies beside it can be imported."""
    if not path.is_file():
        what = "it is a folder" if path.is_dir() else "it does not exist"
        near = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        close = difflib.get_close_matches(str(path), near, 1, 0.5)
        raise ArgumentError(f"there is no file {path}: {what}"
                            + (f"; did you mean {close[0]}?" if close else ""))
    name = path.stem if path.stem not in sys.modules else f"explained_{path.stem}"
    spec: Any = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ArgumentError(f"{path} is no Python file; its name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def without_function(found: Any, name: str, place: str) -> str:
    """The message for a function that is not there."""
    known = [k for k, v in vars(found).items() if callable(v) and not k.startswith("_")] if (
        hasattr(found, "__dict__")) else []
    own = [k for k in known if getattr(vars(found)[k], "__module__", "") == getattr(
        found, "__name__", "")] or known
    close = difflib.get_close_matches(name, known, 1, 0.5)
    if close:
        return f"{place} has no function {name!r}; did you mean {close[0]}?"
    has = f"it has {', '.join(own[:8])}{', ...' * (len(own) > 8)}" if own else "it has none at all"
    return f"{place} has no function {name!r}; {has}"


# ---- running what is the user's

def called(what: str, run: Callable[[], Any]) -> Any:
    """What ``run`` returns; what it prints goes to the errors' stream, not among the tables.

    Raises AdjointError, with the user's lines, if it fails.
    """
    try:
        with redirect_stdout(sys.stderr):
            return run()
    except (AdjointError, BrokenPipeError) as e:
        if isinstance(e, AdjointError):
            e.message += users_lines(e)
        raise
    except SyntaxError as e:
        at = f"\n  at {e.filename}, line {e.lineno}: {(e.text or '').strip()}" if e.filename else ""
        raise AdjointError(f"{what} failed: {e.msg}{at}") from e
    except RecursionError as e:
        raise AdjointError(f"{what} failed: it calls itself too deeply{users_lines(e)}") from e
    except (Exception, SystemExit) as e:
        said = " ".join(str(e).split())
        raise AdjointError(f"{what} raised {type(e).__name__}{': ' * bool(said)}{said}"
                           f"{users_lines(e)}") from e


def users_lines(error: BaseException) -> str:
    """The last lines of the user's that led to an error, as a traceback shows them."""
    ours = (HERE, str(Path(np.__file__).parent), str(Path(json.__file__).parents[1]))
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if not frame.filename.startswith((*ours, "<frozen"))]
    return "".join(f"\n  at {f.filename}, line {f.lineno}" + (f": {f.line}" if f.line else "")
                   for f in frames[-FRAMES:])


# ---- arguments

def arguments(path: str, f: Callable[..., Any]) -> tuple[list[Any], dict[str, Any]]:
    """The positional and keyword arguments in a JSON file: a list, or an object by name.

    Numbers are floats and lists of numbers arrays, so that a gradient is asked of them; whole
    numbers stay whole for a parameter that is annotated with int or has an int as its default.
    Raises FormatError for a file that is no such JSON.
    """
    text = read(path).rstrip()
    try:
        given: Any = json.loads(text)
    except json.JSONDecodeError as e:
        raise FormatError(pointed(path, text, e)) from None
    except RecursionError:
        raise FormatError(f"{path}: its lists are nested too deeply") from None
    except ValueError:  # Python reads whole numbers of 4,300 digits at most
        raise FormatError(f"{path}: it holds a number of thousands of digits") from None
    whole = whole_parameters(f)
    if isinstance(given, dict):
        named = cast("dict[str, Any]", given)
        return [], {k: valued(x, k, k in whole) for k, x in named.items()}
    if isinstance(given, list):
        values = cast("list[Any]", given)
        names = parameters(f)
        names += [f"[{k}]" for k in range(len(names), len(values))]
        return [valued(x, n, n in whole) for n, x in zip(names, values, strict=False)], {}
    raise FormatError(f"{path} holds {brief(given)}; write an object of the arguments by name, "
                      f"such as {EXAMPLE}, or a list of them in order, [2.0, 5.0]")


def read(path: str) -> str:
    """The text of a file, of the standard input for ``-``."""
    if path == "-":
        return sys.stdin.read()
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise FormatError(f"{path} is no text in UTF-8; write JSON such as {EXAMPLE}") from None


def pointed(path: str, text: str, error: json.JSONDecodeError) -> str:
    """The message for JSON with a mistake: line, column, and a caret under it."""
    lines = text.splitlines()
    line = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
    first = max(0, error.colno - 61)
    shown = "".join(c if c.isprintable() else " " for c in line[first:first + 100])
    hint = "" if text.strip() else f"; the file is empty: write {EXAMPLE}"
    at = f"\n  {shown}\n  {' ' * (error.colno - 1 - first)}^" if shown.strip() else ""
    return f"{path}, line {error.lineno}, column {error.colno}: no JSON, {error.msg}{hint}{at}"


def brief(x: Any) -> str:
    """A value in a message."""
    text = json.dumps(x)
    return text if len(text) <= 40 else text[:37] + "..."


def parameters(f: Callable[..., Any]) -> list[str]:
    """The names of the positional parameters; none where they are not known."""
    try:
        known = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in known if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]


def whole_parameters(f: Callable[..., Any]) -> set[str]:
    """The parameters that take whole numbers: annotated with int, or with such a default."""
    try:
        known = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        return set()
    return {p.name for p in known if isinstance(p.default, int)
            or (p.annotation is not p.empty and re.search(r"\bint", str(p.annotation)))}


def valued(x: Any, name: str, whole: bool) -> Any:
    """A value of JSON as an argument."""
    if isinstance(x, dict):
        parts = cast("dict[str, Any]", x)
        return {k: valued(v, f"{name}[{k!r}]", whole) for k, v in parts.items()}
    if isinstance(x, int) and not isinstance(x, bool):
        try:
            return x if whole else float(x)
        except OverflowError:
            raise FormatError(f"{name}: a whole number of more than 308 digits is no float"
                              ) from None
    if not isinstance(x, list) or not x:
        return np.zeros(0) if x == [] else x
    parts = cast("list[Any]", x)
    if not all(isinstance(p, (int, float, list)) for p in parts):
        return [valued(v, f"{name}[{k}]", whole) for k, v in enumerate(parts)]
    return array(parts, name, whole)


def array(x: list[Any], name: str, whole: bool) -> Any:
    """A nested list of numbers as an array."""
    try:
        found = np.array(x)
    except ValueError:
        raise FormatError(f"{name}: the rows of an array have one length, and these have several: "
                          f"{brief(x)}") from None
    if found.dtype.kind == "b" or (whole and found.dtype.kind in "iu"):
        return found
    if found.dtype.kind not in "iuf":
        raise FormatError(f"{name}: an array holds numbers only, not {brief(x)}")
    return found.astype(float)


def check_arguments(f: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], where: str
                    ) -> None:
    """An ArgumentError, before anything runs, if the arguments do not fit the parameters."""
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as e:
        names = parameters(f)
        title = getattr(f, "__name__", type(f).__name__)
        unknown = [k for k in kwargs if k not in names]
        close = difflib.get_close_matches(unknown[0], names, 1, 0.5) if unknown else []
        like = as_json([n for n in names if signature.parameters[n].default is signature.empty])
        hint = f"did you mean {close[0]} for {unknown[0]}?" if close else (
            f"write them into a JSON file, {like}, and give --args FILE"
            if not (args or kwargs) else "for one argument that is an array write [[1.0, 2.0]]"
            if len(names) == 1 and len(args) > 1 else f"write {like}")
        raise ArgumentError(f"{title}{signature} does not take the arguments {where}: {e}; {hint}"
                            ) from None


def as_json(names: list[str]) -> str:
    """An example of a file of arguments."""
    return "{" + ", ".join(f'"{n}": 1.0' for n in names) + "}"
