"""What the body of a fine-tuning job becomes: an order, or a refusal that names the field as its sender knows it."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.core.errors import InvalidRequest, Unsupported
from yunmo.core.training import METHODS, Architecture, Lora, Pretraining, Recipe
from yunmo.training.order import Order, Rows
from yunmo.web.dialects.openai.fields import decode
from yunmo.web.dialects.openai.fine_tuning_request import REFUSED, FineTuningBody, order_of

BODY = {"model": "acme/base", "training_file": "file-1"}


def ordered(**fields) -> Order:
    return order_of(decode(json.dumps(BODY | fields).encode(), FineTuningBody, REFUSED))


def with_method(name, block=None, **more):
    return ordered(method={"type": name, **({} if block is None else {name: block})}, **more)


def test_a_body_without_a_method_is_supervised_and_leaves_everything_to_the_check():
    order = ordered()
    assert order.recipe == Recipe(method="supervised")
    assert (order.base, order.rows, order.validation) == ("acme/base", Rows(file="file-1"), None)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_asked_for_in_the_same_way(name):
    block = {"hyperparameters": {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 0.5}}
    if name == "pretrain":
        block["pretraining"] = {"objective": "causal"}
    recipe = with_method(name, block, seed=7).recipe
    assert (recipe.method, recipe.seed, recipe.epochs, recipe.batch_size, recipe.learning_rate_multiplier) == (name, 7, 3, 8, 0.5)


def test_the_older_form_has_its_hyperparameters_at_the_top():
    assert ordered(hyperparameters={"n_epochs": 4, "batch_size": "auto"}).recipe == Recipe(method="supervised", epochs=4)


def test_auto_and_null_leave_the_choice_to_the_check():
    auto = dict.fromkeys(("n_epochs", "batch_size", "learning_rate_multiplier", "beta"), "auto")
    assert with_method("dpo", {"hyperparameters": auto}).recipe == Recipe(method="dpo")
    assert with_method("dpo", {"hyperparameters": dict.fromkeys(auto)}).recipe == Recipe(method="dpo")
    assert with_method("dpo").recipe == Recipe(method="dpo")


def test_fields_of_a_recipe_are_hyperparameters_too():
    asked = {"lora": {"rank": 4, "targets": ["query"]}, "max_tokens": 64, "precision": "bf16", "warmup": 0.2, "epochs": 2}
    recipe = with_method("classification", {"hyperparameters": asked}).recipe
    assert recipe.lora == Lora(rank=4, targets=("query",))
    assert (recipe.max_tokens, recipe.precision, recipe.warmup, recipe.epochs) == (64, "bf16", 0.2, 2)


def test_a_model_is_built_from_nothing_where_an_architecture_is_named():
    block = {"pretraining": {"objective": "masked", "architecture": {"family": "bert", "layers": 2}, "tokenizer": {"size": 500}}}
    order = order_of(
        decode(json.dumps({"training_file": "file-1", "method": {"type": "pretrain", "pretrain": block}}).encode(), FineTuningBody, REFUSED)
    )
    assert order.base == ""
    assert isinstance(order.recipe.pretraining, Pretraining)
    assert order.recipe.pretraining.architecture == Architecture(family="bert", layers=2)


def test_a_data_set_of_the_hub_takes_the_place_of_a_file():
    assert ordered(training_file="acme/rows@v2").rows == Rows(repository="acme/rows@v2")
    data = {"repository": "acme/rows", "split": "train", "columns": {"text": "sentence"}}
    order = ordered(training_file=None, training_data=data, validation_data={"file": "file-2"}, repository="acme/result")
    assert order.rows == Rows(repository="acme/rows", split="train", columns={"text": "sentence"})
    assert (order.validation, order.repository) == (Rows(file="file-2"), "acme/result")


def test_integrations_that_ask_for_nothing_are_none():
    assert ordered(integrations=None, metadata=None, suffix=None) == ordered(integrations=[]) == ordered()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": None}, "model"),
        ({"model": 7}, "model"),
        ({"training_file": None}, "training_file"),
        ({"training_file": ""}, "training_file"),
        ({"training_data": {"file": "file-2"}}, "training_data"),
        ({"training_file": None, "training_data": {}}, "training_data"),
        ({"training_file": None, "training_data": {"file": "file-2", "split": "x"}}, "training_data"),
        ({"training_file": None, "training_data": {"colour": "red"}}, "training_data.colour"),
        ({"validation_share": 1}, "validation_share"),
        ({"suffix": ""}, "suffix"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"metadata": {"k": 1}}, "metadata[...]"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"repository": "result"}, "repository"),
        ({"colour": "red"}, "colour"),
        ({"hyperparameters": {"epochs": "many"}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 1.5}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": True}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"batch_size": "8"}}, "hyperparameters.batch_size"),
        ({"hyperparameters": {"learning_rate_multiplier": 0}}, "hyperparameters.learning_rate_multiplier"),
        ({"hyperparameters": {"n_epochs": 1, "epochs": 1}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"beta": 0.1}}, "hyperparameters.beta"),
        ({"hyperparameters": {"seed": 1}}, "hyperparameters.seed"),
        ({"hyperparameters": {"method": "dpo"}}, "hyperparameters.method"),
        ({"hyperparameters": {"lora": {"rank": 0}}}, "hyperparameters.lora.rank"),
        ({"hyperparameters": {"lora": {"ranks": 8}}}, "hyperparameters.lora"),
        ({"hyperparameters": {"lora": 8}}, "hyperparameters.lora"),
        ({"method": {}}, "method.type"),
        ({"method": {"type": "magic"}}, "method.type"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method.supervised"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}}, "method.dpo.hyperparameters.beta"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"gamma": 3}}}}, "method.dpo.hyperparameters.gamma"),
        ({"method": {"type": "dpo", "dpo": {"colour": 1}}}, "method.dpo.colour"),
        ({"method": {"type": "dpo"}, "hyperparameters": {"n_epochs": 1}}, "hyperparameters"),
        ({"method": {"type": "dpo", "dpo": {"pretraining": {"objective": "causal"}}}}, "method.pretrain.pretraining"),
        ({"method": {"type": "pretrain"}}, "method.pretrain.pretraining"),
        ({"method": {"type": "pretrain", "pretrain": {"pretraining": {"objective": "x"}}}}, "method.pretrain.pretraining.objective"),
    ],
)
def test_what_cannot_be_ordered_is_refused_by_its_name(fields, param):
    with pytest.raises(InvalidRequest) as refused:
        ordered(**fields)
    assert refused.value.param == param
    assert len(refused.value.message) > 10


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"method": {"type": "reinforcement", "reinforcement": {"grader": {}}}}, "method.type", "dpo"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "x"}}]}, "integrations", "result file"),
    ],
)
def test_what_is_not_done_here_is_refused_with_what_is_done_in_its_place(fields, param, said):
    with pytest.raises(Unsupported) as refused:
        ordered(**fields)
    assert refused.value.param == param
    assert said in refused.value.message


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*FineTuningBody.__struct_fields__, *Recipe.__struct_fields__, "n_epochs", "type", *METHODS])


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, ANY | st.dictionaries(NAMES, ANY | st.dictionaries(NAMES, ANY, max_size=3), max_size=3), max_size=4))
def test_no_body_is_anything_but_an_order_or_a_refusal(fields):
    with contextlib.suppress(InvalidRequest):
        assert isinstance(ordered(**fields), Order)
