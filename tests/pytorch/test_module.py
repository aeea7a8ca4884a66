"""Promise: one call fills a module; every weight depends on seed, name and index alone, and nothing else is changed."""

from __future__ import annotations

import contextlib
import doctest
import functools
import math
import pathlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastinit

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402

import fastinit.torch  # noqa: E402
from conftest import library  # noqa: E402
from fastinit import recipes  # noqa: E402
from fastinit.recipes import Initializer, Recipe  # noqa: E402
from fastinit.torch import init_module  # noqa: E402

module_file = sys.modules[init_module.__module__]
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NORMAL: Recipe = {"*": Initializer("normal", {"std": 0.5})}
MLP: Recipe = (
    ("*.bias", Initializer("zeros")),
    ("*norm.weight", Initializer("ones")),
    ("*.weight", Initializer("he_normal")),
)


class Net(nn.Module):
    """Linear layers, a norm with buffers, and a buffer that nobody but the constructor computes."""

    def __init__(self, n: int = 2, mask: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(n))
        self.norm = nn.BatchNorm1d(8)
        if mask:
            self.register_buffer("mask", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.norm(x)
        return y


def on_meta(build: Callable[[], Any]) -> Any:
    with torch.device("meta"):
        return build()


def array_of(tensor: Tensor) -> Any:
    """The memory of a tensor."""
    detached = tensor.detach()
    kind = getattr(ml_dtypes, str(tensor.dtype).removeprefix("torch."), None)
    if kind is None:
        return detached.numpy()
    return detached.view(torch.int16 if tensor.itemsize == 2 else torch.uint8).numpy().view(kind)


def values(module: Any) -> dict[str, Any]:
    return {name: array_of(tensor).copy() for name, tensor in module.named_parameters()}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(one[k].tobytes() == other[k].tobytes() for k in one)


# --- the values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("rng", ["ars", "philox"])
def test_a_weight_is_the_numpy_fill_of_its_name(dtype: str, rng: Any) -> None:
    net = Net().to(getattr(torch, dtype))
    init_module(net, MLP, seed=7, bit_generator=rng, threads=1)
    found = values(net)
    for i in range(2):
        name = f"layers.{i}.weight"
        wanted = np.empty((8, 8), found[name].dtype)
        fastinit.he_normal(wanted, layout="torch", seed=7, stream=name, bit_generator=rng)
        assert found[name].tobytes() == wanted.tobytes()
        assert (found[f"layers.{i}.bias"] == 0).all()
    assert (found["norm.weight"] == 1).all()


def test_another_layer_changes_no_other_weight() -> None:
    small, large = Net(2), Net(3)
    init_module(small, MLP, seed=1)
    init_module(large, MLP, seed=1)
    one, other = values(small), values(large)
    assert one.keys() < other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not np.array_equal(other["layers.0.weight"], other["layers.2.weight"])


def test_the_seed_changes_every_weight() -> None:
    found = []
    for seed in (0, 0, 1):
        net = Net()
        init_module(net, MLP, seed=seed)
        found.append(values(net))
    assert same(found[0], found[1])
    assert not np.array_equal(found[1]["layers.0.weight"], found[2]["layers.0.weight"])


def channels_last() -> Any:
    layer: Any = nn.Conv2d(3, 4, 5)
    return layer.to(memory_format=torch.channels_last)


def test_memory_layout_changes_no_value() -> None:
    conv, other = nn.Conv2d(3, 4, 5), channels_last()
    meta = on_meta(channels_last)
    for module in (conv, other, meta):
        init_module(module, NORMAL, seed=0)
    assert other.weight.stride() == meta.weight.stride() != conv.weight.stride()
    assert torch.equal(conv.weight, other.weight)
    assert torch.equal(conv.weight, meta.weight)


def test_wrappers_do_not_change_names() -> None:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    plain, wrapped = Net(), Net()
    wrapped.layers[0] = checkpoint_wrapper(wrapped.layers[0])
    for net in (plain, wrapped):
        init_module(net, MLP, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        compiled = torch.compile(Net())
    report = init_module(compiled, MLP, seed=0)
    assert [row.name for row in report.rows] == list(values(plain))
    assert [v.tobytes() for v in values(plain).values()] == [v.tobytes() for v in values(wrapped).values()]
    assert [v.tobytes() for v in values(plain).values()] == [v.tobytes() for v in values(compiled).values()]


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_parameters_with_memory_are_filled_in_place() -> None:
    net: Any = Net()
    net.layers[0].weight.requires_grad_(False)
    net.layers[1].weight.mark = "kept"
    net(torch.ones(4, 8)).sum().backward()
    net.eval()
    calls: list[str] = []
    net.register_forward_hook(lambda *_: calls.append("hook"))
    before = {name: (p, p.data_ptr(), p._version, p.requires_grad, p.grad) for name, p in net.named_parameters()}
    buffers = {name: (b, b.data_ptr(), b._version) for name, b in net.named_buffers()}
    state = torch.get_rng_state()
    report = init_module(net, MLP, seed=0)
    assert torch.equal(state, torch.get_rng_state())
    for name, parameter in net.named_parameters():
        old, address, version, requires_grad, grad = before[name]
        assert parameter is old
        assert parameter.data_ptr() == address
        assert parameter._version > version
        assert parameter.requires_grad == requires_grad
        assert parameter.grad is grad
    for name, buffer in net.named_buffers():
        old, address, version = buffers[name]
        assert buffer is old
        assert buffer.data_ptr() == address
        assert buffer._version > version
    assert net.layers[1].weight.mark == "kept"
    assert not net.training
    net(torch.ones(4, 8))
    assert calls == ["hook"]
    assert [row.name for row in report.rows if row.frozen] == ["layers.0.weight"]  # and yet it was filled:
    assert np.array_equal(
        array_of(net.layers[0].weight),
        fastinit.he_normal(np.empty((8, 8), np.float32), layout="torch", seed=0, stream="layers.0.weight"),
    )
    assert "frozen (also filled): layers.0.weight" in str(report)


def test_autograd_sees_the_write() -> None:
    layer = nn.Linear(3, 3)
    loss: Any = (layer.weight * layer.weight).sum()
    init_module(layer, NORMAL, seed=0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_meta_module_gets_memory_and_the_same_bits() -> None:
    real, meta = Net(), on_meta(Net)
    meta.layers[0].weight.requires_grad_(False)
    meta.layers[1].weight.mark = "kept"
    state = torch.get_rng_state()
    one, other = init_module(real, MLP, seed=0), init_module(meta, MLP, seed=0)
    assert torch.equal(state, torch.get_rng_state())
    assert same(values(real), values(meta))
    assert one.digest == other.digest
    assert not meta.layers[0].weight.requires_grad
    assert meta.layers[1].weight.mark == "kept"
    assert all(type(p) is nn.Parameter for p in meta.parameters())
    assert {n: b.tolist() for n, b in meta.named_buffers()} == {n: b.tolist() for n, b in real.named_buffers()}
    assert other.buffers == ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked")
    assert "buffers computed: norm.running_mean" in str(other)
    assert one.buffers == other.buffers
    meta(torch.ones(4, 8)).sum().backward()


def test_of_a_module_that_is_partly_on_meta_only_that_part_is_new() -> None:
    net: Any = Net()
    weight = net.layers[0].weight
    net.layers[1] = on_meta(lambda: nn.Linear(8, 8))
    mean = net.norm.running_mean
    init_module(net, MLP, seed=0)
    assert net.layers[0].weight is weight
    assert net.norm.running_mean is mean
    assert not net.layers[1].weight.is_meta


def test_recurrent_layers_run_after_meta() -> None:
    lstm = on_meta(lambda: nn.LSTM(4, 5, num_layers=2))
    init_module(lstm, NORMAL, seed=0)
    assert lstm._flat_weights[0] is lstm.weight_ih_l0  # its own list is kept right
    out, _ = lstm(torch.ones(3, 2, 4))
    out.sum().backward()
    assert all(p.grad is not None for p in lstm.parameters())


def test_parameters_of_no_elements_and_of_no_dimensions() -> None:
    module = nn.ParameterDict({"none": torch.empty(0, 3), "one": torch.empty(()), "few": torch.empty(2, 0)})
    report = init_module(module, NORMAL, seed=0)
    one = fastinit.normal(np.empty((), np.float32), std=0.5, seed=0, stream="one")
    assert module["one"].item() == one.item()
    row = next(row for row in report.rows if row.name == "none")
    assert (row.n, row.digest) == (0, 0)
    assert math.isnan(row.measured_mean or 0.0)
    assert math.isnan(row.measured_std or 0.0)
    assert "0x3" in str(report)


# --- a part of a model ----------------------------------------------------------------------------------------------


def body_and_head() -> Any:
    return nn.ModuleDict({"body": nn.Linear(8, 8), "head": nn.Linear(8, 2)})


@pytest.mark.parametrize("build", [lambda f: f(), on_meta], ids=["real", "meta"])
def test_a_head_alone_or_as_a_part_is_the_same(build: Any) -> None:
    """By include=, with a recipe for all of the model or for the head only; by prefix=, without the rest of it."""
    whole, part, head_recipe, alone = (build(body_and_head) for _ in range(4))
    everything = {"*.bias": Initializer("zeros"), "*": Initializer("he_normal")}
    head = {"head.bias": Initializer("zeros"), "head.*": Initializer("he_normal")}
    init_module(whole, everything, seed=3)
    before = {name: (tensor, tensor._version) for name, tensor in part["body"].named_parameters()}
    content = None if build is on_meta else values(part["body"])
    reports = [
        init_module(part, everything, seed=3, include="head.*"),
        init_module(head_recipe, head, seed=3, include=["head.*"]),
        init_module(alone["head"], head, seed=3, prefix="head."),
    ]
    for module, report in zip((part, head_recipe, alone), reports, strict=True):
        assert same(values(module["head"]), values(whole["head"]))
        assert [row.name for row in report.rows] == ["head.weight", "head.bias"]
        assert report.digest == reports[0].digest
    for name, (tensor, version) in before.items():
        assert part["body"].get_parameter(name) is tensor
        assert tensor._version == version
        assert tensor.is_meta == (build is on_meta)
    assert content is None or same(values(part["body"]), content)
    assert reports[0].left == reports[1].left == ("body.weight", "body.bias")
    assert str(reports[0]).splitlines()[-1] == "left alone: body.weight, body.bias"
    assert reports[2].left == ()
    assert "left" not in str(reports[2])


def test_the_rest_by_exclude() -> None:
    one, other = body_and_head(), body_and_head()
    init_module(one, NORMAL, seed=1, include="body.*")
    report = init_module(other, NORMAL, seed=1, exclude=["head.*"])
    assert same(values(one["body"]), values(other["body"]))
    assert report.left == ("head.weight", "head.bias")
    both = init_module(one, NORMAL, seed=1, include="*.weight", exclude=("body.*",))
    assert [row.name for row in both.rows] == ["head.weight"]
    assert both.left == ("body.weight", "body.bias", "head.bias")
    assert init_module(one, NORMAL, seed=1, include=[]).rows == ()


def test_many_that_are_left_are_counted() -> None:
    report = init_module(nn.Sequential(*(nn.Linear(1, 1) for _ in range(20))), NORMAL, seed=0, include="7.weight")
    assert len(report.left) == 39
    assert str(report).splitlines()[-1].startswith("left alone: 0.weight, 0.bias, 1.weight, ")
    assert str(report).endswith("and 19 more")


def test_what_is_excluded_may_be_anything() -> None:
    """Integers, sparse tensors, lazy and flattened parameters, subclasses, other devices: nothing is asked of them."""
    module = nn.Module()
    odd: dict[str, Tensor] = {
        "codes": nn.Parameter(torch.tensor([1, 2, 3], dtype=torch.int8), requires_grad=False),
        "sparse": nn.Parameter(torch.ones(2, 2).to_sparse()),
        "lazy": nn.UninitializedParameter(),
        "fake": nn.Parameter(fake_cuda(), requires_grad=False),
        "sub": torch.Tensor._make_subclass(Sub, torch.ones(2)),
        "expanded": nn.Parameter(expanded(), requires_grad=False),
        "meta": nn.Parameter(torch.empty(3, device="meta")),
        "flat": nn.Parameter(torch.ones(4)),
        "none": nn.Parameter(torch.empty(0)),
    }
    odd["flat"]._fsdp_flattened = True  # type: ignore[attr-defined]
    for name, tensor in odd.items():
        module.register_parameter(name, tensor)  # type: ignore[arg-type]
    module.good = nn.Linear(3, 3)
    report = init_module(module, NORMAL, seed=0, exclude=list(odd))
    assert [row.name for row in report.rows] == ["good.weight", "good.bias"]
    assert report.left == tuple(odd)
    assert all(module.get_parameter(name) is tensor for name, tensor in odd.items())
    assert odd["codes"].tolist() == [1, 2, 3]
    assert odd["flat"].tolist() == [1.0] * 4
    assert init_module(module, NORMAL, seed=0, include="good.*").digest == report.digest
    for name in odd.keys() - {"meta", "none"}:
        with pytest.raises(ValueError, match=f"'{name}'"):
            init_module(module, NORMAL, seed=0, exclude=[other for other in odd if other != name])
    for name in ("codes", "sparse", "fake"):
        with pytest.raises(ValueError, match=f"; exclude='{name}' leaves it alone$"):
            init_module(module, NORMAL, seed=0, exclude=[other for other in odd if other != name])


def test_prefix_goes_before_all_names() -> None:
    module: Any = on_meta(lambda: Net(mask=True))
    report = init_module(
        module,
        {"a.b.layers.*": Initializer("normal")},
        seed=0,
        prefix="a.b.",
        include="a.b.layers.*",
        exclude="a.b.layers.1.*",
        buffers={"a.b.mask": lambda _: torch.zeros(3)},
    )
    assert [row.name for row in report.rows] == ["a.b.layers.0.weight", "a.b.layers.0.bias"]
    assert "a.b.mask" in report.left
    report = init_module(
        module, NORMAL, seed=0, prefix="a.b.", exclude="a.b.layers.*", buffers={"a.b.mask": lambda _: torch.zeros(3)}
    )
    assert "a.b.mask" in report.buffers
    named = init_module(gpt2().transformer, "gpt2", seed=0, prefix="transformer.")
    assert named.rows[0].name == "transformer.wte.weight"
    assert {row.name: row.digest for row in named.rows}.items() <= {
        row.name: row.digest for row in init_module(gpt2(), "gpt2", seed=0).rows
    }.items()


def test_a_shipped_recipe_sees_all_of_the_model() -> None:
    """The depth of GPT-2 is in its values, also where one block is selected."""
    whole, part = gpt2(), gpt2()
    init_module(whole, "gpt2", seed=2)
    report = init_module(part, "gpt2", seed=2, include="transformer.h.1.*")
    assert same(values(part.transformer.h[1]), values(whole.transformer.h[1]))
    row = next(row for row in report.rows if row.name.endswith("attn.c_proj.weight"))
    assert row.expected_std == pytest.approx(0.02 / math.sqrt(2 * 3))


@pytest.mark.parametrize("how", ["object", "memory", "transposed"])
def test_tied_weights_are_selected_as_one(how: str) -> None:
    def build() -> Any:
        tied = Tied(how)
        tied.other = nn.Linear(2, 2)
        with torch.no_grad():
            tied.first.weight.fill_(7.0)
        return tied

    wanted = fastinit.normal(np.empty((6, 6), np.float32), 0.0, 0.5, seed=0, stream="first.weight")
    selection: dict[str, Any]
    for selection in (
        {"include": "first.*"},
        {"include": ["first.*", "second.*"]},
        {"exclude": "other.*"},
    ):
        module = build()
        report = init_module(module, NORMAL, seed=0, **selection)
        assert np.array_equal(array_of(module.first.weight), wanted)
        assert [(row.name, row.tied) for row in report.rows] == [("first.weight", ("second.weight",))]
    for selection in (
        {"include": "other.*"},
        {"exclude": "first.weight"},
        {"exclude": ["first.*", "second.*"]},
        {"include": ["second.*", "other.*"], "exclude": "second.*"},
    ):
        module = build()
        report = init_module(module, NORMAL, seed=0, **selection)
        assert (module.first.weight == 7).all()
        assert report.left == ("first.weight", "second.weight")
    for selection, message in (
        ({"include": "second.*"}, "include: 'second.weight' is another name of 'first.weight', which is not included"),
        (
            {"include": ["second.*"], "exclude": "first.*"},
            "include: 'second.weight' is another name of 'first.weight', which is excluded",
        ),
        ({"exclude": "second.*"}, "exclude: 'second.weight' is another name of 'first.weight', which is not excluded"),
        ({"include": "first.*", "exclude": "second.*"}, "exclude: 'second.weight' is another name of 'first.weight'"),
    ):
        module = build()
        with pytest.raises(ValueError, match=message):
            init_module(module, NORMAL, seed=0, **selection)
        assert (module.first.weight == 7).all()
        assert module.first.weight._version == build().first.weight._version


def test_memory_that_is_shared_with_what_is_excluded() -> None:
    """A part of it would be overwritten: refused. Neighbours are not touched; what is left may overlap as it likes."""
    cases: list[tuple[str, dict[str, Any]]] = [
        ("part", {"exclude": "first.*"}),
        ("part", {"exclude": "second.*"}),
        ("type", {}),
    ]
    for how, selection in cases:
        module = Tied(how)
        with torch.no_grad():
            module.first.weight.fill_(7.0)
        with pytest.raises(ValueError, match=r"'first\.weight' and 'second\.weight' share memory, but"):
            init_module(module, NORMAL, seed=0, **selection)
        assert (module.first.weight == 7).all()
    module = Tied("part")
    module.other = nn.Linear(2, 2)
    assert len(init_module(module, NORMAL, seed=0, include="other.*").rows) == 2
    module = Tied("halves")
    before = array_of(module.first.weight).copy()
    init_module(module, NORMAL, seed=0, exclude="first.*")
    assert before.tobytes() == array_of(module.first.weight).tobytes()
    # One long parameter over two short ones, which do not touch each other: the far one counts too.
    line = torch.zeros(30)
    long = nn.ParameterDict({"a": line, "b": line[2:5], "c": line[20:30]})
    with pytest.raises(ValueError, match="'a' and 'c' share memory, but"):
        init_module(long, NORMAL, seed=0, exclude=["a", "b"])
    assert not line.any()


SELECTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"include": "head.*"}, ValueError, r"include: no name matches the pattern 'head\.\*'; the names are 'layers\.0"),
    ({"exclude": ["*.bias", "nothing"]}, ValueError, "exclude: no name matches the pattern 'nothing'"),
    ({"include": 3}, TypeError, "include must be a pattern of names or a sequence of them, got 3 of type int"),
    ({"exclude": [3]}, TypeError, r"exclude must be .*, got 3 of type int in it"),
    ({"prefix": "head"}, ValueError, r"prefix must be empty or end with a dot, as in 'head\.', got 'head'"),
    ({"prefix": None}, TypeError, "prefix must be a str, got None"),
    ({"prefix": "a.", "include": "layers.*"}, ValueError, r"no name matches .* 'layers.*'; the names are 'a\."),
]


@pytest.mark.parametrize(("arguments", "error", "message"), SELECTIONS)
def test_selections_that_are_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    net = Net()
    before = values(net)
    with pytest.raises(error, match=message):
        init_module(net, NORMAL, seed=0, **arguments)
    assert same(values(net), before)


# --- ties -----------------------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.first = nn.Linear(6, 6, bias=False)
        self.second = nn.Linear(6, 6, bias=False)
        weight = self.first.weight
        if how == "object":
            self.second.weight = weight
        elif how == "memory":
            self.second.weight = nn.Parameter(weight.data)
        elif how == "transposed":
            self.second.weight = nn.Parameter(weight.data.T)
        elif how == "part":
            self.second.weight = nn.Parameter(weight.data[:3])
        elif how == "type":
            self.second.weight = nn.Parameter(weight.data.view(torch.float16)[:, :6])
        elif how == "halves":
            both = torch.empty(12, 6)
            self.first.weight, self.second.weight = nn.Parameter(both[:6]), nn.Parameter(both[6:])


@pytest.mark.parametrize("build", [lambda f: f(), on_meta], ids=["real", "meta"])
@pytest.mark.parametrize("how", ["object", "memory", "transposed"])
def test_tied_weights_are_filled_once_under_the_first_name_and_stay_tied(how: str, build: Any) -> None:
    module = build(functools.partial(Tied, how))
    version = module.second.weight._version
    report = init_module(module, {"first.weight": Initializer("normal")}, seed=0)
    wanted = torch.from_numpy(fastinit.normal(np.empty((6, 6), np.float32), seed=0, stream="first.weight"))
    assert torch.equal(module.first.weight, wanted)
    assert torch.equal(module.second.weight, wanted.T if how == "transposed" else wanted)
    assert (module.first.weight is module.second.weight) == (how == "object")
    assert module.first.weight.data_ptr() == module.second.weight.data_ptr()
    assert module.second.weight._version > version or build is on_meta
    assert [(row.name, row.tied) for row in report.rows] == [("first.weight", ("second.weight",))]
    assert "first.weight is also second.weight" in str(report)
    module.first.weight.data[0, 1] = 5.0
    assert module.second.weight.data.flatten()[6 if how == "transposed" else 1] == 5.0


@pytest.mark.parametrize("build", [lambda f: f(), on_meta], ids=["real", "meta"])
def test_parts_of_one_storage_are_parameters_of_their_own(build: Any) -> None:
    module = build(functools.partial(Tied, "halves"))
    report = init_module(module, NORMAL, seed=0)
    assert [row.name for row in report.rows] == ["first.weight", "second.weight"]
    first, second = module.first.weight, module.second.weight
    assert second.data_ptr() == first.data_ptr() + 6 * 6 * 4
    wanted = fastinit.normal(np.empty((6, 6), np.float32), std=0.5, seed=0, stream="second.weight")
    assert np.array_equal(array_of(second), wanted)


# --- refusals -------------------------------------------------------------------------------------------------------


def fake_cuda() -> Any:
    """A tensor on a GPU, on a machine without one."""
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return torch.empty(2, 2, device="cuda")


def expanded() -> Any:
    return torch.empty(3).expand(3, 3)


def short() -> Any:
    """A tensor whose storage has been made smaller than it is."""
    tensor = torch.ones(4, 4)
    tensor.untyped_storage().resize_(4)
    return tensor


class Sub(nn.Parameter):
    pass


def with_parameter(make: Callable[[], Tensor]) -> Any:
    module = nn.Module()
    module.good = nn.Parameter(torch.full((2, 2), 7.0))
    bad = make()
    module.bad = bad if isinstance(bad, nn.Parameter) else nn.Parameter(bad, requires_grad=False)
    return module


REFUSED: list[tuple[str, Callable[[], Any], dict[str, Any], type[Exception], str]] = [
    (
        "no module",
        lambda: torch.ones(3),
        {},
        TypeError,
        "module must be a torch.nn.Module, got tensor.* of type Tensor",
    ),
    ("seed", Net, {"seed": None}, TypeError, "seed must be an int.* got None"),
    ("seed", Net, {"seed": -1}, ValueError, "seed must be .* got -1"),
    ("seed", Net, {"seed": True}, TypeError, "seed must be .* got True"),
    ("seed", lambda: nn.Identity(), {"seed": -1, "recipe": {}}, ValueError, "seed must be .* got -1"),
    ("threads", Net, {"threads": 0}, ValueError, "threads must be .* got 0"),
    ("bit_generator", Net, {"bit_generator": "mt"}, ValueError, "bit_generator must be .* got 'mt'"),
    ("report", Net, {"report": 1}, TypeError, "report must be True or False, got 1 of type int"),
    ("recipe", Net, {"recipe": 3}, TypeError, "recipe must be pairs of .* got 3 of type int"),
    ("recipe", Net, {"recipe": "gpt3"}, ValueError, "recipe must be one of 'gpt2', .* got 'gpt3'"),
    ("recipe", Net, {"recipe": "gpt2"}, ValueError, "recipe 'gpt2' is for .* missing: 'wte.weight'; unknown"),
    (
        "recipe",
        Net,
        {"recipe": {"*.bias": Initializer("zeros"), "no": Initializer("ones")}},
        ValueError,
        "no pattern matches the parameters 'layers.0.weight', .*; no parameter matches the patterns 'no'",
    ),
    (
        "fans",
        Net,
        {"recipe": {"*": Initializer("he_normal")}},
        ValueError,
        r"parameter 'layers.0.bias' of shape \(8,\): Initializer\('he_normal'\): a vector has no fans",
    ),
    (
        "range",
        lambda: Net().half(),
        {"recipe": {"layers*": Initializer("ones"), "*": Initializer("constant", {"value": 1e6})}},
        ValueError,
        r"parameter 'norm.weight' of shape \(8,\): .* beyond the range of float16",
    ),
    (
        "int",
        lambda: with_parameter(lambda: torch.ones(3, dtype=torch.int8)),
        {},
        ValueError,
        "'bad' must have dtype float32",
    ),
    (
        "int on meta",
        lambda: with_parameter(lambda: torch.ones(3, dtype=torch.int8, device="meta")),
        {},
        ValueError,
        "'bad' must have dtype float32",
    ),
    ("sparse", lambda: with_parameter(lambda: torch.ones(2, 2).to_sparse()), {}, ValueError, "'bad' must be dense"),
    (
        "subclass",
        lambda: with_parameter(lambda: torch.Tensor._make_subclass(Sub, torch.ones(2))),
        {},
        ValueError,
        "'bad' must be a plain tensor with memory of its own, got Sub",
    ),
    (
        "lazy",
        lambda: nn.Sequential(nn.LazyLinear(3)),
        {},
        ValueError,
        "'0.weight' must be a plain .* got UninitializedParameter",
    ),
    (
        "cuda",
        lambda: with_parameter(fake_cuda),
        {},
        ValueError,
        "'bad' must be a plain tensor with memory of its own, got FakeTensor; move the module to the CPU, or",
    ),
    ("expanded", lambda: with_parameter(expanded), {}, ValueError, "'bad' must have memory for each of its elements"),
    (
        "expanded on meta",
        lambda: on_meta(lambda: with_parameter(expanded)),
        {},
        ValueError,
        "'bad' must have memory for each of its elements",
    ),
    ("part", lambda: Tied("part"), {}, ValueError, "'first.weight' and 'second.weight' share memory, but"),
    ("part on meta", lambda: on_meta(lambda: Tied("part")), {}, ValueError, "share memory, but"),
    ("other type", lambda: Tied("type"), {}, ValueError, "share memory, but"),
    (
        "short",
        lambda: with_parameter(short),
        {},
        ValueError,
        "'bad' must lie within its storage, got one that ends at byte 64 of a storage of 4 bytes",
    ),
    (
        "a kernel that its initialiser refuses",
        lambda: nn.Sequential(nn.Linear(2, 2), nn.Conv2d(2, 3, 1)),
        {"recipe": {"1.weight": Initializer("dirac", groups=2), "*": Initializer("ones")}},
        ValueError,
        r"parameter '1\.weight' of shape \(3, 2, 1, 1\): Initializer\('dirac', groups=2, layout='torch'\): ",
    ),
]


@pytest.mark.parametrize(("what", "build", "arguments", "error", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_refused_call_changes_nothing(
    what: str, build: Callable[[], Any], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    module = build()
    tensors: list[Tensor] = list(module.parameters()) if isinstance(module, nn.Module) else []
    plain = [t for t in tensors if type(t) is nn.Parameter and t.device.type == "cpu" and t.layout is torch.strided]
    plain = [t for t in plain if t.untyped_storage().nbytes() != 4]  # what was made short cannot be read
    before = [(t._version, t.detach().clone()) for t in plain]
    with pytest.raises(error, match=message):
        init_module(module, **{"recipe": NORMAL, "seed": 0, **arguments})
    assert tensors == [] or all(a is b for a, b in zip(module.parameters(), tensors, strict=True))
    for tensor, (version, content) in zip(plain, before, strict=True):
        assert tensor._version == version
        assert torch.equal(tensor, content) or content.isnan().any()


def test_the_recipe_and_the_seed_are_needed() -> None:
    with pytest.raises(TypeError, match="recipe"):
        init_module(Net(), seed=0)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="seed"):
        init_module(Net(), NORMAL)  # type: ignore[call-arg]


# --- the report -----------------------------------------------------------------------------------------------------


def test_the_report_says_what_was_done() -> None:
    net: Any = nn.Sequential(nn.Linear(100, 200))
    report = init_module(net, [("*.weight", Initializer("he_normal")), ("*", Initializer("zeros"))], seed=3)
    weight, bias = report.rows
    assert (weight.name, weight.shape, weight.dtype, weight.n) == ("0.weight", (200, 100), "float32", 20000)
    assert (weight.pattern, weight.initializer) == ("*.weight", Initializer("he_normal", fan_in=100))
    assert weight.expected_mean == 0.0
    assert weight.expected_std == pytest.approx(math.sqrt(2 / 100), rel=1e-15)
    content = array_of(net[0].weight).astype(np.float64)
    assert weight.measured_mean == pytest.approx(content.mean(), abs=1e-9)
    assert weight.measured_std == pytest.approx(content.std(), rel=1e-9)
    assert (bias.measured_mean, bias.measured_std) == (0.0, 0.0)
    assert (report.seed, report.bit_generator, report.buffers) == (3, "ars", ())
    text = str(report).splitlines()
    assert text[0].split() == [
        "parameter",
        "shape",
        "dtype",
        "initializer",
        "mean",
        "expected",
        "std",
        "expected",
        "digest",
    ]
    assert text[1].startswith("0.weight   200x100  float32  he_normal(fan_in=100)")
    assert text[1].endswith(f"0.1414    {weight.digest:016x}")
    assert text[-1] == f"2 parameters, 20200 elements; seed 3, ars; digest {report.digest:016x}"


def test_without_a_report_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured, silent = Net(), Net()
    init_module(measured, MLP, seed=0)
    monkeypatch.setattr(module_file, "summaries", None)
    report = init_module(silent, MLP, seed=0, report=False)
    assert same(values(measured), values(silent))
    assert report.digest is None
    assert {(row.measured_mean, row.measured_std, row.digest) for row in report.rows} == {(None, None, None)}
    assert "digest " not in str(report).splitlines()[-1]


def test_the_digest_tells_modules_apart() -> None:
    digests = []
    for net, seed in ((Net(), 0), (Net(), 0), (Net(), 1), (Net(3), 0), (Net().double(), 0)):
        digests.append(init_module(net, MLP, seed=seed).digest)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    # The same values under exchanged names: each digest counts with its name.
    one, other = nn.ParameterDict(), nn.ParameterDict()
    for module, (a, b) in ((one, (1.0, 2.0)), (other, (2.0, 1.0))):
        module["a"], module["b"] = torch.empty(3), torch.empty(3)
        recipe = {"a": Initializer("constant", {"value": a}), "b": Initializer("constant", {"value": b})}
        digests.append(init_module(module, recipe, seed=0).digest)
    assert digests[-1] != digests[-2]


# --- meshes ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def rank_of(rank: int, size: int) -> Iterator[None]:
    """This process as one of several, none of which ever hears of another."""
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.tensor.debug import _clear_sharding_prop_cache
    from torch.testing._internal.distributed.fake_pg import FakeStore

    init_process_group("fake", store=FakeStore(), rank=rank, world_size=size)
    try:
        yield
    finally:
        destroy_process_group()
        clear: Any = _clear_sharding_prop_cache
        clear()  # which knows the mesh of this rank


def sharded(build: Callable[[], Any]) -> Any:
    """All parameters as DTensors, cut along their first dimension."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    module = build()
    mesh = init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    for owner in module.modules():
        for key, parameter in list(owner.named_parameters(recurse=False)):
            setattr(owner, key, nn.Parameter(distribute_tensor(parameter.detach(), mesh, [Shard(0)])))
    return module


@pytest.mark.parametrize("build", [Net, functools.partial(on_meta, Net)], ids=["real", "meta"])
def test_ranks_fill_their_pieces_and_their_digests_add_up(build: Callable[[], Any]) -> None:
    whole = Net()
    report = init_module(whole, MLP, seed=5)
    total, pieces = 0, []
    for rank in range(3):  # 8 rows: 3, 3 and 2
        with rank_of(rank, 3):
            module = sharded(build)
            version = module.layers[0].weight._version
            mine = init_module(module, MLP, seed=5)
            assert module.layers[0].weight._version > version or build is not Net
            pieces.append({name: array_of(p.to_local()).copy() for name, p in module.named_parameters()})
            assert mine.digest is not None
            total += mine.digest
            for row, other in zip(mine.rows, report.rows, strict=True):
                assert (row.name, row.shape, row.expected_std) == (other.name, other.shape, other.expected_std)
                assert row.n == len(pieces[-1][row.name]) * math.prod(row.shape[1:])
                assert row.measured_std == pytest.approx(float(pieces[-1][row.name].astype(float).std()), rel=1e-6)
            assert f"160 elements, {sum(row.n for row in mine.rows)} of them here" in str(mine)
    for name, wanted in values(whole).items():
        assert np.array_equal(np.concatenate([piece[name] for piece in pieces]), wanted)
    assert total % 2**64 == report.digest


def test_several_boxes_of_one_parameter_are_measured_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a strided shard has them: here the first and the third quarter of a plain tensor."""
    layer = nn.Linear(40, 8, bias=False)
    whole = init_module(layer, NORMAL, seed=0)
    content = array_of(layer.weight).copy()
    halves = [(layer.weight[:2], (0, 0)), (layer.weight[4:6], (4, 0)), (layer.weight[:0], (0, 0))]
    monkeypatch.setattr(module_file, "boxes", lambda tensor: ((8, 40), halves))
    with torch.no_grad():
        layer.weight.zero_()
    row = init_module(layer, NORMAL, seed=0).rows[0]
    part = content[[0, 1, 4, 5]].astype(np.float64)
    assert np.array_equal(array_of(layer.weight)[[0, 1, 4, 5]], content[[0, 1, 4, 5]])
    assert row.n == 160
    assert row.measured_mean == pytest.approx(part.mean(), rel=1e-6)
    assert row.measured_std == pytest.approx(part.std(), rel=1e-6)
    wanted = sum(fastinit.summary(x.detach(), global_shape=(8, 40), offset=at).digest for x, at in halves)
    assert row.digest == wanted % 2**64 != whole.rows[0].digest


@pytest.mark.parametrize("original", [False, True])
def test_flattened_parameters_are_refused(original: bool) -> None:
    """FSDP1 cuts all parameters of a module as one line: their names, shapes or both are not those of the model."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    with rank_of(0, 2):
        device = torch.device("cpu")
        wrapped = FullyShardedDataParallel(nn.Linear(3, 5), use_orig_params=original, device_id=device)
        before = [parameter.detach().clone() for parameter in wrapped.parameters()]
        for module in (wrapped, wrapped.module):
            with pytest.raises(ValueError, match=r"parameter '.*' was flattened .*FullyShardedDataParallel"):
                init_module(module, NORMAL, seed=0)
        assert all(map(torch.equal, wrapped.parameters(), before))


def test_parameters_that_a_module_does_not_list_are_refused() -> None:
    """They would be neither filled nor left."""

    class Partly(nn.Sequential):
        def named_parameters(self, *args: Any, **options: Any) -> Any:
            return ((name, p) for name, p in super().named_parameters(*args, **options) if name != "1.bias")

    net = Partly(nn.Linear(2, 2), nn.Linear(2, 2))
    before = [p.detach().clone() for p in net.parameters()]
    with pytest.raises(ValueError, match=r"^parameters '1\.bias' are in the module, and not in its named_param"):
        init_module(net, NORMAL, seed=0)
    assert all(torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))


def test_a_dual_tensor_is_refused() -> None:
    """Its tangent would stay."""
    net = nn.Linear(2, 2, bias=False)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.ones(2, 2), torch.ones(2, 2))  # type: ignore[no-untyped-call]
        del net.weight
        net._parameters["weight"] = dual
        with pytest.raises(ValueError, match=r"^parameter 'weight' must not be a dual tensor"):
            init_module(net, NORMAL, seed=0)
        assert (dual == 1).all()


def test_a_dtensor_that_cannot_be_filled_is_named() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Partial, Replicate

    with rank_of(0, 2):
        module = nn.Module()
        mesh = init_device_mesh("cpu", (2,))
        module.odd = nn.Parameter(DTensor.from_local(torch.ones(2, 2), mesh, [Partial()]))
        with pytest.raises(ValueError, match=r"parameter 'odd' of shape \(2, 2\): .*Partial"):
            init_module(module, NORMAL, seed=0)
        whole = DTensor.from_local(torch.ones(2, dtype=torch.int16), mesh, [Replicate()])
        module.odd = nn.Parameter(whole, requires_grad=False)
        with pytest.raises(ValueError, match=r"'odd' must have dtype float32, .*, got torch.int16"):
            init_module(module, {"*": Initializer("ones")}, seed=0)


# --- real models ----------------------------------------------------------------------------------------------------


def gpt2(**options: Any) -> Any:
    t = library("transformers")
    options = {"n_layer": 3, "n_embd": 48, "n_head": 2, "vocab_size": 300, "n_positions": 64, **options}
    return t.GPT2LMHeadModel(t.GPT2Config(bos_token_id=0, eos_token_id=0, **options))


def llama(**options: Any) -> Any:
    t = library("transformers")
    options = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, **options}
    return t.LlamaForCausalLM(t.LlamaConfig(vocab_size=300, **options))


def vit(**options: Any) -> Any:
    t = library("timm.models.vision_transformer")
    options = {
        "img_size": 32,
        "patch_size": 8,
        "embed_dim": 48,
        "depth": 2,
        "num_heads": 3,
        "num_classes": 10,
        **options,
    }
    return t.VisionTransformer(**options)


def resnet(**options: Any) -> Any:
    t = library("torchvision.models.resnet")
    return t.ResNet(t.BasicBlock, [1, 1, 1, 1], num_classes=100, **options)


def timm_resnet(block: str = "BasicBlock") -> Any:
    t = library("timm.models.resnet")
    return t.ResNet(getattr(t, block), [1, 1, 1, 1], num_classes=100)


ZERO_LAST = recipes.resnet(512, zero_init_last=True, bottleneck=False)
ZERO_LAST_3 = recipes.resnet(2048, zero_init_last=True)
TWO_BIASES = {"attention_bias": True, "mlp_bias": True}
MODELS: dict[str, tuple[Callable[[], Any], Any]] = {
    "gpt2": (gpt2, "gpt2"),
    "gpt2-untied": (functools.partial(gpt2, tie_word_embeddings=False), "gpt2"),
    "gpt2-std": (functools.partial(gpt2, initializer_range=0.1), recipes.gpt2(3, std=0.1)),
    "llama": (llama, "llama"),
    "llama-tied-biases": (functools.partial(llama, tie_word_embeddings=True, **TWO_BIASES), "llama"),
    "vit": (vit, "vit"),
    "vit-registers": (functools.partial(vit, reg_tokens=4, class_token=False, global_pool="avg", qk_norm=True), "vit"),
    "vit-layer-scale": (functools.partial(vit, init_values=1e-5), recipes.vit(192, layer_scale=1e-5)),
    "resnet": (resnet, "resnet"),
    "resnet-zero": (functools.partial(resnet, zero_init_residual=True), ZERO_LAST),
    "timm-resnet": (timm_resnet, ZERO_LAST),
    "timm-resnet-bottleneck": (functools.partial(timm_resnet, "Bottleneck"), ZERO_LAST_3),
}


@pytest.mark.parametrize("model", list(MODELS))
def test_a_shipped_recipe_has_the_laws_of_the_models_own_code(model: str) -> None:
    """Constants exactly; mean, variance and distribution function of both within sampling error.

    Each limit has p < 6e-7 for a law that agrees. Some 250 parameters are drawn and each is checked in 6 ways: all
    together would fail for one choice of seeds in a thousand. They were chosen before the first run.
    """
    from scipy import stats  # type: ignore[import-untyped, unused-ignore]

    build, recipe = MODELS[model]
    torch.manual_seed(0)
    theirs = build()
    ours = build()
    report = init_module(ours, recipe, seed=0)
    assert [row.name for row in report.rows] == [name for name, _ in theirs.named_parameters()]
    both = [(dict(m.named_parameters()), dict(m.named_buffers())) for m in (theirs, ours)]
    for row in report.rows:
        for parameters, _ in both:
            x = array_of(parameters[row.name]).astype(np.float64).ravel()
            if row.expected_std == 0.0:
                assert (x == np.float32(row.expected_mean)).all(), row
                continue
            z = (x - row.expected_mean) / row.expected_std
            flat = row.initializer.function == "uniform"
            # All normal laws here, the truncated ones too (cut at 100 standard deviations).
            error_of_variance = math.sqrt((0.8 if flat else 2.0) / z.size)
            assert abs(z.mean()) < 5 / math.sqrt(z.size), row
            assert abs((z * z).mean() - 1) < max(5 * error_of_variance, stats.chi2.isf(3e-7, z.size) / z.size - 1), row
            law = stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)) if flat else stats.norm()
            assert stats.kstest(z[:20_000], law.cdf).pvalue > 1e-7, row
    assert both[0][1].keys() == both[1][1].keys()
    assert all(torch.equal(tensor, both[1][1][name]) for name, tensor in both[0][1].items())


@pytest.mark.parametrize("model", list(MODELS))
def test_a_model_from_meta_is_the_model(model: str) -> None:
    build, recipe = MODELS[model]
    real, meta = build(), on_meta(build)
    one, other = init_module(real, recipe, seed=3), init_module(meta, recipe, seed=3)
    assert one.digest == other.digest
    assert [row.tied for row in one.rows] == [row.tied for row in other.rows]
    a, b = real.state_dict(), meta.state_dict()
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    buffers = dict(meta.named_buffers())
    assert all(torch.equal(tensor, buffers[name]) for name, tensor in real.named_buffers())
    # And it computes what the other does: nothing else of it is left on the meta device.
    real.eval()
    meta.eval()
    with torch.no_grad():
        if hasattr(real, "config"):
            tokens = torch.arange(12).reshape(2, 6)
            assert torch.equal(real(tokens).logits, meta(tokens).logits)
        else:
            images = torch.ones(2, 3, 32, 32)
            assert torch.equal(real(images), meta(images))


@pytest.mark.parametrize("build", [lambda f: f(), on_meta], ids=["real", "meta"])
def test_transformers_ties_stay(build: Any) -> None:
    model = build(gpt2)
    report = init_module(model, "gpt2", seed=0)
    assert model.lm_head.weight is model.transformer.wte.weight
    assert [row.tied for row in report.rows if row.tied] == [("lm_head.weight",)]


@pytest.mark.parametrize("kind", ["linear", "llama3", "yarn"])
def test_rotary_embeddings_of_any_kind_are_restored(kind: str) -> None:
    rope = {"rope_type": kind, "rope_theta": 5e5, "factor": 4.0, "original_max_position_embeddings": 64}
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    build = functools.partial(llama, rope_parameters=rope, max_position_embeddings=256)
    real, meta = build(), on_meta(build)
    assert "model.rotary_emb.inv_freq" in init_module(meta, "llama", seed=0).buffers
    buffers = dict(meta.named_buffers())
    assert len(buffers) == 2
    assert all(torch.equal(tensor, buffers[name]) for name, tensor in real.named_buffers())


# --- documents ------------------------------------------------------------------------------------------------------


def test_docstrings() -> None:
    assert doctest.testmod(module_file).failed == 0
    assert doctest.testmod(recipes).failed == 0


# --- names and memory that are not what they seem -------------------------------------------------------------------


def test_names_that_wrappers_make_equal() -> None:
    net = nn.Module()
    net.l = nn.Linear(2, 3, bias=False)
    net._orig_mod = nn.Module()
    net._orig_mod.l = nn.Linear(2, 3, bias=False)
    with pytest.raises(ValueError, match=r"2 parameters are called 'l\.weight'"):
        init_module(net, NORMAL, seed=0)


@pytest.fixture
def group() -> Iterator[None]:
    """This process alone."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_distributed_data_parallel_is_the_model(group: None) -> None:
    """Its own "module." is no part of a name."""
    plain, wrapped = nn.Linear(3, 4), nn.parallel.DistributedDataParallel(nn.Linear(3, 4))
    ours = init_module(wrapped, NORMAL, seed=0)
    assert [row.name for row in ours.rows] == ["weight", "bias"]
    assert ours.digest == init_module(plain, NORMAL, seed=0).digest


def test_data_parallel_is_the_model() -> None:
    plain, wrapped, both = nn.Linear(3, 4), nn.DataParallel(nn.Linear(3, 4)), nn.DataParallel(nn.DataParallel(Net()))
    ours = init_module(wrapped, NORMAL, seed=0)
    assert [row.name for row in ours.rows] == ["weight", "bias"]
    assert ours.digest == init_module(plain, NORMAL, seed=0).digest
    assert init_module(both, NORMAL, seed=0).digest == init_module(Net(), NORMAL, seed=0).digest


def parts(**tensors: Any) -> Any:
    module = nn.Module()
    for name, tensor in tensors.items():
        module.register_parameter(name, nn.Parameter(tensor))
    return module


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_dtensors_that_are_the_same_elements_are_tied(group: None, device: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Shard

    mesh = init_device_mesh("cpu", (1,))
    local = torch.zeros(6, 4, device=device)
    net = parts(**{name: DTensor.from_local(local, mesh, [Shard(0)]) for name in ("one", "other")})
    with pytest.raises(ValueError, match="exclude: 'other' is another name of 'one'"):
        init_module(net, NORMAL, seed=0, exclude="other")
    assert init_module(net, NORMAL, seed=0, exclude="one").left == ("one", "other")
    assert [row.tied for row in init_module(net, NORMAL, seed=0).rows] == [("other",)]
    wanted = fastinit.normal(np.empty((6, 4), np.float32), std=0.5, seed=0, stream="one")
    for tensor in (net.one, net.other):
        assert np.array_equal(array_of(tensor.to_local()), wanted)
    assert net.one.to_local().data_ptr() == net.other.to_local().data_ptr()
    net.other = net.one
    assert [row.tied for row in init_module(net, NORMAL, seed=0).rows] == [("other",)]


@pytest.mark.parametrize("how", ["a part", "a plain tensor", "another placement", "another shape"])
def test_memory_that_is_shared_through_a_dtensor(group: None, how: str) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate, Shard

    mesh = init_device_mesh("cpu", (1,))
    local: Any = torch.zeros(6, 4)
    other: Any = {
        "a part": lambda: DTensor.from_local(local[2:], mesh, [Shard(0)]),
        "a plain tensor": lambda: local,
        "another placement": lambda: DTensor.from_local(local, mesh, [Replicate()]),
        "another shape": lambda: DTensor.from_local(local.view(4, 6), mesh, [Shard(0)]),
    }[how]()  # type: ignore[no-untyped-call]
    net = parts(one=DTensor.from_local(local, mesh, [Shard(0)]), other=other, third=torch.zeros(2))
    for exclude in (None, "one", "other"):
        with pytest.raises(ValueError, match="parameters 'one' and 'other' share memory, but are not views of exactly"):
            init_module(net, NORMAL, seed=0, exclude=exclude)
    assert init_module(net, NORMAL, seed=0, include="third").left == ("one", "other")
    assert not local.any()


# --- wrappers and odd names -----------------------------------------------------------------------------------------


def compiled(module: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        return torch.compile(module)


def checkpointed(module: Any) -> Any:
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

    return checkpoint_wrapper(module)


WRAPPINGS: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "compiled data parallel": (nn.DataParallel, compiled),
    "compiled distributed": (nn.parallel.DistributedDataParallel, compiled),
    "checkpointed distributed": (nn.parallel.DistributedDataParallel, checkpointed),
    "distributed of compiled": (compiled, nn.parallel.DistributedDataParallel),
    "all": (checkpointed, nn.DataParallel, compiled, nn.DataParallel, checkpointed, compiled),
}


@pytest.mark.parametrize("how", WRAPPINGS)
def test_containers_and_wrappers_in_any_order_are_the_model(group: None, how: str) -> None:
    from torch.distributed import checkpoint

    dcp: Any = checkpoint
    plain, wrapped, loaded = Net(), Net(), Net()
    for wrap in WRAPPINGS[how]:
        wrapped, loaded = wrap(wrapped), wrap(loaded)
    wanted = init_module(plain, MLP, seed=0)
    found = init_module(wrapped, MLP, seed=0)
    assert [row.name for row in found.rows] == list(values(plain))
    assert found.digest == wanted.digest
    reader = fastinit.torch.FastInitReader(loaded, MLP, seed=0, exclude="norm.bias", buffers="keep")
    dcp.load(loaded.state_dict(), storage_reader=reader)
    assert [v.tobytes() for v in values(loaded).values()] == [v.tobytes() for v in values(plain).values()]


def test_a_module_with_a_wrappers_name_in_it_is_no_wrapper() -> None:
    net: Any = nn.Module()
    net._orig_mod = nn.DataParallel(nn.Linear(2, 3))
    net.more = nn.Linear(2, 2)
    assert [row.name for row in init_module(net, NORMAL, seed=0).rows][-1] == "more.bias"


def test_a_pattern_that_is_a_name_is_for_that_name() -> None:
    """Keys of a ParameterDict may have brackets, which are a set of characters in a pattern."""
    names = ["a[0]", "a0", "b"]
    module = nn.ParameterDict({name: torch.zeros(2) for name in names})
    assert init_module(module, NORMAL, seed=0, exclude=["a[0]", "b"]).left == ("a[0]", "b")
    assert init_module(module, NORMAL, seed=0, include="a[0]").left == ("a0", "b")
    recipe = {"a[0]": Initializer("ones"), "a0": Initializer("zeros"), "b": Initializer("normal")}
    report = init_module(module, recipe, seed=0)
    assert {row.name: row.pattern for row in report.rows} == {name: name for name in names}
    owner: Any = nn.Linear(1, 1)
    owner.register_buffer("c[0]", torch.zeros(1, device="meta"))
    owner.register_buffer("c0", torch.zeros(1, device="meta"))
    init_module(owner, NORMAL, seed=0, buffers={"c[0]": lambda _: torch.ones(1), "c0": lambda _: torch.zeros(1)})
    assert (getattr(owner, "c[0]").item(), owner.c0.item()) == (1.0, 0.0)


def test_the_third_name_of_a_tie_counts() -> None:
    module: Any = parts(a=torch.zeros(2))
    module.b = module.c = module.a
    with pytest.raises(ValueError, match="exclude: 'c' is another name of 'a'"):
        init_module(module, NORMAL, seed=0, exclude="c")
    with pytest.raises(ValueError, match="include: 'c' is another name of 'a'"):
        init_module(module, NORMAL, seed=0, include="c")


def test_nested_and_sparse_tensors_that_are_excluded(group: None) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import DTensor, Replicate
    from torch.distributed.tensor._dtensor_spec import DTensorSpec, TensorMeta

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        untyped: Any = torch.nested
        nested = untyped.nested_tensor([torch.ones(2), torch.ones(3)])
    mesh = init_device_mesh("cpu", (1,))
    make: Any = DTensor
    meta = TensorMeta(torch.Size((2, 2)), (2, 1), torch.float32)
    spec: Any = DTensorSpec
    sparse = make(torch.ones(2, 2).to_sparse(), spec(mesh, (Replicate(),), meta), requires_grad=False)
    module = parts(w=torch.zeros(2), nested=nested, sparse=sparse)
    report = init_module(module, {"w": Initializer("ones")}, seed=0, exclude=["nested", "sparse"])
    assert report.left == ("nested", "sparse")
    for name in report.left:
        with pytest.raises(ValueError, match=f"parameter '{name}'"):
            init_module(module, {"*": Initializer("ones")}, seed=0, include=name)


def test_what_was_compiled_by_torchscript_is_refused_by_name() -> None:
    """Its tensors are other objects at each access, so that neither ties nor rows of padding show."""
    jit: Any = torch.jit
    for scripted in (jit.script(nn.Embedding(4, 3, padding_idx=1)), jit.trace(nn.Linear(3, 3), torch.zeros(3))):
        for module, where in ((scripted, "the module"), (nn.Sequential(nn.Linear(3, 3), scripted), "'1'")):
            before = [parameter.detach().clone() for parameter in module.parameters()]
            for call in (init_module, fastinit.torch.FastInitReader):
                with pytest.raises(ValueError, match=f"^{where} was compiled by TorchScript.* before torch.jit.script"):
                    call(module, NORMAL, seed=0)
            assert all(torch.equal(a, b) for a, b in zip(module.parameters(), before, strict=True))
        with fastinit.torch.accelerate(seed=0, module=scripted) as done:  # it has no names there
            for parameter in scripted.parameters():
                nn.init.normal_(parameter)
            nn.Sequential(scripted)
        assert done.calls == len(list(scripted.parameters()))
