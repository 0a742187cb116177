"""Cloud: the in-process public API that dialects, applications and the console use."""

from dataclasses import dataclass

from yunmo.cloud.system import System
from yunmo.cloud.values import Answering, Rates, Served
from yunmo.hub.hub import Hub
from yunmo.serving.deployments import Deployments
from yunmo.serving.infer import Answering, Inference
from yunmo.serving.specification import Served
from yunmo.tenancy.limits import Rates
from yunmo.tenancy.tenancy import Tenancy

__all__ = ["Answering", "Cloud", "Rates", "Served"]

__all__ = ["Answering", "Cloud", "Rates", "Served"]


@dataclass(frozen=True, slots=True)
class Cloud:
    """Everything that a door into Yunmo may use."""

    hub: Hub
    deployments: Deployments
    inference: Inference
    tenancy: Tenancy
    system: System
