"""What a study adds to the training loop, and how functions for one network serve S of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import vmap

from coursekit.datasets.tasks import Task, choose
from coursekit.engine.devices import half
from coursekit.engine.random import OwnDraws, Streams
from coursekit.engine.stack import Stack
from coursekit.recipe import Recipe
from coursekit.results.runs import PARTS, cross_entropy, score_of

Params = Mapping[str, Tensor]


@dataclass(frozen=True)
class Hooks:
    """What a study adds to the loop: functions for *one* network, as `fit` describes them."""

    objective: Callable | None = None
    penalty: Callable | None = None
    augment: Callable | None = None
    mix: Callable | None = None
    constrain: Callable | None = None
    record: Sequence[str] = ("train", "val")

    def __post_init__(self):
        for part in self.record:
            choose("part", part, PARTS)

    @property
    def parts(self) -> list[str]:
        """Parts to evaluate: "val" always is, to find the best weights."""
        return [part for part in PARTS if part in self.record or part == "val"]


@dataclass(frozen=True)
class Arm:
    """One setting of a study: what makes its networks, how they train, what its hooks are given."""

    make_net: Callable[[], nn.Module]
    recipe: Recipe
    settings: Mapping[str, float] = field(default_factory=dict)


def optimized_losses(
    stack: Stack, streams: Streams, task: Task, hooks: Hooks, arms: Sequence[Arm]
) -> Callable[[Tensor, Tensor], Tensor]:
    """The function from a batch (S, B, ...), (S, B) to the losses (S,) that are optimized."""
    device, precision = task.x.device, arms[0].recipe.precision
    objective, augment, mix, penalty = (
        per_network(getattr(hooks, name), name, streams, arms, device)
        for name in ("objective", "augment", "mix", "penalty")
    )
    objective = objective or score_of(task)

    def losses_of(x: Tensor, y: Tensor) -> Tensor:
        if augment:
            x = augment(x)
        if mix:
            x, y = mix(x, y)
        with half(precision, device):
            outputs = stack(x, streams)
        if stack.solo and objective is cross_entropy:  # the same in fewer calls
            losses = F.cross_entropy(outputs[0].float(), y[0])[None]
        else:
            losses = objective(outputs.float(), y).mean(1)
        return losses + penalty(stack.params) if penalty else losses

    return losses_of


def per_network(
    hook: Callable | None, place: str, streams: Streams, arms: Sequence[Arm], device
) -> Callable | None:
    """A hook for one network, as a function of S: with the settings it names, and own draws."""
    if hook is None:
        return None
    named = set(parameters(hook))
    settings = {
        name: torch.tensor([float(arm.settings[name]) for arm in arms], device=device)
        for name in named & set(arms[0].settings)
    }
    position = torch.arange(len(arms), device=device)

    def one(position: Tensor, settings: dict[str, Tensor], *args):
        with OwnDraws(streams, place, position):
            return hook(*args, **settings)

    mapped = vmap(one, randomness="different")
    return lambda *args: mapped(position, settings, *args)


def parameters(function: Callable) -> list[str]:
    """Names of a function's parameters; none for a function written in C, which does not tell."""
    try:
        return list(signature(function).parameters)
    except ValueError:
        return []
