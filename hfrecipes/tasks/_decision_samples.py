"""Rows that docs, tests and the card show, and what the card tells of decisions."""

from __future__ import annotations

from ..recipe import CardTexts, Row
from ._decision_questions import Question

_USAGE = """\
import json
from transformers import pipeline

decide = pipeline("decision", "{path}")
question = json.loads(decide.model.config.hfrecipes["learned"]["example"])  # type, instructions and criteria
print(decide({"state": "{text}", "questions": {"question": question}}))
"""
_TONE: Row = {"question": "What is the tone?", "options": ["calm", "angry"], "descriptions": ["", "blames somebody"]}
_URGENCY: Row = {
    "question": "How urgent is it?",
    "options": ["can wait", "this week", "today"],
    "question_type": "score",
}
_REFUND: Row = {"question": "Is a refund requested?", "question_type": "noul"}
EXAMPLE = Question.of(_TONE, Question("choice"))
SAMPLES: list[Row] = [
    {"state": "The lid was broken again, and nobody answers me!", **_TONE, "answer": "angry"},
    {"state": "Could you tell me when the shop opens?", **_TONE, "answer": "calm"},
    {"state": "The shop floor is under water.", **_URGENCY, "answer": "2"},
    {"state": "Some day I would like a second key.", **_URGENCY, "answer": "0"},
    {"state": "Please send my money back.", **_REFUND, "answer": "true"},
    {"state": "I like the new colour.", **_REFUND, "answer": "false"},
]
CARD = CardTexts(
    purpose="Answers questions about a text with a probability for each option.",
    baseline="The most frequent answer to the same question, or else to those with the same options, with the "
    "frequency of each.",
    scores="Accuracy, macro F1, Brier score, calibration error and ranked probability score (rps) from 0 to 1, log "
    "loss in nats; of all questions, and by type where there are several.",
    usage=_USAGE,
    example={"state": "Nobody answers me!", **_TONE, "question_type": "choice"},
    pipeline_tag="text-classification",  # the Hub has no tag for decisions
)
