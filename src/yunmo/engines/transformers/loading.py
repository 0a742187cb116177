"""Load a checkpoint and what goes with it, offline, without code and without pickles."""

import json
import threading
import warnings
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from yunmo.core.engine import Plan, Progress
from yunmo.core.errors import ContextTooLong, EngineFailed
from yunmo.core.rewriting import context_tokens
from yunmo.engines.transformers import families
from yunmo.engines.transformers.families import Family

_HARMLESS_MISSING = ("pooler.", "position_ids")


class Checkpoint:
    """A loaded model with its tokenizer and processors, which are loaded when first asked for.

    `lock` guards the tokenizer: encoding with other truncation or language settings changes it while it works.
    """

    def __init__(self, directory: Path, family: Family, plan: Plan, progress: Progress) -> None:
        progress("loading the library", 0.0)
        import torch
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        torch.set_num_threads(plan.threads)
        self.directory = directory
        self.family = family
        self.plan = plan
        self.lock = threading.Lock()
        progress("loading the weights", 0.3)
        self.model = self._load_model()
        self.config = self.model.config
        progress("loaded", 1.0)

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer of the repository."""
        return self._load_part("AutoTokenizer")

    @cached_property
    def image_processor(self) -> Any:
        """What turns pictures into the model's input."""
        return self._load_part("AutoImageProcessor")

    @cached_property
    def feature_extractor(self) -> Any:
        """What turns sound into the model's input."""
        return self._load_part("AutoFeatureExtractor")

    @cached_property
    def processor(self) -> Any:
        """Tokenizer and image processor in one, for models that need them joined."""
        return self._load_part("AutoProcessor")

    @cached_property
    def context_tokens(self) -> int | None:
        """How many tokens the model can read; None where there is no limit."""
        return context_tokens(self.config, self.tokenizer, self.plan.context_tokens)

    def count(self, *texts: str) -> int:
        """How many tokens the model reads for this text, or for this pair of texts.

        Raises ContextTooLong when that is more than it can.
        """
        with self.lock:
            count = len(self.tokenizer(*texts, truncation=False, verbose=False)["input_ids"])
        self.check_length(count)
        return count

    def check_length(self, count: int) -> None:
        """Raise ContextTooLong when the model cannot read so many tokens."""
        if self.context_tokens is not None and count > self.context_tokens:
            raise ContextTooLong(
                f"the input has {count} tokens; this model reads at most {self.context_tokens}: shorten it", param="inputs"
            )

    def document(self, name: str) -> Any:
        """A JSON file of the repository; None if it has none of that name."""
        with suppress(OSError, ValueError):
            return json.loads((self.directory / name).read_text("utf-8"))
        return None

    def _load_model(self) -> Any:
        import torch
        from safetensors import SafetensorError

        precision = torch.bfloat16 if self.plan.precision == "bf16" else torch.float32
        try:
            model, report = self._model_class().from_pretrained(
                str(self.directory),
                dtype=precision,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except (SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError) as error:
            raise EngineFailed(f"the model could not be loaded: {_first_line(error)}") from error
        missing = [name for name in report["missing_keys"] if not any(part in name for part in _HARMLESS_MISSING)]
        if missing:
            raise EngineFailed(
                f"the checkpoint lacks {len(missing)} of the model's weights ({min(missing)} …), so its answers would be random: "
                "train it for this task, or correct `architectures` in its config.json"
            )
        return model.eval()

    def _model_class(self) -> Any:
        import transformers

        named = (self.document("config.json") or {}).get("architectures") or []
        architecture = str(named[0]) if named else ""
        if not architecture or not families.runs_own_class(self.family, architecture):
            return getattr(transformers, self.family.auto_class)
        found = getattr(transformers, architecture, None)
        if not (isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)):
            raise EngineFailed(f"transformers {transformers.__version__} does not have the architecture {architecture}")
        return found

    def _load_part(self, auto_class: str) -> Any:
        import transformers

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # recommendations of further packages (sacremoses)
                return getattr(transformers, auto_class).from_pretrained(
                    str(self.directory), local_files_only=True, trust_remote_code=False
                )
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError, RuntimeError) as error:
            part = auto_class.removeprefix("Auto")
            raise EngineFailed(f"the model's {part} could not be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().split("\n", 1)[0][:300]
