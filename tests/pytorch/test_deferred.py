"""Promise: a model's own initialisation is recorded without memory, and made later with the same bits by any route."""

from __future__ import annotations

import collections
import contextlib
import copy
import io
import itertools
import math
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fastinit

torch = pytest.importorskip("torch")

from test_mesh import fake, load  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor  # noqa: E402
from zoo import TIMM, TORCHVISION, TRANSFORMERS, build  # noqa: E402

import fastinit.torch  # noqa: E402
from conftest import library  # noqa: E402
from fastinit.recipes import Initializer, by_pattern, match, skip  # noqa: E402
from fastinit.torch import FastInitReader, _compat, deferred, init_module  # noqa: E402
from fastinit.torch._replay import Replay  # noqa: E402
from fastinit.torch._sharding import boxes  # noqa: E402
from fastinit.torch._tensor import memory  # noqa: E402

init: Any = nn.init


def made(make: Callable[[], Any], seed: int = 0) -> Any:
    with deferred(seed) as plan:
        model = make()
    plan.materialize(model)
    return model


def state(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those too that state_dict leaves out."""
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return {name: tensor.detach() for name, tensor in named}


def equal(one: nn.Module, other: nn.Module) -> None:
    first, second = state(one), state(other)
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert not tensor.is_meta
        assert (tensor.dtype, tensor.shape, tensor.stride()) == (
            second[name].dtype,
            second[name].shape,
            second[name].stride(),
        )
        assert torch.equal(tensor, second[name]), name


def drawn(function: str, shape: tuple[int, ...], stream: str, seed: int = 0, **arguments: Any) -> Tensor:
    out = getattr(fastinit, function)(np.empty(shape, np.float32), **arguments, seed=seed, stream=stream)
    values: Tensor = torch.from_numpy(out)
    return values


def in_steps(w: Tensor, std: float, mean: float, a: float, b: float) -> None:
    """A truncated normal as many repositories have it."""
    low, high = ((1 + math.erf((end - mean) / std / math.sqrt(2))) / 2 for end in (a, b))
    w.uniform_(2 * low - 1, 2 * high - 1)
    w.erfinv_()
    w.mul_(std * math.sqrt(2))
    w.add_(mean)
    w.clamp_(min=a, max=b)


def diagonal() -> Tensor:
    """Ones, but for every fifth element."""
    values = torch.ones(24)
    values[::5] = drawn("normal", (5,), "weight")
    reshaped: Tensor = values.reshape(6, 4)
    return reshaped


class Weight(nn.Module):
    """A weight that a function writes."""

    def __init__(self, write: Callable[[Tensor], object], shape: tuple[int, ...] = (6, 4)) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        with torch.no_grad():
            write(self.weight)


# --- what is made ---------------------------------------------------------------------------------------------------


def test_a_draw_has_the_name_of_its_parameter() -> None:
    net = made(lambda: nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4)))
    assert torch.equal(
        net[1].weight, drawn("uniform", (4, 6), "1.weight", low=-1 / math.sqrt(6), high=1 / math.sqrt(6))
    )
    assert isinstance(net[1].weight, nn.Parameter)
    assert net[1].weight.requires_grad


def test_without_memory() -> None:
    """A thousand times what this machine has."""
    with deferred(0):
        layer = nn.Linear(2**22, 2**21)
    assert layer.weight.is_meta
    assert type(layer.weight) is nn.Parameter


@pytest.mark.parametrize(
    ("write", "wanted"),
    [
        (lambda w: w.normal_(1.0, 2.0), lambda: drawn("normal", (6, 4), "weight", mean=1.0, std=2.0)),
        (lambda w: init.normal_(w, std=0.02), lambda: drawn("normal", (6, 4), "weight", std=0.02)),
        (lambda w: init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04), lambda: drawn(
            "truncated_normal", (6, 4), "weight", std=0.02, low=-0.04, high=0.04, bounds="absolute")),
        (lambda w: in_steps(w, 0.02, 0.01, -0.04, 0.04), lambda: drawn(
            "truncated_normal", (6, 4), "weight", mean=0.01, std=0.02, low=-0.04, high=0.04, bounds="absolute")),
        (lambda w: (w.uniform_(-0.9, 0.9), w.erfinv_(), w.mul_(other=0.5), w.add_(1.0, alpha=2), w.clamp_(0.0, 2.0)),
            lambda: (drawn("uniform", (6, 4), "weight", low=-0.9, high=0.9).erfinv() * 0.5 + 2.0).clamp(0.0, 2.0)),
        (lambda w: init.xavier_uniform_(w), lambda: drawn(
            "uniform", (6, 4), "weight", low=-math.sqrt(0.6), high=math.sqrt(0.6))),
        (lambda w: w.copy_(torch.randn(6, 4)), lambda: drawn("normal", (6, 4), "weight")),
        (lambda w: w.copy_(torch.rand_like(w) * 0.5 - 0.25), lambda: drawn("uniform", (6, 4), "weight") * 0.5 - 0.25),
        (lambda w: w.copy_(torch.normal(1.0, 2.0, (6, 4))),
            lambda: drawn("normal", (6, 4), "weight", mean=1.0, std=2.0)),
        # Draws of which nothing remains have no number.
        (lambda w: (w.normal_(), w.uniform_(), w.normal_()), lambda: drawn("normal", (6, 4), "weight")),
        (lambda w: (w.normal_(), w[2].zero_()),
            lambda: drawn("normal", (6, 4), "weight") * torch.tensor([[1.0], [1], [0], [1], [1], [1]])),
        # Views: of columns, transposed, flat.
        (lambda w: (w.normal_(), w[:, 1:3].mul_(2.0)),
            lambda: drawn("normal", (6, 4), "weight") * torch.tensor([1.0, 2, 2, 1])),
        (lambda w: w.t().normal_(), lambda: drawn("normal", (4, 6), "weight").t()),
        (lambda w: w.view(-1).normal_(), lambda: drawn("normal", (6, 4), "weight")),
        (lambda w: (w.normal_(), w.add_(torch.arange(4.0))),
            lambda: drawn("normal", (6, 4), "weight") + torch.arange(4.0)),
        # Parts, as of packed projections.
        (lambda w: [init.normal_(part) for part in w.chunk(3)], lambda: torch.cat(
            [drawn("normal", (2, 4), stream) for stream in ("weight", "weight#2", "weight#3")])),
        (lambda w: w.copy_(torch.cat([torch.ones(3, 4), torch.randn(3, 4)])), lambda: torch.cat(
            [torch.ones(3, 4), drawn("normal", (3, 4), "weight")])),
        (lambda w: w.fill_(0.5), lambda: torch.full((6, 4), 0.5)),
        (lambda w: w.copy_(torch.linspace(0, 1, 24).reshape(6, 4)), lambda: torch.linspace(0, 1, 24).reshape(6, 4)),
        (lambda w: w.copy_(torch.tensor(range(24)).reshape(6, 4)), lambda: torch.arange(24.0).reshape(6, 4)),
        (lambda w: setattr(w, "data", torch.randn(6, 4) * 2), lambda: drawn("normal", (6, 4), "weight") * 2),
        (lambda w: w.data.normal_(), lambda: drawn("normal", (6, 4), "weight")),
        (lambda w: (w[:3].normal_(), w[3:].fill_(2.0), w[:3].mul_(2.0)), lambda: torch.cat(
            [drawn("normal", (3, 4), "weight") * 2, torch.full((3, 4), 2.0)])),
        (lambda w: (w.normal_(), w[:0].zero_()), lambda: drawn("normal", (6, 4), "weight")),
        (lambda w: setattr(w, "data", torch.linalg.qr(torch.randn(6, 6))[1][:, :4]),
            lambda: torch.linalg.qr(drawn("normal", (6, 6), "weight"))[1][:, :4]),
        (lambda w: (w.normal_(), w.view(torch.int32)[0].zero_()),
            lambda: drawn("normal", (6, 4), "weight") * torch.tensor([[0.0], [1], [1], [1], [1], [1]])),
        (lambda w: (w.fill_(1.0), w.as_strided((5,), (5,)).normal_()), diagonal),
        (lambda w: setattr(w, "data", torch.linalg.qr(torch.randn(8, 4))[1].repeat(2, 1)[:6]),
            lambda: torch.linalg.qr(drawn("normal", (8, 4), "weight"))[1].repeat(2, 1)[:6]),
        (lambda w: setattr(w, "data", torch.tensor([[1.0] * 4] * 6)), lambda: torch.ones(6, 4)),
        (lambda w: torch.add(torch.randn(6, 4), 1.0, out=w), lambda: drawn("normal", (6, 4), "weight") + 1.0),
        (lambda w: w.normal_().exp_(), lambda: drawn("normal", (6, 4), "weight").exp()),
        # With numbers that are tensors.
        (lambda w: w.normal_(0.0, 1 / torch.sqrt(torch.full((), 64.0))),
            lambda: drawn("normal", (6, 4), "weight", std=0.125)),
        (lambda w: init.normal_(w, std=torch.tensor(0.5)), lambda: drawn("normal", (6, 4), "weight", std=0.5)),
        (lambda w: init.trunc_normal_(w, std=torch.full((), 0.5)), lambda: drawn(
            "truncated_normal", (6, 4), "weight", std=0.5, low=-2.0, high=2.0, bounds="absolute")),
        # By places that are known: masks, ends of slices, arrays that are written later.
        (lambda w: (w.normal_(), w.__setitem__(torch.arange(24).reshape(6, 4) % 5 == 0, 0.0)),
            lambda: drawn("normal", (6, 4), "weight").where(torch.arange(24).reshape(6, 4) % 5 != 0, 0.0)),
        (lambda w: (w.normal_(), w.__setitem__(mask := torch.arange(24).reshape(6, 4) % 5 == 0, w[mask] * 2)),
            lambda: drawn("normal", (6, 4), "weight") * (1.0 + (torch.arange(24).reshape(6, 4) % 5 == 0))),
        (lambda w: (w.normal_(), w.__setitem__(slice(None, torch.arange(5)[2]), 0.0)),
            lambda: drawn("normal", (6, 4), "weight") * (torch.arange(6.0) >= 2)[:, None]),
        (lambda w: (w.zero_(), w.__setitem__(rows := np.array([0, 2]), 1.0), rows.__setitem__(0, 3)),
            lambda: torch.eye(6)[[0, 2]].sum(0)[:, None].expand(6, 4)),
        (lambda w: w.copy_(torch.cat(torch.linalg.qr(torch.randn(4, 4)))[:6]),
            lambda: torch.cat(torch.linalg.qr(drawn("normal", (4, 4), "weight")))[:6]),
        # Casts to another tensor's type.
        (lambda w: w.copy_(torch.randn(6, 4).to(torch.ones(5, dtype=torch.float64))),
            lambda: drawn("normal", (6, 4), "weight")),
        (lambda w: w.copy_(other=torch.randn(6, 4)), lambda: drawn("normal", (6, 4), "weight")),
        # What counts no version, in several parts of one tensor.
        (lambda w: (w.fill_(1.0), torch._foreach_zero_([w[:2], w[4:]])),
            lambda: torch.cat([torch.zeros(2, 4), torch.ones(2, 4), torch.zeros(2, 4)])),
        (lambda w: (w.zero_(), w.detach().apply_(lambda x: x + 3)), lambda: torch.full((6, 4), 3.0)),
        (lambda w: (w.zero_(), w.detach().map_(torch.ones(6, 4), lambda x, y: x + y)), lambda: torch.ones(6, 4)),
        (lambda w: w.set_(torch.randn(6, 4)), lambda: drawn("normal", (6, 4), "weight")),
        (lambda w: w.normal_().sub_(torch.ones(6, 4).mean()), lambda: drawn("normal", (6, 4), "weight") - 1.0),
    ],
)  # fmt: skip
def test_what_code_writes(write: Any, wanted: Any) -> None:
    model = made(lambda: Weight(write))
    assert torch.equal(model.weight, wanted())
    # By box as by whole: each element alone.
    with deferred(0) as plan:
        model = Weight(write)
    plan.recipe()
    for i in range(6):
        for j in range(4):
            value = plan._value("weight", plan._views[model]["weight"], ((i, i + 1), (j, j + 1)), {"seed": 0})
            assert value.item() == wanted()[i, j]


def test_other_laws_are_torchs_from_a_seed_of_the_name() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = Weight(lambda w: w.bernoulli_(0.3), (100, 100))
            self.two = Weight(lambda w: w.bernoulli_(0.3), (100, 100))
            self.order = Weight(lambda w: w.copy_(torch.randperm(24).reshape(6, 4)))
            self.waits = Weight(lambda w: w.exponential_(2.0), (100, 100))

    torch.manual_seed(1)
    before = torch.get_rng_state()
    net, again, other = made(Net), made(Net), made(Net, 1)
    assert torch.equal(torch.get_rng_state(), before)
    equal(net, again)
    assert not torch.equal(net.one.weight, net.two.weight)
    assert not torch.equal(net.one.weight, other.one.weight)
    assert abs(net.one.weight.mean() - 0.3) < 5 * math.sqrt(0.21 / 10000)
    assert abs(net.waits.weight.mean() - 0.5) < 5 * 0.5 / 100
    assert sorted(net.order.weight.flatten().tolist()) == list(range(24))


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.copy_(torch.normal(torch.ones(6, 4), 2.0)),
        lambda w: torch.randn(6, 4, out=w.data),
        lambda w: w.copy_(torch.normal(torch.tensor([1.0, 2, 3, 4]), 2.0)),
        lambda w: w.copy_(torch.empty(6, 4, dtype=torch.complex64).normal_().real),
        lambda w: w.copy_(torch.nn.functional.dropout(torch.ones(6, 4))),
        # Steps that are no truncated normal.
        lambda w: w.uniform_(-0.5, 0.5).erfinv_().mul_(1.0).add_(0.0).clamp_(-2, 2),
        lambda w: w.uniform_(-0.5, 0.5).erfinv_().mul_(torch.tensor(2.0)).add_(0.0).clamp_(-2, 2),
        lambda w: w.normal_().mul_(1.0).add_(0.0).clamp_(-2, 2),
        lambda w: (w.bernoulli_(), w[:3].zero_(), w.add_(torch.rand(4))),
    ],
)
def test_other_draws_are_of_the_seed_and_name_alone(write: Any) -> None:
    torch.manual_seed(1)
    one, other, third = made(lambda: Weight(write)), made(lambda: Weight(write)), made(lambda: Weight(write), 1)
    assert torch.equal(one.weight, other.weight)
    assert not torch.equal(one.weight, third.weight)


def test_what_torch_refuses_is_torchs_error() -> None:
    with deferred(0):
        with pytest.raises(RuntimeError, match=r"size mismatch|same reduction dim"):
            torch.ones(2, 3) @ torch.ones(2, 3)
        with pytest.raises(RuntimeError, match="std >= 0"):
            torch.empty(3).normal_(0, -1.0)
        assert init.kaiming_uniform_(torch.empty(0, 3)).shape == (0, 3)


def test_slabs_have_the_bits_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = made(lambda: Weight(lambda w: w.normal_().mul_(2.0), (50, 7)))
    monkeypatch.setattr("fastinit.torch._recorded._SLAB", 120)
    with deferred(0) as plan:
        model = Weight(lambda w: w.normal_().mul_(2.0), (50, 7))
    plan.materialize(model)
    assert torch.equal(model.weight, whole.weight)
    array = plan.recipe(model)["weight"].fill(np.empty((50, 7), np.float32), seed=0, stream="weight")  # type: ignore[union-attr]
    assert np.array_equal(array, whole.weight.detach().numpy())


def test_orthogonal_and_sparse() -> None:
    net = made(lambda: nn.Sequential(Weight(init.orthogonal_, (8, 8)), Weight(lambda w: init.sparse_(w, 0.5), (8, 8))))
    w = net[0].weight
    assert torch.allclose(w @ w.T, torch.eye(8), atol=1e-5)
    assert ((net[1].weight == 0).sum(0) == 4).all()


def test_ties_clones_and_attributes() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(8, 4, padding_idx=2), nn.Linear(4, 8, bias=False)
            self.head.weight = self.embed.weight
            self.head.weight.mark = "kept"  # type: ignore[attr-defined]
            self.clone = copy.deepcopy(self.embed)
            self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)
            self.scale = nn.Parameter(torch.tensor(2.5))
            self.register_buffer("steps", torch.arange(5))
            self.register_buffer("temporary", torch.ones(2), persistent=False)

    net = made(Net)
    assert net.head.weight is net.embed.weight
    assert net.head.weight.mark == "kept"
    assert torch.equal(net.clone.weight, net.embed.weight)
    assert net.clone.weight is not net.embed.weight
    assert not net.embed.weight[2].any()
    assert not net.frozen.requires_grad
    assert net.scale.item() == 2.5
    assert net.steps.tolist() == [0, 1, 2, 3, 4]
    assert net.temporary.tolist() == [1, 1]


def test_tensors_that_have_values_and_are_drawn_into() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.old = nn.Parameter(torch.FloatTensor(5, 3))
            init.normal_(self.old, std=0.5)
            self.part = nn.Parameter(torch.tensor([1.0, 2, 3, 4]))
            with torch.no_grad():
                self.part[1:3].uniform_()
            self.copy = nn.Parameter(torch.tensor([1.0, 2, 3, 4]))
            self.mask = nn.Parameter(torch.tensor([1.0, 2, 3, 4]).bernoulli_())
            self.register_buffer("edges", torch.eye(2).to_sparse() * 2)
            self.register_buffer("wide", torch.randn(1, 4).expand(6, 4))
            with torch.no_grad():
                self.copy.copy_(torch.randn(4))

    net = made(Net)
    assert torch.equal(net.old, drawn("normal", (5, 3), "old", std=0.5))
    assert torch.equal(net.part[1:3], drawn("uniform", (2,), "part"))
    assert net.part[::3].tolist() == [1, 4]
    assert torch.equal(net.copy, drawn("normal", (4,), "copy"))
    assert set(net.mask.tolist()) <= {0.0, 1.0}
    assert net.edges.to_dense().tolist() == [[2, 0], [0, 2]]
    assert torch.equal(net.wide, drawn("normal", (1, 4), "wide").expand(6, 4))


def test_functions_of_init_on_tensors_that_have_values() -> None:
    net = made(
        lambda: nn.ParameterList(
            [init.eye_(torch.Tensor(3, 4)), init.dirac_(torch.Tensor(3, 4, 3)), init.orthogonal_(torch.Tensor(3, 4))]
        )
    )
    assert torch.equal(net[0], torch.eye(3, 4))
    assert torch.equal(net[1], init.dirac_(torch.empty(3, 4, 3)))
    assert torch.allclose(net[2] @ net[2].T, torch.eye(3), atol=1e-5)


def test_statistics_of_a_forward_call() -> None:
    def make() -> nn.Module:
        net = nn.ModuleList([nn.BatchNorm1d(3), nn.InstanceNorm1d(3, track_running_stats=True)])
        x = torch.arange(24.0).reshape(2, 3, 4)
        for norm in net:
            norm(x)
        return net

    equal(made(make), make())


def test_types_are_those_of_the_block() -> None:
    def make() -> nn.Module:
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            net = nn.ParameterList([torch.linspace(1, 2, 4), torch.arange(4) / 3, torch.ones(3).exp()])
            net.register_buffer("eye", torch.eye(3))
        finally:
            torch.set_default_dtype(before)
        return net

    equal(made(make), make())
    with deferred(0) as plan:
        net = make()
    with torch.device("meta"):
        plan.materialize(net)
    equal(net, make())


def test_types_that_change_after_the_block() -> None:
    with deferred(0) as plan:
        net = nn.Sequential(Weight(init.orthogonal_), nn.BatchNorm1d(4))
    plan.materialize(net.half())
    assert {tensor.dtype for tensor in state(net).values()} == {torch.float16, torch.int64}


def test_tensors_that_are_neither_parameters_nor_buffers() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.utils.spectral_norm(nn.Linear(6, 4))
            self.angles = torch.arange(3) * 0.5
            self.many = [torch.ones(3), torch.randn(3)]
            self.named = {"a": torch.zeros(2)}
            self.cache = torch.empty(5)

    net = made(Net)
    assert net.angles.tolist() == [0.0, 0.5, 1.0]
    assert torch.equal(net.many[1], drawn("normal", (3,), "many"))
    assert (net.many[0].tolist(), net.named["a"].tolist(), net.cache.is_meta) == ([1.0] * 3, [0.0] * 2, True)
    assert torch.equal(net.inner.weight, net.inner.weight_orig)


def test_values_that_are_loaded_in_the_block() -> None:
    wanted = nn.Linear(3, 3)
    file = io.BytesIO()
    torch.save(wanted.state_dict(), file)
    file.seek(0)

    def load() -> nn.Module:
        net = nn.Linear(3, 3)
        net.load_state_dict(torch.load(file))
        return net

    equal(made(load), wanted)


def test_copies_of_buffers_and_views_of_parameters() -> None:
    def make() -> nn.Module:
        norm, one, other = nn.BatchNorm1d(3), nn.Linear(3, 3), nn.Linear(3, 3)
        other.load_state_dict(one.state_dict(), assign=True)
        return nn.ModuleList([norm, copy.deepcopy(norm), one, other])

    net = made(make)
    equal(net[0], net[1])
    assert net[2].weight.data_ptr() == net[3].weight.data_ptr()


def test_it_goes_to_the_cpu_where_it_is() -> None:
    equal(made(lambda: nn.Linear(3, 3).cpu().to("cpu").to(device="cpu")), made(lambda: nn.Linear(3, 3)))


def test_parameters_without_elements() -> None:
    assert made(lambda: nn.Linear(4, 0)).bias.shape == (0,)


def test_a_recipe_draws_anew_from_each_seed() -> None:
    with deferred(0) as plan:
        Weight(init.orthogonal_)
        net = Weight(init.orthogonal_)
    value: Any = plan.recipe(net)["weight"]
    first, second, third = (value.fill(np.empty((6, 4), np.float32), seed=seed, stream="weight") for seed in (0, 1, 0))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, third)


def test_parametrizations() -> None:
    net = made(lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)))
    g, v = net.parametrizations.weight.original0, net.parametrizations.weight.original1
    assert torch.equal(
        v, drawn("uniform", (4, 6), "parametrizations.weight.original1", low=-1 / math.sqrt(6), high=1 / math.sqrt(6))
    )
    assert torch.allclose(g, v.norm(dim=1, keepdim=True))
    assert torch.allclose(net.weight, v)


def test_dtypes() -> None:
    net = made(lambda: nn.Linear(6, 4).to(torch.bfloat16))
    bound = math.sqrt(3.0) * (math.sqrt(2.0 / 6.0) / math.sqrt(6))  # as PyTorch computes 1 / sqrt(6)
    assert torch.equal(net.weight, drawn("uniform", (4, 6), "weight", low=-bound, high=bound).to(torch.bfloat16))
    net = made(lambda: nn.Linear(6, 4, dtype=torch.float64))
    wanted = fastinit.uniform(np.empty((4, 6)), -bound, bound, seed=0, stream="weight")
    assert net.weight.tolist() == wanted.tolist()


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.bfloat16, 1 + 2**-8 + 2**-30), (torch.float16, 1 + 2**-11 + 2**-30)]
)
def test_constants_are_rounded_as_torch_does(dtype: Any, value: float) -> None:
    """Twice, which gives the other neighbour here."""

    class Net(nn.Module):
        def __init__(self, dtype: Any = dtype) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.full((3,), value, dtype=dtype))

    equal(made(Net), Net())
    later = Net(torch.float32).to(dtype)
    equal(made(lambda: Net(torch.float32).to(dtype)), later)
    with deferred(0) as plan:
        model = Net(torch.float32)
    plan.materialize(model.to(dtype))
    equal(model, later)


# --- programs at random ---------------------------------------------------------------------------------------------

LAWS: list[tuple[Any, dict[str, Any], Any]] = [
    (fastinit.normal, {"std": 2.0}, lambda v: v.normal_(0.0, 2.0)),
    (fastinit.uniform, {"low": -1.0, "high": 2.0}, lambda v: v.uniform_(-1.0, 2.0)),
    (fastinit.truncated_normal, {"std": 0.5, "low": -2.0, "high": 2.0, "bounds": "absolute"},
        lambda v: init.trunc_normal_(v, std=0.5)),
]  # fmt: skip
VIEWS: list[Any] = [
    lambda w, d, n: w.transpose(0, d),
    lambda w, d, n: w.narrow(d, w.shape[d] // 3, -(-w.shape[d] // 2)),
    lambda w, d, n: w.select(d, n % w.shape[d]) if w.ndim > 1 else w,
    lambda w, d, n: w.unsqueeze(d),
    lambda w, d, n: w[::2],
    lambda w, d, n: w.chunk(2, d)[-1],
    lambda w, d, n: w.diagonal() if w.ndim == 2 else w,
    lambda w, d, n: w.view(-1) if w.is_contiguous() else w,
    lambda w, d, n: w.view(2, -1) if w.is_contiguous() and w.numel() % 2 == 0 else w,
]
WRITES: list[Any] = [
    lambda v, u, x: v.zero_(),
    lambda v, u, x: v.fill_(x),
    lambda v, u, x: v.mul_(x),
    lambda v, u, x: v.add_(u),
    lambda v, u, x: v.copy_(u),
    lambda v, u, x: v.copy_(u * 2 - 1),
    lambda v, u, x: v.__setitem__(..., x),
    lambda v, u, x: v.__setitem__(0, u.reshape(-1)[-1]),
    lambda v, u, x: v.clamp_(-0.5, x),
    lambda v, u, x: v.exp_().clamp_(max=9.0),
    lambda v, u, x: v.copy_(torch.where(v > 0, v, u)),
    lambda v, u, x: v.mul_(torch.arange(v.shape[-1]) + 1.0),
    lambda v, u, x: v.sub_(v.mean()),
    lambda v, u, x: v.div_(3.0).neg_(),
    lambda v, u, x: v.copy_(v.flip(0)),
    lambda v, u, x: v.index_fill_(0, torch.tensor([0]), x),
    lambda v, u, x: v.t_().mul_(2.0).t_() if v.ndim == 2 else v,
]


def program(number: int, draw: Callable[[Tensor, int], object]) -> nn.ParameterList:
    """Three parameters, after draws and writes into views of them."""
    r = random.Random(number)

    def view(w: Tensor) -> Tensor:
        for _ in range(r.randint(0, 3)):
            w = r.choice(VIEWS)(w, r.randrange(w.ndim), r.randrange(24))
        return w

    with torch.no_grad():
        ws = [torch.zeros(6, 4), torch.ones(4, 6), torch.linspace(0, 1, 24)]
        for w in ws:
            if r.random() < 0.6:
                draw(w, r.randrange(len(LAWS)))
        for _ in range(r.randint(1, 8)):
            v, u = view(r.choice(ws)), view(r.choice(ws)).reshape(-1)
            if r.random() < 0.3:
                draw(v, r.randrange(len(LAWS)))
            else:
                u = u.repeat(v.numel() // u.numel() + 1)[: v.numel()].reshape(v.shape)
                r.choice(WRITES)(v, u, r.random())
        return nn.ParameterList(w.clone() if r.random() < 0.3 else w for w in ws)


def bits(values: Tensor) -> Tensor:
    return values.detach().contiguous().view(torch.int32)


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_programs_have_the_values_that_torch_gives_them(first: int) -> None:
    """Of all steps in torch, where the k-th draw is fastinit's from a stream of that number; whole, and by box."""
    for number in range(first, first + 100):
        count = itertools.count()

        def fill(v: Tensor, law: int, count: Iterator[int] = count) -> None:
            function, arguments, _ = LAWS[law]
            function(memory(v), **arguments, seed=5, stream=f"draw {next(count)}")

        wanted = program(number, fill)
        with deferred(5) as plan:
            model = program(number, lambda v, law: LAWS[law][2](v))
        draws = [i for i, step in enumerate(plan._log.steps) if step.law is not None]
        assert len(draws) == next(count)
        plan._streams.update({i: f"draw {k}" for k, i in enumerate(draws)})
        r = random.Random(number)
        for key, view in plan._views[model].items():
            box = tuple((start, r.randint(start + 1, n)) for n in view.shape for start in [r.randrange(n)])
            value = plan._value(key, view, box, {"seed": 5, "threads": None, "bit_generator": "ars"})
            cut = wanted.get_parameter(key)[tuple(slice(*along) for along in box)]
            assert torch.equal(bits(value), bits(cut)), (number, key, box)
        plan.materialize(model)
        for key, parameter in wanted.named_parameters():
            assert parameter.stride() == model.get_parameter(key).stride()
            assert torch.equal(bits(model.get_parameter(key)), bits(parameter)), (number, key)


# --- models of others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TRANSFORMERS, *TIMM, *TORCHVISION])
def test_a_box_has_the_bits_of_the_whole(name: str) -> None:
    """Of each parameter, boxes at random against all steps on whole tensors."""
    with deferred(3) as plan:
        model = build(name)
    plan.recipe(model)
    given = {"seed": 3, "threads": None, "bit_generator": "ars"}
    streams = collections.defaultdict(lambda: "nobody reads it", plan._streams)
    real = Replay(plan._log)._run(list(range(plan._end)), streams, given)
    rng = np.random.default_rng(0)
    for key, view, _ in plan._tensors_of(model, "", model.named_parameters, []):
        if view is None or view.n == 0:
            continue
        whole = view.tensor(real[view.storage])
        starts = [int(rng.integers(0, size)) for size in view.shape]
        box = tuple((start, int(rng.integers(start, size)) + 1) for start, size in zip(starts, view.shape, strict=True))
        assert torch.equal(plan._value(key, view, box, given), whole[tuple(slice(*along) for along in box)])


# init_module refuses tensors from which a module computes its weights.
PARAMETRIZED = {"Wav2Vec2ForPreTraining", "EncodecModel", "VitsModel"}


@pytest.mark.parametrize("name", [*TRANSFORMERS, *TIMM, *TORCHVISION])
def test_every_route_gives_the_same_weights(name: str) -> None:
    model = made(lambda: build(name))
    with deferred(0) as plan:
        recorded = build(name)
    recipe, other = plan.recipe(recorded), build(name)
    short: Any = match(by_pattern(recipe), list(recipe))
    assert {key: value for key, (_, value) in short.items()} == recipe
    if name in PARAMETRIZED:
        with pytest.raises(ValueError, match="parametrize: what is written there is not what the weights become"):
            init_module(other, recipe, seed=0)
        return
    init_module(other, recipe, seed=0, buffers="keep", report=False)
    for key, tensor in model.named_parameters():
        assert torch.equal(tensor, other.get_parameter(key)), key
        value: Any = recipe[key]
        if isinstance(value, Initializer) and tensor.dtype is torch.float32:
            array = value.fill(np.empty(tuple(tensor.shape), np.float32), seed=0, stream=key)
            assert np.array_equal(array, tensor.detach().numpy())


def test_a_recipe_by_pattern_is_for_deeper_models() -> None:
    t = library("transformers")

    def llama(depth: int) -> Any:
        sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
        return t.LlamaForCausalLM(t.LlamaConfig(vocab_size=50, num_hidden_layers=depth, **sizes))

    with deferred(0) as plan:
        shallow = llama(2)
    recipe = by_pattern(plan.recipe(shallow))
    assert len(recipe) == 12
    by_recipe, own = llama(5), made(lambda: llama(5))
    init_module(by_recipe, recipe, seed=0)
    equal(own, by_recipe)


def with_padding(again: Callable[[Tensor], object]) -> nn.Module:
    net: Any = nn.Sequential(nn.Embedding(5, 3, padding_idx=-1), nn.Linear(3, 5, bias=False))
    net[1].weight = net[0].weight
    with torch.no_grad():
        again(net[0].weight)
    module: nn.Module = net
    return module


@pytest.mark.parametrize("again", [Tensor.normal_, Tensor.detach, Tensor.zero_, lambda w: w.normal_()[-1].fill_(2.0)])
def test_rows_of_padding_are_what_the_code_makes_of_them(again: Callable[[Tensor], object]) -> None:
    """By a recipe that somebody wrote they are 0."""
    model: nn.Module = made(lambda: with_padding(again))
    with deferred(0) as plan:
        recorded = with_padding(again)
    by_recipe, loaded = with_padding(again), with_padding(again)
    init_module(by_recipe, plan.recipe(recorded), seed=0)
    load(loaded.state_dict(), FastInitReader(loaded, plan.recipe(recorded), seed=0))
    equal(model, by_recipe)
    equal(model, loaded)


def test_a_reader_of_a_plan() -> None:
    """Names, shapes, laws and the seed are those of the model that the block has built."""
    model = made(lambda: build("GPT2LMHeadModel"), seed=4)
    with deferred(4) as plan:
        other = build("GPT2LMHeadModel")
    reader = FastInitReader(plan)
    other.to_empty(device="cpu")
    load(other.state_dict(), reader)
    for name, tensor in model.named_parameters():
        assert torch.equal(tensor, other.get_parameter(name)), name
    again = FastInitReader(plan, seed=5)
    load(other.state_dict(), again)
    assert not torch.equal(*(net.get_parameter("transformer.wte.weight") for net in (model, other)))
    with deferred(0) as unused:
        pass
    with pytest.raises(ValueError, match="built 0 models"):
        FastInitReader(unused)
    with pytest.raises(TypeError, match="recipe must be left out"):
        FastInitReader(plan, {"*": Initializer("zeros")})
    with pytest.raises(TypeError, match="recipe must be given"):
        FastInitReader(model)
    with pytest.raises(TypeError, match="seed must be an int"):
        FastInitReader(model, {"*": Initializer("zeros")})


def test_only_what_remains_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPT-2's constructors draw 2.4 values for each parameter."""
    with deferred(0) as plan:
        model = build("GPT2LMHeadModel")
    drawn_elements = []
    original = Initializer.fill

    def fill(self: Initializer, out: Any, **given: Any) -> Any:
        if self.function == "normal" and math.prod(out.shape):
            drawn_elements.append(math.prod(out.shape))
        return original(self, out, **given)

    monkeypatch.setattr(Initializer, "fill", fill)
    plan.materialize(model, report=False)
    laws: dict[str, Any] = plan.recipe(model)
    random = [model.get_parameter(name).numel() for name, value in laws.items() if value.function == "normal"]
    assert sorted(drawn_elements) == sorted(random)


# --- meshes ---------------------------------------------------------------------------------------------------------


def same_pieces(model: nn.Module, whole: nn.Module) -> None:
    wanted = dict(whole.named_parameters(remove_duplicate=False))
    for name, parameter in model.named_parameters():
        _, held = boxes(parameter)
        for piece, offset in held:
            place = tuple(slice(o, o + n) for o, n in zip(offset, piece.shape, strict=True))
            assert torch.equal(piece, wanted[name].detach()[place]), name


@pytest.mark.parametrize("rank", range(6))
@pytest.mark.parametrize("name", ["GPT2LMHeadModel", "MambaForCausalLM", "vit"])
def test_any_mesh_has_the_bits_of_one_process(name: str, rank: int) -> None:
    whole = made(lambda: build(name))
    with fake(rank, 6):
        mesh = init_device_mesh("cpu", (2, 3), mesh_dim_names=("data", "model"))
        with deferred(0) as plan:
            model = build(name)
        # Tensor parallelism, over 3: uneven, and pieces that are empty; then FSDP over 2.
        for module in model.modules():
            for key, parameter in list(module._parameters.items()):
                if parameter is not None and parameter.ndim == 2 and name != "GPT2LMHeadModel":
                    cut = distribute_tensor(parameter, mesh["model"], [Shard(1)], src_data_rank=None)
                    module._parameters[key] = nn.Parameter(cut)
                elif parameter is not None and name != "GPT2LMHeadModel":
                    module._parameters[key] = nn.Parameter(
                        distribute_tensor(parameter, mesh["model"], [Replicate()], src_data_rank=None)
                    )
        fully_shard(model, mesh=mesh["data"])
        plan.materialize(model)
        assert any(isinstance(parameter, DTensor) for parameter in model.parameters())
        same_pieces(model, whole)


def test_what_is_tied_after_the_block_and_sharded_is_refused() -> None:
    """A sharded tensor does not show which of the two it was; an unsharded one does."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head, self.embed = nn.Linear(4, 8, bias=False), nn.Embedding(8, 4)

    with deferred(0) as plan:
        net = Net()
    net.head.weight = net.embed.weight
    plan.materialize(net)
    assert torch.equal(net.head.weight, drawn("normal", (8, 4), "head.weight"))
    with fake(0, 2), deferred(0) as plan:
        net = Net()
    net.head.weight = net.embed.weight
    with fake(0, 2):
        fully_shard(net, mesh=init_device_mesh("cpu", (2,)))
        with pytest.raises(ValueError, match=r"'head.weight', 'embed.weight' are one, but were not in the block"):
            plan.materialize(net)


# --- what the block's code sees -------------------------------------------------------------------------------------


def test_code_believes_in_the_cpu() -> None:
    with deferred(0):
        t = torch.empty(3, 4)
        assert (t.device, t.is_meta, t.is_cpu) == (torch.device("cpu"), False, True)
        assert t.to("cpu").device == t.cpu().device == torch.zeros_like(t, device="cpu").device == t.device
        assert t.to(torch.float16).dtype is torch.float16
        assert torch.zeros_like(torch.tensor([1.0])).tolist() == [0.0]
    assert t.is_meta


def test_modes_of_others_see_each_operation() -> None:
    class Seen(_compat.DispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return func(*args, **(kwargs or {}))

    seen: list[Any] = []
    with deferred(0), Seen(), torch.no_grad():
        torch.empty(3).zero_().fill_(2.0)
    aten = torch.ops.aten
    assert seen == [aten.empty.memory_format, aten.zero_.default, aten.fill_.Scalar]


def test_what_torch_refuses_of_common_calls_is_refused() -> None:
    with deferred(0), pytest.raises(RuntimeError, match="leaf"):
        nn.Parameter(torch.empty(3)).fill_(1.0)
    with deferred(0), pytest.raises(TypeError, match="std"):
        torch.empty(3).normal_(0.0, [1.0])
    with deferred(0), torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode"):
        torch.empty(3)


def test_values_that_depend_on_no_draw_are_there() -> None:
    with deferred(0):
        assert [x.item() for x in torch.linspace(0, 1, 3)] == [0.0, 0.5, 1.0]
        assert torch.arange(4).reshape(2, 2).tolist() == [[0, 1], [2, 3]]
        assert float(torch.ones(()) * 2) == 2.0
        assert bool(torch.ones(3).sum() > 2)
        assert torch.arange(3).numpy().tolist() == [0, 1, 2]
        assert torch.eye(3).nonzero().tolist() == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            lambda: torch.randn(3).max().item(),
            r"item needs values in a block of deferred, at .*test_deferred.py:\d+, and",
        ),
        (lambda: bool(torch.rand(3).sum() > 1), r"__bool__ needs values"),
        (lambda: nn.Linear(3, 3).weight.tolist(), r"tolist needs values .* depend on a random draw, at .*\.py:\d+"),
        (lambda: scripted(torch.empty(3)), r"TorchScript interpreter"),
        (
            lambda: torch.bernoulli(torch.rand(3), generator=torch.Generator()),
            r"bernoulli draws from a generator in a block of deferred, at .*\.py:\d+: by values that are not there yet",
        ),
        (lambda: torch.binomial(torch.tensor([4.0]), torch.tensor([0.5])), r"draws from torch's generator"),
        (
            lambda: torch.empty(3).sum().item(),
            r"item needs values in a block of deferred, at .*, that nobody has written",
        ),
        (
            lambda: torch.add(torch.zeros(3), 1.0, out=torch.tensor([1.0, 2, 3])),
            r"add writes into a tensor that has val",
        ),
        (lambda: setattr(torch.tensor([1.0]), "data", torch.ones(1)), r"a tensor that has values got .data without"),
        (lambda: torch.empty(3).tolist(), r"tolist needs values .* that nobody has written"),
        (lambda: torch.randn(3)[torch.rand(3) > 0.5], r"__getitem__ needs values .* depend on a random draw"),
        (lambda: torch.randn(3, 2)[torch.ones(3) > 0, 0], r"__getitem__ needs values .* depend on a random draw"),
        (lambda: deferred(0).__enter__(), r"deferred in a block of deferred"),
        (lambda: in_inference_mode(), r"empty in torch.inference_mode\(\) in a block of deferred, at .*\.py:\d+"),
        (lambda: under_autocast(), r"linear under autocast in a block of deferred, at .*\.py:\d+"),
        (lambda: torch.vmap(lambda x: x * 2)(torch.ones(3)), r"cannot record tensors that have no storage"),
        (lambda: torch.autograd.grad((w := nn.Linear(2, 2).weight).sum(), w), r"grad gives gradients in a block"),
    ],
)
def test_what_cannot_be_recorded_is_refused(run: Any, message: str) -> None:
    with deferred(0), pytest.raises(RuntimeError, match=message):
        run()


def under_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        nn.Linear(3, 3)(torch.ones(1, 3))


def in_inference_mode() -> None:
    with torch.inference_mode():
        torch.empty(3)


def _zero(x: Tensor) -> Tensor:
    return x.zero_()


def scripted(x: Tensor) -> Tensor:
    result: Tensor = torch.jit.script(_zero)(x)
    return result


def test_arrays_of_numpy_can_only_be_read() -> None:
    with deferred(0):
        for array in (torch.ones(3).numpy(), np.asarray(torch.ones(3))):
            assert array.tolist() == [1.0] * 3
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 2.0


def test_addresses_tell_what_is_tied() -> None:
    with deferred(0):
        one, other = torch.empty(3), torch.empty(3)
        assert one.data_ptr() == one.view(3, 1).data_ptr() != other.data_ptr()
        assert one[1:].data_ptr() == one.data_ptr() + 4


def test_plans_are_for_after_the_block() -> None:
    with deferred(0) as plan:
        net = nn.Linear(2, 2)
        for call in (lambda: plan.materialize(net), lambda: plan.recipe(net)):
            with pytest.raises(RuntimeError, match=r"(materialize|recipe) in a block of deferred: use it before or"):
                call()


def test_names_that_other_tensors_have_are_refused() -> None:
    """Else the weights would depend on which is made first."""
    with deferred(0) as plan:
        one, other, norm = nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3)
    plan.materialize(one)
    plan.materialize(norm)
    with pytest.raises(ValueError, match=r"given the names 'weight', 'bias' to draws of other tensors: .* prefix="):
        plan.materialize(other)
    plan.materialize(other, prefix="other.")
    assert not torch.equal(one.weight, other.weight)


def test_inference_mode_is_refused() -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"deferred cannot see .*inference_mode"):
        deferred(0).__enter__()


def test_elements_that_nobody_has_written_are_refused_by_name() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.bad = Weight(lambda w: w[:2].normal_())

    with deferred(0) as plan:
        net = Net()
    with pytest.raises(ValueError, match=r"'bad.weight'.*nobody has written"):
        plan.materialize(net)
    assert all(parameter.is_meta for parameter in net.parameters())
    report = plan.materialize(net, exclude="bad.weight")
    assert report.left == ("bad.weight",)
    assert not net.fc.weight.is_meta


def test_unwritten_elements_of_others_in_the_same_memory() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            memory = torch.empty(6, 4)
            memory[:3].normal_()
            memory.exp_()
            self.good, self.bad = nn.Parameter(memory[:3]), nn.Parameter(memory[3:])

    with deferred(0) as plan:
        net = Net()
    with pytest.raises(ValueError, match=r"'bad'.*nobody has written"):
        plan.materialize(net)
    plan.materialize(net, exclude="bad")
    assert torch.equal(net.good, drawn("normal", (3, 4), "good").exp())


def test_one_element_of_a_column_beside_unwritten_ones() -> None:
    with deferred(0) as plan:
        net = Weight(
            lambda w: w.copy_(torch.cat([torch.empty(2, 4), torch.randn(6, 4)]).view(-1).exp_().view(8, 4)[2:, 0]), (6,)
        )
    plan.recipe(net)
    value = plan._value("weight", plan._views[net]["weight"], ((1, 2),), {"seed": 0})
    assert torch.equal(value, drawn("normal", (6, 4), "weight").exp()[1:2, 0])


def test_buffers_that_nobody_has_written_are_refused_by_name() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 3)
            self.register_buffer("bad", torch.empty(3))

    with deferred(0) as plan:
        net = Net()
    with pytest.raises(ValueError, match=r"elements of 'bad' that nobody has written"):
        plan.materialize(net)
    assert net.fc.weight.is_meta


@pytest.mark.parametrize("write", [lambda w: w[:2].normal_(), lambda w: (w[:2].normal_(), w.exp_())])
def test_they_are_seen_through_what_is_computed_whole(write: Any) -> None:
    with deferred(0) as plan:
        net = Weight(write)
    with pytest.raises(ValueError, match="nobody has written"):
        plan.materialize(net)


def test_a_tensor_from_outside_has_no_values() -> None:
    outside = torch.empty(6, 4, device="meta")
    with deferred(0) as plan:
        nets = [Weight(lambda w: w.copy_(outside)), Weight(lambda w: w.copy_(outside.exp()))]
    for net in nets:
        with pytest.raises(ValueError, match="nobody has written"):
            plan.materialize(net)


def test_what_was_written_on_meta_after_the_block_is_refused() -> None:
    """It would be lost."""
    with deferred(0) as plan:
        model: Any = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model(torch.ones(2, 3, device="meta"))  # what a forward call writes into buffers has no values there
    model.requires_grad_(False)
    init.ones_(model[0].weight)
    with pytest.raises(ValueError, match=r"tensors '0\.weight' were written after the block, on meta"):
        plan.materialize(model)
    plan.materialize(model, exclude="0.weight")
    assert model[0].weight.is_meta
    assert model[1].running_mean.tolist() == [0.0] * 3


def test_a_shape_that_has_changed_is_refused() -> None:
    with deferred(0) as plan:
        net = nn.Linear(3, 3)
    net.weight = nn.Parameter(torch.empty(4, 3, device="meta"))
    with pytest.raises(ValueError, match=r"'weight' .*have another shape since"):
        plan.materialize(net)


def test_what_was_not_made_in_the_block_is_refused_by_name() -> None:
    with deferred(0) as plan:
        net = nn.Sequential(nn.Linear(3, 3))
    net.append(nn.Linear(3, 3, device="meta"))
    with pytest.raises(ValueError, match=r"tensors .*'1.weight'.* were not made in the block"):
        plan.materialize(net)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got 3"):
        plan.materialize(3)  # type: ignore[arg-type]
    with deferred(0) as plan:
        nets = [nn.Linear(3, 3), nn.Tanh(), nn.Linear(2, 2)]
    with pytest.raises(ValueError, match="model must be given, since the block built 2 models: Linear, Linear"):
        plan.recipe()
    assert set(plan.recipe(nets[0])) == {"weight", "bias"}
    with pytest.raises(TypeError, match="seed must be an int"):
        deferred(None)  # type: ignore[arg-type]


def test_a_part_has_the_weights_that_it_has_in_the_whole() -> None:
    whole = made(lambda: nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)))
    with deferred(0) as plan:
        net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    plan.materialize(net[1], prefix="1.")
    assert net[0].weight.is_meta
    assert torch.equal(net[1].weight, whole[1].weight)


@pytest.mark.parametrize("tied", [False, True])
def test_a_part_that_shares_draws_takes_its_names_from_the_whole(tied: bool) -> None:
    def make() -> Any:
        one, other = nn.Linear(3, 3), nn.Linear(3, 3)
        if tied:
            other.weight = one.weight
        return nn.ModuleList([one, other if tied else copy.deepcopy(one)])

    whole = made(make)
    with deferred(0) as plan:
        net = make()
    with pytest.raises(ValueError, match=r"'1.weight'.* tied, or copies: call recipe\(model\) with the whole model"):
        plan.materialize(net[1], prefix="1.")
    plan.recipe(net)
    plan.materialize(net[1], prefix="1.")
    equal(net[1], whole[1])


def test_nothing_remains_after_the_block() -> None:
    names = [(init, "_no_grad_trunc_normal_"), (init, "normal_")]
    before = [getattr(place, name) for place, name in names]
    with contextlib.suppress(KeyError), deferred(0):
        raise KeyError
    assert [getattr(place, name) for place, name in names] == before
    assert not torch.empty(2).is_meta
    assert not nn.Linear(2, 2).weight.is_meta


@pytest.mark.parametrize("name", ["uniform_", "normal_", "kaiming_uniform_", "constant_"])
def test_functions_that_are_disabled_in_their_module_draw_where_they_were_imported(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As transformers disables them: torch's function announces itself by what its module holds under its name."""
    imported = getattr(init, name)
    arguments = (0.5,) if name == "constant_" else ()
    wanted = made(lambda: Weight(lambda w: imported(w, *arguments)))
    monkeypatch.setattr(init, name, lambda tensor, *args, **kwargs: tensor)
    assert torch.equal(made(lambda: Weight(lambda w: imported(w, *arguments))).weight, wanted.weight)


def test_other_threads_build_ordinary_models() -> None:
    found = []

    def other() -> None:
        net = nn.Linear(3, 3)
        init.trunc_normal_(net.weight)
        found.append(net.weight.is_meta)

    with deferred(0) as plan:
        net = nn.Linear(2, 2)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found == [False]
    assert plan.recipe() == plan.recipe(net)


@pytest.mark.parametrize("use", [lambda t: t, lambda t: t.cpu(), lambda t: t.to("cpu")])
def test_skip_stands_for_given_values(use: Callable[[Tensor], Tensor]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([1.0, 2.0]))
            assert use(self.scale).tolist() == [1.0, 2.0]

    with deferred(0) as plan:
        net = Net()
    assert plan.recipe() == {"scale": skip}
    assert plan.materialize(net).left == ("scale",)
