r"""
Keras, if nothing is said, begins with glorot_uniform, which is not for relu
============================================================================

``keras.layers.Dense(64)`` says nothing of its weights. They come from Xavier's law in its uniform
form (Glorot and Bengio 2010), named after Glorot in Keras,

.. math:: U(-b, b), \qquad b = \sqrt{\frac{6}{n_{in} + n_{out}}}, \qquad
          \operatorname{Var}(w) = \frac{2}{n_{in} + n_{out}},

and its biases are zeros. It is the same for convolutions, whose fans count the kernel's places; an
``LSTM`` has it for its inputs, and orthogonal matrices for its state. That is right before a tanh.
Before a relu it loses half of the variance in each layer (He et al. 2015), and
``kernel_initializer="he_normal"`` has to be said.
"""

import math
import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # or "jax", or "tensorflow"

import keras
import matplotlib.pyplot as plt
import numpy as np

import fastinit
import fastinit.keras


def array(x):
    return np.asarray(keras.ops.stop_gradient(x))


# %%
# What Keras says of layers that say nothing.

for layer in (keras.layers.Dense(64), keras.layers.Conv2D(64, 3), keras.layers.LSTM(64), keras.layers.Embedding(9, 64)):
    config = layer.get_config()
    names = {
        key.removesuffix("_initializer"): value["config"].get("name") or value["class_name"]
        for key, value in config.items()
        if key.endswith("_initializer") and value
    }
    print(f"{type(layer).__name__:10}", ", ".join(f"{key}: {name}" for key, name in names.items()))

# %%
# The values of a dense layer from 784 inputs to 512 units, and of a convolution of 3 x 3 places. The
# third is a dense layer after ``fastinit.keras.install``, from which on "glorot_uniform" and the other
# strings are fastinit's, with one stream for each variable's name.

keras.utils.set_random_seed(0)
dense = keras.layers.Dense(512)
dense.build((None, 784))
conv = keras.layers.Conv2D(512, 3)
conv.build((None, 32, 32, 64))

fastinit.keras.install(seed=0)
by_fastinit = keras.layers.Dense(512, name="fc1")
by_fastinit.build((None, 784))
fastinit.keras.uninstall()

FANS = {"Dense": (784, 512), "Conv2D": (9 * 64, 9 * 512), "Dense, by fastinit": (784, 512)}
kernels = dict(zip(FANS, map(array, (dense.kernel, conv.kernel, by_fastinit.kernel)), strict=True))

# %%
# And what becomes of a signal in 30 dense layers of 256 units with relu, by default and with He's law.
# (Those of Keras; they are cut at two standard deviations and widened for that.)

depth, n = 30, 256
signal = {}
for name, said in (("nothing said", {}), ("he_normal", {"kernel_initializer": "he_normal"})):
    z = keras.ops.convert_to_tensor(fastinit.normal(np.empty((256, n), np.float32), seed=0, stream="x"))
    signal[name] = []
    for _ in range(depth):
        z = keras.layers.Dense(n, activation="relu", **said)(z)
        signal[name].append(np.mean(np.square(array(z))))

plt.style.use("seaborn-v0_8-colorblind")
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for (name, (n_in, n_out)), style in zip(FANS.items(), ("-", "--", ":"), strict=True):
    bound = math.sqrt(6 / (n_in + n_out))
    counts, edges = np.histogram(kernels[name], 25, (-bound, bound), density=True)
    left.stairs(counts, edges, linestyle=style, linewidth=1.5, label=name)
    left.plot([-bound, -bound, bound, bound], [0, 0.5 / bound, 0.5 / bound, 0], color="black", linewidth=0.8)
left.set(xlabel="weight", ylabel="density (black: the law)", ylim=(0, 24), xticks=[-0.06, -0.03, 0, 0.03, 0.06])
left.legend(loc="upper right")
for (name, values), style in zip(signal.items(), ("s--C2", "o-C0"), strict=True):
    right.plot(range(1, depth + 1), values, style, markersize=4, label=name)
right.set(xlabel="layer", ylabel="mean square of outputs (relu)", yscale="log")
right.legend()
plt.show()

# %%
# The claims, asserted. Each kernel is within the bound, which float32 may round up, and reaches it as
# N uniforms do: no one of them is within a share x of the ends with the probability e^(-N x). The mean
# square of N uniforms has a relative standard error of sqrt(4 / (5 N)). The bounds are four of these.

for name, (n_in, n_out) in FANS.items():
    w, bound = kernels[name].astype(np.float64), math.sqrt(6 / (n_in + n_out))
    assert bound * (1 - 20 / w.size) <= np.abs(w).max() <= bound * (1 + 2**-23), name
    assert abs(np.mean(w**2) / (2 / (n_in + n_out)) - 1) < 4 * math.sqrt(0.8 / w.size), name
assert isinstance(dense.kernel_initializer, keras.initializers.GlorotUniform)
assert isinstance(conv.kernel_initializer, keras.initializers.GlorotUniform)
assert not np.any(array(dense.bias))
assert not np.any(array(conv.bias))

# %%
# Bit for bit, fastinit's is ``glorot_uniform`` of the variable's name.

expected = fastinit.glorot_uniform(np.empty((784, 512), np.float32), 784, 512, seed=0, stream="fc1/kernel")
assert np.array_equal(kernels["Dense, by fastinit"], expected)

# %%
# In the relu network the default loses half in each layer. The logarithm wanders by sqrt(5 L / n) over
# L layers of width n (Hanin and Rolnick 2018). The bound is four of these, a factor of 21, where the
# default loses 2^30.

wander = 4 * math.sqrt(5 * depth / n)
assert abs(math.log(signal["nothing said"][-1] * 2.0**depth)) < wander
assert abs(math.log(signal["he_normal"][-1])) < wander
