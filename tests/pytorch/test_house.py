"""Promise: the private names of torch are in one file, which says so when torch does not have one of them.

And the package shows what is public and no more.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import pathlib
import pickle
import re
import subprocess
import sys
import types
from collections.abc import Collection, Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.autograd import forward_ad  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

import fastinit.torch  # noqa: E402
from fastinit.torch import _compat  # noqa: E402

FOLDER = pathlib.Path(fastinit.torch.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))

# --- private names --------------------------------------------------------------------------------------------------

# Of the language: what every class, function or property has.
SPECIAL = {
    *dir(type), *dir(lambda: None), *dir(property), *dir(int), "__cause__", "__getattr__", "__path__",
    "__all__", "_getframe",
}  # fmt: skip


def private(name: str) -> bool:
    return name.startswith("_") and name not in SPECIAL and name != "_"


def defined(tree: ast.AST) -> Iterator[str]:
    """The private names that a file of the package gives itself: of functions, classes, variables, attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


OWN = {name for file in FILES for name in defined(ast.parse(file.read_text("utf-8"))) if private(name)}


def foreign(text: str, more: Collection[str] = ()) -> list[str]:
    """The private names in a file that are not the package's own: as attributes, imported, or in strings."""
    found: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            found.append(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            # fastinit's own private modules are another matter.
            if not (getattr(node, "level", 0) or module.split(".")[0] in ("fastinit", "__future__")):
                found += [part for alias in node.names for part in f"{module}.{alias.name}".split(".")]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            found.append(node.value)
    return [name for name in found if private(name) and name not in OWN and name not in more]


@pytest.mark.parametrize("file", [file for file in FILES if file.stem != "_compat"], ids=lambda file: file.name)
def test_private_names_of_torch_are_in_one_file(file: pathlib.Path) -> None:
    modules = [other.stem for other in FILES] if file.stem == "__init__" else []  # which it imports by their names
    assert foreign(file.read_text("utf-8"), modules) == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x = tensor._version", ["_version"]),
        ("torch._C.DisableTorchFunction()", ["_C"]),
        ("from torch.overrides import _push_mode as push", ["_push_mode"]),
        ("import torch._dynamo", ["_dynamo"]),
        ("x = getattr(tensor, '_fsdp_flattened', False)", ["_fsdp_flattened"]),
        ("tensor.__create_chunk_list__()", ["__create_chunk_list__"]),
        ("from ._compat import watched\nfrom fastinit._arguments import typed\nx = type(y).__name__", []),
    ],
)
def test_the_check_sees_them(text: str, names: list[str]) -> None:
    assert foreign(text) == names


def test_no_name_of_the_package_hides_one_of_torch() -> None:
    """Or the check would not see that one."""
    objects = (nn.Module(), nn.Parameter(torch.ones(1)), torch.ones(1).untyped_storage(), TorchFunctionMode(), torch)
    of_torch = {name for thing in (*objects, torch.nn.init, forward_ad) for name in dir(thing)}
    assert {name for name in OWN & of_torch if not name.startswith("__")} == set()


def test_compat_is_where_they_are() -> None:
    assert len(set(foreign((FOLDER / "_compat.py").read_text("utf-8")))) > 10


# --- what torch does not have ---------------------------------------------------------------------------------------


def again() -> Any:
    """``_compat`` once more, beside the one that is in use."""
    spec = importlib.util.spec_from_file_location("fastinit_compat_again", FOLDER / "_compat.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ESSENTIAL: dict[str, Any] = {
    "torch._C._functorch.is_functorch_wrapped_tensor": torch._C._functorch,
    "torch._C._functorch.peek_interpreter_stack": torch._C._functorch,
    "torch._C._len_torch_dispatch_stack": torch._C,
    "torch._C._get_dispatch_mode": torch._C,
    "torch._C._get_tracing_state": torch._C,
    "torch._C._len_torch_function_stack": torch._C,
    "torch.autograd.forward_ad._current_level": forward_ad,
    "torch.overrides._get_current_function_mode_stack": torch.overrides,
}


def take_away(monkeypatch: pytest.MonkeyPatch, name: str, holder: Any) -> None:
    monkeypatch.delattr(holder, name.rsplit(".", 1)[1])


@pytest.mark.parametrize("name", ESSENTIAL)
def test_without_an_essential_name_the_import_says_which(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, name, ESSENTIAL[name])
    message = (
        rf"fastinit\.torch needs {re.escape(name)} to \w.*, and torch {re.escape(torch.__version__)} has no such name; "
        r"fastinit\.torch is tested with torch 2\.11 to 2\.15"
    )
    with pytest.raises(ImportError, match=message):
        again()


def test_a_submodule_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils._device", None)
    monkeypatch.delattr(torch.utils, "_device")
    with pytest.raises(ImportError, match=r"needs torch\.utils\._device\.DeviceContext to know the mode of"):
        again()


ACCELERATE: dict[str, Any] = {
    "torch.overrides._push_mode": torch.overrides,
    "torch.overrides._pop_mode": torch.overrides,
    "torch._C._is_torch_function_all_disabled": torch._C,
    "torch._GLOBAL_DEVICE_CONTEXT": torch,
    "torch._has_compatible_shallow_copy_type": torch,
    "torch.nn.init._no_grad_uniform_": nn.init,
    "torch.nn.init._no_grad_normal_": nn.init,
    "torch.nn.init._no_grad_fill_": nn.init,
    "torch.nn.init._no_grad_trunc_normal_": nn.init,
    "torch.nn.init._calculate_correct_fan": nn.init,
}


@pytest.mark.parametrize("name", ACCELERATE)
def test_without_a_name_of_one_feature_that_feature_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    take_away(monkeypatch, name, ACCELERATE[name])
    compat = again()
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match=rf"fastinit\.torch\.accelerate needs {re.escape(name)} to \w"):
        compat.require("accelerate")
    monkeypatch.setattr(_compat, "_absent", compat._absent)
    before = torch.nn.init._no_grad_trunc_normal_
    for use in (fastinit.torch.accelerate, fastinit.torch.install, fastinit.torch.uninstall):
        with pytest.raises(RuntimeError, match=re.escape(name)):
            use()
    assert torch.nn.init._no_grad_trunc_normal_ is before
    w = fastinit.torch.init.normal_(torch.zeros(3), seed=0)  # which does not need it
    assert w.count_nonzero() == 3


def test_attributes_that_are_gone() -> None:
    class Bare:
        pass

    compat = again()
    compat._check_attributes(Bare(), "torch.nn.Module", ("_parameters", "_x"), "to see what it holds")
    assert [re.split(" to ", sentence)[0] for sentence in compat._absent[""]] == [
        "fastinit.torch needs torch.nn.Module._parameters",
        "fastinit.torch needs torch.nn.Module._x",
    ]


def test_dtensors_without_what_says_where_they_lie() -> None:
    for ask in (_compat.shard_order, _compat.planned_chunks):
        with pytest.raises(RuntimeError, match=r"fastinit\.torch, for DTensors, needs DTensor\._\w+ to know w"):
            ask(types.SimpleNamespace())
    with pytest.raises(RuntimeError, match=r"needs DTensor\._spec\.shard_order to know where the pieces lie"):
        _compat.shard_order(types.SimpleNamespace(_spec=None))


def test_the_import_itself_in_a_process_of_its_own() -> None:
    code = """
import torch
del torch._C._get_tracing_state
try:
    import fastinit.torch
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    (line,) = run.stdout.splitlines()
    assert line == (
        "fastinit.torch needs torch._C._get_tracing_state to see torch.jit.trace, and torch "
        f"{torch.__version__} has no such name; fastinit.torch is tested with torch 2.11 to 2.15"
    )


@pytest.mark.parametrize("version", ["2.10.0", "2.10.2+cu128", "2.9.1", "1.13.1"])
def test_an_older_torch_is_refused_at_import(version: str) -> None:
    """Also one that has all names: in 2.10 it is DTensors that are cut otherwise."""
    code = f"""
import torch
torch.__version__ = {version!r}
try:
    import fastinit.torch
except ImportError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == f"fastinit.torch needs torch 2.11 or newer, and this is torch {version}\n"


@pytest.mark.parametrize("version", ["2.11.0", "2.11.0a0+gitf00", "2.11.0.dev20260101", "2.15.1+cpu", "3.0", "nightly"])
def test_a_newer_torch_is_not_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    again()


def test_an_older_torch_is_refused_before_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.10.0")
    monkeypatch.delattr(torch._C, "_get_tracing_state")
    with pytest.raises(ImportError, match=r"needs torch 2\.11 or newer, and this is torch 2\.10\.0"):
        again()


# --- public names ---------------------------------------------------------------------------------------------------


def test_dir_shows_what_is_public_and_no_more() -> None:
    """In a process of its own, before and after all of it was used."""
    code = """
import fastinit.torch as t
print(*dir(t)), print(*dir(t.init))
from fastinit.torch import *
print(FastInitReader.__name__, Report.__name__, Row.__name__, Acceleration.__name__, init_module.__name__)
print(*dir(t))
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    first, of_init, names, later = (line.split() for line in run.stdout.splitlines())
    assert first == later == sorted(fastinit.torch.__all__)
    assert first == [
        "Acceleration",
        "FastInitReader",
        "Plan",
        "Report",
        "Row",
        "accelerate",
        "coordinate_check",
        "deferred",
        "init",
        "init_module",
        "install",
        "signal",
        "uninstall",
    ]
    assert of_init == sorted(torch.nn.init.__all__)
    assert names == ["FastInitReader", "Report", "Row", "Acceleration", "init_module"]


def test_public_classes_say_where_they_are() -> None:
    """In help, in reprs and in pickles, which outlive the names of private files."""
    classes = [thing for name in fastinit.torch.__all__ if isinstance(thing := getattr(fastinit.torch, name), type)]
    kinds = {"Acceleration", "FastInitReader", "Plan", "Report", "Row", "accelerate", "deferred"}
    assert {cls.__name__ for cls in classes} == kinds
    assert {cls.__module__ for cls in classes} == {"fastinit.torch"}
    report = fastinit.torch.init_module(nn.Linear(2, 2), {"*": fastinit.recipes.Initializer("normal")}, seed=0)
    assert b"_report" not in pickle.dumps(report)
    assert pickle.loads(pickle.dumps(report)) == report


def test_help_begins_with_names_and_not_with_types() -> None:
    init = [getattr(fastinit.torch.init, name) for name in fastinit.torch.init.__all__ if name.endswith("_")]
    package = [fastinit.torch.init_module, fastinit.torch.install, fastinit.torch.accelerate.__init__]
    for function in (*init, *package, fastinit.torch.FastInitReader.__init__):
        assert function.__annotations__ == {}


def test_dir_here_too() -> None:
    assert dir(fastinit.torch) == sorted(fastinit.torch.__all__)
    assert dir(fastinit.torch.init) == sorted(torch.nn.init.__all__)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_says_what_others_may_use(file: pathlib.Path) -> None:
    module = importlib.import_module("fastinit.torch" + ("" if file.stem == "__init__" else f".{file.stem}"))
    assert all(hasattr(module, name) for name in module.__all__)
    for other in FILES:
        for node in ast.walk(ast.parse(other.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module == file.stem:
                assert {alias.name for alias in node.names} <= set(module.__all__), other.name
