"""Identification: the language of a text, also of a short one, by its script, its characters and a model of letters."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from yunmo.apps.translate import languages
from yunmo.apps.translate.language_table import LANGUAGES
from yunmo.apps.translate.protection import protect
from yunmo.apps.translate.segments import segment


@dataclass(frozen=True, slots=True)
class Guess:
    """A language (BCP 47; Chinese with its script) and how likely it is, 0 to 1."""

    language: str
    confidence: float


def identify(text: str, among: Collection[str] = ()) -> tuple[Guess, ...]:
    """The languages a text may be in, likeliest first, at most five; none where it has no letters. `among` are codes that alone are considered.

    Placeholders and addresses do not count. Of a long text the beginning is read.
    """
    words = protect(segment([text[:_READ]])).text
    script = _script(words)
    if script is None:
        return ()
    guesses = _chinese_or_japanese(words) if script == "Hani" else _spelled(words, script)
    allowed = [guess for guess in guesses if not among or any(languages.covers(code, guess.language) for code in among)]
    total = sum(guess.confidence for guess in guesses)
    return tuple(sorted((Guess(one.language, one.confidence / total) for one in allowed), key=lambda one: -one.confidence)[:5])


def chinese_script(text: str) -> str | None:
    """`Hans` or `Hant` by the characters that only one of the two has; None where there are none, or as many of each."""
    simplified, traditional, *_ = _character_sets()
    balance = sum((character in simplified) - (character in traditional) for character in text)
    return None if balance == 0 else "Hans" if balance > 0 else "Hant"


_READ = 4000
_SYLLABLES = ("Hira", "Kana")

# an ideograph or a syllable says as much as a few letters: a Chinese sentence that names English products is Chinese
_WEIGHTS = {"Hani": 4, "Hira": 4, "Kana": 4, "Hang": 2}
_NAMED = """
LATIN:Latn CYRILLIC:Cyrl GREEK:Grek ARABIC:Arab HEBREW:Hebr DEVANAGARI:Deva BENGALI:Beng CJK:Hani HIRAGANA:Hira KATAKANA:Kana
HANGUL:Hang THAI:Thai LAO:Laoo KHMER:Khmr MYANMAR:Mymr TIBETAN:Tibt GEORGIAN:Geor ARMENIAN:Armn ETHIOPIC:Ethi TAMIL:Taml
TELUGU:Telu KANNADA:Knda MALAYALAM:Mlym GUJARATI:Gujr GURMUKHI:Guru ORIYA:Orya SINHALA:Sinh THAANA:Thaa OL:Olck BOPOMOFO:Hani
IDEOGRAPHIC:Hani
"""
_SCRIPT_NAMES = dict(pair.split(":") for pair in _NAMED.split())

# how much likelier than a rare language one is, as a logarithm: few texts that companies translate are in Esperanto, and single words fit many
_LIKELY = """
en:6 ru:4 es:4 fr:4 de:4 pt:4 ar:4 it:3.5 nl:3 pl:3 tr:3 id:3 vi:3 hi:3 cs:2.5 sv:2.5 uk:3 fa:2.5 da:2 nb:2 bg:3 fi:2 hu:2 ro:2
bn:2 sk:1.5 hr:1.5 ca:1.5 sr:1.5 ms:1 ur:1 mr:1 lt:1 lv:1 sl:1 et:1 el:2 he:2 am:1
"""
_PRIORS = {code: float(prior) for code, prior in (pair.split(":") for pair in _LIKELY.split())}
_MODEL_NAMES = {"no": "nb", "fil": "tl"}

# characters of simplified writing that traditional texts use as well
_OF_BOTH = set(
    "丑仆几云伙余冲别升卷厘只台叶后向吁合周咸回困夸姜家尸布干志愿才托抵挂据斗曲朱杰松板欲沈注涂涌游炼熏盘确秋系胜胡致舍范药虫表谷采里钟面郁"
)


def _script(words: str) -> str | None:
    """The script of most of a text's letters (ISO 15924; `Hani` for Chinese and Japanese)."""
    counts: Counter[str] = Counter()
    for character in words:
        if character.isalpha():
            name = unicodedata.name(character, "").split(" ")[0].split("-")[0]
            script = _SCRIPT_NAMES.get(name, "")
            counts[script] += _WEIGHTS.get(script, 1)
    counts.pop("", None)
    if not counts:
        return None
    ideographs = sum(counts.pop(script, 0) for script in ("Hani", *_SYLLABLES))
    counts["Hani"] = ideographs
    return counts.most_common(1)[0][0]


def _chinese_or_japanese(words: str) -> list[Guess]:
    *_, japanese, foreign = _character_sets()
    han = [character for character in words if "㐀" <= character <= "鿿"]
    syllables = len(re.findall(r"[\u3041-\u30fa\u30fd-\u30ff\uff66-\uff9f]", words))
    only_chinese = sum(character in foreign for character in han)
    if syllables and syllables * 8 >= len(han) - syllables and only_chinese <= syllables:
        return [Guess("ja", 0.99), Guess("zh-Hant", 0.005), Guess("zh-Hans", 0.005)]
    if sum(character in japanese for character in han) > only_chinese and not syllables:
        return [Guess("ja", 0.8), Guess("zh-Hant", 0.12), Guess("zh-Hans", 0.08)]
    script = chinese_script(words)
    if script is None:
        return [Guess("zh-Hans", 0.6), Guess("zh-Hant", 0.3), Guess("ja", 0.1)]
    other = "Hant" if script == "Hans" else "Hans"
    return [Guess(f"zh-{script}", 0.97), Guess(f"zh-{other}", 0.02), Guess("ja", 0.01)]


def _spelled(words: str, script: str) -> list[Guess]:
    """The languages of a script that spells; those that the model knows are weighed by it, a script's only language is that."""
    written = _written_in(script)
    scores: dict[str, float] = {}
    text = f" {words.lower()} "
    for label, score in _model().rank(text):
        code = _MODEL_NAMES.get(label, label)
        if code in written and score > -1e30:
            scores[code] = score + _PRIORS.get(code, 0)
    if not scores:
        return [Guess(code, 1 / len(written)) for code in sorted(written, key=lambda one: -_PRIORS.get(one, 0))]
    best = max(scores.values())
    spread = _spread(len(text.encode()))
    return [Guess(code, math.exp((score - best) / spread)) for code, score in scores.items()]


def _spread(length: int) -> float:
    """What differences of scores are divided by: its letters depend on each other, so that a longer text's are not as sure as they look."""
    return max(1.5, math.sqrt(length) / 2)


@lru_cache(maxsize=64)
def _written_in(script: str) -> frozenset[str]:
    names = {"Hang": "Kore"}
    return frozenset(entry.base for entry in LANGUAGES if entry.script == names.get(script, script))


@lru_cache(maxsize=1)
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)


@lru_cache(maxsize=1)
def _character_sets() -> tuple[frozenset[str], frozenset[str], frozenset[str], frozenset[str]]:
    """Characters of simplified Chinese alone, of traditional alone, of Japanese alone, and those that Japanese does not have, by OpenCC's tables."""
    import opencc

    characters = [chr(code) for start, end in ((0x3400, 0x4DC0), (0x4E00, 0xA000)) for code in range(start, end)]
    lines = "\n".join(characters)
    forms = {
        name: dict(zip(characters, opencc.OpenCC(name).convert(lines).split("\n"), strict=True))
        for name in ("t2s", "s2tw", "s2hk", "jp2t", "t2jp")
    }
    is_full = {one: one in {forms["s2tw"][one], forms["s2hk"][one]} for one in characters}
    simplified = frozenset(one for one in characters if forms["t2s"][one] == one and not is_full[one]) - _OF_BOTH
    traditional = frozenset(one for one in characters if forms["t2s"][one] != one and is_full[one])
    japanese = frozenset(one for one in characters if forms["jp2t"][one] != one) - simplified - _OF_BOTH
    foreign = (simplified | frozenset(one for one in characters if forms["t2jp"][one] != one)) - frozenset(forms["t2jp"].values())
    return simplified, traditional, japanese, foreign
