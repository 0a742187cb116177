"""Protection: what a translation must leave as it is (placeholders, addresses, code, kept words) becomes tags, the words around stay."""

import re
from collections.abc import Collection, Iterator
from functools import lru_cache

from yunmo.apps.translate.segments import Segment, Tag, segment
from yunmo.core.errors import InvalidRequest


def protect(original: Segment, kept: Collection[str] = ()) -> Segment:
    """The segment with everything in its texts that is not translated as `alone` tags, whose ids go on after the highest there is.

    Found are `{x}`, `{{x}}`, `${x}`, `%s`, `%(x)d`, `%1$s`, `%1`, ICU messages, URLs, e-mail addresses, code in backticks, HTML's tags and the kept
    words, as they are written. The result's `source` is the original's. Raises InvalidRequest for more than 5,000 kept words.
    """
    pattern, next_id = _pattern(tuple(sorted(set(kept), key=lambda word: (-len(word), word)))), _next_id(original)
    parts: list[str | Tag] = []
    for part in original.parts:
        if isinstance(part, Tag):
            parts.append(part)
            continue
        for piece, is_kept in _pieces(part, pattern):
            parts.append(Tag(next_id, "alone", piece) if is_kept else piece)
            next_id += is_kept
    return segment(parts)


def protected(text: str, kept: Collection[str] = ()) -> tuple[str, ...]:
    """What `protect` would find in a text, in its order."""
    return tuple(tag.text for tag in protect(segment([text]), kept).tags)


_MOST_KEPT = 5000

# a word is found whole where its script writes words apart, anywhere in a script that does not
_SPELLED = r"[A-Za-z0-9_\u00c0-\u1fff]"
_BEGIN = f"(?:(?<!{_SPELLED})|(?!{_SPELLED}))"
_END = f"(?:(?!{_SPELLED})|(?<!{_SPELLED}))"

# an URL is ASCII: the words of a Chinese sentence that touch it are no part of it
_URL = r"(?:(?:https?|ftp|ftps|ws|wss|ssh|git|file)://|www\.(?=[a-z0-9]))[!#$%&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~]+"
_EMAIL = r"(?:mailto:)?(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"
_DOMAIN = r"(?<![A-Za-z0-9@._/-])(?:[a-z0-9][a-z0-9-]{0,62}\.){1,6}(?:com|org|net|edu|gov|io|cn)(?![A-Za-z0-9-]|\.[A-Za-z0-9])(?:/[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~]*)?"
_CODE = r"(?<!`)(?P<ticks>`{1,3})(?![`\s])(?:(?!(?P=ticks))[^\n]){1,500}(?<!\s)(?P=ticks)(?!`)"
_HTML = (
    r"</?(?:a|abbr|b|big|br|code|del|em|font|hr|i|img|ins|kbd|li|mark|ol|p|q|s|small|span|strike|strong|sub|sup|table|td|tr|tt|u|ul|var|wbr|[0-9]{1,3})"
    r"(?:\s+[\w:-]{1,60}=(?:\"[^\"<>]{0,2000}\"|'[^'<>]{0,2000}'|[^\s\"'<>]{1,200})){0,20}\s*/?>"
)
_BRACES = (
    r"\{\{\{?[^{}\n]{1,200}\}?\}\}"
    r"|\{%[^{}\n]{1,200}%\}"
    r"|[$#]\{[^{}\n]{1,200}\}"
    r"|\$\([A-Za-z_][A-Za-z0-9_.]{0,100}\)"
    r"|\{[A-Za-z0-9_.$@-]{0,100}(?:\[[^\]{}\s]{0,60}\])?(?:![rsa])?(?::[^{}\s\u2e80-\uffef]{0,40})?\}"
    r"|\{[A-Za-z0-9_]{1,60},\s?(?:number|date|time|spellout|ordinal|duration)(?:,[^{}\n]{1,100})?\}"
)
_PERCENT = (
    r"%\([A-Za-z0-9_. -]{1,100}\)[#0+-]{0,3}[0-9]{0,4}(?:\.[0-9]{1,4})?[diouxXeEfFgGcrsa]"
    r"|%[0-9]{1,2}\$[#0+'-]{0,3}[0-9]{0,4}(?:\.[0-9]{1,4})?(?:hh|h|ll|l|L|z|j|t|q)?[diouxXeEfFgGaAcspn@]"
    r"|%\{[A-Za-z0-9_]{1,100}\}"
    r"|%[A-Z][A-Z0-9_]{1,60}%"
    r"|(?<![0-9%０-９])%(?:[0#+'-]{0,3}(?:[0-9]{1,4}|\*)?(?:\.(?:[0-9]{1,4}|\*))?(?:hh|h|ll|l|L|z|j|t|q)?(?:[diufsxX]|[eEFgGaAcopn@](?![a-z]))|L?[0-9]{1,2}(?![0-9])|%)"
)
_NAMES = r"\$[A-Z_][A-Z0-9_]{1,60}(?![a-z])|(?<![A-Za-z0-9_])__[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*__(?![A-Za-z0-9_])"
_ICU = r"(?P<message>\{\s{0,3}[A-Za-z0-9_]{1,60}\s{0,3},\s{0,3}(?:plural|select|selectordinal|choice)\s{0,3},)"
_STANDARD = "|".join((_ICU, _CODE, _EMAIL, f"(?P<address>{_URL}|{_DOMAIN})", _HTML, _BRACES, _PERCENT, _NAMES))
_CLOSING = {")": "(", "]": "["}


@lru_cache(maxsize=64)
def _pattern(kept: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for all that is kept; the words of the caller go first, the longest before its own beginning."""
    if len(kept) > _MOST_KEPT:
        raise InvalidRequest(f"{len(kept)} words are to be kept as they are; at most {_MOST_KEPT} may be. Name those that the texts have.")
    words = "|".join(re.escape(word) for word in kept if word.strip())
    return re.compile(f"{_BEGIN}(?:{words}){_END}|{_STANDARD}" if words else _STANDARD)


def _pieces(text: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """The text's pieces in order, each with whether it is kept."""
    start = position = 0
    while found := pattern.search(text, position):
        end = _end(text, found)
        if end == found.start():
            position = end + 1
            continue
        yield text[start : found.start()], False
        yield text[found.start() : end], True
        start = position = end
    yield text[start:], False


def _end(text: str, found: re.Match[str]) -> int:
    """Where what was found ends; where it begins if it is nothing after all."""
    if found["message"]:
        return _closings(text).get(found.start(), found.start())
    if found["ticks"]:
        # quotes `like this' of two phrases are no code
        return found.start() if found[0].count("'") % 2 else found.end()
    return _address_end(found) if found["address"] else found.end()


def _address_end(found: re.Match[str]) -> int:
    """An address ends before the sentence's own punctuation and the brackets around it."""
    address = found[0]
    while address:
        opening = _CLOSING.get(address[-1])
        if address[-1] in ".,;:!?'*_([" or (opening and address.count(opening) < address.count(address[-1])):
            address = address[:-1]
        else:
            break
    return found.start() if address.endswith("//") else found.start() + len(address)


@lru_cache(maxsize=4)
def _closings(text: str) -> dict[int, int]:
    """Where each opening brace of a text is closed: its index to the one behind the closing brace."""
    closings: dict[int, int] = {}
    opened: list[int] = []
    for brace in re.finditer(r"[{}]", text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            closings[opened.pop()] = brace.end()
    return closings


def _next_id(original: Segment) -> int:
    return max((tag.id for tag in original.tags), default=0) + 1
