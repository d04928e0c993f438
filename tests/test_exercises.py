"""The bank of exercises: right answers pass, wrong ones fail with the sentence meant for them."""

import os

import numpy as np
import pytest
import torch
from torch import nn

from coursekit import exercises
from coursekit.exercises import bank, pages
from coursekit.exercises.exercise import OPEN, OTHER_CLASS, RIGHT, WRONG

RUNS = int(os.environ.get("COURSEKIT_EXERCISE_RUNS", "200"))  # per exercise and convention
SEEDS = min(3, -(-RUNS // 10))  # per wrong answer
NAMES = tuple(bank.exercises())
# Every exercise in its usual convention and, unless time is short, in each of its variants.
CASES = [
    pytest.param(name, variant, id=name if variant is None else f"{name}-variant{i}")
    for name in NAMES
    for i, variant in enumerate((None, *bank.exercises()[name].variants[: RUNS // 20]))
]


def exercise_of(name, variant):
    exercise = exercises.find(name)
    exercise.variant = variant
    return exercise


def test_exercises_tell_what_to_do_and_why_and_slips_have_sentences_of_their_own():
    lacking = [
        name
        for name, e in bank.exercises().items()
        if not all((e.rights, e.hints, e.task.strip(), e.why.strip(), e.slips))
        or len({slip.sentence for slip in e.slips}) < len(e.slips)
    ]
    assert lacking == []


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_right_answers_pass_on_many_seeds(name, variant):
    exercise = exercise_of(name, variant)
    for number, right in enumerate(exercise.rights):
        answer = exercise.adapted(right)
        for seed in range(number, RUNS, len(exercise.rights)):
            assert str(exercise.check(answer, seed)) == str(exercise._result(RIGHT, "")), seed


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_wrong_answers_get_the_sentence_meant_for_them(name, variant):
    exercise = exercise_of(name, variant)
    for slip in exercise.known_slips():
        for seed in range(SEEDS):
            result = exercise.check(slip.function, seed)
            assert result.status == WRONG, (slip.function.__name__, seed)
            assert result.points == 0
            # Swapping two conventions is a slip in one class and the other class's convention.
            meant = slip.sentence in result.sentence or (variant and OTHER_CLASS in result.sentence)
            assert meant, (slip.function.__name__, result.sentence)


@pytest.mark.parametrize("name", NAMES)
def test_the_stub_is_not_attempted_or_shows_its_bug(name):
    exercise = exercises.find(name)
    made = _run(pages.stub(exercise), name)
    result = exercise.check(made)
    assert result.status == (WRONG if exercise.bug else OPEN)
    assert result.points == 0


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_solutions_shown_are_right_as_text(name, variant):
    exercise = exercise_of(name, variant)
    for right in exercise.rights:
        made = _run(pages.solution(exercise, right), name)
        assert exercise.check(made).status == RIGHT


def others(name):
    """Right answers that teach nothing: by a library, or by another kind of algorithm."""

    def wrap(function):
        OTHERS.append(pytest.param(name, function, id=f"{name}-{function.__name__}"))
        return function

    return wrap


OTHERS = []


@others("ridge")
def by_bfgs(x, y, alpha):
    from scipy.optimize import minimize

    def objective(both):
        return np.sum((y - x @ both[:-1] - both[-1]) ** 2) + alpha * np.sum(both[:-1] ** 2)

    found = minimize(objective, np.zeros(x.shape[1] + 1)).x
    return found[:-1], found[-1]


@others("ridge")
def by_lbfgs(x, y, alpha):
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    w, offset = torch.zeros(x.shape[1]).double(), torch.zeros(1).double()
    w.requires_grad_(), offset.requires_grad_()
    optimizer = torch.optim.LBFGS([w, offset], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = (b - a @ w - offset).square().sum() + alpha * w.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return w.detach().numpy(), offset.item()


@others("ridge")
def by_scikit_learn(x, y, alpha):
    from sklearn.linear_model import Ridge

    fit = Ridge(alpha=alpha, solver="lsqr", tol=1e-8).fit(x, y)
    return fit.coef_, fit.intercept_


@others("noise_as_ridge")
def by_descent(x, y, sigma):
    from scipy.optimize import minimize

    def objective(w):
        return np.sum((y - x @ w) ** 2) + len(x) * sigma**2 * np.sum(w**2)

    return minimize(objective, np.zeros(x.shape[1])).x


@others("lasso_ista")
def by_coordinates(x, y, alpha):
    from sklearn.linear_model import Lasso

    return Lasso(alpha=alpha, tol=1e-12, max_iter=100_000).fit(x, y).coef_


@others("lasso_ista")
def until_it_stands_still(x, y, alpha):
    x, y, w = x - x.mean(0), y - y.mean(), np.zeros(x.shape[1])
    step = 1 / np.linalg.eigvalsh(x.T @ x / len(y)).max()
    while True:
        z = w - step * (x.T @ (x @ w - y) / len(y))
        new = z - np.clip(z, -step * alpha, step * alpha)
        if np.abs(new - w).max() < 1e-10:
            return new
        w = new


@others("soft_threshold")
def by_softshrink(z, t):
    return nn.functional.softshrink(z, t)


@others("soft_threshold")
def by_a_mask(z, t):
    return (z - t * z.sign()) * (z.abs() > t)


@others("batch_norm")
def by_a_layer(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    layer = nn.BatchNorm1d(x.shape[1], eps, momentum, affine=False, dtype=x.dtype).train(training)
    layer.running_mean.copy_(running_mean)
    layer.running_var.copy_(running_var)
    return layer(x) * gamma + beta, layer.running_mean, layer.running_var


@others("batch_norm")
def by_moments(x, gamma, beta, running_mean, running_var, momentum, training, eps):
    mean, var = running_mean, running_var
    if training:
        mean, var = x.mean(0), (x**2).mean(0) - x.mean(0) ** 2
        running_mean = running_mean + momentum * (mean.detach() - running_mean)
        unbiased = var.detach() * len(x) / (len(x) - 1)
        running_var = running_var + momentum * (unbiased - running_var)
    return (x - mean) * gamma / torch.sqrt(var + eps) + beta, running_mean, running_var


@others("paired_interval")
def by_a_root(control, treated, level):
    from scipy import optimize, stats

    d = treated - control
    df, error = len(d) - 1, stats.sem(d)
    t = optimize.brentq(lambda t: stats.t.cdf(t, df) - (1 + level) / 2, 0, 1000)
    return d.mean() - t * error, d.mean() + t * error


@others("paired_interval")
def by_a_beta_quantile(control, treated, level):
    from scipy.special import betaincinv

    d = treated - control
    df = d.size - 1
    share = betaincinv(df / 2, 0.5, 1 - level)
    half = np.sqrt(df * (1 / share - 1)) * np.sqrt(d.var(ddof=1) / d.size)
    return np.array([d.mean() - half, d.mean() + half])


@others("holm")
def by_ranks(p_values):
    from scipy import stats

    ranks = stats.rankdata(p_values, method="ordinal")
    stepped = np.minimum(p_values * (len(p_values) + 1 - ranks), 1)
    return np.array([stepped[p_values <= p].max() for p in p_values])


@others("holm")
def by_min_ranks(p_values):
    from scipy import stats

    stepped = p_values * (len(p_values) + 1 - stats.rankdata(p_values, method="min"))
    order = np.lexsort((np.arange(len(p_values)), p_values))
    adjusted = np.maximum.accumulate(stepped[order]).clip(max=1)
    return adjusted[order.argsort()]


@others("one_standard_error")
def by_a_table(strengths, errors):
    from scipy import stats

    rows = sorted(zip(errors.mean(1), strengths, errors, strict=True), key=lambda row: row[:2])
    bar = rows[0][0] + stats.sem(rows[0][2])
    return max(strength for mean, strength, _ in rows if mean <= bar)


@pytest.mark.parametrize(("name", "answer"), OTHERS)
def test_right_answers_of_another_kind_pass_too(name, answer):
    exercise = exercises.find(name)
    for seed in range(min(RUNS, 60)):
        assert str(exercise.check(answer, seed)) == str(exercise._result(RIGHT, "")), seed


def _run(source, name):
    space = {}
    exec(pages.SETUP.partition("from coursekit")[0], space)
    exec(source, space)
    return space[name]
