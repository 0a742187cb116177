"""How far a plan may drift from the reference and still be chosen.

Labels of real texts keep 99.5 % agreement with a trained head where logits are within 8 % of the reference's; the agreement asked for
here is lower, because a head sees sample texts of no domain of its own, with many near ties. So it is with transcripts: whisper-base in
eight bits is 6 to 7 % of words off float32 on the synthetic speech, and at most 3 % on recorded speech.
"""

from yunmo.core.drift import Budget
from yunmo.core.tasks import Answers, Choices, Entities, Fillings, Labels, Output, Texts, Transcript, Vectors

_BUDGETS: dict[type[Output], Budget] = {
    Labels: Budget(agreement=0.98, error=0.08),
    Entities: Budget(agreement=0.99, error=0.02),
    Answers: Budget(agreement=0.97, error=0.02),
    Fillings: Budget(agreement=0.97, error=0.02),
    Vectors: Budget(agreement=0.999, error=0.005),
    Choices: Budget(agreement=0.5, error=0.5),
    Texts: Budget(agreement=0.9, error=0.1),
    Transcript: Budget(agreement=0.9, error=0.1),
}


def budget_of(answer: Output) -> Budget:
    """The budget for answers of this kind."""
    return _BUDGETS[type(answer)]
