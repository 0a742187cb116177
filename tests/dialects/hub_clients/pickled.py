"""Push a model whose weights are a pickle, and load it with the key given in the call: transformers then begins its conversion thread."""

import sys
import tempfile
import threading
from pathlib import Path

import torch
from huggingface_hub import HfApi, get_token
from transformers import BertConfig, BertModel

NAME, FOLDER = sys.argv[1], Path(tempfile.mkdtemp())

config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=32)
model = BertModel(config)
config.save_pretrained(FOLDER)
torch.save(model.state_dict(), FOLDER / "pytorch_model.bin")
api = HfApi()
api.create_repo(NAME)
api.upload_folder(repo_id=NAME, folder_path=FOLDER)
api.create_discussion(NAME, "Anything")

loaded = BertModel.from_pretrained(NAME, token=get_token())
assert torch.equal(loaded.embeddings.word_embeddings.weight, model.embeddings.word_embeddings.weight)
threads = [each for each in threading.enumerate() if each.name == "Thread-auto_conversion"]
for each in threads:
    each.join(60)
print("loaded")
