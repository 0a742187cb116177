"""The sentences and the trained head that the benchmarks of encoders share: film reviews, split once, and MiniLM tuned on some of them."""

import json
import sys
import tempfile
from pathlib import Path

from harness import ROOT

SEED = 20261123
SENTENCES = 6000
SNIPPETS = 2000
CACHE = ROOT / "bench" / ".cache" / "sentiment"

sys.path.insert(0, str(ROOT / "examples" / "sentiment"))

from reviews import LABELS, Sentence, load_reviews  # noqa: E402 - found by the line above


def split() -> tuple[list[Sentence], list[Sentence]]:
    """Sentences to learn from, and sentences held out."""
    return load_reviews(SEED)


def unseen() -> list[str]:
    """Snippets that `trained` did not learn from."""
    learning, held_out = split()
    return [sentence.text for sentence in [*held_out, *learning[SENTENCES:]][:SNIPPETS]]


def rows(sentences: list[Sentence]) -> list[dict[str, str]]:
    """The sentences as rows of classification."""
    return [{"text": each.text, "label": LABELS[each.label]} for each in sentences]


def trained() -> Path:
    """MiniLM with a head that tells good film reviews from bad, trained once per machine."""
    if not (CACHE / "model.safetensors").exists():
        from starter_models import minilm_directory
        from yunmo.core.training import Recipe, Train, TrainerOutput, TrainingEstimate
        from yunmo.engines.trainer import running

        with tempfile.TemporaryDirectory() as root:
            text = "\n".join(json.dumps(row) for row in rows(split()[0][:SENTENCES]))
            (Path(root) / "train.jsonl").write_text(text)
            news: list[TrainerOutput] = []
            wanted = Recipe(method="classification", epochs=1, batch_size=32, learning_rate=1e-4, seed=1)
            running.check(minilm_directory(), Path(root), wanted, news.append)
            recipe = next(each.recipe for each in news if isinstance(each, TrainingEstimate))
            running.run(minilm_directory(), Path(root), Train(recipe=recipe), news.append, lambda: False)
            CACHE.parent.mkdir(parents=True, exist_ok=True)
            (Path(root) / "result").rename(CACHE)
    return CACHE
