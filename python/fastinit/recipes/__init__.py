"""Initialisation as data: which function with which arguments fills which parameter, and what moments to expect.

This file knows names, patterns and published recipes. It knows no framework: a parameter is a name and a shape, and an
array is whatever ``fastinit`` fills. The expected moments follow from the published formulas, not from the code that
fills, so that a report can hold one against the other.

    >>> import numpy as np
    >>> from fastinit.recipes import Initializer, match
    >>> recipe = {"*.bias": Initializer("zeros"), "*": Initializer("normal", {"std": 0.02})}
    >>> match(recipe, ["fc.weight", "fc.bias"])["fc.bias"]
    ('*.bias', Initializer('zeros'))
    >>> w = Initializer("normal", {"std": 0.02}).fill(np.empty(8, np.float32), seed=0, stream="fc.weight")
"""

from __future__ import annotations

import fnmatch
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import fastinit

from .. import initializers, structured
from .._arguments import shown, typed
from .._fans import read_shape

Shape: TypeAlias = Sequence[int]

# What a fill passes itself, and so no recipe may.
_COMMON = ("out", "seed", "stream", "global_shape", "offset", "threads", "bit_generator")
# The ways to say what the fans are: where a recipe has one of them, the layout stays out of it.
_FANS = ("fan_in", "fan_out", "layout", "in_axis", "out_axis", "batch_axis")
# How many dimensions an array without elements needs for a trial of the arguments alone. The others take any number,
# and 32 has room for all axes: it is the most that older NumPy has.
_DIMENSIONS = {"identity": 2, "orthogonal": 2, "sparse": 2, "dirac": 3}


@functools.cache
def _functions() -> dict[str, inspect.Signature]:
    """The functions of fastinit that fill an array of floats, and their signatures."""
    names = sorted({*initializers.__all__, *structured.__all__} - {"random_bits"})
    return {name: inspect.signature(getattr(fastinit, name)) for name in names}


# --- an initialiser -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Initializer:
    """A public function of fastinit and its keyword arguments, as data: comparable, picklable, checked when it is made.

    Args:
        function: the name of a function of fastinit that fills arrays: "normal", "he_normal", "constant", ...
        arguments: its keyword arguments, without those that each fill gives: out, seed, stream, global_shape, offset,
            threads, bit_generator. Without fans or axes of their own, functions that need fans read them from the shape.

    Raises:
        TypeError, ValueError: function is none of these; an argument is unknown, missing, or refused by the function.

    Example:
        >>> from fastinit.recipes import Initializer
        >>> Initializer("truncated_normal", {"std": 0.02}).moments((768, 768))[0]
        0.0
        >>> Initializer("normal", {"std": -1})
        Traceback (most recent call last):
        ...
        ValueError: Initializer('normal', {'std': -1}): std must be a finite number >= 0, got -1
    """

    function: str
    arguments: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check everything that can be checked without a shape."""
        if not isinstance(self.function, str):
            raise TypeError(f"function must be the name of a function of fastinit, got {typed(self.function)}")
        if self.function not in _functions():
            known = ", ".join(_functions())
            raise ValueError(f"function must be one of {known}; got {shown(self.function)}")
        if not isinstance(self.arguments, Mapping):
            raise TypeError(f"arguments must be a mapping of keyword arguments, got {typed(self.arguments)}")
        object.__setattr__(self, "arguments", dict(self.arguments))
        takes = _functions()[self.function].parameters
        allowed = [name for name in takes if name not in _COMMON]
        unknown = [name for name in self.arguments if name not in allowed]
        if unknown:
            raise ValueError(
                f"{self}: arguments of {self.function} in a recipe are {', '.join(allowed) or 'none'}; "
                f"got {', '.join(map(shown, unknown))}"
            )
        missing = [name for name in allowed if takes[name].default is takes[name].empty and name not in self.arguments]
        if missing:
            raise ValueError(f"{self}: {self.function} needs {', '.join(missing)}")
        self.check((0,) * _DIMENSIONS.get(self.function, 32), np.dtype(np.float64))

    def __repr__(self) -> str:
        """As it is made: ``Initializer('normal', {'std': 0.02})``."""
        return f"Initializer({self.function!r}{f', {self.arguments!r}' if self.arguments else ''})"

    def __str__(self) -> str:
        """As a call, in a few digits: ``normal(std=0.02)``."""
        values = {
            name: f"{value:.6g}" if isinstance(value, float) else repr(value) for name, value in self.arguments.items()
        }
        return f"{self.function}({', '.join(f'{name}={value}' for name, value in values.items())})"

    def _call(self, layout: str) -> dict[str, Any]:
        """The arguments of a call, with a layout where the function needs one."""
        if "layout" in _functions()[self.function].parameters and not any(name in self.arguments for name in _FANS):
            return {**self.arguments, "layout": layout}
        return dict(self.arguments)

    def fill(
        self,
        out: Any,
        *,
        seed: int,
        stream: int | str,
        global_shape: Shape | None = None,
        offset: Shape | None = None,
        layout: str = "torch",
        threads: int | None = None,
        bit_generator: str = "ars",
    ) -> Any:
        """Fill ``out``, whole or the box at ``offset`` of a tensor of ``global_shape``; returns it.

        ``layout`` says how fans are read from the shape where the recipe does not say it. For the other arguments and
        the errors: ``help(fastinit)``.
        """
        function: Callable[..., Any] = getattr(fastinit, self.function)
        return function(
            out,
            **self._call(layout),
            seed=seed,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=bit_generator,
        )

    def check(self, shape: Shape, dtype: Any, layout: str = "torch") -> None:
        """Raise what ``fill`` would raise for a tensor of this shape and dtype: fills a box of it without elements.

        (A tensor of no dimensions has one element and no smaller box: a scratch one is filled.)
        """
        nothing: NDArray[Any] = np.empty((0,) * len(shape), dtype)
        try:
            self.fill(nothing, seed=0, stream=0, global_shape=tuple(shape), offset=(0,) * len(shape), layout=layout)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{self!r}: {error}") from None

    def moments(self, shape: Shape, layout: str = "torch") -> tuple[float, float]:
        """Expected mean and standard deviation of the elements of a tensor of this (global) shape.

        From the definitions, before rounding to a dtype.
        """
        signature = _functions()[self.function]
        bound = signature.bind(None, **self._call(layout))
        bound.apply_defaults()
        formula = _MOMENTS[getattr(fastinit, self.function).__name__]  # of he_normal for its alias kaiming_normal
        return formula(bound.arguments, tuple(shape))


# --- expected moments -----------------------------------------------------------------------------------------------


def _constant(value: float) -> tuple[float, float]:
    return float(value), 0.0


def _uniform(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return (a["low"] + a["high"]) / 2, (a["high"] - a["low"]) / math.sqrt(12)


def _normal(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return float(a["mean"]), float(a["std"])


@functools.cache
def _nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(100)
    return nodes, weights


def _truncated_normal(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    """By quadrature on the part of the window that holds the mass.

    The textbook's difference quotients of the distribution function lose all digits in a far or a narrow window.
    """
    mean, std, low, high = float(a["mean"]), float(a["std"]), float(a["low"]), float(a["high"])
    absolute = a["bounds"] == "absolute"
    if std == 0.0:
        return (min(max(mean, low), high) if absolute else mean), 0.0
    if absolute:
        low, high = (low - mean) / std, (high - mean) / std
    peak = min(max(0.0, low), high)  # where the density is largest
    # Beyond the distance d with (|peak| + d)^2 - peak^2 = 83 it is less than e^-41 < 2^-59 of that.
    reach = 83.0 / (abs(peak) + math.sqrt(peak * peak + 83.0))
    start, end = max(low - peak, -reach), min(high - peak, reach)  # from the peak
    nodes, weights = _nodes()
    middle, half = (start + end) / 2, (end - start) / 2
    x = middle + half * nodes
    mass = weights * np.exp(-x * (peak + x / 2))  # the density at peak + x over that at the peak
    mass /= mass.sum()
    centre = float((mass - mass[::-1]) @ nodes) / 2  # the nodes are symmetric; exactly 0 if the window is
    spread = math.sqrt(float(mass @ (nodes - centre) ** 2))
    return mean + std * (peak + (middle + half * centre)), std * half * spread


def _scaled(a: Mapping[str, Any], shape: Shape, scale: float) -> tuple[float, float]:
    """Mean 0 and variance scale / n: all distributions of the family keep it, the truncated one by its correction."""
    if a.get("fan_in") is None and a.get("fan_out") is None:
        fan_in, fan_out = map(float, read_shape(tuple(shape), *(a.get(name) for name in _FANS[2:])))
    else:
        fan_in, fan_out = (float(a.get(name) or math.nan) for name in ("fan_in", "fan_out"))
    n = {
        "fan_in": fan_in,
        "fan_out": fan_out,
        "fan_avg": (fan_in + fan_out) / 2,
        "fan_geo": math.sqrt(fan_in * fan_out),
    }[a["mode"]]
    return 0.0, math.sqrt(scale / (n or 1.0))  # n = 0: no elements


def _xavier(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return _scaled({**a, "mode": "fan_avg"}, shape, float(a["gain"]) ** 2)


def _he(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    if a["gain"] is not None:
        gain = float(a["gain"])
    elif a["nonlinearity"] == "leaky_relu":
        gain = fastinit.calculate_gain("leaky_relu", a["a"])
    else:
        gain = fastinit.calculate_gain(a["nonlinearity"])
    return _scaled(a, shape, gain * gain)


def _lecun(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return _scaled({**a, "mode": "fan_in"}, shape, 1.0)


def _rare(value: float, n: int, shape: Shape) -> tuple[float, float]:
    """n elements of a tensor have the value, the others are 0."""
    share = n / (math.prod(shape) or 1)
    return value * share, abs(value) * math.sqrt(share * (1 - share))


def _identity(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    return _rare(float(a["gain"]), min(shape), shape)


def _dirac(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    n_out, n_in = shape[:2] if a["layout"] == "torch" else (shape[-1], shape[-2])
    return _rare(1.0, a["groups"] * min(n_out // a["groups"], n_in) * (0 not in shape), shape)


def _orthogonal(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    """The shorter side's vectors have length gain, over the longer side's elements."""
    cut = 1 if a["layout"] == "torch" else len(shape) - 1
    longer = max(math.prod(shape[:cut]), math.prod(shape[cut:]))
    return 0.0, abs(float(a["gain"])) / math.sqrt(longer or 1)


def _sparse(a: Mapping[str, Any], shape: Shape) -> tuple[float, float]:
    rows = shape[0] or 1
    return 0.0, float(a["std"]) * math.sqrt(1 - math.ceil(float(a["sparsity"]) * rows) / rows)


_MOMENTS: dict[str, Callable[[Mapping[str, Any], Shape], tuple[float, float]]] = {
    "constant": lambda a, shape: _constant(a["value"]),
    "zeros": lambda a, shape: _constant(0.0),
    "ones": lambda a, shape: _constant(1.0),
    "uniform": _uniform,
    "normal": _normal,
    "truncated_normal": _truncated_normal,
    "xavier_uniform": _xavier,
    "xavier_normal": _xavier,
    "he_uniform": _he,
    "he_normal": _he,
    "lecun_uniform": _lecun,
    "lecun_normal": _lecun,
    "variance_scaling": lambda a, shape: _scaled(a, shape, float(a["scale"])),
    "identity": _identity,
    "dirac": _dirac,
    "orthogonal": _orthogonal,
    "sparse": _sparse,
}


# --- recipes --------------------------------------------------------------------------------------------------------

Recipe: TypeAlias = Mapping[str, Initializer] | Sequence[tuple[str, Initializer]]
"""Patterns and initialisers, in order. A pattern is compared with the whole name of a parameter, as by
``fnmatch.fnmatchcase``: ``*`` is any text, with dots too, ``?`` one character, ``[abc]`` one of them. The first pattern
that matches has the parameter."""


def _pairs(recipe: object) -> list[tuple[str, Initializer]]:
    wanted = "recipe must be pairs of (pattern, Initializer), or a mapping from patterns to them"
    if isinstance(recipe, str) or not isinstance(recipe, Mapping | Sequence):
        raise TypeError(f"{wanted}, got {typed(recipe)}")
    pairs = list(recipe.items() if isinstance(recipe, Mapping) else recipe)
    for pair in pairs:
        if not (isinstance(pair, tuple | list) and len(pair) == 2):
            raise TypeError(f"{wanted}, got {typed(pair)} in it")
        if not (isinstance(pair[0], str) and isinstance(pair[1], Initializer)):
            raise TypeError(f"{wanted}, got {typed(pair[0])} with {typed(pair[1])} in it")
    return [(pattern, initializer) for pattern, initializer in pairs]


def _some(names: Iterable[str]) -> str:
    """A list for an error message: of many, the first ones."""
    names = list(names)
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def match(recipe: Recipe, names: Iterable[str]) -> dict[str, tuple[str, Initializer]]:
    """Which pattern and initialiser each parameter gets: the first that matches.

    Args:
        recipe: pairs of (pattern, Initializer), or a mapping.
        names: qualified names of the parameters.

    Returns:
        A dict from each name, in order, to its (pattern, Initializer).

    Raises:
        TypeError: recipe is neither pairs nor a mapping of these.
        ValueError: no pattern matches some parameter; or a pattern is no parameter's, since it matches none or since
            earlier patterns have all of them. The message names all of both.

    Example:
        >>> from fastinit.recipes import Initializer, match
        >>> match([("*.weigth", Initializer("zeros"))], ["fc.weight"])
        Traceback (most recent call last):
        ...
        ValueError: recipe: no pattern matches the parameters 'fc.weight'; no parameter matches the patterns '*.weigth'
    """
    pairs = _pairs(recipe)
    names = list(names)
    rules = [(pattern, initializer, re.compile(fnmatch.translate(pattern))) for pattern, initializer in pairs]
    found: dict[str, tuple[str, Initializer]] = {}
    used: set[int] = set()
    without: list[str] = []
    matches: set[int] = set()
    for name in names:
        hits = [i for i, (_, _, rule) in enumerate(rules) if rule.match(name)]
        matches.update(hits)
        if hits:
            used.add(hits[0])
            found[name] = rules[hits[0]][:2]
        else:
            without.append(name)
    problems = []
    if without:
        problems.append(f"no pattern matches the parameters {_some(without)}")
    nothing = [pattern for i, (pattern, _) in enumerate(pairs) if i not in matches]
    if nothing:
        problems.append(f"no parameter matches the patterns {_some(nothing)}")
    hidden = [pattern for i, (pattern, _) in enumerate(pairs) if i in matches - used]
    if hidden:
        problems.append(f"earlier patterns have all the parameters of {_some(hidden)}: put those first")
    if problems:
        raise ValueError(f"recipe: {'; '.join(problems)}")
    return found


def _zeros() -> Initializer:
    return Initializer("zeros")


def _ones() -> Initializer:
    return Initializer("ones")


def gpt2(n_layer: int, std: float = 0.02) -> Recipe:
    """GPT-2 with the names of transformers' ``GPT2LMHeadModel``: N(0, std), less on the residual paths.

    The projections that end a residual branch (c_proj) have std / sqrt(2 n_layer), biases are 0, norms are 1 and 0.

    Radford et al., "Language models are unsupervised multitask learners", 2019, section 2.3 (1 / sqrt(residual
    layers), of which a block has two), and transformers' ``GPT2PreTrainedModel._init_weights``. OpenAI's own code has
    std 0.01 for the position embeddings (wpe); transformers and this recipe have std.
    """
    return (
        ("*.c_proj.weight", Initializer("normal", {"std": std / math.sqrt(2 * n_layer)})),
        ("*ln_*.weight", _ones()),
        ("*.bias", _zeros()),
        ("*.weight", Initializer("normal", {"std": std})),
    )


def llama(std: float = 0.02, *, biases: bool = False) -> Recipe:
    """Llama with the names of transformers' ``LlamaForCausalLM``: N(0, std) everywhere, norms 1.

    ``biases``: whether there are any (``attention_bias``, ``mlp_bias``); they are 0.

    Touvron et al., "LLaMA", 2023, does not say how it initialises; this is transformers' ``LlamaPreTrainedModel``
    (``initializer_range``).
    """
    return (
        ("*norm.weight", _ones()),
        *((("*.bias", _zeros()),) if biases else ()),
        ("*.weight", Initializer("normal", {"std": std})),
    )


def vit(
    patch_fan_in: int,
    *,
    std: float = 0.02,
    class_token: bool = True,
    registers: bool = False,
    layer_scale: float | None = None,
) -> Recipe:
    """A vision transformer with the names and the default initialisation of timm's ``VisionTransformer``.

    Linear layers are N(0, std) cut at +-2 (as values, which cuts nothing), their biases 0, norms 1 and 0; position
    embeddings are N(0, std) cut likewise, the class token and the registers N(0, 1e-6). The patch embedding is
    PyTorch's default convolution: U(-b, b), b = 1 / sqrt(patch_fan_in), weights and biases.

    Args:
        patch_fan_in: channels times the area of a patch: 3 * 16 * 16 = 768 for patches of 16.
        std: of the linear layers and position embeddings.
        class_token: whether there is one (``cls_token``).
        registers: whether there are any (``reg_token``).
        layer_scale: the constant of the layer scales (``ls1.gamma``), None without them.

    Dosovitskiy et al., "An image is worth 16x16 words", 2021; timm's ``init_weights_vit_timm``.
    """
    cut = Initializer("truncated_normal", {"std": std, "bounds": "absolute"})
    token = Initializer("normal", {"std": 1e-6})
    bound = 1.0 / math.sqrt(patch_fan_in)
    return (
        *((("*cls_token", token),) if class_token else ()),
        *((("*reg_token", token),) if registers else ()),
        ("*pos_embed", cut),
        *((("*.gamma", Initializer("constant", {"value": layer_scale})),) if layer_scale is not None else ()),
        ("*patch_embed.proj.*", Initializer("uniform", {"low": -bound, "high": bound})),
        ("*norm*.weight", _ones()),
        ("*.bias", _zeros()),
        ("*.weight", cut),
    )


def resnet(fc_fan_in: int, *, zero_init_last: bool = False, bottleneck: bool = True) -> Recipe:
    """A residual network with the names of torchvision's and timm's ``ResNet``.

    Convolutions are he_normal on fan_out, batch norms 1 and 0, the last layer PyTorch's default: U(-b, b), b = 1 /
    sqrt(fc_fan_in), weights and biases.

    Args:
        fc_fan_in: inputs of the last layer: 2048 for ResNet-50.
        zero_init_last: 0 instead of 1 for the last norm of each block: timm's default, torchvision's
            ``zero_init_residual``.
        bottleneck: whether that norm is bn3 (ResNet-50 and deeper) or bn2.

    He, Zhang, Ren, Sun, "Delving deep into rectifiers", 2015; Goyal et al., "Accurate, large minibatch SGD", 2017, for
    zero_init_last; the code of torchvision and timm.
    """
    bound = 1.0 / math.sqrt(fc_fan_in)
    return (
        ("*fc.*", Initializer("uniform", {"low": -bound, "high": bound})),
        *(((f"*layer*.bn{3 if bottleneck else 2}.weight", _zeros()),) if zero_init_last else ()),
        ("*bn[123].weight", _ones()),
        ("*downsample.1.weight", _ones()),
        ("*.bias", _zeros()),
        ("*.weight", Initializer("he_normal", {"mode": "fan_out"})),
    )


RECIPES: dict[str, Callable[..., Recipe]] = {"gpt2": gpt2, "llama": llama, "vit": vit, "resnet": resnet}


def named(name: str, shapes: Mapping[str, Shape]) -> Recipe:
    """The shipped recipe of that name for a model with these parameters: depth, fans and options come from them.

    Args:
        name: one of ``RECIPES``.
        shapes: from the qualified name of each parameter to its (global) shape.

    Raises:
        TypeError, ValueError: name is none of these; the parameters are not those of such a model.
    """
    if not isinstance(name, str):
        raise TypeError(f"recipe must be one of {', '.join(map(repr, RECIPES))}, or a recipe; got {typed(name)}")
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(map(repr, RECIPES))}, or a recipe; got {shown(name)}")
    if name == "gpt2":
        blocks = {int(hit[1]) for hit in _groups(name, shapes, r"(?:.*\.)?h\.(\d+)\..*", "h.0.ln_1.weight")}
        if blocks != set(range(len(blocks))):
            raise ValueError(
                f"recipe 'gpt2' needs all of the model's blocks, since their number is in its values; got only "
                f"{_some(f'h.{block}' for block in sorted(blocks))}: give fastinit.recipes.gpt2(number of blocks)"
            )
        return gpt2(len(blocks))
    if name == "llama":
        return llama(biases=any(parameter.endswith(".bias") for parameter in shapes))
    if name == "vit":
        patch = _groups(name, shapes, r".*patch_embed\.proj\.weight", "patch_embed.proj.weight")[0][0]
        return vit(
            math.prod(shapes[patch][1:]),
            class_token=any(parameter.endswith("cls_token") for parameter in shapes),
            registers=any(parameter.endswith("reg_token") for parameter in shapes),
        )
    last = _groups(name, shapes, r"(?:.*\.)?fc\.weight", "fc.weight")[0][0]
    return resnet(math.prod(shapes[last][1:]))


def _groups(recipe: str, names: Iterable[str], pattern: str, example: str) -> list[re.Match[str]]:
    """The names that a shipped recipe reads something from."""
    names = list(names)
    found = [hit for name in names if (hit := re.fullmatch(pattern, name))]
    if not found:
        raise ValueError(f"recipe {recipe!r} needs parameters such as {example!r}, got {_some(names) or 'none'}")
    return found
