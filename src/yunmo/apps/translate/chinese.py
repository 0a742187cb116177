"""Chinese in the script that was asked for, whichever its author or its model writes; OpenCC knows the words that go with each."""

from functools import lru_cache
from typing import Any

from yunmo.apps.translate.identification import chinese_script
from yunmo.apps.translate.languages import parse
from yunmo.apps.translate.segments import Segment, segment

_HONG_KONG = frozenset({"HK", "MO"})


def other_script(code: str) -> str | None:
    """The code of the same language in Chinese's other script; None for what is not Chinese in a known one."""
    language = parse(code)
    if language.base != "zh" or language.script is None:
        return None
    return "zh-Hant" if language.script == "Hans" else "zh-Hans"


def in_script_of(original: Segment, code: str) -> Segment:
    """The segment in the script of this Chinese, and in the words of its region; as it is where that is its script, or the code says none."""
    language = parse(code)
    if language.base != "zh" or language.script is None or chinese_script(original.text) in {None, language.script}:
        return original
    simple, full = ("hk2s", "s2hk") if language.region in _HONG_KONG else ("tw2sp", "s2twp")
    converter = _converter(simple if language.script == "Hans" else full)
    return segment(converter.convert(part) if isinstance(part, str) else part for part in original.parts)


@lru_cache(maxsize=4)
def _converter(name: str) -> Any:
    import opencc

    return opencc.OpenCC(name)
