"""The engine: one loaded encoder that answers texts from several one-thread streams, without padding."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from yunmo.core.engine import Plan, Result
from yunmo.core.errors import EngineFailed, Unsupported, YunmoError
from yunmo.core.tasks import Answer, Classify, ClassifyTokens, ClassifyZeroShot, Embed, FillMask, Request, task_name
from yunmo.engines.onnx.answer import answer
from yunmo.engines.onnx.classify import classify, classify_zero_shot
from yunmo.engines.onnx.embed import embed
from yunmo.engines.onnx.encode import Tokens
from yunmo.engines.onnx.encoder import Encoder, Work
from yunmo.engines.onnx.entities import classify_tokens
from yunmo.engines.onnx.exported import TOKENIZER, Exported, output_names
from yunmo.engines.onnx.fill_mask import fill_mask
from yunmo.engines.onnx.network import Floats, Network, Passage, load_network
from yunmo.engines.onnx.pooling import Pooling, read_pooling

_CHARACTERS_PER_TOKEN = 4


class OnnxEngine:
    """A BatchEngine over one shared network; `run` may be called from any number of threads."""

    def __init__(self, encoder: Encoder, pooling: Pooling) -> None:
        self._encoder = encoder
        self._pooling = pooling
        self.tasks: tuple[str, ...] = (encoder.facts.head,)
        if encoder.facts.head == "classify" and encoder.facts.entailment is not None:
            self.tasks = ("classify", "classify-zero-shot")

    def cost(self, request: Request) -> int:
        """About the number of tokens to read."""
        return _characters(request) // _CHARACTERS_PER_TOKEN + 1

    def run(self, stream: int, requests: Sequence[Request]) -> Sequence[Result | YunmoError]:
        """Answer all requests, whose passages the network gets at once; one that cannot be answered fails alone."""
        del stream
        answers: dict[int, Result | YunmoError] = {}
        begun: list[tuple[int, Work, list[Passage]]] = []
        for number, request in enumerate(requests):
            try:
                work = self._work(request)
                begun.append((number, work, next(work)))
            except YunmoError as error:
                answers[number] = error
        every = [passage for _, _, passages in begun for passage in passages]
        found = iter(self._encoder.network.forward_all(every, *output_names(self._encoder.facts.head)))
        for number, work, passages in begun:
            answers[number] = _ended(work, list(islice(found, len(passages))))
        return [answers[number] for number in range(len(requests))]

    def close(self) -> None:
        """Nothing to do: the network's memory goes with the engine."""

    def _work(self, request: Request) -> Work:
        if task_name(request) not in self.tasks:
            raise Unsupported(f"This model does not do '{task_name(request)}'; it does: {', '.join(self.tasks)}.")
        if isinstance(request, Embed):
            return embed(self._encoder, self._pooling, request)
        return _RUNS[type(request)](self._encoder, request)


def load_engine(directory: Path, derived: Path, graph: Path, facts: Exported, plan: Plan) -> OnnxEngine:
    """Load the graph that was made, with what lies in `derived` beside it, of the repository in `directory`."""
    if plan.format == "torch":
        from yunmo.engines.onnx.packed import load_packed

        network: Network = load_packed(directory, facts, plan)
    else:
        network = load_network(graph, plan)
    encoder = Encoder(Tokens(derived / TOKENIZER, facts.tokenizer), network, facts)
    return OnnxEngine(encoder, read_pooling(directory) if facts.head == "embed" else Pooling())


def _ended(work: Work, outputs: list[list[Floats]]) -> Result | YunmoError:
    try:
        work.send(outputs)
    except StopIteration as end:
        result: Result = end.value
        return result
    except YunmoError as error:
        return error
    raise EngineFailed("The task asked the network twice.")


_RUNS: dict[type[Request], Callable[[Encoder, "object"], Work]] = {
    Classify: classify,  # type: ignore[dict-item]
    ClassifyZeroShot: classify_zero_shot,  # type: ignore[dict-item]
    ClassifyTokens: classify_tokens,  # type: ignore[dict-item]
    Answer: answer,  # type: ignore[dict-item]
    FillMask: fill_mask,  # type: ignore[dict-item]
}


def _characters(request: Request) -> int:
    if isinstance(request, Embed):
        return sum(len(each) * (1 if isinstance(each, str) else _CHARACTERS_PER_TOKEN) for each in request.inputs)
    if isinstance(request, Answer):
        return len(request.question) + len(request.context)
    if isinstance(request, Classify):
        return sum(len(each) if isinstance(each, str) else sum(map(len, each)) for each in request.texts)
    if isinstance(request, ClassifyZeroShot):
        return sum(map(len, request.texts)) * max(1, len(request.labels))
    if isinstance(request, ClassifyTokens | FillMask):
        return sum(map(len, request.texts))
    return 0
