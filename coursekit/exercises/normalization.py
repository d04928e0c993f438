"""Exercises to lesson 06: batch normalization."""

import torch

from coursekit.exercises import (
    normalization_batch,
    normalization_fold,
    normalization_freeze,
    normalization_groups,
)
from coursekit.exercises.questions import Question
from coursekit.regularizers import normalization as ours

# In the order of the notebook.
batch_norm = normalization_batch.batch_norm
group_norm = normalization_groups.group_norm
fold_batch_norm = normalization_fold.fold_batch_norm
freeze_batch_norm = normalization_freeze.freeze_batch_norm


def _turns() -> str:
    draws = torch.Generator().manual_seed(0)
    weight, x, target = (
        torch.randn(size, generator=draws, dtype=torch.float64)
        for size in ((4, 5), (30, 5), (30, 4))
    )

    def loss(w):
        return (ours.standardize(x @ w.T, (0,), eps=0.0).relu() - target).square().mean()

    angles = []
    for w in (weight, 10 * weight):
        after = w - 1e-3 * torch.func.grad(loss)(w)
        # From the difference of unit vectors: the cosine of a tiny angle is rounded away.
        angles.append((after / after.norm() - w / w.norm()).norm().item())
    ratio = angles[0] / angles[1]
    return longer_weights.options[int(ratio > 3) + int(ratio > 30)]


longer_weights = Question(
    name="longer_weights",
    lesson="06",
    points=3,
    prompt="""
A layer stands in front of batch norm. You multiply its weights by 10, which leaves the network's
function as it is, and take one step of plain gradient descent with the same small learning rate,
without weight decay. By how much does the *direction* of the weights turn, compared with the step
from the original weights?""",
    options=("by the same angle", "by a tenth of it", "by a hundredth of it"),
    measure=_turns,
    guide="""\
A good explanation has two factors of 10: the loss does not change with the length of the
weights, so its gradient is 10 times shorter at 10 times the length; and a step of given length
turns an arrow that is 10 times longer by a tenth of the angle. So the learning rate that counts
is lr / length². It may add that steps are orthogonal to the weights and lengthen them, which
slows the layer down, and that weight decay works against this: it acts as a learning rate.""",
)
