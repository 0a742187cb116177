"""How each family of translation models is told its languages."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yunmo.core.errors import InvalidRequest

# ISO 639-1 to the codes of FLORES-200, which NLLB speaks; its other languages go by their own codes
_FLORES = {
    "af": "afr_Latn", "am": "amh_Ethi", "ar": "arb_Arab", "az": "azj_Latn", "be": "bel_Cyrl", "bg": "bul_Cyrl", "bn": "ben_Beng",
    "bs": "bos_Latn", "ca": "cat_Latn", "cs": "ces_Latn", "cy": "cym_Latn", "da": "dan_Latn", "de": "deu_Latn", "el": "ell_Grek",
    "en": "eng_Latn", "eo": "epo_Latn", "es": "spa_Latn", "et": "est_Latn", "eu": "eus_Latn", "fa": "pes_Arab", "fi": "fin_Latn",
    "fr": "fra_Latn", "ga": "gle_Latn", "gl": "glg_Latn", "gu": "guj_Gujr", "he": "heb_Hebr", "hi": "hin_Deva", "hr": "hrv_Latn",
    "hu": "hun_Latn", "hy": "hye_Armn", "id": "ind_Latn", "is": "isl_Latn", "it": "ita_Latn", "ja": "jpn_Jpan", "ka": "kat_Geor",
    "kk": "kaz_Cyrl", "km": "khm_Khmr", "kn": "kan_Knda", "ko": "kor_Hang", "ky": "kir_Cyrl", "lo": "lao_Laoo", "lt": "lit_Latn",
    "lv": "lvs_Latn", "mk": "mkd_Cyrl", "ml": "mal_Mlym", "mn": "khk_Cyrl", "mr": "mar_Deva", "ms": "zsm_Latn", "my": "mya_Mymr",
    "nb": "nob_Latn", "ne": "npi_Deva", "nl": "nld_Latn", "no": "nob_Latn", "pa": "pan_Guru", "pl": "pol_Latn", "ps": "pbt_Arab",
    "pt": "por_Latn", "ro": "ron_Latn", "ru": "rus_Cyrl", "si": "sin_Sinh", "sk": "slk_Latn", "sl": "slv_Latn", "so": "som_Latn",
    "sq": "als_Latn", "sr": "srp_Cyrl", "sv": "swe_Latn", "sw": "swh_Latn", "ta": "tam_Taml", "te": "tel_Telu", "tg": "tgk_Cyrl",
    "th": "tha_Thai", "tl": "tgl_Latn", "tr": "tur_Latn", "uk": "ukr_Cyrl", "ur": "urd_Arab", "uz": "uzn_Latn", "vi": "vie_Latn",
    "xh": "xho_Latn", "yo": "yor_Latn", "zh": "zho_Hans", "zh-hans": "zho_Hans", "zh-cn": "zho_Hans", "zh-hant": "zho_Hant",
    "zh-tw": "zho_Hant", "zh-hk": "yue_Hant", "zu": "zul_Latn",
}  # fmt: skip
_NAMES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fi": "Finnish",
    "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "nb": "Norwegian", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
# the three-letter codes that OPUS models are named by
_THREE = {
    "eng": "en", "deu": "de", "ger": "de", "fra": "fr", "fre": "fr", "spa": "es", "ita": "it", "por": "pt", "nld": "nl", "dut": "nl",
    "rus": "ru", "zho": "zh", "chi": "zh", "jpn": "ja", "kor": "ko", "ara": "ar", "pol": "pl", "tur": "tr", "swe": "sv", "fin": "fi",
    "dan": "da", "ces": "cs", "cze": "cs", "ell": "el", "ukr": "uk", "vie": "vi", "hin": "hi", "hun": "hu", "ron": "ro", "rum": "ro",
}  # fmt: skip
_CHINESE_SCRIPTS = {"cn": "hans", "sg": "hans", "tw": "hant", "hk": "hant", "mo": "hant"}
_PREFIX = re.compile(r"translation_([a-z]{2,3})_to_([a-z]{2,3})")
_SHOWN = 40
ANY_PAIR = ("und", "und")
"""The pair of a model that was trained on rows whose languages nobody named: it is told none."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What a model is told: text in front of the input, its tokenizer's source language, and the first token of the output."""

    prefix: str = ""
    source: str | None = None
    target: str | None = None
    first_token: int | None = None

    def told(self, text: str) -> str:
        """The text behind the prefix, unless its writer has put that there."""
        return text if text.startswith(self.prefix) else self.prefix + text


class Languages:
    """The languages of one model."""

    def __init__(self, config: Any, tokenizer: Any) -> None:
        self._config = config
        self._tokenizer = tokenizer
        self._kind = str(config.model_type)

    def pair(self, source: str | None, target: str | None) -> Pair:
        """How the model is told to translate from one language into the other.

        Raises InvalidRequest, naming the codes that the model knows, for a language that it does not know.
        """
        if self._kind in {"t5", "mt5", "umt5", "longt5", "switch_transformers"}:
            return self._by_prefix(source, target)
        codes = self.codes()
        if codes:
            return self._by_code(source, target, codes)
        if self._target_tokens():
            return self._by_target_token(source, target)
        return self._fixed(source, target)

    def told_by(self, texts: Sequence[str]) -> Pair | None:
        """The pair whose instruction, one that the model was trained with, each of the texts itself begins with."""
        return next(
            (Pair(prefix=prefix) for prefix in self._prefixes().values() if prefix and all(text.startswith(prefix) for text in texts)), None
        )

    def codes(self) -> dict[str, int]:
        """The codes of languages that have a token of their own, and its id; empty where languages are told otherwise."""
        tokenizer = self._tokenizer
        by_code = getattr(tokenizer, "lang_code_to_id", None)
        if by_code:
            return {str(code): int(number) for code, number in by_code.items()}
        if not hasattr(tokenizer, "src_lang"):
            return {}
        special = getattr(tokenizer, "additional_special_tokens", None) or getattr(tokenizer, "extra_special_tokens", None) or []
        names = [str(name) for name in (special.values() if isinstance(special, dict) else special)]
        if not names:
            names = [str(token) for token in tokenizer.get_added_vocab()]
        codes = [name for name in names if re.fullmatch(r"[a-z]{2,3}_[A-Za-z]{2,4}", name)]
        return {name: int(tokenizer.convert_tokens_to_ids(name)) for name in codes}

    def _by_prefix(self, source: str | None, target: str | None) -> Pair:
        """T5 reads an instruction; those that it was trained with are in its configuration."""
        known = self._prefixes()
        if known.keys() == {ANY_PAIR}:
            return Pair(prefix=known[ANY_PAIR])
        if source is None and target is None and len(known) == 1:
            return Pair(prefix=next(iter(known.values())))
        if source is None or target is None:
            raise InvalidRequest(
                f"name the source and the target language; this model knows {_listed(map(_arrow, known))}", param="tgt_lang"
            )
        wish = (base_language(source), base_language(target))
        if wish in known:
            return Pair(prefix=known[wish])
        if known or wish[0] not in _NAMES or wish[1] not in _NAMES:
            raise InvalidRequest(
                f"this model does not translate {source} to {target}; it knows {_listed(map(_arrow, known)) or _listed(_NAMES)}",
                param="tgt_lang",
            )
        return Pair(prefix=f"translate {_NAMES[wish[0]]} to {_NAMES[wish[1]]}: ")

    def _prefixes(self) -> dict[tuple[str, str], str]:
        return instructions(getattr(self._config, "task_specific_params", None) or {})

    def _by_code(self, source: str | None, target: str | None, codes: dict[str, int]) -> Pair:
        """M2M100, NLLB and mBART mark the input with its language and begin the output with the target's token."""
        if source is None or target is None:
            raise InvalidRequest(f"name the source and the target language; this model knows {_listed(sorted(codes))}", param="tgt_lang")
        source, target = _find(source, codes, "src_lang"), _find(target, codes, "tgt_lang")
        return Pair(source=source, target=target, first_token=codes[target])

    def _target_tokens(self) -> dict[str, str]:
        """The `>>deu<<` tokens of a Marian model with several target languages, by their code."""
        return {token[2:-2]: token for token in getattr(self._tokenizer, "supported_language_codes", None) or ()}

    def _by_target_token(self, source: str | None, target: str | None) -> Pair:
        tokens = self._target_tokens()
        if target is None:
            raise InvalidRequest(f"name the target language; this model knows {_listed(sorted(tokens))}", param="tgt_lang")
        by_base = {base_language(code): token for code, token in reversed(list(tokens.items()))}
        token = tokens.get(target) or by_base.get(base_language(target))
        if token is None:
            raise InvalidRequest(f"this model does not translate into {target}; it knows {_listed(sorted(tokens))}", param="tgt_lang")
        own = getattr(self._tokenizer, "source_lang", None)
        if source is not None and own and len(own) <= 3 and base_language(source) != base_language(own):
            raise InvalidRequest(f"this model does not translate from {source}, only from {own}", param="src_lang")
        return Pair(prefix=f"{token} ")

    def _fixed(self, source: str | None, target: str | None) -> Pair:
        """A model of one pair: the request may name it, and no other."""
        check_fixed(getattr(self._tokenizer, "source_lang", None), getattr(self._tokenizer, "target_lang", None), source, target)
        return Pair()


def check_fixed(own_source: str | None, own_target: str | None, source: str | None, target: str | None) -> None:
    """Raise InvalidRequest if a request names other languages than those of a model that has one pair only."""
    for wish, known, param in ((source, own_source, "src_lang"), (target, own_target, "tgt_lang")):
        if wish is not None and known and not _is_same(wish, known):
            raise InvalidRequest(f"this model translates {own_source} to {own_target} only, so {param} cannot be {wish}", param=param)


def base_language(code: str) -> str:
    """The two letters of a language (three, where it has no two), without its region or script."""
    first = re.split(r"[_-]", code.strip().lower())[0]
    return _THREE.get(first, first)


def instructions(parameters: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """What a configuration's `task_specific_params` put in front of the text, by the languages translated from and into."""
    return {
        (found[1], found[2]): str(values.get("prefix", ""))
        for name, values in parameters.items()
        if (found := _PREFIX.fullmatch(name)) and isinstance(values, Mapping)
    }


def _find(wish: str, codes: dict[str, int], param: str) -> str:
    """The model's own code for a language: as given, by its FLORES name, or by its two letters."""
    if wish in codes:
        return wish
    lowered = wish.lower().replace("_", "-")
    flores = _FLORES.get(lowered) or _FLORES.get(base_language(wish))
    if flores in codes:
        return str(flores)
    regional = next((code for code in codes if code.lower().replace("_", "-") == lowered), None)
    found = regional or next((code for code in codes if re.split(r"[_-]", code)[0] == base_language(wish)), None)
    if found is None:
        raise InvalidRequest(f"this model does not know the language {wish}; it knows {_listed(sorted(codes))}", param=param)
    return found


def _is_same(one: str, other: str) -> bool:
    """Whether two codes are of one language, and not of two scripts of it."""
    scripts = {script for code in (one, other) if (script := _script(code))}
    return base_language(one) == base_language(other) and len(scripts) < 2


def _script(code: str) -> str | None:
    """The script that a code names, or that its region writes Chinese in."""
    base, *parts = re.split(r"[_-]", code.strip().lower())
    named = next((part for part in parts if len(part) == 4 and part.isalpha()), None)
    return named or next((_CHINESE_SCRIPTS[part] for part in parts if part in _CHINESE_SCRIPTS and base_language(base) == "zh"), None)


def _arrow(pair: tuple[str, str]) -> str:
    return f"{pair[0]} to {pair[1]}"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:_SHOWN]) + (f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else "")
