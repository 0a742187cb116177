"""Speech recognition: recordings are written down, by a model that writes (Whisper) or by one that spells (CTC)."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from yunmo.core.errors import InvalidRequest
from yunmo.core.tasks import Transcribe, Transcript
from yunmo.core.training import ParitySample, Recipe
from yunmo.engines.recordings import decode_audio
from yunmo.engines.trainer.adapting import adapted, bare, merged, notes_of_merging, save_model
from yunmo.engines.trainer.averaging import Averaging
from yunmo.engines.trainer.learner import Learner
from yunmo.engines.trainer.media import Media
from yunmo.engines.trainer.recordings import Recording, Recordings
from yunmo.engines.trainer.spelling import Speller
from yunmo.engines.trainer.whisper import Writer
from yunmo.engines.trainer.workspace import Workspace

_PARITY_RECORDINGS = 4
_PARITY_BYTES = 8 * 1024 * 1024


class SpeechRecognition:
    """Trains all of a model that hears; of a speller all but what it hears the sound with (as arXiv:2006.11477 does)."""

    learning_rate = 1e-5
    lora_learning_rate = 1e-3
    batch_size = 8
    epochs = 3

    def prepare(self, base: Path, workspace: Workspace, recipe: Recipe) -> Learner:
        """Rows are `Spoken`s; a step decodes the recordings of its batch."""
        recordings = Recordings(Media(workspace, recipe.method, "audio"), _load_extractor(base))
        heard = [recordings.recording(*placed) for placed in workspace.placed_rows(recipe.method)]
        judged = [recordings.recording(*placed) for placed in workspace.placed_rows(recipe.method, is_validation=True)]
        kind = Writer if _model_type(base) == "whisper" else Speller
        scribe = kind.load(base, recipe, recordings, heard)
        scribe = replace(scribe, model=adapted(scribe.model, recipe, None, scribe.heads))
        examples = [scribe.example(each) for each in heard]
        if workspace.newest_checkpoint() is None:  # else they have been listened to when the training began
            for each in (*heard, *judged):
                recordings.samples(each)
        longest_first = sorted(judged, key=lambda each: -each.seconds)
        return Learner(
            model=scribe.model,
            examples=examples,
            validation=[scribe.example(each) for each in longest_first],
            lengths=[scribe.length(example) for example in examples],
            collate=scribe.collate,
            count=scribe.count,
            judge=scribe.judge,
            save=lambda folder: _save(scribe, folder, recipe),
            sample=lambda: _told(scribe, heard[0]),
            parity=lambda: _parity(scribe, [*judged, *heard]),
            cut=sum(example["is_cut"] for example in examples),
            trainer=Averaging,
            notes=(*scribe.notes, *notes_of_merging(recipe)),
        )


method = SpeechRecognition()

_Scribe = Writer | Speller


def _model_type(base: Path) -> str:
    try:
        return str(json.loads((base / "config.json").read_text("utf-8")).get("model_type", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise InvalidRequest(f"The base has no config.json that can be read: {error}", param="model") from error


def _load_extractor(base: Path) -> Any:
    from transformers import AutoFeatureExtractor

    try:
        return AutoFeatureExtractor.from_pretrained(str(base), local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"The base has no feature extractor that can be loaded: {error}", param="model") from error


def _save(scribe: _Scribe, folder: Path, recipe: Recipe) -> None:
    save_model(scribe.model, scribe.tokenizer, folder, merged(recipe))
    scribe.recordings.extractor.save_pretrained(folder)


def _told(scribe: _Scribe, recording: Recording) -> str:
    return f"{recording.medium.name or recording.medium.place} -> {_transcript(scribe, scribe.recordings.read(recording)).text}"


def _parity(scribe: _Scribe, recordings: Sequence[Recording]) -> list[ParitySample]:
    samples: list[ParitySample] = []
    room = _PARITY_BYTES
    for recording in recordings:
        if len(samples) == _PARITY_RECORDINGS:
            break
        data = scribe.recordings.read(recording)
        if len(data) <= room:
            room -= len(data)
            samples.append(ParitySample(Transcribe(audio=data), _transcript(scribe, data)))
    return samples


def _transcript(scribe: _Scribe, data: bytes) -> Transcript:
    """What clients are answered; where its words are in the recording is left to who serves."""
    from transformers import AutomaticSpeechRecognitionPipeline

    extractor = scribe.recordings.extractor
    samples = decode_audio(data, extractor.sampling_rate)
    pipeline = AutomaticSpeechRecognitionPipeline(model=bare(scribe.model), tokenizer=scribe.tokenizer, feature_extractor=extractor)
    with torch.inference_mode():
        text, language = scribe.answered(pipeline, samples)
    return Transcript(text=text, language=language, duration=len(samples) / extractor.sampling_rate)
