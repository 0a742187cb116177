import asyncio
import socket
import struct

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core.engine import Adapter, Plan
from yunmo.core.tasks import Chat, Classify, Label, Labels, Message, TextDelta
from yunmo.core.usage import Usage
from yunmo.runtime.wire import FRAME_LIMIT_BYTES, Cancel, Chunk, Failed, Final, FromWorker, Load, Ping, Submit, ToWorker, Wire


class _Ends:
    """Both ends of a wire, and what each heard."""

    async def open(self) -> "_Ends":
        self.to_worker: list[ToWorker] = []
        self.to_gateway: list[FromWorker] = []
        self.worker_closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.gateway_closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.gateway = Wire.of_gateway(self.to_gateway.append, self.gateway_closed.set_result)
        self.worker = Wire.of_worker(self.to_worker.append, self.worker_closed.set_result)
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self.gateway, sock=ours)
        await loop.create_connection(lambda: self.worker, sock=theirs)
        return self


async def _until(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - polls what the wire's callbacks gather
            await asyncio.sleep(0)


async def test_every_kind_of_message_arrives_as_it_was_sent():
    ends = await _Ends().open()
    down = [
        Load(1, "echo", "/model", "/derived", Plan(engine="echo", options={"delay_seconds": 0.5})),
        Load(1, "echo", "/model", "/derived", Plan(engine="echo"), (Adapter("one", "/one"),)),
        Submit(1, Classify(texts=("good", ("a", "pair")))),
        Submit(2, Chat(messages=(Message("user", "你好"),))),
        Cancel(2),
        Ping(),
    ]
    up = [
        Chunk(1, Labels(rows=((Label("pos", 0.5),),))),
        Final(1, Usage(3, 4), TextDelta(text="x", finish_reason="stop")),
        Failed(2, "engine_failed", "no", "texts"),
    ]
    for message in down:
        ends.gateway.send(message)
    for message in up:
        ends.worker.send(message)
    await _until(lambda: len(ends.to_worker) == len(down) and len(ends.to_gateway) == len(up))
    assert ends.to_worker == down
    assert ends.to_gateway == up
    ends.gateway.close()
    await ends.worker_closed


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=20), st.lists(st.integers(1, 37), min_size=1, max_size=50))
@settings(max_examples=60, deadline=None)
def test_frames_survive_any_cutting_of_the_stream(payloads, cuts):
    heard: list[ToWorker] = []
    wire = Wire.of_worker(heard.append, lambda _: None)
    sent = [Submit(number, Classify(texts=(payload.hex(),))) for number, payload in enumerate(payloads)]
    stream = b"".join(struct.pack(">I", len(body)) + body for body in map(msgspec.msgpack.encode, sent))
    at, turn = 0, 0
    while at < len(stream):
        step = cuts[turn % len(cuts)]
        wire.data_received(stream[at : at + step])
        at, turn = at + step, turn + 1
    assert heard == sent


@given(st.binary(min_size=1, max_size=200))
@settings(max_examples=200, deadline=None)
def test_garbage_closes_the_wire_and_is_never_heard(garbage):
    async def scenario():
        ends = await _Ends().open()
        ends.gateway._transport.write(struct.pack(">I", len(garbage)) + garbage)
        ends.gateway._transport.close()
        await asyncio.wait_for(ends.worker_closed, 5)
        for message in ends.to_worker:
            assert isinstance(message, ToWorker)

    asyncio.run(scenario())


async def test_a_frame_over_the_limit_closes_the_wire_before_it_is_read():
    ends = await _Ends().open()
    ends.gateway._transport.write(struct.pack(">I", FRAME_LIMIT_BYTES + 1))
    assert "over the limit" in await asyncio.wait_for(ends.worker_closed, 5) or ends.worker_closed.done()
    assert ends.to_worker == []


async def test_a_message_after_the_end_is_dropped():
    ends = await _Ends().open()
    ends.worker.close()
    await ends.gateway_closed
    ends.gateway.send(Ping())
    assert ends.to_worker == []
