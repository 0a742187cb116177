"""Repetition: a model that goes round in circles writes the same words again and again."""

import re

_TOKEN = re.compile(r"[\u0e00-\u0eff\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+|[^\w\s]")
_LONGEST_CIRCLE = 24
_MOST_TOKENS = 4000

# people cry and laugh with one or two signs, models go on
_FEWEST = {1: 10, 2: 6}


def repeated(text: str, times: int = 4) -> str | None:
    """The words that a text says at least so many times in a row, more for one or two signs ("ha ha ha ha"); None if it does not.

    Signs without letters (rules, leaders) may be repeated as often as one likes.
    """
    tokens = _TOKEN.findall(text[: 8 * _MOST_TOKENS])[:_MOST_TOKENS]
    folded = [token.casefold() for token in tokens]
    for period in range(1, min(_LONGEST_CIRCLE, len(folded) // times) + 1):
        run = 0
        needed = period * (max(times, _FEWEST.get(period, 0)) - 1)
        for index in range(period, len(folded)):
            run = run + 1 if folded[index] == folded[index - period] else 0
            circle = tokens[index - period + 1 : index + 1]
            if run >= needed and any(any(one.isalpha() for one in token) for token in circle):
                return " ".join(circle)
    return None
