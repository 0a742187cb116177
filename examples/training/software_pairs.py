"""More than 100,000 pairs of English and Chinese from the messages and help pages of free programs, to train a translator with.

    python examples/training/software_pairs.py [--baseline]

Rows: {"source": English, "target": Chinese}. Whole programs are held out: what is measured is a program that the model has not seen. Of
those, messages whose English or Chinese other programs have too (compared by letters and digits) are left out.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from catalogues import cleaned, messages
from dataset import DataSet, Packages, run
from pages import blocks
from sources import Source, debian, members
from splitting import first_of_each, normal

HELP = (debian("libreoffice-help-en-us", "MPL-2.0"), debian("libreoffice-help-zh-cn", "MPL-2.0"))
_LICENCES = {
    "MPL-2.0": "libreoffice-l10n-zh-cn",
    "GPL-2+": """apt aptitude-common blender-data digikam-data dolphin dpkg freeciv-data geany-common gnome-control-center-data
        gnome-software-common gnucash-common gramps inkscape kdenlive-data kmymoney-common konsole network-manager-gnome pidgin-data
        plasma-workspace-data rhythmbox-data util-linux-locales vlc-l10n wordpress-l10n wesnoth-1.16-did wesnoth-1.16-dm wesnoth-1.16-dw
        wesnoth-1.16-ei wesnoth-1.16-httt wesnoth-1.16-l wesnoth-1.16-low wesnoth-1.16-nr wesnoth-1.16-sof wesnoth-1.16-sota
        wesnoth-1.16-sotbe wesnoth-1.16-thot wesnoth-1.16-trow wesnoth-1.16-tsg wesnoth-1.16-ttb wesnoth-1.16-utbs""",
    "GPL-2": "e2fsprogs-l10n gedit-common git phpmyadmin",
    "GPL-2 or GPL-3": "gnumeric-common",
    "GPL-2+ or CC-BY-3.0": "audacity-data",
    "GPL-2+ and LGPL-2+, by part": "calligra-data kdevelop-l10n krita-l10n",
    "GPL-3+": "bash binutils-common coreutils darktable gcc-12-locales gimp-data gnupg-l10n libgimp2.0 nano nautilus-data tar",
    "LGPL-2 or LGPL-3": "evolution-common",
    "LGPL-2+, parts LGPL-2.1+": "iso-codes libglib2.0-data libgtk-3-common libgtk-4-common",
}
_HELD_OUT_NAMES = {"aptitude-common", "evolution-common", "geany-common", "nautilus-data", "pidgin-data", "wesnoth-1.16-httt"}
_PROGRAMS = [debian(name, licence) for licence, names in _LICENCES.items() for name in names.split()]
LEARNED = tuple(source for source in _PROGRAMS if source.name not in _HELD_OUT_NAMES)
HELD_OUT = tuple(source for source in _PROGRAMS if source.name in _HELD_OUT_NAMES)

_CHINESE = ("/zh_CN/", "/zh_HANS/", "/zh_Hans/", "zh_CN.mo")
_PAGES_OF_HELP = "/text/"

Pair = tuple[str, str]


def build(packages: Packages) -> DataSet:
    """Read all packages, clean, deduplicate, and take out of the held-out ones what is in the others."""
    learned = list(help_pairs(packages[HELP[0]], packages[HELP[1]]))
    of_help = len(set(learned))
    for source in LEARNED:
        learned += _told(source, package_pairs(packages[source]))
    held_out = [pair for source in HELD_OUT for pair in _told(source, package_pairs(packages[source]))]
    train = first_of_each(learned, lambda pair: pair)
    valid = unseen(first_of_each(held_out, lambda pair: normal(pair[0])), train)
    return DataSet(
        name="software_pairs",
        title="English and Chinese messages and help pages of free programs",
        languages=("en", "zh"),
        sources=(*HELP, *LEARNED, *HELD_OUT),
        train=[_row(pair) for pair in train],
        valid=[_row(pair) for pair in valid],
        counts={
            "unique pairs": len({*train, *held_out}),
            "of them from help pages": of_help,
            "pairs of train with at least 4 English words": sum(len(english.split()) >= 4 for english, _ in train),
            "English words of train": sum(len(english.split()) for english, _ in train),
            "Chinese-side characters of train": sum(len(chinese) for _, chinese in train),
            "packages": len(HELP) + len(LEARNED) + len(HELD_OUT),
            "of them held out": f"{len(HELD_OUT)} ({', '.join(source.name for source in HELD_OUT)})",
            "unique pairs of the packages held out": len(set(held_out)),
        },
    )


def package_pairs(package: Path) -> Iterator[Pair]:
    """The pairs of a package's catalogues for simplified Chinese."""
    for name, content in members(package, ".mo"):
        if any(mark in name for mark in _CHINESE):
            yield from _cleaned(messages(content))


def help_pairs(english: Path, chinese: Path) -> Iterator[Pair]:
    """Paragraphs of LibreOffice's help that have the same name on the page of the same name."""
    pages = {_page(name): _paragraphs(content) for name, content in members(english, ".html") if _PAGES_OF_HELP in name}
    for name, content in members(chinese, ".html"):
        paragraphs = _paragraphs(content) if _PAGES_OF_HELP in name else {}
        originals = pages.get(_page(name), {})
        yield from _cleaned((originals[each], text) for each, text in paragraphs.items() if each in originals)


def unseen(held_out: Iterable[Pair], learned: Iterable[Pair]) -> list[Pair]:
    """The held-out pairs of which neither side is in the others, whatever its case and punctuation."""
    seen = {normal(side) for pair in learned for side in pair}
    return [pair for pair in held_out if not seen & {normal(side) for side in pair}]


def baseline(made: DataSet) -> Mapping[str, str]:
    """A translation memory: of the message learned that is most like it (TF-IDF of runs of characters) the translation as it is."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, min_df=2)
    learned = vectorizer.fit_transform(row["source"] for row in made.train)
    answers = []
    for start in range(0, len(made.valid), 200):
        asked = vectorizer.transform([row["source"] for row in made.valid[start : start + 200]])
        nearest = (asked @ learned.T).tocsr()
        answers += [made.train[int(row.indices[row.data.argmax()]) if row.nnz else 0]["target"] for row in nearest]
    return scores(answers, [row["target"] for row in made.valid])


def scores(answers: list[str], references: list[str]) -> Mapping[str, str]:
    """chrF2 and BLEU over Chinese characters, sacrebleu's. Exits if it is not installed."""
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        sys.exit("The scores of translations need sacrebleu: pip install sacrebleu")
    figures = {"chrF2": CHRF().corpus_score(answers, [references]), "BLEU (zh)": BLEU(tokenize="zh").corpus_score(answers, [references])}
    return {f"nearest message's translation, {name}": f"{figure.score:.1f}" for name, figure in figures.items()}


def _paragraphs(content: bytes) -> dict[str, str]:
    return {block.id: block.text for block in blocks(content.decode("utf-8")) if block.id.startswith(("par_", "hd_"))}


def _page(name: str) -> str:
    return name.partition(_PAGES_OF_HELP)[2]


def _cleaned(pairs: Iterable[Pair]) -> Iterator[Pair]:
    for english, chinese in pairs:
        pair = cleaned(english, chinese)
        if pair is not None:
            yield pair


def _told(source: Source, pairs: Iterable[Pair]) -> list[Pair]:
    found = list(pairs)
    print(f"{source.name}: {len(found):,} pairs", file=sys.stderr, flush=True)
    return found


def _row(pair: Pair) -> dict[str, str]:
    return {"source": pair[0], "target": pair[1]}


if __name__ == "__main__":
    run(__doc__, build, baseline)
