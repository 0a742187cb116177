"""The general engine: every architecture of the transformers library that has a task of ours, from safetensors files only."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from yunmo.core.conversion import conversion_of
from yunmo.core.engine import BatchEngine, Engine, Hardware, ModelDescription, Offer, Plan, Progress, check_precision, read_options
from yunmo.core.errors import EngineFailed, InvalidRequest
from yunmo.engines.transformers import families
from yunmo.engines.transformers.families import Family

PREFERENCE = 10
# Fitted to models at work (`bench/memory.py`): Python with torch 2.13 for CPUs. The rest is room for long texts and large pictures.
_LIBRARY_BYTES = 340 << 20
_ROOM_BYTES = 160 << 20
_SENSED = (families.IMAGE_CLASSIFIER, families.IMAGE_TEXT_MATCHER, families.AUDIO_CLASSIFIER)
_HALF = frozenset({"avx512_bf16", "amx_bf16"})
_SLOTS_PER_STREAM = 2  # one in work and one that waits
_SAFE_SUFFIXES = (".safetensors", ".json", ".txt", ".model", ".jinja", ".spm", ".vocab", ".tiktoken")
_FOREIGN_FOLDERS = ("onnx/", "openvino/", "original/", "runs/", "coreml/", "checkpoint-")
_CODE_FILES = ("config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json")
_ST_MODULES = ("Transformer", "Pooling", "Normalize")


class TransformersOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a plan: the family of architectures that the model is run as, and the tasks that it is run for."""

    family: str | None = None
    tasks: tuple[str, ...] = ()


class TransformersKind:
    """The kind of engine that is registered as `transformers`."""

    name = "transformers"
    libraries = (
        "torch",
        "transformers.modeling_utils",
        "transformers.models.auto",
        "transformers.generation.utils",
        "yunmo.engines.transformers.loading",
    )

    def offer(self, model: ModelDescription, hardware: Hardware) -> Offer | None:
        """Offer to run the model through its library class, below every dedicated engine."""
        if "config.json" not in model.files and "adapter_config.json" not in model.files:
            return None
        family = families.family_of(model)
        problem = _problem(model, family)
        if problem is None and family is None:
            return None
        tasks = families.tasks_of(family, model) if family else ()
        options = {"family": family.name, "tasks": list(tasks)} if family else {}
        files = _files(model)
        plan = Plan(
            engine=self.name,
            format="safetensors",
            precision="fp32",
            threads=max(1, hardware.cores),
            slots=family.slots if family else 1,
            options=options,
        )
        offer = Offer(
            engine=self.name,
            tasks=tasks,
            plan=plan,
            memory_bytes=0,
            preference=PREFERENCE,
            files=files,
            missing=_missing(model),
            problem=problem,
        )
        others = (replace(offer, plan=other) for other in _others(plan, family, hardware))
        return replace(self.sized(offer, model), alternatives=tuple(self.sized(other, model) for other in others))

    def sized(self, offer: Offer, model: ModelDescription) -> Offer:
        """The offer with the memory that its plan takes."""
        weights = _weight_bytes(model, offer.files) // (2 if offer.plan.precision == "bf16" else 1)
        return replace(offer, memory_bytes=_LIBRARY_BYTES + weights + _ROOM_BYTES, resident_bytes=_LIBRARY_BYTES + weights)

    def check(self, plan: Plan) -> None:
        """Refuse unknown options, families, tasks and precisions."""
        options = read_options(plan, TransformersOptions)
        if options.family is not None and options.family not in families.FAMILIES:
            raise InvalidRequest(
                f"There is no family '{options.family}' of models; there are: {', '.join(families.FAMILIES)}.", param="family"
            )
        family = families.FAMILIES[options.family] if options.family else None
        strange = [task for task in options.tasks if family and task not in family.tasks]
        if family and strange:
            raise InvalidRequest(f"The family {family.name} has no task '{strange[0]}'; it has: {', '.join(family.tasks)}.", param="tasks")
        check_precision(plan, ("fp32", "bf16"))

    def load(self, directory: Path, derived: Path, plan: Plan, progress: Progress) -> Engine | BatchEngine:
        """Load the model and give it the engine of its family."""
        del derived
        from yunmo.engines.transformers.loading import Checkpoint

        family, tasks = _planned(directory, plan)
        checkpoint = Checkpoint(directory, family, plan, progress)
        return _engine_of(family)(checkpoint, tasks)


kind = TransformersKind()


def describe_directory(directory: Path) -> ModelDescription:
    """The description of a model that is laid out in a directory (without its card)."""
    files = {str(path.relative_to(directory)): path.stat().st_size for path in directory.rglob("*") if path.is_file()}
    documents = {name: json.loads((directory / name).read_text("utf-8")) for name in files if name.endswith(".json") and "/" not in name}
    return ModelDescription(repository=directory.name, revision="", files=files, documents=documents)


def _others(plan: Plan, family: Family | None, hardware: Hardware) -> Iterator[Plan]:
    """What may be faster for pictures and sounds: a stream per core, and bf16 where the processor multiplies in it.

    Text is left to the dedicated engines, which are faster in every layout.
    """
    if family not in _SENSED:
        return
    layouts = [(1, plan.threads)]
    if plan.threads > 1 and family is not families.IMAGE_TEXT_MATCHER:  # its tokenizer lets one request through at a time
        layouts.append((plan.threads, 1))
    for precision in ("fp32", "bf16") if hardware.instructions & _HALF else ("fp32",):
        for streams, threads in layouts:
            if (precision, threads) != (plan.precision, plan.threads):
                yield msgspec.structs.replace(
                    plan, precision=precision, streams=streams, threads=threads, slots=_SLOTS_PER_STREAM * streams
                )


def _planned(directory: Path, plan: Plan) -> tuple[Family, tuple[str, ...]]:
    named = families.FAMILIES.get(str(plan.options.get("family")))
    if named and plan.options.get("tasks"):
        return named, tuple(plan.options["tasks"])
    model = describe_directory(directory)
    family = named or families.family_of(model)
    if family is None:
        raise EngineFailed(f"the architecture {model.architectures} has no task that the transformers engine knows")
    return family, families.tasks_of(family, model)


def _engine_of(family: Family) -> Callable[[Any, tuple[str, ...]], Engine | BatchEngine]:
    from yunmo.engines.transformers import (
        answering,
        audio,
        describing,
        document_answers,
        embedding,
        generation,
        image_answers,
        rewriting,
        segmenting,
        speech,
        table_answers,
        text,
        vision,
    )

    makers: dict[str, Callable[[Any, tuple[str, ...]], Engine | BatchEngine]] = {
        families.SEQUENCE_CLASSIFIER.name: text.sequence_classifier,
        families.TOKEN_CLASSIFIER.name: text.token_classifier,
        families.MASK_FILLER.name: text.mask_filler,
        families.ANSWERER.name: answering.answerer,
        families.EMBEDDER.name: embedding.embedder,
        families.DECODER.name: generation.decoder,
        families.ENCODER_DECODER.name: rewriting.encoder_decoder,
        families.IMAGE_CLASSIFIER.name: vision.image_classifier,
        families.IMAGE_TEXT_MATCHER.name: vision.image_text_matcher,
        families.DETECTOR.name: vision.detector,
        families.SEGMENTER.name: segmenting.segmenter,
        families.DESCRIBER.name: describing.describer,
        families.IMAGE_ANSWERER.name: image_answers.image_answerer,
        families.IMAGE_ANSWER_WRITER.name: image_answers.image_answer_writer,
        families.DOCUMENT_ANSWERER.name: document_answers.document_answerer,
        families.DOCUMENT_ANSWER_WRITER.name: document_answers.document_answer_writer,
        families.TABLE_ANSWERER.name: table_answers.table_answerer,
        families.SPEECH_WRITER.name: speech.speech_writer,
        families.SPEECH_SPELLER.name: speech.speech_speller,
        families.AUDIO_CLASSIFIER.name: audio.audio_classifier,
        families.SPEAKER.name: audio.speaker,
    }
    return makers[family.name]


def _problem(model: ModelDescription, family: Family | None) -> str | None:
    """Why this model cannot be run at all, and how to mend it."""
    if "adapter_config.json" in model.files:
        return "it is an adapter, not a whole model: merge it into its base model (`merge_and_unload`) and push the result"
    code = next((name for name in _CODE_FILES if _names_code(model.documents.get(name))), None)
    if code:
        return (
            f"its {code} names code of its own (`auto_map` or the like), and code from a repository is never run: "
            "use a model whose architecture is part of transformers, and remove the entry"
        )
    if model.architectures[:1] == ("LayoutLMv2ForQuestionAnswering",):
        return "LayoutLMv2 needs detectron2, which Yunmo does not include: use LayoutLM or LayoutLMv3"
    sense = families.other_sense(model)
    if family is None and sense and model.architectures:
        return (
            f"{model.architectures[0]} works with {sense} besides text in a way that no task of Yunmo's has: choose a model that reads text alone, "
            "or one that answers questions about pictures (ViLT, BLIP), pages (LayoutLM, LayoutLMv3, Donut) or tables (TAPAS)"
        )
    if not any(path.endswith(".safetensors") for path in model.files):
        return _without_safetensors(model, family)
    return _without_voice(model) or _without_eyes(model) or _strange_module(model, family)


def _without_voice(model: ModelDescription) -> str | None:
    architecture = model.architectures[0] if model.architectures else ""
    if architecture == "SpeechT5ForTextToSpeech":
        return "SpeechT5 needs a speaker's embedding for every sentence, which a repository does not hold: use a VITS model (MMS-TTS)"
    if architecture == "VitsModel" and (model.documents.get("tokenizer_config.json") or {}).get("phonemize"):
        return "its tokenizer needs the phonemizer and espeak programs, which Yunmo does not include: use a VITS model that reads letters (MMS-TTS)"
    return None


def _without_eyes(model: ModelDescription) -> str | None:
    if "Pix2StructForConditionalGeneration" in model.architectures and (model.documents.get("preprocessor_config.json") or {}).get(
        "is_vqa"
    ):
        return (
            "it writes its question into the picture with a font that it would download, which Yunmo does not: use Donut, or ViLT and BLIP"
        )
    return None


def _strange_module(model: ModelDescription, family: Family | None) -> str | None:
    modules = [str(each.get("type", "")).rsplit(".", 1)[-1] for each in model.documents.get("modules.json") or []]
    strange = [name for name in modules if name not in _ST_MODULES]
    if strange and family is families.EMBEDDER:
        return f"its sentence-transformers module {strange[0]} is not known to the transformers engine (it knows {', '.join(_ST_MODULES)})"
    return None


def _names_code(document: Any) -> bool:
    return isinstance(document, dict) and any(name in document for name in ("auto_map", "custom_pipelines", "custom_pipeline"))


def _without_safetensors(model: ModelDescription, family: Family | None) -> str | None:
    conversion = conversion_of(model)
    if conversion and (family or "config.json" in model.files):
        return conversion
    if family and not any(path.endswith((".gguf", ".onnx")) for path in model.files):
        return "it has no weights: push its model.safetensors"
    return None


def _missing(model: ModelDescription) -> str | None:
    absent = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} (pip install 'yunmo[transformers]')"
    if model.architectures[:1] == ("TapasForQuestionAnswering",) and find_spec("pandas") is None:
        return "pandas (pip install 'yunmo[transformers]')"
    if model.config.get("use_timm_backbone") and find_spec("timm") is None:
        return "timm (pip install timm)"
    return None


def _files(model: ModelDescription) -> tuple[str, ...]:
    """What the library reads: the weights it would choose, configurations and vocabularies; never code or pickles."""
    index = model.documents.get("model.safetensors.index.json")
    shards = set(index.get("weight_map", {}).values()) if isinstance(index, dict) else set()
    weights = {"model.safetensors"} if "model.safetensors" in model.files else shards
    chosen = []
    for path in sorted(model.files):
        if path.startswith(_FOREIGN_FOLDERS) or not path.endswith(_SAFE_SUFFIXES):
            continue
        if path.endswith(".safetensors") and weights and path not in weights:
            continue
        chosen.append(path)
    return tuple(chosen)


def _weight_bytes(model: ModelDescription, files: tuple[str, ...]) -> int:
    stored = sum(model.files[path] for path in files if path.endswith(".safetensors"))
    precision = str(model.config.get("dtype") or model.config.get("torch_dtype") or "float32")
    return stored * 2 if "16" in precision else stored
