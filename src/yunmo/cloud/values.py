"""The values that go in and out of Cloud, gathered for dialects."""

from yunmo.serving.infer import Answering
from yunmo.serving.specification import DeploymentSpec, DeploymentView, Served
from yunmo.tenancy.audit import AuditEntry
from yunmo.tenancy.keys import CreatedKey, KeyInfo
from yunmo.tenancy.ledger import UsageRow
from yunmo.tenancy.limits import Rates
from yunmo.tenancy.projects import Project

__all__ = [
    "Answering",
    "AuditEntry",
    "CreatedKey",
    "DeploymentSpec",
    "DeploymentView",
    "KeyInfo",
    "Project",
    "Rates",
    "Served",
    "UsageRow",
]
