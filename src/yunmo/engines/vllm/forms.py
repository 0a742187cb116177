"""Forms in the words of xgrammar, which vLLM holds text to them with."""

import json
from typing import Any

from yunmo.engines.chats.constraints import Constraint


def structural_tag(form: Constraint) -> dict[str, Any]:
    """Calls as xgrammar's structural tag: one after another, or wherever their trigger is written."""
    tags = [
        {"type": "tag", "begin": each.begin, "content": {"type": "json_schema", "json_schema": json.loads(each.schema)}, "end": each.end}
        for each in form.calls
    ]
    places: dict[str, Any] = (
        {"type": "tags_with_separator", "separator": form.value, "at_least_one": True}
        if form.is_required
        else {"type": "triggered_tags", "triggers": [form.value], "at_least_one": False}
    )
    return {"type": "structural_tag", "format": {**places, "tags": tags, "stop_after_first": form.is_single}}
