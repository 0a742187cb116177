"""The loop: transformers' Trainer over what a method has made ready, with checkpoints that are whole or not there."""

import math
import time
from collections.abc import Callable
from typing import Any

import psutil
import torch
import transformers
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.core.training import Recipe, TrainerOutput, TrainingCheckpoint, TrainingEvaluation, TrainingResult, TrainingStep
from yunmo.engines.trainer.judging import judge
from yunmo.engines.trainer.learner import Batch, Learner
from yunmo.engines.trainer.lengths import LengthGrouped
from yunmo.engines.trainer.storing import told_if_full
from yunmo.engines.trainer.workspace import Workspace

Tell = Callable[[TrainerOutput], None]


def train(learner: Learner, workspace: Workspace, recipe: Recipe, tell: Tell, should_stop: Callable[[], bool]) -> TrainingResult:
    """Train to the end, or until it should stop, from the newest checkpoint on. A checkpoint of the end is kept either way."""
    watch = _Watch(learner, workspace, recipe, tell, should_stop)
    trainer = build(learner, workspace, recipe, watch)
    newest = workspace.newest_checkpoint()
    trainer.train(resume_from_checkpoint=str(newest) if newest else None)
    history = trainer.state.log_history
    workspace.write_history(history)
    steps = [entry for entry in history if "loss" in entry]
    evaluations = [entry["evaluation"] for entry in history if "evaluation" in entry]
    return TrainingResult(
        step=trainer.state.global_step,
        tokens=sum(entry["tokens"] for entry in steps),
        seconds=round(sum(entry["seconds"] for entry in steps), 3),
        is_stopped=watch.has_stopped,
        metrics=evaluations[-1] if evaluations else {},
    )


def build(learner: Learner, workspace: Workspace, recipe: Recipe, watch: TrainerCallback | None = None) -> Any:
    """The Trainer for a complete recipe: transformers' own or a method's, with our order of rows and our form of checkpoints."""
    kind = type("Loop", (_Loop, learner.trainer or transformers.Trainer), {"learner": learner, "workspace": workspace})
    trainer = kind(
        model=learner.model,
        args=_arguments(learner, workspace, recipe),
        train_dataset=learner.examples,
        data_collator=learner.collate,
        callbacks=[watch] if watch else [],
    )
    if learner.forward is not None:
        trainer.loss_is_scaled_for_ga = False  # a mean of each part: the step's is theirs
    for callback in (transformers.PrinterCallback, transformers.ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


def steps_of(rows: int, recipe: Recipe) -> int:
    """How many steps a complete recipe takes over so many rows."""
    return recipe.max_steps or _steps_of_epoch(rows, recipe) * (recipe.epochs or 1)


def _steps_of_epoch(rows: int, recipe: Recipe) -> int:
    parts = math.ceil(rows / _part(recipe))
    return max(1, math.ceil(parts / (recipe.accumulation or 1)))


def _part(recipe: Recipe) -> int:
    """Rows that are computed at a time."""
    return max(1, (recipe.batch_size or 1) // (recipe.accumulation or 1))


def _arguments(learner: Learner, workspace: Workspace, recipe: Recipe) -> Any:
    steps = steps_of(len(learner.examples), recipe)
    return TrainingArguments(
        output_dir=str(workspace.unfinished),
        per_device_train_batch_size=_part(recipe),
        gradient_accumulation_steps=recipe.accumulation or 1,
        gradient_checkpointing=bool(recipe.recomputes),
        num_train_epochs=recipe.epochs or 1,
        max_steps=recipe.max_steps or -1,
        learning_rate=(recipe.learning_rate or 0.0) * recipe.learning_rate_multiplier,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=int(recipe.warmup * steps),
        weight_decay=recipe.weight_decay,
        bf16=recipe.precision == "bf16",
        seed=recipe.seed,
        data_seed=recipe.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        eval_strategy="no",
        use_cpu=not torch.cuda.is_available(),
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to=[],
    )


class _Loop:
    """What differs from transformers' Trainer: the order of rows, what is told of a step, the form of a checkpoint."""

    learner: Learner
    workspace: Workspace
    args: TrainingArguments
    state: TrainerState
    tokens = 0
    accuracies: tuple[float, ...] = ()
    began = 0.0

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGrouped:
        del train_dataset
        accumulation = self.args.gradient_accumulation_steps
        parts = math.ceil(len(self.learner.lengths) / self.args.train_batch_size)
        steps = max(1, math.ceil(parts / accumulation))
        size = self.args.train_batch_size * accumulation
        return LengthGrouped(self.learner.lengths, size, self.args.seed, lambda: int(self.state.global_step // steps))

    def compute_loss(self, model: Any, inputs: Batch, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        """The loss, and what is told of the batch beside it."""
        if self.tokens == 0:
            self.began = time.monotonic()
        self.tokens += self.learner.count(inputs)
        if self.learner.forward is not None:
            outputs = self.learner.forward(model, inputs)
            loss = outputs.loss
        else:
            given = super().compute_loss(model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch)  # type: ignore[misc]
            loss, outputs = given
        if self.learner.accuracy is not None:
            with torch.no_grad():
                self.accuracies = (*self.accuracies, self.learner.accuracy(outputs, inputs))
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, Any], *args: Any, **named: Any) -> None:
        """Add to the history what our step tells beside the loss."""
        if "loss" in logs:
            logs |= {
                "tokens": self.tokens,
                "seconds": round(time.monotonic() - self.began, 4),
                "memory": psutil.Process().memory_info().rss,
            }
            if self.accuracies:
                logs["token_accuracy"] = sum(self.accuracies) / len(self.accuracies)
            self.tokens, self.accuracies = 0, ()
        super().log(logs, *args, **named)  # type: ignore[misc]

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Keep the weights by the names that they have in the model.

        Of some architectures `save_pretrained` writes the names that they have on the Hub, and the Trainer does not find those
        again: it would go on with the base's weights.
        """
        model: Any = self.learner.model
        if isinstance(model, transformers.PreTrainedModel):
            model.save_pretrained(output_dir, state_dict=state_dict, save_original_format=False)
        else:
            super()._save(output_dir, state_dict)  # type: ignore[misc]

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        model: Any = self.learner.model
        unsaved = {*getattr(model, "all_tied_weights_keys", ()), *(getattr(model, "_keys_to_ignore_on_save", None) or ())}
        lost = [*(set(load_result.missing_keys) - unsaved), *load_result.unexpected_keys]
        if lost:
            raise EngineFailed(f"The checkpoint is not one of this model: {len(lost)} weights have other names ({min(lost)} …).")
        if load_result.missing_keys:
            model.tie_weights()

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with told_if_full(self.workspace):
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            self.workspace.complete_checkpoint(self.state.global_step)


class _Watch(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Tells of every step, judges at the end of every epoch, and says when a checkpoint is due and when to stop."""

    def __init__(self, learner: Learner, workspace: Workspace, recipe: Recipe, tell: Tell, should_stop: Callable[[], bool]) -> None:
        self.has_stopped = False
        self._learner = learner
        self._workspace = workspace
        self._recipe = recipe
        self._tell = tell
        self._should_stop = should_stop
        self._steps_of_epoch = _steps_of_epoch(len(learner.examples), recipe)
        self._saved_at = time.monotonic()
        self._model = ""
        self._metrics: dict[str, float] = {}

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **more: Any) -> None:
        """Tell of the step; a loss that is no number ends the training."""
        if logs is None or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise InvalidRequest(
                f"The training went astray: the loss of step {state.global_step} is no number. Lower the learning rate.",
                param="learning_rate",
            )
        self._tell(
            TrainingStep(
                step=state.global_step,
                steps=state.max_steps,
                epoch=round(state.epoch or 0.0, 4),
                loss=logs["loss"],
                learning_rate=logs["learning_rate"],
                gradient_norm=logs.get("grad_norm", 0.0),
                tokens=logs["tokens"],
                seconds=logs["seconds"],
                memory_bytes=logs["memory"],
                token_accuracy=logs.get("token_accuracy"),
            )
        )

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """See whether to stop, or to keep a checkpoint, within an epoch."""
        is_last = state.global_step >= state.max_steps or state.global_step % self._steps_of_epoch == 0
        if is_last:
            return  # the end of the epoch does it
        if self._should_stop():
            self.has_stopped = control.should_training_stop = control.should_save = True
        elif time.monotonic() - self._saved_at >= self._recipe.checkpoint_seconds:
            control.should_save = True

    def on_epoch_end(self, args: Any, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Judge, keep the model as it is, and have a checkpoint kept."""
        if self.has_stopped:
            return
        if self._learner.validation:
            self._judge(state)
        is_over = state.global_step >= state.max_steps
        if not is_over:
            self._keep_model(state)
        control.should_save = True
        if self._should_stop() and not is_over:
            self.has_stopped = control.should_training_stop = True

    def on_save(self, args: Any, state: TrainerState, control: TrainerControl, **more: Any) -> None:
        """Tell of the checkpoint."""
        self._saved_at = time.monotonic()
        self._tell(TrainingCheckpoint(step=state.global_step, epoch=round(state.epoch or 0.0, 4), model=self._model, metrics=self._metrics))
        self._model, self._metrics = "", {}

    def _judge(self, state: TrainerState) -> None:
        self._metrics = judge(self._learner, self._recipe)
        state.log_history.append({"step": state.global_step, "epoch": state.epoch, "evaluation": self._metrics})
        self._tell(TrainingEvaluation(step=state.global_step, epoch=round(state.epoch or 0.0, 4), metrics=self._metrics))

    def _keep_model(self, state: TrainerState) -> None:
        written = self._workspace.root / "model.unfinished"
        with told_if_full(self._workspace):
            self._learner.save(written)
            kept = self._workspace.complete_model(written, state.global_step)
        self._model = str(kept.relative_to(self._workspace.root))
