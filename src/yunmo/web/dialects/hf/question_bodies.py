"""The JSON bodies of questions about pictures, pages and tables."""

from typing import Annotated, Literal

from msgspec import Meta

from yunmo.web.dialects.hf.bodies import AnswerParameters, Body, Count, Fields


class PictureQuestion(Fields, frozen=True):
    """A question about a picture, or about that of a page; `image` is base64."""

    question: str
    image: str


class ImageAnswerParameters(Fields, frozen=True):
    """How many answers come back."""

    top_k: Count | None = None


class ImageAnswerBody(Body, frozen=True):
    """visual-question-answering: the client sends the picture (base64) as `inputs` and as `image`; either will do."""

    inputs: str | PictureQuestion | None = None
    question: str | None = None
    image: str | None = None
    parameters: ImageAnswerParameters | None = None


WordBoxes = Annotated[list[str | list[float | str | list[float]]], Meta(max_length=40_000)]
"""Each word with its box, `[word, [left, top, right, bottom]]`, or words and boxes in turns; in thousandths of the page."""


class DocumentAnswerParameters(AnswerParameters, frozen=True):
    """The words of the page, how they are cut into windows, and how many answers come back. `lang` is for a reader (OCR) that is not here."""

    lang: str | None = None
    word_boxes: WordBoxes | None = None


class DocumentAnswerBody(Body, frozen=True):
    """document-question-answering."""

    inputs: PictureQuestion
    parameters: DocumentAnswerParameters | None = None


class TableQuestion(Fields, frozen=True):
    """A question (`query` in the client, `question` in its specification) and a table by its columns."""

    table: dict[str, list[str | int | float]]
    query: str | None = None
    question: str | None = None


class TableAnswerParameters(Fields, frozen=True):
    """Whether rows that do not fit are left out. What is padded and in which order changes nothing of one answer; `model` is the client's own."""

    truncation: bool | None = None
    padding: bool | Literal["do_not_pad", "longest", "max_length"] | None = None
    sequential: bool | None = None
    model: str | None = None


class TableAnswerBody(Body, frozen=True):
    """table-question-answering."""

    inputs: TableQuestion
    parameters: TableAnswerParameters | None = None
