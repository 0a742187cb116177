"""Speech recognition: recordings are written down by a Whisper and spelt by CTC models, and refused with their lines."""

import base64
import io
import json

import msgspec
import numpy as np
import pytest
import soundfile
import torch

import tiny_models
import tiny_sounds
from trained import check_parity, check_resume, judged, news, notes, write_rows
from yunmo.core.errors import InvalidRequest
from yunmo.core.training import CheckTraining, Lora, Recipe, Train, TrainingEstimate
from yunmo.engines.trainer import spelling
from yunmo.engines.trainer.learner import method_of
from yunmo.engines.trainer.workspace import Workspace

TONES = {"HI": 700, "OK": 1700, "GO": 3500, "NO": 6000}
RECIPE = Recipe(
    method="speech_recognition", seed=1, epochs=5, batch_size=8, accumulation=1, learning_rate=1e-2, precision="fp32", schedule="constant"
)
SHORT = msgspec.structs.replace(RECIPE, epochs=1, learning_rate=1e-3)
STILL = dict.fromkeys(("hidden_dropout", "activation_dropout", "attention_dropout", "feat_proj_dropout", "final_dropout", "layerdrop", "mask_time_prob"), 0.0)  # fmt: skip


def tone(frequency: float, seconds: float = 0.4, rate: int = 16_000, kind: str = "WAV") -> bytes:
    times = np.arange(int(seconds * rate)) / rate
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.5 * np.sin(2 * np.pi * frequency * times), rate, format=kind)
    return buffer.getvalue()


def lay_out(workspace, *, repeats: int = 2, rate: int = 16_000, more_seconds: float = 0.0, texts=tuple(TONES)):
    """Each text is a tone of its own, one of them written into its row."""
    (workspace / "media").mkdir(parents=True)
    sounds = [tone(frequency, 0.4 + more_seconds * number, rate) for number, frequency in enumerate(TONES.values())]
    for number, sound in enumerate(sounds):
        (workspace / "media" / f"{number}.wav").write_bytes(sound)
    rows = [{"audio": f"{number}.wav", "text": text} for number, text in enumerate(texts)]
    rows[1]["audio"] = f"data:audio/wav;base64,{base64.b64encode(sounds[1]).decode()}"
    return write_rows(workspace, rows * repeats, rows)


def seeded(build, directory):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build(directory)
    return directory


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """It hears one second at a time."""
    return seeded(lambda folder: tiny_sounds.whisper(folder, seconds=1, init_std=0.1), tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    build = tiny_sounds.ctc("HubertForCTC", initializer_range=0.1, hidden_size=32, **STILL)
    return seeded(build, tmp_path_factory.mktemp("hubert"))


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    """One that hides stretches of what it hears while it learns, at random."""
    build = tiny_sounds.ctc("Wav2Vec2ForCTC", initializer_range=0.1, mask_time_prob=0.3, mask_time_length=2)
    return seeded(build, tmp_path_factory.mktemp("wav2vec2"))


@pytest.fixture
def workspace(tmp_path):
    return lay_out(tmp_path / "one", more_seconds=0.05)


async def test_a_speller_learns_its_recordings_and_spells_them_where_it_is_served(hubert, tmp_path):
    workspace = lay_out(tmp_path / "one", repeats=50)
    told = await news(hubert, workspace, Train(recipe=RECIPE))
    assert set(judged(told)[-1]) == {"loss", "perplexity", "wer"}
    assert judged(told)[0]["wer"] > judged(told)[-1]["wer"] == 0.0
    samples = await check_parity(workspace)
    assert [sample.output.text for sample in samples] == list(TONES)


async def test_a_whisper_learns_its_recordings_and_writes_them_where_it_is_served(whisper, tmp_path):
    """They are at 8 kHz, and heard at 16."""
    workspace = lay_out(tmp_path / "one", repeats=50, rate=8000, texts=("hi", "你好", "go", "no"))
    told = await news(whisper, workspace, Train(recipe=RECIPE))
    assert judged(told)[0]["wer"] > judged(told)[-1]["wer"] == 0.0
    samples = await check_parity(workspace)
    assert [sample.output.text for sample in samples[:2]] == ["hi", "你好"]
    assert samples[0].output.language


@pytest.mark.parametrize(("model", "lora"), [("whisper", None), ("wav2vec2", None), ("wav2vec2", Lora(rank=2))])
async def test_a_stopped_training_goes_on_bit_for_bit(request, workspace, tmp_path, model, lora):
    base, other = request.getfixturevalue(model), lay_out(tmp_path / "other", more_seconds=0.05)
    await check_resume(base, workspace, other, msgspec.structs.replace(SHORT, batch_size=2, lora=lora), stop_at=1)
    assert not (workspace / "result/adapter_model.safetensors").exists()
    await check_parity(workspace)


async def test_a_check_tells_the_language_and_that_adapters_are_merged(whisper, workspace):
    told = await news(whisper, workspace, CheckTraining(recipe=Recipe(method="speech_recognition", epochs=1, lora=Lora(rank=4))))
    assert "The language is taken to be" in notes(told)
    assert "merged" in notes(told)
    estimate = next(each for each in told if isinstance(each, TrainingEstimate))
    assert estimate.sample.startswith("0.wav -> ")
    assert 0 < estimate.trained_parameters < estimate.parameters
    await news(whisper, workspace, Train(recipe=estimate.recipe))
    await check_parity(workspace)


async def test_the_language_of_the_generation_config_is_learnt(whisper, workspace, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    for path in whisper.iterdir():
        (base / path.name).write_bytes(path.read_bytes())
    settings = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps({**settings, "language": "german", "task": "transcribe"}))
    learner = method_of(SHORT).prepare(base, Workspace(workspace), SHORT)
    prompt = [settings["lang_to_id"]["<|de|>"], settings["task_to_id"]["transcribe"], settings["no_timestamps_token_id"] + 1]
    assert learner.examples[0]["labels"][:3] == prompt
    assert learner.notes == ()


async def test_a_text_that_is_longer_than_what_is_written_has_no_end(whisper, tmp_path):
    workspace = lay_out(tmp_path / "one", texts=("a" * 100, "b", "c", "d"))
    told = await news(whisper, workspace, CheckTraining(recipe=msgspec.structs.replace(SHORT, max_tokens=16)))
    assert next(each for each in told if isinstance(each, TrainingEstimate)).cut_rows == 2
    with pytest.raises(InvalidRequest, match="writes at most 64 tokens"):
        await news(whisper, workspace, CheckTraining(recipe=msgspec.structs.replace(SHORT, max_tokens=65)))


async def test_a_base_without_letters_gets_those_of_the_rows(tmp_path):
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    HubertModel(HubertConfig(**tiny_sounds._wav2vec2_sizes())).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(tmp_path)
    workspace = lay_out(tmp_path / "one", texts=("你好", "再见", "é a", "b"))
    await news(tmp_path, workspace, Train(recipe=SHORT))
    assert {"你", "好", "再", "见", "é", "a", "b", "|", "<pad>"} <= set(json.loads((workspace / "result/vocab.json").read_text()))
    await check_parity(workspace)


async def test_letters_are_not_without_number(tmp_path, monkeypatch):
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    monkeypatch.setattr(spelling, "_MOST_LETTERS", 7)
    HubertModel(HubertConfig(**tiny_sounds._wav2vec2_sizes())).save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(InvalidRequest, match="8 different letters; at most 7"):
        await news(tmp_path, lay_out(tmp_path / "one", texts=("ab", "cd", "ef", "gh")), CheckTraining(recipe=SHORT))


async def test_texts_are_spelt_in_the_case_of_the_letters_and_strange_signs_are_told(wav2vec2, tmp_path):
    workspace = lay_out(tmp_path / "one", texts=("hi!", "ok", "go £", "no"))
    told = await news(wav2vec2, workspace, CheckTraining(recipe=SHORT))
    assert "left out of the texts: ! £" in notes(told)


def spoil(workspace, line: int = 3, **row):
    lines = (workspace / "train.jsonl").read_text().splitlines()
    lines[line - 1] = json.dumps({"audio": "0.wav", "text": "hi", **row})
    (workspace / "train.jsonl").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "Line 3: the data set has no file 'bad.wav'"),
        (b"", "Line 3: the recording cannot be read"),
        (b"RIFF, but no more", "Line 3: the recording cannot be read"),
        (tone(440, 0.01), "Line 3: the recording is shorter than 20 milliseconds"),
        (tone(440, 0.5, kind="FLAC")[:-900], "Line 3: the recording"),
        (tone(440, 1.2), "Line 3: the recording lasts 1.2 s, and at most 1 s are heard"),
    ],
)
async def test_a_recording_that_cannot_be_heard_is_told_with_its_line(whisper, workspace, data, message):
    spoil(workspace, audio="bad.wav")
    if data is not None:
        (workspace / "media/bad.wav").write_bytes(data)
    with pytest.raises(InvalidRequest, match=message) as raised:
        await news(whisper, workspace, CheckTraining(recipe=SHORT))
    assert raised.value.param == "audio"


async def test_words_that_cannot_be_spelt_are_told_with_their_line(wav2vec2, workspace):
    spoil(workspace, text="£££")
    with pytest.raises(InvalidRequest, match="Line 3: the text has no letter"):
        await news(wav2vec2, workspace, CheckTraining(recipe=SHORT))
    spoil(workspace, text="far too many words " * 20)
    with pytest.raises(InvalidRequest, match=r"Line 3: \d+ letters cannot be spelt in 0.40 s"):
        await news(wav2vec2, workspace, CheckTraining(recipe=SHORT))
    with pytest.raises(InvalidRequest, match="leave max_tokens out"):
        await news(wav2vec2, workspace, CheckTraining(recipe=msgspec.structs.replace(SHORT, max_tokens=16)))


async def test_a_recording_may_last_a_minute(wav2vec2, workspace):
    (workspace / "media/bad.wav").write_bytes(tone(440, 61))
    spoil(workspace, audio="bad.wav")
    with pytest.raises(InvalidRequest, match=r"Line 3: the recording lasts 61\.0 s, and at most 60 s are heard"):
        await news(wav2vec2, workspace, CheckTraining(recipe=SHORT))


@pytest.mark.parametrize("model", ["embed", "ast", "vit"])
async def test_a_base_that_does_not_write_down_speech_is_refused(workspace, tmp_path, model):
    with pytest.raises(InvalidRequest, match=r"feature extractor|cannot be trained"):
        await news(tiny_models.build(model, tmp_path / "base"), workspace, CheckTraining(recipe=SHORT))
