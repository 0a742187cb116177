"""infinity's own program, with the one thing mended that keeps its optimum engine from a local directory.

It hands optimum the whole path of the ONNX file, where optimum-onnx 0.1 looks for the file's name.

python infinity_optimum.py v2 …
"""

from pathlib import Path

from infinity_emb.cli import cli
from infinity_emb.transformer.classifier import optimum as classifier
from infinity_emb.transformer.embedder import optimum as embedder


def _only_name(find):
    def found(**arguments) -> Path:
        return Path(find(**arguments).name)

    return found


if __name__ == "__main__":
    for module in (classifier, embedder):
        module.get_onnx_files = _only_name(module.get_onnx_files)
    cli()
