"""The forms that a text is held to, as OpenVINO GenAI's structured output takes them."""

from typing import Any

import openvino_genai

from yunmo.engines.chats.constraints import Constraint

_Structured = openvino_genai.StructuredOutputConfig


def structured_output(form: Constraint) -> Any:
    """The library's own object for a form."""
    if form.kind != "calls":
        return _Structured(**{form.kind: form.value})
    tags = [_Structured.Tag(each.begin, _Structured.JSONSchema(each.schema), each.end) for each in form.calls]
    if form.is_required:
        return _Structured(structural_tags_config=_Structured.TagsWithSeparator(tags, form.value, True, form.is_single))
    return _Structured(structural_tags_config=_Structured.TriggeredTags([form.value], tags, False, form.is_single))
