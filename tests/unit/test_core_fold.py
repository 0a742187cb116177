from hypothesis import given
from hypothesis import strategies as st

from yunmo.core.tasks import (
    TASKS,
    Chat,
    Choice,
    Choices,
    Classify,
    Embed,
    Label,
    Labels,
    Message,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Transcribe,
    TranscriptSegment,
    Vector,
    Vectors,
    fold,
    join,
    split,
    task_name,
)

_pieces = st.lists(st.text(max_size=5), max_size=8)


@given(st.lists(st.tuples(_pieces, st.sampled_from(["stop", "length"])), min_size=1, max_size=3), st.randoms())
def test_a_chat_folds_to_the_text_of_each_choice_however_its_deltas_interleave(choices, random):
    queues = [
        [*(TextDelta(choice=index, text=piece) for piece in pieces), TextDelta(choice=index, finish_reason=reason)]
        for index, (pieces, reason) in enumerate(choices)
    ]
    stream = []
    while any(queues):
        queue = random.choice([queue for queue in queues if queue])
        stream.append(queue.pop(0))
    request = Chat(messages=(Message("user", "hi"),), choices=len(choices))
    expected = tuple(Choice("".join(pieces), reason) for pieces, reason in choices)
    assert fold(request, stream) == Choices(choices=expected)


def test_pieces_of_tool_calls_join_by_index():
    request = Chat(messages=(Message("user", "weather"),))
    stream = [
        TextDelta(tool_calls=(ToolCallDelta(0, "call-1", "look", '{"a"'),)),
        TextDelta(tool_calls=(ToolCallDelta(1, "call-2", "find", "{}"), ToolCallDelta(0, arguments=":1}"))),
        TextDelta(finish_reason="tool_calls"),
    ]
    folded = fold(request, stream)
    assert folded.choices[0].tool_calls == (ToolCall("call-1", "look", '{"a":1}'), ToolCall("call-2", "find", "{}"))
    assert folded.choices[0].finish_reason == "tool_calls"


def test_segments_fold_to_a_transcript():
    segments = [TranscriptSegment(id=n, start=n, end=n + 1, text=f" word{n}", language="en", duration=2.0) for n in range(2)]
    transcript = fold(Transcribe(audio=b""), segments)
    assert transcript.text == "word0 word1"
    assert (transcript.language, transcript.duration) == ("en", 2.0)
    assert transcript.segments == tuple(segments)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=6))
def test_join_is_the_inverse_of_split(texts):
    rows = split(Classify(texts=tuple(texts)))
    assert [row.texts[0] for row in rows] == texts
    outputs = [Labels(rows=((Label(row.texts[0], 1.0),),)) for row in rows]
    assert [row[0].label for row in join(outputs).rows] == texts
    vectors = [Vectors(vectors=(Vector(text.encode(), (1,)),)) for text in texts]
    assert len(join(vectors).vectors) == len(split(Embed(inputs=tuple(texts))))


def test_every_task_knows_its_name():
    assert task_name(Classify(texts=("x",))) == "classify"
    assert task_name(Embed(inputs=("x",))) == "embed"
    assert len({task.request for task in TASKS.values()}) == len(TASKS)
