"""Answer questions from the cells of a table (TAPAS)."""

from typing import Any

from yunmo.core.engine import BatchEngine, Result
from yunmo.core.errors import ContextTooLong, InvalidRequest
from yunmo.core.rewriting import check_text
from yunmo.core.tasks import AnswerTable, Request, TableAnswer
from yunmo.core.usage import Usage
from yunmo.engines.transformers.loading import Checkpoint
from yunmo.engines.transformers.running import Itemwise

# a model reads some 500 tokens; more than this is only work for the tokenizer, which runs in Python
MAX_CHARACTERS = 30_000


def table_answerer(checkpoint: Checkpoint, tasks: tuple[str, ...]) -> BatchEngine:
    """The engine of models that choose cells, and say what to do with them."""
    return Itemwise(tasks, {AnswerTable: _TableAnswerer(checkpoint).answer}, checkpoint.plan, _cost)


def _cost(request: Request) -> int:
    assert isinstance(request, AnswerTable)
    return max(1, _characters(request) // 4)


def _characters(request: AnswerTable) -> int:
    return len(request.question) + sum(map(len, request.columns)) + sum(len(cell) for row in request.rows for cell in row)


class _TableAnswerer:
    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        # each column and row has an embedding, and 0 is the question's
        _, self._columns, self._rows, *_ = (size - 1 for size in checkpoint.config.type_vocab_sizes)
        labels = getattr(checkpoint.config, "aggregation_labels", None)
        self._labels: dict[int, str] = dict(labels) if labels and checkpoint.config.num_aggregation_labels else {}

    def answer(self, request: AnswerTable) -> Result:
        self._check(request)
        inputs = self._encode(request)
        outputs = self._checkpoint.model(**inputs)
        logits = [outputs.logits.float(), *([outputs.logits_aggregation.float()] if self._labels else [])]
        found = self._checkpoint.tokenizer.convert_logits_to_predictions(inputs, *logits)
        coordinates = tuple((int(row), int(column)) for row, column in found[0][0]) if found[0] else ()
        cells = tuple(request.rows[row][column] for row, column in coordinates)
        aggregator = self._labels.get(int(found[1][0])) if self._labels else None
        is_plain = not self._labels or int(found[1][0]) == self._checkpoint.config.no_aggregation_label_index
        answer = ", ".join(cells) if is_plain or aggregator is None else f"{aggregator} > {', '.join(cells)}"
        usage = Usage(input_tokens=int(inputs["attention_mask"].sum()), characters=_characters(request))
        return TableAnswer(answer=answer, cells=cells, coordinates=coordinates, aggregator=aggregator), usage

    def _check(self, request: AnswerTable) -> None:
        check_text(request.question.strip(), "query")
        if not request.columns or not request.rows:
            raise InvalidRequest("the table is empty: send at least one column and one row", param="table")
        if any(len(row) != len(request.columns) for row in request.rows):
            raise InvalidRequest("the rows of the table differ in length: each needs one cell for every column", param="table")
        if (count := _characters(request)) > MAX_CHARACTERS:
            raise InvalidRequest(
                f"the table has {count:,} characters; at most {MAX_CHARACTERS:,} are read: send the rows that matter", param="table"
            )
        if len(request.columns) > self._columns:
            raise InvalidRequest(f"the table has {len(request.columns)} columns; this model reads at most {self._columns}", param="table")
        if not request.truncate and len(request.rows) > self._rows:
            raise InvalidRequest(
                f"the table has {len(request.rows)} rows; this model reads at most {self._rows}: send fewer, or allow truncation",
                param="table",
            )

    def _encode(self, request: AnswerTable) -> Any:
        import pandas as pd

        table = pd.DataFrame(dict(enumerate(zip(*request.rows[: self._rows], strict=True))), dtype=object)
        table.columns = list(request.columns)
        limit = self._checkpoint.context_tokens
        options: dict[str, Any] = {"truncation": "drop_rows_to_fit", "max_length": limit} if request.truncate else {"truncation": False}
        try:
            with self._checkpoint.lock:
                inputs = self._checkpoint.tokenizer(table=table, queries=request.question, return_tensors="pt", **options)
        except ValueError as error:
            raise ContextTooLong(
                "the question and one row of the table are longer than what this model reads: shorten them", param="table"
            ) from error
        count = inputs["input_ids"].shape[-1]
        if limit is not None and count > limit:
            raise ContextTooLong(
                f"the question and the table have {count} tokens; this model reads at most {limit}: send fewer rows, or allow truncation",
                param="table",
            )
        return inputs
