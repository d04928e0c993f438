"""Training that can be steered: S networks side by side, whose strengths may change in between.

The loop is that of `engine.side_by_side`, epoch by epoch; with strengths that stay as they are, it
gives the numbers of `train.fit` to the last bit. Axes: S networks, B batch, T epochs.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from coursekit.datasets.values import number
from coursekit.engine.devices import kept_pages, matmul_precision, send
from coursekit.engine.hooks import Arm
from coursekit.engine.networks import initial_net
from coursekit.engine.random import Streams
from coursekit.engine.scores import score_stack
from coursekit.engine.side_by_side import batch_order, deal_to, optimized_losses
from coursekit.engine.stack import VECTORS, Stack
from coursekit.playground.setting import STRENGTHS, Setting
from coursekit.recipe import param_groups, torch_optimizer
from coursekit.results.runs import History, Runs

Changes = Mapping[int, Mapping[str, float]]
# torch.func tells of an operation that it maps one by one; nobody who moves a slider can help it.
warnings.filterwarnings("ignore", "There is a performance drop")


class Training:
    """The networks of one setting while they train.

    Attributes
    ----------
    setting : Setting
        As it is now.
    start : Setting
        As it was at first.
    changes : dict of int to dict
        Strengths that were changed, by the first epoch (from 1) of each.
    history : History
        Curves of the finished epochs.
    """

    def __init__(self, setting: Setting):
        self.setting = self.start = setting
        self.changes: dict[int, dict[str, float]] = {}
        self._task, self._recipe = setting.task(), setting.recipe()
        device, seeds = self._task.device, list(self._recipe.seeds)
        self._arms = [Arm(setting.builder(live=True), self._recipe)] * len(seeds)
        nets = [initial_net(self._arms[0].make_net, seed) for seed in seeds]
        self._stack, self._streams = Stack(nets, device), Streams(seeds, device)
        self._deal = deal_to(self._task, seeds)
        self._orders = [batch_order(seed, self._task.n_train) for seed in seeds]
        # A group of each kind, also where nothing decays: decay can be turned up for matrices.
        blocks = ({w: self._stack.block(kind, 0, len(seeds))} for kind, w in self._decays())
        groups = [group for own in blocks for group in param_groups(own, self._recipe)]
        self._optimizer = torch_optimizer(groups, self._recipe)
        self.history = History(self._recipe, seeds, self._stack)
        self._apply()

    @property
    def n_epochs(self) -> int:
        """Finished epochs."""
        return len(self.history.curves)

    @property
    def done(self) -> bool:
        return self.n_epochs >= self.setting.epochs

    def change(self, **strengths: float) -> None:
        """Change strengths, from the next epoch on.

        Raises
        ------
        ValueError
            If one cannot be changed while it trains, or does not fit.
        """
        for name in strengths:
            if name not in STRENGTHS or not STRENGTHS[name].live:
                live = ", ".join(n for n, strength in STRENGTHS.items() if strength.live)
                raise ValueError(
                    f"expected strengths that can change while it trains ({live}), got {name!r}; "
                    "set the others before"
                )
        new = replace(self.setting, **strengths)
        changed = {n: getattr(new, n) for n in strengths if getattr(new, n) != self._strength(n)}
        if not changed:
            return
        self.setting = new
        if self.n_epochs == 0:
            self.start = new
        else:
            epoch = self.n_epochs + 1
            own = self.changes.pop(epoch, {}) | changed
            before = replace(self.start, **self._changed_before(epoch))
            own = {n: v for n, v in own.items() if v != getattr(before, n)}
            self.changes |= {epoch: own} if own else {}
        self._apply()

    def epoch(self) -> None:
        """Train one epoch more, and score it."""
        recipe, stack, task, device = self._recipe, self._stack, self._task, self._task.device
        stack.net.train()
        order = send(torch.stack([next(one) for one in self._orders]), device)  # (S, n_train)
        rows, y = (t.gather(1, order) for t in (self._deal.train_rows, self._deal.y_train))
        logged = torch.zeros(len(order), device=device)
        with matmul_precision(recipe.precision):
            size = recipe.batch_size
            for batch, targets in zip(rows.split(size, 1), y.split(size, 1), strict=True):
                losses = self._losses_of(task.inputs(batch), targets)  # (S,)
                stack.backward(losses)
                self._optimizer.step()
                logged += losses.detach() * (batch.shape[1] / task.n_train)
            scores = {"logged_loss": logged}
            for part in ("train", "val"):
                scores |= score_stack(stack.net, stack.state, task, self._deal, part)
        self.history.add(scores)

    def runs(self) -> Runs:
        """Close the books: the trained networks with their curves."""
        return self.history.runs(self._task)

    def _strength(self, name: str) -> float:
        return getattr(self.setting, name)

    def _changed_before(self, epoch: int) -> dict[str, float]:
        earlier = [values for first, values in sorted(self.changes.items()) if first < epoch]
        return {name: value for values in earlier for name, value in values.items()}

    def _decays(self) -> Iterator[tuple[str, float]]:
        for kind in self._stack.rows:
            yield kind, self.setting.weight_decay if kind != VECTORS else 0.0

    def _apply(self) -> None:
        """Put the strengths where the next epoch reads them."""
        for group, (_, decay) in zip(self._optimizer.param_groups, self._decays(), strict=True):
            group["weight_decay"] = decay
        for ending, values in self.setting.buffers().items():
            names = [n for n in self._stack.buffers if n.rpartition(".")[2] == ending]
            for i, name in enumerate(names):
                self._stack.buffers[name].fill_(values[min(i, len(values) - 1)])
        hooks, stack = self.setting.hooks(), self._stack
        self._losses_of = optimized_losses(stack, self._streams, self._task, hooks, self._arms)


def train(setting: Setting, changes: Changes = {}) -> Runs:  # noqa: B006, read only
    """Train the networks of a setting, with strengths that change on the way.

    Parameters
    ----------
    setting : Setting
        How it begins.
    changes : mapping of int to mapping of str to float
        New strengths by the first epoch, counted from 1, of each.

    Returns
    -------
    Runs
        As `train.fit`, to which it is equal where nothing changes.

    Raises
    ------
    ValueError
        If a change is later than the last epoch, or a strength cannot be changed.

    Examples
    --------
    >>> from coursekit import playground
    >>> setting = playground.Setting(epochs=4, n_seeds=2, dropout=0.5)
    >>> playground.train(setting, changes={3: {"dropout": 0.0}}).val_acc.shape
    (2, 4)
    """
    for epoch in changes:
        last = f"[1, {setting.epochs}]"
        number("epoch of a change", epoch, last, "an epoch that is trained", whole=True)
    training = Training(setting)
    with kept_pages():
        while not training.done:
            training.change(**changes.get(training.n_epochs + 1, {}))
            training.epoch()
    return training.runs()
