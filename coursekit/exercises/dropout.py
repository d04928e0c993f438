"""Exercises to lesson 04: dropout."""

from coursekit.exercises import dropout_layer, dropout_masks, dropout_modes, dropout_nets
from coursekit.exercises.questions import Question

# In the order of the notebook.
inverted_dropout = dropout_layer.inverted_dropout
classic_weights = dropout_layer.classic_weights
average_of_masks = dropout_masks.average_of_masks
mc_predict = dropout_nets.mc_predict
is_dropout_active = dropout_modes.is_dropout_active


def _rates() -> str:
    from coursekit import claims

    return claims.stored("C45").judgement


best_rate = Question(
    name="best_rate",
    lesson="04",
    points=3,
    prompt="""
"Rates between 0.2 and 0.5 beat all others." What did our measurement say, over clean, noisy and
canvas digits, each with 16 and with 128 units?""",
    options=("confirmed", "confirmed with conditions", "refuted", "undecided"),
    measure=_rates,
    guide="""\
A good explanation names what decides about the best rate (the width of the layer, the noise in the
labels, early stopping), says that an interval that crosses the smallest effect decides nothing, and
does not turn "undecided" into "wrong".""",
)
