"""The encoder-decoders that CTranslate2 computes as their own library does, told from their JSON files. No library is imported.

What a configuration asks for beyond these tables leaves the model to other engines: a model that answers a little wrong is
worse than a slow one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yunmo.core.engine import ModelDescription


@dataclass(frozen=True, slots=True)
class Family:
    """How a kind of model is converted.

    `loader` names the class of CTranslate2's converter that reads its weights. `pre_norm` and `embedding_norm` say where
    the layers normalise, for those whose loader looks for it in the configuration, where newer files do not have it.
    """

    architecture: str
    loader: str
    pre_norm: bool | None = None
    embedding_norm: bool | None = None


_FAMILIES = {
    "bart": Family("BartForConditionalGeneration", "BartLoader", pre_norm=False, embedding_norm=True),
    "m2m_100": Family("M2M100ForConditionalGeneration", "M2M100Loader"),
    "marian": Family("MarianMTModel", "MarianMTLoader"),
    "mbart": Family("MBartForConditionalGeneration", "MBartLoader", pre_norm=True, embedding_norm=True),
    "mt5": Family("MT5ForConditionalGeneration", "MT5Loader"),
    "pegasus": Family("PegasusForConditionalGeneration", "PegasusLoader", pre_norm=True, embedding_norm=False),
    "t5": Family("T5ForConditionalGeneration", "T5Loader"),
    "umt5": Family("UMT5ForConditionalGeneration", "UMT5Loader"),
}
_MARIAN_VOCABULARY = 58101

# generation settings that CTranslate2's search does not have, and what they are where they change nothing
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "begin_suppress_tokens": ([],),
    "constraints": (),
    "diversity_penalty": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "exponential_decay_length_penalty": (),
    "force_words_ids": (),
    "forced_decoder_ids": (),
    "guidance_scale": (1,),
    "max_time": (),
    "min_new_tokens": (0,),
    "num_beam_groups": (1,),
    "num_return_sequences": (1,),
    "penalty_alpha": (0,),
    "prompt_lookup_num_tokens": (),
    "remove_invalid_values": (False,),
    "renormalize_logits": (False,),
    "sequence_bias": ({},),
    "stop_strings": ([],),
    "suppress_tokens": ([],),
    "watermarking_config": (),
}


def family_of(model: ModelDescription) -> Family | None:
    """The family of a model that can be converted; None for any other."""
    config = model.config
    family = _FAMILIES.get(str(config.get("model_type", "")))
    if family is None or model.architectures != (family.architecture,) or config.get("auto_map") or config.get("quantization_config"):
        return None
    if family is _FAMILIES["marian"] and not _has_one_vocabulary(config):
        return None
    settings = (config, model.documents.get("generation_config.json") or {})
    return None if any(_is_strange(each) for each in settings) else family


def _has_one_vocabulary(config: Mapping[str, Any]) -> bool:
    """Whether a Marian model reads and writes the same tokens, and its padding, which CTranslate2 does without, is the last."""
    size = config.get("vocab_size", _MARIAN_VOCABULARY)
    is_shared = config.get("share_encoder_decoder_embeddings", True) and config.get("decoder_vocab_size") in {None, size}
    return bool(is_shared and config.get("pad_token_id", _MARIAN_VOCABULARY - 1) == size - 1)


def _is_strange(settings: Any) -> bool:
    if not isinstance(settings, Mapping):
        return True
    return any(settings.get(name) is not None and settings[name] not in neutral for name, neutral in _NEUTRAL.items())
