"""What figures beside other servers rest on: the client that loads them, the rounds that become figures, the page."""

import asyncio
import contextlib
import json

import pytest

from peers import report
from peers.client import REFUSED, Connection, closed_loop, open_loop, post
from peers.loads.measured import figures
from peers.loads.overload import _figures, _poisson
from peers.sides import Endpoint

REQUEST = post("/", b'{"inputs": "a film"}', {"X-Key": "k"})
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"


@contextlib.asynccontextmanager
async def server(answer, seconds=0.0, *, closes=False):
    """A TCP server that answers every whole request after some seconds with these bytes."""
    seen, conversations = [], []

    async def serve(reader, writer):
        conversations.append(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                seen.append(head + await reader.readexactly(length))
                await asyncio.sleep(seconds)
                writer.write(answer)
                await writer.drain()
                if closes:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], seen
    finally:
        listening.close()
        await asyncio.wait(conversations, timeout=2)


async def test_a_request_arrives_whole_with_its_headers():
    async with server(PLAIN) as (port, seen):
        connection = Connection(port)
        reply = await connection.ask(REQUEST)
        connection.close()
    assert (reply.status, reply.body) == (200, b"ok")
    assert b"X-Key: k\r\n" in seen[0]
    assert seen[0].endswith(b'{"inputs": "a film"}')


async def test_pieces_of_a_stream_are_observed_and_the_connection_is_kept():
    async with server(CHUNKED) as (port, seen):
        connection, pieces = Connection(port), []
        for _ in range(2):
            assert (await connection.ask(REQUEST, pieces.append)).is_ok
        connection.close()
    assert pieces == [b"one", b"two"] * 2
    assert len(seen) == 2


@pytest.mark.parametrize(("answer", "closes"), [(LAST, True), (PLAIN, True)], ids=["as it says", "without a word"])
async def test_a_server_that_closes_after_an_answer_is_asked_again_on_a_new_connection(answer, closes):
    async with server(answer, closes=closes) as (port, _):
        connection = Connection(port)
        assert [(await connection.ask(REQUEST)).status for _ in range(3)] == [200] * 3


async def test_nobody_there_and_an_answer_that_breaks_off_are_refusals():
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", closes=True) as (port, _):
        assert (await Connection(port).ask(REQUEST)).status == REFUSED
    assert (await Connection(port).ask(REQUEST)).status == REFUSED


async def test_a_closed_loop_counts_all_that_it_sent():
    async with server(PLAIN, seconds=0.05) as (port, seen):
        replies, took = await closed_loop(port, [REQUEST], clients=4, seconds=0.2)
    assert len(replies) == len(seen) >= 8
    assert took >= 0.2


async def test_an_open_loop_does_not_wait_and_counts_from_when_a_request_was_due():
    async with server(PLAIN, seconds=0.3) as (port, _):
        arrivals = await open_loop(port, [REQUEST], [0.0, 0.01, 0.02], patience=5)
        given_up = await open_loop(port, [REQUEST], [0.0], patience=0.05)
    assert all(0.29 < arrival.reply.seconds < 2 for arrival in arrivals)
    assert [arrival.reply.status for arrival in given_up] == [REFUSED]


async def test_goodput_counts_what_is_in_time_and_refusals_apart():
    async with server(BUSY) as (port, _):
        refused = await open_loop(port, [REQUEST], [2.1, 2.2], patience=5)
    async with server(PLAIN, seconds=1.7) as (port, _):
        late = await open_loop(port, [REQUEST], [0.1, 2.1], patience=5)
    found = _figures([*refused, *late], seconds=1.0)
    assert found["goodput_per_second"] == 0
    assert found["offered_per_second"] == 3  # what was due in the first moments is not counted
    assert (found["refused_share"], found["late_share"], found["given_up_share"]) == pytest.approx((2 / 3, 1 / 3, 0))


def test_arrivals_come_at_the_rate_that_was_asked_for():
    due = _poisson(500, 4.0, seed="any")
    assert len(due) == pytest.approx(2000, rel=0.1)
    assert due == sorted(due)


def test_rounds_become_medians_and_single_observations_quantiles_of_them_all():
    rounds = [{"cell": {"yunmo": {"rate": rate, "first": [rate, rate]}}} for rate in (1.0, 5.0, 3.0)]
    assert figures(rounds)["cell"]["yunmo"] == {"rate": 3.0, "first_p50": 3.0, "first_p95": 5.0}


def test_the_wanted_part_of_an_answer_is_found():
    assert Endpoint("/", "TEXT", ["data", 0, "label"]).found(b'{"data": [{"label": "POSITIVE"}]}') == "POSITIVE"


def test_the_page_tells_both_sides_and_what_could_not_be_done(tmp_path):
    kept = {
        "title": "A peer",
        "peer": "peer",
        "load": "cold_start",
        "machine": {"processor": "P", "cores": 2, "memory_gib": 8, "instructions": []},
        "before_each_round": [{"load_average": 0.1, "busy_percent": 1.0}],
        "at": "2026-01-01",
        "yunmo": {},
        "versions": {"peer": "1.0"},
        "could_not": "",
        "figures": {"first answer": {"peer": {"seconds": 20, "resident_mib": 400}, "yunmo": {"seconds": 2, "resident_mib": 200}}},
        "rounds": [{}],
    }
    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "a.json").write_text(json.dumps(kept))
    (tmp_path / "peers" / "b.json").write_text(json.dumps(kept | {"load": "chat", "rounds": [], "could_not": "it did not start"}))
    page = report.section(tmp_path, tmp_path / "performance.md")
    assert "| A peer | 20 / 2 (0.1×) | 400 / 200 (0.5×) |" in page
    assert "A peer, chat: it did not start" in page
