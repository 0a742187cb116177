"""A decoder as an OpenVINO graph with its keys and values as state, which is the form that continuous batching starts from.

The names of the inputs and the order attention → state are those that OpenVINO's pass to paged attention looks for.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from yunmo.engines.openvino_genai.families import Decoder
from yunmo.engines.openvino_genai.weights import Floats

_LARGEST_INT8 = 127.0


class Tensors(Protocol):
    """A model's tensors by name, as 32-bit floats of the shape that is expected."""

    def read(self, name: str, shape: tuple[int, ...]) -> Floats: ...


def network(decoder: Decoder, weights: Tensors, precision: str, share: Callable[[float], None]) -> ov.Model:
    """The whole model; `precision` is int8 (of the matrices, row by row) or fp32."""
    return _Drawing(decoder, weights, precision).model(share)


class _Drawing:
    def __init__(self, decoder: Decoder, weights: Tensors, precision: str) -> None:
        self._decoder = decoder
        self._weights = weights
        self._precision = precision
        self._sinks: list[Any] = []
        self._ids = _parameter("input_ids", "int64", 2)
        self._mask = _parameter("attention_mask", "int64", 2)
        self._positions = _parameter("position_ids", "int64", 2)
        self._beams = _parameter("beam_idx", "int32", 1)
        self._batch = ops.gather(ops.shape_of(self._ids), _index(0), _whole(0))
        self._cos, self._sin = self._rotation()
        self._visible = self._causal()

    def model(self, share: Callable[[float], None]) -> ov.Model:
        decoder = self._decoder
        table = self._matrix("model.embed_tokens", decoder.vocabulary, decoder.hidden)
        stream = ops.gather(table, self._ids, _whole(0))
        for layer in range(decoder.layers):
            stream = self._layer(f"model.layers.{layer}", layer, stream)
            share((layer + 1) / decoder.layers)
        stream = self._norm("model.norm", stream, decoder.hidden)
        head = table if decoder.is_tied else self._matrix("lm_head", decoder.vocabulary, decoder.hidden)
        logits = ops.result(ops.matmul(stream, head, False, True))
        logits.output(0).set_names({"logits"})
        return ov.Model([logits], self._sinks, [self._ids, self._mask, self._positions, self._beams], "decoder")

    def _layer(self, name: str, layer: int, stream: Any) -> Any:
        decoder = self._decoder
        read = self._norm(f"{name}.input_layernorm", stream, decoder.hidden)
        stream = ops.add(stream, self._attention(f"{name}.self_attn", layer, read))
        read = self._norm(f"{name}.post_attention_layernorm", stream, decoder.hidden)
        return ops.add(stream, self._feed_forward(f"{name}.mlp", read))

    def _feed_forward(self, name: str, read: Any) -> Any:
        hidden, intermediate, biased = self._decoder.hidden, self._decoder.intermediate, self._decoder.has_mlp_bias
        gate = ops.swish(self._linear(f"{name}.gate_proj", read, intermediate, hidden, biased))
        return self._linear(
            f"{name}.down_proj",
            ops.multiply(gate, self._linear(f"{name}.up_proj", read, intermediate, hidden, biased)),
            hidden,
            intermediate,
            biased,
        )

    def _attention(self, name: str, layer: int, read: Any) -> Any:
        decoder = self._decoder
        query = self._rotated(self._heads(name, "q", read, decoder.heads))
        key = self._remembered(layer, "key", self._rotated(self._heads(name, "k", read, decoder.kv_heads)))
        value = self._remembered(layer, "value", self._heads(name, "v", read, decoder.kv_heads))
        seen = ops.scaled_dot_product_attention(query, self._repeated(key), self._repeated(value), self._visible)
        joined = ops.reshape(ops.transpose(seen, [0, 2, 1, 3]), [0, 0, decoder.heads * decoder.head_size], special_zero=True)
        return self._linear(f"{name}.o_proj", joined, decoder.hidden, decoder.heads * decoder.head_size, decoder.has_output_bias)

    def _heads(self, name: str, which: str, read: Any, heads: int) -> Any:
        """The projection of all heads, head by head: batch, heads, positions, numbers."""
        decoder = self._decoder
        rows = self._linear(f"{name}.{which}_proj", read, heads * decoder.head_size, decoder.hidden, decoder.has_qkv_bias)
        split = ops.reshape(rows, [0, 0, heads, decoder.head_size], special_zero=True)
        if decoder.has_head_norms and which != "v":
            split = self._norm(f"{name}.{which}_norm", split, decoder.head_size)
        return ops.transpose(split, [0, 2, 1, 3])

    def _remembered(self, layer: int, kind: str, now: Any) -> Any:
        """What all positions until now have, kept as state; beams may have changed places."""
        decoder = self._decoder
        shape = [-1, decoder.kv_heads, -1, decoder.head_size]
        nothing = ops.broadcast(
            ops.constant(0.0, np.float32),
            ops.concat([self._batch, _indices([decoder.kv_heads, 0, decoder.head_size])], 0),
        )
        identifier = f"past_key_values.{layer}.{kind}present.{layer}.{kind}"
        past = ops.read_value(nothing, identifier, np.float32, ov.PartialShape(shape))
        whole = ops.concat([ops.gather(past, self._beams, _whole(0)), now], 2)
        self._sinks.append(ops.assign(whole, identifier))
        return whole

    def _repeated(self, states: Any) -> Any:
        """Each head of keys or values for all the queries that share it."""
        decoder = self._decoder
        times = decoder.heads // decoder.kv_heads
        if times == 1:
            return states
        apart = ops.unsqueeze(states, _whole(2))
        shape = ops.concat(
            [
                self._batch,
                _indices([decoder.kv_heads, times]),
                ops.gather(ops.shape_of(states), _index(2), _whole(0)),
                _indices([decoder.head_size]),
            ],
            0,
        )
        return ops.reshape(ops.broadcast(apart, shape, "BIDIRECTIONAL"), [0, decoder.heads, -1, decoder.head_size], special_zero=True)

    def _rotation(self) -> tuple[Any, Any]:
        turns = ops.constant(np.asarray(self._decoder.frequencies, np.float32).reshape(1, 1, -1))
        positions = ops.convert(ops.unsqueeze(self._positions, _whole(2)), np.float32)
        angles = ops.multiply(positions, turns)
        both = ops.unsqueeze(ops.concat([angles, angles], 2), _whole(1))
        return ops.cos(both), ops.sin(both)

    def _rotated(self, states: Any) -> Any:
        half = self._decoder.head_size // 2
        first = ops.slice(states, _indices([0]), _indices([half]), _indices([1]), _indices([3]))
        second = ops.slice(states, _indices([half]), _indices([2 * half]), _indices([1]), _indices([3]))
        turned = ops.concat([ops.multiply(second, ops.constant(-1.0, np.float32)), first], -1)  # with 3, OpenVINO does not see a rotation
        return ops.add(ops.multiply(states, self._cos), ops.multiply(turned, self._sin))

    def _causal(self) -> Any:
        """Which positions each one sees: itself and those before it."""
        count = ops.squeeze(ops.gather(ops.shape_of(self._mask), _index(1), _whole(0)), _whole(0))
        places = ops.range(_whole(0), count, _whole(1), "i64")
        before = ops.less_equal(ops.unsqueeze(places, _indices([0, 1, 2])), ops.unsqueeze(self._positions, _indices([1, 3])))
        return ops.select(before, ops.constant(0.0, np.float32), ops.constant(np.finfo(np.float32).min, np.float32))

    def _norm(self, name: str, stream: Any, size: int) -> Any:
        mean = ops.reduce_mean(ops.power(stream, ops.constant(2.0, np.float32)), _indices([-1]), keep_dims=True)
        root = ops.sqrt(ops.add(mean, ops.constant(self._decoder.epsilon, np.float32)))
        factor = ops.constant(self._weights.read(f"{name}.weight", (size,)))
        return ops.multiply(ops.multiply(stream, ops.divide(ops.constant(1.0, np.float32), root)), factor)

    def _linear(self, name: str, read: Any, rows: int, columns: int, biased: bool) -> Any:
        made = ops.matmul(read, self._matrix(name, rows, columns), False, True)
        return ops.add(made, ops.constant(self._weights.read(f"{name}.bias", (rows,)))) if biased else made

    def _matrix(self, name: str, rows: int, columns: int) -> Any:
        weight = self._weights.read(f"{name}.weight", (rows, columns))
        if self._precision == "fp32":
            return ops.constant(weight)
        steps = _steps(weight)
        small = ops.constant(np.rint(weight / steps).astype(np.int8))
        return ops.multiply(ops.convert(small, np.float32), ops.constant(steps))


def _steps(weight: Floats) -> Floats:
    """The size of an int8 step of each row, so that its largest number fits."""
    largest = np.abs(weight).max(axis=1, keepdims=True)
    return np.where(largest > 0, largest / _LARGEST_INT8, 1.0).astype(np.float32)


def _parameter(name: str, kind: str, rank: int) -> Any:
    made = ops.parameter(ov.PartialShape([-1] * rank), np.dtype(kind))
    made.set_friendly_name(name)
    made.output(0).set_names({name})
    return made


def _whole(value: int) -> Any:
    return ops.constant(value, np.int64)


def _index(value: int) -> Any:
    return _indices([value])


def _indices(values: list[int]) -> Any:
    return ops.constant(np.asarray(values, np.int64))
