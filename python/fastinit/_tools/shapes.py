"""Names and shapes of all parameters of GPT-2 small and ResNet-50, in the order of their modules."""

from __future__ import annotations

__all__ = ["Shapes", "gpt2", "resnet50"]

Shapes = dict[str, tuple[int, ...]]


def gpt2() -> Shapes:
    """GPT-2 small, as transformers' ``GPT2LMHeadModel(GPT2Config())`` names it.

    ``lm_head.weight`` is tied to ``transformer.wte.weight`` and not listed. Matrices of Conv1D are (in, out).

    The configuration: Radford et al., "Language models are unsupervised multitask learners", 2019, table 2.
    """
    layers, width, vocabulary, positions = 12, 768, 50257, 1024
    shapes: Shapes = {"transformer.wte.weight": (vocabulary, width), "transformer.wpe.weight": (positions, width)}
    for layer in range(layers):
        at = f"transformer.h.{layer}"
        shapes |= _with_bias(f"{at}.ln_1", width)
        shapes |= _with_bias(f"{at}.attn.c_attn", width, 3 * width)
        shapes |= _with_bias(f"{at}.attn.c_proj", width, width)
        shapes |= _with_bias(f"{at}.ln_2", width)
        shapes |= _with_bias(f"{at}.mlp.c_fc", width, 4 * width)
        shapes |= _with_bias(f"{at}.mlp.c_proj", 4 * width, width)
    return shapes | _with_bias("transformer.ln_f", width)


def resnet50() -> Shapes:
    """ResNet-50, as torchvision's ``resnet50()`` names it.

    The configuration: He, Zhang, Ren, Sun, "Deep residual learning for image recognition", 2015, table 1.
    """
    channels = 64
    shapes: Shapes = {"conv1.weight": (channels, 3, 7, 7), **_with_bias("bn1", channels)}
    for stage, (blocks, width) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], 1):
        for block in range(blocks):
            at = f"layer{stage}.{block}"
            convolutions = [(width, channels, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            for index, shape in enumerate(convolutions, 1):
                shapes[f"{at}.conv{index}.weight"] = shape
                shapes |= _with_bias(f"{at}.bn{index}", shape[0])
            if block == 0:
                shapes[f"{at}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                shapes |= _with_bias(f"{at}.downsample.1", 4 * width)
            channels = 4 * width
    return shapes | {"fc.weight": (1000, channels), "fc.bias": (1000,)}


def _with_bias(module: str, *shape: int) -> Shapes:
    """The weight of a module and a bias as long as the weight's last dimension."""
    return {f"{module}.weight": shape, f"{module}.bias": shape[-1:]}
