r"""
A unit with 250 inputs has 250 times the variance
=================================================

A unit computes :math:`z = w_1 x_1 + \dots + w_n x_n`. Let all inputs be 1, and let each weight
come from N(0, 1). Variances of independent numbers add up, so with 250 inputs

.. math:: \operatorname{Var}(z) = n \operatorname{Var}(w) = 250, \qquad
          \operatorname{sd}(z) = \sqrt{250} = 15.81,

although nothing in this unit looks large. A tanh of such a :math:`z` is beyond 0.97 nine times of
ten, where it is flat and little is learned. Weights of variance :math:`1/n` cure it: then
:math:`\operatorname{Var}(z) = 1` for any :math:`n` (LeCun et al. 1998, `Efficient BackProp
<http://yann.lecun.com/exdb/publis/pdf/lecun-98b.pdf>`_).
"""

import math

import matplotlib.pyplot as plt
import numpy as np

import fastinit

# %%
# 20,000 such units, each with its own weights. ``normal`` draws from N(0, 1) if nothing else is
# said; ``lecun_normal`` is N(0, 1/sqrt(fan_in)): in these pages, as in the docstrings, the second
# number is the standard deviation.

n, units = 250, 20_000
x = np.ones(n, np.float32)

plain = fastinit.normal(np.empty((units, n), np.float32), seed=0, stream="plain") @ x
cured = fastinit.lecun_normal(np.empty((units, n), np.float32), n, seed=0, stream="cured") @ x

for name, z in (("N(0, 1)        ", plain), ("N(0, 1/sqrt(n))", cured)):
    flat = np.mean(np.abs(np.tanh(z)) > 0.97)
    print(f"{name}  variance {np.var(z):8.3f}  sd {np.std(z):6.3f}  tanh beyond 0.97: {flat:.1%}")

# %%
# The same for other numbers of inputs.

counts = [1, 3, 10, 30, 100, 300, 1000]
by_count = {"N(0, 1)": [], "N(0, 1/sqrt(n))": []}
for k in counts:
    w = fastinit.normal(np.empty((2000, k)), seed=0, stream=f"plain {k}")
    by_count["N(0, 1)"].append(np.var(w.sum(axis=1)))
    w = fastinit.lecun_normal(w, k, seed=0, stream=f"cured {k}")
    by_count["N(0, 1/sqrt(n))"].append(np.var(w.sum(axis=1)))

plt.style.use("seaborn-v0_8-colorblind")
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
bins = np.linspace(-50, 50, 101)
for z, std, label in ((plain, math.sqrt(n), "weights N(0, 1)"), (cured, 1.0, "weights N(0, 1/sqrt(250))")):
    left.hist(z, bins, density=True, histtype="stepfilled", alpha=0.6, label=label)
    density = np.exp(-0.5 * (bins / std) ** 2) / (std * math.sqrt(2 * math.pi))
    left.plot(bins, density, color="black", linewidth=1)
left.set(xlabel="z, the sum of 250 weighted ones", ylabel="density", yscale="log", ylim=(1e-5, 3))
left.legend(loc="upper right")
for label, variances in by_count.items():
    right.plot(counts, variances, "o-", label=f"weights {label}")
right.axhline(1, color="grey", linewidth=0.8)
right.set(xlabel="number of inputs", ylabel="variance of z", xscale="log", yscale="log")
right.legend()
plt.show()

# %%
# The claim, asserted. z is exactly normal here, so the mean square of N of them has a relative
# standard error of sqrt(2 / N), and a share p one of sqrt(p (1 - p) / N). The bounds are four of
# these.

four_errors = 4 * math.sqrt(2 / units)
assert abs(np.mean(plain**2) / 250 - 1) < four_errors
assert abs(np.mean(cured**2) / 1 - 1) < four_errors
assert abs(np.std(plain) / 15.81 - 1) < four_errors / 2  # the root of a variance has half its relative error

for z, std in ((plain, math.sqrt(250)), (cured, 1.0)):
    expected = math.erfc(math.atanh(0.97) / std / math.sqrt(2))  # of both tails
    assert abs(np.mean(np.abs(np.tanh(z)) > 0.97) - expected) < 4 * math.sqrt(expected * (1 - expected) / units)

assert np.all(np.abs(np.array(by_count["N(0, 1)"]) / counts - 1) < 4 * math.sqrt(2 / 2000))
assert np.all(np.abs(np.array(by_count["N(0, 1/sqrt(n))"]) - 1) < 4 * math.sqrt(2 / 2000))
