"""Cloud: the in-process public API that dialects, applications and the console use."""

from dataclasses import dataclass

from yunmo.cloud.system import System
from yunmo.files.files import Files
from yunmo.hub.hub import Hub
from yunmo.jobs.queue import Jobs
from yunmo.serving.deployments import Deployments
from yunmo.serving.infer import Inference
from yunmo.serving.promotions import Promotions
from yunmo.tenancy.tenancy import Tenancy
from yunmo.training.evaluation import Evaluations
from yunmo.training.store import CertificateStore
from yunmo.training.trainings import Trainings


@dataclass(frozen=True, slots=True)
class Cloud:
    """Everything that a door into Yunmo may use."""

    hub: Hub
    deployments: Deployments
    promotions: Promotions
    inference: Inference
    tenancy: Tenancy
    jobs: Jobs
    files: Files
    trainings: Trainings
    evaluations: Evaluations
    certificates: CertificateStore
    system: System
