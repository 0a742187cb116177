import contextlib
import io
import json
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from yunmo.hub import formats
from yunmo.hub.cards import BadCard, front_matter
from yunmo.hub.globs import ignore_rules, large_file_rules
from yunmo.hub.tasks_of import library_of, pipeline_tag_of

GOOD = safetensors.numpy.save({"a": np.zeros((2, 3), np.float32), "b": np.ones(5, np.int64)}, {"format": "np"})


def header(tensors, data=b"", length=None):
    text = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="U8", shape=(4,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_reads_a_file_that_the_library_wrote():
    found = formats.safetensors(GOOD, len(GOOD))
    assert (found.parameters, found.metadata, found.total) == ({"F32": 6, "I64": 5}, {"format": "np"}, 11)


BAD_SAFETENSORS = [
    b"",
    b"1234567",
    struct.pack("<Q", 2**63),
    header({}, length=100),
    header(b"[]"),
    header(b"{"),
    header(b'{"a": NaN}'),
    header(b'{"a": {"dtype":"U8","shape":[4],"data_offsets":[0,4]}, "a": {"dtype":"U8","shape":[4],"data_offsets":[0,4]}}', b"1234"),
    header({"a": tensor(offsets=(0, 4))}, b"123"),
    header({"a": tensor(offsets=(0, 4))}, b"12345"),
    header({"a": tensor(offsets=(4, 0))}, b""),
    header({"a": tensor(offsets=(-4, 0))}, b""),
    header({"a": tensor(shape=(5,))}, b"1234"),
    header({"a": tensor(shape=(-4,))}, b"1234"),
    header({"a": tensor(shape=(2**62, 2**62))}, b"1234"),
    header({"a": tensor(), "b": tensor()}, b"1234"),
    header({"a": tensor(), "b": tensor(offsets=(8, 12))}, b"123456789012"),
    header({"a": tensor(dtype="X9")}, b"1234"),
    header({"a": tensor(shape=(True, 4))}, b"1234"),
    header({"a": tensor(shape=(4.0,))}, b"1234"),
    header({"a": {**tensor(), "more": 1}}, b"1234"),
    header({"a": 5}),
    header({"__metadata__": {"a": 1}}),
    header(b"[" * 100_000),
]


@pytest.mark.parametrize("data", BAD_SAFETENSORS)
def test_refuses_a_safetensors_header_that_lies(data):
    with pytest.raises(formats.BadFormat):
        formats.safetensors(data, len(data))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_safetensors_header_is_read_or_refused_quickly(data):
    mutated = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    size = data.draw(st.sampled_from([len(mutated), len(mutated) - 1, len(mutated) + 1, 9]))
    started = time.perf_counter()
    with contextlib.suppress(formats.BadFormat):
        formats.safetensors(bytes(mutated), size)
    assert time.perf_counter() - started < 0.5


def gguf_string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_file(pairs, tensors=(), version=3, counts=None):
    n_tensors, n_pairs = counts or (len(tensors), len(pairs))
    body = b"".join(gguf_string(key) + struct.pack("<I", kind) + value for key, kind, value in pairs)
    infos = b"".join(
        gguf_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", 0, 0)
        for name, shape in tensors
    )
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_pairs) + body + infos


PAIRS = [
    ("general.architecture", 8, gguf_string("qwen2")),
    ("qwen2.context_length", 4, struct.pack("<I", 32768)),
    ("tokenizer.chat_template", 8, gguf_string("{{ messages }}")),
    ("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 1000) + gguf_string("tok") * 1000),
    ("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 1000) + b"\0" * 4000),
    ("small", 9, struct.pack("<IQ", 4, 2) + struct.pack("<II", 7, 8)),
    ("flag", 7, b"\1"),
]
GGUF = gguf_file(PAIRS, [("w", (3, 4)), ("b", (5,))])


def test_reads_gguf_metadata_without_its_long_arrays():
    found = formats.gguf(GGUF, len(GGUF))
    assert found["general.architecture"] == "qwen2"
    assert found["qwen2.context_length"] == 32768
    assert found["tokenizer.chat_template"] == "{{ messages }}"
    assert found["tokenizer.ggml.tokens"] == {"length": 1000}
    assert found["small"] == [7, 8]
    assert found["flag"] is True
    assert (found["gguf.tensor_count"], found["gguf.parameters"]) == (2, 17)


def test_says_when_more_of_the_file_is_needed():
    with pytest.raises(formats.Incomplete):
        formats.gguf(GGUF[:200], len(GGUF))


@pytest.mark.parametrize(
    "data",
    [
        b"GGML" + GGUF[4:],
        gguf_file(PAIRS, version=1),
        gguf_file([], counts=(2**60, 0)),
        gguf_file([], counts=(0, 2**60)),
        gguf_file([("a", 8, struct.pack("<Q", 2**62))]),
        gguf_file([("a", 9, struct.pack("<IQ", 8, 2**60))]),
        gguf_file([("a", 9, struct.pack("<IQ", 9, 4))]),
        gguf_file([("a", 9, struct.pack("<IQ", 8, 100))]),
        gguf_file([("a", 13, b"")]),
        gguf_file([("a", 7, b"\0"), ("a", 7, b"\0")]),
        gguf_file([], [("w", (1,) * 17)]),
        GGUF[:-1],
    ],
)
def test_refuses_gguf_counts_and_lengths_that_the_file_cannot_hold(data):
    with pytest.raises(formats.BadFormat):
        formats.gguf(data, len(data))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_changed_gguf_header_is_read_or_refused(data):
    mutated = bytearray(GGUF)
    for _ in range(data.draw(st.integers(1, 6))):
        mutated[data.draw(st.integers(0, 300))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(formats.BadFormat, formats.Incomplete):
        formats.gguf(bytes(mutated), len(mutated))


def torch_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("path", "content", "expected"),
    [
        ("model.safetensors", pickle.dumps({"a": 1}), True),
        ("model.safetensors", pickle.dumps({"a": 1}, 2), True),
        ("notes.txt", pickle.dumps({"a": 1}, 0) and b"cposix\nsystem\n(S'id'\ntR.", True),
        ("pytorch_model.bin", torch_zip(), True),
        ("renamed.safetensors", torch_zip(), True),
        ("x.pkl", b"anything", True),
        ("model.safetensors", GOOD, False),
        ("model.gguf", GGUF, False),
        ("model.bin", b"\6\0\0\0ctranslate2", False),
        ("notes.txt", b"(see builtin help)", False),
        ("config.json", b"{}", False),
    ],
)
def test_a_pickle_is_known_by_its_first_bytes_whatever_it_is_called(path, content, expected):
    assert formats.is_pickle(path, content[:512]) is expected


def test_an_array_of_objects_is_a_pickle_and_one_of_numbers_is_not():
    for array, expected in ((np.array([{}], dtype=object), True), (np.zeros(3), False)):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        assert formats.is_pickle("x.npy", buffer.getvalue()[:512]) is expected


def test_reads_front_matter_as_plain_values():
    card = front_matter(
        "---\nlicense: mit\ntags: [a, b]\ndate: 2024-01-02\nx: .nan\nbig: 123456789012345678901234\n---\n# Title\n---\nmore"
    )
    assert card == {"license": "mit", "tags": ["a", "b"], "date": "2024-01-02", "x": None, "big": "123456789012345678901234"}
    assert front_matter("# no front matter") == {}
    assert front_matter("---\r\nlicense: mit\r\n---\r\n") == {"license": "mit"}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9))


@pytest.mark.parametrize(
    "yaml", ["a: [", "- a\n- b", BOMB, "a: &a [*a]", "a: !!python/object/apply:os.system ['id']", "a: " + "[" * 500 + "]" * 500, "\tx: 1"]
)
def test_bad_front_matter_is_explained(yaml):
    with pytest.raises(BadCard):
        front_matter(f"---\n{yaml}\n---\n")


def test_attributes_decide_by_their_last_matching_line():
    rules = large_file_rules(
        "# comment\n*.bin filter=lfs diff=lfs\n/data/** filter=lfs\nweights/*.txt filter=lfs\nsmall.bin -filter\n\n*tfevents* filter=lfs"
    )
    large = {"a.bin", "x/y.bin", "data/x/y.txt", "weights/a.txt", "run/events.out.tfevents.1"}
    small = {"a.txt", "small.bin", "x/small.bin", "other/data/x.txt", "weights/sub/a.txt", "bin"}
    assert {path for path in large | small if rules.decide(path)} == large


def test_ignore_patterns_follow_git():
    rules = ignore_rules("*.log\n!keep.log\n/build\ncache/\n**/tmp/*.x\ndoc/**/a.txt")
    ignored = {"a.log", "x/y.log", "build/a", "build", "cache/x", "x/cache/y/z", "tmp/a.x", "p/q/tmp/a.x", "doc/a.txt", "doc/x/y/a.txt"}
    kept = {"keep.log", "x/build/a", "tmp/a.y", "a.txt"}
    assert {path for path in ignored | kept if rules.decide(path)} == ignored


@pytest.mark.parametrize("pattern", ["*a" * 100, "**/" * 60 + "x", "*" * 255, "[" * 200, "?*" * 120 + "b"])
def test_no_pattern_takes_long(pattern):
    started = time.perf_counter()
    large_file_rules(f"{pattern} filter=lfs").decide("/".join(["a" * 200] * 5))
    ignore_rules(pattern).decide("/".join("a" * 60))
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("BertForSequenceClassification", "text-classification"), ("Qwen2ForCausalLM", "text-generation"), ("GPT2LMHeadModel", "text-generation"),
        ("MarianMTModel", "translation"), ("T5ForConditionalGeneration", "text2text-generation"), ("WhisperForConditionalGeneration", "automatic-speech-recognition"),
        ("BertModel", "feature-extraction"), ("ViTForImageClassification", "image-classification"), ("BertForMaskedLM", "fill-mask"),
        ("SegformerForSemanticSegmentation", "image-segmentation"), ("CLIPModel", "zero-shot-image-classification"), ("Strange", None),
    ],
)  # fmt: skip
def test_the_task_follows_from_the_architecture(architecture, expected):
    assert pipeline_tag_of({"config.json": 1}, {"config.json": {"architectures": [architecture]}}, {}) == expected


def test_the_task_and_library_follow_from_what_libraries_leave_behind():
    assert (
        pipeline_tag_of({"modules.json": 1, "config.json": 1}, {"config.json": {"architectures": ["BertModel"]}}, {})
        == "feature-extraction"
    )
    assert pipeline_tag_of({"m.gguf": 1}, {}, {"general.architecture": "qwen2"}) == "text-generation"
    assert pipeline_tag_of({"m.gguf": 1}, {}, {"general.architecture": "nomic-bert"}) == "feature-extraction"
    assert pipeline_tag_of({"README.md": 1}, {}, {}) is None
    assert library_of({"modules.json": 1}, {}) == "sentence-transformers"
    assert library_of({"config.json": 1}, {"config.json": {"model_type": "bert"}}) == "transformers"
    assert library_of({"x": 1}, {}) is None
