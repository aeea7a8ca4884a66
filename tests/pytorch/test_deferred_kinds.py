"""Promise: each kind of module and parameter is made as its own code has it, or refused by name before any write."""

from __future__ import annotations

import collections
import copy
import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from conftest import library

torch = pytest.importorskip("torch")

from test_deferred import Weight, drawn, equal, made  # noqa: E402
from test_mesh import fake  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.distributed.tensor import Shard, distribute_tensor  # noqa: E402
from torch.nn.utils import parametrizations, parametrize, prune  # noqa: E402

from fastinit.recipes import Initializer  # noqa: E402
from fastinit.torch import deferred, init_module  # noqa: E402
from fastinit.torch._sharding import boxes  # noqa: E402

F: Any = nn.functional
old: Any = nn.utils
norms: Any = parametrizations
pruning: Any = prune
# The norms of torch.nn.utils, what PEFT asks of transformers.
pytestmark = pytest.mark.filterwarnings(r"ignore:`.*` is deprecated:FutureWarning")


class Held(nn.Module):
    """What a function makes, as a parameter or a buffer."""

    def __init__(self, make: Callable[[], Tensor], kind: str = "parameter") -> None:
        super().__init__()
        value = make()
        if kind == "parameter":
            self.weight = nn.Parameter(value, value.is_floating_point() or value.is_complex())
        else:
            self.register_buffer("weight", value)


def normal(*shape: int, stream: str = "weight") -> Tensor:
    return drawn("normal", shape, stream)


def same(one: Tensor, other: Tensor) -> None:
    """The same bits."""
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    one, other = (tensor.detach().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other))
    assert torch.equal(one, other)


# --- types of elements ----------------------------------------------------------------------------------------------


def packed(values: Tensor) -> Tensor:
    """Two numbers of 4 bits in a byte."""
    bits = (values * 4 + 8).clamp(0, 15).to(torch.uint8)
    both: Tensor = bits[:, ::2] << 4 | bits[:, 1::2]
    return both


def parts(real: Callable[[], Tensor]) -> Tensor:
    value: Tensor = torch.empty(6, 4, dtype=torch.complex64)
    value.real.copy_(real())
    value.imag.zero_()
    return value


def doubled(values: Tensor) -> Tensor:
    """By its conjugate transposed, a part of which is made imaginary."""
    value: Tensor = torch.view_as_complex(values)
    value.mH[1:].mul_(2j)
    return value


KINDS: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
    "int64": (lambda: torch.arange(24).reshape(6, 4), lambda: torch.arange(24).reshape(6, 4)),
    "bool": (lambda: torch.ones(6, 4).tril().bool(), lambda: torch.ones(6, 4).tril().bool()),
    "bool of a draw": (lambda: torch.randn(6, 4) > 0, lambda: normal(6, 4) > 0),
    "int8": (
        lambda: (torch.randn(6, 4) * 50).round().clamp(-128, 127).to(torch.int8),
        lambda: (normal(6, 4) * 50).round().clamp(-128, 127).to(torch.int8),
    ),
    "4 bits": (lambda: packed(torch.randn(6, 8)), lambda: packed(normal(6, 8))),
    "uint16": (lambda: torch.full((6, 4), 7, dtype=torch.uint16), lambda: torch.full((6, 4), 7, dtype=torch.uint16)),
    "complex64": (
        lambda: torch.view_as_complex(torch.randn(6, 4, 2)) * 0.5,
        lambda: torch.view_as_complex(normal(6, 4, 2)) * 0.5,
    ),
    "complex128": (
        lambda: torch.complex(torch.randn(6, 4), torch.randn(6, 4)).to(torch.complex128),
        lambda: torch.complex(normal(6, 4), normal(6, 4, stream="weight#2")).to(torch.complex128),
    ),
    "polar": (
        lambda: torch.polar(torch.ones(6, 4), torch.randn(6, 4)),
        lambda: torch.polar(torch.ones(6, 4), normal(6, 4)),
    ),
    "complex constant": (lambda: torch.full((6, 4), 1 + 2j), lambda: torch.full((6, 4), 1 + 2j)),
    "complex parts": (lambda: parts(lambda: torch.randn(6, 4)), lambda: parts(lambda: normal(6, 4))),
    "complex zeros": (
        lambda: torch.zeros(6, 4, dtype=torch.complex64),
        lambda: torch.zeros(6, 4, dtype=torch.complex64),
    ),
    "conjugate": (
        lambda: torch.view_as_complex(torch.randn(6, 4, 2)).conj(),
        lambda: torch.view_as_complex(normal(6, 4, 2)).conj().resolve_conj(),
    ),
    "conjugate, written": (lambda: doubled(torch.randn(6, 4, 2)), lambda: doubled(normal(6, 4, 2))),
    "negative": (
        lambda: torch.view_as_complex(torch.randn(6, 4, 2)).conj().imag * 2,
        lambda: torch.view_as_complex(normal(6, 4, 2)).conj().imag * 2,
    ),
    "float8": (lambda: torch.randn(6, 4).to(torch.float8_e4m3fn), lambda: normal(6, 4).to(torch.float8_e4m3fn)),
    "float8_e5m2": (
        lambda: torch.empty(6, 4, dtype=torch.float8_e5m2).copy_(torch.randn(6, 4) * 2),
        lambda: (normal(6, 4) * 2).to(torch.float8_e5m2),
    ),
    "float8 constant": (
        lambda: torch.empty(6, 4, dtype=torch.float8_e4m3fn).fill_(1.5),
        lambda: torch.full((6, 4), 1.5).to(torch.float8_e4m3fn),
    ),
    "a number": (lambda: torch.tensor(7).clone() + torch.ones((), dtype=torch.int64), lambda: torch.tensor(8)),
}


@pytest.mark.parametrize("holder", ["parameter", "buffer"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_type_of_elements(kind: str, holder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastinit.torch._recorded._SLAB", 36)  # slabs of two rows
    make, wanted = KINDS[kind]
    model = made(lambda: Held(make, holder))
    same(model.weight, wanted())
    assert isinstance(model.weight, nn.Parameter) == (holder == "parameter")


@pytest.mark.parametrize("kind", ["int8", "complex64", "float8", "bool of a draw"])
def test_any_type_of_elements_on_any_mesh(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uneven: 6 rows on 4 processes. The digests of the pieces add up to that of the whole."""
    monkeypatch.setattr("fastinit.torch._report._SLAB", 5)
    make, wanted = KINDS[kind]
    with deferred(0) as plan:
        model = Held(make)
    whole: Any = plan.materialize(model)
    total = 0
    for rank in range(4):
        with fake(rank, 4):
            mesh = init_device_mesh("cpu", (4,))
            with deferred(0) as plan:
                model = Held(make)
            cut = distribute_tensor(model.weight, mesh, [Shard(0)], src_data_rank=None)
            model.weight = nn.Parameter(cut, model.weight.requires_grad)
            report: Any = plan.materialize(model)
            _, held = boxes(model.weight)
        for piece, offset in held:
            same(piece, wanted()[tuple(slice(o, o + n) for o, n in zip(offset, piece.shape, strict=True))])
        total += report.rows[0].digest
    assert total % 2**64 == whole.rows[0].digest


def test_what_is_measured_of_them() -> None:
    with deferred(0) as plan:
        model = nn.ModuleDict({name: Held(KINDS[name][0]) for name in ("int8", "complex64", "float8", "bool")})
    report = plan.materialize(model)
    assert report.digest is not None
    for row in report.rows:
        value = model.get_parameter(row.name).detach()
        numbers = torch.view_as_real(value) if value.is_complex() else value
        assert row.measured_mean == pytest.approx(numbers.double().mean().item(), abs=1e-12)
        assert row.measured_std == pytest.approx(numbers.double().std(correction=0).item(), abs=1e-12)
    assert "complex64" in str(report)
    other = made(lambda: nn.ModuleDict({name: Held(KINDS[name][0]) for name in ("int8", "complex64")}), 1)
    assert not torch.equal(other["int8"].weight, model["int8"].weight)


def test_complex_draws_are_torchs_and_of_the_seed_and_name_alone() -> None:
    """Real and imaginary parts have variance 1/2: |z|^2 has mean 1 and variance 1."""
    one, other, third = (
        made(lambda: Held(lambda: torch.randn(10000, dtype=torch.complex64)), seed) for seed in (0, 0, 1)
    )
    same(one.weight, other.weight)
    assert not torch.equal(one.weight, third.weight)
    assert abs((one.weight.abs() ** 2).mean() - 1) < 5 / 100
    assert abs((one.weight.real**2).mean() - 0.5) < 5 * math.sqrt(0.5) / 100


def test_types_that_change_after_the_block_to_any() -> None:
    """To one that fastinit fills, the law's values in it, within its bounds; to another one, torch's cast of them."""
    with deferred(0) as plan:
        model = nn.Linear(64, 96)
    plan.materialize(model.to(torch.float8_e4m3fnuz))
    same(model.weight, made(lambda: nn.Linear(64, 96)).weight.to(torch.float8_e4m3fnuz))
    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
        with deferred(0) as plan:
            model = nn.Linear(64, 96)
        plan.materialize(model.to(dtype))
        wanted = nn.Linear(64, 96, dtype=dtype, device="meta").to_empty(device="cpu")
        init_module(wanted, {"*": Initializer("he_uniform", a=math.sqrt(5))}, include="weight", seed=0)
        same(model.weight, wanted.weight)
        assert model.weight.float().abs().max() < 0.125


def test_memory_that_is_there_is_written_in_place() -> None:
    with deferred(0) as plan:
        model = Held(KINDS["complex64"][0])
    weight = model.to_empty(device="cpu").weight
    before = weight._version
    plan.materialize(model)
    assert model.weight is weight
    assert weight._version > before
    same(weight, KINDS["complex64"][1]())


def test_recipes_of_them_are_refused_where_there_are_floats_alone() -> None:
    with deferred(0) as plan:
        model = nn.Sequential(Held(KINDS["complex64"][0]), Held(KINDS["int64"][0]), Held(KINDS["float8"][0]))
    recipe: Any = plan.recipe()
    with pytest.raises(ValueError, match=r"'0.weight' must have dtype float32, .* got torch.complex64"):
        init_module(model, recipe, seed=0)
    for name in ("0.weight", "1.weight"):
        with pytest.raises(
            ValueError, match=r"what was recorded is of torch\.(complex64|int64), and floats have other"
        ):
            recipe[name].fill(np.empty((6, 4), np.float32), seed=0, stream=name)
    floats = recipe["2.weight"].fill(np.empty((6, 4), np.float32), seed=0, stream="2.weight")
    same(torch.from_numpy(floats), normal(6, 4, stream="2.weight").to(torch.float8_e4m3fn).float())


def test_conjugates_of_values_that_are_drawn_into() -> None:
    def make() -> Any:
        value = torch.tensor([1 + 2j, 3j, 4j])
        value[0].normal_()
        value.conj()[1].mul_(2)
        again = value.conj()
        again[0].normal_()
        return torch.cat([again[1:] * 1, again.imag[1:] * 1])

    assert made(lambda: Held(make)).weight.tolist() == [-6j, -4j, -6, -4]


GENERATORS: tuple[Any, ...] = ("ars", "philox")


def test_torchs_draws_follow_the_bit_generator() -> None:
    nets = []
    for bits in GENERATORS:
        with deferred(0) as plan:
            nets.append(Weight(lambda w: w.bernoulli_(), (40, 40)))
        plan.materialize(nets[-1], bit_generator=bits)
    assert not torch.equal(nets[0].weight, nets[1].weight)


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_of_values_keep_them() -> None:
    quantised: Any = pytest.importorskip("torch.ao.nn.quantized")

    def make() -> Any:
        layer = quantised.Linear(4, 3)
        layer.table = torch.quantize_per_tensor(torch.arange(4.0), 0.5, 0, torch.qint8)
        layer.register_buffer("again", torch.quantize_per_tensor(torch.ones(4), 0.5, 0, torch.qint8))
        return layer

    layer = made(make)
    assert layer.table.dequantize().tolist() == [0, 1, 2, 3]
    assert layer.again.dequantize().tolist() == [1] * 4
    assert layer.bias().tolist() == [0] * 3


# --- parametrizations -----------------------------------------------------------------------------------------------


def uniform(shape: tuple[int, ...], stream: str, fan_in: int) -> Tensor:
    return drawn("uniform", shape, stream, low=-1 / math.sqrt(fan_in), high=1 / math.sqrt(fan_in))


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim: int | None) -> None:
    """g is the norm of v, which is the draw."""
    net = made(lambda: norms.weight_norm(nn.Linear(6, 4), dim=dim))
    other: Any = made(lambda: old.weight_norm(nn.Linear(6, 4), dim=dim))
    pairs = (
        (
            net.parametrizations.weight.original0,
            net.parametrizations.weight.original1,
            "parametrizations.weight.original1",
        ),
        (other.weight_g, other.weight_v, "weight_v"),
    )
    for g, v, name in pairs:
        assert torch.equal(v, uniform((4, 6), name, 6))
        norm = v.norm() if dim is None else v.norm(dim=1 - dim, keepdim=True)
        assert torch.allclose(g, norm, rtol=1e-6)
    assert torch.allclose(net.weight, net.parametrizations.weight.original1, rtol=1e-6)
    assert torch.allclose(other(torch.eye(6)) - other.bias, other.weight_v.T, atol=1e-6)


def stretched(layer: Any) -> Any:
    """Singular values 2, 1, 1, 1."""
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4, 6))
        layer.weight[0, 0] = 2
    return layer


def test_spectral_norm() -> None:
    """The power iterations are those of torch: u, then v of it. They find the largest singular value."""
    net = made(lambda: parametrizations.spectral_norm(nn.Linear(6, 4)))
    w, inner = net.parametrizations.weight.original, net.parametrizations.weight[0]
    assert torch.equal(w, uniform((4, 6), "parametrizations.weight.original", 6))
    assert torch.allclose(inner._v, F.normalize(w.detach().T @ inner._u, dim=0), atol=1e-6)
    # 15 iterations at first, and one of the check: each takes three quarters of what u has of others.
    net = made(lambda: parametrizations.spectral_norm(stretched(nn.Linear(6, 4))))
    inner = net.parametrizations.weight[0]
    assert torch.allclose(inner._u.abs(), torch.eye(4)[0], atol=1e-4)
    assert torch.allclose(inner._v.abs(), torch.eye(6)[0], atol=1e-4)
    assert torch.allclose(net.eval().weight, stretched(nn.Linear(6, 4)).weight / 2, atol=1e-4)


def test_spectral_norm_of_old() -> None:
    """Its vectors are drawn, and nothing else is done before the first call."""
    net = made(lambda: old.spectral_norm(nn.Linear(6, 4)))
    assert torch.equal(net.weight_orig, uniform((4, 6), "weight_orig", 6))
    for name, n in (("weight_u", 4), ("weight_v", 6)):
        assert torch.equal(getattr(net, name), F.normalize(normal(n, stream=name), dim=0, eps=1e-12))
    assert torch.linalg.matrix_norm((net(torch.eye(6)) - net.bias).T, 2) < 4


@pytest.mark.parametrize("trivial", [True, False])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", [(4, 4), (4, 6), (6, 4)])
def test_orthogonal(shape: tuple[int, int], kind: str, trivial: bool) -> None:
    """What torch makes of the same draw."""

    def parametrized(layer: nn.Linear) -> Any:
        return norms.orthogonal(layer, orthogonal_map=kind, use_trivialization=trivial)

    def make() -> Any:
        layer = nn.Linear(*shape)
        torch.nn.init.normal_(layer.weight)
        return parametrized(layer)

    net, plain = made(make), nn.Linear(*shape)
    with torch.no_grad():
        plain.weight.copy_(normal(*plain.weight.shape, stream="parametrizations.weight.original"))
    wanted = parametrized(plain).weight
    assert torch.allclose(net.weight, wanted, atol=1e-5)
    w = net.weight if shape[0] >= shape[1] else net.weight.T
    assert torch.allclose(w @ w.T, torch.eye(len(w)), atol=1e-5)
    equal(net, made(make))


def test_orthogonal_weights_stay_as_they_are() -> None:
    def make() -> nn.Module:
        layer = nn.Linear(4, 4)
        torch.nn.init.orthogonal_(layer.weight)
        return nn.ModuleList([copy.deepcopy(layer), parametrizations.orthogonal(layer)])

    net = made(make)
    assert torch.allclose(net[0].weight, net[1].weight, atol=1e-6)
    with deferred(0):
        layer = parametrizations.orthogonal(nn.Linear(4, 4))
        with pytest.raises(ValueError, match=r"Expected a matrix .* of shape"):
            layer.weight = torch.ones(3, 3)


def test_what_is_written_before_after_and_by_assignment() -> None:
    """As in torch: a parametrized weight is computed, so that what is written into it is lost; an assignment is not."""

    def make() -> nn.Module:
        before, after, assigned = nn.Linear(6, 4), norms.weight_norm(nn.Linear(6, 4)), nn.Linear(6, 4)
        torch.nn.init.normal_(before.weight)
        before = norms.weight_norm(before)
        with torch.no_grad():
            torch.nn.init.normal_(after.weight)
        assigned = norms.weight_norm(assigned)
        assigned.weight = torch.randn(4, 6)
        removed = norms.weight_norm(nn.Linear(6, 4))
        parametrize.remove_parametrizations(removed, "weight")
        gone = old.weight_norm(nn.Linear(6, 4))
        old.remove_weight_norm(gone)
        return nn.ModuleList([before, after, assigned, removed, gone])

    net = made(make)
    name = "parametrizations.weight.original1"
    assert torch.equal(net[0].parametrizations.weight.original1, normal(4, 6, stream=f"0.{name}"))
    assert torch.equal(net[1].parametrizations.weight.original1, uniform((4, 6), f"1.{name}", 6))
    assert torch.equal(net[2].parametrizations.weight.original1, normal(4, 6, stream=f"2.{name}"))
    for i in (3, 4):
        assert torch.allclose(net[i].weight, uniform((4, 6), f"{i}.weight", 6), rtol=1e-5)


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x.T


def test_parametrizations_after_the_block_that_compute_nothing() -> None:
    with deferred(0) as plan:
        net = nn.Linear(4, 4)
    parametrize.register_parametrization(net, "weight", Symmetric())
    plan.materialize(net)
    w = uniform((4, 4), "parametrizations.weight.original", 4)
    assert torch.equal(net.weight, w + w.T)


def test_pruning() -> None:
    net = made(lambda: pruning.l1_unstructured(nn.Linear(6, 4), "weight", amount=5))
    w = uniform((4, 6), "weight_orig", 6)
    assert torch.equal(net.weight_orig, w)
    assert torch.equal(net.weight_mask.bool(), w.abs() > w.abs().flatten().kthvalue(5).values)


class Parametrized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            change(nn.Linear(6, 4))
            for change in (norms.weight_norm, norms.spectral_norm, norms.orthogonal, old.weight_norm, old.spectral_norm)
        )


@pytest.mark.parametrize("rank", range(3))
def test_parametrized_models_on_any_mesh(rank: int) -> None:
    """Uneven: 4 rows on 3 processes."""
    whole = made(Parametrized)
    tensors = {**dict(whole.named_parameters()), **dict(whole.named_buffers())}
    with fake(rank, 3):
        with deferred(0) as plan:
            net = Parametrized()
        fully_shard(net, mesh=init_device_mesh("cpu", (3,)))
        plan.materialize(net)
        for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
            for piece, offset in boxes(tensor)[1]:
                place = tuple(slice(o, o + n) for o, n in zip(offset, piece.shape, strict=True))
                same(piece, tensors[name].detach()[place])


# --- lazy modules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("random", [True, False])
def test_lazy_modules_that_have_been_called(train: bool, random: bool) -> None:
    """As those that know their shapes, statistics too."""

    def called(*layers: nn.Module) -> nn.Module:
        net = nn.Sequential(*layers).train(train)
        net(torch.randn(2, 3, 5, 5) if random else torch.ones(2, 3, 5, 5))
        return net

    lazy = made(
        lambda: called(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2), nn.LazyBatchNorm1d())
    )
    wanted = made(
        lambda: called(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2), nn.BatchNorm1d(2))
    )
    equal(lazy, wanted)
    assert type(lazy[0]) is nn.Conv2d


# --- adapters -------------------------------------------------------------------------------------------------------


def base() -> Any:
    transformers = library("transformers")
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            vocab_size=40,
        )
    )


def lora(**options: Any) -> Any:
    return library("peft").LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], **options)


ADAPTERS: dict[str, Callable[[], Any]] = {
    "lora": lora,
    "rslora": lambda: lora(use_rslora=True),
    "gaussian": lambda: lora(init_lora_weights="gaussian"),
    "orthogonal": lambda: lora(init_lora_weights="orthogonal"),
    "random": lambda: lora(init_lora_weights=False),
    "pissa": lambda: lora(init_lora_weights="pissa"),
    "olora": lambda: lora(init_lora_weights="olora"),
    "dora": lambda: lora(use_dora=True),
    "tokens": lambda: library("peft").TrainableTokensConfig(token_indices=[0, 3]),
    "ia3": lambda: library("peft").IA3Config(target_modules=["k_proj"], feedforward_modules=[]),
    "prompt": lambda: library("peft").PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM"),
}
LAWS: dict[str, dict[str, Callable[[str], Tensor]]] = {
    "lora": {"lora_A": lambda name: uniform((4, 16), name, 16), "lora_B": lambda name: torch.zeros(16, 4)},
    "gaussian": {
        "lora_A": lambda name: drawn("normal", (4, 16), name, std=0.25),
        "lora_B": lambda name: torch.zeros(16, 4),
    },
    "random": {"lora_A": lambda name: uniform((4, 16), name, 16), "lora_B": lambda name: uniform((16, 4), name, 4)},
    "ia3": {"ia3_l": lambda name: torch.ones(16, 1)},
    "prompt": {"prompt_encoder": lambda name: normal(4, 16, stream=name)},
}
LAWS["rslora"] = LAWS["dora"] = LAWS["lora"]


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapters(kind: str, outside: bool) -> None:
    """By PEFT, around a model of the block, and around one that has values, which it keeps."""
    config, get = ADAPTERS[kind](), library("peft").get_peft_model
    given = base() if outside else None
    kept = copy.deepcopy(given)
    with deferred(0) as plan:
        model = get(base() if given is None else given, config)
    report = plan.materialize(model)
    tensors = dict(model.named_parameters())
    assert not any(tensor.is_meta for tensor in tensors.values())

    for part, law in LAWS.get(kind, {}).items():
        names = [name for name in tensors if part in name]
        assert names
        for name in names:
            assert torch.equal(tensors[name], law(name)), name
    weights = {name: tensor.detach() for name, tensor in tensors.items() if name.endswith("base_layer.weight")}
    for name, w in weights.items():
        # By the name: what it had before, or would have.
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        original = drawn("normal", tuple(w.shape), name, std=0.02) if kept is None else kept.get_parameter(plain)
        if "lora" not in str(type(model.get_submodule(name.removesuffix(".base_layer.weight")))):
            assert torch.equal(w, original)
            continue
        start = name.removesuffix("base_layer.weight")
        a, b = (tensors[f"{start}lora_{x}.default.weight"] for x in "AB")
        scaling = 8 / math.sqrt(4) if kind == "rslora" else 8 / 4
        if kind != "random":  # the model computes what it did before
            assert torch.allclose(w + scaling * b @ a, original, atol=1e-5), name
        if kind in ("pissa", "olora", "orthogonal", "random"):
            assert a.any()
            assert b.any()
        else:
            assert torch.equal(w, original)
        if kind == "dora":
            magnitude = tensors[f"{start}lora_magnitude_vector.default.weight"]
            assert torch.allclose(magnitude, torch.linalg.vector_norm(w, dim=1), rtol=1e-5)
    if kind == "tokens":
        wrapped = model.get_submodule("base_model.model.model.embed_tokens")
        assert torch.equal(wrapped.trainable_tokens_delta["default"], wrapped.base_layer.weight[[0, 3]])
    if outside and kind in LAWS:
        assert {row.name for row in report.rows} == {name for name, tensor in tensors.items() if tensor.requires_grad}


def test_adapters_of_one_plan_around_a_model_of_another() -> None:
    """``exclude`` leaves alone what the plan does not know."""
    get = library("peft").get_peft_model
    with deferred(0) as first:
        inner = base()
    with deferred(1) as second:
        model = get(inner, lora())
    with pytest.raises(ValueError, match=r"lora_.* of the model are on meta, and were not made in the block"):
        first.materialize(model)
    first.materialize(model, exclude="*lora_*")
    report = second.materialize(model)
    assert all("lora_" in row.name for row in report.rows)
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_projections_of_vera_are_those_of_its_own_seed() -> None:
    """All of them are drawn from a generator of PEFT's."""
    peft = library("peft")
    config = peft.VeraConfig(r=4, target_modules=["q_proj", "v_proj"], projection_prng_key=7)
    net, plain = made(lambda: peft.get_peft_model(base(), config)), peft.get_peft_model(base(), config)
    for name in ("vera_A", "vera_B"):
        one, other = (getattr(model.base_model, name)["default"] for model in (net, plain))
        assert torch.equal(one, other)


# --- generators of the code's own -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: torch.empty(4, 3).normal_(0, 2, generator=g),
        lambda g: torch.empty(3, 4).t().uniform_(generator=g),
        lambda g: torch.ones(6, 8)[:, ::2].normal_(generator=g).clone(),  # takes more of the generator in a row
        lambda g: torch.nn.init.kaiming_uniform_(torch.empty(4, 3), generator=g),
        lambda g: torch.nn.init.trunc_normal_(torch.empty(4, 3), generator=g),  # it looks at what it draws
        lambda g: torch.nn.init.orthogonal_(torch.empty(4, 3), generator=g),
        lambda g: torch.randn(4, 3, generator=g, device="cpu") * 2,
        lambda g: torch.rand_like(torch.empty(4), generator=g),
        lambda g: torch.normal(0.0, 2.0, (4,), generator=g),
        lambda g: torch.randperm(5, generator=g).float(),
        lambda g: torch.bernoulli(torch.full((4, 3), 0.3), generator=g),
        lambda g: torch.empty(4, 3).exponential_(generator=g),  # on meta, torch has none from a generator
        lambda g: torch.tensor([1.0, 2.0, 3.0]).normal_(generator=g),
        lambda g: torch.ones(2) * torch.rand(1, generator=g).item(),
    ],
)
def test_draws_from_a_generator_of_the_code_are_torchs(draw: Callable[[Any], Tensor]) -> None:
    """Also the second one, and the state in which they leave it."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            generator = torch.Generator().manual_seed(3)
            self.one, self.other = nn.Parameter(draw(generator)), nn.Parameter(draw(generator))
            self.state = generator.get_state()

    torch.manual_seed(1)
    net, plain = made(Net), Net()
    equal(net, plain)
    assert torch.equal(net.state, plain.state)
    assert not torch.equal(net.one, net.other)


# --- tensors that are neither parameters nor buffers ----------------------------------------------------------------


def test_attributes_follow_the_seed_and_stay_one_tensor() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.noise = torch.randn(3)
            self.register_buffer("mean", torch.zeros(2))
            self.others = [self.noise, self.mean]

    with deferred(0) as plan:
        net = Net()
    for seed in (0, 1):
        plan.materialize(net, seed=seed)
        assert torch.equal(net.noise, drawn("normal", (3,), "noise", seed))
        assert net.others[0] is net.noise
        assert net.others[1] is net.mean


Pair = collections.namedtuple("Pair", ["one", "other"])


def test_tuples_and_what_is_in_lists_in_lists() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.pair = (torch.randn(3), torch.ones(2), "name")
            self.named = Pair(torch.zeros(2), 1)
            self.nested: Any = {"rows": [(torch.arange(3), None)]}
            self.nested["itself"] = self.nested
            self.size = torch.empty(2, 3).shape

    net = made(Net)
    assert torch.equal(net.pair[0], normal(3, stream="pair"))
    assert (net.pair[1].tolist(), net.pair[2]) == ([1, 1], "name")
    assert type(net.named) is Pair
    assert net.named.one.tolist() == [0, 0]
    assert net.nested["rows"][0][0].tolist() == [0, 1, 2]
    assert net.nested["itself"] is net.nested
    assert type(net.size) is torch.Size


@pytest.mark.parametrize("route", ["deferred", "init_module"])
def test_lists_of_parameters_have_the_new_ones(route: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.weights = [self.fc.weight, (self.fc.bias,)]

    if route == "deferred":
        net = made(Net)
    else:
        with torch.device("meta"):
            net = Net()
        init_module(net, {"*": Initializer("ones")}, seed=0)
    assert net.weights[0] is net.fc.weight
    assert net.weights[1][0] is net.fc.bias


# --- what is refused ------------------------------------------------------------------------------------------------


def stepped(kind: Any) -> nn.Module:
    net = nn.Linear(3, 2)
    net(torch.ones(1, 3)).sum().backward()
    kind(net.parameters(), 0.1).step()
    return net


def saved(net: nn.Module) -> nn.Module:
    torch.save(net.state_dict(), io.BytesIO())
    return net


LINE = r"at .*test_deferred_kinds\.py:\d+"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: stepped(torch.optim.SGD),
            rf"a step of SGD in a block of deferred, {LINE}: gradients are not recorded",
        ),
        (lambda: stepped(torch.optim.AdamW), r"a step of AdamW .*; train the model after materialize"),
        (lambda: nn.Linear(3, 2).share_memory(), rf"share_memory_ in a block of deferred, {LINE}: .* share the model"),
        (
            lambda: pickle.dumps(nn.Linear(3, 2)),
            rf"pickle needs values in a block of deferred, {LINE}, and they depend",
        ),
        (lambda: saved(nn.Linear(3, 2)), rf"pickle needs values in a block of deferred, {LINE}, and they depend"),
        (
            lambda: torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8),
            rf"quantize_per_tensor needs values .*{LINE}, and they depend on a random draw, {LINE}",
        ),
        (
            lambda: torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 3)), {nn.Linear}),
            rf"needs values in a block of deferred, {LINE}, and they depend on a random draw, {LINE}",
        ),
        (lambda: torch.randn(3, 3).to_sparse(), rf"to_sparse needs values .*{LINE}"),
    ],
)
def test_what_is_refused_in_the_block(make: Any, message: str) -> None:
    with deferred(0), pytest.raises(RuntimeError, match=message):
        make()


def test_what_has_values_is_pickled_copied_saved_and_shared_with_them() -> None:
    file = io.BytesIO()
    with deferred(0):
        norm = nn.BatchNorm1d(3)
        torch.save(norm.state_dict(), file)
        again = pickle.dumps(norm)
        assert torch.tensor([1.0, 2.0]).share_memory_().is_shared()
        assert copy.copy(torch.ones(2)).tolist() == [1, 1]
    file.seek(0)
    wanted = nn.BatchNorm1d(3)
    equal(pickle.loads(again), wanted)
    other = nn.BatchNorm1d(3)
    other.load_state_dict(torch.load(file))
    equal(other, wanted)


def changed(change: Callable[[nn.Module], object]) -> Callable[[Any], object]:
    return lambda net: change(net.odd)


class Given(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.given = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.register_buffer("table", torch.tensor([3.0]))
        self.register_buffer("edges", torch.eye(2).to_sparse())


UNKNOWN = "are on meta, and were not made in the block, or have another shape since: build the model in the block"
LATE = "were parametrized after the block, .*: parametrize them in the block, or after materialize"
REFUSED: dict[str, tuple[Callable[[], Any], Callable[[nn.Module], object] | None, str]] = {
    "lazy": (
        lambda: nn.LazyLinear(3),
        None,
        r"'odd.weight', 'odd.bias' are lazy, .*: call the model once in the block",
    ),
    "lazy statistics": (lambda: nn.LazyBatchNorm1d(affine=False), None, r"'odd.running_mean', .* are lazy"),
    "lazy, called late": (
        lambda: nn.LazyLinear(3),
        changed(lambda layer: layer(torch.ones(2, 3, device="meta"))),
        rf"'odd.weight', 'odd.bias' .* {UNKNOWN}",
    ),
    "4-bit floats": (
        lambda: Held(lambda: torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)),
        None,
        r"parameter 'odd.weight' must have a dtype of which torch can make values, got .*; exclude='odd.weight'",
    ),
    "a buffer of 4-bit floats": (
        lambda: Held(lambda: torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "buffer"),
        None,
        r"buffer 'odd.weight' must have a dtype of which torch can make values, got .*; exclude='odd.weight'",
    ),
    "what torch does not draw": (
        lambda: Held(lambda: torch.empty(4, dtype=torch.float8_e4m3fn).normal_()),
        None,
        r"'odd.weight' .*torch cannot make 'odd.weight' on the CPU: .*not implemented for",
    ),
    "weight_norm, late": (
        lambda: nn.Linear(4, 4),
        changed(norms.weight_norm),
        rf"'odd.parametrizations.weight.original0', 'odd.*1' {LATE}",
    ),
    "spectral_norm, late": (
        lambda: nn.Linear(4, 4),
        changed(norms.spectral_norm),
        rf"'odd.parametrizations.weight.original', .*_u', .*_v' {LATE}",
    ),
    "orthogonal, late": (
        lambda: nn.Linear(4, 6),
        changed(norms.orthogonal),
        rf"'odd.parametrizations.weight.original' {LATE}",
    ),
    "old weight_norm, late": (lambda: nn.Linear(4, 4), changed(old.weight_norm), rf"'odd.weight_g' .* {UNKNOWN}"),
    "old spectral_norm, late": (lambda: nn.Linear(4, 4), changed(old.spectral_norm), rf"'odd.weight_u', .* {UNKNOWN}"),
    "to_empty": (
        Given,
        lambda net: net.to_empty(device="cpu"),
        r"'odd.given', 'odd.table' have other memory than the block's code gave them: after to_empty it has no values",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", REFUSED)
def test_what_materialize_refuses_by_name(kind: str) -> None:
    make, change, message = REFUSED[kind]
    with deferred(0) as plan:
        net = nn.ModuleDict({"fc": nn.Linear(4, 4), "odd": make()})
    if change is not None:
        change(net)
    before = {name: (id(tensor), tensor._version) for name, tensor in net.named_parameters()}
    with pytest.raises(ValueError, match=message):
        plan.materialize(net)
    assert before == {name: (id(tensor), tensor._version) for name, tensor in net.named_parameters()}
    report = plan.materialize(net, exclude="odd.*")
    assert [row.name for row in report.rows] == ["fc.weight", "fc.bias"]


@pytest.mark.parametrize("cut", ["distribute_tensor", "fully_shard"])
def test_what_is_sharded_in_the_block_is_refused_by_name(cut: str) -> None:
    with fake(0, 2):
        mesh = init_device_mesh("cpu", (2,))
        with deferred(0) as plan:
            net = nn.Linear(4, 2, bias=False)
            if cut == "fully_shard":
                fully_shard(net, mesh=mesh)
            else:
                net.weight = nn.Parameter(distribute_tensor(net.weight, mesh, [Shard(0)], src_data_rank=None))
        with pytest.raises(ValueError, match=r"'weight' were sharded in the block, .*: shard the model after it"):
            plan.materialize(net)


def test_given_values_remain_given_whatever_else_is_done() -> None:
    """Other types, memory for one part, and values for another seed: none of it is what to_empty does."""
    with deferred(0) as plan:
        net: Any = nn.ModuleDict({"fc": nn.Linear(4, 4), "odd": Given()})
    net.half()
    for seed in (0, 1):
        report = plan.materialize(net, seed=seed)
        assert net["odd"].given.tolist() == [1, 2]
        assert report.left == ("odd.given",)
        net.double()


def test_a_recorded_model_that_was_emptied_is_made_in_place() -> None:
    with deferred(0) as plan:
        net = nn.Linear(4, 4)
    net.to_empty(device="cpu")
    weight = net.weight
    plan.materialize(net)
    assert net.weight is weight
    assert torch.equal(weight, uniform((4, 4), "weight", 4))
