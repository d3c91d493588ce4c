"""`go.py` from a bare clone: what it makes, what it keeps, what it says when something is missing.

Each run works on a copy of the three files that it reads, never on this clone.
"""

import ast
import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
POSIX = pytest.mark.skipif(os.name == "nt", reason="needs shell scripts")
NOTHING_ON_PATH = {"PATH": "/nonexistent"}


def load(folder):
    """Import go.py from `folder`."""
    spec = importlib.util.spec_from_file_location("go_in_a_clone", folder / "go.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path):
    """A clone that holds only what installing needs."""
    folder = tmp_path / "a clone"  # a space, because folders have them
    (folder / "src" / "adjoint").mkdir(parents=True)
    (folder / "src" / "adjoint" / "__init__.py").write_text('__version__ = "0.1.0"\n')
    for name in ("go.py", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "README.md").write_text("A stub.\n")
    return folder


@pytest.fixture
def made(clone):
    """A clone with an environment that is up to date, though it holds no packages and no pip."""
    go = load(clone)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    go.write_stamp(go.MAIN, go.wanted(go.MAIN))
    return clone


def run(folder, *words, python=sys.executable, **variables):
    """Run go.py as a user would; return (exit code, stdout, stderr)."""
    done = subprocess.run([python, "go.py", *words], cwd=folder, env={**os.environ, **variables},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def script(folder, name, text):
    """Put an executable shell script into `folder`; return the folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n" + text + "\n")
    (folder / name).chmod(0o755)
    return folder


# ---------------------------------------------------------------- words on the command line

def test_an_unknown_command_names_the_nearest_and_lists_all(clone):
    code, _, said = run(clone, "tets")
    assert code == 2
    assert "Did you mean `python3 go.py test`?" in said
    for name in ("demo", "test", "check", "parity", "bench", "train", "python", "docs"):
        assert f"\n  {name} " in said
    assert not (clone / ".venv").exists()


def test_help_lists_the_commands(clone):
    code, said, _ = run(clone, "--help")
    assert code == 0 and "  parity " in said
    assert run(clone)[0] == 2


def test_a_command_whose_files_are_missing_says_so(clone):
    assert run(clone, "bench") == (1, "", "This clone has no benchmarks/eager.py.\n")


def test_make_has_a_target_for_each_command_and_only_calls_go():
    makefile = (ROOT / "Makefile").read_text()
    for name in ("demo", "test", "check", "parity", "bench", "docs", "clean"):
        assert name in makefile.split(".PHONY:")[1].splitlines()[0].split()
    recipes = [line for line in makefile.splitlines() if line.startswith("\t")]
    assert all(line.startswith(("\t@$(PYTHON) go.py ", "\t@echo")) for line in recipes)


# ---------------------------------------------------------------- the Python it is started with

def test_an_old_python_can_read_go():
    ast.parse((ROOT / "go.py").read_text(), feature_version=(3, 6))


def test_an_old_python_is_told_what_to_type(clone, monkeypatch):
    go = load(clone)
    monkeypatch.setattr(sys, "argv", ["go.py", "train", "two words"])
    monkeypatch.setenv("PATH", NOTHING_ON_PATH["PATH"])
    with pytest.raises(go.Stop, match=r"needs Python 3\.11 or newer; this is Python 3\.8") as stop:
        go.need_version((3, 8, 18))
    assert str(stop.value).endswith("\n    python3.13 go.py train 'two words'")


@POSIX
def test_an_old_python_with_uv_is_told_to_use_it(clone, monkeypatch, tmp_path):
    go = load(clone)
    monkeypatch.setattr(sys, "argv", ["go.py", "test"])
    monkeypatch.setenv("PATH", str(script(tmp_path / "bin", "uv", "exit 0")))
    with pytest.raises(go.Stop, match=r"uv run --no-project --python 3\.13 python go\.py test$"):
        go.need_version((3, 10))


@POSIX
def test_an_old_python_goes_on_with_a_newer_one_that_really_runs(clone, monkeypatch, tmp_path):
    go = load(clone)
    dead = script(tmp_path / "shims", "python3.14", "echo not switched on >&2; exit 127")
    old = script(tmp_path / "old", "python3.13", "echo 3 9")
    live = script(tmp_path / "live", "python3.12", f'exec "{sys.executable}" "$@"')
    monkeypatch.setattr(sys, "argv", ["go.py", "test", "-x"])
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (dead, old, live))))
    handed = []
    monkeypatch.setattr(go, "hand_over", lambda command: handed.append(command) or 7)
    with pytest.raises(SystemExit) as leave:
        go.need_version((3, 6, 15))
    assert leave.value.code == 7
    assert handed == [[str(live / "python3.12"), str(clone / "go.py"), "test", "-x"]]


# ---------------------------------------------------------------- making the environment

@pytest.fixture
def no_ensurepip(tmp_path):
    """Variables under which `import ensurepip` fails, as on a Debian without python3-venv."""
    folder = tmp_path / "stubs"
    folder.mkdir()
    for name in ("ensurepip", "virtualenv"):
        (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}')\n")
    return {"PYTHONPATH": str(folder)}


@POSIX
@pytest.mark.parametrize(("tool", "line"), [
    ("apt-get", f"sudo apt install python3.{sys.version_info[1]}-venv"),
    ("dnf", "sudo dnf install python3-virtualenv"),
    ("unheard-of", "python3 -m pip install --user virtualenv"),
])
def test_without_ensurepip_it_says_what_to_install(clone, tmp_path, no_ensurepip, tool, line):
    path = str(script(tmp_path / "bin", tool, "exit 1"))
    code, _, said = run(clone, "test", "-x", PATH=path, **no_ensurepip)
    assert code == 1
    assert f"\n    {line}\n" in said and said.endswith("\n    python3 go.py test -x\n")


# Makes an environment whose pip does nothing, so that nothing is fetched.
STAND_IN = """
import pathlib, sys, venv
folder = pathlib.Path(sys.argv[-1])
venv.create(folder, symlinks=True)
next(folder.glob("lib/python3*/site-packages")).joinpath("pip.py").touch()
"""


@POSIX
@pytest.mark.parametrize("tool", ["virtualenv", "uv"])
def test_without_ensurepip_it_uses_virtualenv_or_uv(clone, tmp_path, no_ensurepip, tool):
    (tmp_path / "make.py").write_text(STAND_IN)
    body = f'exec "{sys.executable}" "{tmp_path}/make.py" "$@"'
    path = str(script(tmp_path / "bin", tool, body))
    code, out, said = run(clone, "python", "-c", "print('in it')", PATH=path, **no_ensurepip)
    assert (code, out) == (0, "in it\n"), said
    go = load(clone)
    assert go.stamp_of(go.MAIN) == go.wanted(go.MAIN)


def test_offline_it_names_the_network_and_the_next_run_begins_again(clone):
    """Nothing listens on port 9 of this machine, so pip meets a refused connection."""
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1",
               "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_NO_CACHE_DIR": "1",
               "PIP_EXTRA_INDEX_URL": "", "NO_PROXY": "*"}
    code, _, said = run(clone, "test", "-k", "a b", **offline)
    assert code == 1
    assert "Installing -e .[jit,nn,viz,demo,dev] in .venv failed." in said
    assert "No package index could be reached." in said
    assert "\n    python3 go.py test -k 'a b'\n" in said
    assert (clone / ".venv" / "go-stamp").read_text() == "unfinished"
    again = {**offline, "PIP_NO_INDEX": "1"}
    code, _, said = run(clone, "test", **again)
    assert code == 1
    assert "Removing .venv, which is unfinished" in said
    assert "No package index has it, or none was reached" in said


def test_an_environment_that_somebody_else_made_stays(clone):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", clone / ".venv"], check=True)
    for word in ("test", "clean"):
        code, _, said = run(clone, word)
        assert code == 1 and "go.py did not make it. Move it away:" in said
    assert (clone / ".venv" / "pyvenv.cfg").exists()


def test_a_folder_that_is_no_environment_is_replaced(clone, monkeypatch):
    go = load(clone)
    (clone / ".venv").mkdir()
    (clone / ".venv" / "half").touch()
    monkeypatch.setattr(go, "quietly", lambda _command: (1, "[Errno 28] No space left on device"))
    with pytest.raises(go.Stop, match=r"The disk is full(.|\n)*df -h"):
        go.ready(go.MAIN)
    assert [path.name for path in (clone / ".venv").iterdir()] == ["go-stamp"]


@pytest.mark.parametrize(("number", "words"), [
    (errno.ENOSPC, "The disk is full."),
    (errno.EROFS, "may not write or run files there. Copy the clone"),
    (errno.EACCES, "may not write or run files there. Copy the clone"),
])
def test_what_the_system_refuses_is_said_plainly(clone, monkeypatch, capsys, number, words):
    go = load(clone)

    def refuse(*_):
        raise OSError(number, os.strerror(number), str(clone / ".venv"))
    monkeypatch.setattr(os, "mkdir", refuse)
    assert go.main(["test"]) == 1
    assert words in capsys.readouterr().err


def test_ctrl_c_is_not_a_traceback(clone, monkeypatch, capsys):
    go = load(clone)

    def interrupt(_environment):
        raise KeyboardInterrupt
    monkeypatch.setattr(go, "prepare", interrupt)
    assert go.main(["test"]) == 130
    assert "Stopped. To go on, type again:" in capsys.readouterr().err


# ---------------------------------------------------------------- the second run

def test_the_second_run_reuses_the_environment_at_once(made):
    """There is no pip inside: a run that tried to install would fail."""
    started = time.perf_counter()
    code, out, said = run(made, "python", "-c", "import sys; print(sys.prefix)", **NOTHING_ON_PATH)
    assert time.perf_counter() - started < 2
    assert (code, out.strip(), said) == (0, str(made / ".venv"), "")


def test_the_exit_code_and_arguments_are_passed_on(made):
    assert run(made, "python", "-c", "import sys; sys.exit(int(sys.argv[1]))", "5")[0] == 5


def test_nothing_leads_out_of_the_environment(made):
    code, out, _ = run(made, "python", "-c", "import os; print(os.environ.get('PYTHONPATH'))",
                       PYTHONPATH=str(made), PIP_TARGET=str(made))
    assert (code, out) == (0, "None\n")


def test_settings_of_the_tools_install_nothing_but_dependencies_do(made):
    go, pyproject = load(made), made / "pyproject.toml"
    before = go.wanted(go.MAIN)
    text = pyproject.read_text()
    pyproject.write_text(text.replace("line-length = 100", "line-length = 101"))
    assert go.wanted(go.MAIN) == before
    pyproject.write_text(text.replace('"rich>=13"', '"rich>=14"'))
    first, second = go.wanted(go.MAIN).split("\n")[:2]
    assert first == before.split("\n")[0] and second != before.split("\n")[1]
    pyproject.write_text("x = [")
    assert run(made, "test")[2].startswith("pyproject.toml is not valid TOML")


@POSIX
def test_a_moved_clone_or_a_lost_python_is_made_again(made):
    moved = made.rename(made.with_name("moved"))
    go = load(moved)
    assert go.stamp_of(go.MAIN).split("\n")[0] != go.wanted(go.MAIN).split("\n")[0]
    go.write_stamp(go.MAIN, go.wanted(go.MAIN))
    assert go.stamp_of(go.MAIN) == go.wanted(go.MAIN)
    (moved / ".venv" / "bin" / "python").unlink()
    assert go.stamp_of(go.MAIN) == go.UNFINISHED


def test_clean_removes_what_go_made(made):
    (made / "dist").mkdir()
    assert run(made, "clean")[0] == 0
    assert not (made / ".venv").exists() and not (made / "dist").exists()
    assert (made / "src").exists()
