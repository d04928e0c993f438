"""The plain loop equals the side-by-side engine, and trains what the engine cannot map."""

from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from coursekit import data, models, schedules
from coursekit.data import Task
from coursekit.engine import layers, side_by_side
from coursekit.engine.hooks import Arm, Hooks
from coursekit.engine.networks import initial_net
from coursekit.engine.side_by_side import LARGEST_MAP, try_out
from coursekit.regularizers import augmentation, mixing, penalties
from coursekit.regularizers.depth import Residual
from coursekit.regularizers.dropout import Dropout
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit, join, outputs, train, train_one

SHORT = Recipe(epochs=3, batch_size=16, lr=0.01, n_seeds=3, first_seed=5)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", n_train=72, n_val=50, label_noise=0.3, device="cpu")


@pytest.fixture(scope="module")
def signals():
    return data.load("mnist1d", n_train=72, n_val=50, device="cpu")


class Noisy(nn.Module):
    """A class of a user's own, which draws in three ways."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 24), nn.Linear(24, 10)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        h = self.first(x.flatten(1)).relu()
        if self.training:
            h = h + 0.1 * torch.randn_like(h)
        return self.last(F.dropout(self.drop(h), 0.1, self.training))


def tied(task):
    def make():
        drop = nn.Dropout(0.5)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), drop, nn.ReLU(), drop,
                             nn.Linear(24, 10))  # fmt: skip

    return make


def residual(per_sample, task):
    def make():
        branches = (nn.Sequential(nn.BatchNorm1d(24), nn.Linear(24, 24)) for _ in range(2))
        blocks = [Residual(branch, 0.6, per_sample=per_sample) for branch in branches]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), *blocks, nn.Linear(24, 10))

    return make


NETS = {
    "mlp": lambda task: models.mlp(task, hidden=(24,), dropout=0.3),
    "batch_norm": lambda task: models.mlp(task, hidden=(24,), batch_norm=True),
    "cnn": lambda task: models.cnn(task, (5, 8), batch_norm=True, dropout=0.2),
    "torch_dropout": lambda task: lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 10)
    ),
    "one_dropout_twice": tied,
    "one_of_ours_twice": lambda task: lambda: (lambda drop: nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), drop, nn.Linear(24, 24), drop, nn.Linear(24, 10)
    ))(Dropout(0.5)),
    "own_class": lambda task: Noisy,
    "stochastic_depth": partial(residual, False),
    "per_sample": partial(residual, True),
}  # fmt: skip


def both_ways(make_net, task, recipe, **hooks):
    """The same seeds by the engine and by the plain loop."""
    arm, hooks = Arm(make_net, recipe), Hooks(**hooks)
    fast = train([(arm, seed) for seed in recipe.seeds], task, hooks)
    assert not fast.apart, fast.apart
    return fast, join([train_one(arm, seed, task, hooks) for seed in recipe.seeds])


def assert_equal(fast, slow, rtol=2e-3):
    assert set(fast.curves) == set(slow.curves)
    for name, curve in fast.curves.items():
        np.testing.assert_allclose(curve, slow.curves[name], rtol=rtol, err_msg=name)
    assert set(fast.final) == set(slow.final)
    for kind in ("final", "best"):
        for name, value in getattr(fast, kind).items():
            torch.testing.assert_close(value, getattr(slow, kind)[name], rtol=rtol, atol=2e-4)
    np.testing.assert_array_equal(fast.best_epoch, slow.best_epoch)
    np.testing.assert_array_equal(fast.last_epoch, slow.last_epoch)


@pytest.mark.parametrize("name", NETS)
def test_the_plain_loop_draws_and_trains_as_the_engine_does(digits, signals, name):
    task = signals if name == "cnn" else digits
    # SGD: Adam would hide a wrong scale of the loss.
    assert_equal(*both_ways(NETS[name](task), task, replace(SHORT, optimizer="sgd", lr=0.05)))


@pytest.mark.parametrize(
    "recipe",
    [
        replace(SHORT, optimizer="adamw", weight_decay=0.1, schedule="cosine"),
        replace(SHORT, optimizer="sgd", momentum=0.9, weight_decay=0.1, decay_biases=True),
        replace(SHORT, optimizer=partial(torch.optim.RMSprop, alpha=0.9), weight_decay=0.01),
        replace(SHORT, schedule=schedules.warmup(2)),
        replace(SHORT, epochs=8, patience=1, lr=0.03),
        replace(SHORT, epochs=5, evaluate_every=2),
        replace(SHORT, precision="bfloat16"),
    ],
    ids=["adamw", "sgd", "factory", "schedule", "patience", "every_second", "bfloat16"],
)
def test_every_recipe_is_the_same_in_both_ways(digits, recipe):
    rtol = 0.1 if recipe.precision == "bfloat16" else 2e-3
    fast, slow = both_ways(models.mlp(digits, hidden=(24,)), digits, recipe)
    if rtol == 0.1:
        np.testing.assert_allclose(fast.val_loss, slow.val_loss, rtol=rtol)
    else:
        assert_equal(fast, slow)


@pytest.mark.parametrize(
    "hooks",
    [
        {"penalty": partial(penalties.l1, strength=0.01)},
        {"augment": lambda x: augmentation.random_shift(x, 1)},
        {"augment": lambda x: x + 0.1 * torch.randn_like(x), "record": ("test",)},
        {"mix": lambda x, y: mixing.random_mixup(x, y, 0.2, 10)},
        {"objective": partial(F.cross_entropy, reduction="none", label_smoothing=0.1)},
        {"constrain": lambda params: {n: p.clamp(-0.1, 0.1) for n, p in params.items()}},
    ],
    ids=["penalty", "shift", "noise", "mixup", "objective", "constrain"],
)
def test_every_hook_is_the_same_in_both_ways(digits, hooks):
    recipe = replace(SHORT, optimizer="sgd", lr=0.05)
    assert_equal(*both_ways(models.mlp(digits, hidden=(24,)), digits, recipe, **hooks))


def test_a_network_that_draws_in_branches_is_the_same_alone(digits):
    def make():
        branch = nn.Sequential(nn.BatchNorm1d(24), nn.Dropout(0.5), nn.Linear(24, 24))
        head = nn.Linear(24, 10)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), Residual(branch, 0.5), head)

    together = fit(make, digits, SHORT)
    alone = fit(make, digits, replace(SHORT, n_seeds=1, first_seed=6))
    assert alone.apart == ""
    np.testing.assert_allclose(alone.val_loss[0], together.val_loss[1], rtol=2e-3)


# What the engine cannot map


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells, self.last = kind(8, 12, batch_first=True), nn.Linear(12, 10)

    def forward(self, x):
        return self.last(self.cells(x.squeeze(1))[0][:, -1])


class Checkpointed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 24), nn.Linear(24, 10)

    def forward(self, x):
        h = checkpoint(lambda x: self.first(x).relu(), x.flatten(1), use_reentrant=False)
        return self.last(h)


class Choosy(nn.Module):
    """Control flow that depends on data."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 10), nn.Linear(64, 10)

    def forward(self, x):
        return self.a(x.flatten(1)) if x.mean() > 0.3 else self.b(x.flatten(1))


class Remembering(nn.Module):
    """A buffer that is replaced instead of changed."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)
        self.register_buffer("mean", torch.zeros(64))

    def forward(self, x):
        x = x.flatten(1)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.mean(0)
        return self.last(x - self.mean)


class NumpyNoise(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        noise = np.random.normal(size=(len(x), 64)) if self.training else 0.0  # noqa: NPY002
        return self.last(x.flatten(1) + torch.as_tensor(noise, dtype=torch.float32))


ODD = {
    "lstm": (partial(Recurrent, nn.LSTM), "Recurrent cannot be mapped"),
    "gru": (partial(Recurrent, nn.GRU), "Recurrent cannot be mapped"),
    "spectral_norm": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(64, 10))
        ),
        "",
    ),
    "checkpoint": (Checkpointed, "Checkpointed cannot be mapped"),
    "data_dependent": (Choosy, "Choosy cannot be mapped"),
    "replaced_buffer": (Remembering, "'mean' is replaced"),
    "numpy_noise": (NumpyNoise, "drawn by NumPy"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_cannot_be_mapped_is_trained_one_after_another_and_says_why(digits, name):
    make_net, reason = ODD[name]
    with pytest.warns(UserWarning, match=f"trained one after another: .*{reason}"):
        runs = fit(make_net, digits, SHORT)
    assert reason in runs.apart
    assert "one after another" in repr(runs)
    again = fit(make_net, digits, replace(SHORT, n_seeds=1, first_seed=6))
    np.testing.assert_array_equal(runs.val_loss[1], again.val_loss[0])  # whoever is trained beside
    assert len(np.unique(runs.val_loss[:, -1])) == 3
    out = outputs(runs, digits.x_test, weights="final")
    assert out.shape == (3, 900, 10)
    loss = F.cross_entropy(out[2], digits.y_test)
    np.testing.assert_allclose(evaluate(runs, digits, weights="final").loss[2], loss, rtol=1e-5)
    own = runs.network(6, weights="final")(digits.x_test)
    torch.testing.assert_close(own, out[1])


def test_a_replaced_buffer_is_kept(digits):
    alone = fit(Remembering, digits, replace(SHORT, n_seeds=1))
    assert alone.final["mean"].abs().max() > 0.1


def test_noise_of_numpy_differs_between_seeds_and_leaves_the_callers_state_alone(digits):
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    with pytest.warns(UserWarning, match="NumPy"):
        runs = fit(NumpyNoise, digits, SHORT)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert len(np.unique(runs.logged_loss[:, 0])) == 3


def test_networks_that_are_trained_apart_go_through_a_sweep_and_its_files(digits, tmp_path):
    build = lambda task: partial(Recurrent, nn.GRU)  # noqa: E731
    grid = {"lr": [0.01, 0.03]}
    first = sweep(build, digits, SHORT, grid, folder=tmp_path)
    again = sweep(build, digits, SHORT, grid, folder=tmp_path)
    assert "Recurrent cannot be mapped" in again.runs[0].apart
    for one, other in zip(first.runs, again.runs, strict=True):
        np.testing.assert_array_equal(one.val_loss, other.val_loss)
    fitted = fit_quietly(partial(Recurrent, nn.GRU), digits, replace(SHORT, lr=0.03))
    np.testing.assert_array_equal(first.at(lr=0.03).val_loss, fitted.val_loss)
    np.testing.assert_array_equal(
        again.table("test")["test_loss"][3:], evaluate(fitted, digits).loss
    )


@pytest.mark.filterwarnings("ignore:trained one after another")
def fit_quietly(*args, **options):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fit(*args, **options)


def test_two_processes_find_the_same_numbers(digits):
    make_net = partial(Recurrent, nn.GRU)
    with joblib.parallel_config(n_jobs=2):
        there = fit_quietly(make_net, digits, SHORT)
    here = fit_quietly(make_net, digits, SHORT)
    np.testing.assert_allclose(there.val_loss, here.val_loss, rtol=1e-5)
    assert there.seeds.tolist() == [5, 6, 7]


def test_large_feature_maps_are_trained_one_after_another():
    x = torch.rand(60, 1, 28, 28)
    task = Task.from_arrays(x, torch.arange(60) % 3, n_train=40, n_val=8, device="cpu")
    make_net = models.cnn(task)
    arm = Arm(make_net, replace(SHORT, batch_size=32))
    assert LARGEST_MAP < 32 * 16 * 28 * 28
    trial = try_out((arm, 0), [initial_net(make_net, 0)], task, Hooks())
    assert "cache" in trial.obstacle
    assert not trial.surprising
    small = replace(arm, recipe=replace(SHORT, batch_size=4))
    assert try_out((small, 0), [initial_net(make_net, 0)], task, Hooks()).obstacle == ""


def test_a_trial_leaves_the_network_as_it_is(digits):
    make_net = models.mlp(digits, hidden=(24,), batch_norm=True)
    net = initial_net(make_net, 0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    try_out((Arm(make_net, SHORT), 0), [net], digits, Hooks())
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(layer._forward_hooks for layer in net.modules())


def test_the_network_that_is_returned_has_lost_the_loops_hooks(digits):
    runs = fit(tied(digits), digits, replace(SHORT, n_seeds=1))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in runs.net.modules())
    net = runs.network(5)
    assert not net.training
    assert net(digits.x_test).shape == (900, 10)
    with pytest.raises(ValueError, match=r"expected a seed among \[5\], got 0; try network\(5\)"):
        runs.network(0)


def test_an_interrupt_keeps_the_finished_networks(digits):
    batches_left = iter(range(3 * 5 + 4))  # three epochs of five batches, and a bit

    def press_ctrl_c(net, optimizer, loss, n_steps):
        if next(batches_left, None) is None:
            raise KeyboardInterrupt
        return side_step(net, optimizer, loss, n_steps)

    with pytest.warns(UserWarning, match="interrupted: kept 1 finished networks"):
        runs = fit(models.linear(digits), digits, SHORT, step=press_ctrl_c)
    assert runs.seeds.tolist() == [5]
    with pytest.raises(KeyboardInterrupt):
        fit(models.linear(digits), digits, SHORT, step=press_ctrl_c)


# Hidden state: what a network holds beside its weights


class Features(nn.Module):
    """Random features that somebody forgot to make a buffer."""

    def __init__(self):
        super().__init__()
        self.directions, self.last = torch.randn(64, 32), nn.Linear(32, 10)

    def forward(self, x):
        return self.last((x.flatten(1) @ self.directions).cos())


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.last, self._n = nn.Linear(64, 10), 0

    def forward(self, x):
        self._n += self.training
        return self.last(x.flatten(1)) / (1 + 0.1 * self._n)


class Frozen(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)
        self.shift = nn.Parameter(torch.zeros(10), requires_grad=False)

    def forward(self, x):
        out = self.last(x.flatten(1))
        if self.training:
            self.shift = nn.Parameter(0.5 * self.shift + out.mean(0).detach(), requires_grad=False)
        return out - self.shift


class OwnGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.last, self.draws = nn.Linear(64, 10), torch.Generator().manual_seed(0)

    def forward(self, x):
        noise = torch.randn(x.flatten(1).shape, generator=self.draws) if self.training else 0
        return self.last(x.flatten(1) + noise)


class Sampling(nn.Module):
    """Draws in evaluation mode, too."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        return self.last(F.dropout(x.flatten(1), 0.3))


class Twice(nn.Module):
    """One layer under two names."""

    def __init__(self):
        super().__init__()
        self.first, self.middle = nn.Linear(64, 24), nn.Linear(24, 24)
        self.again, self.last = self.middle, nn.Linear(24, 10)

    def forward(self, x):
        h = self.first(x.flatten(1)).relu()
        return self.last(self.again(self.middle(h).relu()))


class LateNoise(nn.Module):
    """Draws nothing before its third batch."""

    def __init__(self):
        super().__init__()
        self.layer, self.n_batches = nn.Linear(64, 10), 0

    def forward(self, x):
        h = self.layer(x.flatten(1))
        self.n_batches += self.training
        return h + torch.randn_like(h) if self.training and self.n_batches > 2 else h


class OwnDepth(nn.Module):
    """Stochastic depth around batch norm, inside a class."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(64, 24), nn.Linear(24, 10)
        self.block = Residual(nn.Sequential(nn.BatchNorm1d(24), nn.Linear(24, 24)), 0.5)

    def forward(self, x):
        return self.last(self.block(self.first(x.flatten(1))))


HIDDEN = {
    "random_matrix": (Features, "differ in more than"),
    "late_noise": (LateNoise, "keeps something in itself"),
    "counter": (Counting, "keeps something in itself"),
    "frozen_parameter": (Frozen, "'shift' is replaced"),
    "generator": (OwnGenerator, ""),
    "alpha_dropout": (
        lambda: nn.Sequential(nn.Flatten(), nn.AlphaDropout(0.3), nn.Linear(64, 10)),
        "drawn by PyTorch",
    ),
    "samples_in_evaluation": (Sampling, None),
    "one_layer_twice": (Twice, None),
    "stochastic_depth_inside": (OwnDepth, None),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_seed_is_the_same_alone_and_in_company_whatever_a_network_hides(digits, name):
    make_net, reason = HIDDEN[name]
    recipe = replace(SHORT, optimizer="sgd", lr=0.05)
    together = fit_quietly(make_net, digits, recipe)
    assert bool(together.apart) == (reason is not None)
    assert (reason or "") in together.apart
    for s, seed in enumerate(recipe.seeds):
        alone = fit(make_net, digits, replace(recipe, n_seeds=1, first_seed=seed))
        rtol = 2e-3 if reason is None else 1e-12
        np.testing.assert_allclose(alone.logged_loss[0], together.logged_loss[s], rtol=rtol)
    if name != "samples_in_evaluation":
        val = evaluate(together, digits, "val", weights="final").loss
        np.testing.assert_allclose(val, together.val_loss[:, -1], rtol=1e-5)


@pytest.mark.parametrize("noise", [False, True])
def test_only_what_draws_is_watched_after_its_first_batch(digits, noise, monkeypatch):
    watched = []
    own = layers.OwnDraws.__torch_function__
    monkeypatch.setattr(
        layers.OwnDraws, "__torch_function__",
        lambda self, func, *rest: watched.append(func) or own(self, func, *rest),
    )  # fmt: skip

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(64, 10)

        def forward(self, x):
            h = self.layer(x.flatten(1))
            return h + torch.randn_like(h) if noise else h

    calls = []
    for epochs in (1, 3):
        watched.clear()
        recipe = replace(SHORT, epochs=epochs, n_seeds=1)
        train_one(Arm(Own, recipe), 5, digits, Hooks())
        calls.append(len(watched))
    assert calls[0] > 0
    assert (calls[0] == calls[1]) == (not noise)


def test_what_a_network_hides_comes_back_from_a_file(digits, tmp_path):
    from coursekit.results import store

    runs = fit_quietly(Features, digits, SHORT)
    back = store.load(store.save(runs, tmp_path / "a.npz"), Features)
    np.testing.assert_allclose(evaluate(back, digits).loss, evaluate(runs, digits).loss, rtol=1e-6)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_a_network_that_changes_its_input_changes_no_test_set(digits, n_seeds):
    class Rude(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(64, 10)

        def forward(self, x):
            x -= 0.5
            return self.last(x.flatten(1))

    before = digits.x_test.clone()
    runs = fit_quietly(Rude, digits, replace(SHORT, n_seeds=n_seeds), record=("test",))
    evaluate(runs, digits)
    outputs(runs, digits.x_test)
    assert torch.equal(digits.x_test, before)


def test_checkpointing_draws_the_same_dropout_again():
    from coursekit.engine.layers import own_draws
    from coursekit.engine.random import Streams

    class Twofold(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5))
            self.last = nn.Linear(64, 10)

        def forward(self, x):
            return self.last(checkpoint(self.body, x.flatten(1), use_reentrant=False))

    torch.manual_seed(1)
    net, x = Twofold().double(), torch.rand(8, 64, dtype=torch.float64)

    def loss():
        torch.manual_seed(0)  # checkpointing draws from PyTorch's own state, to bring it back
        return net(x).square().sum()

    with own_draws(net, Streams([0])):
        loss().backward()
        weight, eps, found = net.body[0].weight, 1e-6, []
        for sign in (1, -1):
            weight.data += sign * eps
            found.append(loss().item())
            weight.data -= sign * eps
    slope = (found[0] - found[1]) / (2 * eps)
    assert abs(slope - weight.grad.sum().item()) < 1e-4 * max(1, abs(slope))
    assert abs(slope) > 1e-3


def test_networks_that_share_a_part_are_refused(digits):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with pytest.raises(ValueError, match=r"a new network each time, got one that shares 1\.bias"):
        fit(lambda: net, digits, SHORT)


def test_a_setting_of_a_step_is_an_arm_of_a_sweep(digits):
    swept = sweep(models.linear, digits, SHORT, {"norm": [1e-6, 1.0]}, step=clipped)
    assert (swept.at(norm=1e-6).val_loss[:, -1] > swept.at(norm=1.0).val_loss[:, -1] + 0.02).all()


def test_functions_that_differ_are_arms_of_their_own(digits):
    class Net(nn.Module):
        def __init__(self, act):
            super().__init__()
            self.first, self.last, self.act = nn.Linear(64, 24), nn.Linear(24, 10), act

        def forward(self, x):
            return self.last(self.act(self.first(x.flatten(1))))

    swept = sweep(lambda task, act: lambda: Net(act), digits, SHORT, {"act": [F.relu, torch.sin]})
    alone = fit(lambda: Net(torch.sin), digits, SHORT)
    np.testing.assert_allclose(swept.at(act=torch.sin).val_loss, alone.val_loss, rtol=2e-3)
    assert not np.allclose(swept.at(act=F.relu).val_loss, alone.val_loss, rtol=1e-2)


def test_patience_counts_no_epoch_that_was_not_evaluated(digits):
    recipe = replace(SHORT, epochs=20, patience=3, evaluate_every=5, lr=0.03)
    runs = fit(models.mlp(digits), digits, recipe)
    assert set(runs.last_epoch.tolist()) <= {5, 10, 15, 20}
    assert (runs.best_epoch >= 5).all()


def test_threads_are_refused_where_they_would_share_random_states(digits):
    with (
        joblib.parallel_config(backend="threading", n_jobs=2),
        pytest.raises(ValueError, match=r'expected processes for n_jobs.*backend="loky"'),
    ):
        fit_quietly(partial(Recurrent, nn.GRU), digits, SHORT)


def test_a_step_that_returns_nothing_gets_a_sentence(digits):
    with pytest.raises(ValueError, match="a step that returns the loss of its batch"):
        fit(models.linear(digits), digits, SHORT, step=lambda net, optimizer, loss, n_steps: None)


# The step


def side_step(net, optimizer, loss, n_steps):
    value = loss()
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    return value


def clipped(net, optimizer, loss, n_steps, *, norm=0.01):
    value = loss()
    optimizer.zero_grad()
    value.backward()
    nn.utils.clip_grad_norm_(net.parameters(), norm)
    optimizer.step()
    return value


def accumulated(net, optimizer, loss, n_steps, *, n=2):
    value = loss()
    (value / n).backward()
    if n_steps % n == n - 1:
        optimizer.step()
        optimizer.zero_grad()
    return value


def sharpness_aware(net, optimizer, loss, n_steps, *, radius=0.05):
    """Foret et al., "Sharpness-aware minimization", ICLR 2021."""
    value = loss()
    optimizer.zero_grad()
    value.backward()
    params = [p for p in net.parameters() if p.grad is not None]
    norm = torch.stack([p.grad.norm() for p in params]).norm()
    uphill = [radius * p.grad / norm for p in params]
    with torch.no_grad():
        for p, e in zip(params, uphill, strict=True):
            p.add_(e)
    optimizer.zero_grad()
    loss().backward()
    with torch.no_grad():
        for p, e in zip(params, uphill, strict=True):
            p.sub_(e)
    optimizer.step()
    return value


def test_a_step_of_ones_own_is_the_usual_step_if_it_does_the_same(digits):
    make_net, recipe = models.mlp(digits, hidden=(24,), dropout=0.2), replace(SHORT, n_seeds=2)
    own = fit(make_net, digits, recipe, step=side_step)
    usual = fit(make_net, digits, recipe)
    assert "step" in own.apart
    assert usual.apart == ""
    np.testing.assert_allclose(own.val_loss, usual.val_loss, rtol=2e-3)


def test_a_step_draws_from_the_seeds_own_stream(digits):
    drawn = []

    def noisy(net, optimizer, loss, n_steps):
        drawn.append(torch.rand(()).item())
        return side_step(net, optimizer, loss, n_steps)

    fit(models.linear(digits), digits, replace(SHORT, epochs=1, n_seeds=2), step=noisy)
    fit(models.mlp(digits, hidden=(8,)), digits, replace(SHORT, epochs=1, n_seeds=2), step=noisy)
    half = len(drawn) // 2
    assert drawn[:half] == drawn[half:], "whatever the network is made of"
    assert drawn[0] != drawn[half // 2], "another seed"


def test_accumulating_gradients_is_a_larger_batch(digits):
    task = replace(digits, n_train=64)
    make_net, recipe = models.mlp(task, hidden=(24,)), replace(SHORT, optimizer="sgd", lr=0.1)
    small = fit(make_net, task, recipe, step=accumulated)
    large = fit(make_net, task, replace(recipe, batch_size=32))
    np.testing.assert_allclose(small.val_loss, large.val_loss, rtol=2e-3)


def test_clipping_bounds_how_far_a_step_goes(digits):
    make_net, recipe = models.linear(digits), replace(SHORT, optimizer="sgd", lr=1.0, epochs=1)
    start = initial_net(make_net, 5).state_dict()
    runs = fit(make_net, digits, recipe, step=clipped)
    moved = sum((runs.final[name][0] - value).square().sum() for name, value in start.items())
    assert moved.sqrt() <= 5 * 0.01 + 1e-6  # five steps
    free = fit(make_net, digits, recipe)
    assert sum((free.final[n][0] - v).square().sum() for n, v in start.items()).sqrt() > 0.2


def test_sharpness_aware_minimization_ends_in_a_flatter_place(digits):
    make_net, recipe = models.mlp(digits, hidden=(24,)), replace(SHORT, epochs=40, lr=0.01)

    def sharpness(runs):
        """Rise of the training loss along the gradient's direction."""
        rises = []
        for seed in runs.seeds:
            net, deal = runs.network(seed, weights="final"), digits.deal([seed])
            x, y = digits.inputs(deal.train_rows[0]), deal.y_train[0]
            here = F.cross_entropy(net(x), y)
            here.backward()
            norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
            with torch.no_grad():
                for p in net.parameters():
                    p.add_(0.2 * p.grad / norm)
                rises.append((F.cross_entropy(net(x), y) - here).item())
        return np.array(rises)

    sharp = fit(make_net, digits, recipe)
    flat = fit(make_net, digits, recipe, step=partial(sharpness_aware, radius=0.2))
    assert (sharpness(flat) < sharpness(sharp)).all()


# Errors that help


def scalar_objective(outputs, targets):
    return F.cross_entropy(outputs, targets)


class TwoOutputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(64, 10)

    def forward(self, x):
        return self.last(x.flatten(1)), x


@pytest.mark.parametrize("n_seeds", [1, 2])
@pytest.mark.parametrize(
    ("make_net", "hooks", "sentence"),
    [
        (None, {"objective": nn.CrossEntropyLoss()}, 'one loss per row.*reduction="none"'),
        (None, {"objective": scalar_objective}, 'one loss per row.*reduction="none"'),
        (None, {"penalty": lambda params: 0.1}, "one number as a tensor, got float"),
        (None, {"penalty": lambda p: p["1.bias"].abs()}, r"one number as a tensor, got \(10,\)"),
        (None, {"constrain": lambda p: {"1.bias": p["1.bias"]}}, "got none for 1.weight"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), {}, r"\(16, 10\).*got \(16, 1\)"),
        (TwoOutputs, {}, "got tuple; .*nothing beside it"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(10)), {}, "got lazy ones"),
        (nn.Sequential(nn.Linear(64, 10)), {}, "function that makes a network per seed, got a"),
        (models.mlp, {}, "one that needs task; a builder is called first"),
        (
            lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)),
            {},
            "a last batch of one row.*batch_size",
        ),
    ],
    ids=["loss", "scalar", "float", "vector", "forgets", "one_output", "tuple", "lazy", "network",
         "builder", "batch_of_one"],
)  # fmt: skip
def test_a_wrong_thing_gets_a_sentence_that_helps(digits, make_net, hooks, sentence, n_seeds):
    task = replace(digits, n_train=65)  # four batches of 16 and one row
    make_net = make_net or models.linear(task)
    with pytest.raises(ValueError, match=f"expected .*{sentence}"):
        fit_quietly(make_net, task, replace(SHORT, n_seeds=n_seeds), **hooks)


def test_a_mistake_in_a_network_is_shown_as_pytorch_shows_it(digits):
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        fit(lambda: nn.Sequential(nn.Flatten(), nn.Linear(63, 10)), digits, SHORT)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"epochs": 2.0}, "epochs of at least 1, a whole number, got 2.0; try epochs=2"),
        ({"batch_size": True}, "batch_size of at least 1, a whole number, got True"),
        ({"evaluate_every": 0}, "evaluate_every of at least 1"),
        ({"optimizer": partial(torch.optim.Adam), "momentum": 0.9}, "momentum belongs to 'sgd'"),
    ],
)
def test_a_wrong_recipe_gets_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Recipe(**settings)


def test_a_function_that_makes_no_optimizer_gets_a_sentence(digits):
    with pytest.raises(ValueError, match="from parameter groups to an optimizer, got one that"):
        fit(models.linear(digits), digits, replace(SHORT, optimizer=len))


def test_an_optimizer_that_looks_at_whole_networks_takes_them_one_by_one(digits):
    class Larger(torch.optim.SGD):
        """Might scale by the norm of all gradients."""

    runs = fit(models.linear(digits), digits, replace(SHORT, optimizer=Larger))
    assert "Larger may look at a whole network" in runs.apart


def test_epochs_between_evaluations_are_nan_and_the_last_one_is_not(digits):
    recipe = replace(SHORT, epochs=5, evaluate_every=2)
    runs = fit(models.mlp(digits, hidden=(24,)), digits, recipe)
    dense = fit(models.mlp(digits, hidden=(24,)), digits, replace(recipe, evaluate_every=1))
    measured = [1, 3, 4]
    for name in ("val_loss", "train_acc"):
        np.testing.assert_array_equal(
            np.isfinite(runs.curves[name][0]), np.isin(range(5), measured)
        )
        np.testing.assert_array_equal(
            runs.curves[name][:, measured], dense.curves[name][:, measured]
        )
    np.testing.assert_array_equal(runs.logged_loss, dense.logged_loss)
    assert not runs.diverged.any()
    assert set(runs.best_epoch.tolist()) <= {2, 4, 5}


def test_a_recipe_with_functions_is_stored_and_says_what_is_missing(digits, tmp_path):
    from coursekit.results import store

    recipe = replace(SHORT, optimizer=partial(torch.optim.Adam, betas=(0.5, 0.9)), n_seeds=2)
    make_net = models.linear(digits)
    runs = fit(make_net, digits, recipe)
    store.save(runs, tmp_path / "a.npz")
    back = store.load(tmp_path / "a.npz", make_net)
    np.testing.assert_array_equal(back.val_loss, runs.val_loss)
    with pytest.raises(ValueError, match="expected the function Adam, got its name"):
        fit(make_net, digits, back.recipe)


def test_the_list_of_optimizers_that_work_entry_by_entry_is_of_pytorchs_own():
    assert all(issubclass(getattr(torch.optim, n), torch.optim.Optimizer)
               for n in side_by_side.ENTRYWISE)  # fmt: skip
