"""Each link inside a built site leads to a file and, where it names one, to an anchor that are there; pictures, too.

    python tests/site/links.py build/site

Links to other sites are counted, and not followed.
"""

from __future__ import annotations

import html.parser
import pathlib
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    """What a page links to, and the anchors that it has."""

    def __init__(self, file: pathlib.Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(file.read_text("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what it says."""
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value)
            elif name in ("href", "src", "poster", "data"):
                self.links.append(value)
            elif name == "srcset":
                self.links += [candidate.split()[0] for candidate in value.split(",")]


def problems(site: pathlib.Path) -> list[str]:
    """Each link that leads nowhere, with the page that has it."""
    pages = {file.resolve(): Page(file) for file in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site}: no pages"]
    for file, page in pages.items():
        for link in page.links:
            target = urllib.parse.urlsplit(link)
            if target.scheme or target.netloc:
                continue
            path = (file.parent / urllib.parse.unquote(target.path)).resolve() if target.path else file
            anchor = urllib.parse.unquote(target.fragment)
            if not path.is_file() or not path.is_relative_to(site.resolve()):
                found.append(f"{file.relative_to(site.resolve())}: {link}: no such file")
            elif anchor and path in pages and anchor not in pages[path].anchors:
                found.append(f"{file.relative_to(site.resolve())}: {link}: no such anchor")
    return found


def main() -> None:
    """Check the site of the command line."""
    site = pathlib.Path(sys.argv[1])
    found = problems(site)
    if found:
        sys.exit("\n".join(found))
    pages = [Page(file) for file in site.rglob("*.html")]
    others = sum(bool(urllib.parse.urlsplit(link).netloc) for page in pages for link in page.links)
    print(f"{len(pages)} pages, {sum(len(page.links) for page in pages)} links, {others} of them to other sites")


if __name__ == "__main__":
    main()
