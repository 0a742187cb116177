"""Yunmo beside other servers: the same models, loads and client, in one session, turn by turn.

Each peer of bench/peers/peers.toml gets its environment, once. In every round both servers are started anew (where a start is measured; or
else once) and each window of a load is measured on Yunmo, then on the peer. Results are kept per peer and load in bench/results/peers after every round, so that a run that
was ended goes on where it was; `--again` measures what is there already once more.

    python bench/compare.py [PEER …] [--loads LOAD …] [--rounds 3] [--quick] [--prepare] [--again]
"""

import argparse
import asyncio
import dataclasses
import os
import resource
import signal
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

import limits
import run
from harness import RESULTS, keep
from peers import environments, models, ours, sides
from peers.effort import QUICK, Effort
from peers.loads import bert, chat, cold_start, encoders, overload
from peers.results import Result, busyness

LOADS = {"cold_start": cold_start, "encoders": encoders, "bert": bert, "chat": chat, "overload": overload}
KEPT = RESULTS / "peers"
LOGS = environments.ENVIRONMENTS / "logs"
QUICK_KEPT = environments.ENVIRONMENTS / "quick"


def main() -> None:
    options = _options()
    warnings.simplefilter("ignore")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 16384)), hard))
    LOGS.mkdir(parents=True, exist_ok=True)
    peers = options.peers or list(environments.TABLE["peers"])
    prepared = _prepare(peers, options.loads)
    if options.prepare:
        return
    effort = QUICK if options.quick else dataclasses.replace(Effort(), rounds=options.rounds)
    directory = QUICK_KEPT if options.quick else KEPT
    if not options.quick and (options.again or not (RESULTS / "limits.json").exists()):
        keep("limits", "python bench/limits.py", limits.measured(seconds=1.0))
    for peer in peers:
        wanted = _loads(environments.TABLE["peers"][peer], options.loads)
        results = [Result.of(directory, peer, load, effort, is_again=options.again or options.quick) for load in wanted]
        for kind in dict.fromkeys(_kind(peer, result.load) for result in results):
            alike = [result for result in results if _kind(peer, result.load) == kind]
            for result in alike:
                result.plans = prepared[kind].plans
            try:
                uvloop.run(_session(peer, alike, prepared[kind], effort))
            except asyncio.CancelledError:
                sys.exit(f"ended in {peer}; the same command goes on from the rounds that are kept")
    if not options.quick:
        run.write_page()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"any of {', '.join(environments.TABLE['peers'])} (default: all)")
    parser.add_argument("--loads", nargs="+", choices=list(LOADS), help="which loads (default: all that the peer takes)")
    parser.add_argument("--rounds", type=int, default=Effort.rounds)
    parser.add_argument("--quick", action="store_true", help="a smoke run of one short round; nothing is kept in bench/results")
    parser.add_argument("--prepare", action="store_true", help="only make environments and models, and calibrate Yunmo")
    parser.add_argument("--again", action="store_true", help="measure anew what is there already")
    options = parser.parse_args()
    unknown = set(options.peers) - environments.TABLE["peers"].keys()
    if unknown:
        parser.error(f"there is no peer {', '.join(sorted(unknown))}; there are {', '.join(environments.TABLE['peers'])}")
    return options


def _prepare(peers: Sequence[str], asked: Sequence[str] | None) -> dict[str, ours.Prepared]:
    """Environments, models and Yunmo's data directories; what cannot be made is told in the results of those that need it."""
    program = [sys.executable, str(Path(environments.__file__))]
    for name in dict.fromkeys(environments.TABLE["peers"][peer]["environment"] for peer in peers):
        if environments.missing(name):
            subprocess.run([*program, name], check=False)
    kinds = dict.fromkeys(_kind(peer, load) for peer in peers for load in _loads(environments.TABLE["peers"][peer], asked))
    if "encoders" in kinds:
        models.reference()
    return {kind: ours.prepare(kind) for kind in kinds}


def _loads(peer: dict[str, Any], asked: Sequence[str] | None) -> list[str]:
    """What the peer takes by default, or what it can take of what was asked for."""
    able = peer["loads"] if asked is None else [*peer["loads"], *peer.get("loads_if_asked", ())]
    return [load for load in LOADS if load in able and load in (asked or LOADS)]


def _kind(peer: str, load: str) -> str:
    """Which models its servers have in this load: each kind is a session of its own."""
    if load == "bert":
        return load
    return "chat" if "chat" in environments.TABLE["peers"][peer] else "encoders"


async def _session(peer: str, results: Sequence[Result], prepared: ours.Prepared, effort: Effort) -> None:
    """Rounds until every load has enough of them, or something cannot be done; whoever ends this program ends its servers."""
    session = asyncio.current_task()
    assert session is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, session.cancel)
    if reason := environments.missing(environments.TABLE["peers"][peer]["environment"]):
        for result in results:
            result.could_not(reason)
    while is_open := [result for result in results if not result.is_whole]:
        try:
            _begin(peer, is_open, effort)
            async with ours.started(prepared) as our_side, sides.started(peer, LOGS / f"{peer}.log", prepared.kind) as their_side:
                await _round((our_side, their_side), is_open, effort)
                is_kept = all(result.load != "cold_start" for result in is_open)
                while is_kept and (is_open := [result for result in results if not result.is_whole]):
                    _begin(peer, is_open, effort)
                    await _round((our_side, their_side), is_open, effort)
        except sides.DidNotStart as error:
            for result in is_open:
                result.could_not(str(error))
            print(f"  could not: {error}", flush=True)


def _begin(peer: str, results: Sequence[Result], effort: Effort) -> None:
    print(f"{peer}: round {min(len(result.rounds) for result in results) + 1} of {effort.rounds}", flush=True)
    state = busyness()
    for result in results:
        result.begin_round(state)


async def _round(both: Sequence[sides.Side], results: Sequence[Result], effort: Effort) -> None:
    for result in results:
        began = asyncio.get_running_loop().time()
        try:
            result.add(await LOADS[result.load].measure(both, effort, len(result.rounds)))
        except (RuntimeError, TimeoutError) as error:
            result.could_not(str(error))
        print(f"  {result.load}: {asyncio.get_running_loop().time() - began:.1f} s", flush=True)
        if result.is_whole:
            print(result.told(), flush=True)


if __name__ == "__main__":
    main()
