import re
import time

import pysubs2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from document_trips import document, itself, pseudo, pseudo_segment, texts, written
from yunmo.apps.translate.documents.lines import width
from yunmo.apps.translate.documents.subtitles import SRT, VTT, AssFormat
from yunmo.apps.translate.segments import segment

FILM = """\ufeff1\r
00:00:01,000 --> 00:00:02,500\r
{\\an8}<i>It was a very long sentence\r
that went on & on,</i>\r
\r
2\r
00:00:03,000 --> 00:00:04,000 X1:0\r
- Who is it?\r
- <b>Me</b> & you < 3\r
\r
\r
3\r
00:00:05,000 --> 00:00:06,000\r
\r
4\r
00:00:07,000 --> 00:00:08,000\r
Ninety-nine\r
99\r
5\r
00:00:09,000 --> 00:00:10,000\r
♪ ♪"""

WEB = """WEBVTT - A film

STYLE
::cue(b) { color: red }

NOTE a comment that stays

REGION
id:fred

intro
00:01.000 --> 00:02.000 align:start line:0
<v Roger Bingham>We are &lt;in&gt; <c.loud>New York</c> <00:01.500>City

00:03.000 --> 00:04.000
R&amp;D
"""

ASS = """[Script Info]
Title: Film
; a comment

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,Not spoken
Dialogue: 0,0:00:01.00,0:00:02.00,Default,Ann,0,0,0,,{\\pos(1,2)}Hello, {\\b1}world{\\b0}\\Nand all
Dialogue: 0,0:00:02.00,0:00:03.00,Default,,0,0,0,,{\\p1}m 0 0 l 1 1 b{\\p0}Caption\\hhere
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,- Yes.\\N- No.
"""


def test_cues_are_units_with_their_formats_as_tags(tmp_path):
    film = document(SRT, FILM, tmp_path)
    assert texts(film) == ["It was a very long sentence that went on & on,", "- Who is it?- Me & you < 3", "Ninety-nine 99"]
    assert [tag.text for tag in film.units[1].segment.tags] == ["\r\n", "<b>", "</b>"]
    assert (film.units[1].note, film.units[1].limit) == ("subtitle 2", 42)
    assert texts(document(VTT, WEB, tmp_path)) == ["We are <in> New York City", "R&D"]
    assert texts(document(AssFormat(), ASS, tmp_path)) == ["Hello, world and all", "Captionhere", "- Yes.- No."]


@pytest.mark.parametrize(("format_", "text"), [(SRT, FILM), (VTT, WEB), (AssFormat(), ASS)])
def test_subtitles_translated_by_themselves_are_the_same_bytes(tmp_path, format_, text):
    read = document(format_, text, tmp_path)
    assert written(read, itself(read), tmp_path) == text.encode()


@pytest.mark.parametrize(("format_", "text"), [(SRT, FILM), (VTT, WEB), (AssFormat(), ASS)])
def test_another_parser_finds_the_same_cues_and_times_after_a_translation(tmp_path, format_, text):
    read = document(format_, text, tmp_path)
    done = written(read, pseudo(read), tmp_path).decode()
    before, after = (pysubs2.SSAFile.from_string(each.removeprefix("\ufeff"), format_.extensions[0][1:]) for each in (text, done))
    assert [(cue.start, cue.end, cue.type, cue.name) for cue in before] == [(cue.start, cue.end, cue.type, cue.name) for cue in after]
    for old, new in zip(before, after, strict=True):
        assert old.is_comment or old.plaintext.count("e") * 2 == new.plaintext.count("e") or "\\p1" in old.text
    assert [line for line in done.splitlines() if "-->" in line] == [line for line in text.splitlines() if "-->" in line]


def test_what_is_no_cue_stays(tmp_path):
    done = written(read := document(VTT, WEB, tmp_path), pseudo(read), tmp_path).decode()
    assert done.split("intro")[0] == WEB.split("intro", maxsplit=1)[0]
    assert "<v Roger Bingham>WWee aarree &lt;iinn&gt;\n<c.loud>NNeeww YYoorrkk</c> <00:01.500>CCiittyy\n" in done
    done = written(read := document(AssFormat(), ASS, tmp_path), pseudo(read), tmp_path).decode()
    assert "{\\pos(1,2)}HHeelllloo, {\\b1}wwoorrlldd{\\b0} aanndd aallll\n" in done
    assert "{\\p1}m 0 0 l 1 1 b{\\p0}CCaappttiioonn\\hhheerree" in done
    assert "- YYeess.\\N- NNoo." in done


def test_lines_are_balanced_anew_two_at_most_and_chinese_counts_double(tmp_path):
    film = document(SRT, FILM, tmp_path)
    long = written(film, {"1": segment(["今天的天气非常好，我们一起去公园吧，好不好，亲爱的朋友们？"])}, tmp_path, "zh-Hans").decode()
    lines = long.split("\r\n\r\n")[0].split("\r\n")[2:]
    assert len(lines) == 2
    assert all(width(line.removeprefix("{\\an8}<i>").removesuffix("</i>")) <= 42 for line in lines)
    short = written(film, {"1": segment(["短句"])}, tmp_path, "zh-Hans").decode()
    assert "{\\an8}<i>短句</i>\r\n\r\n2" in short


def test_a_line_break_in_a_translation_breaks_no_cue(tmp_path):
    film = document(SRT, FILM, tmp_path)
    done = written(
        film,
        {
            key: pseudo_segment(unit.segment, lambda text: text + "\n\n7\n00:00:01,000 --> 00:00:02,000\n")
            for unit in film.units
            for key in [unit.key]
        },
        tmp_path,
    )
    assert len([line for line in done.splitlines() if line.endswith(b"00") and b" --> " in line and line.startswith(b"00")]) == 4


@pytest.mark.parametrize(
    "words",
    [" " * 200_000 + "x", "<i>" * 50_000 + "x", "<" * 100_000 + "x", "{" * 100_000 + "x", "1:" * 100_000],
    ids=lambda words: words[:3],
)
@pytest.mark.parametrize("format_", [SRT, AssFormat()], ids=["srt", "ass"])
def test_subtitles_that_are_made_to_do_harm_are_read_in_time(tmp_path, format_, words):
    started = time.process_time()
    head = "1\n00:00:01,000 --> 00:00:02,000\n- a\n" if format_ is SRT else "Format: Text\nDialogue: - a\\N"
    read = document(format_, head + words, tmp_path)
    assert written(read, itself(read), tmp_path).decode() == head + words
    written(read, pseudo(read), tmp_path)
    assert time.process_time() - started < 10


_LINE = st.text(st.sampled_from("ab c.é中!-<>{}&1"), min_size=1, max_size=40).filter(lambda line: line.strip())


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cues=st.lists(st.lists(_LINE, min_size=1, max_size=3), min_size=1, max_size=6), newline=st.sampled_from(["\n", "\r\n"]))
def test_any_subtitles_keep_their_cues(tmp_path, cues, newline):
    text = "".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},500\n" + "\n".join(lines) + "\n\n" for n, lines in enumerate(cues, 1)).replace(
        "\n", newline
    )
    read = document(SRT, text, tmp_path)
    assert written(read, itself(read), tmp_path) == text.encode()
    done = written(read, pseudo(read), tmp_path).decode()
    blocks = [block.split(newline) for block in done.split(newline * 2) if block]
    assert [block[:2] for block in blocks] == [[str(n), f"00:00:0{n},000 --> 00:00:0{n},500"] for n in range(1, len(cues) + 1)]
    for lines, block in zip(cues, blocks, strict=True):
        if not re.search("[<{]", "".join(lines)):
            assert "".join(block[2:]).count("b") == 2 * "".join(lines).count("b")
