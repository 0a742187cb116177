"""An ordinary Hugging Face program, as it was before Yunmo. Nothing in it knows where the model comes from."""

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

NAME = "bert-base-uncased-finetuned-sst-2-english"

tokenizer = AutoTokenizer.from_pretrained(NAME)
model = AutoModelForSequenceClassification.from_pretrained(NAME)

inputs = tokenizer("This is a great movie!", return_tensors="pt")
with torch.no_grad():
    logits = model(**inputs).logits

print(model.config.id2label[logits.argmax(-1).item()])
