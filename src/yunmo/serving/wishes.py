"""What a deployment that somebody wishes for must be, whatever its model."""

import dataclasses

from yunmo.core.errors import InvalidRequest, NotFound
from yunmo.core.identity import Limits, Principal
from yunmo.serving.calibration.calibrations import aim_of
from yunmo.serving.names import NAME
from yunmo.serving.specification import DeploymentSpec


def check_wish(principal: Principal, spec: DeploymentSpec) -> None:
    """Raise Forbidden, NotFound or InvalidRequest for a deployment that the caller may not wish for, or that cannot be."""
    principal.require("write")
    if not principal.is_admin and spec.project != principal.project:
        raise NotFound(f"There is no deployment '{spec.name}' in your project.")
    if not NAME.fullmatch(spec.name):
        raise InvalidRequest(
            f"'{spec.name}' cannot be a deployment's name: use letters, digits, '.', '_', '-', at most one '/'.", param="name"
        )
    if not 1 <= spec.replicas <= 64:
        raise InvalidRequest("replicas must be from 1 to 64.", param="replicas")
    known = {field.name for field in dataclasses.fields(Limits)}
    if set(spec.limits) - known:
        raise InvalidRequest(f"limits takes {', '.join(sorted(known))}.", param="limits")
    spec.ceilings().check()
    aim_of(spec)
