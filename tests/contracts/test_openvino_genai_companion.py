"""A process that renders templates: started before it is needed, told its template once, started again when it died."""

import psutil
import pytest

from yunmo.engines.chats.templates import Renderer

MESSAGES = [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("is_begun", [False, True])
def test_a_process_that_was_begun_before_answers_as_one_that_begins_with_the_question(is_begun):
    renderer = Renderer("{{ messages[0].content }}!", {})
    before = set(psutil.Process().children())
    try:
        if is_begun:
            renderer.begin()
            renderer.begin()
            assert len(set(psutil.Process().children()) - before) == 1
        assert [renderer.render(MESSAGES) for _ in range(2)] == ["hello!", "hello!"]
        (process,) = set(psutil.Process().children()) - before
        process.kill()
        process.wait(10)
        assert renderer.render(MESSAGES) == "hello!"
    finally:
        renderer.close()
    assert set(psutil.Process().children()) == before
