"""The tasks that ask a question about a picture, a page or a table."""

from collections.abc import Iterator

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import AnswerDocument, AnswerImage, AnswerTable, PlacedWord
from yunmo.web.dialects.hf import question_bodies as bodies
from yunmo.web.dialects.hf import replies
from yunmo.web.dialects.hf.asks import Ask
from yunmo.web.dialects.hf.decode import media, read_json
from yunmo.web.dialects.hf.text_forms import refuse_answer_options

_IMAGE = msgspec.json.Decoder(bodies.ImageAnswerBody)
_DOCUMENT = msgspec.json.Decoder(bodies.DocumentAnswerBody)
_TABLE = msgspec.json.Decoder(bodies.TableAnswerBody)
_SIDES = 4


def answer_image(body: bytes) -> Ask:
    """visual-question-answering."""
    parsed = read_json(_IMAGE, body)
    inputs = parsed.inputs
    image, question = (inputs.image, inputs.question) if isinstance(inputs, bodies.PictureQuestion) else (inputs, None)
    image, question = parsed.image or image, parsed.question or question
    if not image:
        raise InvalidRequest("'image' is missing: send the picture in base64 as 'image' or as 'inputs'.", param="image")
    if not (question or "").strip():
        raise InvalidRequest("'question' is missing: say what you want to know about the picture.", param="question")
    top_k = parsed.parameters.top_k if parsed.parameters else None
    return Ask(AnswerImage(image=media(image), question=question or "", top_k=top_k), replies.image_answers)


def answer_document(body: bytes) -> Ask:
    """document-question-answering."""
    parsed = read_json(_DOCUMENT, body)
    parameters = parsed.parameters or bodies.DocumentAnswerParameters()
    refuse_answer_options(parameters)
    if not parsed.inputs.question.strip():
        raise InvalidRequest("'question' is empty: say what you want to know about the page.", param="question")
    request = AnswerDocument(
        image=media(parsed.inputs.image),
        question=parsed.inputs.question,
        words=None if parameters.word_boxes is None else tuple(_placed(parameters.word_boxes)),
        top_k=parameters.top_k or 1,
        max_answer_tokens=parameters.max_answer_len,
        max_window_tokens=parameters.max_seq_len,
        stride_tokens=parameters.doc_stride,
        handle_impossible=bool(parameters.handle_impossible_answer),
    )
    return Ask(request, replies.document_answers)


def answer_table(body: bytes) -> Ask:
    """table-question-answering."""
    parsed = read_json(_TABLE, body)
    inputs, parameters = parsed.inputs, parsed.parameters
    question = inputs.query if inputs.query is not None else inputs.question
    if not (question or "").strip():
        raise InvalidRequest("'query' is missing: say what you want to know from the table.", param="query")
    lengths = {len(cells) for cells in inputs.table.values()}
    if not lengths or lengths == {0}:
        raise InvalidRequest("'table' is empty: send at least one column with at least one cell.", param="table")
    if len(lengths) > 1:
        raise InvalidRequest(f"The columns of 'table' have {min(lengths)} to {max(lengths)} cells: each needs as many.", param="table")
    request = AnswerTable(
        question=question or "",
        columns=tuple(inputs.table),
        rows=tuple(tuple(map(str, row)) for row in zip(*inputs.table.values(), strict=True)),
        truncate=parameters is None or parameters.truncation is not False,
    )
    return Ask(request, replies.table_answer)


def _placed(given: bodies.WordBoxes) -> Iterator[PlacedWord]:
    """Words with their boxes, sent as pairs or in turns."""
    rest = iter(given)
    for item in rest:
        word, box = (item, next(rest, None)) if isinstance(item, str) else _pair(item)
        sides = box if isinstance(box, list) else []
        if not isinstance(word, str) or len(sides) != _SIDES or not all(isinstance(side, float) and abs(side) < 1e6 for side in sides):
            raise InvalidRequest(
                "'word_boxes' must give each word its box: [word, [left, top, right, bottom]], in thousandths of the page.",
                param="word_boxes",
            )
        left, top, right, bottom = (round(side) for side in sides if isinstance(side, float))
        yield PlacedWord(word, (left, top, right, bottom))


def _pair(item: list[float | str | list[float]]) -> tuple[object, object]:
    return (item[0], item[1]) if len(item) == 2 else (None, None)
