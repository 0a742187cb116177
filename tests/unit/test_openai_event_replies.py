"""A reply of events cleans up what feeds it, however it ends."""

import asyncio

import pytest

from yunmo.web.replies import event_reply

SCOPE = {"type": "http", "asgi": {"spec_version": "2.3"}}


class Feed:
    def __init__(self, *events):
        self.events = events
        self.ended = False
        self.closed = 0

    async def __call__(self):
        try:
            for event in self.events:
                yield event
            await asyncio.Event().wait()
        finally:
            self.ended = True

    async def close(self):
        await asyncio.sleep(0)  # closing may wait, even though the reply is cancelled
        self.closed += 1


async def test_what_feeds_a_reply_is_closed_when_the_client_leaves_in_between():
    feed, left = Feed(b"data: 1\n\n"), asyncio.Event()

    async def receive():
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            left.set()

    await asyncio.wait_for(event_reply(feed(), closing=feed.close)(SCOPE, receive, send), 5)
    assert (feed.ended, feed.closed) == (True, 1)


async def test_what_feeds_a_reply_is_closed_when_sending_fails_before_the_first_event():
    feed = Feed(b"data: 1\n\n")

    async def receive():
        await asyncio.Event().wait()

    async def send(_message):
        raise OSError("the connection is gone")

    with pytest.raises(OSError, match="gone"):
        await asyncio.wait_for(event_reply(feed(), closing=feed.close)(SCOPE, receive, send), 5)
    assert feed.closed == 1


async def test_what_feeds_a_reply_is_closed_when_the_client_reads_too_slowly_and_is_cut_off():
    feed, stuck = Feed(b"data: 1\n\n"), asyncio.Event()

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        if message.get("body"):
            stuck.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(event_reply(feed(), closing=feed.close)(SCOPE, receive, send))
    await asyncio.wait_for(stuck.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (feed.ended, feed.closed) == (True, 1)
