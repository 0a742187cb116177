"""What of a document's translation can be written, and what did not come through."""

from collections.abc import Mapping
from dataclasses import dataclass

from yunmo.apps.translate.documents.format import Document, Unit
from yunmo.apps.translate.documents.splicing import check_tags
from yunmo.apps.translate.journal import Entry, key_of
from yunmo.apps.translate.orders import Issue
from yunmo.apps.translate.segments import Segment
from yunmo.apps.translate.translations import UnitIssue
from yunmo.core.errors import InvalidRequest

ISSUES_LIMIT = 500
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Readied:
    """Translations of units by their keys; those that would harm the document are left out and among the issues, of which the first are told."""

    translations: dict[str, Segment]
    issue_count: int
    issues: list[UnitIssue]


def ready(document: Document, entries: Mapping[str, Entry]) -> Readied:
    """Match the entries to the document's units."""
    translations: dict[str, Segment] = {}
    issues: list[UnitIssue] = []
    count = 0
    for unit in document.units:
        entry = entries[key_of(unit.segment)]
        found = list(entry.issues)
        harm = _harm(unit, entry.segment)
        if harm is None:
            translations[unit.key] = entry.segment
        else:
            found.append(harm)
        count += len(found)
        if len(issues) < ISSUES_LIMIT:
            issues += [UnitIssue(unit.key, unit.note, issue.kind, issue.what[:_SHOWN_CHARACTERS]) for issue in found]
    return Readied(translations, count, issues[:ISSUES_LIMIT])


def _harm(unit: Unit, translation: Segment) -> Issue | None:
    """Why the unit stays as it is."""
    try:
        check_tags(unit, translation)
    except InvalidRequest as error:
        return Issue("tag", error.message)
    return None
