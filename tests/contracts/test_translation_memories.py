"""Translation memories are kept whole, for their project alone, within their limits, and recalled, on every database."""

import io
import uuid

import pytest

from yunmo.apps.translate.memories import Memories, MemoryLimits
from yunmo.apps.translate.orders import Options, Order
from yunmo.apps.translate.recalling import Recalling
from yunmo.apps.translate.segments import Segment, Tag
from yunmo.core.errors import Conflict, Forbidden, InvalidRequest, NotFound
from yunmo.core.identity import Principal

ACME = Principal("acme", "k", frozenset({"infer"}))
LIMITS = MemoryLimits(memories=2, units=3, file_bytes=2000, name_bytes=10, jobs=4)
SECRET = b"x" * 32


def tmx(*units, source="en"):
    """A file of these units, each a mapping of languages to the inside of their segments."""
    body = "".join(
        "<tu>" + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in unit.items()) + "</tu>" for unit in units
    )
    return f'<tmx version="1.4"><header srclang="{source}"/><body>{body}</body></tmx>'.encode()


HELLO = {"en": "hello", "de": "hallo"}
COUNTED = {"en": 'You have <ph x="1">{n}</ph> of 3 files.', "de": 'Sie haben <ph x="1">{n}</ph> von 3 Dateien.'}


@pytest.fixture
def memories(database):
    return Memories(database, SECRET, LIMITS)


async def bring(memories, content, project="acme", name="words"):
    begun = await memories.begin_import(project, name, len(content))
    await memories.bring_in(begun, io.BytesIO(content))
    return await memories.job(project, begun.id)


async def test_a_memory_comes_in_and_goes_out_with_its_tags(memories):
    ended = await bring(memories, tmx(COUNTED, HELLO, {"de": "a", "fr": "b"}))
    assert (ended.status, ended.skipped) == ("completed", 1)
    memory = await memories.get("acme", ended.memory_id)
    assert (memory.source, memory.targets, memory.unit_count) == ("en", ("de",), 2)
    unit = (await memories.units(memory, 0, 1))[0]
    assert unit.variants["de"] == Segment(("Sie haben ", Tag(1, "alone", "{n}"), " von 3 Dateien."))
    assert [each.number for each in await memories.units(memory, 1, 5)] == [2]
    assert [each.number for each in await memories.units(memory, 0, 5, "HALLO")] == [2]
    assert await memories.units(memory, 0, 5, "HALLO", is_exact=True) == []
    export, was_there = await memories.begin_export("acme", memory.id)
    assert not was_there
    assert await memories.begin_export("acme", memory.id) == (export, True)
    file = io.BytesIO()
    await memories.write_out(export, file)
    again = await bring(memories, file.getvalue(), name="again")
    found = await memories.get("acme", again.memory_id)
    assert await memories.every(found) == await memories.every(memory)


async def test_the_source_is_what_the_file_says_or_what_its_units_begin_with(memories):
    for told, units, source in (
        ("*all*", [HELLO], "en"),
        ("de", [HELLO], "de"),
        ("fr", [HELLO], "en"),
        ("klingon", [{"pt": "a", "en": "b"}], "pt"),
    ):
        ended = await bring(memories, tmx(*units, source=told))
        assert (await memories.get("acme", ended.memory_id)).source == source
        await memories.delete("acme", ended.memory_id)


async def test_another_projects_memory_is_not_there(memories):
    ended = await bring(memories, tmx(HELLO))
    assert await memories.page("other", 0, 10) == []
    for act in (
        memories.get("other", ended.memory_id),
        memories.delete("other", ended.memory_id),
        memories.begin_export("other", ended.memory_id),
        memories.job("other", ended.id),
        memories.get("acme", str(uuid.uuid4())),
    ):
        with pytest.raises(NotFound):
            await act
    assert len(await memories.page("acme", 0, 10)) == 1


async def test_a_file_that_is_not_good_fails_its_job_and_leaves_nothing(memories):
    for content in (b"<html/>", b"<tmx", tmx(), tmx({"en": "alone"}), tmx(*[HELLO] * 4), b"\x00", tmx(HELLO)[:-3]):
        ended = await bring(memories, content)
        assert ended.status == "failed"
        assert ended.error
        await memories._database.write(lambda connection: connection.exec_driver_sql("DELETE FROM translation_memory_job"))
    assert await memories.page("acme", 0, 10) == []


async def test_a_file_that_comes_twice_is_kept_once(memories):
    content = tmx(HELLO)
    begun = await memories.begin_import("acme", "words", len(content))
    for _ in range(2):
        await memories.bring_in(begun, io.BytesIO(content))
    assert len(await memories.page("acme", 0, 10)) == 1


async def test_every_limit_is_kept(memories):
    for name, length in (("", 1), ("x" * 11, 1), ("a", 0), ("a", 2001)):
        with pytest.raises(InvalidRequest):
            await memories.begin_import("acme", name, length)
    ended = [await bring(memories, tmx(HELLO)) for _ in range(3)]
    assert [each.status for each in ended] == ["completed", "completed", "failed"]
    assert "2 memories" in ended[2].error
    await memories.begin_export("acme", ended[0].memory_id)
    with pytest.raises(Conflict, match="4 imports and exports"):
        await memories.begin_import("acme", "words", 1)
    assert (await bring(memories, tmx(HELLO), "other")).status == "completed"


async def test_a_ticket_opens_its_own_job_while_it_holds(database):
    memories = Memories(database, SECRET)
    begun = await memories.begin_import("acme", "words", 1)
    ticket = memories.ticket(begun)
    assert await memories.opened(ticket, "import") == begun
    others = Memories(database, b"y" * 32)
    for wrong, reader in ((ticket, others), (ticket.replace("import", "export"), memories), ("x", memories), (ticket[:-1] + "g", memories)):
        with pytest.raises(Forbidden):
            await reader.opened(wrong, "import")
    with pytest.raises(Forbidden):
        await memories.opened(ticket, "export")
    hasty = Memories(database, SECRET, MemoryLimits(seconds=0))
    late = await hasty.begin_import("acme", "words", 1)
    assert (await hasty.job("acme", late.id)).status == "expired"
    with pytest.raises(Forbidden, match="no longer holds"):
        await hasty.opened(hasty.ticket(late), "import")


async def test_segments_are_recalled_with_their_own_tags_and_numbers(memories):
    ended = await bring(memories, tmx(COUNTED, HELLO))
    wanted = (Segment(("You have ", Tag(7, "alone", "{count}"), " of 12 files.")), Segment(("hello",)), Segment(("good morning",)))
    order = Order(wanted, "de", "en-GB", Options(memory=ended.memory_id))
    recalling = Recalling(memories)
    for _ in range(2):
        found = await recalling.recall(ACME, order, wanted)
        assert found[0] == Segment(("Sie haben ", Tag(7, "alone", "{count}"), " von 12 Dateien."))
        assert found[1:] == [Segment(("hallo",)), None]
    for target, source in (("fr", "en"), ("de", "pt")):
        with pytest.raises(InvalidRequest, match="is from en into de"):
            await recalling.recall(ACME, Order(wanted, target, source, order.options), wanted)
    with pytest.raises(NotFound):
        await recalling.recall(Principal("other", "k", frozenset({"infer"})), order, wanted)
