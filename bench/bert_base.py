"""A sentiment classifier of BERT-base's size whose labels mean something, made on this machine in a minute or two.

BERT-base's own weights cannot be had here, so MiniLM with its trained sentiment head (`classification_http.py`) is grown to 12 layers of
768: each unit becomes two that share its weights unequally (Chen, Goodfellow, Shlens: Net2Net, ICLR 2016, section 2), which changes
no answer, and a new layer with random weights that hardly changes one follows each old one. The head is then fitted to the features
of sentences that the held-out ones are not among. The same seed gives the same weights.

    python bench/bert_base.py
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bare_encoder import fp32_labels
from harness import ROOT
from sentiment import LABELS, split, trained, unseen

CACHE = ROOT / "bench" / ".cache" / "bert-base"
SEED = 20261130
LAYERS, WIDTH, INNER, HEADS = 12, 768, 3072, 12
FITTED_SENTENCES = 1000
SAMPLED_SENTENCES = 64
BATCH = 32
LONGEST_TOKENS = 64
INITIAL_RANGE = 0.02
RESIDUAL_SHARE = (2 * LAYERS) ** -0.5
"""New layers' outputs start smaller by this, as GPT-2's do."""


def main() -> None:
    """Make it, and say how good it is on sentences that nothing was fitted to."""
    directory = bert_base()
    held_out = split()[1]
    found = fp32_labels(directory, unseen())[: len(held_out)]
    right = sum(label == LABELS[sentence.label] for label, sentence in zip(found, held_out, strict=True))
    print(f"{directory}: {right / len(held_out):.1%} of {len(held_out)} held-out sentences right")


def bert_base() -> Path:
    """Where it is, as a repository of safetensors; made once."""
    if not (CACHE / "model.safetensors").exists():
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.manual_seed(SEED)
        tokenizer = AutoTokenizer.from_pretrained(trained())
        small = AutoModelForSequenceClassification.from_pretrained(trained()).eval()
        sentences = _learned_sentences()
        grown = _grown(small, _outputs(small, tokenizer, [text for text, _ in sentences[:SAMPLED_SENTENCES]]))
        _fit_head(grown, tokenizer, sentences)
        tokenizer.save_pretrained(CACHE)
        grown.save_pretrained(CACHE)
    return CACHE


def _learned_sentences() -> list[tuple[str, int]]:
    """Texts and labels that the small model has learned from too."""
    return [(sentence.text, sentence.label) for sentence in split()[0][:FITTED_SENTENCES]]


def _outputs(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[tuple[float, float]]:
    """The mean and the deviation within a token's numbers, after each layer: what a layer that changes nothing must give back."""
    import torch

    with torch.inference_mode():
        inputs = tokenizer(list(texts), padding=True, return_tensors="pt")
        is_real = inputs["attention_mask"].bool()
        states = model(**inputs, output_hidden_states=True).hidden_states[1:]
        return [(float(state[is_real].mean()), float(state[is_real].std(-1).mean())) for state in states]


def _grown(small: Any, outputs: Sequence[tuple[float, float]]) -> Any:
    """The model with each unit doubled and a new layer after each one."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    config = small.config.to_dict() | {"num_hidden_layers": LAYERS, "hidden_size": WIDTH, "intermediate_size": INNER}
    grown = BertForSequenceClassification(BertConfig(**config)).eval()
    with torch.no_grad():
        for name, value in small.state_dict().items():
            _put(grown, _deeper(name), value)
        for number, (mean, deviation) in enumerate(outputs):
            _make_quiet(grown.bert.encoder.layer[2 * number + 1], mean, deviation)
    return grown


def _deeper(name: str) -> str:
    """A parameter's name where every layer has a new one behind it."""
    words = name.split(".")
    if "layer" in words:
        place = words.index("layer") + 1
        words[place] = str(2 * int(words[place]))
    return ".".join(words)


def _put(grown: Any, name: str, value: Any) -> None:
    """Fill a doubled parameter: rows are repeated, and the two columns of a doubled input share what was one's."""
    target = grown.state_dict()[name]
    if name.startswith("classifier") or target.shape == value.shape:
        return
    is_of_heads = ".self." in name
    rows = _twice(value.shape[0], is_of_heads) if value.shape[0] < target.shape[0] else None
    wide = value if rows is None else value[rows]
    if value.ndim == 2:
        wide = wide[:, _twice(value.shape[1], is_of_heads="attention.output.dense" in name)]
        if "embeddings" not in name:
            wide = wide * _shares(wide.shape, is_of_heads="attention.output.dense" in name)
    if ".query." in name:
        wide = wide * 0.5**0.5  # a head's products are twice as large, and divided by √64 instead of √32
    target.copy_(wide)


def _twice(units: int, is_of_heads: bool) -> Any:
    """Which old unit each new one is: all of them, then all again; within each head where there are heads."""
    import torch

    groups = HEADS if is_of_heads else 1
    return torch.arange(units).view(groups, 1, -1).expand(-1, 2, -1).reshape(-1)


def _shares(shape: Sequence[int], is_of_heads: bool) -> Any:
    """Random shares of the weights, those of two inputs that are the same adding up to 1."""
    import torch

    groups = HEADS if is_of_heads else 1
    first = 0.3 + 0.4 * torch.rand(shape[0], groups, 1, shape[1] // groups // 2)
    return torch.cat([first, 1 - first], dim=2).reshape(*shape)


def _make_quiet(layer: Any, mean: float, deviation: float) -> None:
    """Random weights whose sums are small beside what goes past them; the norms give back the mean and deviation that came in."""
    for name, parameter in layer.named_parameters():
        if "LayerNorm" in name:
            parameter.fill_(deviation if name.endswith("weight") else mean)
        elif name.endswith("bias"):
            parameter.zero_()
        else:
            parameter.normal_(std=INITIAL_RANGE * (RESIDUAL_SHARE if ".output." in f".{name}" else 1.0))


def _fit_head(model: Any, tokenizer: Any, sentences: Sequence[tuple[str, int]]) -> None:
    """Logistic regression on the pooled features, which stay as they are."""
    import torch

    features, labels = _pooled(model, tokenizer, sentences)
    head = torch.nn.Linear(WIDTH, 2)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Any:
        optimizer.zero_grad()
        found = torch.nn.functional.cross_entropy(head(features), labels) + 1e-4 * head.weight.square().sum()
        found.backward()
        return found

    optimizer.step(loss)
    model.classifier.load_state_dict(head.state_dict())


def _pooled(model: Any, tokenizer: Any, sentences: Sequence[tuple[str, int]]) -> tuple[Any, Any]:
    """What the head sees of each sentence; batches of like length, since padding costs as much as text."""
    import torch

    ordered = sorted(sentences, key=lambda sentence: len(sentence[0]))
    features = []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, len(ordered), BATCH):
            texts = [text for text, _ in ordered[start : start + BATCH]]
            inputs = tokenizer(texts, padding=True, truncation=True, max_length=LONGEST_TOKENS, return_tensors="pt")
            features.append(model.bert(**inputs).pooler_output.float())
    return torch.cat(features).clone(), torch.tensor([label for _, label in ordered])


if __name__ == "__main__":
    main()
