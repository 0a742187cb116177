"""Random LoRA adapters for tiny decoders, saved as PEFT saves them, and the model that each makes of its base."""

import json
from pathlib import Path
from typing import Any

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def build(base: Path, directory: Path, *, base_name: str = "acme/llama", seed: int = 0, **config: Any) -> Path:
    """Write an adapter for the decoder in `base`; `config` is what its adapter_config.json has beside or instead of the usual."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM

    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": 4,
        "lora_alpha": 12,
        "lora_dropout": 0.05,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
        "use_dora": False,
        "target_modules": list(LINEAR),
    } | config
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "adapter_config.json").write_text(json.dumps(settings))
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, module in AutoModelForCausalLM.from_pretrained(base).named_modules():
        if name.rpartition(".")[2] in settings["target_modules"]:
            rank = (settings.get("rank_pattern") or {}).get(name.rpartition(".")[2], settings["r"])
            outputs, inputs = module.weight.shape
            for side, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                tensors[f"base_model.model.{name}.lora_{side}.weight"] = torch.randn(shape, generator=generator) * 0.2
    save_file(tensors, directory / "adapter_model.safetensors")
    return directory


def merged(base: Path, adapter: Path, directory: Path, scale: float | dict[str, float]) -> Path:
    """The base with the adapter in its weights, W + scale·B·A; `scale` may differ by the kind of module."""
    import shutil

    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    tensors = load_file(adapter / "adapter_model.safetensors")
    shutil.copytree(base, directory, dirs_exist_ok=True)
    with torch.no_grad():
        for name, module in model.named_modules():
            down = tensors.get(f"base_model.model.{name}.lora_A.weight")
            if down is not None:
                each = scale if isinstance(scale, float) else scale[name.rpartition(".")[2]]
                module.weight += each * tensors[f"base_model.model.{name}.lora_B.weight"] @ down
    model.save_pretrained(directory)
    return directory
