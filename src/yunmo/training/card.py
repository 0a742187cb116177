"""The card of a trained model: README.md, with front matter that hubs read and, in English and Chinese, what people want to know.

The form of the front matter: https://huggingface.co/docs/hub/model-cards and /model-cards-co2 for `model-index`.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from yunmo.training.calling import call_of
from yunmo.training.provenance import PROVENANCE_FILE, Provenance
from yunmo.training.state import Source

CARD_FILE = "README.md"

_ABOUT = {
    "supervised": ("a chat model tuned on conversations", "用对话微调的聊天模型"),
    "dpo": ("a chat model tuned on preferred answers (DPO)", "用偏好回答微调的聊天模型（DPO）"),
    "classification": ("a classifier of texts", "文本分类模型"),
    "token_classification": ("a labeller of words", "词标注模型"),
    "seq2seq": ("a model that rewrites texts (translation, summaries)", "改写文本的模型（翻译、摘要）"),
    "embedding": ("a model that turns texts into vectors", "把文本变成向量的模型"),
    "image_classification": ("a classifier of pictures", "图像分类模型"),
    "speech_recognition": ("a speech recognizer", "语音识别模型"),
    "pretrain": ("a model pre-trained on plain text", "用纯文本预训练的模型"),
}
_METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "macro_f1": ("f1", "Macro F1"),
    "f1": ("f1", "F1"),
    "exact_match": ("exact_match", "Exact match"),
    "chrf": ("chrf", "chrF2"),
    "bleu": ("bleu", "BLEU"),
    "wer": ("wer", "Word error rate"),
    "perplexity": ("perplexity", "Perplexity"),
}
"""Metrics that hubs know: by our name theirs, and the one for people."""


def card(provenance: Provenance) -> str:
    """The whole README.md."""
    front = yaml.safe_dump(front_matter_of(provenance), sort_keys=False, allow_unicode=True, width=120)
    parts = [f"---\n{front}---", f"# {provenance.repository}", *_english(provenance), *_chinese(provenance)]
    return "\n\n".join(part for part in parts if part) + "\n"


def front_matter_of(provenance: Provenance) -> dict[str, Any]:
    """What hubs read of the card. What is not known (the language) is left out."""
    each = provenance
    front: dict[str, Any] = {}
    for name in ("license", "license_name", "license_link"):
        if isinstance(value := each.base_card.get(name), str | list):
            front[name] = value
    if each.base:
        front |= {"base_model": each.base, "base_model_relation": "adapter" if each.is_adapter else "finetune"}
    if data_sets := list(dict.fromkeys(source.name for source in _sources(each) if source.is_data_set)):
        front["datasets"] = data_sets
    if each.pipeline_tag:
        front["pipeline_tag"] = each.pipeline_tag
    if each.is_adapter:
        front["library_name"] = "peft"
    elif each.recipe.method != "embedding":  # these may be sentence-transformers' own: their files tell
        front["library_name"] = "transformers"
    front["tags"] = ["yunmo", each.recipe.method.replace("_", "-"), *(["lora"] if each.recipe.lora else [])]
    if index := _model_index(each):
        front["model-index"] = index
    return front


def _model_index(provenance: Provenance) -> list[dict[str, Any]]:
    each = provenance
    judged = each.validation or each.train
    known = {name: value for name, value in each.result.metrics.items() if name in _METRICS and math.isfinite(value)}
    if not known or not each.pipeline_tag:
        return []
    name = _one_line(judged.name)
    data: dict[str, Any] = {"name": name, "type": name if judged.is_data_set else "private", "split": "validation"}
    if judged.commit:
        data["revision"] = judged.commit
    figures = [{"type": _METRICS[name][0], "name": _METRICS[name][1], "value": round(value, 6)} for name, value in known.items()]
    return [{"name": each.repository, "results": [{"task": {"type": each.pipeline_tag}, "dataset": data, "metrics": figures}]}]


# ---------------------------------------------------------------- what people read


def _english(provenance: Provenance) -> Iterable[str]:
    each, result = provenance, provenance.result
    yield f"This is {_ABOUT[each.recipe.method][0]}, trained with Yunmo{_based_on(each)}. [中文](#中文)"
    yield "## How to call it"
    if code := call_of(each):
        yield f"```python\n{code}\n```"
    else:
        yield "It is there to be trained on: name it as the base of another training."
    yield "## Data"
    yield _table(("", "source", "commit or sha256", "rows"), _data_rows(each, ("training", "validation")))
    yield "## Results"
    yield _table(("metric", "value"), _metric_rows(each))
    yield "\n".join(f"![{_plot_name(path)}]({path})" for path in result.plots)
    yield "## How it was trained"
    yield _table(("", ""), _recipe_rows(each))
    yield _table(("", ""), _effort_rows(each))
    yield "Versions: " + ", ".join(f"{_cell(name)} {_cell(version)}" for name, version in sorted(each.versions.items())) + "."
    yield "## How it was checked"
    yield (
        f"{_judged(each)} {each.parity_samples} answers of the model as it was trained are kept by the server that trained it, which compares "
        f"them with what is answered where the model is served. `{PROVENANCE_FILE}` tells everything that is told here to programs."
    )


def _chinese(provenance: Provenance) -> Iterable[str]:
    each, result = provenance, provenance.result
    based = f"，基座是 `{_cell(each.base)}`（提交 `{each.base_commit or '未知'}`）" if each.base else "，从零开始"
    kind = "LoRA 适配器，" if each.is_adapter else ""
    yield "## 中文"
    yield f"这是{_ABOUT[each.recipe.method][1]}，{kind}由云模（Yunmo）训练{based}。"
    figures = "，".join(f"{_METRICS[name][1] if name in _METRICS else name} {_figure(value)}" for name, value in result.metrics.items())
    data = "；".join(f"{which} {name}（{rows} 行）" for which, name, _, rows in _data_rows(each, ("训练数据", "验证数据")))
    yield (
        f"- 数据：{data}。\n"
        f"- 结果：{figures or '没有验证数据'}。\n"
        f"- 训练：{result.step} 步，{result.tokens} 个词元，用时 {result.seconds:.0f} 秒，随机种子 {each.recipe.seed}；"
        f"完整的配方见上表和 `{PROVENANCE_FILE}`。\n"
        f"- 硬件：{_cell(_machine(each, '核', '内存'))}。\n"
        f"- 检验：{'指标在没有参与训练的行上测得' if _is_judged(each) else '没有保留验证行'}；训练端的 {each.parity_samples} 个回答会与上线后的回答逐一比较。"
    )
    yield "调用方法见上面的例子。" if call_of(each) else "它是用来继续训练的：请把它作为另一次训练的基座。"


def _based_on(provenance: Provenance) -> str:
    each = provenance
    if not each.base:
        return " from nothing"
    if each.is_adapter:
        return f" as a LoRA adapter of `{_cell(each.base)}` at the commit `{each.base_commit}`, which answers with it"
    return f" from `{_cell(each.base)}` at the commit `{each.base_commit}`"


def _data_rows(provenance: Provenance, names: tuple[str, str]) -> list[tuple[str, str, str, str]]:
    """For each use of rows: what they are, where they come from, which version of it, how many."""
    train, validation = provenance.train, provenance.validation
    used = [(names[0], train, train.rows - train.kept_back)]
    if validation is not None:
        used.append((names[1], validation, validation.rows))
    elif train.kept_back:
        used.append((names[1], train, train.kept_back))
    rows = []
    for name, source, count in used:
        version = source.commit or source.sha256
        split = f" ({_cell(source.split)})" if source.split else ""
        rows.append((name, f"`{_cell(source.name)}`{split}", f"`{version}`" if version else "", str(count)))
    return rows


def _metric_rows(provenance: Provenance) -> list[tuple[str, str]]:
    rows = [
        (_METRICS[name][1] if name in _METRICS else _cell(name.replace("_", " ")), _figure(value))
        for name, value in provenance.result.metrics.items()
    ]
    return rows or [("none", "there were no validation rows")]


def _recipe_rows(provenance: Provenance) -> list[tuple[str, str]]:
    """The recipe as it was carried out, without what was not used."""
    recipe, rows = provenance.recipe, []
    for name in recipe.__struct_fields__:
        value = getattr(recipe, name)
        if value is None or name in {"lora", "pretraining"} or (name == "beta" and recipe.method != "dpo"):
            continue
        rows.append((name.replace("_", " "), _setting(value)))
    if recipe.lora is not None:
        lora = recipe.lora
        where = ", ".join(lora.targets) or "all linear layers"
        rows.append(("LoRA", f"rank {lora.rank}, alpha {lora.alpha:g}, dropout {lora.dropout:g}, {where}{', merged' * lora.merge}"))
    if recipe.pretraining is not None:
        rows += _pretraining_rows(recipe.pretraining)
    return [(name, _cell(value)) for name, value in rows]


def _pretraining_rows(pretraining: Any) -> list[tuple[str, str]]:
    rows = [("objective", str(pretraining.objective))]
    if (built := pretraining.architecture) is not None:
        shape = f"{built.layers} layers of {built.hidden}, {built.heads} heads, {built.positions} positions"
        rows.append(("architecture", f"{built.family}: {shape}"))
    if (tokenizer := pretraining.tokenizer) is not None:
        rows.append(("tokenizer", f"{tokenizer.kind}, {tokenizer.size} tokens"))
    return rows


def _effort_rows(provenance: Provenance) -> list[tuple[str, str]]:
    each, result = provenance, provenance.result
    rows = [
        ("steps", str(result.step)),
        ("tokens", str(result.tokens)),
        ("duration", _duration(result.seconds)),
        ("hardware", _machine(each, "cores", "of memory")),
        ("finished", each.finished_at.strftime("%Y-%m-%d %H:%M UTC")),
        ("job", each.job),
    ]
    if (estimate := each.estimate) is not None:
        rows.insert(0, ("parameters", f"{estimate.parameters}, of which {estimate.trained_parameters} were trained"))
        if estimate.cut_rows:
            rows.insert(1, ("rows that were cut", str(estimate.cut_rows)))
    return [(name, _cell(value)) for name, value in rows]


def _judged(provenance: Provenance) -> str:
    if _is_judged(provenance):
        return "The results are of validation rows that it did not learn from."
    return "No rows were kept back: how well it does on texts that it has not seen is not known."


def _is_judged(provenance: Provenance) -> bool:
    return provenance.validation is not None or provenance.train.kept_back > 0


def _sources(provenance: Provenance) -> list[Source]:
    return [provenance.train, *([provenance.validation] if provenance.validation else [])]


def _machine(provenance: Provenance, cores: str, memory: str) -> str:
    hardware = provenance.hardware
    parts = [hardware.processor, f"{hardware.cores} {cores}", f"{hardware.memory_bytes / 2**30:.1f} GiB {memory}"]
    if hardware.gpu_memory_bytes:
        parts.append(f"GPU {hardware.gpu_memory_bytes / 2**30:.1f} GiB")
    return ", ".join(part for part in parts if part)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_TABLE_SIGNS = re.compile(r"[|`\\<>\[\]]")


def _cell(text: str) -> str:
    """Somebody's text as one cell of a table: on one line, and nothing in it is Markdown or HTML."""
    return _TABLE_SIGNS.sub(lambda match: f"&#{ord(match[0])};", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _figure(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) and abs(value) < 1000 else f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.1f} s"
    return f"{minutes:.1f} min" if hours < 2 else f"{hours:.1f} h"


def _plot_name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0].replace("_", " ")
