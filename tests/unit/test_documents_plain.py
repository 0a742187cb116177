import codecs
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from document_trips import document, itself, pseudo, texts, written
from yunmo.apps.translate.documents.encoding import decode, encoding_of
from yunmo.apps.translate.documents.lines import balanced, width
from yunmo.apps.translate.documents.plain import PlainFormat
from yunmo.apps.translate.segments import Tag, segment
from yunmo.core.errors import InvalidRequest

WRAPPED = """The first chapter

  It was the best of times, it was the worst of times, it was the
  age of wisdom, it was the age of foolishness, it was the epoch
  of belief.

* one item of a list that is rather long, as items can be
* another item of the list, which is about as long as it

-----

Short line
Another line\r\n\tLast"""


def test_wrapped_lines_are_one_paragraph_and_items_of_lists_are_not(tmp_path):
    assert texts(document(PlainFormat(), WRAPPED, tmp_path)) == [
        "The first chapter",
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, it was the epoch of belief.",
        "* one item of a list that is rather long, as items can be",
        "* another item of the list, which is about as long as it",
        "Short line",
        "Another line",
        "Last",
    ]


def test_a_wrapped_paragraph_is_wrapped_again_at_its_width_and_indentation(tmp_path):
    read = document(PlainFormat(), WRAPPED, tmp_path)
    done = written(read, {"2": segment(["最好的时代，" * 20])}, tmp_path, "zh-Hans").decode()
    lines = done.split("\n")[2:6]
    assert all(line.startswith("  ") and width(line) <= 66 for line in lines)
    assert "最好的时代，" * 20 in done.replace("\n  ", "")
    assert done.split("-----")[1] == WRAPPED.split("-----")[1]


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "big5", "shift_jis", "euc_kr", "cp1252", "iso2022_jp"],
)
def test_a_text_keeps_its_encoding(tmp_path, encoding):
    words = {
        "big5": "這是一個關於我們如何生活的故事，大家都說很好看。",
        "shift_jis": "これは日本語の文章です。テストのために書かれました。",
        "iso2022_jp": "これは日本語です。",
        "euc_kr": "이것은 한국어 문장입니다. 시험을 위해 쓰였습니다.",
        "cp1252": "Le café est près de la forêt, où l’été s’achève à peine.",
    }
    text = words.get(encoding, "这是一个关于我们如何生活的故事，大家都说很好看。") + "\r\n\r\nText.\n"
    data = text.encode(encoding)
    read = document(PlainFormat(), data, tmp_path)
    assert "".join(texts(read)) == text.replace("\r\n\r\n", "").replace("\n", "")
    assert written(read, itself(read), tmp_path) == data
    assert written(read, {"2": segment(["Words."])}, tmp_path) == text.replace("Text.", "Words.").encode(encoding)


def test_a_text_whose_encoding_lacks_a_character_becomes_utf_8(tmp_path):
    read = document(PlainFormat(), "Le café est près de la forêt.\nEncore une fois, le café près de l'été.".encode("cp1252"), tmp_path)
    assert written(read, {"2": segment(["再来一次"])}, tmp_path) == "Le café est près de la forêt.\n再来一次".encode()


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("gb18030", "打开文件"),
        ("big5", "開啟檔案"),
        ("shift_jis", "ファイルを開く"),
        ("euc_kr", "파일을 열다"),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy."),
        ("cp1251", "Все люди рождаются свободными и равными."),
        ("cp1252", "Müller fährt über die Straße nach Köln."),
        ("cp1253", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι"),
        ("cp1256", "يولد جميع الناس أحرارًا متساوين"),
    ],
)
def test_a_short_text_in_an_old_encoding_is_read(encoding, text):
    assert decode(text.encode(encoding)).text == text


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        assert texts(document(PlainFormat(), "Word".encode(encoding), tmp_path)) == ["Word"]
    assert decode(codecs.BOM_UTF8 + b"a").encode("é") == codecs.BOM_UTF8 + "é".encode()


def test_units_can_be_sliced_and_their_keys_are_their_places(tmp_path):
    read = document(PlainFormat(), "a\nb\nc\n", tmp_path)
    assert [unit.key for unit in read.units[1:]] == ["2", "3"]
    assert read.units[-1].segment.text == "c"
    assert list(read.units) == list(read.units[:])


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"a\0b", "UTF-8"), (b"abc" * 100_000 + b"\n" * 1_000_000 + b"a\xff\xfe\xfd", "throughout"), (b"a" * ((4 << 20) + 1), "break it")],
)
def test_what_is_no_text_is_refused(tmp_path, data, said):
    with pytest.raises(InvalidRequest, match=said):
        document(PlainFormat(), data, tmp_path)


def test_a_translation_with_a_tag_or_for_no_unit_is_refused(tmp_path):
    read = document(PlainFormat(), "a\n", tmp_path)
    with pytest.raises(InvalidRequest, match="tag"):
        read.write({"1": segment([Tag(1, "alone", "x")])}, "de", tmp_path / "out")
    with pytest.raises(InvalidRequest, match="no unit '7'"):
        read.write({"7": segment(["x"])}, "de", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_empty_text_has_no_units(tmp_path):
    read = document(PlainFormat(), b"", tmp_path)
    assert (list(read.units), written(read, {}, tmp_path)) == ([], b"")


BIG = """
import sys
from pathlib import Path
from yunmo.apps.translate.documents.format import FormatOptions
from yunmo.apps.translate.documents.plain import PlainFormat
from yunmo.apps.translate.segments import segment
path = Path(sys.argv[1])
with path.open("wb") as file:
    for number in range(100_000):
        file.write(f"{number} ".encode() + "模型 words ".encode() * 77 + b"\\n")
read = PlainFormat().read(path, FormatOptions())
assert len(read.units) == 100_000 and read.units[99_999].segment.text.startswith("99999 ")
read.write({"50000": segment(["x"])}, "de", path.with_suffix(".out"))
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))  # this program's alone
print(path.stat().st_size, peak)
"""


def test_a_text_of_100_mb_is_translated_in_less_than_300_mb_of_memory(tmp_path):
    done = subprocess.run([sys.executable, "-c", BIG, tmp_path / "big.txt"], capture_output=True, text=True, check=True, timeout=200)
    size, peak = map(int, done.stdout.split())
    assert size > 100_000_000
    assert peak < 300 * 1024


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("ab .\n\r\t-中é") | st.characters(exclude_characters="\0", codec="utf-8"), max_size=300))
def test_any_text_is_the_same_bytes_by_itself(tmp_path, text):
    read = document(PlainFormat(), text, tmp_path)
    assert written(read, itself(read), tmp_path) == text.encode()
    done = written(read, pseudo(read), tmp_path).decode()
    assert done.count("a") == 2 * text.count("a")


def test_the_encoding_of_a_beginning_may_cut_a_character():
    assert encoding_of("汉字".encode()[:-1]) == ("utf-8", b"")


def test_lines_are_balanced_and_never_begin_with_a_sign_that_ends_a_sentence():
    assert balanced("one two three four five six", 20, 2) == ["one two three", "four five six"]
    assert balanced("short", 20, 2) == ["short"]
    assert balanced("今天的天气非常好，我们一起去公园吧。", 20, 2) == ["今天的天气非常好，", "我们一起去公园吧。"]
    assert balanced("word " * 100, 42, 2) == [("word " * 50).strip()] * 2
    assert balanced("a" * 100, 42, 2) == ["a" * 100]
    assert width("中文a") == 5
