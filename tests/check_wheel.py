"""What a wheel has in it: the package as it is in python/, one extension module, the metadata, and nothing else.

python tests/check_wheel.py WHEEL...
"""

from __future__ import annotations

import pathlib
import re
import sys
import zipfile
from collections.abc import Iterable

PYTHON = pathlib.Path(__file__).resolve().parent.parent / "python"
EXTENSION = re.compile(r"fastinit/_core\.[\w.-]+\.(so|pyd)")
METADATA = re.compile(r"fastinit_weights-[\w.]+\.dist-info/(METADATA|RECORD|WHEEL|licenses/LICENSE)")


def package() -> set[str]:
    """The files of the package, by their names in a wheel."""
    files = [path for path in PYTHON.rglob("*") if path.suffix in (".py", ".pyi", ".typed")]
    return {path.relative_to(PYTHON).as_posix() for path in files}


def problems(names: Iterable[str]) -> list[str]:
    """What is missing in a wheel with these files, and what should not be there."""
    names = set(names)
    extensions = {name for name in names if EXTENSION.fullmatch(name)}
    metadata = {match[1] for name in names if (match := METADATA.fullmatch(name))}
    found = [f"{name} is missing" for name in sorted(package() - names)]
    found += [f"{name} is missing" for name in sorted({"METADATA", "RECORD", "WHEEL", "licenses/LICENSE"} - metadata)]
    if len(extensions) != 1:
        found.append(f"there must be one extension module, and there are {len(extensions)}")
    others = names - package() - extensions
    return found + [f"{name} should not be there" for name in sorted(others) if not METADATA.fullmatch(name)]


def main() -> None:
    """Check each wheel of the command line."""
    for wheel in sys.argv[1:]:
        with zipfile.ZipFile(wheel) as archive:
            if found := problems(archive.namelist()):
                sys.exit("\n".join([f"{wheel}:", *found]))
        print(f"{wheel}: the package and nothing else")


if __name__ == "__main__":
    main()
