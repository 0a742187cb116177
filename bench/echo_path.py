"""The whole path without a model: key, limits, admission, router, wire, worker and back, beside bare uvicorn + msgspec.

python bench/echo_path.py [--rounds 3] [--seconds 5]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from harness import ROOT, free_port, keep, load, medians, program

_BODY = [{"inputs": "hello"}]


def main() -> None:
    from running import running_server

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    port = free_port()
    bare = f"http://127.0.0.1:{port}/"
    figures: dict[str, dict[str, float]] = {}
    with (
        tempfile.TemporaryDirectory() as data,
        running_server(Path(data)) as server,
        program([sys.executable, str(ROOT / "bench/peers/servers/bare_uvicorn.py"), str(port)], bare),
    ):
        server.deploy("echo")
        ways = {"yunmo echo": (f"{server.url}/models/echo", server.headers), "bare uvicorn + msgspec": (bare, {})}
        for clients in (1, 32):
            found = {name: [] for name in ways}
            for _ in range(options.rounds):
                for name, (url, headers) in ways.items():
                    found[name].append(load(url, clients, options.seconds, _BODY, headers))
            figures |= {f"{name}, {clients} clients": medians(rounds) for name, rounds in found.items()}
    for clients in (1, 32):
        ours, theirs = figures[f"yunmo echo, {clients} clients"], figures[f"bare uvicorn + msgspec, {clients} clients"]
        ours["ratio_to_bare"] = round(ours["requests_per_second"] / theirs["requests_per_second"], 3)
    keep("echo_path", "python bench/echo_path.py", figures)


if __name__ == "__main__":
    main()
