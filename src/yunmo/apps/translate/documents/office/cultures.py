"""A target language as office programs name it: culture, direction, and the fonts that draw it."""

from dataclasses import dataclass

_CULTURES = {
    "zh": "zh-CN", "zh-hans": "zh-CN", "zh-hant": "zh-TW", "yue": "zh-HK", "ja": "ja-JP", "ko": "ko-KR", "en": "en-US", "de": "de-DE", "fr": "fr-FR",
    "es": "es-ES", "it": "it-IT", "pt": "pt-PT", "nl": "nl-NL", "pl": "pl-PL", "ru": "ru-RU", "uk": "uk-UA", "cs": "cs-CZ", "sv": "sv-SE", "da": "da-DK",
    "fi": "fi-FI", "nb": "nb-NO", "no": "nb-NO", "el": "el-GR", "hu": "hu-HU", "ro": "ro-RO", "bg": "bg-BG", "tr": "tr-TR", "vi": "vi-VN", "th": "th-TH",
    "id": "id-ID", "ar": "ar-SA", "he": "he-IL", "fa": "fa-IR", "ur": "ur-PK", "hi": "hi-IN", "sk": "sk-SK", "sl": "sl-SI", "et": "et-EE", "lv": "lv-LV",
    "lt": "lt-LT",
}  # fmt: skip
_RIGHT_TO_LEFT = {"ar", "arc", "ckb", "dv", "fa", "he", "iw", "ks", "ps", "sd", "syr", "ug", "ur", "yi"}
_RIGHT_TO_LEFT_SCRIPTS = {"arab", "hebr", "syrc", "thaa", "nkoo", "rohg"}
_FONTS = {
    "zh-CN": ("Microsoft YaHei", "SimSun"),
    "zh-TW": ("Microsoft JhengHei", "PMingLiU"),
    "zh-HK": ("Microsoft JhengHei", "PMingLiU"),
    "ja-JP": ("Yu Gothic", "Yu Mincho"),
    "ko-KR": ("Malgun Gothic", "Batang"),
}
_DRAWN_WITH = {
    "zh": {"SimSun", "NSimSun", "SimHei", "KaiTi", "FangSong", "Microsoft YaHei", "DengXian", "PMingLiU", "MingLiU", "Microsoft JhengHei", "DFKai-SB"},
    "ja": {"MS Mincho", "MS PMincho", "MS Gothic", "MS PGothic", "Yu Mincho", "Yu Gothic", "Meiryo", "ＭＳ 明朝", "ＭＳ ゴシック", "游明朝", "游ゴシック"},
    "ko": {"Malgun Gothic", "Batang", "Gulim", "Dotum", "바탕", "맑은 고딕", "굴림", "돋움"},
}  # fmt: skip
_SERIFS = ("Times", "Georgia", "Cambria", "Garamond", "Palatino", "Book Antiqua", "Liberation Serif", "Century", "Constantia")


@dataclass(frozen=True, slots=True)
class Culture:
    """`name` is a language with a country where one is usual (`zh-CN`), as documents name languages."""

    name: str
    is_east_asian: bool
    is_right_to_left: bool

    def font_beside(self, western: str) -> str:
        """An East Asian font that goes with a Western one: with serifs beside serifs."""
        return _FONTS.get(self.name, ("", ""))[western.startswith(_SERIFS)]

    def is_drawn_with(self, font: str) -> bool:
        """Whether an East Asian font is known to have this language's signs; fonts with Chinese names have Chinese ones."""
        language = "zh" if self.name.startswith(("zh", "yue")) else self.name[:2]
        others = set().union(*(fonts for other, fonts in _DRAWN_WITH.items() if other != language))
        return font in _DRAWN_WITH.get(language, ()) or (language == "zh" and not font.isascii() and font not in others)


def culture_of(language: str) -> Culture:
    """The culture of a language (BCP 47)."""
    subtags = language.lower().split("-")
    base = subtags[0]
    country = next((subtag.upper() for subtag in subtags[1:] if len(subtag) == 2 and subtag.isalpha()), None)
    script = next((subtag for subtag in subtags[1:] if len(subtag) == 4 and subtag.isalpha()), None)
    if base == "zh" and country is None:
        name = _CULTURES["zh-hant" if script == "hant" else "zh"]
    else:
        name = f"{base}-{country}" if country else _CULTURES.get(base, language)
    is_right_to_left = script in _RIGHT_TO_LEFT_SCRIPTS if script else base in _RIGHT_TO_LEFT
    return Culture(name, name[:2] in {"zh", "ja", "ko"}, is_right_to_left)
