"""The values that go in and out of Cloud, gathered for dialects."""

from yunmo.serving.calibration.plot import plot
from yunmo.serving.calibration.report import CalibrationView
from yunmo.serving.infer import Answering
from yunmo.serving.specification import DeploymentSpec, DeploymentView, Served
from yunmo.tenancy.audit import AuditEntry
from yunmo.tenancy.devices import Refusal
from yunmo.tenancy.keys import CreatedKey, KeyInfo
from yunmo.tenancy.ledger import TokenTotals, UsageRow
from yunmo.tenancy.limits import Rates
from yunmo.tenancy.logins import LoginKey
from yunmo.tenancy.projects import Project

__all__ = [
    "Answering",
    "AuditEntry",
    "CalibrationView",
    "CreatedKey",
    "DeploymentSpec",
    "DeploymentView",
    "KeyInfo",
    "LoginKey",
    "Project",
    "Rates",
    "Refusal",
    "Served",
    "TokenTotals",
    "UsageRow",
    "plot",
]
