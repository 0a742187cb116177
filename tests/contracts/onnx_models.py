"""Tiny encoders of every family with tokenizers of three kinds, and their export within this process."""

import json
import warnings
from pathlib import Path

from tiny_models import CORPUS
from yunmo.core.engine import Plan
from yunmo.engines.onnx.export import export
from yunmo.engines.onnx.exported import Head
from yunmo.engines.onnx.kind import kind
from yunmo.engines.onnx.quantize import Format, quantize

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
SUFFIXES: dict[Head, str] = {
    "classify": "ForSequenceClassification",
    "classify-tokens": "ForTokenClassification",
    "answer": "ForQuestionAnswering",
    "fill-mask": "ForMaskedLM",
    "embed": "Model",
}
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
DISENTANGLED = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
# family: (class prefix, kind of tokenizer, its own settings)
FAMILIES = {
    "bert": ("Bert", "word_pieces", {}),
    "distilbert": ("DistilBert", "word_pieces", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}),
    "roberta": ("Roberta", "byte_pairs", {"max_position_embeddings": 66}),
    "xlm-roberta": ("XLMRoberta", "unigrams", {"max_position_embeddings": 66}),
    "electra": ("Electra", "word_pieces", {"embedding_size": 16}),
    "albert": ("Albert", "word_pieces", {"embedding_size": 16}),
    "mpnet": ("MPNet", "word_pieces", {"max_position_embeddings": 66}),
    "deberta-v2": (
        "DebertaV2",
        "unigrams",
        DISENTANGLED
        | {
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": ("ModernBert", "byte_pairs", {"global_attn_every_n_layers": 2, "local_attention": 8, "num_hidden_layers": 4}),
    "camembert": ("Camembert", "unigrams", {"max_position_embeddings": 66}),
    "convbert": ("ConvBert", "word_pieces", {"embedding_size": 32, "head_ratio": 1}),
    "data2vec-text": ("Data2VecText", "byte_pairs", {"max_position_embeddings": 66}),
    "deberta": ("Deberta", "byte_pairs", DISENTANGLED),
    "ernie": ("Ernie", "word_pieces", {}),
    "eurobert": ("EuroBert", "byte_pairs", {"num_key_value_heads": 2}),
    "megatron-bert": ("MegatronBert", "word_pieces", {}),
    "mobilebert": ("MobileBert", "word_pieces", {"embedding_size": 32, "intra_bottleneck_size": 32}),
    "rembert": ("RemBert", "unigrams", {"input_embedding_size": 16, "output_embedding_size": 16}),
    "roberta-prelayernorm": ("RobertaPreLayerNorm", "byte_pairs", {"max_position_embeddings": 66}),
    "roformer": ("RoFormer", "word_pieces", {"embedding_size": 32}),
    "squeezebert": ("SqueezeBert", "word_pieces", {"embedding_size": 32}),
    "xlm-roberta-xl": ("XLMRobertaXL", "unigrams", {"max_position_embeddings": 66}),
}
POPULAR = ("bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert", "mpnet", "deberta-v2", "modernbert")


def build(directory: Path, family: str, head: Head, **more) -> Path:
    """Save a random model of the family with its tokenizer."""
    import torch
    import transformers

    prefix, tokens, own = FAMILIES[family]
    tokenizer = {"word_pieces": _word_pieces, "byte_pairs": _byte_pairs, "unigrams": _unigrams}[tokens]()
    tokenizer.save_pretrained(directory)
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: index for index, label in enumerate(LABELS)}}
    if not head.startswith("classify"):
        labels = {}
    special = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = getattr(transformers, prefix + "Config")(vocab_size=len(tokenizer), **(SIZES | special | own | labels | more))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        getattr(transformers, prefix + SUFFIXES[head])(config).save_pretrained(directory)
    return directory


def exported(directory: Path, derived: Path, head: Head, precision: str = "fp32", form: Format = "onnx") -> Path:
    """Export as the child processes do, but here; `derived` is then as `load` wants it."""
    folders = [derived / f"{head}-fp32", derived / f"{head}-int8-{form}-s8"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the programs do
        folders[0].mkdir(parents=True)
        export(directory, folders[0], head)
        if precision == "int8":
            folders[1].mkdir()
            quantize(folders[0], folders[1], form)
    return derived


def load(directory: Path, derived: Path, head: Head, precision: str = "fp32", form: Format = "onnx"):
    """The engine of a model, exported here."""
    exported(directory, derived, head, precision, form)
    plan = Plan(engine="onnx", format=form, precision=precision, options={"head": head})
    return kind.load(directory, derived, plan, lambda step, share: None)


def _word_pieces():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import BertTokenizer

    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trained.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=150, special_tokens=special, show_progress=False))
    return BertTokenizer(vocab=trained.get_vocab(), do_lower_case=True, model_max_length=64)


def _byte_pairs():
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaTokenizer

    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(CORPUS, vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    state = json.loads(trained._tokenizer.to_str())["model"]
    return RobertaTokenizer(vocab=state["vocab"], merges=[tuple(each) for each in state["merges"]], model_max_length=64)


def _unigrams():
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import XLMRobertaTokenizer

    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trained.train_from_iterator(
        CORPUS, trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    state = json.loads(trained.to_str())["model"]
    return XLMRobertaTokenizer(vocab=[*(tuple(each) for each in state["vocab"]), ("<mask>", 0.0)], model_max_length=64)
