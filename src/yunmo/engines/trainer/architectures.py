"""Transformers built from nothing, drawn at random: at sizes for small runs, and so that the serving engines take what comes out."""

from collections.abc import Callable
from typing import Any

import torch
import transformers

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Architecture, Family

_WIDENING = 4
"""How much wider than the rest the feed-forward layers are, where nothing else is asked for; with a gate, two thirds of that."""

_GATED_MULTIPLE = 32
_BEAMS = 4


def build(wish: Architecture, tokenizer: Any) -> Any:
    """A new model of the family that reads and writes the tokenizer's tokens, with tied embeddings.

    Draws from torch's generator. Raises InvalidRequest where the heads do not divide the width.
    """
    if wish.hidden % wish.heads:
        raise InvalidRequest(
            f"A width of {wish.hidden} cannot be divided among {wish.heads} heads: choose a number that divides it.",
            param="pretraining.architecture.heads",
        )
    if wish.hidden // wish.heads % 2:
        raise InvalidRequest(
            f"A head would be {wish.hidden // wish.heads} wide, and positions need an even number: choose other heads.",
            param="pretraining.architecture.heads",
        )
    return _BUILDERS[wish.family](wish, tokenizer).float()


def mute_padding(model: Any) -> None:
    """Have the padding of a Marian stay a row of zeros while its embeddings are learnt.

    Its decoder begins with it, and CTranslate2, which knows no such token, begins with nothing.
    """
    if model.config.model_type != "marian":
        return
    weight, row = model.get_input_embeddings().weight, model.config.pad_token_id
    if not weight.requires_grad or bool(weight[row].any()):
        return

    def mute(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad[row].zero_()

    weight.register_post_accumulate_grad_hook(mute)


def _bert(wish: Architecture, tokenizer: Any) -> Any:
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=wish.hidden,
        num_hidden_layers=wish.layers,
        num_attention_heads=wish.heads,
        intermediate_size=_wide(wish),
        max_position_embeddings=wish.positions,
        pad_token_id=tokenizer.pad_token_id,
        attention_probs_dropout_prob=0.0,
    )
    return transformers.BertForMaskedLM(config)


def _gpt2(wish: Architecture, tokenizer: Any) -> Any:
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=wish.hidden,
        n_layer=wish.layers,
        n_head=wish.heads,
        n_inner=_wide(wish),
        n_positions=wish.positions,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        attn_pdrop=0.0,
        **_ends(tokenizer),
    )
    return transformers.GPT2LMHeadModel(config)


def _llama(wish: Architecture, tokenizer: Any) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=wish.hidden,
        num_hidden_layers=wish.layers,
        num_attention_heads=wish.heads,
        num_key_value_heads=wish.heads,
        intermediate_size=wish.feed_forward or _gated(wish),
        max_position_embeddings=wish.positions,
        tie_word_embeddings=True,
        **_ends(tokenizer),
    )
    return transformers.LlamaForCausalLM(config)


def _marian(wish: Architecture, tokenizer: Any) -> Any:
    config = transformers.MarianConfig(
        vocab_size=len(tokenizer),
        d_model=wish.hidden,
        encoder_layers=wish.layers,
        decoder_layers=wish.layers,
        encoder_attention_heads=wish.heads,
        decoder_attention_heads=wish.heads,
        encoder_ffn_dim=_wide(wish),
        decoder_ffn_dim=_wide(wish),
        max_position_embeddings=wish.positions,
        activation_function="swish",
        scale_embedding=True,
        init_std=wish.hidden**-0.5,  # after the scaling, embeddings are as large as positions
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = transformers.MarianMTModel(config)
    model.generation_config.update(bad_words_ids=[[tokenizer.pad_token_id]], num_beams=_BEAMS, max_length=wish.positions)
    return model


def _t5(wish: Architecture, tokenizer: Any) -> Any:
    config = transformers.T5Config(
        vocab_size=len(tokenizer),
        d_model=wish.hidden,
        d_kv=wish.hidden // wish.heads,
        d_ff=_wide(wish),
        num_layers=wish.layers,
        num_heads=wish.heads,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    model = transformers.T5ForConditionalGeneration(config)
    model.generation_config.update(max_length=wish.positions)
    return model


def _wide(wish: Architecture) -> int:
    return wish.feed_forward or _WIDENING * wish.hidden


def _gated(wish: Architecture) -> int:
    return -(-_WIDENING * wish.hidden * 2 // 3 // _GATED_MULTIPLE) * _GATED_MULTIPLE


def _ends(tokenizer: Any) -> dict[str, int]:
    return {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}


_BUILDERS: dict[Family, Callable[[Architecture, Any], Any]] = {"bert": _bert, "gpt2": _gpt2, "llama": _llama, "marian": _marian, "t5": _t5}
