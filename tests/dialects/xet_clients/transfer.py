"""Run by the tests with the real huggingface_hub: sends or fetches files as a user's program would."""

import io
import sys
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, snapshot_download

api = HfApi()
command, repository, *arguments = sys.argv[1:]
if command == "file":
    api.create_repo(repository, private=True, exist_ok=True)
    api.upload_file(path_or_fileobj=arguments[0], path_in_repo="weights.bin", repo_id=repository)
elif command == "object":
    api.create_repo(repository, private=True, exist_ok=True)
    api.upload_file(path_or_fileobj=io.BytesIO(Path(arguments[0]).read_bytes()), path_in_repo="weights.bin", repo_id=repository)
elif command == "folder":
    api.create_repo(repository, private=True, exist_ok=True)
    api.upload_folder(folder_path=arguments[0], repo_id=repository)
elif command == "fetch":
    print(hf_hub_download(repository, "weights.bin"))
elif command == "snapshot":
    print(snapshot_download(repository))
else:
    sys.exit(f"unknown command {command}")
