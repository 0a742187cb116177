"""The connection guard, attacked with raw sockets: slow, silent, huge and malformed requests, while others are served."""

import asyncio
import json
import resource
import time
from types import SimpleNamespace

import pytest
import uvloop

from yunmo.core.errors import Conflict, InvalidRequest
from yunmo.web.guard import GuardLimits
from yunmo.web.server import ServerLimits, serve

LIMITS = GuardLimits(header_seconds=0.2, idle_seconds=0.3, stall_seconds=0.2, linger_seconds=0.2, connections=50)
SOON = 3.0  # seconds: below any test's patience, far above a deadline on a busy machine
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class App:
    """Echoes the body's size; some paths wait, answer early, or never stop writing."""

    def __init__(self):
        self.entered = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.ended = asyncio.Event()
        self.left = []
        self.sent = 0

    async def __call__(self, scope, receive, send):
        self.entered.set()
        path = scope["path"]
        try:
            if path == "/early":
                await self._reply(send, 413, b"too large")
            elif path == "/endless":
                await self._endless(receive, send)
            elif path == "/watched":
                await receive()
                assert (await receive())["type"] == "http.disconnect"
                raise ConnectionError
            else:
                size = await self._read(receive)
                if path == "/slow":
                    await self.may_go_on.wait()
                await self._reply(send, 200, b"%d" % size)
            self.left.append("finished")
        except asyncio.CancelledError:
            self.left.append("cancelled")
            raise
        except ConnectionError:
            self.left.append("gone")
        finally:
            self.ended.set()

    async def _read(self, receive):
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            size += len(message["body"])
            if not message["more_body"]:
                return size

    async def _endless(self, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            self.sent += 1
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)
        raise ConnectionError

    async def _reply(self, send, status, body):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def event_loop_policy():
    return uvloop.EventLoopPolicy()


@pytest.fixture
async def server():
    found = SimpleNamespace(app=App(), port=asyncio.get_running_loop().create_future(), stop=asyncio.Event(), writers=[])
    running = asyncio.create_task(
        serve(found.app, "127.0.0.1", 0, ServerLimits(LIMITS, shutdown_seconds=0.5), found.port.set_result, found.stop)
    )
    found.running = running
    found.port = await asyncio.wait_for(found.port, 5)
    yield found
    for writer in found.writers:
        writer.close()
    found.app.may_go_on.set()
    found.stop.set()
    assert await asyncio.wait_for(running, 10) == found.port


async def _open(server):
    """A connection that the fixture closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    server.writers.append(writer)
    return reader, writer


async def _reply(reader):
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return int(lines[0].split(" ")[1]), headers, body


async def _ask(server, *pieces):
    """Send these bytes on a new connection and take the status of the reply (0 for none)."""
    reader, writer = await _open(server)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return (await _reply(reader))[0]
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0
    finally:
        writer.close()


async def _closed_after(reader):
    started = time.monotonic()
    left = await asyncio.wait_for(reader.read(), 5)
    return time.monotonic() - started, left


async def _upload_for_ever(writer):
    while True:
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def test_half_sent_headers_are_closed_in_time(server):
    reader, writer = await _open(server)
    writer.write(b"GET / HTTP/1.1\r\nhost")
    seconds, left = await _closed_after(reader)
    assert 0.1 < seconds < SOON
    assert left.startswith(b"HTTP/1.1 408 ")


async def test_headers_that_trickle_in_do_not_extend_their_deadline(server):
    reader, writer = await _open(server)
    closed = asyncio.create_task(_closed_after(reader))
    writer.write(b"GET / HTTP/1.1\r\n")
    while not closed.done():
        if not writer.is_closing():
            writer.write(b"a: b\r\n")
        await asyncio.sleep(0.02)
    assert (await closed)[0] < SOON


async def test_a_socket_that_says_nothing_is_closed(server):
    reader, _ = await _open(server)
    seconds, left = await _closed_after(reader)
    assert (0.1 < seconds < SOON, left) == (True, b"")


async def test_a_kept_alive_connection_is_closed_after_its_idle_time_and_not_before(server):
    reader, writer = await _open(server)
    for _ in range(3):
        writer.write(GET)
        assert (await _reply(reader))[0] == 200
        await asyncio.sleep(0.15)
    seconds, left = await _closed_after(reader)
    assert (seconds < SOON, left) == (True, b"")


async def test_the_second_requests_headers_have_a_deadline_too(server):
    reader, writer = await _open(server)
    writer.write(GET)
    assert (await _reply(reader))[0] == 200
    writer.write(b"GET / HTTP/1.1\r\nhost")
    seconds, left = await _closed_after(reader)
    assert seconds < SOON
    assert left.startswith(b"HTTP/1.1 408 ")


async def test_a_stalled_upload_is_given_up_and_its_handler_told(server):
    reader, writer = await _open(server)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
    seconds, left = await _closed_after(reader)
    assert 0.1 < seconds < SOON
    assert left.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in left
    assert server.app.left == ["gone"]


async def test_a_slow_upload_that_goes_on_is_served(server):
    reader, writer = await _open(server)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n")
    for _ in range(6):
        await asyncio.sleep(0.08)
        writer.write(b"x")
    assert (await _reply(reader))[2] == b"6"


async def test_a_slow_handler_is_not_mistaken_for_a_slow_client(server):
    reader, writer = await _open(server)
    writer.write(b"POST /slow HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc")
    await asyncio.sleep(0.6)
    server.app.may_go_on.set()
    assert (await _reply(reader))[0] == 200


async def test_a_reply_before_the_bodys_end_closes_the_connection_without_reading_on(server):
    reader, writer = await _open(server)
    writer.write(b"POST /early HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
    status, headers, _ = await _reply(reader)
    assert (status, headers["connection"]) == (413, "close")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(_upload_for_ever(writer), 5)
    assert server.app.left == ["finished"]


async def test_a_body_in_one_byte_chunks_is_refused_or_served_without_hurting_others(server):
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    attack = asyncio.create_task(_ask(server, head, *[b"1\r\nx\r\n" * 10_000] * 50, b"0\r\n\r\n"))
    slowest = 0.0
    while not attack.done():
        started = time.monotonic()
        assert await _ask(server, GET) == 200
        slowest = max(slowest, time.monotonic() - started)
    assert await attack in {0, 400}
    assert slowest < SOON


async def test_small_bodies_may_come_in_one_byte_chunks(server):
    head = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert await _ask(server, head, b"1\r\nx\r\n" * 500, b"0\r\n\r\n") == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\nabc\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -3\r\n\r\nabc",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
    ],
    ids=[
        "length and chunked",
        "bad chunk size",
        "negative chunk",
        "huge chunk",
        "two lengths",
        "negative length",
        "TLS",
        "no path",
        "no colon",
    ],
)
async def test_a_malformed_request_is_refused_and_the_server_lives(request_bytes, server):
    assert await _ask(server, request_bytes) == 400
    assert await _ask(server, GET) == 200


async def test_http_1_0_is_served_and_closed(server):
    reader, writer = await _open(server)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    left = (await _closed_after(reader))[1]
    assert left.startswith(b"HTTP/1.1 200 ")


async def test_a_thousand_small_headers_are_served(server):
    headers = b"".join(b"h%d: v\r\n" % number for number in range(1000))
    assert await _ask(server, b"GET / HTTP/1.1\r\n" + headers + b"\r\n") == 200


@pytest.mark.parametrize("pieces", [1, 40], ids=["at once", "in pieces"])
async def test_headers_over_the_limit_are_refused(pieces, server):
    head = b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: " % number + b"v" * 1000 + b"\r\n" for number in range(80)) + b"\r\n"
    size = len(head) // pieces + 1
    assert await _ask(server, *(head[at : at + size] for at in range(0, len(head), size))) == 431


async def test_one_endless_header_is_refused(server):
    assert await _ask(server, b"GET / HTTP/1.1\r\nh: ", *[b"v" * 10_000] * 10) == 431


async def test_a_large_body_right_behind_its_headers_is_no_large_header(server):
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n"
    assert await _ask(server, head + b"x" * 200_000) == 200


@pytest.mark.parametrize("count", [100, 1000])
async def test_pipelined_requests_are_answered_in_order(count, server):
    reader, writer = await _open(server)
    writer.write(b"".join(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (number % 9) + b"x" * (number % 9) for number in range(count)))
    answers = [int((await _reply(reader))[2]) for _ in range(count)]
    assert answers == [number % 9 for number in range(count)]


async def test_too_many_pipelined_requests_end_the_connection(server):
    reader, writer = await _open(server)
    writer.write(b"GET /slow HTTP/1.1\r\n\r\n" + b"GET / HTTP/1.1\r\n\r\n" * 5000)
    seconds, _ = await _closed_after(reader)
    assert seconds < SOON
    assert await _ask(server, GET) == 200


@pytest.mark.parametrize("behind", [b"", GET * 3], ids=["alone", "with others behind it"])
async def test_a_client_that_leaves_ends_the_request_in_work(behind, server):
    _, writer = await _open(server)
    writer.write(b"GET /watched HTTP/1.1\r\n\r\n" + behind)
    await asyncio.wait_for(server.app.entered.wait(), 5)
    writer.transport.abort()
    await asyncio.wait_for(server.app.ended.wait(), 5)
    assert server.app.left == ["gone"]


async def test_a_reader_that_does_not_read_holds_the_writer_back_and_is_cut(server):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, writer = await _open(server)
    writer.transport.pause_reading()
    writer.write(b"GET /endless HTTP/1.1\r\n\r\n")
    await asyncio.wait_for(server.app.entered.wait(), 5)
    await asyncio.wait_for(server.app.ended.wait(), 5)
    assert server.app.left == ["gone"]
    assert server.app.sent < 2000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


async def test_others_are_served_while_many_connections_hang(server):
    hanging = [await _open(server) for _ in range(40)]
    for _, writer in hanging:
        writer.write(b"GET / HTTP/1.1\r\nhost")
    started = time.monotonic()
    assert await _ask(server, GET) == 200
    assert time.monotonic() - started < SOON
    for reader, _ in hanging:
        assert (await _closed_after(reader))[0] < SOON


async def test_one_connection_too_many_is_told_so(server):
    for _ in range(LIMITS.connections):
        await _open(server)
    reader, _ = await _open(server)
    status, headers, body = await _reply(reader)
    assert (status, headers["retry-after"]) == (503, "1")
    assert "connections" in json.loads(body)["error"]


async def test_a_websocket_is_answered_as_plain_http(server):
    upgrade = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n\r\n"
    assert await _ask(server, upgrade) == 200


async def test_a_stop_lets_requests_finish_and_refuses_new_connections(server):
    reader, writer = await _open(server)
    writer.write(b"GET /slow HTTP/1.1\r\n\r\n")
    await asyncio.wait_for(server.app.entered.wait(), 5)
    server.stop.set()
    async with asyncio.timeout(5):
        while True:
            try:
                _, other = await _open(server)
                other.close()
            except ConnectionError:
                break
            await asyncio.sleep(0.02)
    server.app.may_go_on.set()
    status, headers, _ = await _reply(reader)
    assert (status, headers["connection"]) == (200, "close")


async def test_a_stop_cancels_what_does_not_finish_in_time(server):
    _, writer = await _open(server)
    writer.write(b"GET /slow HTTP/1.1\r\n\r\n")
    await asyncio.wait_for(server.app.entered.wait(), 5)
    server.stop.set()
    await asyncio.wait_for(asyncio.shield(server.running), 5)
    assert server.app.left == ["cancelled"]


async def test_an_address_that_cannot_be_used_is_an_error_for_people(server):
    for host, port in (("127.0.0.1", server.port), ("203.0.113.1", 0), ("no such host", 0)):
        with pytest.raises((Conflict, InvalidRequest), match=host):
            await serve(server.app, host, port)


def test_the_sweep_is_frequent_enough_for_the_shortest_deadline():
    assert GuardLimits().sweep_seconds() <= 1.0
    assert LIMITS.sweep_seconds() == pytest.approx(0.02)
