r"""
Xavier's law, in all four forms, keeps signals alive through 30 layers of tanh
==============================================================================

Around 0 a tanh is a line, and a layer multiplies the variance of the signal by
:math:`n_{in} \operatorname{Var}(w)`, that of the gradient on its way back by
:math:`n_{out} \operatorname{Var}(w)`. Both cannot be 1 if the layer changes the width. Glorot and
Bengio 2010 (`Understanding the difficulty of training deep feedforward neural networks
<https://proceedings.mlr.press/v9/glorot10a.html>`_) take the middle; many courses, and Caffe's
"xavier", the second:

.. math:: \operatorname{Var}(w) = \frac{2}{n_{in} + n_{out}} \qquad\text{or}\qquad
          \operatorname{Var}(w) = \frac{1}{n_{in}}.

Each is used with a normal and with a uniform distribution. What counts is the variance alone:
:math:`U(-b, b)` has :math:`b^2 / 3`. In fastinit the first formula is ``xavier_normal`` and
``xavier_uniform``, the second ``lecun_normal`` and ``lecun_uniform`` (LeCun et al. 1998).
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import fastinit
from fastinit.recipes import Initializer
from fastinit.signal import variance_map

depth = 30
FORMS = ("xavier_normal", "xavier_uniform", "lecun_normal", "lecun_uniform")

# %%
# The formulas differ only where layers differ in width. So one network is 256 units wide throughout,
# and one narrows from 512 units to 128. The inputs are N(0, 1).

even = [256] * (depth + 1)
narrowing = [round(512 * (128 / 512) ** (layer / depth)) for layer in range(depth + 1)]

reports = {
    (shape, law): fastinit.signal.mlp(widths, "tanh", law)
    for shape, widths in (("even", even), ("narrowing", narrowing))
    for law in FORMS
}
HALF = "N(0, 1/sqrt(2n))"
reports["even", HALF] = fastinit.signal.mlp(even, "tanh", Initializer("normal", std=math.sqrt(0.5 / 256)))


def outputs(report, what="std"):
    return np.array([layer.output.std if what == "std" else layer.predicted_std for layer in report.layers[1::2]])


def gradients(report, what="std"):
    return np.array([layer.gradient.std if what == "std" else layer.predicted_grad_std for layer in report.layers[::2]])


plt.style.use("seaborn-v0_8-colorblind")
figure, panels = plt.subplots(2, 2, figsize=(9, 6.2), sharex=True, layout="constrained")
numbers = np.arange(1, depth + 1)
for column, (shape, title) in zip(
    panels.T, (("even", "256 units in each layer"), ("narrowing", "from 512 to 128 units")), strict=True
):
    for marker, law in zip("osv^x", (*FORMS, HALF), strict=True):
        if (shape, law) in reports:
            colour = "black" if law == HALF else None
            for axes, values in zip(column, (outputs, gradients), strict=True):
                measured, predicted = values(reports[shape, law]), values(reports[shape, law], "predicted")
                (marks,) = axes.plot(numbers, measured**2, marker, color=colour, markersize=4, label=law)
                axes.plot(numbers, predicted**2, color=marks.get_color(), linewidth=1)
    column[0].set(title=title, yscale="log", ylabel="variance of outputs")
    column[1].set(xlabel="layer", yscale="log", ylabel="variance of gradients")
panels[1, 0].legend(title="marks: measured, lines: predicted", fontsize=8, title_fontsize=8)
plt.show()

# %%
# What "keeps" means. A tanh is no line, and no variance but 0 is kept for ever by a variance of
# 1/n: the map :math:`q \to \operatorname{E} \tanh(\sqrt q z)^2` has the slope 1 at 0 and bends down.
# So the variance falls, but as 1/(2 L), which after 30 layers is 1/60, and not as a power, which
# with half of the variance is :math:`2^{-30}`. (PyTorch's gain for tanh, 5/3, puts the fixed point at
# a variance that is not 0.)

q = 1.0
for _ in range(1000):
    q = variance_map(q, "tanh")
assert abs(q * 2 * 1000 - 1) < 0.01  # 1 / (2 L), up to log(L) / L

# %%
# The claims, asserted: in each form, network and direction the measured sizes are the predicted
# ones. Over L layers of widths n the logarithm of a variance wanders by at most about
# sqrt(5 sum(1 / n)) (Hanin and Rolnick 2018, for relu; a tanh wanders less). The bound is four of
# these, and half of it is for standard deviations.

for (shape, _), report in reports.items():
    widths = even if shape == "even" else narrowing
    wander = 4 * 0.5 * math.sqrt(5 * sum(1 / n for n in widths))
    assert abs(math.log(outputs(report)[-1] / outputs(report, "predicted")[-1])) < wander
    assert abs(math.log(gradients(report)[0] / gradients(report, "predicted")[0])) < wander

# %%
# With equal widths, all four forms are one law, and what is predicted after 30 layers is 1/(2 L) up
# to a factor of 2. With half of the variance nothing of that holds.

for law in FORMS:
    assert 1 / (4 * depth) < outputs(reports["even", law], "predicted")[-1] ** 2 < 1 / depth
    for form in FORMS:
        assert np.allclose(*(outputs(reports["even", name], "predicted") for name in (law, form)), rtol=1e-9)
assert outputs(reports["even", HALF])[-1] ** 2 < 2.0**-depth

# %%
# With other widths they differ. In a linear network that narrows from 512 to 128 units, 1/n_in keeps
# the signal and multiplies the gradients' variance by 128/512 = 1/4. The middle of both multiplies
# it by 1/2, and pays for it with a signal whose variance doubles. (From layer 1, of 489 units, on;
# and up to the square of a step's logarithm, 0.046, times 30 / 8.)

for law, forth, back in (("lecun_normal", 1, 1 / 4), ("xavier_normal", 2, 1 / 2)):
    first, *_, last = fastinit.signal.mlp(narrowing, "linear", law).layers
    assert abs((last.predicted_std / first.predicted_std) ** 2 / forth - 1) < 0.046 + 0.046**2 * 30 / 8
    assert abs((first.predicted_grad_std / last.predicted_grad_std) ** 2 / back - 1) < 0.05 + 0.046**2 * 30 / 8
    wander = 4 * 0.5 * math.sqrt(2 * sum(1 / n for n in narrowing))  # that of linear networks is smaller
    assert abs(math.log(last.output.std / last.predicted_std)) < wander
    assert abs(math.log(first.gradient.std / first.predicted_grad_std)) < wander
