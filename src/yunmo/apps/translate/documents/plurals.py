"""Plural forms as gettext counts them (GNU gettext manual, "Plural forms"; Unicode CLDR)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plurals:
    """How many forms a language has, which of them is for one thing, and the rule that chooses (C, of `n`)."""

    count: int
    one: int
    rule: str


_NONE = Plurals(1, 0, "0")
_ONE = Plurals(2, 0, "n != 1")
_ONE_OR_ZERO = Plurals(2, 0, "n > 1")
_EAST_SLAVIC = Plurals(3, 0, "n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2")
_WEST_SLAVIC = Plurals(3, 0, "(n==1) ? 0 : (n>=2 && n<=4) ? 1 : 2")

_GROUPS = {
    _NONE: "bo dz id ja jv km ko lo ms my su th ug vi wo yue zh",
    _ONE: (
        "af an ast az bg bn ca da de el en eo es et eu fa fi fo fur fy gl gu ha he hi hu hy is it iw ka kk kn ku ky lb mk ml mn mr nb ne nl nn no "
        "pa ps pt rm sd si sq sv sw ta te tk tr tt ur uz yi zu am"
    ),
    _ONE_OR_ZERO: "ak br fil fr ln mg mi oc pt-br ti tl wa",
    _EAST_SLAVIC: "be bs hr ru sr uk sh",
    _WEST_SLAVIC: "cs sk",
    Plurals(3, 0, "n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<10 || n%100>=20) ? 1 : 2"): "pl csb",
    Plurals(3, 0, "n%10==1 && n%100!=11 ? 0 : n%10>=2 && (n%100<10 || n%100>=20) ? 1 : 2"): "lt",
    Plurals(3, 0, "n%10==1 && n%100!=11 ? 0 : n != 0 ? 1 : 2"): "lv",
    Plurals(3, 0, "n==1 ? 0 : (n==0 || (n%100>0 && n%100<20)) ? 1 : 2"): "mo ro",
    Plurals(4, 0, "n%100==1 ? 0 : n%100==2 ? 1 : n%100==3 || n%100==4 ? 2 : 3"): "sl",
    Plurals(4, 0, "n==1 ? 0 : n==0 || (n%100>1 && n%100<11) ? 1 : (n%100>10 && n%100<20) ? 2 : 3"): "mt",
    Plurals(4, 0, "(n==1 || n==11) ? 0 : (n==2 || n==12) ? 1 : (n>2 && n<20) ? 2 : 3"): "gd",
    Plurals(4, 0, "(n==1) ? 0 : (n==2) ? 1 : (n!=8 && n!=11) ? 2 : 3"): "cy",
    Plurals(5, 0, "n==1 ? 0 : n==2 ? 1 : (n>2 && n<7) ? 2 : (n>6 && n<11) ? 3 : 4"): "ga",
    Plurals(6, 1, "n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 ? 4 : 5"): "ar",
}
_BY_LANGUAGE = {language: plurals for plurals, languages in _GROUPS.items() for language in languages.split()}


def plurals_of(language: str) -> Plurals | None:
    """The plural forms of a language (BCP 47), None where they are not known."""
    lowered = language.lower()
    return _BY_LANGUAGE.get(lowered) or _BY_LANGUAGE.get(lowered.split("-")[0])
