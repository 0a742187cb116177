"""The encoder families that export exactly, and which head an architecture's name means."""

from collections.abc import Iterable, Mapping
from typing import Any

from yunmo.engines.onnx.exported import Head

SENTENCE_MODULES = frozenset({"Transformer", "Pooling", "Normalize", "Dense"})
"""The modules of sentence-transformers that can be run."""

# model_type in config.json → how its class names begin; a repository's own classes begin otherwise and are not run
_FAMILIES = {
    "albert": "Albert",
    "bert": "Bert",
    "camembert": "Camembert",
    "convbert": "ConvBert",
    "data2vec-text": "Data2VecText",
    "deberta": "Deberta",
    "deberta-v2": "DebertaV2",
    "distilbert": "DistilBert",
    "electra": "Electra",
    "ernie": "Ernie",
    "eurobert": "EuroBert",
    "megatron-bert": "MegatronBert",
    "mobilebert": "MobileBert",
    "modernbert": "ModernBert",
    "mpnet": "MPNet",
    "rembert": "RemBert",
    "roberta": "Roberta",
    "roberta-prelayernorm": "RobertaPreLayerNorm",
    "roformer": "RoFormer",
    "squeezebert": "SqueezeBert",
    "xlm-roberta": "XLMRoberta",
    "xlm-roberta-xl": "XLMRobertaXL",
}
_HEADS: dict[str, Head] = {
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "classify-tokens",
    "ForQuestionAnswering": "answer",
    "ForMaskedLM": "fill-mask",
    "Model": "embed",
}
# those whose attention can be kept to each of several texts in one sequence, whose positions are told from outside
_PACKED = frozenset({"bert", "camembert", "data2vec-text", "distilbert", "electra", "ernie", "roberta", "xlm-roberta"})
_SHIFTED_POSITIONS = frozenset({"camembert", "data2vec-text", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl"})


def head_of(model_type: str, architecture: str) -> Head | None:
    """The head of an architecture such as `BertForMaskedLM`; None if it is of no known encoder family."""
    prefix = _FAMILIES.get(model_type)
    if prefix is None or not architecture.startswith(prefix):
        return None
    return _HEADS.get(architecture.removeprefix(prefix))


def can_be_packed(model_type: str, head: Head) -> bool:
    """Whether several texts can be computed as one sequence. The outputs of a language model's head for many texts are too large."""
    return model_type in _PACKED and head != "fill-mask"


def module_names(modules: Iterable[Mapping[str, Any]]) -> list[str]:
    """The kinds of the modules that a `modules.json` lists, in order."""
    return [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]


def has_shifted_positions(model_type: str) -> bool:
    """Whether the first position's number is the padding token's id + 1, which takes as many from the longest text."""
    return model_type in _SHIFTED_POSITIONS
