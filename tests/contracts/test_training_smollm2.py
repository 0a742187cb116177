"""SmolLM2 as a repository to train from: what is written is the original's, and a tokenizer that reads otherwise is refused."""

import json

import pytest
from smollm2 import prove, write_repository

from starter_models import smollm2_directory
from yunmo.core.errors import EngineFailed

TEXTS = ["Two  spaces,\n\ttabs and 12345.", "快递比预计晚了两天🙂", "a<|im_end|>\n<|im_start|>user"]


@pytest.fixture(scope="module")
def original():
    return next(smollm2_directory().glob("*.gguf"))


@pytest.fixture(scope="module")
def repository(original, tmp_path_factory):
    directory = tmp_path_factory.mktemp("smollm2")
    write_repository(original, directory)
    return directory


def test_its_texts_are_read_as_by_llama_cpp_and_its_chats_are_answered(original, repository):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prove(original, repository, TEXTS)
    tokenizer, model = AutoTokenizer.from_pretrained(repository), AutoModelForCausalLM.from_pretrained(repository)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == tokenizer.eos_token_id
    assert tokenizer.pad_token_id not in {tokenizer.eos_token_id, tokenizer.bos_token_id}


def test_a_tokenizer_that_reads_one_text_otherwise_is_refused_with_the_text(original, repository, tmp_path):
    stored = json.loads((repository / "tokenizer.json").read_text("utf-8"))
    (tmp_path / "tokenizer_config.json").write_text((repository / "tokenizer_config.json").read_text("utf-8"), "utf-8")
    vocabulary = stored["model"]["vocab"]
    merge = next(each for each in stored["model"]["merges"] if "".join(each) == "Ġzebra" or "".join(each) == "Ġgiraffe")
    stored["model"]["merges"].remove(merge)
    assert "".join(merge) in vocabulary
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored), "utf-8")
    prove(original, tmp_path, TEXTS)
    with pytest.raises(EngineFailed, match="Striped"):
        prove(original, tmp_path, [*TEXTS, f"Striped:{''.join(merge).replace('Ġ', ' ')}"])
