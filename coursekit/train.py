"""What training is: the loop for one network, and `fit`, which trains one network per seed.

`train_one` is the text of the course: what happens to a network, in this order; `History` keeps its
curves and its best weights.
`fit` trains the networks of all seeds side by side where `engine` can and is not slower, and one
after another where not; a test holds both to the same numbers. Seed s decides everything about
network s, whoever is trained beside it and on whatever device. Axes: S networks, B rows, K outputs.
"""

import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain

import torch
from joblib import Parallel, delayed, effective_n_jobs
from joblib.parallel import get_active_backend
from torch import Tensor, nn
from tqdm.auto import tqdm

from coursekit.datasets.tasks import Task, expect
from coursekit.engine import side_by_side
from coursekit.engine.devices import free_memory, half, kept_pages, matmul_precision, send
from coursekit.engine.hooks import Arm, Hooks, Params, as_loss, for_one, overwrite, own_step
from coursekit.engine.layers import draws_in_branches, own_draws
from coursekit.engine.networks import initial_net, initial_nets, private_rng, require_own_parts
from coursekit.engine.random import Streams
from coursekit.engine.scores import checked_outputs, mean_loss, score_one
from coursekit.engine.side_by_side import Runners, batch_order, is_evaluated
from coursekit.engine.stack import Stack
from coursekit.recipe import Recipe, make_optimizer, set_rates
from coursekit.results.runs import (
    History,
    One,
    Runs,
    evaluate,
    join,
    outputs,
    require_part,
    warn_of_divergence,
)

__all__ = ["Recipe", "Runs", "batch_order", "evaluate", "fit", "initial_net", "outputs"]

# Raise this when a seed may train to other numbers than before: stored chunks of a sweep are then
# trained again. 2: random draws became a hash of a counter. 3: `F.dropout` keeps a unit for the
# same draws as `nn.Dropout`, and a single network is trained by the plain loop.
ENGINE = 3


def train_one(
    arm: Arm, seed: int, task: Task, hooks: Hooks, *, bar: bool = False, partly: bool = False
) -> Runs:
    """Train one network: the loop of the course.

    Rows, wrong labels, initial weights, order of batches and noise each come from a random stream
    of the seed's own, so that no draw can shift another. An `arm` is one setting of a study: how
    its networks are made, and its recipe; `task.deal` gives the seed its rows and, perhaps, wrong
    labels; `hooks` are what a study adds, as `fit` describes them. For S networks at once,
    `engine.side_by_side.epochs` does the same. `bar` shows progress; `partly` keeps finished epochs
    on Ctrl-C.
    """
    recipe, device = arm.recipe, task.device
    deal = task.deal([seed])
    rows, targets = deal.train_rows[0], deal.y_train[0]
    net = initial_net(arm.make_net, seed).to(device)
    params = {name: p for name, p in net.named_parameters() if p.requires_grad}
    optimizer, order = make_optimizer(net, recipe), batch_order(seed, task.n_train)
    streams, history = Streams([seed], device), History(recipe, [seed], One(net), partial=partly)
    # Each hook as a function of one network's tensors, or None.
    augment, mix, objective, penalty, constrain = (
        for_one(getattr(hooks, name), name, streams, arm, device)
        for name in ("augment", "mix", "objective", "penalty", "constrain")
    )
    usual_loss = mean_loss(task)
    step = own_step(hooks.step, streams, arm) if hooks.step else usual_step

    def optimized_loss(x: Tensor, y: Tensor) -> Tensor:  # (B, ...), (B, ...) to a scalar
        with half(recipe.precision, device):
            predicted = checked_outputs(net(x), len(x), task).float()
        loss = objective(predicted, y).mean() if objective else usual_loss(predicted, y)
        return loss + penalty(params) if penalty else loss

    # From here on, layers draw from the seed's streams, and whatever else draws from a state of its
    # own.
    with private_rng(seed), own_draws(net, streams), history:
        n_steps = 0
        for epoch in tqdm(range(recipe.epochs), **progress(bar)):
            net.train()
            set_rates(optimizer, recipe, epoch)
            logged = torch.zeros(1, device=device)
            shuffled = send(next(order), device)
            batches = (t[shuffled].split(recipe.batch_size) for t in (rows, targets))
            for batch, y in zip(*batches, strict=True):
                x = task.inputs(batch)
                if augment:
                    x = augment(x)
                if mix:
                    x, y = mix(x, y)
                loss = as_loss(step(net, optimizer, partial(optimized_loss, x, y), n_steps))
                if constrain:
                    overwrite(params, constrain(params))
                # Weighted by size: a mean of batch means would count a short last batch too much.
                logged.add_(loss.detach(), alpha=len(batch) / task.n_train)
                n_steps += 1
            scores = {"logged_loss": logged}
            if is_evaluated(recipe, epoch):  # in evaluation mode, over all rows, unpenalized
                for part in hooks.parts:
                    scores |= score_one(net, task, deal, part)
            # Keeps a copy of the weights at the lowest validation loss; True: out of patience.
            if history.add(scores):
                break
    return history.runs(task)


def usual_step(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], n_steps: int
) -> Tensor:
    """Let the optimizer move the weights once, by the gradient on a batch; return its loss before.

    What `fit(step=...)` takes the place of: `loss` computes the loss of the batch, as often as it
    is called, and `n_steps` counts the steps that were done before.
    """
    value = loss()
    optimizer.zero_grad()
    value.backward()
    for group in optimizer.param_groups:
        for p in group["params"]:
            # PyTorch's optimizers leave out a parameter without a gradient. Stochastic depth skips
            # whole blocks, whose momentum and decay must go on.
            if p.grad is None:
                p.grad = torch.zeros_like(p)
    optimizer.step()
    return value


def fit(
    make_net: Callable[[], nn.Module],
    task: Task,
    recipe: Recipe,
    *,
    objective: Callable[[Tensor, Tensor], Tensor] | None = None,
    penalty: Callable[[Params], Tensor] | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    constrain: Callable[[Params], Params] | None = None,
    step: Callable[..., Tensor] | None = None,
    record: Sequence[str] = ("train", "val"),
    memory: float | None = None,
) -> Runs:
    """Train one network per seed: side by side where that is faster, else one after another.

    Seed s decides everything about network s, whoever is trained beside it and on whatever device:
    its training and validation rows, flipped labels, initial weights, the order of its batches, and
    what it draws while training (dropout, augmentation). Devices, and the two ways to train, only
    round differently. The hooks are written for *one* network.

    The networks are trained where the task is: `data.load(..., device="cuda:1")`. Inside
    `joblib.parallel_config(n_jobs=2)`, networks that are trained one after another are shared out
    to two processes.

    Parameters
    ----------
    make_net : callable
        Makes one network, a new one at each call, with PyTorch's, NumPy's and Python's random
        state set by the seed. Any `nn.Module` from (B, ...) to (B, K) will do.
        Side by side are trained those that `torch.func.vmap` can map: without control flow that
        depends on data, with buffers that are changed in place, and noise that is PyTorch's.
    task : Task
    recipe : Recipe
    objective : callable, optional
        (outputs (B, K), targets (B,) or (B, K)) to losses (B,), with K = `task.n_outputs`, one per
        class, target or label: what is optimized. By default the recorded
        loss: cross-entropy for classes and labels, squared error for numbers.
    penalty : callable, optional
        Parameters of one network to a scalar that is added to the optimized loss.
    augment : callable, optional
        Inputs (B, ...) to inputs (B, ...), on training batches only.
    mix : callable, optional
        (inputs (B, ...), targets (B,)) to inputs and targets, on training batches only, after
        `augment`. Targets may become shares (B, C), as in mixup.
    constrain : callable, optional
        Parameters of one network to new ones, after every step (a proximal step, a max-norm).
    step : callable, optional
        (network, optimizer, loss, n_steps) to the loss of the batch: takes the place of
        `usual_step`, for sharpness-aware minimization, clipped or accumulated gradients.
    record : sequence of {"train", "val", "test"}
        Parts to evaluate, every `recipe.evaluate_every` epochs; "val" always is, to find the best
        weights.
    memory : float, optional
        Bytes to stay under: networks that do not fit are trained after the others, with the same
        result. By default half of what is free. One after another, each takes what it takes.

    Returns
    -------
    Runs

    Raises
    ------
    ValueError
        If a part is unknown or missing, what a network or hook returns has not the shape that is
        asked for, not even one network fits into the memory, a recipe with `compile` or `graph`
        meets networks that cannot be mapped, or joblib was told to use threads.

    Warns
    -----
    UserWarning
        If networks are trained one after another for a reason that their author may not expect;
        if a loss stopped being finite; or if the training was interrupted: what was finished is
        returned.

    Examples
    --------
    >>> from coursekit import data, models
    >>> task = data.load("wine", device="cpu")
    >>> runs = fit(models.mlp(task), task, Recipe(epochs=3, n_seeds=4, first_seed=0))
    >>> runs.val_loss.shape
    (4, 3)
    """
    hooks = Hooks(objective, penalty, augment, mix, constrain, step, record)
    runners = [(Arm(make_net, recipe), seed) for seed in recipe.seeds]
    runs = train(runners, task, hooks, memory, watched=True)
    warn_of_divergence(runs)
    return runs


def train(
    runners: Runners,
    task: Task,
    hooks: Hooks,
    memory: float | None = None,
    *,
    watched: bool = False,
    n_processes: int = 1,
) -> Runs:
    """Train networks, each given by an arm and a seed, in the way that is fastest.

    The arms' recipes may differ in `lr`, `momentum` and `weight_decay` only. `watched` says that
    somebody waits: shows progress, and keeps what is finished on Ctrl-C. Of `n_processes` that
    train here at once, each takes its share of the memory. Raises and warns as `fit`.
    """
    for part in hooks.parts:
        require_part(task, part)
    recipe = runners[0][0].recipe
    with kept_pages(), matmul_precision(recipe.precision), _explained(task, recipe):
        nets = initial_nets((arm.make_net, seed) for arm, seed in runners)
        plain = not (recipe.compile or recipe.graph)
        if len(runners) == 1 and plain and not draws_in_branches(nets[0]):
            return _apart(runners, task, hooks, "it is the only one", watched)
        require_own_parts(nets)
        trial = side_by_side.try_out(runners[0], nets, task, hooks)
        if trial.obstacle:
            if recipe.compile or recipe.graph:
                raise ValueError(
                    "expected networks that can be trained side by side for compile=True or "
                    f"graph=True, got some that cannot: {trial.obstacle}; try without"
                )
            if watched and trial.surprising:
                warnings.warn(f"trained one after another: {trial.obstacle}", stacklevel=3)
            return _apart(runners, task, hooks, trial.obstacle, watched)
        budget = free_memory(task.device) / n_processes if memory is None else memory
        chunks = cut(len(runners), side_by_side.n_at_once(trial.bytes, budget))
        return _together(runners, nets, task, hooks, chunks, watched)


@contextmanager
def _explained(task: Task, recipe: Recipe):
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")  # of one operation
            yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        n, size = task.n_train, recipe.batch_size
        sizes = chain(range(size, 1, -1), range(size + 1, n + 2))
        other = next((b for b in sizes if b > 1 and n % b != 1), 2)
        raise ValueError(
            f"expected two rows or more for batch norm, got a last batch of one row: {n} rows in "
            f"batches of {size}; try batch_size={other}, or another n_train"
        ) from error
    except RuntimeError as error:
        if "same dtype" not in str(error) or task.x.dtype != torch.int64:
            raise
        raise ValueError(
            "expected a network that takes whole numbers, as nn.Embedding does, got one that takes "
            "fractions; try x.astype(float) if they are measurements"
        ) from error


def _apart(runners: Runners, task: Task, hooks: Hooks, why: str, watched: bool) -> Runs:
    """Train one after another, or in as many processes as joblib was told to use."""
    one = len(runners) == 1
    how = {"bar": watched and one, "partly": watched and one}
    done: list[Runs] = []
    backend, n_jobs = get_active_backend()
    if watched and not one and effective_n_jobs(n_jobs) > 1:
        threads = getattr(backend, "supports_sharedmem", False)
        got = "threads, which share random states"
        expect(not threads, "processes for n_jobs", got, 'backend="loky"')
        jobs = (delayed(_in_process)(arm, seed, task, hooks) for arm, seed in runners)
        trained = Parallel(return_as="generator")(jobs)
    else:  # here; a sweep has shared its work out already
        trained = (train_one(arm, seed, task, hooks, **how) for arm, seed in runners)
    try:
        for runs in tqdm(trained, total=len(runners), **progress(watched and not one)):
            done.append(runs)
    except KeyboardInterrupt:
        if not (watched and done):
            raise
        warnings.warn(f"interrupted: kept {len(done)} finished networks", stacklevel=4)
    return dataclasses.replace(join(done), apart=why)


def _in_process(arm: Arm, seed: int, task: Task, hooks: Hooks) -> Runs:
    with kept_pages(), matmul_precision(arm.recipe.precision):
        return train_one(arm, seed, task, hooks)


def _together(
    runners: Runners,
    nets: Sequence[nn.Module],
    task: Task,
    hooks: Hooks,
    chunks: Sequence[slice],
    watched: bool,
) -> Runs:
    """Train side by side, chunk by chunk."""
    runs = []
    for chunk in chunks:
        stack = Stack(nets[chunk], task.device, alike=True)  # by the trial
        seeds = [seed for _, seed in runners[chunk]]
        recipe, partly = runners[0][0].recipe, watched and len(chunks) == 1
        scores = side_by_side.epochs(runners[chunk], stack, task, hooks)
        history = History(recipe, seeds, stack, partial=partly)
        with private_rng(seeds[0]), history:
            for row in tqdm(scores, total=recipe.epochs, **progress(watched)):
                if history.add(row):
                    break
        runs.append(history.runs(task))
    return join(runs)


def cut(n: int, most: int) -> list[slice]:
    """Cut n networks into chunks of at most `most`, as equal as can be."""
    n_chunks = -(-n // most)
    size = -(-n // n_chunks)
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def progress(wanted: bool = True) -> dict[str, object]:
    """Options of a progress bar: one belongs to a person who waits, not to a log."""
    person = "ipykernel" in sys.modules or sys.stderr.isatty()
    silent = not wanted or not person or bool(os.environ.get("COURSEKIT_STATIC"))
    return {"delay": 1, "leave": False, "disable": silent}
