"""What requests need that not every engine does."""

import pytest

from yunmo.core.needs import needs_of
from yunmo.core.tasks import Chat, Classify, Generate, Message, Sampling


@pytest.mark.parametrize(
    ("sampling", "needs"),
    [
        ({}, set()),
        ({"temperature": 0.5, "top_p": 0.9, "seed": 1, "stop": ("x",)}, set()),
        ({"logit_bias": {}, "typical_p": 1.0, "beams": 1}, set()),
        ({"logit_bias": {"5": 1.0}}, {"logit_bias"}),
        ({"typical_p": 0.9, "beams": 4}, {"typical_p", "beams"}),
    ],
)
def test_what_changes_nothing_is_no_need(sampling, needs):
    assert needs_of(Generate(prompt="a", sampling=Sampling(**sampling))) == needs


def test_only_the_log_probabilities_of_alternatives_are_a_need():
    messages = (Message("user", "a"),)
    assert needs_of(Chat(messages=messages, top_logprobs=0)) == set()
    assert needs_of(Chat(messages=messages, top_logprobs=1)) == {"top_logprobs"}
    assert needs_of(Classify(texts=("a",))) == set()
