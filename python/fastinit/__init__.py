"""Fill arrays in place with Xavier, He and other weights: fast, and the same bits on every CPU.

    >>> import numpy as np
    >>> import fastinit
    >>> w = np.empty((256, 512), np.float32)
    >>> fastinit.he_normal(w, 512, seed=0, stream="encoder.0.weight") is w
    True

Every initialiser writes into its first argument and returns it. The value of an element depends on the seed, the
stream, its row-major index in the whole tensor, the dtype and the parameters: not on the memory layout, the thread
count, the CPU, or the part of the tensor that is being filled. (The last bits of ``orthogonal`` are NumPy's LAPACK's.)

Common arguments
----------------
The docstrings of the functions name only what is their own. These are the same everywhere:

out
    The array to fill, of float32, float64, float16 or bfloat16 in native byte order, of any shape and strides whose
    elements do not overlap: a writable ``numpy.ndarray`` (bfloat16 by ``ml_dtypes``); a tensor in the memory of the CPU
    of any library that speaks DLPack (``__dlpack__``), such as PyTorch; or a writable buffer of format f, d or e, such
    as an ``array.array`` or a ``memoryview``. Returned. A masked array is filled throughout: its mask is not looked at.
    Arrays that their library holds to be immutable (JAX, TensorFlow) are refused; so are tensors that require grad, and
    autograd is not told that a tensor was written: ``fastinit.torch`` sees to both.
fan_in, fan_out
    Numbers of inputs and outputs of a unit: finite real numbers > 0, not so small that a value overflows the dtype.
    Only those that the formula needs are required. Left out, they are computed from the shape, and then the caller
    must say how to read it, by ``layout`` or by ``in_axis`` and ``out_axis``. Explicit fans exclude both.
layout
    ``"torch"``: the shape is (out, in, *kernel), at least two dimensions; fan_in = in * prod(kernel), fan_out = out *
    prod(kernel). ``"keras"``: the shape is (*kernel, in, out), with the same products; a vector of n elements has
    fans n and n, a 0-d array 1 and 1.
in_axis, out_axis, batch_axis
    int or sequence of ints, negative ones count from the end, as in JAX: the axes of inputs, of outputs, and of
    independent copies. The remaining axes are the receptive field: fan_in = prod(in axes) * prod(field), fan_out =
    prod(out axes) * prod(field). in_axis and out_axis come together; batch_axis is optional.
seed
    int, 0 .. 2**64-1. Left out, the process's own seed is used (``manual_seed``).
stream
    int, 0 .. 2**64-1, or a str such as the parameter's name, which stands for the 8-byte BLAKE2b digest of its UTF-8
    bytes, read little-endian. Left out, it is 0 with an explicit seed, else the next one of the process-wide generator.
global_shape, offset
    One int per dimension of ``out``, both or neither: ``out`` is the box at ``offset`` of a tensor of
    ``global_shape``. It gets the values that the whole fill has there, and fans come from ``global_shape``.
threads
    int >= 1: at most so many, for this call. Left out: ``set_num_threads``, else FASTINIT_NUM_THREADS, else the CPUs
    the process may use. A fill takes fewer where more would not pay.
rng
    ``"ars"`` (ARS-7, the default) or ``"philox"`` (Philox4x32-10).

A wrong type is a TypeError, a wrong value a ValueError; each names the argument, what came and what would do. A call
that is refused changes nothing: neither ``out`` nor the process-wide generator. The bits are defined, operation by
operation, in docs/stream-format.md; ``show_config(mode="dicts")["stream_format"]`` is its version.
"""

from ._core import __version__
from ._summary import Summary, summary
from .initializers import (
    calculate_gain,
    constant,
    empty,
    get_num_threads,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    kaiming_normal,
    kaiming_uniform,
    lecun_normal,
    lecun_uniform,
    manual_seed,
    normal,
    ones,
    random_bits,
    set_num_threads,
    show_config,
    truncated_normal,
    uniform,
    variance_scaling,
    xavier_normal,
    xavier_uniform,
    zeros,
)
from .structured import dirac, identity, orthogonal, sparse

__all__ = [
    "Summary",
    "__version__",
    "calculate_gain",
    "constant",
    "dirac",
    "empty",
    "get_num_threads",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "kaiming_normal",
    "kaiming_uniform",
    "lecun_normal",
    "lecun_uniform",
    "manual_seed",
    "normal",
    "ones",
    "orthogonal",
    "random_bits",
    "set_num_threads",
    "show_config",
    "sparse",
    "summary",
    "truncated_normal",
    "uniform",
    "variance_scaling",
    "xavier_normal",
    "xavier_uniform",
    "zeros",
]
