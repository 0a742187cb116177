import pytest
from engine_contract import EngineCase, EngineContract

from yunmo.core.engine import Plan
from yunmo.core.tasks import Chat, Classify, Embed, Generate, Message
from yunmo.engines.echo import kind


def chat(text: str) -> Chat:
    return Chat(messages=(Message(role="user", content=text),))


class TestEcho(EngineContract):
    @pytest.fixture(scope="class")
    def case(self, tmp_path_factory):
        return EngineCase(
            kind=kind,
            directory=tmp_path_factory.mktemp("echo"),
            plan=Plan(engine="echo", slots=4, options={"tasks": ["classify", "chat", "generate", "embed"], "error_on": "fail"}),
            requests={
                "classify": Classify(texts=("one", "two")),
                "chat": chat("say this again"),
                "generate": Generate(prompt="and this", choices=2),
                "embed": Embed(inputs=("a", "b")),
            },
            others=(chat("something else"), Classify(texts=("three",))),
            bad=(Embed(inputs=("a",), dimensions=0), Chat(messages=())),
            long=chat("word " * 1000),
        )
