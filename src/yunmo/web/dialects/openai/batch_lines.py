"""The lines of a batch: what is asked, and what is written down of the answers."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from yunmo.core.errors import InvalidRequest

LINES_LIMIT = 50_000
FILE_BYTES_LIMIT = 200 * 1024 * 1024
LINE_BYTES_LIMIT = 20 * 1024 * 1024
"""As much as one request may have."""

_PROBLEMS_TOLD = 100


class Line(msgspec.Struct):
    """One request of a batch. The body stays as it was written."""

    custom_id: Annotated[str, Meta(min_length=1, max_length=512)]
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct):
    model: Annotated[str, Meta(min_length=1)]
    stream: Any = None


class Problem(msgspec.Struct):
    """Why a batch cannot be run: `line` counts from 1."""

    message: str
    line: int | None = None
    code: str = "invalid_request"
    param: str | None = None


class LineResponse(msgspec.Struct):
    """What a line was answered with."""

    status_code: int
    request_id: str
    body: msgspec.Raw


class LineError(msgspec.Struct):
    """Why a line was not answered at all."""

    code: str
    message: str


class Answered(msgspec.Struct):
    """A line of an output or error file."""

    id: str
    custom_id: str
    response: LineResponse | None = None
    error: LineError | None = None


class Checked(msgspec.Struct):
    """What was found in a batch's file."""

    lines: int = 0
    model: str = ""
    problems: list[Problem] = []


_decode = msgspec.json.Decoder(Line).decode
_decode_body = msgspec.json.Decoder(_Body).decode


def parse(text: bytes) -> Line:
    """The line's request. Raises InvalidRequest."""
    try:
        return _decode(text)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        param = path.rstrip("`") or None
        raise InvalidRequest(f"{reason}{f' (field {param!r})' if param else ''}.", param=param) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"This line is not valid JSON: {error}.") from error


async def check(texts: AsyncIterator[bytes], endpoint: str) -> Checked:
    """Look at every line before any is run; the first hundred problems are told. Empty lines are passed over."""
    found = Checked()
    seen: set[str] = set()
    number = 0
    async for text in texts:
        number += 1
        if not text.strip():
            continue
        found.lines += 1
        if found.lines > LINES_LIMIT:
            found.problems.append(Problem(f"A batch has at most {LINES_LIMIT} requests; split the file.", code="too_many_tasks"))
            return found
        try:
            line = parse(text)
            model = _check_line(line, endpoint)
        except InvalidRequest as error:
            found.problems.append(
                Problem(error.message, number, "invalid_json_line" if "JSON" in error.message else error.code, error.param)
            )
        else:
            found.model = found.model or model
            if line.custom_id in seen:
                found.problems.append(
                    Problem(f"The custom_id '{line.custom_id[:80]}' was used before.", number, "duplicate_custom_id", "custom_id")
                )
            seen.add(line.custom_id)
        if len(found.problems) >= _PROBLEMS_TOLD:
            return found
    if found.lines == 0:
        found.problems.append(Problem("The file has no requests.", code="empty_file"))
    return found


def _check_line(line: Line, endpoint: str) -> str:
    if line.method != "POST":
        raise InvalidRequest("'method' must be POST.", param="method")
    if line.url != endpoint:
        raise InvalidRequest(f"'url' is '{line.url[:80]}', but this batch is for {endpoint}.", param="url")
    try:
        body = _decode_body(line.body)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"'body' cannot be sent: {error}.", param="body") from error
    if body.stream:
        raise InvalidRequest("A batch's answers come whole: remove 'stream'.", param="body.stream")
    return body.model
