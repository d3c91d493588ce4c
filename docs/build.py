"""Build the site: `python3 go.py docs` all of it, `python3 go.py docs b05` one page that computes.

Every page is executed. Warnings are errors, and so are links that lead nowhere and files that a
browser would fetch from elsewhere: the site is read from the disk, with the network off.
A second run executes only the pages that changed; all of them if the library did.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "machinery"))
import links
import pages


def main():
    """Build, check, and say where the site is; return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 go.py docs", description="Build the site.")
    parser.add_argument("page", nargs="?", help="build this page and those that do not compute")
    parser.add_argument("--fresh", action="store_true", help="execute every page again")
    given = parser.parse_args()
    if given.page:
        given.page = Path(given.page).stem
        named = [path for path in pages.computing(DOCS) if path.stem == given.page]
        if not named:
            parser.error(f"docs has no page {given.page!r} that computes")
    folder = ROOT / "build" / "docs" / (f"only-{given.page}" if given.page else "site")
    prepare(folder, fresh=given.fresh)
    code = sphinx(folder, given.page)
    sweep(folder / "html")
    if code:
        forget(folder)
        print("docs: the messages above are errors; the site is not complete.")
        return code
    found = [] if given.page else links.faults(folder / "html")
    for line in found:
        print("docs:", line)
    if not found:
        page = named[0].relative_to(DOCS) if given.page else Path("index")
        print(f"docs: open {(folder / 'html' / page).with_suffix('.html')}")
    return 1 if found else 0


def prepare(folder, *, fresh):
    """Remove what was built with another library, other settings or other packages."""
    stamp = folder / "made-from"
    wanted = fingerprint()
    if fresh or not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        stamp.write_text(wanted, encoding="utf-8")


def fingerprint():
    """Return a digest of everything that any page may depend on."""
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "examples").glob("*.py"), DOCS / "conf.py",
             *(DOCS / "machinery").glob("*.py")]
    digest = hashlib.sha256(repr(sorted((d.name, d.version) for d in distributions())).encode())
    for path in sorted(files):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def sphinx(folder, page):
    """Run Sphinx; return its exit code."""
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-j", str(min(4, os.cpu_count() or 1)),
               "-q", "-W", "--keep-going", "-w", str(folder / "warnings"),
               "-d", str(folder / "doctrees"), str(DOCS), str(folder / "html")]
    return subprocess.call(command, cwd=ROOT, env=surroundings(folder, page))


def surroundings(folder, page):
    """Return the variables for Sphinx and the kernels: nothing of the user's own settings."""
    profile = folder / "ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(
        "c.InlineBackend.figure_formats = {'svg'}\n"
        "c.InlineBackend.print_figure_kwargs = {'bbox_inches': 'tight', 'facecolor': 'none'}\n"
        "c.InlineBackend.rc = {'svg.hashsalt': 'adjoint', 'figure.figsize': (6.4, 3.6),\n"
        "                      'axes.facecolor': 'none', 'legend.framealpha': 0,\n"
        "                      'axes.spines.top': False, 'axes.spines.right': False}\n"
        "c.InteractiveShell.xmode = 'Minimal'\n"
        "c.HistoryManager.enabled = False\n"
        "c.IPKernelApp.log_level = 40\n", encoding="utf-8")
    variables = dict.fromkeys(("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"),
                              str(folder / "jupyter"))
    return dict(os.environ, **variables, IPYTHONDIR=str(folder / "ipython"),
                JUPYTER_PREFER_ENV_PATH="1", JUPYTER_PLATFORM_DIRS="1",
                PYTHONPATH=str(ROOT / "examples"), PYDEVD_DISABLE_FILE_VALIDATION="1",
                OPENBLAS_NUM_THREADS="1", PYTHONHASHSEED="0", ADJOINT_DOCS_ONLY=page or "")


def sweep(html):
    """Remove the pages whose source is gone: Sphinx leaves them."""
    for path in html.rglob("*.html"):
        page = DOCS / path.relative_to(html)
        made = path.parent == html and path.stem in ("genindex", "search")
        if not made and not any(page.with_suffix(end).exists() for end in (".md", ".ipynb")):
            path.unlink()


def forget(folder):
    """Have the pages that a warning names read again by the next run; all, if it names none.

    Otherwise Sphinx would take them from its cache and keep silent.
    """
    named = set()
    for line in (folder / "warnings").read_text(encoding="utf-8").splitlines():
        if re.match(r".*(WARNING|ERROR|CRITICAL): ", line):
            place = re.match(re.escape(str(DOCS)) + r"/(.+?)\.(?:md|ipynb)\b", line)
            if not place:
                shutil.rmtree(folder, ignore_errors=True)
                return
            named.add(place.group(1))
    for name in named:
        (folder / "doctrees" / f"{name}.doctree").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
