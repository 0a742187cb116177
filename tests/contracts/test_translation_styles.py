"""Styles are kept whole, for their project alone, within their limits, on every database."""

import asyncio
import uuid

import pytest

from yunmo.apps.translate.styles import StyleLimits, Styles, new_instruction
from yunmo.core.errors import InvalidRequest, NotFound

RULES = {"dates_and_times": {"calendar_era": "use_bc_and_ad"}}
BRIEF = new_instruction("tone", "Be brief.", "de")
LIMITS = StyleLimits(styles=2, instructions=2, prompt_characters=20, name_bytes=10, rules=2, rule_characters=20)


@pytest.fixture
def styles(database):
    return Styles(database, LIMITS)


async def test_a_style_is_told_in_words(styles):
    made = await styles.create("acme", "ours", "de", RULES, [BRIEF])
    assert made.told() == ("Dates and times, calendar era: use bc and ad.", "Be brief.")
    assert await styles.get("acme", made.id) == made
    assert await styles.page("acme", 0, 10) == [made]
    assert await styles.page("acme", 1, 10) == []


async def test_another_projects_style_is_not_there(styles):
    made = await styles.create("acme", "ours", "de", RULES, [BRIEF])
    assert await styles.page("other", 0, 10) == []
    for act in (
        styles.get("other", made.id),
        styles.rename("other", made.id, "mine"),
        styles.choose("other", made.id, {}),
        styles.add("other", made.id, BRIEF),
        styles.revise("other", made.id, BRIEF),
        styles.remove("other", made.id, BRIEF.id),
        styles.delete("other", made.id),
        styles.get("acme", str(uuid.uuid4())),
        styles.revise("acme", made.id, new_instruction("a", "b", "de")),
        styles.remove("acme", made.id, "x"),
    ):
        with pytest.raises(NotFound):
            await act
    assert await styles.get("acme", made.id) == made


async def test_changes_at_once_are_all_kept(database):
    styles = Styles(database)
    made = await styles.create("acme", "ours", "de", {}, [])
    await asyncio.gather(*(styles.add("acme", made.id, new_instruction(f"{n}", "x", "de")) for n in range(8)))
    found = await styles.get("acme", made.id)
    assert (len(found.instructions), found.version) == (8, 9)


async def test_every_limit_is_kept(styles):
    long = new_instruction("a", "x" * 21, "de")
    for name, rules, instructions in (
        ("", {}, []),
        ("x" * 11, {}, []),
        ("a", {}, [BRIEF] * 3),
        ("a", {}, [long]),
        ("a", {}, [new_instruction("a", " ", "de")]),
        ("a", {"x": {"a": "b", "c": "d", "e": "f"}}, []),
        ("a", {"x" * 21: {"a": "b"}}, []),
    ):
        with pytest.raises(InvalidRequest):
            await styles.create("acme", name, "de", rules, instructions)
    made = [await styles.create("acme", "ours", "de", {}, [BRIEF]) for _ in range(2)]
    with pytest.raises(InvalidRequest, match="2 styles"):
        await styles.create("acme", "ours", "de", {}, [])
    with pytest.raises(InvalidRequest, match="UUID"):
        await styles.get("acme", "ours")
    with pytest.raises(InvalidRequest):
        await styles.add("acme", made[0].id, long)
    assert await styles.get("acme", made[0].id) == made[0]
