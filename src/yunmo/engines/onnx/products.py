"""The matrix products of a graph with constant weights, and their eight-bit forms.

Two forms of the activations: *tensor* has one scale for all of a text (fastest), *row* one per token, which an outlier in one token
does not blur for the others. *weights* keeps activations in floats for runtimes that quantise them by themselves (OpenVINO).
Weights always have one scale per output channel. Before quantising, channels can be *smoothed*: activations are divided and weights
multiplied by the same numbers (Xiao et al., SmoothQuant, 2023), as an explicit product, so that it fits every architecture.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from yunmo.core.errors import InvalidRequest
from yunmo.engines.onnx.network import Floats

Form = Literal["full", "tensor", "row", "weights"]

_CONTRIBUTED = "com.microsoft"
_LOWEST_OPSET = 13
_AXES_ARE_INPUTS_FROM = 18
_SMALLEST = 1e-9


@dataclass(frozen=True, slots=True)
class Site:
    """Products that share inputs or weights, so that they are quantised alike. `name` is the first one's."""

    name: str
    products: tuple[str, ...]
    inputs: tuple[str, ...]
    weights: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """How a site is computed; `smoothing` divides the channels of its inputs."""

    form: Form
    smoothing: Floats | None = None


def find_sites(model: Any) -> list[Site]:
    """The sites of a loaded ONNX model, in the graph's order."""
    weights = {each.name for each in model.graph.initializer if len(each.dims) == 2 and each.data_type == 1}
    found: list[Site] = []
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        site = Site(node.name, (node.name,), (node.input[0],), (node.input[1],))
        for kin in [each for each in found if node.input[0] in each.inputs or node.input[1] in each.weights]:
            found.remove(kin)
            site = Site(kin.name, kin.products + site.products, _merged(kin.inputs, site.inputs), _merged(kin.weights, site.weights))
        found.append(site)
    return found


def quantized_weight(weight: Floats, smoothing: Floats | None) -> tuple[np.ndarray[Any, np.dtype[np.int8]], Floats]:
    """The (in, out) weight in int8 and one scale per output channel."""
    smooth = weight if smoothing is None else weight * smoothing[:, None]
    scales = (np.maximum(np.abs(smooth).max(axis=0), _SMALLEST) / 127).astype(np.float32)
    return np.clip(np.rint(smooth / scales), -127, 127).astype(np.int8), scales


def with_forms(model: Any, choices: Mapping[str, Choice], *, unsigned: bool = False) -> Any:
    """The model with its sites computed as chosen, by site name. Raises InvalidRequest for a graph too old for it.

    `unsigned` keeps weights in uint8 around 128: processors without VNNI add pairs of u8 × s8 products in 16 bits, which overflow.
    """
    writer = _Writer(model, unsigned=unsigned)
    for site in find_sites(model):
        choice = choices.get(site.name, Choice("full"))
        if choice.form != "full":
            for product in site.products:
                writer.forms[product] = choice
    return writer.written()


def switch(site: Site, form: Form) -> str:
    """The name of the input that turns a form of a site on with 1 and off with 0."""
    return f"use {form} {site.name}"


def with_switches(model: Any, choices: Mapping[str, Sequence[Choice]]) -> Any:
    """The model with all these forms of its sites beside the full one: see `switch`. One session can then try every choice."""
    import onnx

    writer = _Writer(model, unsigned=False)
    for site in find_sites(model):
        for product in site.products:
            writer.switched[product] = [(switch(site, choice.form), choice) for choice in choices[site.name]]
        for choice in choices[site.name]:
            model.graph.input.append(onnx.helper.make_tensor_value_info(switch(site, choice.form), onnx.TensorProto.FLOAT, []))
    return writer.written()


def _merged(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


class _Writer:
    """Rewrites one model in place; tensors that several products need are made once."""

    def __init__(self, model: Any, *, unsigned: bool) -> None:
        import onnx

        self._onnx = onnx
        self._model = model
        self._unsigned = unsigned
        self._initializers = {each.name: each for each in model.graph.initializer}
        self._opset = next((each.version for each in model.opset_import if each.domain in {"", "ai.onnx"}), 0)
        if self._opset < _LOWEST_OPSET:
            raise InvalidRequest(f"The graph is of ONNX opset {self._opset}; int8 needs {_LOWEST_OPSET} or later. Serve it in fp32.")
        self._nodes: list[Any] = []
        self._made: set[str] = set()
        self.forms: dict[str, Choice] = {}
        self.switched: dict[str, list[tuple[str, Choice]]] = {}

    def written(self) -> Any:
        graph = self._model.graph
        if not any(each.domain == _CONTRIBUTED for each in self._model.opset_import):
            self._model.opset_import.append(self._onnx.helper.make_opsetid(_CONTRIBUTED, 1))
        for node in graph.node:
            if node.name in self.forms:
                self._compute(node, self.forms[node.name], node.output[0])
            elif node.name in self.switched:
                self._switch(node, self.switched[node.name])
            else:
                self._nodes.append(node)
        del graph.node[:]
        graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        kept = [each for each in graph.initializer if each.name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        return self._model

    def _switch(self, node: Any, choices: Sequence[tuple[str, Choice]]) -> None:
        """Full + Σ switch × (form - full)."""
        output = node.output[0]
        full = total = f"{output}.full"
        self._add("MatMul", node.input, full)
        for place, (name, choice) in enumerate(choices):
            mine = f"{output}.{choice.form}"
            self._compute(node, choice, mine)
            self._add("Sub", (mine, full), f"{mine}.off")
            self._add("Mul", (f"{mine}.off", name), f"{mine}.used")
            following = output if place == len(choices) - 1 else f"{mine}.total"
            self._add("Add", (total, f"{mine}.used"), following)
            total = following

    def _compute(self, node: Any, choice: Choice, output: str) -> None:
        """Add the nodes that compute this product in the chosen form into the tensor `output`."""
        weight, form = node.input[1], choice.form
        values, scales = self._weight(weight, choice)
        smooth = self._smoothed(node.input[0], choice)
        if form == "weights":
            self._add("DequantizeLinear", (values, scales), f"{weight}.float", axis=1)
            self._add("MatMul", (smooth, f"{weight}.float"), output)
            return
        zero = (f"{weight}.{form}.zero",) if self._unsigned else ()
        if form == "tensor":
            self._add("DynamicQuantizeLinear", (smooth,), f"{smooth}.int8", f"{smooth}.scale", f"{smooth}.zero")
            operands = (f"{smooth}.int8", values, f"{smooth}.scale", scales, f"{smooth}.zero", *zero)
            self._add("MatMulIntegerToFloat", operands, output, domain=_CONTRIBUTED)
            return
        rows, size = self._rows(smooth)
        operands = (rows, values, self._constant("yunmo.one", np.float32(1)), scales, self._constant("yunmo.middle", np.uint8(128)), *zero)
        self._add("MatMulIntegerToFloat", operands, f"{output}.unit", domain=_CONTRIBUTED)
        self._add("Mul", (f"{output}.unit", size), output)

    def _add(self, operation: str, inputs: Iterable[str], *outputs: str, **attributes: Any) -> None:
        """Add a node unless there is one that makes its first output."""
        if outputs[0] not in self._made:
            self._made.add(outputs[0])
            self._nodes.append(self._onnx.helper.make_node(operation, list(inputs), list(outputs), **attributes))

    def _rows(self, given: str) -> tuple[str, str]:
        """Quantise each row by its own largest number; the names of the rows and of their scales."""
        name = f"{given}.row"
        self._add("Abs", (given,), f"{name}.sizes")
        if self._opset < _AXES_ARE_INPUTS_FROM:
            self._add("ReduceMax", (f"{name}.sizes",), f"{name}.largest", axes=[-1], keepdims=1)
        else:
            last = self._constant("yunmo.last", np.array([-1], dtype=np.int64))
            self._add("ReduceMax", (f"{name}.sizes", last), f"{name}.largest", keepdims=1)
        self._add("Max", (f"{name}.largest", self._constant("yunmo.least", np.float32(_SMALLEST))), f"{name}.bounded")
        self._add("Mul", (f"{name}.bounded", self._constant("yunmo.step", np.float32(1 / 127))), f"{name}.scale")
        self._add("Div", (given, f"{name}.scale"), f"{name}.steps")
        middle = self._constant("yunmo.middle", np.uint8(128))
        self._add("QuantizeLinear", (f"{name}.steps", self._constant("yunmo.one", np.float32(1)), middle), f"{name}.int8")
        return f"{name}.int8", f"{name}.scale"

    def _smoothed(self, given: str, choice: Choice) -> str:
        if choice.smoothing is None:
            return given
        name = f"{given}.{choice.form}.smooth"
        self._add("Mul", (given, self._constant(f"{name}.by", (1 / choice.smoothing).astype(np.float32))), name)
        return name

    def _weight(self, weight: str, choice: Choice) -> tuple[str, str]:
        name = f"{weight}.{choice.form}"
        values, scales = f"{name}.int8", f"{name}.scales"
        if values not in self._made:
            quantized, sizes = quantized_weight(self._onnx.numpy_helper.to_array(self._initializers[weight]), choice.smoothing)
            is_unsigned = self._unsigned and choice.form != "weights"
            if is_unsigned:
                self._constant(f"{name}.zero", np.full(len(sizes), 128, dtype=np.uint8))
            self._constant(values, (quantized.astype(np.int16) + 128).astype(np.uint8) if is_unsigned else quantized)
            self._constant(scales, sizes)
        return values, scales

    def _constant(self, name: str, value: Any) -> str:
        if name not in self._made:
            self._made.add(name)
            self._model.graph.initializer.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name
