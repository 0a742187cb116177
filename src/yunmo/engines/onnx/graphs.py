"""ONNX files read and written, with weights beside them where one protobuf file cannot hold them."""

from pathlib import Path
from typing import Any

_LARGEST_FILE = 1_900_000_000


def read_graph(path: Path) -> Any:
    """The model with its weights; every node has a name."""
    import onnx

    model = onnx.load(str(path))
    for place, node in enumerate(model.graph.node):
        node.name = node.name or f"node {place}"
    return model


def write_graph(model: Any, path: Path) -> None:
    """Write the model; over 2 GB, its weights go to a file of the same name with `_data`."""
    import onnx

    is_large = sum(len(each.raw_data) for each in model.graph.initializer) > _LARGEST_FILE
    onnx.save(model, str(path), save_as_external_data=is_large, location=f"{path.name}_data")
