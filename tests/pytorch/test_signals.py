"""Promise: ``signal`` measures any module as it runs, leaves it as it was, and tells a well-made one nothing."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import random
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastinit

torch = pytest.importorskip("torch")

from test_zoo_training import STEPS  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402
from zoo import TRANSFORMERS, build  # noqa: E402

import fastinit.torch  # noqa: E402
from conftest import library  # noqa: E402
from fastinit.recipes import Initializer  # noqa: E402
from fastinit.signal import Layer, Report, mlp  # noqa: E402
from fastinit.torch import init_module, signal  # noqa: E402


def drawn(*shape: int, seed: int = 0) -> Tensor:
    values: Tensor = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values


def deep(n: int, width: int, activation: Callable[[], nn.Module], law: Any = None, seed: int = 0) -> Any:
    """A plain network; with PyTorch's own initialisation where there is no law."""
    torch.manual_seed(seed)
    layers = [module for _ in range(n) for module in (nn.Linear(width, width), activation())]
    net = nn.Sequential(*layers)
    if law is not None:
        init_module(net, {"*.weight": law, "*.bias": Initializer("zeros")}, seed=seed)
    return net


def row(report: Report, name: str) -> Layer:
    (found,) = (layer for layer in report.layers if layer.name == name)
    return found


# --- what is measured -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "module"),
    [("relu", nn.ReLU), ("tanh", nn.Tanh), ("sigmoid", nn.Sigmoid), ("gelu", nn.GELU), ("silu", nn.SiLU)],
)
def test_it_is_the_report_of_the_numpy_network(name: str, module: Any) -> None:
    """Two implementations of forward and backward on the same weights, input and gradient."""
    widths = [12, 20, 7]
    x = fastinit.normal(np.empty((9, 12)), seed=1, stream="x")
    g = fastinit.normal(np.empty((9, 7)), seed=1, stream="g")
    wanted = mlp(widths, name, "he_normal", bias=Initializer("normal", std=0.1), x=x, gradient=g, seed=4)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.act1, self.fc2, self.act2 = nn.Linear(12, 20), module(), nn.Linear(20, 7), module()

        def forward(self, x: Tensor) -> Any:
            return self.act2(self.fc2(self.act1(self.fc1(x))))

    net = Net().double()
    init_module(net, {"*.weight": Initializer("he_normal"), "*.bias": Initializer("normal", std=0.1)}, seed=4)
    got = signal(net, torch.from_numpy(x), lambda y: (y * torch.from_numpy(g)).sum())
    for one, other in zip(got.layers, wanted.layers, strict=True):
        for field in ("output", "gradient", "weight_gradient"):
            a, b = getattr(one, field), getattr(other, field)
            assert (a is None) == (b is None)
            if a is not None:
                for moment in ("n", "mean", "std", "low", "high", "zeros"):
                    assert getattr(a, moment) == pytest.approx(getattr(b, moment), rel=1e-9, abs=1e-15)
        for field in ("shape", "gain", "backward_gain", "saturated", "dead", "units", "equal_units"):
            found, expected = getattr(one, field), getattr(other, field)
            if field != "units" or one.kind in ("Linear", "ReLU"):
                assert found == (pytest.approx(expected) if isinstance(expected, float) else expected), (
                    one.name,
                    field,
                )
    assert got.gain == pytest.approx(wanted.gain)
    assert got.backward_gain == pytest.approx(wanted.backward_gain)


def test_dead_units_of_convolutions_are_channels() -> None:
    conv = nn.Conv2d(3, 8, 3)
    with torch.no_grad():
        assert conv.bias is not None
        conv.bias[:6] = -1000.0
        conv.bias[6:] = 1000.0
    for relu in (nn.ReLU(), nn.ReLU(inplace=True)):
        report = signal(nn.Sequential(conv, relu), drawn(4, 3, 9, 9))
        assert (report.layers[1].dead, report.layers[1].units) == (6 / 8, 8)
        # In place or not, the convolution's own output is what it was.
        assert report.layers[0].output.low < -900
    norm = nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU())
    assert row(signal(norm, drawn(4, 3, 9, 9)), "2").dead == 0.0
    residual = signal(Residual(conv), drawn(4, 3, 9, 9))
    assert row(residual, "relu").dead == 6 / 8
    batch = nn.Sequential(nn.Conv1d(3, 5, 1), nn.ReLU())
    assert signal(batch, drawn(2, 3, 4)).layers[1].units == 5
    # Where nobody says which axis it is, nothing is guessed.
    assert signal(nn.Sequential(nn.MaxPool1d(1), nn.ReLU()), drawn(2, 3, 4)).layers[1].dead is None


class Residual(nn.Module):
    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv, self.relu = conv, nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y += y.mean()
        z: Tensor = self.relu(y)
        return z


class Functions(nn.Module):
    """Activations that are no modules."""

    def __init__(self, function: Callable[[Tensor], Tensor], n: int = 6) -> None:
        super().__init__()
        self.function = function
        self.fc = nn.ModuleList(nn.Linear(32, 32) for _ in range(n))

    def forward(self, x: Tensor) -> Tensor:
        for fc in self.fc:
            x = fc(self.function(x))
        return x


def test_activations_as_functions_have_rows_before_layers() -> None:
    torch.manual_seed(0)
    report = signal(Functions(torch.relu), drawn(16, 32).requires_grad_())
    names = [layer.name for layer in report.layers]
    assert names[:4] == ["relu before fc.0", "fc.0", "relu before fc.1", "fc.1"]
    relu = row(report, "relu before fc.1")
    assert relu.dead is not None
    assert 0.2 < relu.output.zeros < 0.8
    assert relu.gradient is not None
    assert "through relu" in report.advice[0]
    report = signal(Functions(lambda x: functional.leaky_relu(x, 0.5)), drawn(16, 32))
    assert "leaky_relu keeps the variance at 1.6" in report.advice[0]
    report = signal(Functions(lambda x: 100 * torch.tanh(30 * x)), drawn(16, 32))
    assert [layer.kind for layer in report.layers] == ["Linear"] * 6  # 100 times a tanh is no tanh
    report = signal(Functions(torch.tanh), 100 * drawn(16, 32).requires_grad_())
    assert (row(report, "tanh before fc.0").saturated or 0) > 0.9


def test_a_module_that_is_called_twice_has_two_rows() -> None:
    layer = nn.Linear(6, 6)
    report = signal(nn.Sequential(layer, nn.Tanh(), layer), drawn(5, 6))
    assert [layer.name for layer in report.layers] == ["0", "1", "0#2"]
    first, _, second = report.layers
    assert first.output != second.output
    assert first.weight_gradient == second.weight_gradient


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = functional.relu(self.fc(x))
        return x


def test_a_function_that_is_called_twice_has_two_names() -> None:
    names = [layer.name for layer in signal(Recurrent(), drawn(3, 4)).layers]
    assert names == ["fc", "relu before fc", "fc#2", "relu before fc#2", "fc#3"]


class Pair(NamedTuple):
    hidden: Tensor
    where: Tensor


@dataclasses.dataclass
class Bag:
    hidden: Any
    name: str = "bag"


@pytest.mark.parametrize(
    "wrap",
    [
        lambda y: (y.argmax(), y),
        lambda y: [y],
        lambda y: {"index": y.argmax(), "y": {"deep": y}},
        lambda y: Pair(y, y.argmax()),
        lambda y: Bag(y),
        lambda y: (None, "word", y.to_sparse(), y),
    ],
)
def test_outputs_of_any_form(wrap: Callable[[Tensor], Any]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, *, x: Tensor) -> Any:
            return wrap(self.fc(x))

    report = signal(Net(), {"x": drawn(5, 4)})
    (layer,) = report.layers
    assert layer.shape == (5, 3)
    assert layer.gradient is not None
    assert layer.gradient.std > 0


def test_batches_of_any_form() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Any, y: Any = 0) -> Any:
            return self.fc((x[0] if isinstance(x, list) else x) + y)

    x = drawn(5, 4)
    one = signal(Sum(), x).layers[0]
    net = Sum()
    reports = [signal(net, batch).layers[0].output for batch in (x, (x, 0 * x), {"x": x, "y": 0}, [x])]
    assert all(report == reports[0] for report in reports)
    assert one.gain is not None


def test_recurrent_and_attention_layers() -> None:
    lstm = signal(nn.LSTM(4, 8, batch_first=True), drawn(2, 5, 4))
    assert [(layer.name, layer.shape) for layer in lstm.layers] == [("LSTM", (2, 5, 8))]
    x = drawn(2, 5, 8)
    attention = signal(nn.MultiheadAttention(8, 2, batch_first=True), (x, x, x))
    assert [layer.name for layer in attention.layers] == ["MultiheadAttention"]
    encoder = signal(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), x)
    assert "self_attn" in [layer.name for layer in encoder.layers]


def test_integers_in_and_out() -> None:
    embedding = signal(nn.Sequential(nn.Embedding(10, 6), nn.Linear(6, 3)), torch.arange(10).reshape(2, 5))
    first, second = embedding.layers
    assert (first.gain, first.backward_gain) == (None, None)
    assert second.backward_gain is not None

    class Best(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            best: Tensor = self.fc(x).argmax(1)
            return best

    report = signal(Best(), drawn(5, 4))
    assert report.layers[0].gradient is None
    assert report.advice == ("No gradients: no float output, or loss, depends on anything that requires grad.",)
    assert report.backward_gain is None
    assert signal(nn.Identity(), torch.arange(3)).layers == ()


def test_parts_without_gradients() -> None:
    net = deep(3, 16, nn.ReLU)
    net[0].requires_grad_(False)
    report = signal(net, drawn(8, 16))
    assert [layer.gradient is None for layer in report.layers] == [True, True, False, False, False, False]
    assert report.layers[0].weight_gradient is None
    assert report.layers[2].backward_gain is None
    net.requires_grad_(False)
    assert "No gradients" in signal(net, drawn(8, 16)).advice[-1]
    x = drawn(8, 16).requires_grad_()
    report = signal(net, x)  # the input has them, and keeps none
    assert all(layer.backward_gain is not None for layer in report.layers)
    assert x.grad is None
    with torch.no_grad():
        assert signal(deep(1, 4, nn.ReLU), drawn(2, 4)).layers[0].gradient is not None
    with torch.inference_mode():
        assert signal(deep(1, 4, nn.ReLU), torch.ones(2, 4)).layers[0].output.n == 8


class HalfFrozen(nn.Module):
    """A part that runs without gradients, a number in the forward pass, an error that somebody catches."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.fails, self.head = nn.Linear(4, 4), Fails(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = functional.relu(self.body(x))
        with contextlib.suppress(RuntimeError):
            self.fails(y)
        z: Tensor = self.head(y)
        return z


class Vectorized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        slopes: Tensor = torch.func.vmap(torch.func.jacrev(self.body))(x)
        return self.head(slopes)  # type: ignore[no-any-return]


def test_calls_inside_of_transforms_have_no_row() -> None:
    assert [layer.name for layer in signal(Vectorized(), drawn(3, 4)).layers] == ["head"]


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("as it should")


def test_no_grad_inside_and_errors_that_are_caught() -> None:
    report = signal(HalfFrozen(), drawn(3, 4))
    assert [layer.name for layer in report.layers] == ["body", "head"]
    assert [layer.gradient is None for layer in report.layers] == [True, False]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_other_dtypes(dtype: str) -> None:
    net = deep(3, 64, nn.ReLU, Initializer("he_normal")).to(getattr(torch, dtype))
    report = signal(net, drawn(32, 64).to(getattr(torch, dtype)))
    assert report.advice == ()
    assert report.layers[-1].gradient is not None
    assert report.layers[-1].gradient.std == pytest.approx(1.0, abs=4 / (2 * 32 * 64) ** 0.5 + 0.01)


def test_no_number_is_too_small() -> None:
    """float32 holds 1e-30, and no square of it."""
    net = deep(4, 32, nn.Identity, Initializer("normal", std=1e-8))
    report = signal(net, drawn(8, 32))
    gradients = [layer.gradient for layer in report.layers]
    assert all(gradient is not None and gradient.rms > 0 for gradient in gradients)
    assert report.layers[6].gain == pytest.approx(32**0.5 * 1e-8, rel=0.5)
    assert report.layers[0].backward_gain is None
    assert report.layers[4].backward_gain == pytest.approx(32**0.5 * 1e-8, rel=0.5)


# --- losses ---------------------------------------------------------------------------------------------------------


def test_losses() -> None:
    net, x = deep(2, 8, nn.Tanh), drawn(5, 8)
    target = torch.zeros(5, dtype=torch.long)
    own = signal(net, x, lambda y: functional.cross_entropy(y, target))
    torch.autograd.grad(functional.cross_entropy(net(x), target), net[0].weight)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(net(x), target), net[0].weight)
    found = own.layers[0].weight_gradient
    assert found is not None
    assert found.rms == pytest.approx(float(gradient.square().mean().sqrt()), rel=1e-5)

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Any:
            y = self.net(x)
            return {"loss": functional.cross_entropy(y, target), "logits": y}

    assert signal(WithLoss(), x).layers[0].weight_gradient == found
    assert signal(net, x, lambda y: functional.cross_entropy(y, target).reshape(1)).layers[0].weight_gradient == found
    assert signal(net, x).layers[-1].gradient == signal(net, x).layers[-1].gradient
    mean = signal(nn.Sequential(net, Mean()), x)
    assert mean.layers[-1].gradient is not None
    assert mean.layers[-1].gradient.mean == 1.0
    assert "No gradients" in signal(net, x, lambda y: torch.ones(())).advice[-1]


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean()


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda y: 3.0, TypeError, "loss must return a tensor, got 3.0 of type float"),
        (lambda y: y, ValueError, r"loss must return a scalar of floats, got shape \(5, 8\) and dtype torch.float32"),
        (
            lambda y: y.argmax(),
            ValueError,
            r"loss must return a scalar of floats, got shape \(\) and dtype torch.int64",
        ),
    ],
)
def test_a_loss_that_is_none_is_refused(loss: Any, error: type[Exception], message: str) -> None:
    net = deep(2, 8, nn.Tanh)
    with pytest.raises(error, match=message):
        signal(net, drawn(5, 8), loss)
    assert hooks_of(net) == 0


# --- what is left as it was -----------------------------------------------------------------------------------------


class Restless(nn.Module):
    """All that a forward pass may change."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5)
        self.fails = fails
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("nan", torch.full((2,), torch.nan))
        self.register_buffer("none", None)
        self.register_buffer("grows", torch.arange(3.0))
        self.register_buffer("shrinks", torch.arange(4.0))
        self.register_buffer("moves", torch.arange(4.0))
        self.register_buffer("expanded", torch.full((1, 3), torch.nan).expand(2, 3))
        self.register_buffer("written", torch.zeros(1, 3).expand(2, 3))
        with torch.inference_mode():
            self.register_buffer("inferred", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop(self.norm(self.fc(x)))
        y = y * random.random() * np.random.rand()  # noqa: NPY002
        self.replaced: Tensor = self.replaced + 1
        self.get_buffer("nan").data.fill_(3.0)
        self.fc.bias.data.add_(1.0)
        self.get_buffer("grows").resize_(1000).fill_(1.0)
        self.get_buffer("shrinks").resize_(2).fill_(1.0)
        self.get_buffer("moves").set_(torch.ones(2, 2))
        self.get_buffer("written")[0, 1] = 2.0
        with torch.inference_mode():
            self.get_buffer("inferred").add_(1.0)
        self.register_buffer("new", torch.ones(1))
        self.none = torch.ones(3)
        self.norm.eval()
        self.fc.weight.grad = None
        if self.fails:
            raise RuntimeError("as it should")
        return y


def hooks_of(model: Any) -> int:
    names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_forward_pre_hooks_with_kwargs")
    return sum(len(getattr(module, name)) for module in model.modules() for name in names)


def everything(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {name: tensor.clone().numpy().tobytes() for name, tensor in model.state_dict().items()}
    found |= {f"{name}.id": id(tensor) for name, tensor in [*model.named_buffers(), *model.named_parameters()]}
    found |= {
        f"{name}.grad": (id(p.grad), None if p.grad is None else p.grad.clone()) for name, p in model.named_parameters()
    }
    found |= {f"{name}.training": module.training for name, module in model.named_modules()}
    return found


@pytest.mark.parametrize("where", ["nowhere", "forward", "loss", "backward"])
def test_the_model_is_left_as_it_was(where: str) -> None:
    model = Restless(where == "forward")
    model.fc(drawn(3, 6)).sum().backward()
    x = drawn(8, 6).requires_grad_()
    x.register_hook(lambda g: None)  # type: ignore[no-untyped-call]
    kept = {name: p.grad for name, p in model.named_parameters()}
    before, states = everything(model), (torch.get_rng_state(), random.getstate(), np.random.get_state())  # noqa: NPY002

    def loss(y: Tensor) -> Tensor:
        if where == "loss":
            raise RuntimeError("as it should")
        if where == "backward":
            y.register_hook(fail)  # type: ignore[no-untyped-call]
        return y.sum()

    def fail(gradient: Tensor) -> None:
        raise RuntimeError("as it should")

    if where == "nowhere":
        signal(model, x, loss)
    else:
        with pytest.raises(RuntimeError, match="as it should"):
            signal(model, x, loss)
    after = everything(model)
    assert after.keys() == before.keys()
    for name, value in before.items():
        if name.endswith(".grad"):
            assert after[name][0] == value[0], name
            assert value[1] is None or torch.equal(after[name][1], value[1])
        else:
            assert after[name] == value, name
    assert all(p.grad is kept[name] for name, p in model.named_parameters())
    assert hooks_of(model) == 0
    assert x.grad is None
    assert len(x._backward_hooks or ()) == 1  # the caller's own
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert str(np.random.get_state()) == str(states[2])  # noqa: NPY002


def test_the_same_call_gives_the_same_report() -> None:
    model, x = Restless(), drawn(8, 6)
    assert signal(model, x) == signal(model, x)


def test_hooks_of_optimisers_do_not_run() -> None:
    model = deep(1, 4, nn.ReLU)
    ran = []
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda p: ran.append(p))
    signal(model, drawn(2, 4))
    assert ran == []


def test_a_tensor_that_does_not_change_is_not_written() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4)).eval()
    tensors = [*model.parameters(), *model.buffers()]
    versions = [tensor._version for tensor in tensors]
    signal(model, drawn(3, 4))
    assert [tensor._version for tensor in tensors] == versions


class Graph(nn.Module):
    """A layer on a graph, whose sparse matrix is a buffer."""

    def __init__(self, layout: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.register_buffer("edges", torch.eye(3).to_sparse(layout=layout))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.get_buffer("edges").mul_(2.0) @ self.fc(x)
        return y


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_buffers(layout: Any) -> None:
    model = Graph(layout)
    report = signal(model, drawn(3, 4), lambda y: y.sum())
    assert [layer.name for layer in report.layers] == ["fc"]
    assert torch.equal(model.get_buffer("edges").to_dense(), torch.eye(3))


# --- other ways to run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [False])
def test_checkpointing_adds_no_rows(reentrant: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = deep(2, 8, nn.Tanh), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.head(checkpoint(self.body, x, use_reentrant=reentrant))
            return y

    report = signal(Net(), drawn(4, 8))
    assert len(report.layers) == 5
    assert all(layer.gradient is not None for layer in report.layers)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the compiler's imports
def test_wrappers() -> None:
    net = deep(2, 8, nn.Tanh)
    x = drawn(4, 8)
    plain = signal(net, x)
    assert signal(nn.DataParallel(net), x) == plain
    compiled: Any = torch.compile(net)
    assert signal(compiled, x).layers == plain.layers


def test_parametrizations() -> None:
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    report = signal(nn.Sequential(layer, nn.ReLU()), drawn(3, 4))
    assert [(layer.name, layer.kind) for layer in report.layers] == [("0", "ParametrizedLinear"), ("1", "ReLU")]
    assert report.layers[0].weight_gradient is None


@pytest.mark.parametrize(
    ("model", "batch", "error", "message"),
    [
        (lambda: torch.relu, 1, TypeError, "model must be a torch.nn.Module, got"),
        (lambda: nn.Linear(2, 2, device="meta"), 1, ValueError, "'weight' is on the meta device and has no values"),
        (lambda: nn.Linear(2, 2), torch.empty(2, 2, device="meta"), ValueError, "'batch' is on the meta device"),
        (lambda: nn.Sequential(nn.LazyLinear(2)), 1, ValueError, "'0.weight' is lazy and has no shape yet"),
        (
            lambda: torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)),
            1,
            ValueError,
            "'the module' was compiled by TorchScript",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_what_is_refused(model: Any, batch: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        signal(model(), batch)


def test_a_sharded_model_is_refused() -> None:
    layer = nn.Linear(2, 2)
    layer.weight._fsdp_flattened = True  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="'weight' is sharded"):
        signal(layer, drawn(1, 2))


# --- advice ---------------------------------------------------------------------------------------------------------


def test_pytorchs_default_before_relu() -> None:
    (words,) = signal(deep(8, 256, nn.ReLU), drawn(64, 256)).advice
    assert re.match(
        r"0 \.\. 14: the variance shrinks \(x 0\.\d\d a layer\), that of gradients shrinks \(x 0\.\d\d a layer\)", words
    )
    assert "fan_in E[w^2] is 0.33" in words
    assert "PyTorch's default" in words


@pytest.mark.parametrize(
    ("activation", "law"),
    [
        (nn.ReLU, Initializer("he_normal")),
        (lambda: nn.LeakyReLU(0.2), Initializer("he_uniform", a=0.2)),
        (nn.Tanh, Initializer("xavier_normal")),
        (nn.Identity, Initializer("orthogonal")),
    ],
)
def test_a_network_whose_law_holds_gets_no_advice(activation: Any, law: Any) -> None:
    for seed in range(3):
        assert signal(deep(20, 128, activation, law, seed), drawn(64, 128)).advice == ()


def test_links_pass_dropout_and_views() -> None:
    def block() -> list[nn.Module]:
        return [nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.0), nn.Unflatten(1, (8, 8)), nn.Flatten()]

    net = nn.Sequential(*(module for _ in range(5) for module in block()))
    assert "4 links through relu" in signal(net, drawn(32, 64)).advice[0]
    assert "4 links through relu" in signal(net.eval(), drawn(32, 64)).advice[0]
    conv = nn.Sequential(
        *(module for _ in range(6) for module in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(inplace=True)))
    )
    assert "5 links through relu" in signal(conv, drawn(2, 16, 8, 8)).advice[0]
    for norm in (nn.LayerNorm(64), nn.BatchNorm1d(64)):
        normed = nn.Sequential(*(copy.deepcopy(m) for _ in range(5) for m in (nn.Linear(64, 64), norm, nn.ReLU())))
        assert signal(normed, drawn(32, 64)).advice == ()


def test_zeros() -> None:
    # A head of zeros is a usual choice: what is below gets its gradient after the first step.
    net = deep(2, 16, nn.Tanh, Initializer("xavier_normal"))
    net.append(nn.Linear(16, 4))
    nn.init.zeros_(net[4].weight)
    nn.init.zeros_(net[4].bias)
    (words,) = signal(net, drawn(8, 16)).advice
    assert words == (
        "No gradient reaches 2 of 3 layers (0, 2): the weights of 4 above are 0, and let it through after their first "
        "step."
    )
    # Layers of zeros are not.
    for layer in (net[0], net[2]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    assert "constant weights" in signal(net, drawn(8, 16)).advice[0]


def test_constants_in_transformers_layout() -> None:
    conv1d = library("transformers").pytorch_utils.Conv1D
    net: Any = nn.Sequential(conv1d(8, 6), nn.Tanh(), conv1d(8, 8), nn.Tanh(), conv1d(8, 8))
    for layer in (net[0], net[2], net[4]):
        nn.init.constant_(layer.weight, 0.1)
    report = signal(net, drawn(4, 6))
    assert row(report, "2").equal_units
    assert re.match(r"0, 2: constant weights: .* the same gradient\. They stay one unit", report.advice[0])


def test_json_of_a_module() -> None:
    report = signal(deep(2, 8, nn.Tanh), drawn(4, 8))
    assert [layer["kind"] for layer in json.loads(report.to_json())["layers"]] == ["Linear", "Tanh", "Linear", "Tanh"]


# --- models of others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "train"), [("resnet18", True), ("resnet18", False), ("mobilenet_v3_small", True)])
def test_torchvision(name: str, train: bool) -> None:
    models = library("torchvision.models")
    torch.manual_seed(0)
    report = signal(getattr(models, name)(weights=None).train(train), drawn(2, 3, 64, 64))
    assert len(report.layers) > 50
    assert all(layer.gradient is not None for layer in report.layers)
    assert report.advice == ()


def test_torchvisions_alexnet_has_pytorchs_default() -> None:
    """Which does shrink: it has no norms, and no initialisation of its own."""
    models = library("torchvision.models")
    torch.manual_seed(0)
    report = signal(models.alexnet(weights=None).eval(), drawn(2, 3, 64, 64))
    chains = [words.partition(":")[0] for words in report.advice]
    assert chains == ["features.6 .. features.10", "classifier.1 .. classifier.6"]
    assert all("PyTorch's default" in words for words in report.advice)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("train", [True, False])
def test_transformers_and_timm(name: str, train: bool) -> None:
    torch.manual_seed(0)
    model: Any = build(name).train(train)
    inputs = STEPS[name][1] if name in TRANSFORMERS else STEPS[name][1]["pixel_values"]
    before = everything(model)
    report = signal(model, inputs)
    assert len(report.layers) > 10
    assert report.backward_gain is not None
    assert [words for words in report.advice if "above are 0, and let it through" not in words] == []
    after = everything(model)
    assert all(after[key] == value for key, value in before.items() if not key.endswith(".grad"))


def test_reentrant_checkpointing_is_torchs_error() -> None:
    model: Any = build("GPT2LMHeadModel").train()
    model.activation_checkpointing_enable({"use_reentrant": True})
    own = hooks_of(model)
    with pytest.raises(RuntimeError, match="use_reentrant"):
        signal(model, STEPS["GPT2LMHeadModel"][1])
    assert hooks_of(model) == own
