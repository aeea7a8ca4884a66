"""The demo: fill all parameters of GPT-2 small and ResNet-50 by their published recipes, check the moments, and compare
the speed with NumPy's and PyTorch's on the same memory.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import fastinit
from fastinit.recipes import Initializer, Recipe
from fastinit.recipes._named import assign

from . import peers, picture
from .laws import Law, law
from .progress import progress
from .shapes import Shapes, gpt2, resnet50

__all__ = ["DTYPES", "NETWORKS", "Network", "add_arguments", "main", "run"]

DTYPES = ("float32", "float64", "float16", "bfloat16")
LIMIT = 5.0  # standard errors; a normal quantity is beyond them once in 1.7 million times
WIDTH = 80  # columns of a line at most; with --verbose:
VERBOSE_WIDTH = 102


class Network(NamedTuple):
    """A published network."""

    title: str
    source: str  # of names, shapes and recipe
    shapes: Callable[[], Shapes]
    recipe: Recipe | str  # or the name of a shipped one


NETWORKS = {
    "gpt2": Network(
        "GPT-2 small",
        'Radford et al., "Language models are unsupervised multitask learners", 2019. Names, shapes and recipe are '
        "those of transformers' GPT2LMHeadModel and its _init_weights. lm_head.weight is tied to "
        "transformer.wte.weight and not listed.",
        gpt2,
        "gpt2",
    ),
    "resnet50": Network(
        "ResNet-50",
        'He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015. Names, shapes and recipe are '
        "those of torchvision's resnet50 with its default, zero_init_residual=False: bn3.weight is 1. (timm's "
        "default is 0.)",
        resnet50,
        "resnet",
    ),
}


# --- filling --------------------------------------------------------------------------------------------------------


class Filled(NamedTuple):
    """A parameter."""

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    expected: Law
    mean: float
    std: float

    @property
    def n(self) -> int:
        """How many values it has."""
        return math.prod(self.shape)

    @property
    def off(self) -> tuple[float, float]:
        """How far its mean and std are from the expected ones, in standard errors."""
        return self.expected.deviations(self.mean, self.std, self.n)


Kinds = dict[str, list[Filled]]  # the parameters that each pattern of a recipe is for


class Race:
    """One buffer, which each parameter is filled into by fastinit and its peers; and their seconds so far."""

    def __init__(self, largest: int, *, dtype: str, seed: int, threads: int | None) -> None:
        self.buffer = fastinit.zeros(fastinit.empty(largest, dtype))  # touched here: no page fault is timed below
        self._peers = peers.installed(self.buffer, seed)
        most = threads or fastinit.get_num_threads()
        self.names = [f"fastinit, {most} thread{'s' * (most > 1)} at most", *(peer.name for peer in self._peers)]
        self.seconds = [0.0] * len(self.names)
        self._seed, self._threads = seed, threads

    def fill(self, name: str, shape: tuple[int, ...], initializer: Initializer) -> Filled:
        """By fastinit, and measure the values."""
        out = self.buffer[: math.prod(shape)].reshape(shape)
        start = time.perf_counter()
        initializer.fill(out, seed=self._seed, stream=name, threads=self._threads)
        self.seconds[0] += time.perf_counter() - start
        found = fastinit.summary(out, threads=self._threads)
        return Filled(name, shape, initializer, law(initializer, shape), found.mean, found.std)

    def others(self, filled: Filled) -> None:
        """The same law by the peers."""
        for i, peer in enumerate(self._peers, 1):
            start = time.perf_counter()
            peer.fill(filled.n, filled.expected)
            self.seconds[i] += time.perf_counter() - start


def fill(
    race: Race, network: Network, shapes: Shapes, advance: Callable[[int], object]
) -> Iterator[tuple[str, Filled]]:
    """Each parameter with its pattern, while the buffer has its values."""
    for name, (pattern, initializer) in assign(network.recipe, shapes, None, None).items():
        assert isinstance(initializer, Initializer)
        filled = race.fill(name, shapes[name], initializer)
        yield pattern, filled
        race.others(filled)
        advance(filled.n)


# --- what is printed ------------------------------------------------------------------------------------------------


def short(n: int) -> str:
    """A number of values: 38.6 M."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return str(n)


def together(kind: Sequence[Filled]) -> tuple[float, float, float, float]:
    """Mean and std, expected and measured, of all values of the kind in one."""

    def pooled(moments: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
        n = sum(n for n, _, _ in moments)
        mean = sum(n * mean for n, mean, _ in moments) / n
        return mean, math.sqrt(sum(n * (std**2 + (each - mean) ** 2) for n, each, std in moments) / n)

    expected = [(each.n, each.expected.mean, each.expected.std) for each in kind]
    return *pooled(expected), *pooled([(each.n, each.mean, each.std) for each in kind])


def row(name: str, size: str, kind: Sequence[Filled], widths: tuple[int, int]) -> str:
    """A line of the table, for a parameter or for a kind of them."""
    off = max(max(each.off) for each in kind)
    exact = off == 0.0 and all(each.expected.form == "constant" for each in kind)
    mean, std, found_mean, found_std = together(kind)
    first, second = widths
    return (
        f"{name:<{first}} {size:>{second}}  {kind[0].initializer.function:<9} {mean:>4g} {std:>8.6f} {found_mean:>9.6f}"
        f" {found_std:>8.6f} {'exact' if exact else f'{off:.1f}':>6}"
    )


def print_network(network: Network, kinds: Kinds, widths: tuple[int, int], *, verbose: bool) -> None:
    """A line for each kind of parameter; and if verbose, one for each parameter below."""
    parameters = [each for kind in kinds.values() for each in kind]
    print(f"{network.title}: {len(parameters)} arrays, {sum(each.n for each in parameters):,} parameters")
    if verbose:
        print(textwrap.fill(network.source, VERBOSE_WIDTH, initial_indent="  ", subsequent_indent="  "))
    for pattern, kind in kinds.items():
        print(row(pattern, short(sum(each.n for each in kind)), kind, widths))
        if verbose:
            print(f"  {kind[0].initializer}")
            for each in kind:
                print(row(f"  {each.name}", "x".join(map(str, each.shape)), [each], widths))


def print_speed(race: Race, n: int) -> None:
    """A line for each library: n values, all parameters of all networks."""
    print(f"\n{'all of this, in one warm buffer':<45} {'seconds':>8} {'10^9 values/s':>14}")
    for i, (name, seconds) in enumerate(zip(race.names, race.seconds, strict=True)):
        ratio = f" {f'x {seconds / race.seconds[0]:.1f}':>9}" if i else ""
        print(f"  {name:<43} {seconds:>8.4f} {n / seconds / 1e9:>14.3f}{ratio}")


def run(
    networks: Sequence[Network],
    *,
    seed: int,
    threads: int | None,
    dtype: str,
    verbose: bool = False,
    plot: bool = False,
) -> tuple[bool, list[picture.Panel]]:
    """Fill the networks and print what came of it: whether all moments are within LIMIT, and what to plot."""
    shapes = [network.shapes() for network in networks]
    sizes = [math.prod(shape) for tensors in shapes for shape in tensors.values()]
    found: list[Kinds] = []
    panels: list[picture.Panel] = []
    with progress(sum(sizes), sys.stderr) as advance:
        race = Race(max(sizes), dtype=dtype, seed=seed, threads=threads)
        for network, tensors in zip(networks, shapes, strict=True):
            kinds: Kinds = {}
            drawn: dict[str, picture.Panel] = {}  # of each kind that varies, its largest
            for pattern, filled in fill(race, network, tensors, advance):
                kind = kinds.setdefault(pattern, [])
                if plot and filled.expected.form != "constant" and all(filled.n > other.n for other in kind):
                    title = f"{filled.name}: {filled.n:,} values\n{filled.initializer}"
                    drawn[pattern] = picture.histogram(title, race.buffer[: filled.n], filled.expected)
                kind.append(filled)
            found.append(kinds)
            panels += drawn.values()

    first, second = widths = (37, 13) if verbose else (20, 7)
    print(f"fastinit {fastinit.__version__}: {dtype}, seed {seed}; each parameter has the stream of its name\n")
    print(f"{'':{first + second + 12}} {'expected':>13} {'measured':>18}")
    print(
        f"{'parameters':<{first}} {'values':>{second}}  {'function':<9} {'mean':>4} {'std':>8} {'mean':>9} {'std':>8} "
        "off by"
    )
    for network, kinds in zip(networks, found, strict=True):
        print_network(network, kinds, widths, verbose=verbose)
    off = [x for kinds in found for kind in kinds.values() for filled in kind for x in filled.off]
    inside = sum(x <= LIMIT for x in off)
    words = f"{inside} of {len(off)} moments within {LIMIT:g} standard errors of the recipe's (off by)"
    print(f"{words}; worst {max(off):.1f}")
    print_speed(race, sum(sizes))
    return inside == len(off), panels


# --- the command ----------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--models", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="default: all of them")
    parser.add_argument("--seed", type=int, default=0, help="0 .. 2^64-1, default 0")
    parser.add_argument("--threads", type=int, help="at most this many threads; default: fastinit.get_num_threads()")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default float32; bfloat16 needs ml_dtypes")
    parser.add_argument(
        "--verbose", action="store_true", help="a line for each parameter, and where the recipes are from"
    )
    parser.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw a histogram of the largest parameter of each kind against its law; needs matplotlib",
    )


def main(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run the demo; 0 if all moments of all models are within LIMIT."""
    seed, threads, dtype, file = options.seed, options.threads, options.dtype, options.plot
    try:
        fastinit.zeros(fastinit.empty(0, dtype), seed=seed, threads=threads)
        if file:
            picture.check(file)
    except (ValueError, ImportError) as error:
        parser.error(str(error))
    networks = [NETWORKS[name] for name in options.models]
    good, panels = run(
        networks, seed=seed, threads=threads, dtype=dtype, verbose=options.verbose, plot=file is not None
    )
    if file:
        try:
            picture.draw(panels, f"{' and '.join(network.title for network in networks)}, {dtype}, seed {seed}", file)
        except OSError as error:
            parser.error(f"--plot {file}: {error.strerror}")
        print(f"histograms: {file}")
    elif not options.verbose:
        print("--verbose lists each parameter, --plot FILE draws histograms against the laws")
    return 0 if good else 1
