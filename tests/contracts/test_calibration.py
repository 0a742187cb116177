"""Calibrations on real workers: plans that are quick, slow, broken or unfaithful, beside a deployment that serves."""

import datetime as dt

import pytest

from yunmo.assembly import open_cloud
from yunmo.core.engine import Hardware, ModelDescription, Offer, Plan
from yunmo.core.errors import InvalidRequest, Unavailable
from yunmo.engines.transformers.kind import describe_directory
from yunmo.engines.transformers.kind import kind as transformers
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.process import ProcessPlacement
from yunmo.serving.calibration.calibrator import Subject, calibrate
from yunmo.serving.calibration.decision import decide
from yunmo.serving.memory import MemoryBudget
from yunmo.serving.specification import DeploymentSpec
from yunmo.settings import Settings

MIB = 1 << 20
MODEL = ModelDescription("a/b", "0" * 40, {})
REFERENCE = {"delay_seconds": 0.02}


async def test_a_quicker_plan_is_found_and_a_broken_one_is_only_noted(tmp_path):
    quick, broken, wrong = {"delay_seconds": 0.001}, {"crash_on_load": True}, {"tasks": ["embed"]}
    told = []
    found = await _calibrate(tmp_path, [REFERENCE, broken, wrong, quick], tell=lambda step, share: told.append((step, share)))
    assert [trial.verdict for trial in found.trials] == ["fit", "failed", "failed", "fit"]
    assert decide(found, "throughput").plan.options == quick
    assert found.trials[1].reason
    assert found.trials[3].pace.per_second > 2 * found.trials[0].pace.per_second
    assert found.trials[3].drift.agreement == 1.0
    assert found.is_complete
    assert [trial.working_bytes > 0 for trial in found.trials] == [True, False, False, True]
    assert [share for _, share in told] == sorted(share for _, share in told)


async def test_without_a_working_reference_there_is_no_calibration(tmp_path):
    with pytest.raises(Unavailable):
        await _calibrate(tmp_path, [{"crash_on_load": True}, REFERENCE])


async def test_a_plan_for_which_no_time_is_left_is_noted_as_untried(tmp_path):
    found = await _calibrate(tmp_path, [REFERENCE, {"delay_seconds": 60.0}, {"delay_seconds": 0.001}], seconds=4)
    assert [trial.verdict for trial in found.trials] == ["fit", "untried", "untried"]
    assert not found.is_complete
    assert found.took_seconds < 10


async def test_a_calibration_takes_only_memory_that_is_free(tmp_path):
    memory = MemoryBudget(100 * MIB)
    found = await _calibrate(tmp_path, [REFERENCE, {"delay_seconds": 0.001}], memory=memory)
    assert [trial.verdict for trial in found.trials] == ["fit", "failed"]
    assert "memory" in found.trials[1].reason
    assert memory.used_bytes == 0


@pytest.mark.parametrize(
    ("name", "unit", "sampled"), [("vit", "images/s", 64), ("wav2vec2-classifier", "seconds of audio/s", 48)], ids=["pictures", "sounds"]
)
async def test_models_of_pictures_and_sounds_are_compared_and_measured_in_their_own_units(tmp_path, tiny_model, name, unit, sampled):
    directory = tiny_model(name)
    one_core = Hardware(cores=1, memory_bytes=8 << 30, instructions=frozenset({"avx512_bf16"}))
    description = describe_directory(directory)
    offer = transformers.offer(description, one_core)

    def worker_of(each):
        return WorkerSpec("trial", "transformers", directory, tmp_path / "derived", each.plan, tmp_path / "log")

    subject = Subject("trial", description, [offer, *offer.alternatives], "fingerprint", worker_of)
    found = await calibrate(subject, ProcessPlacement(), MemoryBudget(8 << 30), 300, lambda _step, _share: None)
    reference, half = found.trials
    assert found.unit == unit
    assert (reference.plan.precision, half.plan.precision) == ("fp32", "bf16")
    assert (reference.verdict, half.verdict) == ("fit", "fit"), half.reason
    assert half.drift.samples == sampled
    assert 0 < half.drift.error < 0.08
    assert reference.pace.per_second > 0


async def test_a_deployment_with_one_plan_has_nothing_to_calibrate(tmp_path):
    async with open_cloud(Settings(data=tmp_path)) as (cloud, key):
        admin = await cloud.tenancy.keys.identify(key.text)
        await cloud.deployments.create(admin, DeploymentSpec("echo", "admin", "echo", "", dt.datetime.now(dt.UTC)))
        with pytest.raises(InvalidRequest, match="nothing to calibrate"):
            await cloud.deployments.calibrate(admin, "echo", None, None)
        assert cloud.deployments.calibration(admin, "echo").state == "none"


async def test_memory_is_measured_after_the_work_and_not_only_after_loading(tmp_path):
    small, large = [await _calibrate(tmp_path, [REFERENCE, {"memory_bytes": size}]) for size in (0, 80 * MIB)]
    assert large.trials[1].working_bytes - small.trials[1].working_bytes == pytest.approx(80 * MIB, rel=0.1)
    assert {trial.predicted_bytes for trial in large.trials} == {64 * MIB}
    assert all(trial.working_bytes >= trial.resident_bytes > 0 for trial in large.trials)


async def _calibrate(tmp_path, options, *, seconds=30, memory=None, tell=lambda _step, _share: None):
    offers = [
        Offer(engine="echo", tasks=("classify",), plan=Plan(engine="echo", slots=4, options=each), memory_bytes=64 * MIB, preference=100)
        for each in options
    ]

    def worker_of(offer):
        return WorkerSpec("trial", "echo", tmp_path, tmp_path / "derived", offer.plan, tmp_path / "log")

    subject = Subject("trial", MODEL, offers, "fingerprint", worker_of)
    return await calibrate(subject, ProcessPlacement(), memory or MemoryBudget(1 << 30), seconds, tell)
