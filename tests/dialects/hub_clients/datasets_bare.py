"""Load a data set that has a bare name: `datasets` itself asks for namespace/name, huggingface_hub takes both."""

import sys

from datasets import load_dataset
from huggingface_hub import HfApi, hf_hub_download

bare, full = sys.argv[1:]
try:
    print("bare", load_dataset(bare, split="train")["b"][:])
except Exception as error:
    print("bare", type(error).__name__, str(error).replace("\n", " "))
assert load_dataset(full, split="train")["b"][:] == [2, 4]
assert HfApi().dataset_info(bare).id == full
with open(hf_hub_download(bare, "data/train.csv", repo_type="dataset")) as file:  # noqa: PTH123 (as people write it)
    assert file.read() == "a,b\n1,2\n3,4\n"
print("done")
