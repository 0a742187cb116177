"""What a model writes for a prompt when it takes the likeliest token each time, in the form of the serving engines' answers."""

from collections.abc import Sequence
from typing import Any

import torch

from yunmo.core.tasks import Choice, Choices, Generate, Sampling
from yunmo.core.training import ParitySample

SAMPLES = 16
SAMPLE_TOKENS = 24


def told(model: Any, tokenizer: Any, prompts: Sequence[str], most: int = SAMPLE_TOKENS) -> str:
    """The first prompt and at most so many tokens that the model writes for it; nothing where there is no prompt."""
    return f"{prompts[0]} -> {write(model, tokenizer, prompts[0], most)[0].text}" if prompts else ""


def greedy_samples(model: Any, tokenizer: Any, prompts: Sequence[str], most: int = SAMPLE_TOKENS) -> list[ParitySample]:
    """At most so many tokens that the model writes for each prompt."""
    samples = []
    for prompt in prompts:
        choice, ids = write(model, tokenizer, prompt, most)
        request = Generate(prompt=prompt, sampling=Sampling(max_tokens=most, temperature=0.0))
        samples.append(ParitySample(request, Choices(choices=(choice,)), ids))
    return samples


def write(model: Any, tokenizer: Any, prompt: str, most: int) -> tuple[Choice, tuple[int, ...]]:
    """The continuation of a prompt (of an encoder–decoder: what it writes for it), and the prompt's token ids."""
    ids = list(tokenizer(prompt, verbose=False)["input_ids"])
    inputs = torch.tensor([ids])
    with torch.inference_mode():
        whole = model.generate(input_ids=inputs, attention_mask=torch.ones_like(inputs), max_new_tokens=most, do_sample=False, num_beams=1)[
            0
        ]
    written = whole[1 if model.config.is_encoder_decoder else len(ids) :].tolist()
    ends = model.generation_config.eos_token_id
    is_ended = written[-1] in (ends if isinstance(ends, list) else [ends])
    text = str(tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False))
    return Choice(text=text, finish_reason="stop" if is_ended else "length"), tuple(ids)
