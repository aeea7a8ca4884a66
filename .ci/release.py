"""What goes to the package index: an sdist whose README has addresses where the source tree has paths, and the wheel
that is built from it; both checked.

    python -m pip install build twine
    python .ci/release.py OUT [--repository ADDRESS]

The address of the repository is said in one place, ``Repository`` of ``[project.urls]`` in pyproject.toml, and so is
that of the site, ``Documentation``, if there is one. The option is for rehearsals. Run it in a fresh clone of the tag.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A link or a picture: its mark, its text, its target.
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def said(name: str, text: str) -> str | None:
    """A text in pyproject.toml. (Python has a reader of TOML from 3.11 on.)"""
    found = re.search(rf'^{name} = "([^"]*)"', text, re.MULTILINE)
    return found and found[1]


def absolute(readme: str, repository: str, version: str, documentation: str | None = None) -> str:
    """The README as the index shows it, where paths and headings lead nowhere.

    Links lead to the version's tag instead; those to pages of docs/ to the site, if it has an address.
    """

    def address(link: re.Match[str]) -> str:
        mark, text, target = link.groups()
        if "://" in target:
            return link[0]
        if documentation and (page := re.fullmatch(r"docs/(\w[\w-]*)\.md(#.*)?", target)):
            return f"[{text}]({documentation.rstrip('/')}/{page[1]}.html{page[2] or ''})"
        path = f"README.md{target}" if target.startswith("#") else target
        return f"{mark}[{text}]({repository.rstrip('/')}/{'raw' if mark else 'blob'}/v{version}/{path})"

    parts = re.split("(^```.*?^```$)", readme, flags=re.MULTILINE | re.DOTALL)  # every second one is code
    return "".join(part if i % 2 else LINK.sub(address, part) for i, part in enumerate(parts))


def main() -> None:
    """Build and check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--repository", help="default: what pyproject.toml says")
    options = parser.parse_args()
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    repository, version = options.repository or said("Repository", project), said("version", project)
    if not repository or not version:
        parser.error("pyproject.toml must say the address: [project.urls], Repository = ..., or give --repository")

    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "source"
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".git", "build", "dist", ".venv", "__pycache__"))
        readme = source / "README.md"
        documentation = said("Documentation", project)
        readme.write_text(absolute(readme.read_text("utf-8"), repository, version, documentation), "utf-8")
        subprocess.run([sys.executable, "-m", "build", "--outdir", options.out, source], check=True)
    made = [str(file) for file in options.out.glob("fastinit_weights-*")]
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *made], check=True)
    wheels = [file for file in made if file.endswith(".whl")]
    subprocess.run([sys.executable, ROOT / "tests" / "check_wheel.py", *wheels], check=True)


if __name__ == "__main__":
    main()
