"""What this machine can do at most: matrix products in fp32, bf16 and int8, and memory bandwidth, with one and with all threads.

Every figure in texts or tokens per second can be held against these. PyTorch with oneDNN; the best of several rounds, since a limit is
what was reached once.

    python bench/limits.py [--seconds 1]
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from harness import keep

SIZE = 2048
STREAM_BYTES = 256 << 20
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each limit in each round")
    keep("limits", "python bench/limits.py", measured(parser.parse_args().seconds))


def measured(seconds: float) -> dict[str, dict[str, float]]:
    """GFLOP/s (int8: operations) of products of 2048×2048 matrices, GB/s of reading and of copying 256 MiB; by number of threads."""
    import torch

    before = torch.get_num_threads()
    found: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for threads in sorted({1, len(os.sched_getaffinity(0))}):
            torch.set_num_threads(threads)
            cell = found.setdefault(f"{threads} threads" if threads > 1 else "1 thread", {})
            for name, work, run in _limits(torch):
                cell[name] = max(cell.get(name, 0.0), round(work * _per_second(run, seconds) / 1e9, 1))
    torch.set_num_threads(before)
    return found


def _limits(torch: Any) -> Iterator[tuple[str, float, Callable[[], object]]]:
    """Each limit's name, the work of one run in operations or bytes, and the run."""
    products = 2.0 * SIZE**3
    for name, kind in (("fp32 GFLOP/s", torch.float32), ("bf16 GFLOP/s", torch.bfloat16)):
        left, right = (torch.rand(SIZE, SIZE).to(kind) for _ in range(2))
        yield name, products, lambda left=left, right=right: left @ right
    yield "int8 GOP/s", products, _int8(torch)
    numbers = torch.rand(STREAM_BYTES // 4)
    other = torch.empty_like(numbers)
    yield "GB/s read", STREAM_BYTES, numbers.sum
    yield "GB/s copied (read and written)", 2.0 * STREAM_BYTES, lambda: other.copy_(numbers)


def _int8(torch: Any) -> Callable[[], object]:
    """The product of eight-bit activations and packed eight-bit weights, as quantised layers use oneDNN's."""
    torch.backends.quantized.engine = "onednn"
    left = torch.quantize_per_tensor(torch.rand(SIZE, SIZE), 0.01, 0, torch.quint8)
    weights = torch.quantize_per_channel(
        torch.rand(SIZE, SIZE), torch.full((SIZE,), 0.01), torch.zeros(SIZE, dtype=torch.long), 0, torch.qint8
    )
    packed = torch.ops.quantized.linear_prepack(weights, None)
    return lambda: torch.ops.quantized.linear(left, packed, 0.1, 0)


def _per_second(run: Callable[[], object], seconds: float) -> float:
    """The best rate of single runs."""
    run()
    until, best = time.perf_counter() + seconds, float("inf")
    while time.perf_counter() < until:
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return 1 / best


if __name__ == "__main__":
    main()
