"""Published recipes of language models: GPT-2 and Llama."""

from __future__ import annotations

import math

from .._arguments import at_least_zero, count
from ._initializer import Initializer
from ._patterns import Recipe

__all__ = ["gpt2", "llama"]


def gpt2(n_layer: int, std: float = 0.02, *, biases: bool = True) -> Recipe:
    """GPT-2: N(0, std), less on the residual paths.

    The projections that end a residual branch (c_proj) have std / sqrt(2
    n_layer), biases are 0, norms are 1 and 0.

    Parameters
    ----------
    n_layer : int
        The number of blocks.
    std : float, default 0.02
        The standard deviation of the weights.
    biases : bool, default True
        Whether there are any, those of norms too; nanoGPT has a model without.

    Returns
    -------
    Recipe
        For the names of transformers' ``GPT2LMHeadModel`` and of nanoGPT.

    Raises
    ------
    TypeError, ValueError
        n_layer is not an int >= 1, or std not a finite number >= 0.

    References
    ----------
    Radford et al., "Language models are unsupervised multitask learners",
    2019, section 2.3 (1 / sqrt(residual layers), of which a block has two),
    and transformers' ``GPT2PreTrainedModel._init_weights``. OpenAI's own code
    has std 0.01 for the position embeddings (wpe); transformers and this
    recipe have std.

    Examples
    --------
    >>> from fastinit.recipes import gpt2
    >>> gpt2(12)[3]
    ('*.weight', Initializer('normal', std=0.02))
    """
    last = at_least_zero("std", std) / math.sqrt(2 * count("n_layer", n_layer))
    return (
        ("*.c_proj.weight", Initializer("normal", std=last)),
        ("*ln_[12f].weight", Initializer("ones")),
        *((("*.bias", Initializer("zeros")),) if biases else ()),
        ("*.weight", Initializer("normal", std=std)),
    )


def llama(std: float = 0.02, *, biases: bool = False) -> Recipe:
    """Llama: N(0, std), norms 1.

    Parameters
    ----------
    std : float, default 0.02
        The standard deviation of the weights.
    biases : bool, default False
        Whether there are any (``attention_bias``, ``mlp_bias``); they are 0.

    Returns
    -------
    Recipe
        For the names of transformers' ``LlamaForCausalLM``, and of models that
        have them and this initialisation too, such as Mistral and Qwen2.

    Raises
    ------
    TypeError, ValueError
        std is not a finite number >= 0.

    References
    ----------
    Touvron et al., "LLaMA", 2023, does not say how it initialises; this is
    transformers' ``LlamaPreTrainedModel`` (``initializer_range``).

    Examples
    --------
    >>> from fastinit.recipes import llama
    >>> llama()[0]
    ('*norm.weight', Initializer('ones'))
    """
    at_least_zero("std", std)
    return (
        ("*norm.weight", Initializer("ones")),
        *((("*.bias", Initializer("zeros")),) if biases else ()),
        ("*.weight", Initializer("normal", std=std)),
    )
