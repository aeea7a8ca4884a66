r"""
He's law keeps signals through 30 layers of relu and leaky relu, Xavier's does not
==================================================================================

A relu sets half of its inputs to 0, and so halves the mean square of a symmetric signal. A leaky
relu of slope a leaves :math:`(1 + a^2) / 2` of it. So weights have to make up for this (He et al.
2015, `Delving deep into rectifiers <https://arxiv.org/abs/1502.01852>`_):

.. math:: n \operatorname{Var}(w) = \frac{2}{1 + a^2},

where n is the number of inputs, or of outputs: both do, for a whole network. With Xavier's
:math:`n \operatorname{Var}(w) = 1` thirty layers of relu multiply the variance by :math:`2^{-30}`,
about one in a thousand million; the smaller the relu's bend, the less is lost.
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import fastinit
from fastinit.recipes import Initializer
from fastinit.signal import variance_map

n, depth = 256, 30
SLOPES = {"relu": 0.0, "leaky relu, a = 0.25": 0.25}  # PReLU begins with 0.25


def run(a, law):
    """The report of 30 layers of leaky_relu; with a = 0 that is a relu."""
    return fastinit.signal.mlp([n] * (depth + 1), "leaky_relu", law, a=a)


LAWS = {
    "he_normal": lambda a: Initializer("he_normal", a=a),
    "he_uniform": lambda a: Initializer("he_uniform", a=a),
    "he_normal, fan_out": lambda a: Initializer("he_normal", a=a, mode="fan_out"),
    "xavier_normal": lambda a: Initializer("xavier_normal"),
    "xavier_uniform": lambda a: Initializer("xavier_uniform"),
}
reports = {(name, law): run(a, LAWS[law](a)) for name, a in SLOPES.items() for law in LAWS}

# %%
# The inputs are N(0, 1). Marks are what was measured, lines what theory says.

plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(2, 2, figsize=(9, 6.2), sharex=True, sharey=True, layout="constrained")
numbers = np.arange(1, depth + 1)
for column, name in zip(panels.T, SLOPES, strict=True):
    for marker, law in zip("osd^v", LAWS, strict=True):
        layers = reports[name, law].layers[::2]  # the pre-activations
        forth = [(layer.output.std, layer.predicted_std) for layer in layers]
        back = [(layer.gradient.std, layer.predicted_grad_std) for layer in layers]
        for axes, stds in zip(column, (forth, back), strict=True):
            measured, predicted = np.square(stds).T
            (marks,) = axes.plot(numbers, measured, marker, markersize=4, label=law)
            axes.plot(numbers, predicted, color=marks.get_color(), linewidth=1)
    column[0].set(title=name, yscale="log")
    column[1].set(xlabel="layer")
panels[0, 0].set_ylabel("variance of pre-activations")
panels[1, 0].set_ylabel("variance of gradients")
panels[0, 0].legend(fontsize=8)
plt.show()

# %%
# What the report says of a law that is off:

print(reports["relu", "xavier_normal"].advice[0])

# %%
# The claims, asserted. In theory each variance is a fixed point of He's law, and Xavier's leaves
# (1 + a^2) / 2 of it.

for a in SLOPES.values():
    for q in (1e-3, 1.0, 1e3):
        he = math.sqrt(2 / (1 + a**2))
        assert math.isclose(variance_map(q, "leaky_relu", he, a=a), q, rel_tol=1e-9)
        assert math.isclose(variance_map(q, "leaky_relu", 1.0, a=a), q * (1 + a**2) / 2, rel_tol=1e-9)

# %%
# Measured: over L layers of width n the logarithm of the variance wanders by sqrt(5 L / n) (Hanin
# and Rolnick 2018). The bound is four times that, a factor of e^3; Xavier's 29 steps lose e^20 with
# relu, and e^18 with the leaky one.

wander = 4 * math.sqrt(5 * depth / n)
for (name, law), report in reports.items():
    first, last = report.layers[0], report.layers[-2]  # the first and the last pre-activations
    forth = math.log(last.output.mean_square / first.output.mean_square)
    back = math.log(first.gradient.mean_square / last.gradient.mean_square)
    kept = 1.0 if law.startswith("he") else (1 + SLOPES[name] ** 2) / 2
    assert abs(forth - (depth - 1) * math.log(kept)) < wander
    assert abs(back - (depth - 1) * math.log(kept)) < wander
    assert any("He's law" in words for words in report.advice) == law.startswith("xavier")
