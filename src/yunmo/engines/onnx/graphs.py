"""ONNX files read and written, with their weights in a file beside them, which runtimes map instead of copying it."""

from pathlib import Path
from typing import Any

_FEWEST_BYTES = 1 << 20


def read_graph(path: Path) -> Any:
    """The model with its weights; every node has a name."""
    import onnx

    model = onnx.load(str(path))
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"node {place}"
    return model


def write_graph(model: Any, path: Path) -> None:
    """Write the model; unless they are few, its weights go to a file of the same name with `_data`."""
    import onnx

    has_many = sum(len(each.raw_data) for each in model.graph.initializer) > _FEWEST_BYTES
    onnx.save(model, str(path), save_as_external_data=has_many, location=f"{path.name}_data")
