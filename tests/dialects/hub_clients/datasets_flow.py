"""Push a data set with two configurations, load it, stream it, and read a plain file of it."""

import sys

from datasets import Dataset, load_dataset
from huggingface_hub import HfApi

repo = sys.argv[1]
rows = {"text": [f"row {number}" for number in range(100)], "label": [number % 2 for number in range(100)]}
Dataset.from_dict(rows).push_to_hub(repo, "first")
Dataset.from_dict(rows).select(range(10)).push_to_hub(repo, "second")
assert load_dataset(repo, "first")["train"]["text"][-1] == "row 99"
assert len(load_dataset(repo, "second", split="train")) == 10
streamed = load_dataset(repo, "first", split="train", streaming=True)
assert [row["label"] for row in streamed.take(3)] == [0, 1, 0]

api = HfApi()
api.create_repo(repo + "-csv", repo_type="dataset")
api.upload_file(path_or_fileobj=b"a,b\n1,2\n3,4\n", path_in_repo="data/train.csv", repo_id=repo + "-csv", repo_type="dataset")
assert load_dataset(repo + "-csv", split="train")["b"][:] == [2, 4]
print("done")
