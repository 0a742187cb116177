"""Turn texts into vectors, pooled the way that the repository says."""

from typing import Any

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import ContextTooLong, InvalidRequest
from yunmo.core.rewriting import check_text
from yunmo.core.tasks import Embed, Vector, Vectors
from yunmo.core.usage import Usage
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise
from yunmo.engines.transformers.text import text_cost

_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
}


def embedder(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that give each token a vector."""
    return Itemwise(tasks, {Embed: _Embedder(checkpoint).embed}, checkpoint.plan, text_cost)


class _Embedder:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        modules = checkpoint.document("modules.json") or []
        kinds = {str(module.get("type", "")).rsplit(".", 1)[-1]: module.get("path", "") for module in modules}
        self._pooling = _pooling(checkpoint.document(f"{kinds.get('Pooling', '1_Pooling')}/config.json") or {})
        self._normalizes = "Normalize" in kinds
        self._limit = _limit(checkpoint)
        # an encoder-decoder is embedded by its encoder alone
        self._model = checkpoint.model.get_encoder() if checkpoint.config.is_encoder_decoder else checkpoint.model

    def embed(self, request: Embed) -> Result:
        import torch

        content = request.inputs[0]
        ids = self._ids(content, request.truncate)
        inputs = torch.tensor([ids])
        states = self._model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).last_hidden_state[0].float()
        vectors = self._pool(states) if request.pooled else states
        if request.dimensions is not None:
            if not 1 <= request.dimensions <= vectors.shape[-1]:
                raise InvalidRequest(
                    f"this model's vectors have {vectors.shape[-1]} dimensions, not {request.dimensions}", param="dimensions"
                )
            vectors = vectors[..., : request.dimensions]
        if self._normalizes if request.normalize is None else request.normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=-1)
        vector = Vector(data=vectors.contiguous().numpy().astype("<f4").tobytes(), shape=tuple(vectors.shape))
        return Vectors(vectors=(vector,)), Usage(input_tokens=len(ids), characters=len(content) if isinstance(content, str) else 0)

    def _pool(self, states: Any) -> Any:
        if self._pooling == "cls":
            return states[0]
        if self._pooling == "last":
            return states[-1]
        if self._pooling == "max":
            return states.max(dim=0).values
        return states.mean(dim=0)

    def _ids(self, content: str | tuple[int, ...], truncate: bool) -> list[int]:
        if isinstance(content, str):
            check_text(content, "input")
            with self._checkpoint.lock:
                tokenizer = self._checkpoint.tokenizer
                cut: dict[str, Any] = {"truncation": True, "max_length": self._limit} if truncate and self._limit else {"truncation": False}
                ids = list(tokenizer(content, verbose=False, **cut)["input_ids"])
        else:
            ids = self._given(content, truncate)
        if self._limit is not None and len(ids) > self._limit:
            raise ContextTooLong(f"the input has {len(ids)} tokens; this model reads at most {self._limit}", param="input")
        if not ids:
            raise InvalidRequest("the input has no tokens", param="input")
        return ids

    def _given(self, content: tuple[int, ...], truncate: bool) -> list[int]:
        size = self._checkpoint.config.get_text_config().vocab_size
        wrong = next((token for token in content if not 0 <= token < size), None)
        if wrong is not None:
            raise InvalidRequest(f"the token id {wrong} is not in the model's vocabulary of {size}", param="input")
        return list(content[: self._limit] if truncate else content)


def _pooling(config: dict[str, Any]) -> str:
    named = config.get("pooling_mode")
    if isinstance(named, str):
        return "last" if named == "lasttoken" else named
    return next((mode for name, mode in _MODES.items() if config.get(name)), "mean")


def _limit(checkpoint: Checkpoint) -> int | None:
    """The fewest of the model's own limit and the one that it was published with."""
    published = (checkpoint.document("sentence_bert_config.json") or {}).get("max_seq_length")
    return min((limit for limit in (published, checkpoint.context_tokens) if limit), default=None)
