"""The qualified name of the parameter that a tensor is, or is a part of, from the modules that have been seen.

Nothing is kept alive, and no weak reference points at a parameter (torch refuses to swap tensors that have one): an
entry says which module holds the tensor under which key, and counts only while that module still does. So an address
that is used again never gives a name.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor
from torch.jit import ScriptModule
from torch.nn import Module, Parameter

from . import _compat
from ._tensor import is_plain

__all__ = ["Names"]

Slot = tuple["weakref.ref[Module]", str]  # a module, and the key under which it holds a parameter or a module


def _storage(tensor: Tensor) -> int:
    """The address of the tensor's storage; 0 if it has none in the memory of the CPU."""
    return tensor.untyped_storage().data_ptr() if is_plain(tensor) else 0


def _covers(whole: Tensor, part: Tensor) -> bool:
    """Whether the first element of ``part`` lies in the memory of ``whole``."""
    span = sum((size - 1) * stride for size, stride in zip(whole.shape, whole.stride(), strict=True)) + 1
    return 0 <= part.data_ptr() - whole.data_ptr() < span * whole.element_size()


class Names:
    """The qualified names of the parameters of all modules that it was told of."""

    def __init__(self) -> None:
        self.stale = False  # whether parameters may have got other memory, or have been replaced, unseen
        self._known: dict[int, weakref.ref[Module]] = {}
        self._slots: dict[int, list[Slot]] = {}  # by id of a parameter or module
        self._storages: dict[int, list[Slot]] = {}  # by address of a parameter's storage
        self._sweep_at = 1000
        self._parts: dict[int, weakref.ref[Tensor]] = {}  # by id: tensors that are the memory of a parameter
        self._sweep_parts_at = 1000

    def add_tree(self, root: Module) -> None:
        """All modules and parameters from ``root`` downwards."""
        for module in root.modules():
            if not isinstance(module, ScriptModule):  # whose parameters are other objects at each access
                self._add_held(module)

    def add_parameter(self, owner: Module, key: str, parameter: Tensor) -> None:
        """``owner`` holds, or is about to hold, this parameter."""
        slot = self._slot(owner, key)
        self._add(self._slots, id(parameter), slot)
        storage = _storage(parameter)
        if storage:
            self._add(self._storages, storage, slot)

    def add_module(self, parent: Module, key: str, child: Module) -> None:
        """``parent`` holds, or is about to hold, this module."""
        known = self._known.get(id(child))
        if known is None or known() is not child:  # a copy, or built before: nobody told of its parameters
            self.add_tree(child)
        self._add(self._slots, id(child), self._slot(parent, key))

    def add_part(self, source: Tensor, part: Tensor) -> None:
        """``part`` is ``source.data`` or ``source.detach()``, which matters if ``source`` is of a parameter."""
        if type(source) is not Parameter and not self._is_part(source):
            return
        if len(self._parts) >= self._sweep_parts_at:
            self._parts = {key: ref for key, ref in self._parts.items() if ref() is not None}
            self._sweep_parts_at = 1000 + 2 * len(self._parts)
        self._parts[id(part)] = weakref.ref(part)

    def knows(self, tensor: Tensor) -> bool:
        """Whether it is a parameter of any module, or a part of the memory of one."""
        return self._is_part(tensor) or self.of(tensor) is not None

    def _is_part(self, tensor: Tensor) -> bool:
        with _compat.DisableTorchFunction():
            base = _compat.base_of(tensor)
        root = tensor if base is None else base
        reference = self._parts.get(id(root))
        return type(root) is Parameter or (reference is not None and reference() is root)

    def of(self, tensor: Tensor) -> str | None:
        """The name of the parameter that this tensor is, or whose memory it is a part of; None if there is none."""
        name = self._look_up(tensor)
        if name is None and self.stale:
            self.stale = False
            for reference in list(self._known.values()):
                module = reference()
                if module is not None:
                    self._add_held(module)
            name = self._look_up(tensor)
        return name

    def _add_held(self, module: Module) -> None:
        for key, parameter in _compat.parameters_of(module).items():
            if parameter is not None:
                self.add_parameter(module, key, parameter)
        for key, child in _compat.children_of(module).items():
            if child is not None:
                self.add_module(module, key, child)

    def _slot(self, holder: Module, key: str) -> Slot:
        if len(self._slots) + len(self._storages) >= self._sweep_at:
            self._sweep()
        reference = weakref.ref(holder)
        self._known[id(holder)] = reference
        return reference, key

    def _sweep(self) -> None:
        """Forgets modules that are gone, so that what is kept is in proportion to what there is."""
        self._known = {key: ref for key, ref in self._known.items() if ref() is not None}
        for table in (self._slots, self._storages):
            living = {key: [slot for slot in slots if slot[0]() is not None] for key, slots in table.items()}
            table.clear()
            table.update((key, slots) for key, slots in living.items() if slots)
        self._sweep_at = 1000 + 2 * (len(self._slots) + len(self._storages))

    @staticmethod
    def _add(table: dict[int, list[Slot]], key: int, slot: Slot) -> None:
        slots = table.setdefault(key, [])
        if slot not in slots:
            slots[:] = [other for other in slots if other[0]() is not None] + [slot]

    def _look_up(self, tensor: Tensor) -> str | None:
        owners = self._owners(tensor)
        if owners:
            return self._name(tensor, owners)
        storage = _storage(tensor)
        for module, key in _living(self._storages.get(storage, ())):
            parameter = _compat.parameters_of(module).get(key)
            if parameter is not None and _storage(parameter) == storage and _covers(parameter, tensor):
                return self._name(parameter, self._owners(parameter) or [(module, key)])
        return None

    def _owners(self, parameter: Tensor) -> list[tuple[Module, str]]:
        return _holders(self._slots, parameter, _compat.parameters_of)

    def _name(self, parameter: Tensor, owners: list[tuple[Module, str]]) -> str:
        """The path from the topmost module. Of a parameter with several, what ``named_parameters`` calls it."""
        path: list[str] = []
        several = False
        seen: set[int] = set()
        holders = owners
        while holders:
            several = several or len(holders) > 1
            top, key = holders[0]
            path.insert(0, key)
            if id(top) in seen:  # modules that hold each other
                break
            seen.add(id(top))
            holders = _holders(self._slots, top, _compat.children_of)
        if several:
            for name, other in top.named_parameters():
                if other is parameter:
                    return name
        return ".".join(path)


def _holders(
    table: dict[int, list[Slot]], held: object, of: Callable[[Module], Mapping[str, object]]
) -> list[tuple[Module, str]]:
    """The modules that still hold a parameter or module, and their keys for it."""
    found = []
    for reference, key in table.get(id(held), ()):  # a plain loop: this is most of the time that a name takes
        module = reference()
        if module is not None and of(module).get(key) is held:
            found.append((module, key))
    return found


def _living(slots: Iterable[Slot]) -> Iterator[tuple[Module, str]]:
    for reference, key in slots:
        module = reference()
        if module is not None:
            yield module, key
