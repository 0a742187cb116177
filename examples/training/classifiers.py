"""The baseline of classifications: TF-IDF and logistic regression, scikit-learn's."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from dataset import DataSet


def accuracy_of_words(made: DataSet, **features: Any) -> Mapping[str, str]:
    """Accuracy on the rows held out of a regression over TF-IDF of `features` (TfidfVectorizer's), and of the commonest label."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(TfidfVectorizer(sublinear_tf=True, min_df=2, **features), LogisticRegression(C=10, max_iter=1000))
    model.fit([row["text"] for row in made.train], [row["label"] for row in made.train])
    accuracy = model.score([row["text"] for row in made.valid], [row["label"] for row in made.valid])
    commonest = Counter(row["label"] for row in made.train).most_common(1)[0][0]
    majority = sum(row["label"] == commonest for row in made.valid) / len(made.valid)
    return {"TF-IDF and logistic regression, accuracy": f"{accuracy:.4f}", f"always “{commonest}”, accuracy": f"{majority:.4f}"}
