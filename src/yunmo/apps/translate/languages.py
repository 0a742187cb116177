"""Languages: any client's and any model's code for one, what it is called, and which language serves for another."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from yunmo.apps.translate.language_table import ALIASES, LANGUAGES, REGIONS, SCRIPTS, VARIANTS
from yunmo.core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Language:
    """A language in canonical BCP 47: `code` is its parts joined. A script or region that goes without saying is None; so is that of plain `zh`."""

    code: str
    base: str
    script: str | None = None
    region: str | None = None

    @property
    def written(self) -> str | None:
        """The script (ISO 15924) it is written in, said or not; None for `zh`, which may be either."""
        return self.script or (None if self.base == "zh" else _ENTRIES[self.base].script)

    def name(self, in_language: str = "en") -> str:
        """Its name in English, in Chinese (`zh` of any kind), or in the language itself (its own code); in other languages it is the English one."""
        entry, asked = _ENTRIES[self.base], parse(in_language)
        if asked.code == self.code in VARIANTS:
            return VARIANTS[self.code]
        if asked.base == "zh":
            return self._qualified(entry.chinese, 1, "{}（{}）", "，")
        if asked.base == self.base:
            return self._qualified(entry.native, 0, "{} ({})", ", ")
        return self._qualified(entry.english, 0, "{} ({})", ", ")

    def _qualified(self, name: str, column: int, form: str, comma: str) -> str:
        script = SCRIPTS.get(self.script or "", (self.script, self.script))[column]
        region = REGIONS.get(self.region or "", (self.region, self.region))[column]
        details = comma.join(detail for detail in (script, region) if detail)
        return form.format(name, details) if details else name


@lru_cache(maxsize=4096)
def parse(code: str) -> Language:
    """The language of any usual code: BCP 47 in any case, ISO 639-2 and -3, FLORES (`zho_Hans`), mBART (`en_XX`), POSIX (`zh_CN.UTF-8`, `sr@latin`).

    Raises InvalidRequest, which names the code, for what is no code or a language that is not known.
    """
    found = _CODE.fullmatch(code.strip().replace("_", "-").lower())
    if found is None:
        raise InvalidRequest(f"{code[:40]!r} is not a language code; say one such as 'en', 'pt-BR' or 'zh-Hans'.")
    alias = ALIASES.get(found["base"], found["base"]).split("-")
    entry = _ENTRIES.get(alias[0]) or _BY_ALPHA3.get(alias[0])
    if entry is None:
        raise InvalidRequest(f"The language {code[:40]!r} is not known; say one such as 'en', 'pt-BR' or 'zh-Hans'.")
    parts = alias[1:]
    script = (found["script"] or _MODIFIERS.get(found["modifier"] or "") or next((part for part in parts if len(part) == 4), "")).title()
    region = (found["region"] or next((part for part in parts if len(part) == 2), "")).upper()
    return _canonical(entry.base, script, "" if region == "XX" else region)


def covers(offered: str, wanted: str) -> bool:
    """Whether a model that names the language `offered` serves for `wanted`: `zh` does for `zh-Hans`, `pt-BR` for `pt`, `pt-BR` not for `pt-PT`."""
    return _distance(parse(offered), parse(wanted)) is not None


def best(offered: Iterable[str], wanted: str) -> str | None:
    """That of the offered codes, as it was given, that serves best for the wanted one; None if none does. Of equals it is the first."""
    language = parse(wanted)
    ranked = [(distance, code) for code in offered if (distance := _distance(parse(code), language)) is not None]
    return min(ranked, key=lambda one: one[0])[1] if ranked else None


def known() -> tuple[Language, ...]:
    """Every language that has a name here, without regions; Chinese once for each of its scripts."""
    bases = [entry.base for entry in LANGUAGES if entry.base != "zh"]
    return tuple(parse(code) for code in sorted([*bases, "zh-Hans", "zh-Hant"]))


_ENTRIES = {entry.base: entry for entry in LANGUAGES}
_BY_ALPHA3 = {entry.alpha3: entry for entry in LANGUAGES}
_CODE = re.compile(
    r"(?P<base>[a-z]{2,3})(-(?P<script>[a-z]{4}))?(-(?P<region>[a-z]{2}|[0-9]{3}))?(\.[a-z0-9-]+)?(@(?P<modifier>[a-z]+))?",
)
_MODIFIERS = {"latin": "Latn", "cyrillic": "Cyrl"}
_WRITTEN_TRADITIONALLY = {"TW", "HK", "MO"}
_WRITTEN_SIMPLY = {"CN", "SG", "MY"}
_LATIN_AMERICA = {"AR", "BO", "CL", "CO", "CR", "CU", "DO", "EC", "GT", "HN", "MX", "NI", "PA", "PE", "PR", "PY", "SV", "UY", "VE"}

# regions whose way of writing is taken when only the language is asked
_MAIN_REGIONS = {"en": "US", "pt": "BR", "es": "ES", "fr": "FR", "de": "DE", "zh": "CN", "nl": "NL", "it": "IT", "ar": "EG"}


def _canonical(base: str, script: str, region: str) -> Language:
    if base == "zh":
        if not script and region in _WRITTEN_TRADITIONALLY | _WRITTEN_SIMPLY:
            script = "Hant" if region in _WRITTEN_TRADITIONALLY else "Hans"
        if (script, region) in {("Hans", "CN"), ("Hant", "TW")}:
            region = ""
    elif script == _ENTRIES[base].script:
        script = ""
    code = "-".join(part for part in (base, script, region) if part)
    return Language(code, base, script or None, region or None)


def _distance(offered: Language, wanted: Language) -> int | None:
    """How far the offered language is from the wanted one, 0 for the same; None where it does not serve for it."""
    if offered.base != wanted.base or (offered.written and wanted.written and offered.written != wanted.written):
        return None
    region = _region_distance(offered, wanted)
    if region is None or offered.written == wanted.written:
        return region
    # asked for Chinese without more, simplified is what most mean
    return region + (4 if offered.written is None else 5 if offered.written == "Hans" else 6)


def _region_distance(offered: Language, wanted: Language) -> int | None:
    if offered.region == wanted.region:
        return 0
    if offered.region == "419" and wanted.region in _LATIN_AMERICA:
        return 1
    if offered.region is None:
        return 2
    if wanted.region is None:
        return 1 if offered.region == _MAIN_REGIONS.get(wanted.base) else 3
    return None
