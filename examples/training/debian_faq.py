"""Debian's frequently asked questions with their answers, in English and Chinese, as chats.

    python examples/training/debian_faq.py [--baseline]

Rows: {"messages": [{"role": "user", …}, {"role": "assistant", …}]}. Sections of the two editions are the same question if they have the
same anchor; a question's two languages are on one side of the split. A title that is no question has the one above it before it.
Answers longer than 300 tokens of SmolLM2 are cut behind a paragraph, an item of a list or a sentence.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dataset import DataSet, Packages, run
from ngrams import measure
from pages import HEADINGS, Block, blocks, han_characters
from smollm2 import token_counter
from sources import debian, members
from splitting import split

LICENCE = "the Debian FAQ's own: copies and changed copies are allowed under the same notice"
SOURCES = {"en": debian("debian-faq", LICENCE), "zh": debian("debian-faq-zh-cn", LICENCE)}
PAGES = {"en": ".en.html", "zh": ".zh-cn.html"}
HELD_OUT_SHARE = 0.15
ANSWER_TOKENS = 300

_NUMBER = re.compile(r"^(Chapter \d+\.|第 \d+ 章|[\d.]+)\s*")
_QUESTION_MARK = re.compile("[?？]")
_ANNOUNCING = (":", "：")
_SENTENCE_ENDS = re.compile(r"(?<=[。！？])|(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class Section:
    """A question, and its answer's paragraphs, items and pieces of code."""

    anchor: str
    question: str
    answer: tuple[Block, ...]


def build(packages: Packages) -> DataSet:
    """Read both editions, align, cut and split."""
    editions = {
        language: {each.anchor: each for _, page in members(packages[source], PAGES[language]) for each in sections(page.decode("utf-8"))}
        for language, source in SOURCES.items()
    }
    anchors = [anchor for anchor in editions["en"] if anchor in editions["zh"]]
    tokens = token_counter()
    rows, cut = [], dict.fromkeys(editions, 0)
    for anchor in anchors:
        for language, edition in editions.items():
            answer, is_cut = shortened(edition[anchor].answer, ANSWER_TOKENS, tokens)
            cut[language] += is_cut
            rows.append((anchor, _chat(edition[anchor].question, answer)))
    train, valid = split(rows, lambda row: row[0], HELD_OUT_SHARE, "debian_faq")
    return DataSet(
        name="debian_faq",
        title="Debian's frequently asked questions, in English and Chinese",
        languages=("en", "zh"),
        sources=tuple(SOURCES.values()),
        train=[row for _, row in train],
        valid=[row for _, row in valid],
        counts={
            "sections in English": len(editions["en"]),
            "questions in both languages": len(anchors),
            "of them held out": len({anchor for anchor, _ in valid}),
            f"English answers cut to {ANSWER_TOKENS} tokens": cut["en"],
            f"Chinese answers cut to {ANSWER_TOKENS} tokens": cut["zh"],
        },
    )


def sections(page: str) -> Iterator[Section]:
    """The page's sections that have an anchor and something to say, without their numbers."""
    above: dict[str, str] = {}
    anchor, question, answer = "", "", list[Block]()
    for block in [*blocks(page), Block("h1", "")]:
        if block.tag not in HEADINGS:
            answer.append(block)
            continue
        if anchor and answer:
            yield Section(anchor, question, tuple(answer))
        title = _NUMBER.sub("", block.text)
        above = {tag: text for tag, text in above.items() if tag < block.tag} | {block.tag: title}
        anchor, answer = (block.id if block.tag != "h1" else ""), []
        question = title if _QUESTION_MARK.search(title) else " – ".join(list(above.values())[-2:])


def shortened(answer: Sequence[Block], limit: int, tokens: Callable[[str], int]) -> tuple[str, bool]:
    """The answer as text of at most `limit` tokens, and whether something is missing: whole blocks, of the first one whole sentences."""
    kept = list[Block]()
    for block in answer:
        if tokens(_text_of([*kept, block])) > limit:
            while kept and kept[-1].text.endswith(_ANNOUNCING):
                kept.pop()
            return _text_of(kept) or _whole_sentences(block.text, limit, tokens), True
        kept.append(block)
    return _text_of(kept), False


def baseline(made: DataSet) -> Mapping[str, str]:
    """N-grams of what is learned from; of the rows held out the answers are measured, given their questions. By language."""
    figures = {}
    for language, is_chinese in (("English", False), ("Chinese", True)):
        train, valid = ([_turns(row) for row in part if bool(han_characters(str(row))) == is_chinese] for part in (made.train, made.valid))
        learned = measure(
            [question + answer for question, answer in train], [answer for _, answer in valid], [question for question, _ in valid]
        )
        figures |= {f"{language} answers, {model}": figure for model, figure in learned.items()}
    return figures


def _text_of(answer: Sequence[Block]) -> str:
    pieces = [(("\n- " if block.is_item else "\n\n") + block.text) for block in answer]
    return "".join(pieces).removeprefix("\n").removeprefix("\n")


def _whole_sentences(text: str, limit: int, tokens: Callable[[str], int]) -> str:
    kept = ""
    for sentence in _SENTENCE_ENDS.split(text):
        if kept and tokens(kept + sentence) > limit:
            break
        kept += sentence if not kept or kept[-1] in "。！？" else f" {sentence}"
    return kept


def _chat(question: str, answer: str) -> dict[str, list[dict[str, str]]]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def _turns(row: Mapping[str, Sequence[Mapping[str, str]]]) -> tuple[str, str]:
    question, answer = (message["content"] for message in row["messages"])
    return f"{question}\n", answer


if __name__ == "__main__":
    run(__doc__, build, baseline)
