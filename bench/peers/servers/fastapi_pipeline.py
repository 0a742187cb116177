"""What most people write: FastAPI around transformers pipelines.

python fastapi_pipeline.py PORT CLASSIFIER [EMBEDDER]
"""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

app = FastAPI()
classifier = pipeline("text-classification", model=sys.argv[2])
embedder = pipeline("feature-extraction", model=sys.argv[3]) if len(sys.argv) > 3 else None


class Body(BaseModel):
    """As in Hugging Face's inference API."""

    inputs: str


@app.post("/")
def classify(body: Body) -> list[list[dict[str, str | float]]]:
    return [classifier(body.inputs, truncation=True)]


@app.post("/embed")
def embed(body: Body) -> list[float]:
    tokens = embedder(body.inputs, return_tensors=True, truncation=True)[0]
    vector = tokens.mean(0)
    return (vector / vector.norm()).tolist()


@app.get("/")
def health() -> str:
    return "ok"


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
