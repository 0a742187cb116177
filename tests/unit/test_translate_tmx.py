"""TMX files, read within limits and written."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunmo.apps.translate.segments import Tag, segment
from yunmo.apps.translate.tmx import Limits, Unit, read, write
from yunmo.core.errors import InvalidRequest, TooLarge

FOREIGN = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4">
<header creationtool="Other" creationtoolversion="9" segtype="sentence" o-tmf="x" adminlang="en" srclang="en-US" datatype="html">
<note>no text</note></header>
<body>
<tu tuid="1"><prop type="domain">web</prop>
<tuv xml:lang="EN-US"><seg>Press <bpt i="1" x="1">&lt;b&gt;</bpt>OK<ept i="1">&lt;/b&gt;</ept> or <ph x="1">{name}</ph> &amp; <hi>go</hi></seg></tuv>
<tuv xml:lang="zh_CN"><seg><ph x="1">{name}</ph>或按<bpt i="1" x="1">&lt;b&gt;</bpt>确定<ept i="1">&lt;/b&gt;</ept></seg></tuv>
<tuv xml:lang="x-unknown"><seg>…</seg></tuv>
</tu>
<tu><tuv lang="en"><seg>Only one</seg></tuv></tu>
<tu><tuv lang="en"><seg>A<it pos="begin" x="2">&lt;i&gt;</it>B<ph>c<sub>d</sub></ph></seg></tuv><tuv lang="de"><seg>A</seg></tuv></tu>
</body></tmx>"""


def units(text, limits=None):
    return list(read(io.BytesIO(text if isinstance(text, bytes) else text.encode()), limits))


def written(*given):
    file = io.BytesIO()
    write(file, given, "en")
    return file.getvalue()


def test_files_of_other_tools_are_read_with_their_inline_tags():
    first, second = units(FOREIGN)
    bold, end, name = Tag(1, "open", "<b>"), Tag(1, "close", "</b>"), Tag(2, "alone", "{name}")
    assert set(first.variants) == {"en-US", "zh-Hans"}
    assert first.variants["zh-Hans"] == segment([name, "或按", bold, "确定", end])
    assert first.variants["en-US"].parts[:7] == ("Press ", bold, "OK", end, " or ", name, " & ")
    assert [tag.kind for tag in first.variants["en-US"].tags[3:]] == ["open", "close"]
    assert second.variants["en"] == segment(["A", Tag(2, "open", "<i>"), "B", Tag(3, "alone", "cd")])


def test_utf_16_is_read():
    assert len(units(FOREIGN.replace("UTF-8", "UTF-16").encode("utf-16"))) == 2


def test_units_come_while_the_file_is_read():
    class Endless(io.RawIOBase):
        blocks = 0

        def read(self, size):
            self.blocks += 1
            return b"<tmx><body>" if self.blocks == 1 else b"<tu><tuv lang='en'><seg>a</seg></tuv><tuv lang='de'><seg>b</seg></tuv></tu>"

    file = Endless()
    assert next(read(file)).variants["de"] == segment(["b"])
    assert file.blocks < 5
    with pytest.raises(TooLarge, match="more than 100 units"):
        list(read(Endless(), Limits(units=100)))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("", "damaged"),
        ("hello", "damaged"),
        ("<html><body/></html>", "begins with <html>"),
        (FOREIGN[:-40], "damaged"),
        ('<!DOCTYPE tmx [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><tmx><body>&b;</body></tmx>', "entities"),
        ('<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/passwd">]><tmx><body>&a;</body></tmx>', "entities"),
        ('<!DOCTYPE tmx [<!ENTITY % a SYSTEM "http://127.0.0.1/x">%a;]><tmx/>', "entities"),
        ('<!DOCTYPE tmx SYSTEM "tmx14.dtd"><tmx><body>&unknown;</body></tmx>', "entities"),
        ("<tmx>" + "<a>" * 100, "nests"),
        (b"<tmx>\xff\xfe", "damaged"),
    ],
)
def test_what_is_no_sound_tmx_is_refused_with_the_reason(file, message):
    with pytest.raises(InvalidRequest, match=message):
        units(file)


def test_files_and_texts_over_the_limits_are_refused():
    with pytest.raises(TooLarge, match="larger than 100 bytes"):
        units(FOREIGN, Limits(bytes=100))
    with pytest.raises(TooLarge, match="more than 10 characters"):
        units(FOREIGN, Limits(characters=10))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map("a{}".format)


@st.composite
def variants(draw):
    """Two texts with the same tags: a pair around some of it, things alone."""
    names = draw(st.lists(TEXT, max_size=3))
    alone = [Tag(number + 10, "alone", name) for number, name in enumerate(names)]
    pair = [Tag(1, "open", draw(TEXT)), draw(TEXT), Tag(1, "close", "")] if draw(st.booleans()) else []
    half = [Tag(5, draw(st.sampled_from(["open", "close"])), "h")] if draw(st.booleans()) else []
    return Unit({"en": segment([draw(TEXT), *pair, *alone, *half]), "zh-Hans": segment([*reversed(alone), draw(TEXT), *pair, *half])})


@given(st.lists(variants(), max_size=3))
def test_what_is_written_is_read_again(given):
    again = units(written(*given))
    assert len(again) == len(given)
    for one, other in zip(given, again, strict=True):
        for code, expected in one.variants.items():
            assert carried(other.variants[code]) == carried(expected)


def carried(one):
    """What XML can carry of a segment."""
    sound = {code: None for code in [*range(32), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)] if code not in {9, 10, 13}}
    return segment(
        part.translate(sound) if isinstance(part, str) else Tag(part.id, part.kind, part.text.translate(sound)) for part in one.parts
    )
