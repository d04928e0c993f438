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
    from coursekit.ledger import results

    return results.stored("C45").answer


best_rate = Question(
    name="best_rate",
    lesson="04",
    points=3,
    prompt="""
"Take a rate between 0.2 and 0.5." We compared the best of these rates with the best of all
others, on clean, noisy and shifted digits, each with 16 and with 128 units in a layer. Are rates
of 0.2 to 0.5 as good as any other?""",
    options=("yes", "depends", "the opposite", "not yet known"),
    measure=_rates,
    guide="""\
A good explanation names what decides about the best rate (the width of the layer, the noise in the
labels, early stopping), says that an interval that crosses the smallest effect decides nothing, and
does not turn "not yet known" into "wrong".""",
)
