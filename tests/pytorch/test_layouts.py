"""Promise: fans are what the module's type makes of a shape, or the recipe says; what neither knows is refused."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fastinit

torch = pytest.importorskip("torch")

from test_module import rank_of  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import fastinit.torch  # noqa: E402
from fastinit.recipes import Initializer, Recipe, computed  # noqa: E402
from fastinit.torch import FastInitReader, init_module  # noqa: E402
from fastinit.torch._fans import _with  # noqa: E402

BOTH = Initializer("variance_scaling", mode="fan_geo")
ONES: Recipe = {"*": Initializer("ones")}


class InOut(nn.Module):
    """A linear layer that multiplies from the left, as transformers' Conv1D and many of one's own."""

    def __init__(self, n_in: int, n_out: int, names: tuple[str, str] = ("in_features", "out_features")) -> None:
        super().__init__()
        setattr(self, names[0], n_in)
        setattr(self, names[1], n_out)
        self.weight = nn.Parameter(torch.empty(n_in, n_out))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Transposed(nn.Linear):
    """A linear layer that keeps its weight transposed, as LoRA's for GPT-2 does."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, bias=False)
        self.weight = nn.Parameter(torch.empty(n_in, n_out))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def pruned() -> nn.Linear:
    """Two of five outputs were taken away, and the attributes stayed."""
    layer = nn.Linear(7, 5, bias=False)
    layer.weight = nn.Parameter(torch.empty(3, 7))
    return layer


def materialised() -> Any:
    layer = nn.LazyConv2d(6, 3, groups=2, bias=False)
    layer(torch.ones(1, 4, 9, 9))
    return layer


def fill(module: nn.Module, recipe: Recipe = ONES) -> Any:
    return init_module(module, recipe, seed=0)


# --- the definition of fans, measured -------------------------------------------------------------------------------

N = 9  # the length of an image: its middle is further from the edges than any kernel reaches

LAYERS: dict[str, tuple[Callable[[], Any], tuple[tuple[int, ...], ...]]] = {
    "linear": (lambda: nn.Linear(7, 3, bias=False), ((7,),)),
    "lazy": (materialised, ((4, N, N),)),
    "pruned": (pruned, ((7,),)),
    "(in, out)": (lambda: InOut(7, 3), ((7,),)),
    "Conv1D": (lambda: InOut(7, 3, ("nx", "nf")), ((7,),)),
    "transposed": (lambda: Transposed(7, 3), ((7,),)),
    "bilinear": (lambda: nn.Bilinear(3, 3, 4, bias=False), ((3,), (3,))),
    "conv1d": (lambda: nn.Conv1d(6, 4, 3, bias=False), ((6, N),)),
    "conv2d": (lambda: nn.Conv2d(6, 4, (3, 5), padding=1, bias=False), ((6, N, N),)),
    "conv3d": (lambda: nn.Conv3d(6, 4, 3, groups=2, bias=False), ((6, N, N, N),)),
    "grouped": (lambda: nn.Conv1d(6, 4, 3, groups=2, bias=False), ((6, N),)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8, bias=False), ((8, N, N),)),
    "multiplier": (lambda: nn.Conv2d(4, 12, 3, groups=4, bias=False), ((4, N, N),)),
    "transposed1d": (lambda: nn.ConvTranspose1d(6, 4, 3, bias=False), ((6, N),)),
    "transposed2d": (lambda: nn.ConvTranspose2d(6, 4, (3, 5), groups=2, bias=False), ((6, N, N),)),
    "transposed3d": (lambda: nn.ConvTranspose3d(2, 4, 3, groups=2, bias=False), ((2, N, N, N),)),
}


def fans(layer: Any, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, int]:
    """How many inputs an output has, and how many outputs an input: in the middle, with weights of one."""
    inputs = [torch.ones(1, *shape, requires_grad=True) for shape in shapes]
    for parameter in layer.parameters():
        parameter.detach().fill_(1)
    out = layer(*inputs)
    out.sum().backward()
    grad = inputs[0].grad
    assert grad is not None
    middle = out[0, 0], grad[0, 0]
    n_in, n_out = (int(x[tuple(n // 2 for n in x.shape)]) for x in middle)
    return n_in, n_out


@pytest.mark.parametrize("name", LAYERS)
def test_fans_are_the_inputs_and_outputs_that_meet(name: str) -> None:
    build, inputs = LAYERS[name]
    layer = build()
    fan_in, fan_out = fans(layer, inputs)
    (row,) = fill(layer, {"weight": BOTH}).rows
    assert row.initializer == Initializer("variance_scaling", mode="fan_geo", fan_in=fan_in, fan_out=fan_out)
    assert row.expected_std == pytest.approx((fan_in * fan_out) ** -0.25)
    wanted = fastinit.variance_scaling(
        np.empty(row.shape, np.float32), mode="fan_geo", fan_in=fan_in, fan_out=fan_out, seed=0, stream="weight"
    )
    assert np.array_equal(layer.weight.detach().numpy(), wanted)


@pytest.mark.parametrize(
    ("initializer", "used"),
    [
        (Initializer("he_normal"), {"fan_in": 12}),
        (Initializer("he_uniform", mode="fan_out", a=1), {"mode": "fan_out", "a": 1, "fan_out": 6}),
        (Initializer("he_normal", mode="fan_avg"), {"mode": "fan_avg", "fan_in": 12, "fan_out": 6}),
        (Initializer("lecun_normal", truncated=True), {"truncated": True, "fan_in": 12}),
        (Initializer("xavier_uniform"), {"fan_in": 12, "fan_out": 6}),
        (Initializer("glorot_normal", gain=2.0), {"gain": 2.0, "fan_in": 12, "fan_out": 6}),
        (Initializer("variance_scaling"), {"fan_in": 12}),
        (Initializer("he_normal", fan_in=None, layout=None), {"fan_in": 12, "layout": None}),
        # What says it itself stays as it is, and so does what needs no fans.
        (Initializer("he_normal", layout="torch", mode="fan_out"), None),
        (Initializer("he_normal", layout="keras"), None),
        (Initializer("he_normal", in_axis=0, out_axis=(1, 2)), None),
        (Initializer("he_normal", fan_in=3), None),
        (Initializer("normal", std=0.02), None),
    ],
    ids=str,
)
def test_each_function_gets_the_fans_that_it_needs(initializer: Initializer, used: dict[str, Any] | None) -> None:
    layer = nn.Conv1d(8, 4, 3, groups=2, bias=False)
    (row,) = fill(layer, {"*": initializer}).rows
    filled = initializer if used is None else Initializer(initializer.function, used)
    assert row.initializer == filled
    assert (row.expected_mean, row.expected_std) == filled.moments((4, 4, 3))
    wanted = filled.fill(np.empty((4, 4, 3), np.float32), seed=0, stream="weight")
    assert np.array_equal(layer.weight.detach().numpy(), wanted)


def test_a_depthwise_convolution_gets_the_std_of_its_nine_outputs() -> None:
    """torch's own functions read 4608 from the shape: 0.0208."""
    conv = nn.Conv2d(512, 512, 3, groups=512, bias=False)
    (row,) = fill(conv, {"*": Initializer("he_normal", mode="fan_out")}).rows
    assert row.expected_std == pytest.approx(math.sqrt(2 / 9))
    assert row.measured_std == pytest.approx(math.sqrt(2 / 9), rel=5 / math.sqrt(2 * 4608))
    (row,) = fill(conv, {"*": Initializer("he_normal", mode="fan_out", layout="torch")}).rows
    assert row.expected_std == pytest.approx(math.sqrt(2 / 4608))


# --- several matrices in one ----------------------------------------------------------------------------------------

PACKED: list[tuple[Callable[[], nn.Module], dict[str, tuple[int, int]]]] = [
    (
        lambda: nn.LSTM(5, 8, num_layers=2, bidirectional=True),
        {
            "weight_ih_l0": (5, 8),
            "weight_hh_l0": (8, 8),
            "weight_ih_l1_reverse": (16, 8),
            "weight_hh_l1_reverse": (8, 8),
        },
    ),
    (
        lambda: nn.LSTM(5, 8, num_layers=2, proj_size=3),
        {"weight_ih_l0": (5, 8), "weight_hh_l0": (3, 8), "weight_hr_l0": (8, 3), "weight_ih_l1": (3, 8)},
    ),
    (lambda: nn.GRU(5, 8), {"weight_ih_l0": (5, 8), "weight_hh_l0": (8, 8)}),
    (lambda: nn.RNN(5, 8), {"weight_ih_l0": (5, 8), "weight_hh_l0": (8, 8)}),
    (lambda: nn.LSTMCell(5, 8), {"weight_ih": (5, 8), "weight_hh": (8, 8)}),
    (lambda: nn.GRUCell(5, 8), {"weight_ih": (5, 8), "weight_hh": (8, 8)}),
    (lambda: nn.RNNCell(5, 8), {"weight_ih": (5, 8), "weight_hh": (8, 8)}),
    (lambda: nn.MultiheadAttention(8, 2), {"in_proj_weight": (8, 8), "out_proj.weight": (8, 8)}),
    (
        lambda: nn.MultiheadAttention(8, 2, kdim=3, vdim=5),
        {"q_proj_weight": (8, 8), "k_proj_weight": (3, 8), "v_proj_weight": (5, 8)},
    ),
]


@pytest.mark.parametrize(("build", "wanted"), PACKED, ids=lambda value: "" if callable(value) else ",".join(value))
def test_fans_are_those_of_one_matrix_where_several_are_packed(
    build: Callable[[], nn.Module], wanted: dict[str, tuple[int, int]]
) -> None:
    rows = {row.name: row.initializer for row in fill(build(), {"*bias*": Initializer("zeros"), "*": BOTH}).rows}
    for name, (fan_in, fan_out) in wanted.items():
        assert rows[name] == Initializer("variance_scaling", mode="fan_geo", fan_in=fan_in, fan_out=fan_out), name


# --- transformers ---------------------------------------------------------------------------------------------------


def test_the_conv1d_of_transformers_is_in_out() -> None:
    kind: Any = pytest.importorskip("transformers.pytorch_utils").Conv1D
    layer = kind(nf=12, nx=768)  # as 3 * n_embd and n_embd
    report = fill(layer, {"weight": Initializer("he_normal"), "bias": Initializer("zeros")})
    assert report.rows[0].initializer == Initializer("he_normal", fan_in=768)


# --- refusals -------------------------------------------------------------------------------------------------------


def holding(*shape: int) -> nn.Module:
    module = nn.Module()
    module.w = nn.Parameter(torch.full(shape, 7.0))
    return module


class Experts(nn.Module):
    """As transformers stacks them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.full((4, 256, 64), 7.0))


def tied(one: Any, other: Any) -> nn.Module:
    other.weight = one.weight
    return nn.ModuleDict({"one": one, "other": other})


HE = Initializer("he_normal")
AXES = "give in_axis= and out_axis= (with batch_axis= for independent copies, such as experts), layout=, or the fans"
REFUSED: list[tuple[Callable[[], nn.Module], Initializer, str]] = [
    (Experts, HE, "parameter 'gate_up_proj' of shape (4, 256, 64): Initializer('he_normal'): its module's type, "
     f"Experts, does not say how its shape is read: {AXES}"),
    (lambda: holding(3, 4), HE, f"its module's type, Module, does not say how its shape is read: {AXES}"),
    (lambda: nn.Embedding(5, 4), HE, f"its module's type, Embedding, does not say how its shape is read: {AXES}"),
    (lambda: holding(5), HE, "Initializer('he_normal'): a vector has no fans: use an initialiser without fans, such as "
     "zeros, or say what they are"),
    (lambda: holding(), HE, "Initializer('he_normal'): a scalar has no fans: "),
    (lambda: tied(nn.Linear(6, 3, bias=False), InOut(3, 6)), HE,
     "the modules that share it read its shape differently, Linear (fans 6, 3) and InOut (fans 3, 6): " + AXES),
    (lambda: InOut(3, 6, ("in_features", "other")), HE, "its module's type, InOut, does not say"),
    (lambda: nn.Bilinear(3, 2, 4, bias=False), Initializer("xavier_normal"),
     "Initializer('xavier_normal'): Bilinear has two inputs and no single fan_out: " + AXES),
    (lambda: holding(3, 4, 5), Initializer("orthogonal"), "Initializer('orthogonal'): its module's type, Module, does "
     "not say how its shape is read: give layout='torch' or layout='keras'"),
    (lambda: nn.Conv2d(4, 4, 3, groups=2, bias=False), Initializer("orthogonal"), "Initializer('orthogonal') makes one "
     "matrix, and this Conv2d has 2 of them, its groups: give layout='torch' for one matrix of them all"),
    (lambda: holding(3, 4, 5), Initializer("dirac"), "Initializer('dirac'): its module's type, Module, does not say"),
    (lambda: nn.Bilinear(3, 3, 4, bias=False), Initializer("dirac"), "('dirac'): Bilinear is no convolution: give"),
    (lambda: nn.Linear(3, 4, bias=False), Initializer("dirac"), "shape must have 3, 4 or 5 dimensions, got (4, 3)"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "initializer", "words"), REFUSED, ids=[row[2][-60:] for row in REFUSED])
def test_what_nobody_says_is_refused(build: Callable[[], nn.Module], initializer: Initializer, words: str) -> None:
    module = nn.ModuleDict({"first": nn.Linear(2, 2), "bad": build()})
    before = [parameter.detach().clone() for parameter in module.parameters()]
    recipe = {"first.*": Initializer("ones"), "*": initializer}
    words = words.replace("parameter '", "parameter 'bad.")
    with pytest.raises(ValueError, match=re.escape(words)):
        init_module(module, recipe, seed=0)
    with pytest.raises(ValueError, match=re.escape(words)):
        FastInitReader(module, recipe, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "build", [lambda: nn.MultiheadAttention(8, 2), lambda: nn.LSTM(8, 8), lambda: nn.Conv1d(8, 8, 3)]
)
def test_of_what_a_subclass_adds_its_type_says_nothing(build: Callable[[], Any]) -> None:
    layer = build()
    layer.table = nn.Parameter(torch.full((31, 2), 7.0))  # as of relative positions
    with pytest.raises(ValueError, match=re.escape(f", does not say how its shape is read: {AXES}")):
        fill(layer, {"table": HE, "*": Initializer("ones")})
    assert (layer.table == 7).all()


def test_a_state_dict_has_no_modules_that_could_say_it() -> None:
    state = nn.Linear(3, 4, bias=False).state_dict()
    with pytest.raises(ValueError, match=re.escape(f"no module says how its shape is read: {AXES}")):
        FastInitReader(state, {"*": HE}, seed=0)
    FastInitReader(state, {"*": Initializer("he_normal", layout="torch")}, seed=0)


def test_a_stack_of_experts_with_its_axes() -> None:
    recipe = {"*": Initializer("he_normal", in_axis=2, out_axis=1, batch_axis=0)}
    (row,) = fill(Experts(), recipe).rows
    assert row.expected_std == pytest.approx(math.sqrt(2 / 64))
    assert row.measured_std == pytest.approx(math.sqrt(2 / 64), rel=5 / math.sqrt(2 * 4 * 256 * 64))


# --- several names, other memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [lambda a, b: tied(a, b), lambda a, b: tied(b, a)], ids=["first", "last"])
def test_of_a_tied_weight_whoever_knows_says_it(build: Any) -> None:
    for other in (nn.Embedding(6, 4), nn.Linear(4, 6, bias=False), InOut(6, 4, ("nx", "other"))):
        (row,) = fill(build(nn.Linear(4, 6, bias=False), other), {"*": HE}).rows
        assert row.initializer == Initializer("he_normal", fan_in=4)


@pytest.mark.parametrize("linear_first", [False, True])
def test_of_views_of_one_memory_each_module_reads_its_own_shape(linear_first: bool) -> None:
    conv, linear = nn.Conv2d(4, 6, 1, bias=False), nn.Linear(4, 6, bias=False)
    conv.weight = nn.Parameter(linear.weight.detach().view(6, 4, 1, 1))
    (row,) = fill(nn.ModuleList([linear, conv][:: 1 if linear_first else -1]), {"*": HE}).rows
    assert len(row.tied) == 1
    assert row.initializer == Initializer("he_normal", fan_in=4)


def test_tensors_without_elements() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        layers = nn.Linear(0, 3, bias=False), nn.Linear(3, 0, bias=False)
    for layer in layers:
        (row,) = fill(layer, {"*": BOTH}).rows
        assert row.n == 0


def test_many_layers_cost_one_description() -> None:
    _with.cache_clear()
    fill(nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(20))), {"*": HE})
    assert _with.cache_info().misses == 1


# --- matrices with structure ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_dirac_passes_the_inputs_on_whatever_the_groups(kind: Any, groups: int) -> None:
    layer = kind(4, 4, 3, groups=groups, padding=1, bias=False)
    (row,) = fill(layer, {"*": Initializer("dirac")}).rows
    assert row.initializer == Initializer("dirac", groups=groups, layout="torch")
    x = torch.randn(2, 4, 5, 5)
    assert torch.equal(layer(x), x)
    own = Initializer("dirac", groups=1)
    assert fill(layer, {"*": own}).rows[0].initializer == Initializer("dirac", groups=1, layout="torch")


def test_orthogonal_of_a_convolution_and_of_a_matrix() -> None:
    conv = nn.Conv2d(3, 4, 3, bias=False)
    (row,) = fill(conv, {"*": Initializer("orthogonal")}).rows
    assert row.initializer == Initializer("orthogonal", layout="torch")
    matrix = conv.weight.detach().reshape(4, 27).double()
    assert torch.allclose(matrix @ matrix.T, torch.eye(4).double(), atol=1e-6)
    (row,) = fill(holding(3, 4), {"*": Initializer("orthogonal")}).rows  # both layouts are one
    assert row.initializer == Initializer("orthogonal")
    conv, linear = nn.Conv2d(4, 6, 1, bias=False), nn.Linear(4, 6, bias=False)
    linear.weight = nn.Parameter(conv.weight.detach().view(6, 4))  # which says less of it
    (row,) = fill(nn.ModuleList([conv, linear]), {"*": Initializer("dirac")}).rows
    assert row.initializer == Initializer("dirac", groups=1, layout="torch")
    grouped = nn.Conv2d(4, 4, 3, groups=2, bias=False)
    (row,) = fill(grouped, {"*": Initializer("orthogonal", layout="torch")}).rows
    assert row.initializer == Initializer("orthogonal", layout="torch")


# --- rows of padding ------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    """An embedding with a row of padding, and a head that shares its weight."""

    def __init__(self, dtype: Any = None) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 4, padding_idx=3, dtype=dtype)
        self.head = nn.Linear(4, 10, bias=False, dtype=dtype)
        self.head.weight = self.embed.weight


class Scaled(nn.Module):
    """An embedding that does not come from PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim, self.padding_idx = 10, 4, 3
        self.weight = nn.Parameter(torch.empty(10, 4))


def arange(out: Any, *, offset: Any, **_: Any) -> None:
    out[...] = 1 + offset[0] + np.arange(len(out))[:, None]


NORMAL = Initializer("normal", mean=1.0, std=0.5)
PADDED: dict[str, Callable[[], nn.Module]] = {
    "embedding": lambda: nn.Embedding(10, 4, padding_idx=3),
    "negative": lambda: nn.Embedding(10, 4, padding_idx=-7),
    "bag": lambda: nn.EmbeddingBag(10, 4, padding_idx=3),
    "not PyTorch's": Scaled,
    "tied": Tied,
    "bfloat16": lambda: Tied(torch.bfloat16),
}


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize("value", [NORMAL, Initializer("ones"), computed(arange)], ids=str)
@pytest.mark.parametrize("meta", [False, True])
@pytest.mark.parametrize("packages", [True, False])
def test_the_row_of_padding_is_zero(
    name: str, value: Any, meta: bool, packages: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not packages:  # bfloat16 goes another way without ml_dtypes
        monkeypatch.setattr("fastinit.torch._tensor._of_ml_dtypes", lambda name: None)
    with torch.device("meta" if meta else "cpu"):
        module = PADDED[name]()
    (row,) = fill(module, {"*": value}).rows
    found = next(module.parameters()).detach()
    wanted = value.fill(np.empty((10, 4), np.float32), seed=0, stream=row.name)
    if name == "bfloat16":
        assert found.dtype is torch.bfloat16
        wanted = torch.from_numpy(wanted).bfloat16().float().numpy() if value != NORMAL else found.float().numpy()
    keep = np.arange(10) != 3
    assert not found[3].any()
    assert np.array_equal(found.float().numpy()[keep], wanted[keep])
    assert row.padding_idx == 3
    assert row.measured_mean == pytest.approx(found.double().mean().item())


def test_the_report_says_which_row_is_padding_and_expects_it() -> None:
    embed = nn.Embedding(4, 50_000, padding_idx=1)
    report = fill(embed, {"*": NORMAL})
    assert "\nweight: row 1 is padding, and 0\n" in str(report) + "\n"
    (row,) = report.rows
    # A quarter is 0, the rest N(1, 0.5).
    assert row.expected_mean == pytest.approx(0.75)
    assert row.expected_std == pytest.approx(math.sqrt(0.75 * (0.25 + 1) - 0.75**2))
    assert row.measured_mean == pytest.approx(row.expected_mean, abs=5 * 0.5 / math.sqrt(150_000))
    assert row.measured_std == pytest.approx(row.expected_std, abs=5 * 0.5 / math.sqrt(150_000))
    plain = fill(nn.Embedding(4, 3), {"*": NORMAL})
    assert plain.rows[0].padding_idx is None
    assert "padding" not in str(plain)


def test_a_row_of_padding_that_cannot_be() -> None:
    one = nn.Embedding(10, 4, padding_idx=9)
    one.weight = nn.Parameter(torch.empty(5, 4))  # a smaller vocabulary
    with pytest.raises(ValueError, match=r"padding_idx of its Embedding is 9, which is no row of the shape \(5, 4\)"):
        fill(one)
    one.padding_idx = 5  # the first that is none
    with pytest.raises(ValueError, match=r"is 5, which is no row of the shape \(5, 4\)"):
        fill(one)
    other: Any = nn.Linear(4, 5, bias=False)
    other.padding_idx = 3  # of labels, perhaps: nothing says that it is an embedding
    assert fill(other).rows[0].padding_idx is None
    flat: Any = nn.Module()
    flat.embed = nn.Embedding(10, 4, padding_idx=1)
    flat.w = nn.Parameter(flat.embed.weight.detach().view(20, 2))  # of which the embedding's row is two
    with pytest.raises(ValueError, match=r"padding_idx of its Embedding is 1, which is no row of the shape \(20, 2\)"):
        fill(flat)
    several = tied(nn.Embedding(10, 4, padding_idx=1), nn.Embedding(10, 4, padding_idx=0))
    with pytest.raises(ValueError, match="the embeddings that share it have different rows of padding, 1, 0"):
        fill(several)
    assert fill(tied(nn.Embedding(10, 4, padding_idx=1), nn.Embedding(10, 4))).rows[0].padding_idx == 1
    last: Any = tied(nn.Embedding(10, 4, padding_idx=9), nn.Embedding(10, 4, padding_idx=9))
    last.other.padding_idx = -1  # the same row
    assert fill(last).rows[0].padding_idx == 9


# --- on meshes, and by the reader -----------------------------------------------------------------------------------


class Model(Tied):
    """Something of everything that a module knows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 3, groups=4)
        self.up = nn.ConvTranspose1d(8, 4, 3)
        self.rnn = nn.GRU(4, 4)
        self.table = nn.Parameter(torch.empty(10, 4))


MODEL: Recipe = {"*bias*": Initializer("zeros"), "table": computed(arange), "*": BOTH}


def load(module: nn.Module) -> None:
    import torch.distributed.checkpoint as dcp

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        dcp.load(  # type: ignore[attr-defined]
            module.state_dict(), storage_reader=FastInitReader(module, MODEL, seed=0), no_dist=True
        )


def test_pieces_are_cut_from_what_the_module_says() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard

    def by_last(parameter: Any) -> Any:
        return Shard(parameter.dim() - 1) if parameter.shape[-1] % 4 == 0 else None

    whole = Model()
    fill(whole, MODEL)
    state = whole.state_dict()
    for how, rank in itertools.product((None, by_last), range(4)):
        with rank_of(rank, 4):
            mesh = init_device_mesh("cpu", (4,))
            parts, loaded = Model(), Model()
            for module in (parts, loaded):
                fully_shard(module, mesh=mesh, shard_placement_fn=how)
            rows = {row.name: row for row in fill(parts, MODEL).rows}
            load(loaded)
            for module in (parts, loaded):
                for name, tensor in module.state_dict().items():
                    (placement,) = tensor.placements
                    piece = state[name].chunk(4, placement.dim)[rank : rank + 1]
                    assert all(torch.equal(tensor.to_local(), each) for each in piece), name
            assert rows["embed.weight"].padding_idx == 3
            assert rows["conv.weight"].initializer == Initializer(
                "variance_scaling", mode="fan_geo", fan_in=6, fan_out=6
            )


def test_the_reader_of_a_module_fills_as_init_module() -> None:
    expected, loaded = Model(), Model()
    fill(expected, MODEL)
    load(loaded)
    assert not loaded.embed.weight[3].any()
    for name, tensor in expected.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
