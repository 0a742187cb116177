"""`convert`: pickled weights of a repository to safetensors, on the user's machine and never on the server.

torch's own reader for weights alone (`weights_only`) opens the pickle: it makes tensors and refuses everything else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from yunmo.cli.messages import say
from yunmo.cli.output import Failed
from yunmo.cli.session import Session
from yunmo.cli.transfers import check_name, hub

_WHOLE, _INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_ADAPTER = "adapter_model.bin"
"""What PEFT wrote an adapter's weights to before it wrote safetensors."""


def convert(
    session: Session,
    repository: Annotated[str, typer.Argument(metavar="REPO", help="ns/name of a model whose weights are pickled.")],
    branch: Annotated[str, typer.Option(help="The branch to convert and to commit to.")] = "main",
) -> None:
    """Convert a model's pytorch_model.bin, or an adapter's adapter_model.bin, to safetensors on this machine, and push a new commit.

    Only weights are read: a pickle that holds anything else is refused. Nothing is removed from the repository.

    在本机把模型的 pytorch_model.bin（或适配器的 adapter_model.bin）转换为 safetensors，并作为新提交推送。
    """
    check_name(repository)
    with TemporaryDirectory(prefix="yunmo-convert-") as made, hub(session, f"convert {repository}") as api:
        there = api.list_repo_files(repository, revision=branch)
        wanted = _wanted(there)
        if not wanted:
            raise Failed(say("nothing_to_convert", repository=repository, files=", ".join(there)))
        source = Path(api.snapshot_download(repository, revision=branch, allow_patterns=wanted, local_dir=Path(made) / "pickled"))
        target = Path(made) / "safe"
        target.mkdir()
        files = [name for whole in (_WHOLE, _ADAPTER) if whole in wanted for name in _convert_whole(whole, source, target)]
        files += _convert_parts(source, target) if _INDEX in wanted else []
        commit = api.upload_folder(
            folder_path=target, repo_id=repository, revision=branch, commit_message="Convert the weights to safetensors"
        )
    session.output.result(
        {"repository": repository, "revision": commit.oid, "files": files},
        say("converted", repository=repository, files=", ".join(files), revision=commit.oid[:12]),
    )


def _wanted(there: Sequence[str]) -> list[str]:
    """What is converted of these files: a whole model before its parts, and an adapter in any case."""
    model = [_WHOLE] if _WHOLE in there else [_INDEX, "pytorch_model-*.bin"] if _INDEX in there else []
    return model + [name for name in (_ADAPTER,) if name in there]


def _convert_whole(name: str, source: Path, target: Path) -> list[str]:
    _write(_read(source / name), target / _safe_name(name))
    return [_safe_name(name)]


def _convert_parts(source: Path, target: Path) -> list[str]:
    """Part by part, so that one part at a time is in memory."""
    weight_map: Mapping[str, str] = json.loads((source / _INDEX).read_text(encoding="utf-8"))["weight_map"]
    parts = sorted(set(weight_map.values()))
    total = 0
    for part in parts:
        tensors = _read(source / Path(part).name)
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        _write(tensors, target / _safe_name(part))
    index = {"metadata": {"total_size": total}, "weight_map": {name: _safe_name(part) for name, part in weight_map.items()}}
    (target / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return [*map(_safe_name, parts), "model.safetensors.index.json"]


def _safe_name(part: str) -> str:
    return Path(part).with_suffix(".safetensors").name.replace("pytorch_model", "model", 1)


def _read(file: Path) -> dict[str, Any]:
    """The tensors by name. Raises Failed for a pickle that holds anything else."""
    try:
        import torch
    except ImportError:
        raise Failed(say("no_library", library="torch")) from None
    try:
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except (torch.serialization.pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise Failed(say("not_only_weights", file=file.name, reason=str(error).splitlines()[0])) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise Failed(say("not_only_weights", file=file.name, reason="not a plain dictionary of tensors"))
    return tensors


def _write(tensors: dict[str, Any], file: Path) -> None:
    """Tensors that share memory (tied weights) are written out each: which name a model would keep is its own knowledge."""
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise Failed(say("no_library", library="safetensors")) from None
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, file, metadata={"format": "pt"})
