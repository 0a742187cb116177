"""The hub's values, as far as dialects and applications need them."""

from yunmo.hub.cards import BadCard, front_matter
from yunmo.hub.commits import AddFile, AddLargeFile, Change, Operation, RemoveFile, RemoveFolder
from yunmo.hub.discussions import Thread, is_edit_of
from yunmo.hub.files import OpenFile, Page, Where
from yunmo.hub.large import LargeFile
from yunmo.hub.models import RevisionRef
from yunmo.hub.names import DEFAULT_NAMESPACE, RepositoryType
from yunmo.hub.objects import Entry, parse_pointer, pointer_text
from yunmo.hub.records import AccessRequest, Commit, Discussion, DiscussionStatus, Event, Gating, Overview, Ref, Repository, RequestStatus
from yunmo.hub.refs import BRANCH, PROPOSAL, TAG
from yunmo.hub.repositories import RepositoryExists
from yunmo.hub.scans import Verdict
from yunmo.hub.store.discussions import Wanted as WantedDiscussions
from yunmo.hub.store.repositories import Listing
from yunmo.hub.trees import Item
from yunmo.hub.uploads import Candidate

__all__ = [
    "BRANCH",
    "DEFAULT_NAMESPACE",
    "PROPOSAL",
    "TAG",
    "AccessRequest",
    "AddFile",
    "AddLargeFile",
    "BadCard",
    "Candidate",
    "Change",
    "Commit",
    "Discussion",
    "DiscussionStatus",
    "Entry",
    "Event",
    "Gating",
    "Item",
    "LargeFile",
    "Listing",
    "OpenFile",
    "Operation",
    "Overview",
    "Page",
    "Ref",
    "RemoveFile",
    "RemoveFolder",
    "Repository",
    "RepositoryExists",
    "RepositoryType",
    "RequestStatus",
    "RevisionRef",
    "Thread",
    "Verdict",
    "WantedDiscussions",
    "Where",
    "front_matter",
    "is_edit_of",
    "parse_pointer",
    "pointer_text",
]
