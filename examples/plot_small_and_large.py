r"""
Weights that are too small or too large: signals vanish, saturate, explode
==========================================================================

Ten layers of 256 units. With weights from N(0, 0.0007), each layer multiplies the signal by
:math:`0.0007 \sqrt{256} = 0.011`: after ten layers nothing is left of it, and nothing of the
gradient on its way back. With weights from U(0, 1), which have the mean 1/2, each unit gets about
128 times the mean of its inputs. Tanh and sigmoid are driven to the ends of their range, where
their slope, and with it each gradient, is zero; relu has no end, and explodes.

Glorot and Bengio 2010 (`Understanding the difficulty of training deep feedforward neural networks
<https://proceedings.mlr.press/v9/glorot10a.html>`_) look at networks in this way;
:func:`fastinit.signal.mlp` runs one in both directions, and puts the theory beside it.
"""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np

import fastinit
from fastinit.recipes import Initializer

n, depth = 256, 10
SMALL, LARGE = "N(0, 0.0007)", "U(0, 1)"


def laws(activation):
    """The two that are wrong, and the law that is meant for the activation."""
    right = "he_normal" if activation == "relu" else "xavier_normal"
    return {
        SMALL: Initializer("normal", std=0.0007),
        LARGE: Initializer("uniform", low=0, high=1),
        right: Initializer(right),
    }


# %%
# The input is N(0, 1), and so is the gradient that comes back from the last layer. A report has two
# rows for each layer, one before the activation and one after it.

reports = {
    activation: {
        name: fastinit.signal.mlp([n] * (depth + 1), activation, law) for name, law in laws(activation).items()
    }
    for activation in ("tanh", "sigmoid", "relu")
}

for activation, by_law in reports.items():
    for name, report in by_law.items():
        last = report.layers[-1].output
        print(f"{activation:8}{name:14} last output: {last.mean:9.2g} +- {last.std:8.2g}", end="")
        print(f"   gradient at the first layer: {report.layers[0].gradient.rms:.2g}")

plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(2, 3, figsize=(9.5, 5.5), sharex=True, sharey="row", layout="constrained")
for (top, bottom), (activation, by_law) in zip(panels.T, reports.items(), strict=True):
    for (name, report), marker in zip(by_law.items(), "vos", strict=True):
        style = {"marker": marker, "markersize": 4, "label": name}
        numbers = np.arange(1, depth + 1)
        spread = np.array([layer.output.std for layer in report.layers[1::2]])
        gradients = np.array([layer.gradient.rms for layer in report.layers[0::2]])
        top.plot(numbers[spread > 0], spread[spread > 0], **style)
        bottom.plot(numbers[gradients > 0], gradients[gradients > 0], **style)
    top.set(title=activation, yscale="log", ylim=(1e-25, 1e25))
    top.set_yticks([10.0**power for power in range(-20, 21, 10)])
    bottom.set(xlabel="layer", yscale="log", ylim=(1e-110, 1e25), xticks=range(1, depth + 1))
    bottom.set_yticks([10.0**power for power in range(-100, 21, 20)])
    bottom.legend(fontsize=8, loc="lower left")
panels[0, 0].set_ylabel("standard deviation of outputs")
panels[1, 0].set_ylabel("size of gradients (rms)")
plt.show()

# %%
# Zeros cannot be shown on these axes: there the lines of U(0, 1) end. The outputs of the small
# sigmoid network do not vanish, since a sigmoid of 0 is 1/2, but what they owe to the input does:
# the gradient says how much of it there is. The sigmoid network has no gradient left even with
# Xavier's law. A sigmoid's slope is at most 1/4.
#
# The claims, asserted. First, small weights: measured and predicted sizes agree. The logarithm of
# the variance wanders by about sqrt(5 L / n) over L layers of relu (Hanin and Rolnick 2018), and by
# less in the others; that of a standard deviation by half of it.

wander = 4 * 0.5 * math.sqrt(5 * depth / n)
step = 0.0007 * math.sqrt(n)

for activation, slope in (("tanh", 1), ("sigmoid", 1 / 4), ("relu", math.sqrt(1 / 2))):
    report = reports[activation][SMALL]
    assert abs(math.log(report.layers[-1].output.std / report.layers[-1].predicted_std)) < wander
    # Near 0 each of them is a line, or half of one. On its way back a gradient passes 10 of them, and 9 layers.
    assert abs(math.log(report.backward_gain / (slope**depth * step ** (depth - 1)))) < wander
assert reports["tanh"][SMALL].layers[-1].output.std < 1e-19
assert reports["relu"][SMALL].layers[-1].output.std < 1e-20

# %%
# Second, U(0, 1). From layer to layer, a common sign of the outputs is multiplied by n/2 until tanh
# and sigmoid saturate: in the last layer without exception. From layer 4 on each pre-activation is
# n/2 up to six times its standard deviation sqrt(n/12), which bounds the slopes, and n weights of
# at most 1 bound what comes back through a layer.

least = n / 2 - 6 * math.sqrt(n / 12)
for activation, slope in (("tanh", 4 * math.exp(-2 * least)), ("sigmoid", math.exp(-least))):
    report = reports[activation][LARGE]
    assert report.layers[-1].saturated == 1.0
    assert report.layers[0].gradient.rms <= 5 * n**3 * (n * slope) ** (depth - 3)

# %%
# A relu network multiplies by n/2 a layer; the mean of the n^2 weights has a relative standard error
# of 1 / (sqrt(3) n), and their variance adds less than 1 / n.

after = [layer.output.std for layer in reports["relu"][LARGE].layers[1::2]]
for one, following in itertools.pairwise(after[2:]):
    assert abs(following / one / (n / 2) - 1) < 4 / (math.sqrt(3) * n) + 1 / n
assert after[-1] > 1e18

# %%
# Third, the laws that are meant for tanh and relu keep both directions within the same bound. The
# wrong ones are off by 17 powers of ten or more in the gradients, and most in the outputs, too.

for activation, name in (("tanh", "xavier_normal"), ("relu", "he_normal")):
    report = reports[activation][name]
    assert abs(math.log(report.layers[-1].output.std / report.layers[-1].predicted_std)) < wander
    assert abs(math.log(report.layers[0].gradient.std / report.layers[0].predicted_grad_std)) < wander
    assert report.layers[-1].output.std > 0.1
    assert report.layers[0].gradient.rms > 0.1
    for wrong in (SMALL, LARGE):
        assert not 1e-17 < reports[activation][wrong].layers[0].gradient.rms < 1e17
