"""What most people write: FastAPI around a transformers pipeline."""

import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

app = FastAPI()
classifier = pipeline("text-classification", model=sys.argv[2])


class Body(BaseModel):
    """As in Hugging Face's inference API."""

    inputs: str


@app.post("/")
def classify(body: Body) -> list[list[dict[str, str | float]]]:
    return [classifier(body.inputs, truncation=True)]


@app.get("/")
def health() -> str:
    return "ok"


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
