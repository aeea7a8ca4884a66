"""The names and shapes of the parameters of the architectures that have a shipped recipe: the whole list of each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .._arguments import few
from ._moments import Shape

__all__ = ["ARCHITECTURES", "Architecture", "Fit"]


class Line(NamedTuple):
    """A name, with # for the number of a block, and the shapes that it may have."""

    name: str
    shapes: tuple[tuple[str, ...], ...]


def _lines(text: str) -> tuple[Line, ...]:
    """A line is a name and its sizes; "|" stands between two ways to write the shape.

    A letter is one size, the same wherever it stands; 3D is three times that; 1 is 1; * is any.
    """
    found = []
    for line in text.strip().splitlines():
        name, *sizes = line.split()
        found.append(Line(name, tuple(tuple(way.split()) for way in " ".join(sizes).split("|"))))
    return tuple(found)


class Fit(NamedTuple):
    """The parameters of a model that fits."""

    prefix: str  # what stands before all names
    shapes: dict[str, Shape]  # by the names of the list


class Architecture:
    """The list of an architecture.

    ``required`` is there in every model; its first line is what the others are found by. Of a group in ``optional``,
    all lines are there, in every block, or none; of one in ``in_blocks``, all or none of a block. ``heads`` are groups
    of a model that has its body under one of the names ``bodies``.
    """

    def __init__(
        self,
        models: str,
        required: str,
        *,
        optional: Sequence[str] = (),
        in_blocks: Sequence[str] = (),
        bodies: Sequence[str] = (),
        heads: Sequence[str] = (),
        model_types: Sequence[str] = (),
        classes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.models = models
        self.required = _lines(required)
        self.optional = tuple(map(_lines, optional))
        self.in_blocks = tuple(map(_lines, in_blocks))
        self.bodies = tuple(bodies)
        self.heads = tuple(map(_lines, heads))
        self.model_types = tuple(model_types)  # of transformers' configs
        self.classes = classes or {}  # of timm and torchvision, those of modules that have parameters

    def fit(self, shapes: Mapping[str, Shape]) -> Fit | str:
        """The parameters in the words of this list, or what does not fit."""
        anchor = self.required[0].name
        before = [name.removesuffix(anchor) for name in shapes if f".{name}".endswith(f".{anchor}")]
        if not before:
            return f"missing: {anchor!r}" + (f"; unknown: {few(list(map(repr, shapes)), 3)}" if shapes else "")
        inner = min(before, key=len)
        bodies = [body for body in self.bodies if f".{inner}".endswith(f".{body}")]
        prefix = inner.removesuffix(bodies[0]) if bodies else inner
        body = {name.removeprefix(inner): name for name in shapes if name.startswith(inner)}
        head = {name.removeprefix(prefix): name for name in shapes if bodies and name.startswith(prefix)}

        @functools.cache
        def expanded(name: str) -> list[str]:
            """The names that a line stands for: as many as there are blocks, by the numbers of them."""
            stem, number, rest = name.partition("#")
            return [f"{stem}{index}{rest}" for index in range(max(1, blocks(stem)))] if number else [name]

        @functools.cache
        def blocks(stem: str) -> int:
            return len({local[len(stem) :].partition(".")[0] for local in body if local.startswith(stem)})

        groups = [(inner, body, group) for group in (self.required, *self._present(body, expanded))]
        groups += [(prefix, head, group) for group in self.heads if any(line.name in head for line in group)]

        found: dict[str, Shape] = {}
        known: set[str] = set()
        missing, misshapen = [], []
        sizes: dict[str, int] = {}
        for start, names, group in groups:
            for line in group:
                for local in expanded(line.name):
                    if local not in names:
                        missing.append(repr(start + local))
                        continue
                    name = names[local]
                    known.add(name)
                    found[local] = shape = tuple(shapes[name])
                    if not any(_agrees(way, shape, sizes) for way in line.shapes):
                        misshapen.append(f"{name!r} with {shape}")
        strangers = [repr(name) for name in shapes if name not in known]
        problems = {"unknown": strangers, "missing": missing, "of another shape": misshapen}
        if any(problems.values()):
            return "; ".join(f"{what}: {few(names, 3)}" for what, names in problems.items() if names)
        return Fit(prefix, found)

    def _present(self, body: Mapping[str, str], expanded: Callable[[str], list[str]]) -> Iterator[tuple[Line, ...]]:
        """The groups of the body of which there is something, each with the names that it must then have."""
        for group in self.optional:
            if any(local in body for line in group for local in expanded(line.name)):
                yield group
        for group in self.in_blocks:
            for names in zip(*(expanded(line.name) for line in group), strict=True):
                if any(name in body for name in names):
                    yield tuple(line._replace(name=name) for line, name in zip(group, names, strict=True))


def _agrees(way: Sequence[str], shape: Shape, sizes: dict[str, int]) -> bool:
    """Whether a shape is as described, where letters stand for these sizes; those that are new are written there."""
    if len(way) != len(shape):
        return False
    new: dict[str, int] = {}
    for token, size in zip(way, shape, strict=True):
        if token == "*":
            continue
        letter = token.lstrip("0123456789")
        factor = int(token.removesuffix(letter) or 1)
        whole = factor * ({**sizes, **new}.setdefault(letter, size // factor) if letter else 1)
        if whole != size:
            return False
        if letter:
            new[letter] = size // factor
    sizes.update(new)
    return True


# --- the lists ------------------------------------------------------------------------------------------------------

# Conv1D of transformers is (in, out), a linear layer (out, in). GPTBigCode's c_attn may have less than 3 D rows.
_GPT2 = Architecture(
    "transformers' GPT-2 and GPTBigCode, and nanoGPT",
    """
    wte.weight               V D
    wpe.weight               * D
    h.#.ln_1.weight          D
    h.#.attn.c_attn.weight   D 3D | * D
    h.#.attn.c_proj.weight   D D
    h.#.ln_2.weight          D
    h.#.mlp.c_fc.weight      D F | F D
    h.#.mlp.c_proj.weight    F D | D F
    ln_f.weight              D
    """,
    optional=[
        """
        h.#.ln_1.bias         D
        h.#.attn.c_attn.bias  *
        h.#.attn.c_proj.bias  D
        h.#.ln_2.bias         D
        h.#.mlp.c_fc.bias     F
        h.#.mlp.c_proj.bias   D
        ln_f.bias             D
        """
    ],
    bodies=["transformer."],
    heads=[
        "lm_head.weight V D",
        "score.weight * D",
        "classifier.weight * D \n classifier.bias *",
        "qa_outputs.weight * D \n qa_outputs.bias *",
        "multiple_choice_head.summary.weight * D \n multiple_choice_head.summary.bias *",
    ],
    model_types=["gpt2", "gpt_bigcode"],
)

_LLAMA = Architecture(
    "transformers' Llama, and the models that share its names and its initialisation",
    """
    embed_tokens.weight                       V D
    layers.#.self_attn.q_proj.weight          Q D
    layers.#.self_attn.k_proj.weight          K D
    layers.#.self_attn.v_proj.weight          K D
    layers.#.self_attn.o_proj.weight          D Q
    layers.#.mlp.gate_proj.weight             F D
    layers.#.mlp.up_proj.weight               F D
    layers.#.mlp.down_proj.weight             D F
    layers.#.input_layernorm.weight           D
    layers.#.post_attention_layernorm.weight  D
    norm.weight                               D
    """,
    optional=[
        """
        layers.#.self_attn.q_proj.bias  Q
        layers.#.self_attn.k_proj.bias  K
        layers.#.self_attn.v_proj.bias  K
        """,
        "layers.#.self_attn.o_proj.bias D",
        """
        layers.#.mlp.gate_proj.bias  F
        layers.#.mlp.up_proj.bias    F
        layers.#.mlp.down_proj.bias  D
        """,
    ],
    bodies=["model.", "transformer."],
    heads=[
        "lm_head.weight V D",
        "score.weight * D",
        "score.bias *",
        "qa_outputs.weight * D \n qa_outputs.bias *",
    ],
    model_types=(
        "llama mistral qwen2 cwm ernie4_5 granite helium ministral ministral3 seed_oss smollm3".split()  # noqa: SIM905
    ),
)

# A gated MLP has the same names, but its fc1 has two times the rows.
_VIT = Architecture(
    "timm's VisionTransformer",
    """
    patch_embed.proj.weight   D * * *
    pos_embed                 1 * D
    blocks.#.norm1.weight     D
    blocks.#.attn.qkv.weight  3D D
    blocks.#.attn.proj.weight D D
    blocks.#.norm2.weight     D
    blocks.#.mlp.fc1.weight   F D
    blocks.#.mlp.fc2.weight   D F
    """,
    optional=[
        "patch_embed.proj.bias D",
        "cls_token 1 1 D",
        "reg_token 1 * D",
        "blocks.#.norm1.bias D \n blocks.#.norm2.bias D",
        "blocks.#.attn.qkv.bias 3D",
        "blocks.#.attn.proj.bias D",
        "blocks.#.mlp.fc1.bias F \n blocks.#.mlp.fc2.bias D",
        "blocks.#.attn.q_norm.weight * \n blocks.#.attn.k_norm.weight *",
        "blocks.#.attn.q_norm.bias * \n blocks.#.attn.k_norm.bias *",
        "blocks.#.attn.norm.weight D",
        "blocks.#.attn.norm.bias D",
        "blocks.#.mlp.norm.weight F",
        "blocks.#.mlp.norm.bias F",
        "blocks.#.ls1.gamma D \n blocks.#.ls2.gamma D",
        *(f"{norm}.weight D" for norm in ("patch_embed.norm", "norm_pre", "norm", "fc_norm")),
        *(f"{norm}.bias D" for norm in ("patch_embed.norm", "norm_pre", "norm", "fc_norm")),
        "head.weight * D \n head.bias *",
    ],
    classes={
        "timm": ["VisionTransformer", "PatchEmbed", "Block", "Attention", "Mlp", "LayerScale", "LayerNorm", "RmsNorm"],
    },
)


def _norm(name: str) -> str:
    return f"{name}.weight * \n {name}.bias *"


def _statistics(norms: Sequence[str]) -> list[str]:
    """The buffers of batch norms, which are in a state dict too; and what counts the batches."""
    running = "\n".join(f"{norm}.running_mean * \n {norm}.running_var *" for norm in norms)
    return [running, "\n".join(f"{norm}.num_batches_tracked" for norm in norms)]


_STAGES = ("layer1.#", "layer2.#", "layer3.#", "layer4.#")
_RESNET = Architecture(
    "torchvision's and timm's ResNet",
    "\n".join(
        [
            "conv1.weight * * * *",
            _norm("bn1"),
            *(f"{stage}.conv{i}.weight * * * * \n {_norm(f'{stage}.bn{i}')}" for stage in _STAGES for i in (1, 2)),
            "fc.weight N F \n fc.bias N",
        ]
    ),
    optional=[
        "\n".join(f"{stage}.conv3.weight * * * * \n {_norm(f'{stage}.bn3')}" for stage in _STAGES),
        *_statistics(["bn1", *(f"{stage}.bn{i}" for stage in _STAGES for i in (1, 2))]),
        *_statistics([f"{stage}.bn3" for stage in _STAGES]),
    ],
    in_blocks=[
        group
        for stage in _STAGES
        for group in (
            f"{stage}.downsample.0.weight * * * * \n {_norm(f'{stage}.downsample.1')}",
            *_statistics([f"{stage}.downsample.1"]),
        )
    ],
    classes={
        "timm": ["ResNet", "BasicBlock", "Bottleneck", "GroupNorm"],
        "torchvision": ["ResNet", "BasicBlock", "Bottleneck"],
    },
)

ARCHITECTURES = {"gpt2": _GPT2, "llama": _LLAMA, "vit": _VIT, "resnet": _RESNET}
