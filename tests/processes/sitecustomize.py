"""Imported by each process of an example, as this folder is on its path: torchvision then loads beside any torch.

PyPI's torchvision for Linux is built for GPUs. Beside a torch for CPUs its operators do not load, and its import stops
at those that it takes for granted. To declare them is enough for transformers and torchmetrics, which import it.
"""

from __future__ import annotations

import importlib.abc
import sys
from typing import Any


class Declared(importlib.abc.MetaPathFinder):
    """Finds no module; declares the operators before the module that takes them for granted is looked for."""

    library: Any = None  # operators last as long as what declared them

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "torchvision._meta_registrations":
            import torch

            if not hasattr(torch.ops.torchvision, "nms"):
                self.library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
                for operator in ("nms", "qnms"):
                    self.library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, Declared())
