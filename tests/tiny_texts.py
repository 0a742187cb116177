"""Tiny models that read and write text."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny_tokenizers import WIDTH, byte_pairs, sentence_pieces, unigram_pieces, wordpiece, write_json


def _bert_config(tokenizer: Any, **more: Any) -> Any:
    from transformers import BertConfig

    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
        "initializer_range": 0.5,
    }
    return BertConfig(**{**sizes, **more})


def bert(class_name: str, **more: Any) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        import transformers

        tokenizer = wordpiece(directory)
        model_class = getattr(transformers, class_name)
        model_class(_bert_config(tokenizer, **more)).save_pretrained(directory)

    return write


def sentence_embedder(directory: Path) -> None:
    """A sentence-transformers repository: mean pooling and normalising."""
    bert("BertModel")(directory)
    (directory / "1_Pooling").mkdir(exist_ok=True)
    write_json(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True})
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(
        directory / "modules.json",
        [
            {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
            for index, (path, name) in enumerate(modules)
        ],
    )
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})


def llama(*, chat: bool) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        tokenizer = byte_pairs(directory, chat=chat)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=1,
            initializer_range=0.5,
        )
        LlamaForCausalLM(config).save_pretrained(directory)

    return write


def gpt2(directory: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = byte_pairs(directory)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=WIDTH, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, initializer_range=0.5
    )
    GPT2LMHeadModel(config).save_pretrained(directory)


def mamba(directory: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    tokenizer = byte_pairs(directory)
    config = MambaConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, state_size=4, num_hidden_layers=2, bos_token_id=0, eos_token_id=0, pad_token_id=1
    )
    MambaForCausalLM(config).save_pretrained(directory)


def t5(directory: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), (":", -5.0), *unigram_pieces()]
    tokenizer = T5Tokenizer(vocab=vocab, extra_ids=4, model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=WIDTH,
        d_kv=8,
        d_ff=2 * WIDTH,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=1,
        task_specific_params={
            "summarization": {"prefix": "summarize: ", "max_length": 20, "num_beams": 2},
            "translation_en_to_de": {"prefix": "translate English to German: ", "max_length": 16},
            "translation_en_to_fr": {"prefix": "translate English to French: ", "max_length": 16},
        },
    )
    T5ForConditionalGeneration(config).save_pretrained(directory)


def bart(directory: Path) -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    tokenizer = byte_pairs(directory, length=64)
    config = BartConfig(
        vocab_size=len(tokenizer),
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
        decoder_start_token_id=0,
        forced_eos_token_id=0,
        **_bart_sizes(),
    )
    BartForConditionalGeneration(config).save_pretrained(directory)


def _bart_sizes() -> dict[str, Any]:
    return {
        "d_model": WIDTH,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 2 * WIDTH,
        "decoder_ffn_dim": 2 * WIDTH,
        "max_position_embeddings": 64,
        "init_std": 0.5,
    }


def marian(directory: Path) -> None:
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    model = sentence_pieces(directory, "source")
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    names = ["</s>", "<unk>", *(pieces.id_to_piece(index) for index in range(pieces.get_piece_size())), "<pad>"]
    vocab = {name: index for index, name in enumerate(dict.fromkeys(names))}
    model.rename(directory / "source.spm")
    (directory / "target.spm").write_bytes((directory / "source.spm").read_bytes())
    (directory / "source.vocab").unlink()
    write_json(directory / "vocab.json", vocab)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it recommends sacremoses, which only normalises punctuation
        tokenizer = MarianTokenizer(
            str(directory / "source.spm"),
            str(directory / "target.spm"),
            str(directory / "vocab.json"),
            source_lang="en",
            target_lang="de",
            model_max_length=64,
        )
    tokenizer.save_pretrained(directory)
    pad = vocab["<pad>"]
    config = MarianConfig(
        vocab_size=len(vocab),
        pad_token_id=pad,
        decoder_start_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        **_bart_sizes(),
    )
    model = MarianMTModel(config)
    model.generation_config.update(num_beams=2, max_length=24, bad_words_ids=[[pad]])
    model.save_pretrained(directory)


def m2m100(directory: Path) -> None:
    from transformers import M2M100Config, M2M100ForConditionalGeneration, M2M100Tokenizer

    model = sentence_pieces(directory, "sentencepiece.bpe")
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    names = ["<s>", "<pad>", "</s>", "<unk>", *(pieces.id_to_piece(index) for index in range(pieces.get_piece_size()))]
    write_json(directory / "vocab.json", {name: index for index, name in enumerate(dict.fromkeys(names))})
    (directory / "sentencepiece.bpe.vocab").unlink()
    tokenizer = M2M100Tokenizer(str(directory / "vocab.json"), str(model), model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = M2M100Config(
        vocab_size=tokenizer.get_lang_id("zu") + 1 + 8,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        **_bart_sizes(),
    )
    M2M100ForConditionalGeneration(config).save_pretrained(directory)


def nllb(directory: Path) -> None:
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    names = ["<s>", "<pad>", "</s>", "<unk>", "▁", *(chr(code) for code in range(ord("a"), ord("z") + 1))]
    tokenizer = NllbTokenizer(vocab={name: index for index, name in enumerate(names)}, merges=[], model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = M2M100Config(
        vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, **_bart_sizes()
    )
    M2M100ForConditionalGeneration(config).save_pretrained(directory)


def mbart(directory: Path) -> None:
    from transformers import MBart50Tokenizer, MBartConfig, MBartForConditionalGeneration

    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), *unigram_pieces()]
    tokenizer = MBart50Tokenizer(vocab=vocab, src_lang="en_XX", model_max_length=64)
    tokenizer.save_pretrained(directory)
    config = MBartConfig(
        vocab_size=len(tokenizer), pad_token_id=1, bos_token_id=0, eos_token_id=2, decoder_start_token_id=2, **_bart_sizes()
    )
    MBartForConditionalGeneration(config).save_pretrained(directory)
