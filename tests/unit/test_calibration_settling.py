"""Which offer serves: the calibrated one, else the safest, else what there is to fall back on."""

import datetime as dt
from dataclasses import replace

import pytest

from yunmo.core.engine import Hardware, ModelDescription, Offer, Plan
from yunmo.core.errors import InvalidRequest
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.serving.calibration.calibrations import Calibrations, Habits
from yunmo.serving.calibration.report import Calibration, Pace, Trial
from yunmo.serving.memory import MemoryBudget
from yunmo.serving.specification import DeploymentSpec

SAFEST, OTHER = (
    Offer(engine="echo", tasks=("chat",), plan=Plan(engine="echo", precision=precision), memory_bytes=1, preference=70)
    for precision in ("F16", "Q8_0")
)
FALLBACK = Offer(engine="general", tasks=("chat",), plan=Plan(engine="general"), memory_bytes=1, preference=10, is_fallback=True)
SPEC = DeploymentSpec("talk", "acme", "acme/talk", "0" * 40, dt.datetime(2026, 11, 24, tzinfo=dt.UTC))


class Kept:
    """What was measured before: nothing, unless a test says it."""

    found = None

    async def find(self, *_key):
        return self.found


class Runner:
    spec = SPEC


@pytest.fixture
def calibrations():
    hardware = Hardware(cores=1, memory_bytes=1 << 30)
    return Calibrations(Kept(), ProcessPlacement(), MemoryBudget(1), hardware, Habits(is_automatic=True, limit_seconds=60, wait_seconds=60))


async def test_the_safest_serves_until_it_does_not_come_up(calibrations):
    assert await calibrations.settle(SPEC, [SAFEST, OTHER, FALLBACK]) == SAFEST
    calibrations.distrust(SPEC, SAFEST)
    assert await calibrations.settle(SPEC, [SAFEST, OTHER, FALLBACK]) == FALLBACK
    calibrations.distrust(SPEC, FALLBACK)
    assert await calibrations.settle(SPEC, [SAFEST, OTHER, FALLBACK]) == SAFEST


async def test_only_what_may_serve_is_settled_on_unless_nothing_may(calibrations):
    assert await calibrations.settle(SPEC, [SAFEST, OTHER, FALLBACK], lambda offer: offer != SAFEST) == OTHER
    assert await calibrations.settle(SPEC, [SAFEST, OTHER], lambda _: False) == SAFEST


async def test_a_measured_plan_is_foretold_from_what_it_held_at_work_and_keeps_its_room_to_grow(calibrations):
    estimated = replace(OTHER, memory_bytes=900, resident_bytes=600)
    report = Calibration(
        repository="acme/talk",
        revision="0" * 40,
        task="chat",
        unit="tokens/s",
        fingerprint="",
        at=SPEC.created,
        took_seconds=1.0,
        trials=(Trial(plan=SAFEST.plan, verdict="fit"), Trial(plan=OTHER.plan, verdict="fit", pace=Pace(10.0, 1.0), working_bytes=700)),
    )
    calibrations._store.found = report
    settled = await calibrations.settle(SPEC, [SAFEST, estimated])
    assert (settled.plan, settled.predicted_bytes, settled.memory_bytes) == (OTHER.plan, 700, 1000)
    calibrations.distrust(SPEC, settled)
    assert await calibrations.settle(SPEC, [SAFEST, estimated]) == SAFEST


async def test_a_plan_that_nobody_has_compared_is_never_fallen_back_on(calibrations):
    calibrations.distrust(SPEC, SAFEST)
    assert await calibrations.settle(SPEC, [SAFEST, OTHER]) == SAFEST


async def test_a_fallback_is_not_worth_comparing(calibrations):
    model = ModelDescription("acme/talk", "0" * 40, {})
    assert await calibrations.settle(SPEC, [SAFEST, FALLBACK]) == SAFEST
    with pytest.raises(InvalidRequest, match="nothing to calibrate"):
        calibrations.want(Runner(), model, [SAFEST, FALLBACK], None)
    calibrations.distrust(SPEC, SAFEST)
    calibrations.is_up(Runner(), model, [SAFEST, OTHER, FALLBACK])
    assert calibrations.view(SPEC).state == "none"
