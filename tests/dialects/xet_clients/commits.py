"""Run by the tests with the real huggingface_hub: commit after commit until it is killed; each is told once it was acknowledged."""

import itertools
import random
import sys

from huggingface_hub import HfApi

LARGE_EVERY = 3


def content(number):
    """Small files travel inside the commit; every third is binary and travels before it."""
    return random.Random(number).randbytes(400_000) if number % LARGE_EVERY == 0 else f"line {number}\n".encode()


if __name__ == "__main__":
    api = HfApi()
    api.create_repo(sys.argv[1], exist_ok=True)
    for number in itertools.count():
        commit = api.upload_file(path_or_fileobj=content(number), path_in_repo=f"file-{number}", repo_id=sys.argv[1])
        print(number, commit.oid, flush=True)
