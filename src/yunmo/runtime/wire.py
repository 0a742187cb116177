"""The wire between the gateway and a worker: length-prefixed msgpack frames over a stream socket. No pickle, ever.

A frame is a big-endian u32 length and one message. Frames written in one turn of the event loop leave in one system call.
"""

import asyncio
import struct
from collections.abc import Callable
from typing import cast

import msgspec

from yunmo.core.engine import Adapter, Draft, Plan
from yunmo.core.tasks import AnyOutput, AnyRequest
from yunmo.core.training import TrainerOutput, TrainerRequest
from yunmo.core.usage import Usage

PROTOCOL = 5
FRAME_LIMIT_BYTES = 256 * 1024 * 1024
_HIGH_WATER_BYTES = 256 * 1024


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """The root of every message."""


class Load(_Message, frozen=True, tag=1):
    """Gateway → worker, first: what to load. A worker of another protocol answers with LoadFailed."""

    protocol: int
    engine: str
    directory: str
    derived: str
    plan: Plan
    adapters: tuple[Adapter, ...] = ()
    draft: Draft | None = None


class Submit(_Message, frozen=True, tag=2):
    """Gateway → worker: answer this; what `can_wait` comes behind all that cannot."""

    id: int
    request: AnyRequest | TrainerRequest
    can_wait: bool = False


class Cancel(_Message, frozen=True, tag=3):
    """Gateway → worker: nobody waits for this any more. The worker still answers with Final, for the usage."""

    id: int


class Ping(_Message, frozen=True, tag=4):
    """Gateway → worker: a request for a sign of life."""


class Hello(_Message, frozen=True, tag=10):
    """Worker → gateway, first."""

    protocol: int
    version: str
    pid: int


class Loading(_Message, frozen=True, tag=11):
    """Worker → gateway: how far loading is; share from 0 to 1."""

    step: str
    share: float


class Ready(_Message, frozen=True, tag=12):
    """Worker → gateway: requests may come."""

    tasks: tuple[str, ...]
    resident_bytes: int


class LoadFailed(_Message, frozen=True, tag=13):
    """Worker → gateway: loading is over; the worker ends."""

    code: str
    message: str


class Chunk(_Message, frozen=True, tag=14):
    """Worker → gateway: a piece of the answer; `spent` is the price until here where it is news, in case the worker dies."""

    id: int
    output: AnyOutput | TrainerOutput
    spent: Usage | None = None


class Final(_Message, frozen=True, tag=15):
    """Worker → gateway: the answer has ended; `output` is its last piece, if it has not been sent."""

    id: int
    usage: Usage
    output: AnyOutput | TrainerOutput | None = None


class Failed(_Message, frozen=True, tag=16):
    """Worker → gateway: no answer, and why."""

    id: int
    code: str
    message: str
    param: str | None = None
    usage: Usage = Usage()


class Pong(_Message, frozen=True, tag=17):
    """Worker → gateway: here I am, and this much memory I take, in bytes."""

    resident_bytes: int


ToWorker = Load | Submit | Cancel | Ping
FromWorker = Hello | Loading | Ready | LoadFailed | Chunk | Final | Failed | Pong

_encode = msgspec.msgpack.Encoder().encode
_decode_to_worker = msgspec.msgpack.Decoder(ToWorker).decode
_decode_from_worker = msgspec.msgpack.Decoder(FromWorker).decode


class Wire(asyncio.Protocol):
    """One end of the wire. Calls `received` for each message and `closed` once, with the reason.

    A frame that is too long or cannot be decoded closes the connection: the other end is broken or not ours.
    """

    def __init__(
        self,
        decode: Callable[[memoryview], ToWorker | FromWorker],
        received: Callable[[ToWorker | FromWorker], None],
        closed: Callable[[str], None],
    ) -> None:
        self._decode = decode
        self._received = received
        self._closed = closed
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[bytes] = []
        self._reason = "the connection was closed"
        self._room = asyncio.Event()
        self._room.set()

    @classmethod
    def of_gateway(cls, received: Callable[[FromWorker], None], closed: Callable[[str], None]) -> "Wire":
        """The gateway's end."""
        return cls(_decode_from_worker, received, closed)  # type: ignore[arg-type]

    @classmethod
    def of_worker(cls, received: Callable[[ToWorker], None], closed: Callable[[str], None]) -> "Wire":
        """The worker's end."""
        return cls(_decode_to_worker, received, closed)  # type: ignore[arg-type]

    def send(self, message: ToWorker | FromWorker) -> None:
        """Put the message on the wire with the others of this turn of the loop; dropped when the wire is closed."""
        if self._transport is None:
            return
        body = _encode(message)
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(struct.pack(">I", len(body)))
        self._outgoing.append(body)

    async def has_room(self) -> None:
        """Wait while the other end reads slower than this one writes."""
        await self._room.wait()

    def close(self) -> None:
        """Write what is left and close."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames."""
        self._buffer += data
        start, end = 0, len(self._buffer)
        view = memoryview(self._buffer)
        try:
            while end - start >= 4:
                (length,) = struct.unpack_from(">I", view, start)
                if length > FRAME_LIMIT_BYTES:
                    self._break(f"a frame of {length} bytes is over the limit of {FRAME_LIMIT_BYTES}")
                    return
                if end - start - 4 < length:
                    break
                try:
                    message = self._decode(view[start + 4 : start + 4 + length])
                except msgspec.MsgspecError as error:
                    self._break(f"a frame could not be read: {error}")
                    return
                start += 4 + length
                self._received(message)
        finally:
            view.release()
        del self._buffer[:start]

    def pause_writing(self) -> None:
        """Too much is waiting to be read at the other end."""
        self._room.clear()

    def resume_writing(self) -> None:
        """The other end has caught up."""
        self._room.set()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the owner, once."""
        self._transport = None
        self._room.set()
        self._closed(str(error) if error else self._reason)

    def _flush(self) -> None:
        if self._transport is not None and self._outgoing:
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _break(self, reason: str) -> None:
        self._reason = reason
        if self._transport is not None:
            self._transport.abort()
