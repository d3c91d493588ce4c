"""What a finished site must fulfil: nothing is loaded from elsewhere, every link leads somewhere.

    python docs/machinery/links.py build/docs/site/html
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# A link that a reader follows may lead out of the site; what a browser fetches by itself may not.
LOADS = {"script": ("src",), "link": ("href",), "img": ("src", "srcset"), "form": ("action",),
         "source": ("src", "srcset"), "video": ("src", "poster"), "audio": ("src",),
         "iframe": ("src",), "embed": ("src",), "object": ("data",), "input": ("src",),
         "track": ("src",), "image": ("href", "xlink:href"), "use": ("href", "xlink:href")}
ELSEWHERE = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:[a-z]+:)?//[^"')\s]+)""", re.IGNORECASE)
IN_SCRIPTS = re.compile(r"""(?:\bimport\s*\(|\bfetch\s*\(|importScripts\s*\(|\.src\s*=)\s*"""
                        r"""["'`]((?:https?:)?//[^"'`]+)""")
MACHINE = re.compile(r"/tmp/[\w/.-]+|ipykernel_\d+|<ipython-input|/(?:home|root|work)/[\w.-]+/")


class Page(HTMLParser):
    """The names that a page defines, the links that it follows, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.names, self.links, self.loads, self.text = set(), [], [], []
        self.within = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.within = tag
        given = {name: value or "" for name, value in attrs}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        self.loads += [given[name] for name in LOADS.get(tag, ()) if name in given]
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loads += IN_STYLES.findall(given.get("style", ""))

    def handle_data(self, data):
        if self.within == "style":
            self.loads += IN_STYLES.findall(data)
        elif self.within == "script":
            self.loads += IN_SCRIPTS.findall(data)
        else:
            self.text.append(data)

    def handle_endtag(self, tag):
        self.within = ""


def faults(site):
    """Return one line for each fault of the site in the folder `site`."""
    site = Path(site).resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        where = path.relative_to(site).as_posix()
        found += [f"{where} loads {url}" for url in page.loads if ELSEWHERE.match(url)]
        inside = [url for url in page.links + page.loads
                  if not ELSEWHERE.match(url) and urlsplit(url).scheme in ("", "file")]
        found += [f"{where}: {why}" for url in inside if (why := broken(url, path, pages))]
        found += [f"{where} shows a path of the machine: {said}"
                  for said in MACHINE.findall(" ".join(page.text))]
    for path in sorted([*site.rglob("*.css"), *site.rglob("*.js"), *site.rglob("*.svg")]):
        pattern = IN_SCRIPTS if path.suffix == ".js" else IN_STYLES
        where = path.relative_to(site).as_posix()
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{where} loads {url}" for url in pattern.findall(text)]
    return found


def broken(url, path, pages):
    """Return why the link `url` of the page `path` leads nowhere, "" if it does not."""
    parts = urlsplit(url)
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if parts.scheme == "file" or parts.path.startswith("/"):
        return f"the link {url} leads to this machine"
    if not target.is_file():
        return f"the link {url} leads to no file"
    if target in pages and parts.fragment and unquote(parts.fragment) not in pages[target].names:
        return f"the link {url} leads to no place on the page {target.name}"
    return ""


if __name__ == "__main__":
    FOUND = faults(sys.argv[1])
    print("\n".join(FOUND) or "no fault found")
    sys.exit(bool(FOUND))
