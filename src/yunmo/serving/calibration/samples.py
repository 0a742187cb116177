"""Inputs that a calibration runs: of realistic mixed lengths and sizes, texts in English and Chinese, the same every time."""

import random
import re
from collections.abc import Callable, Iterable, Sequence

from yunmo.core.engine import ModelDescription
from yunmo.core.languages import instructions
from yunmo.core.rewriting import T5_LIKE
from yunmo.core.tasks import (
    Answer,
    Chat,
    Classify,
    ClassifyAudio,
    ClassifyImage,
    ClassifyImageZeroShot,
    ClassifyTokens,
    ClassifyZeroShot,
    Embed,
    FillMask,
    Generate,
    Message,
    Request,
    Sampling,
    Summarize,
    Transcribe,
    Translate,
)
from yunmo.serving.calibration.sensed import conversations, pictures, sounds

_SEED = 20261124
_TEXTS = 192
_PROMPTS = 12
_SENTENCES = 24
_REPLY_TOKENS = 32
_PROMPT_WORDS = 80
_TYPICAL_WORDS = 3.2
_SPREAD = 0.6
_FEWEST_WORDS = 5
_MOST_WORDS = 100

_ENGLISH = (
    "The parcel arrived two days late, but the driver called ahead and left it with our neighbour.",
    "Could you tell me whether the warranty also covers water damage?",
    "I have used this kettle every morning for three years and it still boils faster than the new one.",
    "The second half of the film drags, although the ending almost makes up for it.",
    "Our office in Rotterdam opens at nine and closes at half past five, except on public holidays.",
    "Please cancel my subscription and send a receipt for the last two months to this address.",
    "Nobody at the counter knew which form was needed, so we came back with all of them.",
    "The battery lasts a whole day of meetings, which is more than I can say for its predecessor.",
    "Heavy rain is expected in the north by evening, with gusts of up to ninety kilometres an hour.",
    "She explained the new pricing patiently, twice, and never once sounded annoyed.",
    "The soup was cold, the bread was stale, and the waiter argued about both.",
    "A short circuit in the cooling unit stopped the line for forty minutes on Tuesday.",
    "Turn the lower valve clockwise until the pressure gauge reads between two and three bar.",
    "We moved the data centre to the second floor after the flood of last autumn.",
    "The council voted eleven to four in favour of the cycle path along the canal.",
    "I would recommend the hotel to families, less so to anyone who wants a quiet night.",
    "Her first novel sold modestly; the second was translated into fourteen languages.",
    "The update fixed the crash at start-up but made searching noticeably slower.",
    "How do I change the language of the invoices that customers receive?",
    "Revenue rose by six per cent in the third quarter while costs stayed flat.",
)
_CHINESE = (
    "快递比预计晚了两天，不过司机提前打了电话，把包裹交给了邻居。",
    "请问保修范围包括进水造成的损坏吗？",
    "这款水壶我每天早上都用，三年了，烧水还是很快。",
    "电影后半段有些拖沓，好在结尾处理得不错。",
    "请帮我取消订阅，并把最近两个月的发票发到这个邮箱。",
    "柜台的工作人员不清楚需要哪张表格，我们只好全部带齐再来一趟。",
    "电池可以撑过一整天的会议，比上一代强多了。",
    "预计傍晚北部有大雨，阵风可达九级。",
    "汤是凉的，面包也不新鲜，服务员还和我们争论。",
    "周二冷却机组短路，生产线停了四十分钟。",
    "把下方的阀门顺时针拧紧，直到压力表读数在二到三巴之间。",
    "去年秋天水灾之后，我们把机房搬到了二楼。",
    "第三季度收入增长百分之六，成本基本持平。",
    "更新修复了启动时的崩溃，但搜索明显变慢了。",
    "怎样修改客户收到的账单所用的语言？",
    "她耐心地把新的价格方案解释了两遍，语气一直很温和。",
)
_LABELS = ("delivery", "billing", "weather", "products", "travel")
_THINGS = ("a cat", "a street at night", "a plate of food", "a red circle", "stripes", "a landscape")


def has_samples(task: str) -> bool:
    """Whether there are inputs for the task."""
    return task in _MAKERS or task in _SENSED


def samples(task: str, model: ModelDescription) -> list[Request]:
    """Requests of one input each for the task; none if there are no inputs for it. Pictures and sounds take seconds to make, once."""
    if task in _SENSED:
        return _SENSED[task]()
    make = _MAKERS.get(task)
    if make is None:
        return []
    source = random.Random(_SEED)  # noqa: S311 - not for secrets
    if task == "translate":
        chinese = 1.0 if _is_from_chinese(model) else 0.0
        return make([_passage(source, _words(source), chinese) for _ in range(_SENTENCES)], model)
    if task in _LONG:
        return make([_passage(source, _PROMPT_WORDS) for _ in range(_PROMPTS)], model)
    return make([_passage(source, _words(source)) for _ in range(_TEXTS)], model)


def _words(source: random.Random) -> int:
    """Log-normal: most texts are short, some are long."""
    return int(min(_MOST_WORDS, max(_FEWEST_WORDS, source.lognormvariate(_TYPICAL_WORDS, _SPREAD))))


def _passage(source: random.Random, words: int, chinese: float = 0.25) -> str:
    """About so many words: so large a share of passages Chinese, two characters counting as a word."""
    is_chinese = source.random() < chinese
    sentences = _CHINESE if is_chinese else _ENGLISH
    passage = ""
    while (len(passage) / 2 if is_chinese else len(passage.split())) < words:
        passage += source.choice(sentences) + ("" if is_chinese else " ")
    return passage[: 2 * words] if is_chinese else " ".join(passage.split()[:words])


def _classify(texts: Sequence[str], _model: ModelDescription) -> list[Request]:
    return [Classify(texts=(text,), function="none") for text in texts]


def _classify_tokens(texts: Sequence[str], _model: ModelDescription) -> list[Request]:
    return [ClassifyTokens(texts=(text,), aggregation="none", ignore_labels=()) for text in texts]


def _classify_zero_shot(texts: Sequence[str], _model: ModelDescription) -> list[Request]:
    return [ClassifyZeroShot(texts=(text,), labels=_LABELS) for text in texts[::4]]


def _answer(texts: Sequence[str], _model: ModelDescription) -> list[Request]:
    return [Answer(question=f"What is said about {text.split()[0]}?", context=text) for text in texts[::2]]


def _fill_mask(texts: Sequence[str], model: ModelDescription) -> list[Request]:
    given = (model.documents.get("tokenizer_config.json") or {}).get("mask_token") or "[MASK]"
    mask = given.get("content", "[MASK]") if isinstance(given, dict) else str(given)
    return [FillMask(texts=(f"{text[: len(text) // 2]} {mask} {text[len(text) // 2 :]}",)) for text in texts]


def _embed(texts: Sequence[str], _model: ModelDescription) -> list[Request]:
    return [Embed(inputs=(text,)) for text in texts]


def _chat(texts: Sequence[str], _model: ModelDescription) -> list[Request]:
    sampling = Sampling(max_tokens=_REPLY_TOKENS, temperature=0.0)
    return [Chat(messages=(Message("user", f"{text} Summarise this in one sentence."),), sampling=sampling) for text in texts]


def _generate(texts: Sequence[str], _model: ModelDescription) -> list[Request]:
    return [Generate(prompt=text, sampling=Sampling(max_tokens=_REPLY_TOKENS, temperature=0.0)) for text in texts]


def _translate(texts: Sequence[str], model: ModelDescription) -> list[Request]:
    source, target = _languages(model)
    sampling = Sampling(max_tokens=_REPLY_TOKENS)
    return [Translate(texts=(text,), source=source, target=target, sampling=sampling, truncate=True) for text in texts]


def _summarize(texts: Sequence[str], _model: ModelDescription) -> list[Request]:
    return [Summarize(texts=(text,), sampling=Sampling(max_tokens=_REPLY_TOKENS), truncate=True) for text in texts]


def _classify_image() -> list[Request]:
    return [ClassifyImage(image=picture, function="none") for picture in pictures()]


def _classify_image_zero_shot() -> list[Request]:
    return [ClassifyImageZeroShot(image=picture, labels=_THINGS) for picture in pictures()]


def _classify_audio() -> list[Request]:
    return [ClassifyAudio(audio=sound, function="none") for sound in sounds()]


def _transcribe() -> list[Request]:
    return [Transcribe(audio=conversation) for conversation in conversations()]


def _languages(model: ModelDescription) -> tuple[str | None, str | None]:
    """The languages to name in a request; None where the model knows one only."""
    kind = model.config.get("model_type")
    if kind in T5_LIKE:
        pairs = sorted(instructions(model.config.get("task_specific_params") or {}))
        return next((pair for pair in pairs if pair[0] == "en"), (pairs or [("en", "de")])[0])
    if not model.config:
        return None, None
    if kind != "marian":
        return "en", "fr"
    tokens: Iterable[str] = model.documents.get("vocab.json") or ()
    targets = (found[1] for token in tokens if (found := re.fullmatch(r">>(\w+)<<", token)))
    return None, next(targets, None)


def _is_from_chinese(model: ModelDescription) -> bool:
    told = model.documents.get("metadata.json")
    if not model.config and isinstance(told, dict):
        return str(told.get("sourceLanguage")).startswith("zh")
    own = (model.documents.get("tokenizer_config.json") or {}).get("source_lang")
    return model.config.get("model_type") == "marian" and str(own).startswith("zh")


_LONG = frozenset({"chat", "generate", "summarize"})
_MAKERS: dict[str, Callable[[Sequence[str], ModelDescription], list[Request]]] = {
    "classify": _classify,
    "classify-tokens": _classify_tokens,
    "classify-zero-shot": _classify_zero_shot,
    "answer": _answer,
    "fill-mask": _fill_mask,
    "embed": _embed,
    "chat": _chat,
    "generate": _generate,
    "translate": _translate,
    "summarize": _summarize,
}
_SENSED: dict[str, Callable[[], list[Request]]] = {
    "classify-image": _classify_image,
    "classify-image-zero-shot": _classify_image_zero_shot,
    "classify-audio": _classify_audio,
    "transcribe": _transcribe,
}
