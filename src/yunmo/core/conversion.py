"""What is said of a model whose weights are in a format that can hide programs: the same by every engine."""

from yunmo.core.engine import ModelDescription

_SAFE_SUFFIXES = (".safetensors", ".gguf", ".onnx")
_UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_NOT_WEIGHTS = frozenset({"training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scheduler.bin", "rng_state.pth"})


def conversion_of(model: ModelDescription) -> str | None:
    """How to convert the model, which would run if its weights were safetensors; None if it has no unsafe ones, or safe ones beside."""
    if any(path.endswith(_SAFE_SUFFIXES) for path in model.files):
        return None
    unsafe = sorted(path for path in model.files if path.endswith(_UNSAFE_SUFFIXES) and path.rpartition("/")[2] not in _NOT_WEIGHTS)
    if not unsafe:
        return None
    pickled = [path for path in unsafe if path.startswith(("pytorch_model", "adapter_model")) and path.endswith(".bin")]
    if pickled:
        return (
            f"its weights are pickled ({pickled[0]}), and loading a pickle can run any program in it, so Yunmo does not. "
            f"Convert them to safetensors: `yunmo convert {model.repository}`. It reads weights only, on the machine where you run it, "
            "and pushes them as a new commit; on another machine than the server's, set YUNMO_URL and YUNMO_KEY"
        )
    return (
        f"its weights ({unsafe[0]}) are not safetensors, and other formats can hide programs that run when they are opened. "
        "On a machine that trusts it, load it with transformers, `model.save_pretrained('converted')`, and push that directory"
    )
