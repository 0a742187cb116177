"""upload_folder is not atomic: many small files arrive in several commits, and all of them arrive."""

import sys
import tempfile
from pathlib import Path

from huggingface_hub import HfApi

api = HfApi()
repo = sys.argv[1]
folder = Path(tempfile.mkdtemp())
for number in range(600):
    file = folder / f"part-{number % 7}" / f"{number}.txt"
    file.parent.mkdir(exist_ok=True)
    file.write_text(str(number))
api.create_repo(repo)
api.upload_folder(repo_id=repo, folder_path=folder)
assert len(api.list_repo_files(repo)) == 601
assert len(api.list_repo_commits(repo)) > 2
print("done")
