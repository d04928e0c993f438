"""Exercises to lesson 07: data augmentation."""

import numpy as np

from coursekit.exercises import (
    augmentation_noise,
    augmentation_paste,
    augmentation_shift,
    augmentation_words,
)
from coursekit.exercises.questions import Question

# In the order of the notebook.
random_shift = augmentation_shift.random_shift
word_dropout = augmentation_words.word_dropout
noise_as_ridge = augmentation_noise.noise_as_ridge
paste = augmentation_paste.paste

_LESS, _FEW, _MANY = "less than a point", "1 to 3 points", "more than 3 points"


def _mirrored_neighbors() -> str:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    mirrored = x.reshape(-1, 8, 8)[:, :, ::-1].reshape(len(x), -1)

    def right(known: np.ndarray, labels: np.ndarray, test: np.ndarray) -> float:
        apart = (known**2).sum(1) - 2 * x[test] @ known.T
        return 100 * (labels[apart.argmin(1)] == y[test]).mean()

    lost = []
    for seed in range(20):
        train, test = np.split(np.random.default_rng(seed).permutation(len(x)), [200])
        both = np.concatenate([x[train], mirrored[train]])
        alone = right(x[train], y[train], test)
        lost.append(alone - right(both, np.tile(y[train], 2), test))
    loss = np.mean(lost)
    return _LESS if loss < 1 else _FEW if loss <= 3 else _MANY


nearest_mirror = Question(
    name="nearest_mirror",
    lesson="07",
    points=3,
    prompt="""
Training on mirrored digits cost the network of the lesson accuracy. Now another learner: *one
nearest neighbor*, which answers with the label of the most similar training image. It knows 200
digits. We add the mirror images of all 200 to them, with the labels of the originals. How much
accuracy does it lose on upright test digits, on average over 20 splits?""",
    options=(_LESS, _FEW, _MANY),
    measure=_mirrored_neighbors,
    guide="""\
A good explanation says that all upright images are still there, so a mirror image does damage only
where it is nearer than every one of them; that a network has to give one set of weights to both
kinds, and pays with capacity; and that a small loss here does not make the transformation right:
it adds nothing either, as no test image is mirrored. How much a wrong augmentation costs depends on
the model as well as on the data.""",
)
