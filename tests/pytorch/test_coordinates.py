"""Promise: muP's coordinate check of a module measures what that of the NumPy network does, or says what it lacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import fastinit  # noqa: E402
import fastinit.signal  # noqa: E402
from fastinit.torch import coordinate_check  # noqa: E402

WIDTHS = [32, 64, 128]


def sgd(model: nn.Module, rate: float = 0.1) -> tuple[nn.Module, Any]:
    return model, torch.optim.SGD(model.parameters(), lr=rate)


def drawn(*shape: int) -> Tensor:
    values: Tensor = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    return values


def plain(parametrization: str, optimizer: str, rate: float) -> Callable[[int], Any]:
    """The network of ``fastinit.signal.coordinate_check``, from the text of its docstring."""

    def make(n: int) -> Any:
        shapes = {"fc1": (n, 32), "fc2": (n, n), "fc3": (n, n), "out": (32, n)}
        stds = {"fc1": 1 / math.sqrt(32), "fc2": math.sqrt(2 / n), "fc3": math.sqrt(2 / n), "out": 0.0}
        wider = n / WIDTHS[0] if parametrization == "mup" else 1.0
        factors = {"fc1": 1.0, "fc2": 1 / wider, "fc3": 1 / wider, "out": 1 / wider}
        if optimizer == "sgd":
            factors = {"fc1": wider, "fc2": 1.0, "fc3": 1.0, "out": 1 / wider}
        layers: dict[str, nn.Module] = {}
        for name, (rows, columns) in shapes.items():
            layer = nn.Linear(columns, rows, bias=False, dtype=torch.float64)
            weight = fastinit.normal(np.empty((rows, columns)), std=stds[name], seed=0, stream=name)
            layer.weight.data = torch.from_numpy(weight)
            layers[name] = layer
            layers[f"{name}_relu"] = nn.ReLU(inplace=True)
        del layers["out_relu"]
        kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
        groups = [{"params": [layers[name].weight], "lr": rate * factors[name]} for name in shapes]
        net = nn.Sequential()
        for name, module in layers.items():
            net.add_module(name, module)
        return net, kind(groups)

    return make


@pytest.mark.parametrize(("optimizer", "rate"), [("adam", 0.003), ("sgd", 0.1)])
@pytest.mark.parametrize("parametrization", ["mup", "standard"])
def test_a_plain_network_moves_as_in_numpy(parametrization: Any, optimizer: Any, rate: float) -> None:
    x = torch.from_numpy(fastinit.normal(np.empty((32, 32)), seed=0, stream="x"))
    y = torch.from_numpy(fastinit.normal(np.empty((32, 32)), seed=0, stream="y"))
    wanted = fastinit.signal.coordinate_check(
        WIDTHS, parametrization=parametrization, optimizer=optimizer, rate=rate, steps=4
    )
    make = plain(parametrization, optimizer, rate)
    found = coordinate_check(make, WIDTHS, x, lambda h: (h - y).square().mean() / 2, steps=4)
    assert (found.widths, found.layers) == (wanted.widths, wanted.layers)
    np.testing.assert_allclose(found.moved, wanted.moved, rtol=1e-9)
    assert list(found.slopes) == list(wanted.layers)


class Model(nn.Module):
    """Tokens, convolutions, dropout, a layer that is called twice, an output of the form of transformers."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, n)
        self.conv = nn.Conv1d(n, n, 3)
        self.norm = nn.LayerNorm(n)
        self.fc = nn.Linear(n, n)
        self.drop = nn.Dropout(0.5)

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        h = self.norm(self.conv(self.embed(tokens).mT).mT)
        h = self.drop(self.fc(self.fc(h)))
        return {"loss": h.square().mean()}


def test_models_of_any_kind() -> None:
    batch = {"tokens": torch.arange(10).reshape(2, 5)}
    found = coordinate_check(lambda n: sgd(Model(n)), [4, 8], batch)
    assert found.layers == ("embed", "conv", "fc", "fc#2")
    assert all(size > 0 for row in found.moved for size in row)
    # Dropout is on, and leaves out the same elements before and after: without a step's length, nothing moves.
    still = coordinate_check(lambda n: sgd(Model(n), 0.0), [4, 8], batch)
    assert still.moved == ((0.0,) * 4,) * 2


def test_training_that_diverges_has_no_slope() -> None:
    make = lambda n: sgd(nn.Sequential(nn.Linear(4, n), nn.Linear(n, 1)), 1e30)  # noqa: E731
    found = coordinate_check(make, [4, 8], drawn(3, 4), lambda y: y.square().sum())
    assert not any(map(math.isfinite, found.slopes.values()))
    assert "nan" in str(found)


def test_the_same_random_numbers_go_on() -> None:
    """The passes that are compared do not move PyTorch's generator; nothing is left on the model."""
    torch.manual_seed(1)
    made: list[nn.Module] = []

    def make(n: int) -> Any:
        made.append(nn.Sequential(nn.Linear(4, n), nn.Linear(n, 1)))
        return sgd(made[-1])

    for n in (4, 8):
        make(n)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    coordinate_check(make, [4, 8], drawn(3, 4), lambda y: y.sum())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module._forward_hooks for net in made for module in net.modules())


def test_compiled_models_are_seen() -> None:
    def make(n: int) -> Any:
        torch.manual_seed(0)
        return sgd(nn.Sequential(nn.Linear(4, n), nn.Linear(n, 1)))

    def compiled(n: int) -> Any:
        model, optimizer = make(n)
        return torch.compile(model), optimizer

    plain, same = (coordinate_check(f, [4, 8], drawn(3, 4), lambda y: y.sum()) for f in (make, compiled))
    assert plain == same


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"widths": [4, 4]}, ValueError, r"widths must be at least two different ints >= 1, got \[4, 4\]"),
        ({"widths": 4}, TypeError, r"widths must be a sequence of ints, got 4"),
        ({"steps": 0}, ValueError, r"steps must be an int >= 1, got 0"),
        ({"make": lambda n: nn.Linear(4, n)}, TypeError, r"make must return a module and its optimizer, as a tuple"),
        ({"make": lambda n: (nn.Linear(4, n), 0.1)}, TypeError, r"make must return a module and its optimizer"),
        ({"make": lambda n: sgd(nn.Sequential(*[nn.Linear(4, 4)] * (n // 4)))}, ValueError, r"at 4 and .* at 8"),
        ({"make": lambda n: sgd(nn.LayerNorm(4))}, ValueError, r"same layers at each width, at least one, got \[\]"),
        ({"make": lambda n: sgd(nn.Linear(4, n, device="meta"))}, ValueError, r"'weight' is on the meta device"),
        ({"loss": None}, ValueError, r"loss must be given where the model returns none, got loss=None"),
        ({"loss": lambda y: y}, ValueError, r"loss must return a scalar of floats, got shape \(3, 4\)"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    call: dict[str, Any] = {
        "make": lambda n: sgd(nn.Linear(4, n)),
        "widths": [4, 8],
        "batch": drawn(3, 4),
        "loss": lambda y: y.sum(),
    }
    with pytest.raises(error, match=message):
        coordinate_check(**{**call, **arguments})


def test_an_output_that_is_a_loss() -> None:
    class Scalar(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).sum()

    assert coordinate_check(lambda n: sgd(Scalar(4, n)), [4, 8], drawn(3, 4)).layers == ("Scalar",)
