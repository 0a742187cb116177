"""All calibrations of this server: which plan serves, what was measured, and the queue of what is still to be measured."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import psutil
import structlog

from yunmo.core.engine import Hardware, ModelDescription, Offer, Plan
from yunmo.core.errors import InvalidRequest, YunmoError
from yunmo.runtime.link import WorkerSpec
from yunmo.runtime.placement.placement import Placement
from yunmo.serving.calibration.calibrator import Subject, calibrate, can_be_calibrated
from yunmo.serving.calibration.decision import decide, trial_of
from yunmo.serving.calibration.report import AIMS, Aim, Calibration, CalibrationView
from yunmo.serving.hardware import fingerprint
from yunmo.serving.memory import MemoryBudget
from yunmo.serving.offers import AIM
from yunmo.serving.specification import DeploymentSpec
from yunmo.serving.store import CalibrationStore

_SECONDS = (5.0, 3600.0)
_CALM_SECONDS = 3.0
_CALM_PERCENT = 35.0
_log = structlog.get_logger()


class Calibrated(Protocol):
    """A runner, as far as its calibration goes."""

    spec: DeploymentSpec

    async def lay_out(self, spec: DeploymentSpec, offer: Offer) -> None: ...

    def worker_spec(self, spec: DeploymentSpec, offer: Offer) -> WorkerSpec: ...

    def reconsider(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Habits:
    """Whether models are calibrated without being asked for, how long it may take, how long to wait for a calm moment."""

    is_automatic: bool
    limit_seconds: float
    wait_seconds: float


@dataclass(slots=True)
class _Wish:
    """A runner to calibrate, as it was wanted when the wish was made."""

    runner: Calibrated
    spec: DeploymentSpec
    description: ModelDescription
    offers: Sequence[Offer]
    seconds: float
    is_asked_for: bool = True
    step: str = "waiting for its turn"
    share: float = 0.0


@dataclass(slots=True)
class _State:
    """What is known of one deployment: the measurements that are in force, the wish in work, and the last failure."""

    calibration: Calibration | None = None
    wish: _Wish | None = None
    problem: str = ""
    distrusted: list[Plan] = field(default_factory=list)


class Calibrations:
    """Settles which of a model's offers serves. `run` works off the queue, one model at a time."""

    def __init__(
        self,
        store: CalibrationStore,
        placement: Placement,
        memory: MemoryBudget,
        hardware: Hardware,
        habits: Habits,
    ) -> None:
        self._store = store
        self._placement = placement
        self._memory = memory
        self._hardware = hardware
        self._habits = habits
        self._states: dict[tuple[str, str], _State] = {}
        self._queue: asyncio.Queue[_Wish] = asyncio.Queue()

    # ------------------------------------------------------------ asked by runners

    async def settle(self, spec: DeploymentSpec, offers: Sequence[Offer], may_serve: Callable[[Offer], bool] = lambda _: True) -> Offer:
        """The offer to serve with: the calibration's choice for the deployment's aim, or the safest, or what is left to fall back on.

        It is one of those that may serve, if any of them may. Its memory is what the calibration measured of the plan at work, if it did.
        """
        state = self._state(spec)
        rivals = _rivals(offers)
        if len(rivals) > 1:
            state.calibration = await self._store.find(spec.repository, spec.revision, self._fingerprint(rivals))
        eligible = [offer for offer in offers if may_serve(offer)] or list(offers)
        plans = [offer.plan for offer in eligible]
        best = decide(state.calibration, aim_of(spec), plans) if state.calibration else None
        chosen = next((offer for offer in eligible if best is not None and offer.plan == best.plan), eligible[0])
        order = (chosen, eligible[0], *(offer for offer in eligible if offer.is_fallback))
        settled = next((offer for offer in order if offer.plan not in state.distrusted), eligible[0])
        trial = trial_of(state.calibration, settled.plan) if state.calibration else None
        return settled.measured(trial.working_bytes) if trial and trial.working_bytes else settled

    def distrust(self, spec: DeploymentSpec, offer: Offer) -> None:
        """This offer's worker did not come up here: serve with the safest until the server starts again."""
        self._state(spec).distrusted.append(offer.plan)

    def is_up(self, runner: Calibrated, description: ModelDescription, offers: Sequence[Offer]) -> None:
        """Have the runner's model calibrated if it never was."""
        state = self._state(runner.spec)
        rivals = _rivals(offers)
        is_known = state.calibration is not None or state.wish is not None or bool(state.problem) or rivals[0].plan in state.distrusted
        if self._habits.is_automatic and not is_known and can_be_calibrated(rivals):
            self._enqueue(_Wish(runner, runner.spec, description, rivals, self._habits.limit_seconds, is_asked_for=False))

    # ------------------------------------------------------------ asked by people

    def want(self, runner: Calibrated, description: ModelDescription, offers: Sequence[Offer], seconds: float | None) -> None:
        """Calibrate, again if need be. Raises InvalidRequest when there is nothing to choose from."""
        if seconds is not None and not _SECONDS[0] <= seconds <= _SECONDS[1]:
            raise InvalidRequest(f"A calibration takes {_SECONDS[0]:.0f} to {_SECONDS[1]:.0f} seconds, not {seconds:g}.", param="seconds")
        rivals = _rivals(offers)
        if not can_be_calibrated(rivals):
            raise InvalidRequest(
                f"'{runner.spec.name}' has nothing to calibrate: there is one way to run it here ({offers[0].engine}, "
                f"{offers[0].plan.precision or 'as it is'}), or no sample inputs for its task '{offers[0].tasks[0]}'."
            )
        if self._state(runner.spec).wish is None:
            self._enqueue(_Wish(runner, runner.spec, description, rivals, seconds or self._habits.limit_seconds))

    def view(self, spec: DeploymentSpec) -> CalibrationView:
        """What is known of the deployment's calibration."""
        state = self._state(spec)
        aim = aim_of(spec)
        chosen = decide(state.calibration, aim) if state.calibration else None
        wish = state.wish
        return CalibrationView(
            name=spec.name,
            state="running" if wish else "failed" if state.problem else "done" if state.calibration else "none",
            step=wish.step if wish else state.problem,
            progress=wish.share if wish else float(state.calibration is not None),
            aim=aim,
            chosen=chosen.plan if chosen else None,
            calibration=state.calibration,
        )

    # ------------------------------------------------------------ its life

    async def run(self) -> None:
        """Work off the queue until cancelled."""
        while True:
            wish = await self._queue.get()
            state = self._state(wish.spec)
            try:
                await self._work(wish, state)
                state.problem = ""
            except YunmoError as error:
                state.problem = error.message
                _log.warning("calibration_failed", deployment=wish.spec.name, reason=error.message)
            except Exception as error:  # boundary: worker loop, one model's calibration must not end all others'
                state.problem = f"an error of ours: {type(error).__name__}; see the server's log"
                _log.exception("calibration_crashed", deployment=wish.spec.name)
            finally:
                state.wish = None
            wish.runner.reconsider()

    async def _work(self, wish: _Wish, state: _State) -> None:
        spec = wish.spec
        if not wish.is_asked_for:
            wish.step = "waiting for a calm moment"
            await self._calm()

        def tell(step: str, share: float) -> None:
            wish.step, wish.share = step, share

        for offer in wish.offers:
            await wish.runner.lay_out(spec, offer)
        subject = Subject(
            spec.name, wish.description, wish.offers, self._fingerprint(wish.offers), functools.partial(wish.runner.worker_spec, spec)
        )
        calibration = await calibrate(subject, self._placement, self._memory, wish.seconds, tell)
        await self._store.save(calibration)
        state.calibration = calibration
        state.distrusted.clear()
        best = decide(calibration, aim_of(spec))
        _log.info("calibrated", deployment=spec.name, seconds=calibration.took_seconds, plan=repr(best.plan) if best else None)

    async def _calm(self) -> None:
        """Wait until the processor is mostly idle: what is measured beside other work says little, and slows it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._habits.wait_seconds):
                psutil.cpu_percent()
                while True:
                    await asyncio.sleep(_CALM_SECONDS)
                    if psutil.cpu_percent() < _CALM_PERCENT:
                        return

    def _enqueue(self, wish: _Wish) -> None:
        self._state(wish.spec).wish = wish
        self._queue.put_nowait(wish)

    def _state(self, spec: DeploymentSpec) -> _State:
        return self._states.setdefault((spec.name, spec.revision), _State())

    def _fingerprint(self, offers: Sequence[Offer]) -> str:
        return fingerprint(self._hardware, (offer.plan for offer in offers))


def _rivals(offers: Sequence[Offer]) -> list[Offer]:
    """The offers that are worth comparing."""
    return [offer for offer in offers if not offer.is_fallback]


def aim_of(spec: DeploymentSpec) -> Aim:
    """What the deployment's owner wants of its plan. Raises InvalidRequest for an aim that there is not."""
    given = spec.options.get(AIM, AIMS[0])
    if given not in AIMS:
        raise InvalidRequest(f"The aim is one of {', '.join(AIMS)}, not {given!r}.", param="options")
    return given  # type: ignore[no-any-return]
