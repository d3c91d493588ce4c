"""The cache of machine code: what is found again, what is refused, and who may be interrupted."""

import hashlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
import warnings
from pathlib import Path

import pytest

from adjoint import cli
from adjoint.compiler import cache, native
from adjoint.compiler.native import AVX2, BASELINE, Library, host, llvm
from adjoint.errors import CompileWarning, MissingPackageError

SOURCE = str(Path(cache.__file__).parents[2])
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
pytestmark = pytest.mark.skipif(os.name != "posix", reason="there are no owners of files to test")
owned = pytest.mark.skipif(not ROOT, reason="only root gives a file to another user")


def text(number=7):
    return f"define i64 @f(ptr %a, ptr %b) #0 {{\n  ret i64 {number}\n}}\n{host().attributes()}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A cache of this test's own, without an entry for what LLVM tells of this machine."""
    host()
    place = tmp_path / "made" / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(place))
    monkeypatch.setattr(cache, "state", cache.State())
    return place


@pytest.fixture
def compilations(monkeypatch):
    """A list that grows when LLVM writes code."""
    seen, real = [], Library.compiled
    monkeypatch.setattr(Library, "compiled", lambda self: seen.append(self) or real(self))
    return seen


def answer(number=7):
    library = Library(text(number), (), host())  # the code lives as long as it
    return library.function("f")(0, 0)


def only(folder):
    (entry,) = folder.iterdir()
    return entry


# ---- found again

def test_code_is_compiled_once(folder, compilations):
    assert [answer(), answer(), answer(8), answer(8), answer()] == [7, 7, 8, 8, 7]
    assert len(compilations) == 2 and len([*folder.iterdir()]) == 2
    assert cache.state.memory == {}


def test_an_entry_belongs_to_text_processor_and_versions():
    keys = [cache.key_of(t, target, known) for t in ("a", "b") for target in (BASELINE, AVX2)
            for known in ("LLVM 1", "LLVM 2")]
    assert len({*keys}) == 8
    known = cache.versions("1.2", "3.4")
    for word in ("adjoint ", "llvmlite 1.2", "LLVM 3.4", "NumPy ABI 0x2000000", sys.platform,
                 ".".join(map(str, sys.version_info[:3]))):
        assert word in known


def test_files_are_the_users_alone(folder):
    answer()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(only(folder).stat().st_mode) == 0o600


@pytest.mark.parametrize("home", ["", "relative", "/absolute"])
def test_the_folder_is_the_users_cache_folder(home, monkeypatch, tmp_path):
    monkeypatch.delenv(cache.VARIABLE)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", home)
    base = Path(home) if home == "/absolute" else tmp_path / ".cache"
    assert cache.wanted() == base / "adjoint"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.wanted() == tmp_path / "Library" / "Caches" / "adjoint"


def test_off_keeps_code_in_memory_and_says_nothing(folder, monkeypatch, compilations):
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert [answer(), answer()] == [7, 7]
    assert len(compilations) == 1 and not folder.exists()


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "off")
    monkeypatch.setattr(cache, "MEMORY_LIMIT", 1000)
    for k in range(10):
        cache.keep(str(k), "", bytes(300))
    assert [*cache.state.memory] == ["7", "8", "9"]
    assert cache.found("7", "") == bytes(300)
    cache.keep("10", "", bytes(300))
    assert [*cache.state.memory] == ["9", "7", "10"]


# ---- damaged

def damage(entry):
    """Ways in which an entry is not what was written."""
    whole = entry.read_bytes()
    middle = len(whole) // 2
    return {"empty": b"", "cut": whole[:middle], "longer": whole + b"x", "other": b"\x7fELF" * 99,
            "changed": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:],
            "hash": whole.replace(hashlib.sha256(whole).digest()[:1], b"?"),
            "version": whole.replace(b"LLVM ", b"LLVM 9"),
            "no hash": whole[:whole.index(b"\x7fELF") - 32]}


@pytest.mark.parametrize("how", ["empty", "cut", "longer", "other", "changed", "hash", "version",
                                 "no hash"])
def test_a_damaged_entry_is_compiled_again_and_replaced(how, folder, compilations):
    answer()
    entry = only(folder)
    good, bad = entry.read_bytes(), damage(entry)[how]
    if good == bad:
        bad = b"?" + good[1:]
    entry.write_bytes(bad)
    assert answer() == 7
    assert len(compilations) == 2 and only(folder).read_bytes() == good
    assert answer() == 7
    assert len(compilations) == 2


def test_a_folder_in_the_place_of_an_entry_is_refused(folder, compilations):
    answer()
    entry = only(folder)
    entry.unlink()
    entry.mkdir()
    with pytest.warns(CompileWarning, match="is not used"):
        assert answer() == 7
    assert len(compilations) == 2


def test_a_pipe_in_the_place_of_an_entry_is_replaced(folder, compilations):
    answer()
    entry = only(folder)
    entry.unlink()
    os.mkfifo(entry, 0o600)
    assert answer() == 7
    assert len(compilations) == 2 and entry.is_file()


# ---- refused

def refused(folder, said, compilations):
    """The folder is not used: that is said once, and code stays in memory."""
    before = sorted(folder.iterdir()) if folder.is_dir() else None
    with pytest.warns(CompileWarning, match=said) as seen:
        assert answer() == 7
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert answer() == 7 and answer(8) == 8
    assert len(compilations) == 2
    assert (sorted(folder.iterdir()) if folder.is_dir() else None) == before


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_that_others_write_is_refused(mode, folder, compilations):
    folder.mkdir(parents=True)
    folder.chmod(mode)
    refused(folder, "others may write to it", compilations)


def test_a_folder_of_another_owner_is_refused(folder, compilations, monkeypatch):
    folder.mkdir(parents=True)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    refused(folder, "belongs to user .* not to 12345", compilations)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_that_is_a_link_is_refused(there, folder, compilations, tmp_path):
    folder.parent.mkdir()
    if there:
        (tmp_path / "else").mkdir()
    folder.symlink_to(tmp_path / "else")
    refused(folder, "symbolic link", compilations)


def test_a_folder_that_cannot_be_made_is_said_once(tmp_path, monkeypatch, compilations):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "cache"
    monkeypatch.setenv(cache.VARIABLE, str(place))
    refused(place, "Not a directory", compilations)


def test_a_full_disk_is_said_once(monkeypatch, compilations, folder):
    def full(*args, **keywords):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(cache.os, "rename", full)
    with pytest.warns(CompileWarning, match="No space left"):
        assert answer() == 7
    monkeypatch.undo()
    assert not [*folder.iterdir()] if folder.exists() else True


def test_clearing_while_an_entry_is_written_is_no_trouble(monkeypatch, compilations, folder):
    real = os.rename

    def late(*args, **kwargs):
        cache.clear()
        real(*args, **kwargs)
    with warnings.catch_warnings(), monkeypatch.context() as patched:
        warnings.simplefilter("error")
        patched.setattr(cache.os, "rename", late)
        assert Library(text(), (), host()).function("f")(0, 0) == 7
    assert [*folder.iterdir()] == []
    for _ in range(2):
        assert Library(text(), (), host()).function("f")(0, 0) == 7
    assert len(compilations) == 2


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_an_entry_that_others_write_is_replaced(mode, folder, compilations):
    answer()
    only(folder).chmod(mode)
    assert answer() == 7
    assert len(compilations) == 2
    assert stat.S_IMODE(only(folder).stat().st_mode) == 0o600


@owned
def test_an_entry_of_another_owner_is_replaced(folder, compilations):
    answer()
    os.chown(only(folder), 12345, -1)
    assert answer() == 7
    assert len(compilations) == 2 and only(folder).stat().st_uid == os.geteuid()


def test_an_entry_that_is_a_link_is_replaced(folder, compilations, tmp_path):
    answer()
    entry, other = only(folder), tmp_path / "other"
    entry.rename(other)
    before = other.read_bytes()
    entry.symlink_to(other)
    assert answer() == 7
    assert len(compilations) == 2
    assert not entry.is_symlink() and other.read_bytes() == before


# ---- bounded

def test_the_oldest_entries_go(folder, monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 10_000)
    for k in range(6):
        cache.keep(str(k), "", bytes(1500))
        os.utime(folder / f"{k}.code", (k, k))
    cache.found("0", "")  # used now
    cache.keep("6", "", bytes(1500))
    assert {p.stem for p in folder.iterdir()} == {"0", "3", "4", "5", "6"}
    for k in range(50):
        cache.keep(f"more {k}", "", bytes(1500))
        assert cache.info().bytes <= 10_000


def test_another_process_finds_the_bound_too(folder, monkeypatch):
    for k in range(6):
        cache.keep(str(k), "", bytes(1500))
    monkeypatch.setattr(cache, "state", cache.State())
    monkeypatch.setattr(cache, "LIMIT", 5000)
    cache.keep("new", "", bytes(1500))
    assert cache.info().bytes <= 5000
    assert (folder / "new.code").exists()


def test_what_a_killed_process_left_goes_after_an_hour(folder):
    answer()
    for name, age in (("old", 2 * cache.STALE), ("new", 10)):
        part = folder / f"{name}{cache.PARTIAL}"
        part.write_bytes(b"half")
        os.utime(part, (time.time() - age,) * 2)
    cache.state.sizes.clear()
    answer(8)
    assert {p.name for p in folder.iterdir() if p.suffix == cache.PARTIAL} == {"new.partial"}


# ---- the command

def test_the_command_tells_and_clears(folder, capsys, monkeypatch):
    assert cli.main(["cache"]) == 0
    assert capsys.readouterr().out == f"{folder}: 0 programs, 0 KB of at most 256 MB\n"
    assert not folder.exists()
    answer(), answer(8)
    assert cli.main(["cache", "--info"]) == 0
    assert capsys.readouterr().out == f"{folder}: 2 programs, 2 KB of at most 256 MB\n"
    (folder / "mine.txt").write_text("a file of the user's")
    (folder / "half.partial").write_text("")
    assert cli.main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"removed 2 programs, 2 KB, from {folder}\n"
    assert only(folder).name == "mine.txt"
    cache.keep("large", "", bytes(3 << 20))
    assert cli.main(["cache"]) == 0
    assert "1 program, 3.0 MB of" in capsys.readouterr().out
    folder.chmod(0o777)
    assert cli.main(["cache", "--clear"]) == 1
    assert "others may write to it" in capsys.readouterr().err
    assert (folder / "large.code").exists()
    monkeypatch.setenv(cache.VARIABLE, "off")
    assert cli.main(["cache", "--clear"]) == 0
    assert "in memory only: ADJOINT_CACHE is off" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["cache", "--clear", "--info"])


def test_the_command_needs_no_llvmlite(folder, monkeypatch, capsys):
    def missing(name):
        raise ImportError(name)
    monkeypatch.setattr(native, "import_module", missing)
    native.llvm.cache_clear()
    try:
        assert cli.main(["cache"]) == 0
        with pytest.raises(MissingPackageError, match="llvmlite"):
            answer()
    finally:
        monkeypatch.undo()
        native.llvm.cache_clear()
    assert llvm()


# ---- processes

START = """
import os, signal, sys, threading, time, gc
import numpy as np
from adjoint.compiler import cache, native
from adjoint.compiler.call import entry
from adjoint.compiler.compiled import Compiled
from adjoint.compiler.program import ProgramBuilder
from adjoint.compiler.sources import ARRAY, Argument, Input
from adjoint.core.node import aval_of

def program(repeats=1, size=4):
    b = ProgramBuilder()
    x = first = b.input(aval_of(np.ones(size)))
    for _ in range(repeats):
        x = b.elementwise("sin", x)
    b.program.outputs = [x.number]
    return b.program

def made(repeats=1, size=4, **more):
    c = Compiled(program(repeats, size))
    return entry(c, [Input(Argument(0))], [ARRAY], lambda x: ("slow", c(x)), arguments=1, **more)

def right(f, repeats=1, size=4):
    want = x = np.linspace(0.0, 1.0, size)
    for _ in range(repeats):
        want = np.sin(want)
    np.testing.assert_allclose(f(x), want, rtol=1e-14)
"""


def script(body):
    """A process that runs this, and what it takes to start it."""
    return [sys.executable, "-c", START + textwrap.dedent(body)]


def environment(folder):
    return {**os.environ, cache.VARIABLE: str(folder), "PYTHONPATH": SOURCE,
            "PYTHONFAULTHANDLER": "1"}


def ran(body, folder, status=0):
    """The output of a process that ends with this status and without a word of trouble."""
    done = subprocess.run(script(body), env=environment(folder), capture_output=True, text=True,
                          timeout=120, check=False)
    assert (done.returncode, done.stderr) == (status, ""), done.stderr
    return done.stdout


def test_a_process_killed_while_it_writes_is_never_read_half(folder):
    ran("""
    def killed(*args, **keywords):
        os.kill(os.getpid(), signal.SIGKILL)
    os.rename = killed
    made()
    """, folder, -signal.SIGKILL)
    assert [p.suffix for p in folder.iterdir()] == [cache.PARTIAL]
    assert cache.info().entries == 0
    ran("right(made())", folder)
    # This machine, the program, its trampoline, what all trampolines call.
    assert cache.info().entries == 4


def test_two_processes_and_four_threads_compile_at_once(folder):
    body = """
    go, wrong = threading.Barrier(4), []
    def work():
        go.wait()
        try:
            for n in range(1, 4):
                right(made(n), n)
        except BaseException as e:
            wrong.append(e)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    print(len(wrong), *wrong)
    """
    both = [subprocess.Popen(script(body), env=environment(folder), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    for process in both:
        assert (process.communicate(timeout=120)[0], process.returncode) == ("0\n", 0)
    assert cache.info().entries == 6
    assert all(p.suffix == cache.SUFFIX for p in folder.iterdir())


def test_a_fork_after_compiling(folder):
    ran("""
    f = made()
    right(f)
    for _ in range(3):
        child = os.fork()
        if not child:
            right(f)
            right(made(2), 2)
            f = None
            gc.collect()
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    right(f)
    """, folder)


def test_a_fork_while_another_thread_compiles(folder):
    ran("""
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # threads and forks
    os.environ["ADJOINT_CACHE"] = "off"
    stop = threading.Event()
    def compile():
        n = 2
        while not stop.is_set():
            made(n)
            n += 1
    other = threading.Thread(target=compile)
    other.start()
    f = made()
    for _ in range(5):
        child = os.fork()
        if not child:
            right(f)
            right(made(100), 100)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
    other.join()
    """, folder)


def test_the_interpreter_shuts_down(folder):
    assert ran("""
    import atexit
    f = made()
    class Late:
        def __del__(self):
            print(f(np.zeros(4)))
    late = Late()
    late.me = late
    atexit.register(lambda: print(f(np.zeros(4))))
    y = f(np.ones(4))
    made.kept = [f, y, made(size=100_000)(np.ones(100_000))]
    """, folder).startswith("[0. 0. 0. 0.]")


def test_the_interpreter_shuts_down_while_a_thread_computes(folder):
    ran("""
    f = made(50, 200_000, seconds=1.0)
    x, started = np.ones(200_000), threading.Event()
    def work():
        while True:
            f(x)
            started.set()
    threading.Thread(target=work, daemon=True).start()
    started.wait()
    """, folder)


def test_an_interrupt_is_raised_after_the_program(folder):
    assert ran("""
    f = made(200, 100_000, seconds=1.0)
    x = np.ones(100_000)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    def interrupt():
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
    for _ in range(3):
        threading.Thread(target=interrupt).start()
        try:
            while True:
                y = f(x)
                assert isinstance(y, np.ndarray), "the workspace is still busy"
        except KeyboardInterrupt:
            print("interrupted")
    """, folder) == "interrupted\n" * 3
