"""What a decoder needs for rows held out: transformers' own loss, whatever is beside a row in its batch."""

import json
import math
import subprocess
import sys
from pathlib import Path

import decoder_bits
import pytest
import torch
from decoder_bits import batches, measure, scored
from transformers import AutoModelForCausalLM, AutoTokenizer

ROWS = [{"text": "a short one"}, {"text": "one that is a good deal longer than the other, and so is padded less"}, {"text": "狗"}]
CHAT = {"messages": [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "hello to you"}]}


@pytest.fixture(scope="module")
def decoder(tiny_model):
    directory = tiny_model("chat")
    return AutoModelForCausalLM.from_pretrained(directory).eval(), AutoTokenizer.from_pretrained(directory)


def test_rows_cost_what_transformers_own_loss_says_and_their_ends_are_told_apart(decoder):
    model, tokenizer = decoder
    rows = [scored(row, tokenizer, tokenizer.eos_token) for row in ROWS]
    for row, (bits, of_end) in zip(rows, measure(model, rows), strict=True):
        assert row.tokens[0] == row.tokens[-1] == tokenizer.eos_token_id
        tokens = torch.tensor([row.tokens])
        without = model(input_ids=tokens[:, :-1], labels=tokens[:, :-1]).loss.item() * (len(row.tokens) - 2)
        whole = model(input_ids=tokens, labels=tokens).loss.item() * (len(row.tokens) - 1)
        assert bits == pytest.approx(whole / math.log(2), rel=1e-4)
        assert bits - of_end == pytest.approx(without / math.log(2), rel=1e-4)


def test_of_a_chat_the_answer_and_its_end_are_measured_given_the_question(decoder):
    model, tokenizer = decoder
    row = scored(CHAT, tokenizer, tokenizer.eos_token)
    labels = torch.tensor([[-100] * row.given + row.tokens[row.given :]])
    loss = model(input_ids=torch.tensor([row.tokens]), labels=labels).loss.item() * (len(row.tokens) - row.given)
    assert row.tokens[-1] == tokenizer.eos_token_id
    assert "hello to you" in tokenizer.decode(row.tokens[row.given :])
    assert "hello there" not in tokenizer.decode(row.tokens[row.given :])
    assert measure(model, [row])[0][0] == pytest.approx(loss / math.log(2), rel=1e-4)


def test_every_row_is_in_one_batch_and_no_batch_is_too_large(decoder):
    rows = [scored({"text": "word " * (number % 300)}, decoder[1], decoder[1].eos_token) for number in range(400)]
    made = list(batches(rows))
    assert sorted(number for batch in made for number in batch) == list(range(400))
    assert all(len(batch) * max(len(rows[number].tokens) for number in batch) <= decoder_bits.BATCH_TOKENS for batch in made)


def test_the_program_tells_bits_per_byte_and_names_a_file_that_is_not_there(tiny_model, tmp_path):
    file = tmp_path / "valid.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    program = [sys.executable, str(Path(decoder_bits.__file__)), str(tiny_model("chat"))]
    done = subprocess.run([*program, str(file)], capture_output=True, text=True, timeout=120, check=True)
    told = done.stdout.splitlines()
    assert told[0].startswith("2 other rows: ")
    assert told[2].startswith("1 Chinese rows: ")
    assert all("bits per byte" in line for line in told)
    missing = subprocess.run([*program, str(tmp_path / "no.jsonl")], capture_output=True, text=True, timeout=120, check=False)
    assert missing.returncode == 1
    assert missing.stderr.startswith("There is no file")
