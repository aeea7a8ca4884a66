r"""
Truncated or plain normal, 32 or 16 bits: a deep network cannot tell
====================================================================

``he_normal`` is a plain normal distribution in the paper and in PyTorch. In Keras, TensorFlow and
JAX it is cut at two standard deviations. A cut normal has a smaller variance: 0.7737 of the uncut
one, a standard deviation of 0.8796. If it is not widened for that (``trunc_normal_`` of PyTorch is
not), each layer multiplies the variance by 0.7737: after 30 layers, that leaves 1/2200. If it is,
as those three do it, the two forms differ in their largest weights alone.

Weights of float16 or bfloat16 are rounded, by up to :math:`2^{-11}` or :math:`2^{-8}` of
themselves. Their variance, and so the signal, hardly notices. fastinit rounds the float32 values,
so it is also the *same* network, up to rounding.
"""

import math

import matplotlib.pyplot as plt
import ml_dtypes
import numpy as np

import fastinit

n, depth = 256, 30
CUT = 0.87962566103423978  # the standard deviation of N(0, 1) between -2 and 2
bfloat16 = np.dtype(ml_dtypes.bfloat16)
std = math.sqrt(2 / n)

FORMS = {
    "plain": lambda w, stream: fastinit.he_normal(w, n, seed=0, stream=stream),
    "truncated": lambda w, stream: fastinit.he_normal(w, n, truncated=True, seed=0, stream=stream),
    "not widened": lambda w, stream: fastinit.truncated_normal(w, 0, std, -2, 2, seed=0, stream=stream),
}

# %%
# A million weights of each kind.

weights = {form: fill(np.empty(2**20, np.float32), "million") / std for form, fill in FORMS.items()}
for form, w in weights.items():
    print(f"{form:12} variance {np.var(w):.4f}, largest {np.abs(w).max():.2f}, in units of He's standard deviation")

# %%
# And 30 layers of relu. The weights are those of one seed in each dtype; the products are float32, as
# in mixed precision.


def variances(form, dtype=np.float32):
    """Of the signal, layer by layer."""
    z = fastinit.normal(np.empty((256, n), np.float32), seed=0, stream="x")
    found = []
    for layer in range(depth):
        w = FORMS[form](np.empty((n, n), dtype), f"fc{layer}.weight")
        h = z @ w.astype(np.float32).T
        found.append(np.mean(h**2))
        z = np.maximum(h, 0)
    return np.array(found)


signal = {form: variances(form) for form in FORMS}
signal["plain, float16"] = variances("plain", np.float16)
signal["plain, bfloat16"] = variances("plain", bfloat16)

plt.style.use("seaborn-v0_8-colorblind")
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for (form, w), style in zip(weights.items(), ("-", "--", ":"), strict=True):
    counts, edges = np.histogram(w, 120, (-5, 5), density=True)
    left.stairs(counts, edges, linestyle=style, linewidth=1.5, label=form)
left.set(xlabel="weight, in He's standard deviations", ylabel="density", yscale="log", ylim=(1e-6, 3))
left.legend()
for (form, values), style in zip(signal.items(), ("-", "--", ":", "+", "x"), strict=True):
    right.plot(range(1, depth + 1), values, style, label=form)
right.set(xlabel="layer", ylabel="variance of pre-activations", yscale="log")
right.legend()
plt.show()

# %%
# The claims, asserted. The mean square of N values has a relative standard error of
# sqrt((kurtosis - 1) / N), which is at most sqrt(2 / N). The bounds are four of these.

error = 4 * math.sqrt(2 / 2**20)
assert abs(np.mean(weights["plain"] ** 2) - 1) < error
assert abs(np.mean(weights["truncated"] ** 2) - 1) < error
assert abs(np.mean(weights["not widened"] ** 2) / CUT**2 - 1) < error
assert abs(weights["truncated"]).max() <= 2 / CUT * (1 + 2**-23)
assert abs(weights["plain"]).max() > 4  # which 2^20 normals fail to exceed with a probability of e^-66

# %%
# The signal: over L layers of width n the logarithm of its variance wanders by sqrt(5 L / n) (Hanin
# and Rolnick 2018). The form that is not widened loses more than eight of these.

wander = 4 * math.sqrt(5 * depth / n)
for form in ("plain", "truncated"):
    assert abs(math.log(signal[form][-1] / 2)) < wander
assert abs(math.log(signal["not widened"][-1] / 2) - depth * math.log(CUT**2)) < wander
assert depth * math.log(CUT**2) < -2 * wander

# %%
# In 16 bits each weight is the float32 weight, rounded to nearest: to 11 or 8 significant bits.

for dtype, bits in ((np.float16, 11), (bfloat16, 8)):
    wide = FORMS["plain"](np.empty((n, n), np.float32), "fc0.weight")
    narrow = FORMS["plain"](np.empty((n, n), dtype), "fc0.weight")
    assert np.array_equal(narrow, wide.astype(dtype))
    # Rounding errors are up to 2^-bits of a weight; below 2^-14 float16 has a fixed step.
    relative = np.abs(narrow.astype(np.float32) - wide) / np.maximum(np.abs(wide), 2.0**-14)
    assert relative.max() <= 2.0**-bits

# %%
# In a layer's signal the rounding errors of its weights are noise of 2^-bits of its size or less, and
# over L layers of sqrt(L) times that. Noise that is independent of n signals has a share of
# 1 / sqrt(n) along them, and that twice is what it does to the logarithm of their variance. The bound
# is four times this.

for name, bits in (("plain, float16", 11), ("plain, bfloat16", 8)):
    changed = math.log(signal[name][-1] / signal["plain"][-1])
    print(f"{name}: the last layer's variance differs by {changed:.3%}")
    assert abs(changed) < 4 * 2 * 2.0**-bits * math.sqrt(depth / n)
