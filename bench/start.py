"""From the start of the command to a healthy server, and its memory without models.

python bench/start.py [--rounds 5]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from harness import keep


def main() -> None:
    from running import running_server

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"first start": [], "second start": []}
    resident: list[float] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as data:
            for kind, found in seconds.items():
                del kind
                began = time.monotonic()
                with running_server(Path(data)) as server, server.client() as client:
                    client.get("/health").raise_for_status()
                    found.append(time.monotonic() - began)
                    resident.append(psutil.Process(server.process.pid).memory_info().rss / 2**20)
    figures = {f"{kind}: seconds to healthy": round(statistics.median(found), 2) for kind, found in seconds.items()}
    keep("start", "python bench/start.py", figures | {"resident MiB without models": round(statistics.median(resident), 1)})


if __name__ == "__main__":
    main()
