"""The trainer as a kind of engine: it never offers to serve, and is placed for jobs by name."""

from pathlib import Path

from yunmo.core.engine import Engine, Hardware, ModelDescription, Offer, Plan, Progress


class TrainerKind:
    """The kind of engine that is registered as `trainer`."""

    name = "trainer"
    libraries = (
        "torch",
        "transformers.modeling_utils",
        "transformers.models.auto",
        "transformers.generation.utils",
        "accelerate",
        "peft",
    )

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """Nothing: a trainer answers no requests of clients."""
        del model, hardware
        return None

    def check(self, plan: Plan) -> None:
        """Any plan will do; its threads are used."""

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine:
        """Import what trains; the model is loaded by the request, whose recipe says how."""
        from yunmo.engines.trainer.engine import Trainer

        return Trainer(directory, derived, plan, progress)


kind = TrainerKind()
