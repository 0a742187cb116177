"""Push a model with transformers, then load it the way people load models: anonymously, by its bare name."""

import os
import sys
import tempfile
from pathlib import Path

import torch
from huggingface_hub import HfApi
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, BertForSequenceClassification, BertTokenizerFast

repo, bare = sys.argv[1:3]
token = os.environ.pop("WRITE_TOKEN")
api = HfApi(token=token)

if sys.argv[3] == "push":
    torch.manual_seed(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    folder = Path(tempfile.mkdtemp())
    (folder / "vocab.txt").write_text("\n".join(words))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    config = BertConfig(vocab_size=40_000, hidden_size=96, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    model = BertForSequenceClassification(config).eval()
    model.push_to_hub(repo, token=token)
    tokenizer.push_to_hub(repo, token=token)
    info = api.model_info(repo, files_metadata=True)
    weights = next(each for each in info.siblings if each.rfilename == "model.safetensors")
    assert weights.lfs is not None
    assert weights.size > 10_000_000
    assert info.safetensors.total == sum(parameter.numel() for parameter in model.parameters())
    assert info.pipeline_tag == "text-classification"
    print("pushed", float(model(**tokenizer("good film", return_tensors="pt")).logits[0, 0].detach()))
else:
    model = AutoModelForSequenceClassification.from_pretrained(bare)
    tokenizer = AutoTokenizer.from_pretrained(bare)
    print("loaded", float(model(**tokenizer("good film", return_tensors="pt")).logits[0, 0].detach()))
