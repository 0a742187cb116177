"""Every family and head, exported and run, against the reference's own numbers."""

import numpy as np
import onnx_models
import pytest
from onnx_models import FAMILIES, POPULAR

TEXTS = ("the quick brown fox", "paris is the capital of france and berlin is the capital of germany, i am fine. " * 2, "x")
CASES = [(family, head) for family in POPULAR for head in onnx_models.SUFFIXES] + [
    (family, "embed") for family in FAMILIES if family not in POPULAR
]


@pytest.mark.parametrize(("family", "head"), CASES, ids=lambda value: value)
def test_the_exported_family_computes_what_the_reference_does(family, head, tmp_path):
    import torch
    import transformers

    directory = onnx_models.build(tmp_path / "model", family, head)
    engine = onnx_models.load(directory, tmp_path / "derived", head)
    encoder = engine._encoder
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = getattr(transformers, FAMILIES[family][0] + onnx_models.SUFFIXES[head]).from_pretrained(directory).eval()
    names = {"answer": ("start_logits", "end_logits"), "embed": ("last_hidden_state",)}.get(head, ("logits",))
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.no_grad():
            expected = model(**inputs)
        encoding = encoder.tokens.truncate(text)
        assert encoding.ids == inputs["input_ids"][0].tolist()
        found = encoder.network.forward(encoding.ids, encoder.types(encoding), *names)
        for name, values in zip(names, found, strict=True):
            reference = expected[name][0].numpy()
            # MobileBERT has no normalisation: random weights make numbers of a hundred thousand
            np.testing.assert_allclose(values, reference, atol=1e-4 * (abs(reference).max() if family == "mobilebert" else 1), rtol=1e-4)
    assert encoder.facts.is_verified
    assert encoder.facts.relative_error < 1e-5
