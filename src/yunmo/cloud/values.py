"""The values that go in and out of Cloud, gathered for dialects."""

from yunmo.files.file import PURPOSES, File, Upload
from yunmo.files.file import Part as UploadPart
from yunmo.jobs.job import STATES, Failure, Job, JobEvent, Progress
from yunmo.jobs.store import Connection
from yunmo.jobs.work import Outcome, Paused, Work
from yunmo.serving.calibration.plot import plot
from yunmo.serving.calibration.report import CalibrationView
from yunmo.serving.infer import Answering
from yunmo.serving.promotions import Promotion
from yunmo.serving.specification import DeploymentSpec, DeploymentView, Served
from yunmo.tenancy.audit import AuditEntry
from yunmo.tenancy.devices import Refusal
from yunmo.tenancy.keys import CreatedKey, KeyInfo
from yunmo.tenancy.ledger import TokenTotals, UsageRow
from yunmo.tenancy.limits import Rates
from yunmo.tenancy.logins import LoginKey
from yunmo.tenancy.projects import Project
from yunmo.training.evaluation import Evaluation
from yunmo.training.order import Order, Rows
from yunmo.training.state import Certificate, KeptModel, Trained, TrainingState
from yunmo.training.trainings import order_of, phase

__all__ = [
    "PURPOSES",
    "STATES",
    "Answering",
    "AuditEntry",
    "CalibrationView",
    "Certificate",
    "Connection",
    "CreatedKey",
    "DeploymentSpec",
    "DeploymentView",
    "Evaluation",
    "Failure",
    "File",
    "Job",
    "JobEvent",
    "KeptModel",
    "KeyInfo",
    "LoginKey",
    "Order",
    "Outcome",
    "Paused",
    "Progress",
    "Project",
    "Promotion",
    "Rates",
    "Refusal",
    "Rows",
    "Served",
    "TokenTotals",
    "Trained",
    "TrainingState",
    "Upload",
    "UploadPart",
    "UsageRow",
    "Work",
    "order_of",
    "phase",
    "plot",
]
