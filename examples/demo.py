"""The whole of Yunmo in a few minutes: an empty server, real models, a fine-tuned one, and the programs that call them.

Usage: python examples/demo.py [--data .demo] [--keep]

Every answer is checked; the demo ends with 1 if one is wrong. `--keep` leaves the server running.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

SENTIMENT = Path(__file__).parent / "sentiment"
REVIEWS = Path(__file__).parent / "training" / "movie_reviews.py"
WANTED_ACCURACY = 0.82
ALIAS = "bert-base-uncased-finetuned-sst-2-english"
CHAT = "library/SmolLM2-135M-Instruct-GGUF"
EMBED = "library/all-MiniLM-L6-v2"
TRANSCRIBE = "library/whisper-base"
START_SECONDS = 60.0
READY_SECONDS = 300.0

console = Console(width=None if sys.stdout.isatty() else 160)


class Wrong(Exception):
    """An answer that is not what it should be."""


def main() -> None:
    """Run every step; exit with 1 at the first wrong answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(".demo"), help="data directory; what is in it is deleted first")
    parser.add_argument("--keep", action="store_true", help="leave the server running at the end")
    wanted = parser.parse_args()
    data = wanted.data.resolve()
    began = time.monotonic()
    prepare(data)
    try:
        with server(data, keep=wanted.keep) as url:
            cloud = Cloud(url, data)
            run_steps(cloud)
            console.print(f"\nEverything answered as it should, in {time.monotonic() - began:.0f} s.", style="bold green")
            how_to_go_on(cloud, is_running=wanted.keep)
    except Exception as error:  # boundary: a client's own error is a wrong answer, too
        console.print(f"\nThe demo stopped: {type(error).__name__}: {error}", style="bold red", markup=False)
        console.print(f"The server's log is {data / 'server.log'}.", markup=False)
        sys.exit(1)


def run_steps(cloud: "Cloud") -> None:
    """What the demo shows, in order."""
    step("Install small real models into the hub")
    cloud.yunmo("starter", "install", "--all")
    step("Fine-tune MiniLM on film reviews: a job of the platform, whose result is a model in the hub")
    key = json.loads(
        cloud.yunmo("key", "create", "--project", "yunmo", "--scope", "infer", "--scope", "read", "--scope", "write", "--json")
    )["key"]
    fine_tune(cloud, key)
    step(f"Run an ordinary program that loads “{ALIAS}”, with only HF_ENDPOINT set")
    cloud.yunmo("alias", "set", ALIAS, "yunmo/sentiment-en")
    run_unmodified(cloud)
    step("Call the models over HTTP with the vendors' own clients")
    classify(cloud, key)
    chat(cloud, key)
    embed(cloud, key)
    transcribe(cloud, key)
    step("What ran, and what it cost")
    console.print(cloud.yunmo("ps"), markup=False, highlight=False)
    console.print(cloud.yunmo("usage", "--project", "yunmo", "--group-by", "model,task"), markup=False, highlight=False)


# ---------------------------------------------------------------- the server


class Cloud:
    """The started server and its command line."""

    def __init__(self, url: str, data: Path) -> None:
        self.url = url
        self.data = data

    def yunmo(self, *arguments: str, key: str | None = None) -> str:
        """Run `yunmo …`, show the command, and give what it printed. A key other than the operator's is not shown."""
        console.print(f"$ yunmo {' '.join(arguments)}", style="dim", markup=False, highlight=False)
        environment = environment_of({"YUNMO_URL": self.url, "YUNMO_DATA": str(self.data)} | ({} if key is None else {"YUNMO_KEY": key}))
        done = subprocess.run([*YUNMO, *arguments], env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout


YUNMO = (sys.executable, "-c", "from yunmo.cli.main import main; main()")


def prepare(data: Path) -> None:
    """An empty data directory; a directory that is not a demo's is left alone."""
    if data.exists() and any(data.iterdir()) and not (data / ".is-demo").exists():
        sys.exit(f"{data} is not empty and was not made by this demo. Choose another directory with --data.")
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    (data / ".is-demo").touch()


@contextlib.contextmanager
def server(data: Path, *, keep: bool) -> Iterator[str]:
    """`yunmo serve` over the directory on a free port; stopped at the end unless it is to be kept."""
    step("Start a server with an empty data directory")
    log = data / "server.log"
    with log.open("wb") as out:
        # Own session: Ctrl-C ends the demo, and the demo ends the server.
        command = [*YUNMO, "serve", "--data", str(data), "--port", "0"]
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment_of({}), start_new_session=True)
    is_over = False
    try:
        url = wait_until_ready(process, log)
        console.print(f"ready at {url} (data in {data})", markup=False)
        yield url
        is_over = True
    finally:
        if not (keep and is_over):
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """The server's address, once it says that it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = re.search(r"ready at (http://\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.05)
    raise Wrong(f"the server did not start:\n{log.read_text()}")


def environment_of(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would lead Yunmo or Hugging Face clients elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("YUNMO_", "HF_", "HUGGING"))} | dict(more)


# ---------------------------------------------------------------- the steps


def fine_tune(cloud: Cloud, key: str) -> None:
    """Make the rows, order the training, and look at what it came to."""
    from huggingface_hub import HfApi

    rows = cloud.data / "rows"
    console.print(f"$ python examples/training/movie_reviews.py --out {rows}", style="dim", markup=False, highlight=False)
    subprocess.run([sys.executable, str(REVIEWS), "--out", str(rows)], stdout=subprocess.DEVNULL, check=True)
    HfApi(endpoint=cloud.url, token=key).create_repo("yunmo/sentiment-en")  # a public one: the old program has no key
    order = ["--base", EMBED, "--to", "yunmo/sentiment-en", "--epochs", "1", "--batch-size", "32", "--learning-rate", "1e-4"]
    files = [str(rows / "movie_reviews" / name) for name in ("train.jsonl", "valid.jsonl")]
    with timed() as seconds:
        told = cloud.yunmo("train", "classification", files[0], "--validation", files[1], *order, "--wait", "--json", key=key)
    training = json.loads(told)["result"]
    accuracy = training["metrics"]["accuracy"]
    answer(
        "Accuracy on 1,007 sentences held out (words and pairs of words under a logistic regression: 0.809)", f"{accuracy:.3f}", seconds[0]
    )
    expect(accuracy >= WANTED_ACCURACY, f"the accuracy must be {WANTED_ACCURACY} or more")
    expect(training["certificate"]["is_passed"], "the model must be served as it was trained")


def run_unmodified(cloud: Cloud) -> None:
    """A program that was written for the Hugging Face hub, in a process of its own with a cache of its own."""
    program = SENTIMENT / "serve_like_before.py"
    environment = environment_of({"HF_ENDPOINT": cloud.url, "HF_HOME": str(cloud.data / "hf-before")})
    console.print(f"$ HF_ENDPOINT={cloud.url} python {program.name}", style="dim", markup=False)
    with timed() as seconds:
        done = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Wrong(f"{program.name} failed:\n{done.stderr}")
    answer("This is a great movie!", done.stdout.strip(), seconds[0])
    expect(done.stdout.strip() == "POSITIVE", "“This is a great movie!” must be POSITIVE")


def classify(cloud: Cloud, key: str) -> None:
    """Sentiment with huggingface_hub's InferenceClient."""
    from huggingface_hub import InferenceClient

    # Its base_url names one model's address, as for a dedicated endpoint of Hugging Face.
    client = InferenceClient(base_url=f"{cloud.url}/models/yunmo/sentiment-en", token=key, timeout=READY_SECONDS)
    for text, wanted in (("This is a great movie!", "POSITIVE"), ("Dull, predictable and far too long.", "NEGATIVE")):
        with timed() as seconds:
            best = max(client.text_classification(text), key=lambda each: each.score)
        answer(f"InferenceClient.text_classification: {text}", f"{best.label} {best.score:.3f}", seconds[0])
        expect(best.label == wanted, f"“{text}” must be {wanted}")


def chat(cloud: Cloud, key: str) -> None:
    """A streamed chat with the OpenAI SDK."""
    question = "What is the capital of France? Answer in one short sentence."
    with (
        timed() as seconds,
        openai_client(cloud, key).chat.completions.create(
            model=CHAT, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=40, stream=True
        ) as stream,
    ):
        pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices and chunk.choices[0].delta.content]
    answer(f"OpenAI chat, streamed in {len(pieces)} pieces: {question}", "".join(pieces), seconds[0])
    expect(len(pieces) > 1, "the answer must come in pieces")
    expect("Paris" in "".join(pieces), "the capital of France is Paris")


def embed(cloud: Cloud, key: str) -> None:
    """Embeddings with the OpenAI SDK."""
    texts = ["How do I get my money back?", "I would like a refund.", "The weather is fine today."]
    with timed() as seconds:
        question, refund, weather = (each.embedding for each in openai_client(cloud, key).embeddings.create(model=EMBED, input=texts).data)
    near, far = similarity(question, refund), similarity(question, weather)
    answer(f"OpenAI embeddings: “{texts[0]}” to “{texts[1]}” and “{texts[2]}”", f"{near:.2f} and {far:.2f}", seconds[0])
    expect(near > far + 0.2, "a refund must be nearer to money back than the weather is")


def transcribe(cloud: Cloud, key: str) -> None:
    """Transcription of a real recording with the OpenAI SDK."""
    from yunmo.cli.starter import catalogue, fetch_recording

    recording = fetch_recording(catalogue().recording("beckett"))
    with timed() as seconds, recording.open("rb") as file:
        text = openai_client(cloud, key).audio.transcriptions.create(model=TRANSCRIBE, file=file).text
    answer(f"OpenAI transcription: {recording.name} (10 s of speech)", text.strip(), seconds[0])
    expect("fail better" in text.lower(), "the recording says “fail better”")


def openai_client(cloud: Cloud, key: str) -> Any:
    """The OpenAI SDK, pointed at the server."""
    from openai import OpenAI

    return OpenAI(base_url=f"{cloud.url}/v1", api_key=key, timeout=READY_SECONDS)


def similarity(one: list[float], other: list[float]) -> float:
    """The cosine of two vectors of length one."""
    return sum(a * b for a, b in zip(one, other, strict=True))


# ---------------------------------------------------------------- telling


def how_to_go_on(cloud: Cloud, *, is_running: bool) -> None:
    """What to type next."""
    console.print("\nHow to go on", style="bold")
    if not is_running:
        console.print(f"  yunmo serve --data {cloud.data}    # the same server again, with everything that is in it", markup=False)
    else:
        console.print(f"  The server is still running at {cloud.url}; its log is {cloud.data / 'server.log'}.", markup=False)
        console.print(f"  export YUNMO_URL={cloud.url}", markup=False)
    for line in (f"export YUNMO_DATA={cloud.data}", "yunmo ps", "yunmo push ./my-model acme/my-model", "yunmo key create --project acme"):
        console.print(f"  {line}", markup=False)


def step(title: str) -> None:
    """Begin a step."""
    console.print()
    console.rule(title, align="left", characters="─" if console.is_terminal else "-")


def answer(question: str, text: str, seconds: float) -> None:
    """Show an answer and how long it took."""
    console.print(question, markup=False, highlight=False)
    console.print(f"  → {text}  ({seconds:.2f} s)", style="green", markup=False, highlight=False)


def expect(is_right: bool, what: str) -> None:
    """Stop unless it is right."""
    if not is_right:
        raise Wrong(what)


@contextlib.contextmanager
def timed() -> Iterator[list[float]]:
    """A list that holds the block's seconds once it is over."""
    seconds: list[float] = []
    began = time.monotonic()
    yield seconds
    seconds.append(time.monotonic() - began)


if __name__ == "__main__":
    main()
