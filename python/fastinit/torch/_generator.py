"""Seeds and streams from torch's own generators, so that ``torch.manual_seed`` governs."""

from __future__ import annotations

import torch

__all__ = ["seed_of", "word_of"]

_END = 2**64


def seed_of(generator: torch.Generator | None = None) -> int:
    """The seed that the generator, or torch's default one, began with."""
    return (torch.initial_seed() if generator is None else generator.initial_seed()) % _END


def word_of(generator: torch.Generator | None = None) -> int:
    """The next 64 bits of the generator, or of torch's default one."""
    word = torch.empty((), dtype=torch.int64, device="cpu").random_(-(2**63), None, generator=generator)
    return int(word) % _END
