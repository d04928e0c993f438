"""What a study adds to the training loop, and how functions for one network serve S of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import vmap

from coursekit.datasets.tasks import choose
from coursekit.engine.networks import parameters
from coursekit.engine.random import OwnDraws, Streams
from coursekit.engine.scores import PARTS
from coursekit.recipe import Recipe

Params = Mapping[str, Tensor]


@dataclass(frozen=True)
class Hooks:
    """What a study adds to the loop: functions for *one* network, as `fit` describes them."""

    objective: Callable | None = None
    penalty: Callable | None = None
    augment: Callable | None = None
    mix: Callable | None = None
    constrain: Callable | None = None
    step: Callable | None = None
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
            return _checked(place, args, hook(*args, **settings))

    mapped = vmap(one, randomness="different")
    return lambda *args: mapped(position, settings, *args)


def for_one(
    hook: Callable | None, place: str, streams: Streams, arm: Arm, device
) -> Callable | None:
    """A hook as the plain loop calls it: with the settings it names, and own draws."""
    if hook is None:
        return None
    settings = {
        name: torch.tensor(float(arm.settings[name]), device=device)
        for name in set(parameters(hook)) & set(arm.settings)
    }

    def one(*args):
        with OwnDraws(streams, place):
            return _checked(place, args, hook(*args, **settings))

    return one


def own_step(step: Callable, streams: Streams, arm: Arm) -> Callable:
    """A step with the settings that it names, as numbers, and own draws."""
    settings = {name: arm.settings[name] for name in set(parameters(step)) & set(arm.settings)}

    def one(*args):
        with OwnDraws(streams, "step"):
            return step(*args, **settings)

    return one


def as_loss(value: Tensor) -> Tensor:
    """What a step returned, if it is the loss of the batch; ValueError otherwise."""
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise ValueError(
            f"expected a step that returns the loss of its batch as a tensor, got {value!r}; end "
            "it with `return value`, as coursekit.train.usual_step does"
        )
    return value


def _checked(place: str, args: tuple, result: Tensor) -> Tensor:
    """What a hook returned, if it has the form that `fit` asks for; ValueError otherwise."""
    shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
    if place == "objective" and shape != args[0].shape[:1]:
        raise ValueError(
            f"expected an objective that returns one loss per row, shape ({len(args[0])},), got "
            f'{shape}; a loss of torch.nn does so with reduction="none"'
        )
    if place == "penalty" and shape != ():
        raise ValueError(
            f"expected a penalty that returns one number as a tensor, got {shape}; add up with "
            "sum(p.square().sum() for p in params.values()), without float() or .item()"
        )
    return result


@torch.no_grad()
def overwrite(params: Params, new: Params) -> None:
    """Write what `constrain` returned into the parameters; ValueError if one is missing."""
    if missing := sorted(set(params) - set(new)):
        raise ValueError(
            f"expected a constraint that returns every parameter, got none for "
            f"{', '.join(missing)}; return those that stay as they are, too: "
            "{**params, name: changed}"
        )
    for name, p in params.items():
        p.copy_(new[name])
