"""The side-by-side loop against the plain loop that every textbook prints."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from coursekit import data, models
from coursekit.engine import stack as engine_stack
from coursekit.engine.networks import initial_net
from coursekit.engine.stack import Snapshot, Stack
from coursekit.recipe import SCHEDULES
from coursekit.regularizers import penalties
from coursekit.train import Recipe, batch_order, evaluate, fit, outputs

SHORT = Recipe(epochs=3, batch_size=16, n_seeds=3, first_seed=5)


@pytest.fixture(scope="module")
def digits():
    # 72 rows in batches of 16: the last batch has 8, so a wrong average would show.
    return data.load("digits", n_train=72, n_val=50, label_noise=0.3, device="cpu")


def plain_loop(make_net, task, recipe, seed, penalty=None):
    """Train one network the ordinary way; returns it and its logged and validation losses."""
    members = task.deal([seed])
    rows, y = members.train_rows[0], members.y_train[0]
    net = initial_net(make_net, seed)
    weights = [p for p in net.parameters() if p.ndim >= 2]
    vectors = [p for p in net.parameters() if p.ndim < 2]
    groups = [{"params": weights}, {"params": vectors, "weight_decay": 0.0}]
    if recipe.decay_biases:
        groups = [{"params": weights + vectors}]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    extra = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
    optimizer = kinds[recipe.optimizer](
        groups, lr=recipe.lr, weight_decay=recipe.weight_decay, **extra
    )
    order, logged, val = batch_order(seed, task.n_train), [], []
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * SCHEDULES[recipe.schedule](epoch / recipe.epochs)
        net.train()
        total = 0.0
        for batch in next(order).split(recipe.batch_size):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(task.x[rows[batch]]), y[batch])
            if penalty:
                loss = loss + penalty(dict(net.named_parameters()))
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        net.eval()
        with torch.no_grad():
            outputs = net(task.x[members.val_rows[0]])
        val.append(F.cross_entropy(outputs, task.y[members.val_rows[0]]).item())
        logged.append(total / task.n_train)
    return net, np.array(logged), np.array(val)


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "batch_norm"])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
        {"optimizer": "adam", "lr": 0.003, "weight_decay": 0.01},
        {"optimizer": "adamw", "lr": 0.003, "weight_decay": 0.1, "schedule": "cosine"},
        {"optimizer": "sgd", "lr": 0.1, "weight_decay": 0.1, "decay_biases": True},
    ],
    ids=["sgd", "adam", "adamw", "sgd_all"],
)
def test_side_by_side_equals_one_by_one(digits, settings, batch_norm):
    recipe = replace(SHORT, **settings)
    make_net = models.mlp(digits, hidden=(24,), batch_norm=batch_norm)
    runs = fit(make_net, digits, recipe)
    for s, seed in enumerate(recipe.seeds):
        net, logged, val = plain_loop(make_net, digits, recipe, seed)
        # Adam divides by the size of small gradients, which enlarges rounding differences.
        for name, value in net.state_dict().items():
            torch.testing.assert_close(runs.final[name][s], value, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(runs.logged_loss[s], logged, rtol=1e-4)
        np.testing.assert_allclose(runs.val_loss[s], val, rtol=1e-3)


def test_penalty_is_added_to_each_network_alone(digits):
    make_net = models.mlp(digits, hidden=(24,))
    recipe = replace(SHORT, optimizer="sgd", lr=0.1)
    penalty = lambda params: penalties.l1(params, 0.01)  # noqa: E731
    runs = fit(make_net, digits, recipe, penalty=penalty)
    for s, seed in enumerate(recipe.seeds):
        _, logged, val = plain_loop(make_net, digits, recipe, seed, penalty)
        np.testing.assert_allclose(runs.logged_loss[s], logged, rtol=1e-4)
        np.testing.assert_allclose(runs.val_loss[s], val, rtol=1e-3)


def test_l2_in_the_loss_is_weight_decay_for_sgd_but_not_for_adamw(digits):
    make_net = models.mlp(digits, hidden=(24,))
    penalty = lambda params: penalties.l2(params, 0.1)  # noqa: E731
    for optimizer, same in (("sgd", True), ("adam", True), ("adamw", False)):
        recipe = replace(SHORT, optimizer=optimizer, lr=0.01)
        in_loss = fit(make_net, digits, recipe, penalty=penalty)
        in_step = fit(make_net, digits, replace(recipe, weight_decay=0.1))
        close = np.allclose(in_loss.val_loss, in_step.val_loss, rtol=1e-3)
        assert close == same, optimizer


@pytest.mark.parametrize("batch_norm", [False, True])
def test_a_seed_does_not_depend_on_its_company(digits, batch_norm):
    make_net = models.mlp(digits, hidden=(24,), batch_norm=batch_norm)
    many = fit(make_net, digits, SHORT)
    alone = fit(make_net, digits, replace(SHORT, n_seeds=1, first_seed=6))
    np.testing.assert_allclose(many.val_loss[1], alone.val_loss[0], rtol=1e-4)
    assert not np.allclose(many.val_loss[0], alone.val_loss[0], rtol=1e-2)


def test_same_recipe_same_numbers_and_the_callers_random_state_is_left_alone(digits):
    make_net = models.mlp(digits, hidden=(24,), dropout=0.5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = fit(make_net, digits, SHORT)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)
    np.testing.assert_array_equal(first.val_loss, fit(make_net, digits, SHORT).val_loss)


def test_networks_get_dropout_masks_of_their_own(digits):
    def objective(outputs, labels):
        # The mask alone, without weights or rows that differ from seed to seed anyway.
        return F.dropout(torch.ones_like(outputs), 0.5).sum(-1) + 0 * outputs.sum(-1)

    runs = fit(models.linear(digits), digits, replace(SHORT, epochs=1), objective=objective)
    assert len(np.unique(runs.logged_loss)) == SHORT.n_seeds


def test_curves_are_measured_without_dropout_and_without_the_penalty(digits):
    make_net = models.mlp(digits, hidden=(24,), dropout=0.8)
    penalty = lambda params: penalties.l2(params, 1.0)  # noqa: E731
    runs = fit(make_net, digits, SHORT, penalty=penalty, record=("train", "val", "test"))
    for part in ("train", "val", "test"):
        scores = evaluate(runs, digits, part, weights="final")
        np.testing.assert_allclose(runs.curves[f"{part}_loss"][:, -1], scores.loss, rtol=1e-5)
        np.testing.assert_allclose(runs.curves[f"{part}_acc"][:, -1], scores.acc)
    assert (runs.logged_loss[:, -1] > runs.train_loss[:, -1] + 1).all()


def test_best_weights_are_a_real_copy_of_the_best_epoch(digits):
    runs = fit(models.mlp(digits), digits, replace(SHORT, epochs=30, lr=0.01))
    best = runs.val_loss.min(1)
    assert (runs.val_loss[:, -1] > best + 0.1).all(), "no overfitting: the test would show nothing"
    np.testing.assert_allclose(evaluate(runs, digits, "val").loss, best, rtol=1e-5)
    np.testing.assert_array_equal(runs.best_epoch, runs.val_loss.argmin(1) + 1)
    for name in runs.best:
        assert runs.best[name].data_ptr() != runs.final[name].data_ptr()


def test_a_shallow_copy_would_be_caught():
    stack = Stack([nn.Linear(2, 3), nn.Linear(2, 3)], torch.device("cpu"))
    shallow, real = stack.state.copy(), Snapshot(stack)
    before = stack.state["weight"].clone()
    stack.rows["matrices"] += 1
    assert torch.equal(shallow["weight"], before + 1)
    assert torch.equal(real.state["weight"], before)
    real.keep(stack, np.array([False, True]))
    assert torch.equal(real.state["weight"], torch.stack([before[0], before[1] + 1]))


def test_the_monitored_score_decides_what_is_best(digits):
    make_net, noisy = models.mlp(digits), replace(digits, label_noise=0.4)
    recipe = Recipe(epochs=12, lr=0.01, n_seeds=4)
    by_loss = fit(make_net, noisy, recipe)
    by_accuracy = fit(make_net, noisy, replace(recipe, monitor="accuracy"))
    assert (by_loss.best_epoch == by_loss.val_loss.argmin(1) + 1).all()
    assert (by_accuracy.best_epoch == by_loss.val_acc.argmax(1) + 1).all()
    assert (by_accuracy.best_epoch != by_loss.best_epoch).any()
    kept = evaluate(by_accuracy, noisy, "val", weights="best").acc
    np.testing.assert_allclose(kept, by_loss.val_acc.max(1), atol=1e-6)
    diabetes = data.load("diabetes", device="cpu")
    with pytest.raises(ValueError, match='expected a classification for monitor="accuracy"'):
        fit(models.linear(diabetes), diabetes, replace(recipe, monitor="accuracy"))
    with pytest.raises(ValueError, match="monitor"):
        replace(recipe, monitor="val_loss")


def test_patience_stops_each_network_by_itself(digits):
    make_net, long = models.mlp(digits), replace(SHORT, epochs=30, lr=0.01)
    free, stopped = fit(make_net, digits, long), fit(make_net, digits, replace(long, patience=3))
    assert len(set(stopped.last_epoch)) > 1, "all stopped together: the test would show little"
    assert (stopped.last_epoch == stopped.best_epoch + 3).all()
    for s, last in enumerate(stopped.last_epoch):
        np.testing.assert_allclose(stopped.val_loss[s, :last], free.val_loss[s, :last], rtol=1e-3)
        assert np.isnan(stopped.val_loss[s, last:]).all()
    at_stop = stopped.val_loss[np.arange(3), stopped.last_epoch - 1]
    final = evaluate(stopped, digits, "val", weights="final").loss
    np.testing.assert_allclose(final, at_stop, rtol=1e-5)


def test_one_diverging_network_is_marked_and_leaves_the_others_alone(digits):
    def explodes(net, seed):
        torch.nn.init.constant_(net[-1].weight, float("inf") if seed == 6 else 0.01)
        return net

    make = models.mlp(digits, hidden=(24,))
    with pytest.warns(UserWarning, match=r"seeds \[6\] stopped being finite at epochs \[1\]"):
        runs = fit(lambda: explodes(make(), torch.initial_seed()), digits, SHORT)
    healthy = fit(lambda: explodes(make(), 0), digits, SHORT)
    assert runs.diverged.tolist() == [0, 1, 0]
    np.testing.assert_allclose(runs.val_loss[[0, 2]], healthy.val_loss[[0, 2]], rtol=1e-5)
    assert runs.best_epoch[1] == 0


def test_hooks_augment_only_training_batches_and_constrain_after_every_step(digits):
    make_net = models.mlp(digits, hidden=(24,))
    blank = fit(make_net, digits, SHORT, augment=torch.zeros_like)
    chance = evaluate(blank, digits, "train", weights="final").acc
    assert (chance < 0.5).all(), "nothing can be learned from blank images"
    clipped = fit(
        make_net, digits, SHORT,
        constrain=lambda params: {name: p.clamp(-0.02, 0.02) for name, p in params.items()},
    )  # fmt: skip
    assert all(p.abs().max() <= 0.02 for p in clipped.final.values())


def test_regression_tasks_use_the_squared_error():
    task = data.load("diabetes", n_train=60, n_val=40, device="cpu")
    runs = fit(models.linear(task), task, replace(SHORT, epochs=2))
    predicted = outputs(runs, task.x_test, weights="final")
    assert predicted.shape == (3, len(task.x_test), 1)
    by_hand = (predicted.squeeze(-1) - task.y_test).square().mean(1)
    np.testing.assert_allclose(
        evaluate(runs, task, weights="final").loss, by_hand.numpy(), rtol=1e-5
    )
    assert evaluate(runs, task).acc is None


def test_evaluation_in_batches_equals_evaluation_at_once(digits, monkeypatch):
    runs = fit(models.mlp(digits, hidden=(24,)), digits, SHORT)
    whole = evaluate(runs, digits).loss
    monkeypatch.setattr(engine_stack, "EVAL_ROWS", 7)
    np.testing.assert_allclose(evaluate(runs, digits).loss, whole, rtol=1e-6)


def test_an_interrupt_keeps_the_finished_epochs(digits):
    batches_left = iter(range(7))

    def press_ctrl_c(x):
        if next(batches_left, None) is None:
            raise KeyboardInterrupt
        return x

    with pytest.warns(UserWarning, match="interrupted: kept 1 finished epochs"):
        runs = fit(models.linear(digits), digits, SHORT, augment=press_ctrl_c)
    assert runs.val_loss.shape == (3, 1)
    with pytest.raises(KeyboardInterrupt):
        fit(models.linear(digits), digits, SHORT, augment=press_ctrl_c)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "expected epochs of at least 1"),
        ({"lr": float("nan")}, "expected a finite lr"),
        ({"weight_decay": -1.0}, "expected a finite weight_decay"),
        ({"optimizer": "adamax"}, "unknown optimizer 'adamax'; expected one of adam"),
        ({"schedule": "poly"}, "unknown schedule"),
        ({"patience": 0}, "expected patience"),
        ({"momentum": 0.9}, "momentum belongs to 'sgd'"),
        ({"n_seeds": 0}, "expected n_seeds"),
    ],
)
def test_wrong_recipes_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**settings)


def test_wrong_arguments_are_refused(digits):
    with pytest.raises(ValueError, match="unknown part 'tset'"):
        fit(models.linear(digits), digits, SHORT, record=("tset",))
    with pytest.raises(ValueError, match="pass the function itself"):
        fit(lambda: "net", digits, SHORT)
    with pytest.raises(ValueError, match="parameters to train"):
        fit(nn.Flatten, digits, SHORT)
    runs = fit(models.linear(digits), digits, replace(SHORT, epochs=1))
    with pytest.raises(AttributeError, match="pass record="):
        _ = runs.test_loss
    with pytest.raises(ValueError, match="unknown weights"):
        outputs(runs, digits.x_test, weights="last")
    assert "3 seeds of digits, 1 epochs" in repr(runs)


def test_the_batch_order_of_a_seed_is_a_permutation_and_changes_every_epoch():
    first, second = (lambda it: (next(it), next(it)))(batch_order(3, 50))
    assert first.sort().values.tolist() == list(range(50))
    assert not torch.equal(first, second)
    assert torch.equal(first, next(batch_order(3, 50)))
    assert not torch.equal(first, next(batch_order(4, 50)))
