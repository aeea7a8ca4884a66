"""Real models as their users build them: with PyTorch alone, with `fastinit.torch.accelerate`, and by `init_module`.

The first two run the same code, and the same wrappers take the time that both spend in initialisers (stopwatch.py).
What they drew is compared parameter by parameter, untimed. Every model is built anew and freed after the clock has
stopped, so most of its memory is fresh: the initialiser that comes first pays for the clearing of pages, on all sides.
Right before each build as much memory and a quarter is touched, on huge pages, and freed: a virtual machine gives free
pages back to its host, and whoever takes them first would pay for that, too (cold.py).
"""

from __future__ import annotations

import importlib
import math
import statistics
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import fastinit

from . import cold, peers
from .clock import Names, Ratio, Row, Table, failed
from .moments import Moments, of_model, worst
from .rows import installed
from .stopwatch import Reading, Stopwatch, overhead

KINDS = _WALL, _INSIDE, _MEMORY = ("construction", "in initialisers", "memory alone, of the parameters")
_ROUNDS = 3  # PyTorch takes several seconds for each

Build = Callable[[], Any]
Touch = Callable[[], object]


class Way:
    """One way to build a model: two rows, its last build, and what was seen of its first."""

    def __init__(
        self, row: Row, inside: str, names: Names, build: Build, touch: Touch, *, watched: bool = True
    ) -> None:
        self.model: Any = None
        self.counts: Any = None  # what `accelerate` gives
        self.stopwatch = Stopwatch()
        self.first: Reading | None = None
        self.inside_seconds: list[float] = []
        self.moments: dict[str, Moments] = {}
        self.row = row
        self.inside = row.inside(_INSIDE, inside, lambda: self.stopwatch.reading.seconds)
        self._names = names
        self._build = build
        self._touch = touch
        self._watched = watched
        self._threads = fastinit.get_num_threads()
        row.bind, row.before, row.after = self._bind, self._before, self._after

    def make(self) -> Any:
        """What the timed statements call."""
        self.model = None
        self.stopwatch.reading = Reading()
        return self._build()

    def _bind(self, _: int) -> tuple[Names, int]:
        return {"way": self, **self._names}, self.row.n

    def _before(self) -> None:
        self._touch()
        self._threads = fastinit.get_num_threads()
        if self.row.threads:
            fastinit.set_num_threads(self.row.threads)
        self.stopwatch.count = self.first is None
        if self._watched:
            self.stopwatch.start()

    def _after(self) -> None:
        self.stopwatch.stop()
        fastinit.set_num_threads(self._threads)
        self.inside_seconds.append(self.stopwatch.reading.seconds)
        if self.first is None and not self.row.error:
            self.first = self.stopwatch.reading
            self.inside.n = self.first.values or self.row.n
            self.moments = of_model(self.model.named_parameters())
        self.model = None


def _table(name: str, title: str, build: Build, recipe: Any, threads: int) -> Table:
    torch = peers.library("torch")
    adapter = importlib.import_module("fastinit.torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of their imports
        # Now whatever is imported late is there, before the stopwatch looks through modules.
        with torch.device("meta"):
            shapes = [tuple(parameter.shape) for parameter in build().parameters()]
    n = sum(map(math.prod, shapes))

    def touch() -> None:
        cold.fresh(5 * n).fill(1)

    def zeros() -> object:
        return [torch.empty(shape).zero_() for shape in shapes]

    def huge_pages() -> None:
        cold.fresh(4 * n).fill(1)

    def row(who: str, name: str, code: str) -> Row:
        count = threads if who == "fastinit" else None
        return Row(who, _WALL, name, code, lambda _: ({}, n), 4, count, parts=1, n=n)

    def timed(*args: Any, **kwargs: Any) -> Any:
        return by_recipe.stopwatch.wrapped(adapter.init_module, draws=False)(*args, **kwargs)

    theirs = Way(row("torch", "torch", "way.model = way.make()"), "torch", {}, build, touch)
    ours = Way(
        row("fastinit", "accelerate", "with accelerate(seed=0) as way.counts: way.model = way.make()"),
        "accelerate",
        {"accelerate": adapter.accelerate},
        build,
        touch,
    )
    code = "with device('meta'): way.model = way.make()\ninit_module(way.model, recipe, seed=0, report=False)"
    by_recipe = Way(
        row("fastinit", "meta device, init_module", code),
        "all of init_module",
        {"device": torch.device, "init_module": timed, "recipe": recipe},
        build,
        touch,
        watched=False,  # on the meta device they do nothing
    )
    ways = (theirs, ours, by_recipe)

    def memory(name: str, code: str) -> Row:
        names = {"zeros": zeros, "huge_pages": huge_pages}
        return Row("limit", _MEMORY, name, code, lambda _: (names, n), 4, parts=1, before=touch)

    def ratio(kind: str, top: Row, bottom: Row) -> Ratio:
        return Ratio(f"{name}, {kind}, {top.name} / {bottom.name}, time", top, [bottom], "time")

    each_call = overhead()
    return Table(
        name,
        f"{title}: {n:,} parameters in {len(shapes)} tensors, with and without fastinit",
        None,
        [
            *(way.row for way in ways),
            *(way.inside for way in ways),
            memory("torch.empty, zero_, each parameter", "w = zeros()"),
            memory("huge pages, in one piece, 1 thread", "huge_pages()"),
        ],
        [ratio(_WALL, theirs.row, way.row) for way in ways[1:]]
        + [ratio(_INSIDE, theirs.inside, way.inside) for way in ways[1:]],
        most_rounds=_ROUNDS,
        note=lambda: list(_notes(theirs, ours, by_recipe, each_call)),
        where="torch",
    )


def _notes(theirs: Way, ours: Way, by_recipe: Way, each_call: float) -> Iterator[str]:
    """What was seen in the first builds, and what the wrappers cost."""
    for way in (theirs, ours, by_recipe):
        first, name = way.first, way.row.name
        if first is None or way.row.error:
            continue
        if first.values:
            yield (
                f"{name}: {first.calls} calls of initialisers. {first.random_calls} of them draw: {first.values:,} "
                f"values, {first.values / way.row.n:.2f} for each parameter, in "
                f"{100 * first.random_seconds / first.seconds:.1f} % of that time"
            )
            share = each_call * first.calls / statistics.median(way.inside_seconds)
            yield f"{name}: the stopwatch takes {each_call * 1e9:.0f} ns a call, {100 * share:.2g} % of that time"
        if way.counts is not None:
            done, passed = way.counts.calls, way.counts.passed
            yield f"{name}: fastinit did {done} of {done + passed} random calls, {way.counts.elements:,} values"
        yield (
            f"{name}: {first.user:.3g} s of CPU in that time and {first.system:.3g} s of system, with "
            f"{first.page_faults:,} page faults"
        )
        if way is not theirs and theirs.moments:
            yield f"{name}, by {theirs.row.name}: {worst(way.moments, theirs.moments)}"


# --- the models -----------------------------------------------------------------------------------------------------


def tables_of(needs: str, name: str, table: Callable[[], Table]) -> Iterator[Table]:
    """In PyTorch's process, if these libraries are installed; the heading says if they are not."""
    try:
        if peers.library("torch") and installed(needs):
            yield table()
    except Exception as error:  # whatever a library may raise
        yield Table(name, f"{needs}'s model", None, [failed("torch", _WALL, needs, error)], where="torch")


def load_torchvision() -> None:
    """transformers and timm import it, if it is there."""
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        pass
    except RuntimeError:  # built for CUDA, beside a torch without it: all that models need of these are declarations
        torch = importlib.import_module("torch")
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")


def _transformers(config: str, **arguments: Any) -> Build:
    load_torchvision()
    transformers = importlib.import_module("transformers")
    configuration = getattr(transformers, config)(**arguments)
    return lambda: transformers.AutoModelForCausalLM.from_config(configuration)


def gpt2(threads: int, shrink: int) -> Iterator[Table]:
    """Between GPT-2 large (36 layers of 1280) and XL (48 of 1600)."""
    shape = {"n_layer": 36, "n_embd": 1536, "n_head": 24}
    if shrink > 1:
        shape = {"n_layer": 2, "n_embd": 96, "n_head": 4, "vocab_size": 1000, "n_positions": 64}
        shape |= {"bos_token_id": 1, "eos_token_id": 2}

    def table() -> Table:
        title = f"transformers GPT-2, {shape['n_layer']} layers of {shape['n_embd']}, from_config"
        return _table("gpt2", title, _transformers("GPT2Config", **shape), "gpt2", threads)

    return tables_of("transformers", "gpt2", table)


def llama(threads: int, shrink: int) -> Iterator[Table]:
    """The shape of Llama 3.2 1B."""
    shape = {"num_hidden_layers": 16, "hidden_size": 2048, "intermediate_size": 8192, "vocab_size": 128256}
    heads = {"num_attention_heads": 32, "num_key_value_heads": 8}
    if shrink > 1:
        shape = {"num_hidden_layers": 2, "hidden_size": 96, "intermediate_size": 256, "vocab_size": 1000}
        heads = {"num_attention_heads": 6, "num_key_value_heads": 2}

    def table() -> Table:
        title = f"transformers Llama, {shape['num_hidden_layers']} layers of {shape['hidden_size']}, from_config"
        build = _transformers("LlamaConfig", **shape, **heads, tie_word_embeddings=True)
        return _table("llama", title, build, "llama", threads)

    return tables_of("transformers", "llama", table)


def _timm(model: str, **arguments: Any) -> Build:
    load_torchvision()
    timm = importlib.import_module("timm")
    return lambda: timm.create_model(model, **arguments)


def vit(threads: int, shrink: int) -> Iterator[Table]:
    shape = {"depth": 2, "embed_dim": 96, "num_heads": 4} if shrink > 1 else {}

    def table() -> Table:
        title = f"timm ViT-L/16{f', {shape}' if shape else ''} (truncated normals)"
        return _table("vit", title, _timm("vit_large_patch16_224", **shape), "vit", threads)

    return tables_of("timm", "vit", table)


def resnet(threads: int, shrink: int) -> Iterator[Table]:
    shape: dict[str, Any] = {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64)} if shrink > 1 else {}

    def table() -> Table:
        fan_in = 4 * shape.get("channels", (512,))[-1]
        recipe = importlib.import_module("fastinit.recipes").resnet(fan_in, zero_init_last=True)
        title = f"timm ResNet-50{f', {shape}' if shape else ''}"
        return _table("resnet", title, _timm("resnet50", **shape), recipe, threads)

    return tables_of("timm", "resnet", table)
