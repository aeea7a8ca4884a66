"""Opens pages in headless Chromium, wide and narrow, and says what a reader would find broken.

    python -m pip install playwright     # its client; the browser is the system's
    python tests/site/look.py build/site [--pictures FOLDER]

FOLDER is a folder of pages, all of which are opened. Errors and warnings in the console, requests that fail or go to
another host, pictures that do not load and pages wider than the screen are problems. So is a search, where there is
one, that finds nothing.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import pathlib
import shutil
import sys
import threading
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
BROKEN = "Array.from(document.images).filter(i => !(i.complete && i.naturalWidth)).map(i => i.currentSrc || i.src)"
LOADED = """Promise.all(Array.from(document.images).map(i => {
  i.loading = "eager";
  return i.decode().catch(() => null);
}))"""
TOO_WIDE = "document.scrollingElement.scrollWidth - window.innerWidth"


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """Serves until the end; a browser that hangs up is no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what a page lacks, the page says."""


def listening(page: Page, host: str, found: list[str]) -> None:
    """Note what a page complains of, and what it asks others for."""

    def note(wrong: bool, what: str) -> None:
        if wrong:
            found.append(what)

    page.on("console", lambda said: note(said.type in ("error", "warning"), f"console: {said.text}"))
    page.on("pageerror", lambda error: note(True, f"error: {error}"))
    # Aborted is what the next page was asked for before it came, such as the icon: for all else a page waits.
    page.on(
        "requestfailed",
        lambda asked: note("ABORTED" not in asked.failure, f"failed: {asked.url}: {asked.failure}"),
    )
    page.on("response", lambda answer: note(answer.status >= 400, f"{answer.status}: {answer.url}"))
    page.on("request", lambda asked: note(not asked.url.startswith((host, "data:")), f"another host: {asked.url}"))


def looked(browser: Browser, host: str, names: list[str], pictures: pathlib.Path | None) -> list[str]:
    """The problems of the pages of these names."""
    found: list[str] = []
    page = browser.new_page(viewport=WIDE)
    here: list[str] = []
    listening(page, host, here)
    for name in names:
        page.set_viewport_size(WIDE)
        page.goto(f"{host}/{name}")
        page.evaluate(LOADED)
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)
            page.wait_for_timeout(20)
            here += [f"no picture: {source}" for source in page.evaluate(BROKEN)]
            if (more := page.evaluate(TOO_WIDE)) > 0:
                here.append(f"{more} pixels wider than a screen of {size['width']}")
            if pictures:
                picture = pictures / f"{name.removesuffix('.html')}-{size['width']}.png"
                page.screenshot(path=picture, full_page=True)
        found += [f"{name}: {problem}" for problem in here]
        here.clear()
    page.close()
    return found


def searched(browser: Browser, host: str, word: str) -> list[str]:
    """The problems of a search for a word, typed as a reader does."""
    found: list[str] = []
    page = browser.new_page(viewport=WIDE)
    listening(page, host, found)
    page.goto(f"{host}/index.html")
    page.fill("input[name=q]", word)
    page.press("input[name=q]", "Enter")
    try:
        page.wait_for_selector("#search-results li a", timeout=20_000)
    except Exception as error:
        found.append(str(error))
    page.close()
    return [f"search for {word!r}: {problem}" for problem in found]


def main() -> None:
    """Look at the pages of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--pictures", type=pathlib.Path, help="where a picture of each page goes, of both widths")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("there is no chromium")
    names = sorted(file.relative_to(options.folder).as_posix() for file in options.folder.rglob("*.html"))
    if not names:
        parser.error(f"{options.folder} has no pages")
    server = Server(("127.0.0.1", 0), functools.partial(Files, directory=str(options.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        found = looked(browser, host, names, options.pictures)
        if "search.html" in names:
            found += searched(browser, host, "orthogonal")
        browser.close()
    server.shutdown()
    if found:
        sys.exit("\n".join(found))
    print(f"{len(names)} pages, each {WIDE['width']} and {NARROW['width']} pixels wide: nothing is broken")


if __name__ == "__main__":
    main()
