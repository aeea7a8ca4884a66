"""Promise: memory on another device gets the CPU's bits, through small buffers that nobody overwrites too early.

There is no other device here: one that only seems to be another runs its copies as late as it may, at an event.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

torch = pytest.importorskip("torch")

from test_mesh import fake, high_water  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402

import fastinit.torch  # noqa: E402
from fastinit.torch import deferred, init_module  # noqa: E402
from fastinit.torch._sharding import local_of  # noqa: E402
from fastinit.torch._staging import Staging  # noqa: E402


class Late(Staging):
    """Copies when an event is waited for that was recorded after them, and no sooner."""

    made: ClassVar[list[Late]] = []

    def __init__(self, device: Any) -> None:
        self.waiting: list[tuple[Tensor, Tensor]] = []
        self.copies = 0
        super().__init__(torch.device("cpu"))
        self.made.append(self)

    def _event(self, device: Any) -> Any:
        class Event:
            n = 0

            def record(event) -> None:
                event.n = len(self.waiting)

            def synchronize(event) -> None:
                for part, staged in self.waiting[: event.n]:
                    part.copy_(staged)
                del self.waiting[: event.n]
                for other in self._copied:
                    other.n = max(0, other.n - event.n) if other is not event else 0

        return Event()

    def _record(self, copied: Any) -> None:
        copied.record()

    def _copy(self, part: Tensor, staged: Tensor) -> None:
        self.copies += 1
        self.waiting.append((part.detach(), staged))


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> type[Late]:
    monkeypatch.setattr("fastinit.torch._module.is_away", lambda tensor: True)
    monkeypatch.setattr("fastinit.torch._module.Staging", Late)
    monkeypatch.setattr("fastinit.torch._staging._BYTES", 96)
    Late.made = []
    return Late


class Net(nn.Module):
    def __init__(self, dtype: Any = torch.float32, scalar: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 6, padding_idx=2, dtype=dtype)
        self.down = nn.Conv1d(6, 5, 3, dtype=dtype)
        self.scaled = nn.Linear(5, 9, dtype=dtype)
        self.square = nn.Linear(9, 9, bias=False)
        self.norm = nn.BatchNorm1d(9)
        if scalar:  # which fully_shard refuses
            self.gain = nn.Parameter(torch.full((), 2.0, dtype=dtype))
        self.none = nn.Parameter(torch.empty(0, 3))
        with torch.no_grad():
            nn.init.normal_(self.scaled.weight).mul_(0.5)[1:3].zero_()
            nn.init.orthogonal_(self.square.weight)
        self.head = nn.Linear(6, 7, bias=False, dtype=dtype)
        self.head.weight = self.embed.weight


def built(make: Callable[[], Any]) -> tuple[Any, Any]:
    with deferred(3) as plan:
        model = make()
    return plan, model


def same(one: nn.Module, other: nn.Module) -> None:
    assert list(one.state_dict()) == list(other.state_dict())
    for name, value in one.state_dict().items():
        assert torch.equal(local_of(value), local_of(other.state_dict()[name])), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_bits_and_the_report_are_those_of_the_cpu(dtype: Any, away: type[Late], monkeypatch: Any) -> None:
    plan, model = built(lambda: Net(dtype))
    with monkeypatch.context() as here:
        here.setattr("fastinit.torch._module.is_away", lambda tensor: False)
        there, expected = built(lambda: Net(dtype))
        wanted = there.materialize(expected)
    report = plan.materialize(model)
    same(model, expected)
    assert model.head.weight is model.embed.weight
    assert report.digest == wanted.digest
    for row, other in zip(report.rows, wanted.rows, strict=True):
        assert (row.name, row.n, row.digest) == (other.name, other.n, other.digest)
        assert row.measured_std == pytest.approx(other.measured_std, rel=1e-12, nan_ok=True)
    (staging,) = away.made
    assert staging.copies > 10
    assert not staging.waiting


def test_initialisers_that_make_the_whole_are_copied(away: type[Late]) -> None:
    from fastinit.recipes import Initializer

    model, expected = nn.Linear(9, 9), nn.Linear(9, 9)
    recipe = {"weight": Initializer("orthogonal"), "bias": Initializer("normal")}
    init_module(model, recipe, seed=0)
    fastinit.torch.init.orthogonal_(expected.weight, seed=0, stream="weight")
    assert torch.equal(model.weight, expected.weight)
    assert away.made[0].copies == 1


def test_pieces_of_a_mesh(away: type[Late], monkeypatch: Any) -> None:
    with fake(3, 4):
        mesh = init_device_mesh("cpu", (4,))
        models = []
        for is_away in (True, False):
            monkeypatch.setattr("fastinit.torch._module.is_away", lambda tensor, is_away=is_away: is_away)
            plan, model = built(lambda: Net(scalar=False))
            plan.materialize(fully_shard(model, mesh=mesh))
            models.append(model)
        same(*models)


def test_what_has_memory_is_filled_in_its_place(away: type[Late]) -> None:
    plan, model = built(Net)
    plan.materialize(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    places = [parameter.data_ptr() for parameter in model.parameters()]
    plan.materialize(model, seed=4)
    assert not torch.equal(model.down.weight, before["down.weight"])
    plan.materialize(model)
    assert places == [parameter.data_ptr() for parameter in model.parameters()]
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_each_buffer_waits_for_its_own_last_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """By events of the stream on which the device copies, also where another device is the current one."""

    class Event:
        def __init__(self, device: Any) -> None:
            assert device == torch.device("cpu")
            self.number = len(events)
            events.append(self)

        def record(self, stream: Any) -> None:
            assert stream == (torch.device("cpu"), "its stream")
            said.append(("record", self.number))

        def synchronize(self) -> None:
            said.append(("wait", self.number))

    events: list[Event] = []
    said: list[tuple[str, int]] = []
    monkeypatch.setattr(torch, "Event", Event)
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda device: (device, "its stream"))
    monkeypatch.setattr("fastinit.torch._staging._BYTES", 8)
    staging = Staging(torch.device("cpu"))
    piece = nn.Parameter(torch.zeros(3, 2))

    def fill(part: Tensor, at: tuple[int, ...]) -> None:
        part.fill_(at[0])
        said.append(("fill", at[0]))

    staging.fill(piece, (10, 20), fill)
    staging.finish()
    assert piece.tolist() == [[10, 10], [11, 11], [12, 12]]
    parts = [
        (f, n) for at, turn in ((10, 0), (11, 1), (12, 0)) for f, n in (("wait", turn), ("fill", at), ("record", turn))
    ]
    assert said == [*parts, ("wait", 0), ("wait", 1)]


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        (None, None, ""),
        ("cpu", None, ""),
        (torch.device("cpu"), None, ""),
        ("meta", ValueError, "got 'meta', which has none"),
        ("nowhere", ValueError, "got 'nowhere'"),
        (1.5, TypeError, r"device must be one on which this torch has memory.*got 1\.5"),
        (True, TypeError, "got True"),
    ],
)
def test_devices(device: Any, error: Any, message: str) -> None:
    plan, model = built(Net)
    if error is None:
        plan.materialize(model, device=device)
        assert model.down.weight.is_cpu
        return
    with pytest.raises(error, match=message):
        plan.materialize(model, device=device)
    assert model.down.weight.is_meta


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is one")
def test_a_device_that_is_not_there_is_refused() -> None:
    plan, model = built(Net)
    with pytest.raises(ValueError, match="got 'cuda'"):
        plan.materialize(model, device="cuda")
    assert model.down.weight.is_meta


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an accelerator")
def test_an_accelerator_has_the_bits_of_the_cpu() -> None:
    """Not run by .ci/run, which has none."""
    plan, model = built(Net)
    there, expected = built(Net)
    there.materialize(expected)
    plan.materialize(model, device=torch.accelerator.current_accelerator())
    assert not model.down.weight.is_cpu
    same(model.cpu(), expected)


class Whole(nn.Module):
    """Ten tensors of 32 MiB, nine of them parameters, that are made whole."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(1024, 8192, bias=False) for _ in range(9))
        self.plain = torch.zeros(2**23)
        with torch.no_grad():
            for written in (self.plain, *self.parameters()):
                written[::2].fill_(1.0)  # which is no box


class ByBox(nn.Module):
    """More than draws, of three types."""

    def __init__(self) -> None:
        super().__init__()
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            layer = nn.Linear(2048, 16384, bias=False, dtype=dtype)
            with torch.no_grad():
                layer.weight.normal_().mul_(0.5).add_(1.0)[5:9].zero_()
            self.add_module(str(dtype)[-4:], layer)


def growth(make: Callable[[], Any], said: Any) -> None:
    """In a process of its own, where no memory is free already."""
    with fake(1, 4):
        mesh = init_device_mesh("cpu", (4,))
        plan, small = built(lambda: Net(scalar=False))
        plan.materialize(fully_shard(small, mesh=mesh))  # loads what is loaded once
        plan, model = built(make)
        fully_shard(model, mesh=mesh)
        grown = high_water()
        plan.materialize(model, report=False)
        said.put((grown(), sum(local_of(parameter).nbytes for parameter in model.parameters())))


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs /proc/self/clear_refs")
@pytest.mark.parametrize(("make", "beside"), [(ByBox, 64), (Whole, 32 + 64 + 3 * 32)])
def test_little_memory_beside_the_pieces(make: Callable[[], Any], beside: int) -> None:
    """At most 64 MiB, in any type; and of what is made whole and cut, a few at a time (and the attribute itself)."""
    context = multiprocessing.get_context("spawn")
    said = context.Queue()
    process = context.Process(target=growth, args=(make, said), daemon=True)
    process.start()
    grown, pieces = said.get(timeout=120)
    process.join()
    assert 64 * 2**20 < pieces < grown < pieces + beside * 2**20
