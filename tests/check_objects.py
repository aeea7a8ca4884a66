"""Checks what the compiler made, by binutils:

    python tests/check_objects.py BUILD_DIRECTORY_OR_FILE ...

Each target's kernels use instructions that a CPU may lack, and run only after that was asked. So
  - no other object file has an instruction above the architecture's baseline, no kernel object one above its target;
  - a kernel object defines one global symbol, its table, and no weak one: the linker keeps one copy of a weak function
    of many, and that could be the one with the wrong instructions;
  - a kernel object has no code that runs when the library is loaded.
The extension module shows its init function to the dynamic linker and nothing else, and needs no symbol but Python's
and those of libraries with versions.

Instructions are looked at in x86-64 objects only.
"""

from __future__ import annotations

import pathlib
import re
import subprocess
import sys

# Beyond SSE2: what begins with v or takes an AVX register; SSE3 to SSE4.2, AES, BMI, by name. (tzcnt is how objdump
# shows the bsf with a prefix that every CPU ignores which has no tzcnt.)
AVX = r"\bv(?!er[rw]\b)[a-z]\w*|%[yz]mm\d+|%k[0-7]\b"
NAMED = (
    r"\b(?:aes\w+|pclmul\w+|sha\w*(?:msg|rnds|nexte)\w*|popcnt|lzcnt|crc32\w*|pshufb|palignr|pabs[bwd]|psign[bwd]|"
    r"ph(?:add|sub)\w+|pmulhrsw|pmaddubsw|pmulld|pmuldq|p(?:min|max)(?:sb|uw|sd|ud)|pmov[sz]x\w+|pinsr[bdq]|pextr[bdq]|"
    r"pblend\w+|blend\w+|round[sp][sd]|ptest|pcmpeqq|pcmpgtq|packusdw|insertps|extractps|dpp[sd]|movddup|movs[hl]dup|"
    r"lddqu|mulx|s[ah]rx|shlx|rorx|andn|bextr|bls\w+|bzhi|pdep|pext|movbe|adcx|adox)\b"
)
ABOVE = {
    "baseline": re.compile(f"{AVX}|{NAMED}"),
    "avx2": re.compile(r"%zmm\d+|%k[0-7]\b|%[xy]mm(?:1[6-9]|2\d|3[01])\b|\bvaes\w+\s.*%ymm"),
    "avx2_vaes": re.compile(r"%zmm\d+|%k[0-7]\b|%[xy]mm(?:1[6-9]|2\d|3[01])\b"),
    "avx512": None,
}


def output(*command: str | pathlib.Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def instructions_above(object_file: pathlib.Path, target: str) -> list[str]:
    above = ABOVE[target]
    if above is None or "elf64-x86-64" not in output("objdump", "-f", object_file):
        return []
    found = []
    for line in output("objdump", "-d", "--no-show-raw-insn", object_file).splitlines():
        _, tab, instruction = line.partition("\t")
        if tab and above.search(instruction.partition("<")[0].partition("#")[0]):
            found.append(f"{object_file.name}: an instruction above {target}: {instruction}")
    return found[:5]


def symbols(file: pathlib.Path, *options: str) -> list[tuple[str, str]]:
    """Type as nm writes it, and name."""
    rows = [line.split() for line in output("nm", *options, file).splitlines()]
    return [(row[-2], row[-1]) for row in rows if len(row) >= 2]


def check_kernels(object_file: pathlib.Path, target: str) -> list[str]:
    shown = [
        (kind, name) for kind, name in symbols(object_file, "--defined-only") if not kind.islower() or kind in "wvu"
    ]
    wrong = [
        f"{object_file.name}: defines {name} ({kind}), though kernels show their table alone"
        for kind, name in shown
        if kind in "WwVvu" or f"kkernels{target.replace('_', '')}" not in name.lower()
    ]
    if len(shown) != 1:
        wrong.append(f"{object_file.name}: defines {len(shown)} global symbols, not 1")
    sections = output("objdump", "-h", object_file)
    if re.search(r"\.(init_array|ctors|preinit_array)", sections):
        wrong.append(f"{object_file.name}: has code that runs when the library is loaded")
    return wrong


def check_module(module: pathlib.Path) -> list[str]:
    shown = sorted(name for _, name in symbols(module, "-D", "--defined-only"))
    wrong = [] if shown == ["PyInit__core"] else [f"{module.name}: shows {len(shown)} symbols: {shown[:5]}"]
    for kind, name in symbols(module, "-D", "--undefined-only"):
        if kind == "U" and "@" not in name and not name.startswith(("Py", "_Py")):
            wrong.append(f"{module.name}: needs {name}, which nothing is known to have")
    return wrong


def check(file: pathlib.Path) -> list[str]:
    if file.suffix == ".so":
        return check_module(file)
    kernels = re.fullmatch(r"target_(\w+)\.cpp\.o", file.name)
    if kernels is None:
        return instructions_above(file, "baseline")
    target = kernels[1]
    return check_kernels(file, target) + instructions_above(file, target if target in ABOVE else "baseline")


def main(arguments: list[str]) -> int:
    files: list[pathlib.Path] = []
    for place in map(pathlib.Path, arguments):
        if place.is_dir():  # of its core and its extension, not of its tests
            files += sorted(file for file in place.glob("CMakeFiles/*/cpp/*/*.o") if file.parent.name != "tests")
            files += sorted(place.glob("_core*.so"))
        else:
            files.append(place)
    wrong = [line for file in files for line in check(file)]
    print(*wrong, f"{len(files)} files looked at, {len(wrong)} faults", sep="\n")
    return not files or bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
