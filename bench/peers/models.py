"""The models that every server gets, made once under bench/.cache/peers: the same weights in the forms that the servers read."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from bare_encoder import fp32_labels
from bare_encoder import gflop_per_text as encoder_gflop
from bert_base import bert_base
from classification_http import mixed
from harness import ROOT
from peers.environments import python_of
from sentiment import trained, unseen

CACHE = ROOT / "bench" / ".cache" / "peers" / "models"
CHECKED = 32
"""How many texts' answers are compared with PyTorch's in 32 bits before anything is timed."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """PyTorch's fp32 answers to the first texts."""

    labels: list[str]
    vectors: list[list[float]]


@functools.cache
def texts() -> list[str]:
    """The texts of the encoder loads: 8 to about 128 tokens, log-normal."""
    return mixed(unseen())


@functools.cache
def gflop_per_text(load: str) -> float:
    """The useful arithmetic of a text of `texts` in the encoder of this load, on average: nothing for padding."""
    return encoder_gflop(bert() if load == "bert" else embedder(), texts())


@functools.cache
def gflop_per_token() -> float:
    """The products of the chat model's matrices for one token, its head included; attention to a short context is a few percent more."""
    config = json.loads((chat() / "config.json").read_text())
    width, inner = config["hidden_size"], config["intermediate_size"]
    keys = width * config["num_key_value_heads"] // config["num_attention_heads"]
    layer = 2 * width * width + 2 * width * keys + 3 * width * inner
    return 2 * (config["num_hidden_layers"] * layer + width * config["vocab_size"]) / 1e9


def classifier() -> Path:
    """MiniLM with a sentiment head, as bench/classification_http.py trains it."""
    return trained()


def bert() -> Path:
    """An encoder of BERT-base's size with a sentiment head, as bench/bert_base.py makes it."""
    return bert_base()


def embedder() -> Path:
    """all-MiniLM-L6-v2 as the starter catalogue has it."""
    from starter_models import minilm_directory

    return minilm_directory()


def classifier_onnx() -> Path:
    """The classifier as an ONNX graph in fp32."""
    return _onnx(classifier(), "text-classification")


def bert_onnx() -> Path:
    """The encoder of BERT-base's size as an ONNX graph in fp32."""
    return _onnx(bert(), "text-classification")


def embedder_onnx() -> Path:
    """The embedder as an ONNX graph in fp32."""
    return _onnx(embedder(), "feature-extraction")


def chat() -> Path:
    """SmolLM2-135M-Instruct as safetensors with its tokenizer.json."""
    from starter_models import smollm2_directory
    from starter_safetensors import write_smollm2

    directory = CACHE / "SmolLM2-135M-Instruct"
    if not (directory / "tokenizer_config.json").exists():
        write_smollm2(next(smollm2_directory().glob("*.gguf")), directory)
    return directory


def chat_gguf() -> Path:
    """The same weights in llama.cpp's eight bits, which it runs faster than the four of the catalogue's file."""
    from starter_models import smollm2_directory
    from yunmo.core.engine import Plan
    from yunmo.engines.llama_cpp.derive import derive

    plan = Plan(engine="llama_cpp", precision="Q8_0")
    return derive(smollm2_directory(), CACHE / "gguf", plan, _silent)[0]


def chat_openvino() -> Path:
    """The same weights as an OpenVINO graph with eight-bit matrices, its tokenizer beside it."""
    from yunmo.engines.chats.text import Text
    from yunmo.engines.openvino_genai.derive import derive
    from yunmo.engines.openvino_genai.sources import source

    read = source(chat(), CACHE / "openvino", None, _silent)
    directory = derive(read, CACHE / "openvino", "int8", Text(read.texts, read.decoder.vocabulary).ends, _silent)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(chat() / name, directory)
    return directory


def reference() -> Reference:
    """Computed by PyTorch in fp32 once and kept."""
    file = CACHE / f"reference-{hashlib.sha256(repr(texts()[:CHECKED]).encode()).hexdigest()[:12]}.json"
    if not file.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(asdict(_computed())))
    return Reference(**json.loads(file.read_text()))


def bert_labels() -> list[str]:
    """PyTorch's fp32 labels of the same texts by the encoder of BERT-base's size."""
    return fp32_labels(bert(), texts()[:CHECKED])


def _silent(step: str, share: float) -> None:
    del step, share


def _onnx(directory: Path, task: str) -> Path:
    """The model exported by optimum's own program, in the environment of the server that reads it."""
    made = CACHE / "onnx" / directory.name
    if not (made / "model.onnx").exists():
        program = python_of("infinity").with_name("optimum-cli")
        command = [str(program), "export", "onnx", "--model", str(directory), "--library", "transformers", "--task", task, str(made)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})
        if done.returncode:
            raise RuntimeError(f"optimum-cli did not export {directory.name}: {done.stderr[-300:]}")
    return made


def _computed() -> Reference:
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(classifier())
    head = AutoModelForSequenceClassification.from_pretrained(classifier()).eval()
    body = AutoModel.from_pretrained(embedder()).eval()
    labels, vectors = [], []
    with torch.inference_mode():
        for text in texts()[:CHECKED]:
            inputs = tokenizer(text, return_tensors="pt", truncation=True)
            labels.append(head.config.id2label[int(head(**inputs).logits.argmax())])
            vectors.append(torch.nn.functional.normalize(body(**inputs).last_hidden_state.mean(1), dim=1)[0].tolist())
    return Reference(labels=labels, vectors=vectors)
