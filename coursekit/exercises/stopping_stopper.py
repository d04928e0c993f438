"""Exercise to lesson 09, a bug hunt: a stopper that keeps the best weights."""

import copy
import math

import numpy as np

from coursekit.exercises import stopping_driver
from coursekit.exercises.exercise import Exercise

Stopper = Exercise(
    name="Stopper",
    lesson="09",
    points=4,
    signature="(model, patience, mode)",
    task="""
The stopper of article 003, rebuilt. `Stopper(model, patience, mode)` watches a network by one value
per epoch, a loss (`mode="min"`) or an accuracy (`mode="max"`).

- `update(value)`, called after each epoch, returns True if training should stop: after `patience`
  (at least 1) epochs in a row that did not strictly beat the best value; False otherwise. Values
  that are not finite, NaN or infinite, beat nothing; before the first finite value, patience counts
  from the start.
- `best_epoch` is the epoch of the best value, counted from 1; 0 as long as there is none.
- `restore()` puts the network's whole state of that epoch back, running statistics included. It may
  be called at any time, also if patience never ran out, and again later; where no value was finite,
  it changes nothing.

With losses that are numbers it does all of this. What is wrong?
""",
    probes=stopping_driver.probes,
    reference=stopping_driver.library,
    driver=stopping_driver.drive,
    bug="wiped_by_nan",
    hints=(
        "Feed it the losses 0.9, NaN, 5.0 by hand. What does it believe to be the best?",
        "What is `float('nan') >= 0.9`? And which branch is taken then?",
        "Ask whether the value is finite *and* better, and treat everything else as a bad epoch.",
    ),
    why="""\
Every comparison with NaN is False, so it matters which question is asked. "Is it worse?" lets NaN
through as an improvement: the best value is NaN from then on, the counter starts again, the state
of a broken network is kept, and the next value, however bad, becomes the best. "Is it better?"
makes NaN a bad epoch. The state must be a deep copy: the tensors of a state_dict are those that
training goes on changing.""",
)


@Stopper.right
class DeepCopy:
    def __init__(self, model, patience, mode):
        self.model, self.patience, self.mode = model, patience, mode
        self.best, self.best_epoch, self.epoch, self.state = None, 0, 0, None

    def update(self, value):
        from copy import deepcopy

        self.epoch += 1
        better = self.best is None or (
            value < self.best if self.mode == "min" else value > self.best
        )
        if math.isfinite(value) and better:
            self.best, self.best_epoch = value, self.epoch
            self.state = deepcopy(self.model.state_dict())
        return self.epoch - self.best_epoch >= self.patience

    def restore(self):
        if self.state is not None:
            self.model.load_state_dict(self.state)


@Stopper.right
class Clones:
    def __init__(self, model, patience, mode):
        self.model, self.patience = model, patience
        self.sign = {"min": 1, "max": -1}[mode]
        self.history, self.state, self.best_epoch = [], {}, 0

    def update(self, value):
        value = self.sign * float(value)
        if abs(value) < float("inf") and all(value < v for v in self.history):
            self.best_epoch = self.epoch + 1
            self.state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.history.append(value if abs(value) < float("inf") else float("inf"))
        return bool(self.epoch - self.best_epoch >= self.patience)

    @property
    def epoch(self):
        return len(self.history)

    def restore(self):
        for name, tensor in self.model.state_dict().items():
            if name in self.state:
                tensor.copy_(self.state[name])


@Stopper.right
class SecondModel:
    def __init__(self, model, patience, mode):
        from copy import deepcopy

        self.model, self.kept, self.copy = model, deepcopy(model), deepcopy
        self.patience, self.lower = patience, mode == "min"
        self.best, self.epoch, self.best_epoch, self.bad = np.inf, 0, 0, 0

    def update(self, value):
        self.epoch += 1
        self.bad += 1
        cost = value if self.lower else -value
        if np.isfinite(cost) and cost < self.best:
            self.best, self.best_epoch, self.bad = cost, self.epoch, 0
            self.kept = self.copy(self.model)
        return self.bad >= self.patience

    def restore(self):
        if self.best_epoch > 0:
            self.model.load_state_dict(self.kept.state_dict())


class _Careful(DeepCopy):
    """The right answer in parts, of which each wrong one replaces one."""

    def __init__(self, model, patience, mode):
        super().__init__(model, patience, mode)
        self.sign = 1 if mode == "min" else -1
        self.best, self.bad = float("inf"), 0

    def update(self, value):
        self.epoch += 1
        value = self.sign * value
        if self.improves(value):
            self.best, self.best_epoch, self.bad = value, self.epoch, 0
            self.state = self.kept()
        else:
            self.bad += 1
        return self.over()

    def improves(self, value):
        return math.isfinite(value) and value < self.best

    def kept(self):
        return copy.deepcopy(self.model.state_dict())

    def over(self):
        return self.bad >= self.patience


@Stopper.wrong(
    "One value of NaN makes it forget the best one, and the next value, however bad, counts as a "
    "new best."
)
class wiped_by_nan:
    def __init__(self, model, patience, mode):
        self.model, self.patience, self.mode = model, patience, mode
        self.best, self.best_epoch, self.state = None, 0, None
        self.epoch, self.counter = 0, 0

    def update(self, value):
        from copy import deepcopy

        self.epoch += 1
        if self.best is None:
            worse = not math.isfinite(value)
        elif self.mode == "min":
            worse = value >= self.best
        else:
            worse = value <= self.best or value == float("inf")
        if worse:
            self.counter += 1
        else:
            self.best, self.best_epoch, self.counter = value, self.epoch, 0
            self.state = deepcopy(self.model.state_dict())
        return self.counter >= self.patience

    def restore(self):
        if self.state is not None:
            self.model.load_state_dict(self.state)


@Stopper.wrong(
    "Weights come back only if patience ran out: `restore` must work at any time, for epochs may "
    "run out first."
)
class OnlyAfterStop(_Careful):
    def restore(self):
        if self.over():
            super().restore()


@Stopper.wrong(
    "You keep the very tensors that training goes on changing, so `restore` gives back the last "
    "weights: a copy of the dictionary is not a copy of the tensors."
)
class Shallow(_Careful):
    def kept(self):
        return self.model.state_dict().copy()


@Stopper.wrong(
    "You keep the parameters only: running means and variances belong to the best epoch as well, "
    "and are in `state_dict`, not in `parameters`."
)
class ParametersOnly(_Careful):
    def kept(self):
        return {name: value.detach().clone() for name, value in self.model.named_parameters()}

    def restore(self):
        self.model.load_state_dict(self.state or {}, strict=False)


@Stopper.wrong('You ignore the mode: with "max" higher values are better.')
class AlwaysLower(_Careful):
    def __init__(self, model, patience, mode):
        super().__init__(model, patience, "min")


@Stopper.wrong("A value equal to the best one counts as progress here: compare strictly.")
class TiesCount(_Careful):
    def improves(self, value):
        return math.isfinite(value) and value <= self.best


@Stopper.wrong(
    "It stops one epoch too late: after `patience` bad epochs in a row, `update` returns True."
)
class TooLate(_Careful):
    def over(self):
        return self.bad > self.patience


@Stopper.wrong(
    "Bad epochs are added up over the whole training: an improvement must set the count to 0."
)
class NeverReset(_Careful):
    def update(self, value):
        bad = self.bad
        super().update(value)
        self.bad = max(bad, self.bad)
        return self.over()


@Stopper.wrong("You count epochs from 0: the first one is epoch 1, and 0 means that there is none.")
class FromZero(_Careful):
    @property
    def best_epoch(self):
        return max(self._best_epoch - 1, 0)

    @best_epoch.setter
    def best_epoch(self, epoch):
        self._best_epoch = epoch


@Stopper.wrong(
    "An infinite value becomes the best one: ask for finite values, not only for values that are "
    "not NaN."
)
class InfinityCounts(_Careful):
    def improves(self, value):
        return value < self.best


@Stopper.wrong(
    "After a first value of NaN nothing beats it: the best value must start at infinity, or at the "
    "first *finite* value."
)
class StartsAtTheFirst(_Careful):
    def improves(self, value):
        if self.epoch == 1:
            self.best = value
            return math.isfinite(value) or math.isnan(value)
        return math.isfinite(value) and value < self.best


@Stopper.wrong(
    "`restore` makes the network train on in the kept tensors themselves, so a second `restore` "
    "finds them changed: copy the values into the network."
)
class GivenAway(_Careful):
    def restore(self):
        super().restore()
        if self.state is not None:
            for name, parameter in self.model.named_parameters():
                parameter.data = self.state[name]


@Stopper.wrong(
    "Where no value was finite there is nothing to restore: then leave the network as it is."
)
class RestoresNothing(_Careful):
    def restore(self):
        self.model.load_state_dict(self.state)


@Stopper.wrong(
    "You ask for an improvement of some size: here any better value beats the best one, however "
    "little better it is."
)
class WithSlack(_Careful):
    def improves(self, value):
        return math.isfinite(value) and value < self.best - 1e-3


@Stopper.wrong(
    "Your best value starts at a number that some values never beat: start at infinity, or minus "
    "infinity, or at the first finite value."
)
class StartsAtANumber(_Careful):
    def __init__(self, model, patience, mode):
        super().__init__(model, patience, mode)
        self.best = 1e9 if mode == "min" else 0.0
