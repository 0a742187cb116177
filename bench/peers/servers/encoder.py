"""The two encoders as every one-file server here runs them: PyTorch as transformers loads it, texts in padded batches."""

from collections.abc import Sequence

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer


class Classifier:
    """Texts to their best labels."""

    def __init__(self, directory: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(directory)
        self._model = AutoModelForSequenceClassification.from_pretrained(directory).eval()

    def __call__(self, texts: Sequence[str]) -> list[dict[str, str | float]]:
        with torch.inference_mode():
            inputs = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            scores = self._model(**inputs).logits.softmax(-1)
        names = self._model.config.id2label
        return [{"label": names[int(best)], "score": float(score)} for score, best in zip(*scores.max(-1), strict=True)]


class Embedder:
    """Texts to vectors of length 1: the mean over their tokens."""

    def __init__(self, directory: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(directory)
        self._model = AutoModel.from_pretrained(directory).eval()

    def __call__(self, texts: Sequence[str]) -> list[dict[str, list[float]]]:
        with torch.inference_mode():
            inputs = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
            mask = inputs["attention_mask"].unsqueeze(-1)
            sums = (self._model(**inputs).last_hidden_state * mask).sum(1)
            vectors = torch.nn.functional.normalize(sums / mask.sum(1), dim=-1)
        return [{"embedding": vector} for vector in vectors.tolist()]
