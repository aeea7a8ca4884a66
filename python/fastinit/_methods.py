"""The methods of Generator: the initialisers with its seed and bit generator. Written by tests/generate_methods.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import initializers, structured
from ._arguments import documented_by
from ._fans import FAN_IN, LEAKY_RELU, NO_SLOPE
from .initializers import _ONE, _STD

if TYPE_CHECKING:
    from ._types import (
        ArrayT,
        Axes,
        BitGenerator,
        Bounds,
        Distribution,
        Integer,
        Integers,
        Layout,
        Mode,
        Real,
    )

__all__ = ["Methods"]


class Methods:
    """A method for each initialiser."""

    __slots__ = ()
    _streams: Any  # the core's, in the place of a seed
    _bit_generator: BitGenerator

    @documented_by(initializers.xavier_uniform)
    def xavier_uniform(
        self,
        out: ArrayT,
        fan_in: Real | None = None,
        fan_out: Real | None = None,
        *,
        gain: Real = _ONE,
        layout: Layout | None = None,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
        batch_axis: Axes | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.xavier_uniform(
            out,
            fan_in,
            fan_out,
            gain=gain,
            layout=layout,
            in_axis=in_axis,
            out_axis=out_axis,
            batch_axis=batch_axis,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.xavier_normal)
    def xavier_normal(
        self,
        out: ArrayT,
        fan_in: Real | None = None,
        fan_out: Real | None = None,
        *,
        gain: Real = _ONE,
        truncated: bool = False,
        layout: Layout | None = None,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
        batch_axis: Axes | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.xavier_normal(
            out,
            fan_in,
            fan_out,
            gain=gain,
            truncated=truncated,
            layout=layout,
            in_axis=in_axis,
            out_axis=out_axis,
            batch_axis=batch_axis,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.he_uniform)
    def he_uniform(
        self,
        out: ArrayT,
        fan_in: Real | None = None,
        *,
        fan_out: Real | None = None,
        a: Real = NO_SLOPE,
        nonlinearity: str = LEAKY_RELU,
        mode: Mode = FAN_IN,
        gain: Real | None = None,
        layout: Layout | None = None,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
        batch_axis: Axes | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.he_uniform(
            out,
            fan_in,
            fan_out=fan_out,
            a=a,
            nonlinearity=nonlinearity,
            mode=mode,
            gain=gain,
            layout=layout,
            in_axis=in_axis,
            out_axis=out_axis,
            batch_axis=batch_axis,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.he_normal)
    def he_normal(
        self,
        out: ArrayT,
        fan_in: Real | None = None,
        *,
        fan_out: Real | None = None,
        a: Real = NO_SLOPE,
        nonlinearity: str = LEAKY_RELU,
        mode: Mode = FAN_IN,
        gain: Real | None = None,
        truncated: bool = False,
        layout: Layout | None = None,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
        batch_axis: Axes | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.he_normal(
            out,
            fan_in,
            fan_out=fan_out,
            a=a,
            nonlinearity=nonlinearity,
            mode=mode,
            gain=gain,
            truncated=truncated,
            layout=layout,
            in_axis=in_axis,
            out_axis=out_axis,
            batch_axis=batch_axis,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.lecun_uniform)
    def lecun_uniform(
        self,
        out: ArrayT,
        fan_in: Real | None = None,
        *,
        layout: Layout | None = None,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
        batch_axis: Axes | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.lecun_uniform(
            out,
            fan_in,
            layout=layout,
            in_axis=in_axis,
            out_axis=out_axis,
            batch_axis=batch_axis,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.lecun_normal)
    def lecun_normal(
        self,
        out: ArrayT,
        fan_in: Real | None = None,
        *,
        truncated: bool = False,
        layout: Layout | None = None,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
        batch_axis: Axes | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.lecun_normal(
            out,
            fan_in,
            truncated=truncated,
            layout=layout,
            in_axis=in_axis,
            out_axis=out_axis,
            batch_axis=batch_axis,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.variance_scaling)
    def variance_scaling(
        self,
        out: ArrayT,
        scale: Real = _ONE,
        mode: Mode = FAN_IN,
        distribution: Distribution = "normal",
        *,
        fan_in: Real | None = None,
        fan_out: Real | None = None,
        layout: Layout | None = None,
        in_axis: Axes | None = None,
        out_axis: Axes | None = None,
        batch_axis: Axes | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.variance_scaling(
            out,
            scale,
            mode,
            distribution,
            fan_in=fan_in,
            fan_out=fan_out,
            layout=layout,
            in_axis=in_axis,
            out_axis=out_axis,
            batch_axis=batch_axis,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.uniform)
    def uniform(
        self,
        out: ArrayT,
        low: Real = 0.0,
        high: Real = 1.0,
        *,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.uniform(
            out,
            low,
            high,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.normal)
    def normal(
        self,
        out: ArrayT,
        mean: Real = 0.0,
        std: Real = 1.0,
        *,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.normal(
            out,
            mean,
            std,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.truncated_normal)
    def truncated_normal(
        self,
        out: ArrayT,
        mean: Real = 0.0,
        std: Real = 1.0,
        low: Real = -2.0,
        high: Real = 2.0,
        *,
        bounds: Bounds = _STD,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.truncated_normal(
            out,
            mean,
            std,
            low,
            high,
            bounds=bounds,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.constant)
    def constant(
        self,
        out: ArrayT,
        value: Real,
        *,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.constant(
            out,
            value,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.zeros)
    def zeros(
        self,
        out: ArrayT,
        *,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.zeros(
            out,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.ones)
    def ones(
        self,
        out: ArrayT,
        *,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.ones(
            out,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.integers)
    def integers(
        self,
        out: ArrayT,
        low: Integer,
        high: Integer,
        *,
        endpoint: bool = False,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.integers(
            out,
            low,
            high,
            endpoint=endpoint,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(initializers.random_bits)
    def random_bits(
        self,
        out: ArrayT,
        *,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return initializers.random_bits(
            out,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(structured.identity)
    def identity(
        self,
        out: ArrayT,
        gain: Real = 1.0,
        *,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return structured.identity(
            out,
            gain,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(structured.dirac)
    def dirac(
        self,
        out: ArrayT,
        groups: Integer = 1,
        *,
        layout: Layout | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return structured.dirac(
            out,
            groups,
            layout=layout,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(structured.orthogonal)
    def orthogonal(
        self,
        out: ArrayT,
        gain: Real = 1.0,
        *,
        layout: Layout | None = None,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return structured.orthogonal(
            out,
            gain,
            layout=layout,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    @documented_by(structured.sparse)
    def sparse(
        self,
        out: ArrayT,
        sparsity: Real,
        std: Real = 0.01,
        *,
        stream: Integer | str | None = None,
        global_shape: Integers | None = None,
        offset: Integers | None = None,
        threads: Integer | None = None,
    ) -> ArrayT:
        return structured.sparse(
            out,
            sparsity,
            std,
            seed=self._streams,
            stream=stream,
            global_shape=global_shape,
            offset=offset,
            threads=threads,
            bit_generator=self._bit_generator,
        )

    glorot_uniform = xavier_uniform
    glorot_normal = xavier_normal
    kaiming_uniform = he_uniform
    kaiming_normal = he_normal
