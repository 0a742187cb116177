"""What a trainer does for its two requests: try a recipe, and carry it out."""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import msgspec

from yunmo.core.errors import InvalidRequest
from yunmo.core.training import Recipe, Train, TrainingNote, TrainingResult
from yunmo.engines.trainer import loop, trial
from yunmo.engines.trainer.adapting import name_base
from yunmo.engines.trainer.learner import Learner, Method, method_of
from yunmo.engines.trainer.memory import memory_told
from yunmo.engines.trainer.plots import draw
from yunmo.engines.trainer.storing import told_if_full
from yunmo.engines.trainer.versions import write_versions
from yunmo.engines.trainer.workspace import Workspace


def be_quiet() -> None:
    """Keep the libraries from printing."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    warnings.simplefilter("ignore")  # the libraries' own, about what the loop sets on purpose
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def check(base: Path, root: Path, recipe: Recipe, tell: loop.Tell) -> None:
    """Complete the recipe by the method's habits and by one real step, and tell the estimate."""
    workspace = Workspace(root)
    method = method_of(recipe)
    usual = with_habits(recipe, method)
    with memory_told(usual):
        learner = _prepared(base, workspace, usual, method)
        if learner.cut:
            tell(
                TrainingNote(
                    f"{learner.cut} rows are longer than {usual.max_tokens or 'what the model reads'} tokens and were cut.", "warning"
                )
            )
        for note in learner.notes:
            tell(TrainingNote(note, "warning"))
        tell(trial.estimate(learner, workspace, usual, tell))


def run(base: Path, root: Path, asked: Train, tell: loop.Tell, should_stop: Callable[[], bool]) -> None:
    """Carry the recipe out and leave its result; or a checkpoint, if it should stop before."""
    workspace, recipe = Workspace(root), asked.recipe
    with memory_told(recipe):
        learner = _prepared(base, workspace, recipe, method_of(recipe))
        name_base(learner.model, asked.base_name)
        result = loop.train(learner, workspace, recipe, tell, should_stop)
        if not result.is_stopped:
            result = _left(learner, workspace, result)
    tell(result)


def with_habits(recipe: Recipe, method: Method) -> Recipe:
    """The recipe with what the method does where it is not told."""
    rate = method.lora_learning_rate if recipe.lora else method.learning_rate
    return msgspec.structs.replace(
        recipe,
        epochs=recipe.epochs or method.epochs,
        batch_size=recipe.batch_size or method.batch_size,
        learning_rate=recipe.learning_rate or rate,
    )


def _prepared(base: Path, workspace: Workspace, recipe: Recipe, method: Method) -> Learner:
    from transformers import set_seed

    set_seed(recipe.seed)  # before the model: a new head is drawn at random
    learner = method.prepare(base, workspace, recipe)
    if not learner.examples:
        raise InvalidRequest("There are no rows to learn from.", param="rows")
    return learner


def _left(learner: Learner, workspace: Workspace, result: TrainingResult) -> TrainingResult:
    """Write the result beside the checkpoints: the model, pictures of how it was learnt, and what it answers."""
    from accelerate.utils import extract_model_from_parallel

    learner.model.eval()
    extract_model_from_parallel(learner.model, keep_fp32_wrapper=False)  # what was computed in bf16 is answered in the weights' fp32
    with told_if_full(workspace):
        learner.save(workspace.result)
        plots = draw(workspace)
        write_versions(workspace)
        workspace.write_parity(learner.parity())
    return msgspec.structs.replace(result, plots=plots)
