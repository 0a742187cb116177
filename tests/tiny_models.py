"""Builders of tiny models with random weights, one per kind, saved the way that the Hub's repositories are.

`build(name, directory)` writes the model and its tokenizer or processor into the directory and returns it. Nothing is downloaded; the same name
gives the same weights. The words that the tokenizers know are in `CORPUS`.
"""

import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np

import tiny_pictures
import tiny_questions
import tiny_sounds
import tiny_texts
from tiny_tokenizers import CORPUS, labels

__all__ = ["BUILDERS", "CORPUS", "build", "png", "wav"]


def build(name: str, directory: Path) -> Path:
    """Write the tiny model of this name into the directory (made if need be), and return the directory."""
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BUILDERS[name](directory)
    return directory


def png(width: int = 48, height: int = 32, seed: int = 0, kind: str = "PNG") -> bytes:
    """An encoded picture of noise."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def wav(seconds: float = 1.0, rate: int = 16_000, seed: int = 0, channels: int = 1) -> bytes:
    """An encoded recording of a tone with noise."""
    count = int(seconds * rate)
    noise = np.random.default_rng(seed).normal(0, 0.05, count)
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(count) / rate)
    samples = ((tone + noise).clip(-1, 1) * 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat(samples, channels).tobytes())
    return buffer.getvalue()


BUILDERS: dict[str, Callable[[Path], None]] = {
    "classify": tiny_texts.bert("BertForSequenceClassification", **labels("negative", "neutral", "positive")),
    "classify-many": tiny_texts.bert(
        "BertForSequenceClassification", problem_type="multi_label_classification", **labels("toxic", "rude", "kind")
    ),
    "cross-encoder": tiny_texts.bert("BertForSequenceClassification", **labels("LABEL_0")),
    "entailment": tiny_texts.bert("BertForSequenceClassification", **labels("contradiction", "neutral", "entailment")),
    "classify-tokens": tiny_texts.bert("BertForTokenClassification", **labels("O", "B-PER", "I-PER", "B-LOC", "I-LOC")),
    "answer": tiny_texts.bert("BertForQuestionAnswering"),
    "fill-mask": tiny_texts.bert("BertForMaskedLM"),
    "embed": tiny_texts.bert("BertModel"),
    "sentence-embedder": tiny_texts.sentence_embedder,
    "chat": tiny_texts.llama(chat=True),
    "llama": tiny_texts.llama(chat=False),
    "gpt2": tiny_texts.gpt2,
    "mamba": tiny_texts.mamba,
    "t5": tiny_texts.t5,
    "bart": tiny_texts.bart,
    "marian": tiny_texts.marian,
    "m2m100": tiny_texts.m2m100,
    "nllb": tiny_texts.nllb,
    "mbart": tiny_texts.mbart,
    "vit": tiny_pictures.vit,
    "clip": tiny_pictures.clip,
    "siglip": tiny_pictures.siglip,
    "yolos": tiny_pictures.yolos,
    "detr": tiny_pictures.detr("DetrForObjectDetection"),
    "detr-panoptic": tiny_pictures.detr("DetrForSegmentation"),
    "segformer": tiny_pictures.segformer,
    "mask2former": tiny_pictures.mask2former,
    "blip": tiny_pictures.blip,
    "vit-gpt2": tiny_pictures.vit_gpt2,
    "git": tiny_pictures.git,
    "vilt": tiny_questions.vilt,
    "blip-questions": tiny_questions.blip_questions,
    "layoutlm": tiny_questions.layoutlm,
    "layoutlmv3": tiny_questions.layoutlmv3,
    "lilt": tiny_questions.lilt,
    "donut": tiny_questions.donut,
    "tapas": tiny_questions.tapas,
    "whisper": tiny_sounds.whisper,
    "wav2vec2": tiny_sounds.ctc("Wav2Vec2ForCTC"),
    "hubert": tiny_sounds.ctc("HubertForCTC"),
    "wav2vec2-classifier": tiny_sounds.wav2vec2_classifier,
    "ast": tiny_sounds.ast,
    "vits": tiny_sounds.vits(1),
    "vits-speakers": tiny_sounds.vits(3),
}
