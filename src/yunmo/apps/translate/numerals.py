"""Numerals: the numbers that a text says, in digits of any locale, in Chinese numerals and in words, so that two languages' can be compared."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from yunmo.apps.translate import languages
from yunmo.apps.translate.number_words import IDEOGRAPHIC_DIGITS, IDEOGRAPHIC_POWERS, counted, months, powers


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written. It may mean any one of its `values`; that of a date or version may also be said by its `parts`."""

    written: str
    values: frozenset[Decimal]
    parts: tuple[Decimal, ...] = ()


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a text: those that must come through, in their order, and the values of words that may stand for one (`two`, `a pair`, 三, May)."""

    said: tuple[Number, ...]
    words: frozenset[Decimal]
    knows_words: bool


def numbers(text: str, language: str) -> Numbers:
    """The numbers that a text of this language says."""
    base = languages.parse(language).base
    plain = _ENTITY.sub(" ", _ascii_digits(text))
    said, words = [], set(_marks(text))
    prose = list(plain)
    for start, end, number, hints in _digits(plain, base):
        prose[start:end] = " " * (end - start)
        words.update(hints)
        if number is not None:
            said.append(number)
    for written, value, is_sure in (*_ideographic(plain), *_spelled("".join(prose), base)):
        words.add(value)
        if is_sure:
            said.append(Number(written, frozenset({value})))
    return Numbers(tuple(said), frozenset(words), bool(counted(base)) or base in _IDEOGRAPHIC)


def differences(source: Numbers, target: Numbers) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the source says and the target does not, and what the target says and the source does not, as each writes it."""
    given = _Given(target.said)
    missing = [number for number in source.said if not given.take(number)]
    missing = [number for number in missing if not given.take_parts(number, target.words)]
    wanted = _Given(missing)
    invented = [number for number in given.left.values() if not wanted.take_parts(number, source.words)]
    # what a target says twice, it may: "from 0 to 100, both 0 and 100 included"
    known = source.words.union(*(number.values for number in source.said))
    return tuple(_unexplained(wanted.left.values(), target, target.words)), tuple(_unexplained(invented, source, known))


_IDEOGRAPHIC = {"zh", "ja", "yue"}
_COMMA = "af az be bg bs ca cs da de el es et eu fi fr gl hr hu hy id is it ka kk lt lv mk nb nl nn pl pt ro ru sk sl sq sr sv tr uk uz vi"
_DECIMAL_COMMA = frozenset(_COMMA.split())
_EITHER_COMMA = {"es", "af"}
_SPACED = "be bg cs da et fi fr hu kk lt lv nb nn pl pt ru sk sl sv uk"
_SPACED_GROUPS = frozenset(_SPACED.split())
_SPACES = "\u00a0\u202f\u2009"
_DIGITS = re.compile(rf"\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,'’٫٬]\d+)*")
_SPACED_DIGITS = re.compile(rf"\d{{1,3}}(?:[{_SPACES} ]\d{{3}})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,'’٫٬]\d+)*")
# exact in decimal's own precision
_LONGEST = 28
_GROUPED = re.compile(r"\d{1,3}(?:\D\d{2,3})*\D\d{3}")

_ENTITY = re.compile(r"&#(?:\d{1,6}|x[0-9a-f]{1,6});", re.IGNORECASE)

# 一 is one where something is counted, not in 一般 or 统一
_ONE = re.compile(
    r"(?<=第)一|一(?=[个個位次条條项項张張件天年月日号號页頁行步份种種倍台臺只隻名人批套座段章节節点點半周週小分秒元块塊期届屆级級层層组組世家篇本支把间間辆輛句遍])"
)

# 千 and 百 begin units too: 5千克 is five kilograms, 3百分点 three points
_POWER = re.compile(r"\s?(万亿|[百千][万萬]|[백천]만|[亿億万萬만억조천]|千(?![米克瓦卡帕赫伏安字焦比位兆公周])|百(?![分帕]))")
_WORD = re.compile(r"[^\W\d_]+(?:[-’'][^\W\d_]+)*")
_CLOCK_BEHIND = re.compile(r"\s?(?:[:：.]\d{2}){0,2}\s?[ap]\.?\s?m\b", re.IGNORECASE)
_CLOCK_BEFORE = re.compile(r"(?:上午|下午|晚上|傍晚|中午|凌晨|早上|夜里|午前|午後|오전|오후)\s?(?:[0-9]{1,2}[:：])?\Z")
# Vietnamese counts the days of the week from two
_WEEKDAY = re.compile(r"\bthứ\s?\Z", re.IGNORECASE)
_DECADE = re.compile(r"(?:'|’)?s\b|\s?年代")
_NUMERAL = re.compile(r"[零〇一二两兩三四五六七八九十百千万萬亿億]+")
_UNITS = {"十": 10, "百": 100, "千": 1000}
_LARGE_UNITS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_CONNECTORS = {"and", "und", "et", "y", "e", "и"}
_ROMAN = re.compile(r"(?<![\w'’])(?=[IVX])X{0,2}(?:IX|IV|V?I{0,3})(?![\w'’])")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10}


def _ascii_digits(text: str) -> str:
    """The text with every script's decimal digits as 0 to 9, and full-width points as plain ones."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(one)) if one.isdecimal() and one > "9" else "." if one == "．" else one for one in text)


def _marks(text: str) -> Iterator[Decimal]:
    """Values of raised, lowered and ringed digits, of Roman numerals, and of single ideographs: they may stand for digits, and need not."""
    if _ONE.search(text):
        yield Decimal(1)
    for character in text:
        if character in IDEOGRAPHIC_DIGITS and character != "一":
            yield Decimal(IDEOGRAPHIC_DIGITS[character])
        elif not character.isascii() and unicodedata.numeric(character, None) is not None:
            value = unicodedata.numeric(character)
            yield Decimal(str(value if value % 1 else int(value)))
    for found in _ROMAN.finditer(text):
        yield Decimal(_roman(found[0]))


def _roman(numeral: str) -> int:
    values = [_ROMAN_VALUES[letter] for letter in numeral]
    return sum(-value if any(value < later for later in values[index + 1 :]) else value for index, value in enumerate(values))


def _digits(text: str, base: str) -> Iterator[tuple[int, int, Number | None, tuple[Decimal, ...]]]:
    """Numbers in digits: start, end, the number, values that are allowed beside it. Minutes of a full hour are none."""
    pattern = _SPACED_DIGITS if base in _SPACED_GROUPS else _DIGITS
    end = 0
    while found := pattern.search(text, end):
        number, end = _with_power(text, found, base)
        start, written = found.start(), found[0]
        whole = int(written) if written.isdecimal() and len(written) <= _LONGEST else None
        if whole is None:
            yield start, end, number, ()
        elif (whole == 0 and text[start - 1 : start] in {":", "："}) or (base == "vi" and _WEEKDAY.search(text, max(0, start - 5), start)):
            yield start, end, None, (Decimal(whole),)
        elif whole <= 12 and (_CLOCK_BEHIND.match(text, end) or _CLOCK_BEFORE.search(text, max(0, start - 12), start)):
            hours = {Decimal(whole % 12), Decimal(whole % 12 + 12)}
            yield start, end, Number(number.written, number.values | hours), ()
        elif 1000 <= whole < 2100 and whole % 10 == 0 and _DECADE.match(text, end):
            yield start, end, Number(number.written, number.values | {Decimal(whole % 100)}), (Decimal(whole // 100 + 1),)
        else:
            yield start, end, number, ()


def _with_power(text: str, found: re.Match[str], base: str) -> tuple[Number, int]:
    """A number with the powers of ten behind it (`1.2 million`, 3亿2000万), and where it ends."""
    number, end = Number(found[0], _values(found[0], base), _parts(found[0])), found.end()
    total, last = Decimal(0), 99
    while len(number.values) == 1 and (power := _power(text, end, base)) and power[0] < last:
        last, end = power
        total += next(iter(number.values)).scaleb(last)
        number = Number(text[found.start() : end], frozenset({total}))
        if text[end - 1] not in IDEOGRAPHIC_POWERS:
            break
        following = _DIGITS.match(text, end + (base == "ko" and text[end : end + 1] == " "))
        rest = _values(following[0], base) if following else frozenset()
        if following is None or len(rest) != 1 or len(following[0]) > last:
            break
        if _power(text, following.end(), base) is None:
            return Number(text[found.start() : following.end()], frozenset({total + next(iter(rest))})), following.end()
        number, end = Number(text[found.start() : following.end()], rest), following.end()
    return number, end


def _power(text: str, position: int, base: str) -> tuple[int, int] | None:
    """The exponent of a power of ten that stands there, and where it ends."""
    if found := _POWER.match(text, position):
        return IDEOGRAPHIC_POWERS[found[1]], found.end()
    names = powers(base)
    space = 1 if text[position : position + 1] in {" ", "\u00a0", "\u202f", "-"} else 0
    word = _WORD.match(text, position + space) if names else None
    if word is None or word[0].lower() not in names:
        return None
    exponent, end = names[word[0].lower()], word.end()
    # mil millones, тысяч миллионов
    more = _WORD.match(text, end + 1)
    if more and exponent == 3 and more[0].lower() in names:
        return exponent + names[more[0].lower()], more.end()
    return exponent, end


def _values(written: str, base: str) -> frozenset[Decimal]:
    """What digits with separators mean in a language; all that they may where that is open. Nothing for dates, versions and lists."""
    plain = re.sub(rf"(?<=\d)[{_SPACES} '’٬](?=\d{{3}})", "", written).replace("٫", ".")
    separators = re.sub(r"\d", "", plain)
    if len(plain) > _LONGEST or separators.strip(".,"):
        return frozenset()
    if not separators:
        return frozenset({Decimal(plain)})
    if len(set(separators)) == 1:
        return _with_one_separator(plain, separators, base)
    head, _, tail = plain.rpartition(separators[-1])
    is_decimal = separators.count(separators[-1]) == 1 and bool(_GROUPED.fullmatch(head))
    return frozenset({Decimal(f"{_joined(head)}.{tail}")}) if is_decimal else frozenset()


def _with_one_separator(plain: str, separators: str, base: str) -> frozenset[Decimal]:
    is_grouped, has_comma = bool(_GROUPED.fullmatch(plain)), base in _DECIMAL_COMMA
    if len(separators) > 1:
        return frozenset({Decimal(_joined(plain))}) if is_grouped else frozenset()
    as_group, as_decimal = Decimal(_joined(plain)), Decimal(plain.replace(",", "."))
    if not is_grouped or plain.startswith("0"):
        # 1,2 is a list where the point is the decimal sign
        return frozenset() if separators == "," and not has_comma else frozenset({as_decimal})
    if base in _EITHER_COMMA:
        return frozenset({as_group, as_decimal})
    return frozenset({as_decimal if (separators == ",") is has_comma else as_group})


def _joined(plain: str) -> str:
    return re.sub(r"\D", "", plain)


def _parts(written: str) -> tuple[Decimal, ...]:
    parts = re.split(r"\D", written)
    return tuple(Decimal(part) for part in parts if part and len(part) <= _LONGEST) if len(parts) > 1 else ()


def _ideographic(text: str) -> Iterator[tuple[str, Decimal, bool]]:
    """Chinese numerals: as written, the value, and whether that is surely a number (一百二十, not 一 or 千万)."""
    for found in _NUMERAL.finditer(text):
        numeral = found[0]
        if len(numeral) > _LONGEST or len(numeral) == 1:
            if numeral == "十":
                yield numeral, Decimal(10), False
            continue
        units = [character for character in numeral if character in _UNITS or character in _LARGE_UNITS]
        if not units:
            yield numeral, Decimal("".join(str(IDEOGRAPHIC_DIGITS[character]) for character in numeral)), False
            continue
        value = _ideographic_value(numeral)
        is_base = text.startswith("进制", found.end()) or text.startswith("進制", found.end())
        yield numeral, value, value > 12 and not is_base and numeral[0] not in "百千万萬亿億零〇" and numeral[-1] not in "零〇"
    for found in re.finditer(r"([一二三四五六七八九])([成折])", text):
        digit = IDEOGRAPHIC_DIGITS[found[1]] * 10
        yield found[0], Decimal(digit), False
        yield found[0], Decimal(100 - digit), False


def _ideographic_value(numeral: str) -> Decimal:
    total = section = digit = 0
    for character in numeral:
        if character in IDEOGRAPHIC_DIGITS:
            digit = IDEOGRAPHIC_DIGITS[character]
        elif character in _UNITS:
            section += (digit or 1) * _UNITS[character]
            digit = 0
        else:
            unit = _LARGE_UNITS[character]
            if unit == 10**8:
                total = (total + section + digit or 1) * unit
            else:
                total += (section + digit or 1) * unit
            section = digit = 0
    return Decimal(total + section + digit)


def _spelled(text: str, base: str) -> Iterator[tuple[str, Decimal, bool]]:
    """Numbers in words: as written, the value, and whether that is surely a number (`twenty-five`, not `one` or `second`)."""
    names, month_names, power_names = counted(base), months(base), powers(base)
    run: list[tuple[str, int, bool]] = []
    for word in _WORD.findall(text.lower()) if names else ():
        for piece in [word] if word in names else word.split("-"):
            if piece in month_names:
                yield piece, Decimal(month_names[piece]), False
            if piece in names or piece in power_names:
                is_power = piece in power_names
                run.append((piece, power_names[piece] if is_power else names[piece], is_power))
                value = Decimal(10) ** run[-1][1] if is_power else Decimal(names[piece])
                yield piece, value, False
            elif not (run and piece in _CONNECTORS):
                yield from _run(run)
                run = []
    yield from _run(run)


def _run(run: list[tuple[str, int, bool]]) -> Iterator[tuple[str, Decimal, bool]]:
    if len(run) < 2:
        return
    total = current = 0
    for _, value, is_power in run:
        if is_power and value > 2:
            total, current = total + max(current, 1) * 10**value, 0
        elif is_power or value == 100:
            current = max(current, 1) * 100
        else:
            current += value
    yield " ".join(word for word, _, _ in run), Decimal(total + current), total + current > 12


class _Given:
    """Numbers of one side by their values; each is taken once."""

    def __init__(self, given: Iterable[Number]) -> None:
        self.left = dict(enumerate(given))
        self._places: dict[Decimal | str, list[int]] = {}
        for place, number in reversed(self.left.items()):
            for key in number.values or {number.written}:
                self._places.setdefault(key, []).append(place)

    def take(self, number: Number) -> bool:
        return any(self._take(key) is not None for key in number.values or {number.written})

    def take_parts(self, number: Number, words: frozenset[Decimal]) -> bool:
        """Take all parts of a date or version, but those that words may stand for; none if one is not there."""
        taken: list[tuple[Decimal, int, Number]] = []
        for part in number.parts:
            place = self._take(part)
            if place is not None:
                taken.append((part, *place))
            elif part not in words:
                break
        else:
            return bool(number.parts)
        for part, index, other in taken:
            self.left[index] = other
            self._places[part].append(index)
        return False

    def _take(self, key: Decimal | str) -> tuple[int, Number] | None:
        places = self._places.get(key, [])
        while places:
            index = places.pop()
            if index in self.left:
                return index, self.left.pop(index)
        return None


def _unexplained(left: Iterable[Number], other: Numbers, known: frozenset[Decimal]) -> Iterator[str]:
    """Those that nothing of the other side stands for; small ones may be a word in a language whose words are not known."""
    for number in left:
        if number.values & known:
            continue
        if not other.knows_words and number.values and max(number.values) <= 12:
            continue
        yield number.written
