"""Published recipes of language models: GPT-2 and Llama."""

from __future__ import annotations

import math

from ._core import Initializer, Recipe

__all__ = ["gpt2", "llama"]


def gpt2(n_layer: int, std: float = 0.02) -> Recipe:
    """GPT-2: N(0, std), less on the residual paths.

    The projections that end a residual branch (c_proj) have std / sqrt(2
    n_layer), biases are 0, norms are 1 and 0.

    Parameters
    ----------
    n_layer : int
        The number of blocks.
    std : float, default 0.02
        The standard deviation of the weights.

    Returns
    -------
    Recipe
        For the names of transformers' ``GPT2LMHeadModel``.

    References
    ----------
    Radford et al., "Language models are unsupervised multitask learners",
    2019, section 2.3 (1 / sqrt(residual layers), of which a block has two),
    and transformers' ``GPT2PreTrainedModel._init_weights``. OpenAI's own code
    has std 0.01 for the position embeddings (wpe); transformers and this
    recipe have std.
    """
    return (
        ("*.c_proj.weight", Initializer("normal", std=std / math.sqrt(2 * n_layer))),
        ("*ln_*.weight", Initializer("ones")),
        ("*.bias", Initializer("zeros")),
        ("*.weight", Initializer("normal", std=std)),
    )


def llama(std: float = 0.02, *, biases: bool = False) -> Recipe:
    """Llama: N(0, std) everywhere, norms 1.

    Parameters
    ----------
    std : float, default 0.02
        The standard deviation of the weights.
    biases : bool, default False
        Whether there are any (``attention_bias``, ``mlp_bias``); they are 0.

    Returns
    -------
    Recipe
        For the names of transformers' ``LlamaForCausalLM``.

    References
    ----------
    Touvron et al., "LLaMA", 2023, does not say how it initialises; this is
    transformers' ``LlamaPreTrainedModel`` (``initializer_range``).
    """
    return (
        ("*norm.weight", Initializer("ones")),
        *((("*.bias", Initializer("zeros")),) if biases else ()),
        ("*.weight", Initializer("normal", std=std)),
    )
