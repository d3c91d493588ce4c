#!/usr/bin/env python3
"""One door to everything in this clone: `python3 go.py COMMAND [arguments]`.

It needs a Python and nothing else. Each command runs in a virtual environment of its own, the
folder `.venv` beside this file (`.venv-peers` for `parity` and `bench`, `.venv-docs` for `docs`),
made by the first run and reused by the next. Nothing outside the clone is changed.

Where to start reading: COMMANDS, at the end, lists the commands; all of them go through `ready`.
The text must parse on Python 3.6, so that an old Python gets a message and not a SyntaxError;
what runs after `need_version` may use all of OLDEST.
"""

import collections
import contextlib
import difflib
import hashlib
import importlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.abspath(__file__))
OLDEST = (3, 11)
WINDOWS = os.name == "nt"
STAMP = "go-stamp"  # inside an environment: marks it as ours, says what it was made from
UNFINISHED = "unfinished"

# `steps` are the arguments of one `pip install` after another.
Environment = collections.namedtuple("Environment", "name steps")
MAIN = Environment(".venv", [["-e", ".[jit,nn,viz,demo,dev]"]])
DOCS = Environment(".venv-docs", [["-e", ".[jit,nn,viz,demo,docs]"]])
PEERS = Environment(".venv-peers", [["torch==2.13.0"], ["-e", ".[jit,nn,viz,demo,dev,peers]"]])


class Stop(Exception):
    """A message for the user that ends the run; `main` prints it and returns `code`."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


def say(text):
    """Print to stderr: stdout belongs to the command that is run."""
    print(text, file=sys.stderr, flush=True)


def again():
    """Return what the user typed, to be typed again."""
    return ("    py" if WINDOWS else "    python3") + " go.py " + words()


def words():
    """Return the command and arguments that the user typed, quoted for a shell."""
    return " ".join(map(shlex.quote, sys.argv[1:]))


def dotted(version):
    """Return (3, 11) as "3.11"."""
    return ".".join(map(str, version[:2]))


# ---------------------------------------------------------------- what can go wrong, in words

# The first pattern that a failed command's output (or an OSError) matches names the cause.
CAUSES = (
    (r"No space left on device|Errno 28\b|WinError 112\b|Disk quota exceeded",
     "The disk is full. Make room (.venv takes 1 GB, .venv-peers up to 6 GB); look with\n"
     "    df -h {root}\nthen type again:\n{again}"),
    (r"Read-only file system|Errno 30\b|Permission denied|Errno 13\b|WinError 5\b|Access is denied",
     "go.py may not write or run files there. Copy the clone to a folder of yours and go on:\n"
     "    cp -r {root} ~/adjoint-copy && cd ~/adjoint-copy\n{again}"),
    (r"CERTIFICATE_VERIFY_FAILED|SSLError",
     "The package index showed a certificate that pip does not trust. Behind a company's proxy,\n"
     "name its certificate file in PIP_CERT, then type again:\n{again}"),
    (r"Failed to establish a new connection|NewConnectionError|NameResolutionError|getaddrinfo"
     r"|Temporary failure in name resolution|Name or service not known|Connection refused"
     r"|Network is unreachable|ProxyError|Cannot connect to proxy|ConnectTimeout|Read timed out"
     r"|Max retries exceeded|client error \(Connect\)",
     "No package index could be reached. Connect to the network (behind a proxy, set HTTPS_PROXY\n"
     "first), then type again:\n{again}"),
    (r"from versions: none",
     "No package index has it, or none was reached: look at the network and at pip's settings\n"
     "(`env | grep PIP_`), then type again:\n{again}"),
    (r"No matching distribution found|Could not find a version",
     "The package index has no such version for Python {python} on this machine.\n"
     "Try another Python from 3.11 to 3.14, for example\n    python3.12 go.py {words}"),
    (r"Failed to build|Failed building wheel|metadata-generation-failed|Unknown compiler",
     "There is no ready-made build of it for Python {python} on this machine, and go.py needs no\n"
     "compiler. Try another Python from 3.11 to 3.14, for example\n    python3.12 go.py {words}"),
)


def explain(text, doing):
    """Return the message for a failure while `doing`: its cause, what to type, what was said."""
    fill = {"root": shlex.quote(ROOT), "again": again(), "python": dotted(sys.version_info),
            "words": words()}
    for pattern, remedy in CAUSES:
        found = re.search(".*(?:" + pattern + ").*", text)
        if found:
            said = found.group().strip()[:300]
            return f"{doing} failed. {remedy.format(**fill)}\n(It said: {said})"
    last = "\n".join("    " + line for line in text.strip().splitlines()[-15:])
    return f"{doing} failed. Its last words:\n{last}\nWhen that is mended, type again:\n{again()}"


INSTALL_VENV = (
    ("apt-get", "sudo apt install python{python}-venv"),
    ("dnf", "sudo dnf install python3-virtualenv"),
    ("apk", "sudo apk add py3-virtualenv"),
    ("pacman", "sudo pacman -S python-virtualenv"),
    ("zypper", "sudo zypper install python3-virtualenv"),
)


def no_environment():
    """Return the message for a Python that can make no virtual environment."""
    lines = [line for tool, line in INSTALL_VENV if shutil.which(tool)]
    line = lines[0] if lines else "python3 -m pip install --user virtualenv"
    version = dotted(sys.version_info)
    return (f"Python {version} ({sys.executable}) cannot make a virtual environment: it comes\n"
            f"without ensurepip, and neither virtualenv nor uv is installed. Type:\n"
            f"    {line.format(python=version)}\nand then again:\n{again()}")


# ---------------------------------------------------------------- a Python that is new enough

def version_of(command):
    """Return the version of the Python that `command` starts, (0, 0) if it starts none."""
    # A version manager leaves a file for each Python that it knows, switched on or not: so ask.
    try:
        said = subprocess.check_output(command + ["-c", "import sys; print(*sys.version_info[:2])"],
                                       stderr=subprocess.DEVNULL, timeout=20)
        major, minor = said.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0, 0


def newer_python():
    """Return the command of a Python on PATH that is new enough and really runs, or None."""
    for name in ("3.14", "3.13", "3.12", "3.11"):
        folders = os.environ.get("PATH", "").split(os.pathsep)
        commands = [[os.path.join(folder, "python" + name)] for folder in folders]
        for command in [["py", "-" + name]] if WINDOWS else commands:
            if (WINDOWS or os.access(command[0], os.X_OK)) and version_of(command) >= OLDEST:
                return command
    return None


def need_version(version):
    """Return if `version` will do; else go on with a newer Python, or say how to get one."""
    if tuple(version[:2]) >= OLDEST:
        return
    found = newer_python()
    if found:
        say(f"Python {dotted(version)} is too old for adjoint; going on with {' '.join(found)}.")
        sys.exit(hand_over(found + [os.path.abspath(__file__)] + sys.argv[1:]))
    line = f"python3.13 go.py {words()}"
    where = "Install Python 3.13 (from python.org or with your system's package manager) and type:"
    if shutil.which("uv"):
        line = f"uv run --no-project --python 3.13 python {line.split(' ', 1)[1]}"
        where = "uv is installed and can fetch a newer one. Type:"
    raise Stop(f"adjoint needs Python {dotted(OLDEST)} or newer; this is Python {dotted(version)} "
               f"({sys.executable}), and PATH has none that will do.\n{where}\n    {line}")


# ---------------------------------------------------------------- running commands

LEADS_OUT = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__",
             "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")


def surroundings(command):
    """Return the variables for `command`: none that would lead it out of its environment."""
    variables = dict(os.environ, PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    for name in LEADS_OUT:
        variables.pop(name, None)
    scripts = os.path.dirname(command[0])
    home = os.path.dirname(scripts)
    if os.path.exists(os.path.join(home, STAMP)):
        variables["VIRTUAL_ENV"] = home
        variables["PATH"] = scripts + os.pathsep + variables.get("PATH", os.defpath)
    return variables


def hand_over(command, folder=None):
    """Become `command`: its output, its exit code and Ctrl-C are then its own affair."""
    if folder:
        os.chdir(folder)
    sys.stdout.flush()
    if WINDOWS:  # execve there leaves the console before the command has ended
        return subprocess.call(command, env=surroundings(command))
    return os.execve(command[0], command, surroundings(command))


def quietly(command):
    """Run `command`, showing on a terminal what it does; return its exit code and output."""
    said, terminal = [], sys.stderr.isatty()
    busy = re.compile(r"\s*(Collecting|Downloading|Preparing|Building|Installing)")
    with subprocess.Popen(command, cwd=ROOT, env=surroundings(command), text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT) as process:
        try:
            for line in process.stdout:
                said.append(line)
                if terminal and busy.match(line):
                    show(line.strip()[:shutil.get_terminal_size().columns - 1])
        except BaseException:
            process.terminate()
            raise
    if terminal:
        show("")
    return process.returncode, "".join(said)


def show(line):
    """Put `line` in place of the terminal's last one."""
    sys.stderr.write("\r\033[K" + line)
    sys.stderr.flush()


# ---------------------------------------------------------------- the environments

def folder_of(environment):
    """Return the folder of `environment`."""
    return os.path.join(ROOT, environment.name)


def python_of(environment):
    """Return the Python inside `environment`."""
    scripts = ("Scripts", "python.exe") if WINDOWS else ("bin", "python")
    return os.path.join(folder_of(environment), *scripts)


def wanted(environment):
    """Return the stamp of an up-to-date `environment`: line 1 if changed, make; line 2, install."""
    import tomllib  # here, because an old Python has none
    try:
        with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
            project = tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise Stop(f"pyproject.toml is not valid TOML: {error}") from None
    # Settings of ruff, pyright and pytest install nothing, so they may change freely.
    tools = project.get("tool", {})
    text = repr([environment.steps, project.get("project"), project.get("build-system"),
                 tools.get("hatch")])
    return f"{dotted(sys.version_info)} {ROOT}\n{hashlib.sha256(text.encode()).hexdigest()}\n"


def stamp_of(environment):
    """Return the stamp that `environment` carries, "" if it has none or its Python is gone."""
    try:
        with open(os.path.join(folder_of(environment), STAMP), encoding="utf-8") as file:
            stamp = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return stamp if os.path.exists(python_of(environment)) else UNFINISHED


def write_stamp(environment, text):
    """Write the stamp of `environment`."""
    with open(os.path.join(folder_of(environment), STAMP), "w", encoding="utf-8") as file:
        file.write(text)


def ready(environment):
    """Return the Python of `environment`, made or brought up to date first if it must be."""
    if stamp_of(environment) != wanted(environment):
        with one_at_a_time():
            if stamp_of(environment) != wanted(environment):  # or somebody made it meanwhile
                prepare(environment)
    return python_of(environment)


@contextlib.contextmanager
def one_at_a_time():
    """Keep two go.py from making the same folder; the system drops the lock of one that dies."""
    if WINDOWS:  # no lock on folders there
        yield
        return
    import fcntl  # here, because Windows has none
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("Another go.py is preparing an environment here; waiting for it.")
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:  # some network folders have no locks
        say(f"(no lock: {error})")
    try:
        yield
    finally:
        os.close(handle)


def prepare(environment):
    """Make `environment`, or install into it again if only what it should hold has changed."""
    started = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that pip is stopped with us
    if stamp_of(environment).split("\n")[0] != wanted(environment).split("\n")[0]:
        make(environment)
    for packages in environment.steps:
        doing = f"Installing {' '.join(packages)} in {environment.name}"
        say(f"{doing} (the first time: some minutes).")
        pip = [python_of(environment), "-m", "pip", "install", "--no-input"]
        code, output = quietly(pip + packages)
        if code:
            raise Stop(explain(output, doing))
    write_stamp(environment, wanted(environment))
    say(f"{environment.name} is ready ({time.monotonic() - started:.0f} s).")


def make(environment):
    """Make an environment that holds pip and nothing else, by the first way that works here."""
    remove(environment, ", which is unfinished or made for another Python or folder")
    say(f"Making {environment.name} with Python {dotted(sys.version_info)}.")
    folder = folder_of(environment)
    os.mkdir(folder)
    write_stamp(environment, UNFINISHED)
    text = ""
    for way in ways_to_make(environment):
        for command in way:
            code, output = quietly(command)
            if code:
                text += output
                break
        else:
            return
    if not text or re.search("No module named '?ensurepip|ensurepip is not", text):
        raise Stop(no_environment())
    raise Stop(explain(text, f"Making {environment.name}"))


def ways_to_make(environment):
    """Yield lists of commands, each of which may make `environment` on this machine."""
    folder = folder_of(environment)
    # Started from inside an environment (perhaps the one just removed), build on what it stands on.
    base = getattr(sys, "_base_executable", None) or sys.executable
    if has("venv") and has("ensurepip"):  # two commands, because venv hides what ensurepip says
        yield ([base, "-m", "venv", "--without-pip", folder],
               [python_of(environment), "-m", "ensurepip", "--default-pip"])
    virtualenv, uv = shutil.which("virtualenv"), shutil.which("uv")
    if virtualenv:
        yield ([virtualenv, "--python", base, folder],)
    if has("virtualenv"):
        yield ([sys.executable, "-m", "virtualenv", "--python", base, folder],)
    if uv:
        yield ([uv, "venv", "--seed", "--allow-existing", "--python", base, folder],)


def has(module):
    """Say whether `module` can be imported. Debian leaves ensurepip out, and so do others."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def remove(environment, why=""):
    """Remove the folder of `environment`, unless somebody else made it and it works."""
    folder = folder_of(environment)
    if not os.path.lexists(folder):
        return
    ours = os.path.exists(os.path.join(folder, STAMP))
    theirs = not ours and version_of([python_of(environment)]) != (0, 0)
    if theirs or os.path.islink(folder) or not os.path.isdir(folder):
        aside = "ren" if WINDOWS else "mv"
        raise Stop(f"{environment.name} is there, but go.py did not make it. Move it away:\n"
                   f"    {aside} {environment.name} {environment.name}-mine\n"
                   f"and type again:\n{again()}")
    say(f"Removing {environment.name}{why}.")
    shutil.rmtree(folder)


# ---------------------------------------------------------------- the commands

TESTS_OF_HOSTS = ["tests/compiler/test_" + name + ".py" for name in ("hosts", "fallback", "emit")]


def need(path):
    """Stop unless the clone has `path`."""
    if not os.path.exists(os.path.join(ROOT, path)):
        raise Stop(f"This clone has no {path}.")


def demo(arguments):
    """A short tour of the library."""
    return hand_over([ready(MAIN), "-m", "adjoint", "demo", *arguments])


def test(arguments):
    """The tests; arguments go to pytest."""
    return hand_over([ready(MAIN), "-m", "pytest", *arguments], ROOT)


def check(arguments):
    """ruff, pyright, and the examples in docstrings, README and docs."""
    python = ready(MAIN)
    pages = [page for page in ("README.md", "docs") if os.path.exists(os.path.join(ROOT, page))]
    steps = (("ruff", ["check", *arguments]),
             ("pyright", ["--pythonpath", python]),
             ("pytest", ["--doctest-modules", "src/adjoint", "--ignore-glob=docs/*.py", *pages]))
    failed = []
    for tool, words in steps:
        say(f"--- {tool}")
        command = [python, "-m", tool, *words]
        if subprocess.call(command, cwd=ROOT, env=surroundings(command)):
            failed.append(tool)
    say("check: " + (", ".join(failed) + " found something" if failed else "all good"))
    return 1 if failed else 0


def parity(arguments):
    """The same results as PyTorch, autograd and micrograd (installs them)."""
    need("tests/parity")
    return hand_over([ready(PEERS), "-m", "pytest", "tests/parity", *arguments], ROOT)


def bench(arguments):
    """The speed of single operations, side by side with the same peers."""
    need("benchmarks/eager.py")
    return hand_over([ready(PEERS), os.path.join("benchmarks", "eager.py"), *arguments], ROOT)


def exhaustive(arguments):
    """The compiled functions over every float32, against NumPy (half an hour)."""
    need("tools/exhaustive.py")
    return hand_over([ready(MAIN), "-m", "tools.exhaustive", *arguments], ROOT)


def fuzz(arguments):
    """Random programs, 20,000 unless --programs says otherwise; --compiled for machine code."""
    need("tools/fuzz/__main__.py")
    return hand_over([ready(MAIN), "-m", "tools.fuzz", "--programs", "20000", *arguments], ROOT)


def hosts(arguments):
    """Other processors: older x86-64 by fewer features, aarch64 in an emulator (installs it)."""
    need("tools/emulated.py")
    python = ready(MAIN)
    command = [python, "-m", "tools.emulated"]
    if subprocess.call(command, cwd=ROOT, env=surroundings(command)):
        return 1
    return hand_over([python, "-m", "pytest", *TESTS_OF_HOSTS, *arguments], ROOT)


def train(arguments):
    """Train a network: `adjoint train`."""
    return hand_over([ready(MAIN), "-m", "adjoint", "train", *arguments])


def python(arguments):
    """The Python of .venv, in which `import adjoint` works."""
    return hand_over([ready(MAIN), *arguments])


def docs(arguments):
    """Build the documentation, which executes its pages: all, or the one that is named."""
    need("docs/build.py")
    return hand_over([ready(DOCS), os.path.join("docs", "build.py"), *arguments], ROOT)


def clean(_arguments):
    """Remove the environments, caches and build output."""
    for environment in (MAIN, PEERS, DOCS):
        remove(environment)
    for name in ("build", "dist", ".pytest_cache", ".ruff_cache", ".hypothesis"):
        shutil.rmtree(os.path.join(ROOT, name), ignore_errors=True)
    return 0


COMMANDS = {f.__name__: f for f in (demo, test, check, parity, bench, exhaustive, fuzz, hosts,
                                    train, python, docs, clean)}


def usage():
    """Return the list of commands."""
    lines = [f"  {name:12}{command.__doc__}" for name, command in COMMANDS.items()]
    return "Usage: python3 go.py COMMAND [arguments]\n\n" + "\n".join(lines)


def command_named(name):
    """Return the function of the command `name`."""
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean `python3 go.py {close[0]}`?" if close else ""
        raise Stop(f"go.py has no command {name!r}.{hint}\n\n{usage()}", 2)
    return COMMANDS[name]


def main(arguments):
    """Run the command in `arguments`; return the exit code."""
    try:
        if not arguments or arguments[0] in ("help", "-h", "--help"):
            print(usage())
            return 0 if arguments else 2
        command = command_named(arguments[0])
        need_version(sys.version_info)
        return command(arguments[1:])
    except Stop as stop:
        say(str(stop))
        return stop.code
    except OSError as error:
        say(explain(str(error), "go.py " + arguments[0]))
        return 1
    except KeyboardInterrupt:
        say(f"\nStopped. To go on, type again:\n{again()}")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
