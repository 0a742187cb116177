"""How a trained model is called: a few lines of Python for its card, by the task that it has."""

from yunmo.training.provenance import Provenance

_OPENAI = """from openai import OpenAI

client = OpenAI(base_url="{address}/v1", api_key="ym_…")
"""
_INFERENCE = """from huggingface_hub import InferenceClient

client = InferenceClient(model="{address}/models/{model}", token="ym_…")
"""
_CALLS = {
    "chat": _OPENAI
    + """answer = client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "…"}}])
print(answer.choices[0].message.content)""",
    "text-generation": _OPENAI
    + """answer = client.completions.create(model="{model}", prompt="…", max_tokens=64)
print(answer.choices[0].text)""",
    "feature-extraction": _OPENAI
    + """answer = client.embeddings.create(model="{model}", input=["…", "…"])
print(answer.data[0].embedding)""",
    "automatic-speech-recognition": _OPENAI
    + """answer = client.audio.transcriptions.create(model="{model}", file=open("recording.wav", "rb"))
print(answer.text)""",
    "text-classification": _INFERENCE + """print(client.text_classification("…"))""",
    "token-classification": _INFERENCE + """print(client.token_classification("…"))""",
    "image-classification": _INFERENCE + """print(client.image_classification("picture.png"))""",
    "fill-mask": _INFERENCE + """print(client.fill_mask("… <mask> …"))  # the mask is the tokenizer's own""",
    "translation": _INFERENCE + """print(client.translation("…").translation_text)""",
    "summarization": _INFERENCE + """print(client.summarization("…").summary_text)""",
}
_SAME = {"sentence-similarity": "feature-extraction", "text2text-generation": "summarization"}


def call_of(provenance: Provenance) -> str | None:
    """A program that asks the model; None for one that is there to be trained on."""
    tag = provenance.pipeline_tag
    if provenance.recipe.method in {"supervised", "dpo"}:
        tag = "chat"
    text = _CALLS.get(_SAME.get(tag or "", tag or ""))
    return None if text is None else text.format(address=provenance.address.rstrip("/"), model=provenance.repository)
