"""L1, L2 and the elastic net in linear models, on data whose true weights are known.

Each seed draws data of its own, those to test on included, so all sides are `plain`. Strengths are
chosen by five-fold cross-validation on the rows that are there to learn from, as one does with
real data. Axes: S seeds, N rows, D features, A strengths, F folds.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn import linear_model

from coursekit import linear
from coursekit.ledger.evidence import Exact, Side, plain
from coursekit.ledger.experiments import experiment
from coursekit.ledger.experiments.penalties_facts import article, diabetes

N_TEST, N_STRENGTHS, N_FOLDS = 1000, 40, 5
RATIOS = (0.9, 0.5, 0.1)  # shares of L1 among which the elastic net's is tuned


class Sample(NamedTuple):
    """Rows to learn from, twice; rows to test on; true weights."""

    x: np.ndarray
    y: np.ndarray
    again_x: np.ndarray  # a second sample of the same truth
    again_y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    truth: np.ndarray


def draw(
    seed: int | Sequence[int],
    *,
    k: int = 5,
    d: int = 50,
    n: int = 80,
    rho: float = 0.0,
    snr: float = 4.0,
    step: int = 1,
    equal: bool = False,
    units: float = 0.0,
    effects: float = 0.0,
) -> Sample:
    """Draw a sample in which k of d features matter.

    Features come in groups of five with correlation `rho` inside; `step=5` puts each that matters
    into a group of its own. `snr` is the variance of the signal over that of the noise. Weights
    that matter have a size from 1 to 3, or of 2 if `equal`, and one sign in a group. `units=1`
    multiplies features by factors from 0.1 to 10, `effects=1` the weights by the same factors.
    """
    rng, rows = np.random.default_rng(seed), 2 * n + N_TEST
    shared = np.repeat(rng.normal(size=(rows, d // 5)), 5, axis=1)
    x = np.sqrt(rho) * shared + np.sqrt(1 - rho) * rng.normal(size=(rows, d))
    sign = np.repeat(rng.choice([-1, 1], d // 5), 5)
    size = rng.uniform(1, 3, d)
    truth = sign * (2 if equal else size) * np.isin(np.arange(d), step * np.arange(k))
    noise, power = rng.normal(size=rows), rng.uniform(-1, 1, d)
    signal = x @ (truth * 10 ** (effects * power))
    y, x = signal + signal.std() / np.sqrt(snr) * noise, x * 10 ** (units * power)
    xs, ys = np.split(x, [n, 2 * n]), np.split(y, [n, 2 * n])
    return Sample(xs[0], ys[0], xs[1], ys[1], xs[2], ys[2], truth)


class Tried(NamedTuple):
    """All strengths of one penalty: weights (A, D), squared errors of left-out folds (A, F)."""

    coefs: np.ndarray
    errors: np.ndarray


def tried(x: np.ndarray, y: np.ndarray, ratio: float, floor: float | None = None) -> Tried:
    """Fit 40 strengths, the strongest first: L1 with a ratio of 1, L2 with 0, the net between.

    With L1, the first is the weakest that leaves no weight, the last `floor` (a thousandth) times
    the Lasso's. Without, they go from a hundred times the largest eigenvalue of the features to
    `floor` (a millionth) times it, which is least squares.
    """
    if ratio:
        most, shares = linear.alpha_max(x, y), (1 / ratio, floor or 1e-3)
    else:
        most, shares = np.linalg.norm(_centered(x), 2) ** 2 / len(y), (1e2, floor or 1e-6)
    alphas = most * np.geomspace(*shares, N_STRENGTHS)
    fold = np.arange(len(y)) % N_FOLDS
    errors = np.empty((N_STRENGTHS, N_FOLDS))
    for f in range(N_FOLDS):
        seen, left = fold != f, fold == f
        coefs = _path(x[seen], y[seen], ratio, alphas)
        predicted = y[seen].mean() + (x[left] - x[seen].mean(0)) @ coefs.T  # (N, A)
        errors[:, f] = ((y[left, None] - predicted) ** 2).mean(0)
    return Tried(_path(x, y, ratio, alphas), errors)


def _path(x: np.ndarray, y: np.ndarray, ratio: float, alphas: np.ndarray) -> np.ndarray:
    x, y = x - x.mean(0), y - y.mean()
    if ratio == 0:
        return linear.ridge_path(x, y, len(y) * alphas)
    path = linear_model.enet_path(x, y, l1_ratio=ratio, alphas=alphas, max_iter=100_000)
    return path[1].T


def best(*tries: Tried) -> np.ndarray:
    """The weights (D,) whose strength, and penalty, has the lowest error in cross-validation."""
    means = np.concatenate([t.errors.mean(1) for t in tries])
    return np.concatenate([t.coefs for t in tries])[means.argmin()]


def strongest(t: Tried) -> np.ndarray:
    """The weights of the strongest penalty within one standard error of the lowest error."""
    return t.coefs[_good_enough(t.errors)]


def _good_enough(errors: np.ndarray) -> int:
    """The first of all whose mean of errors (A, F) is within one standard error of the lowest."""
    means, low = errors.mean(1), errors.mean(1).argmin()
    return int(np.argmax(means <= means[low] + errors[low].std(ddof=1) / np.sqrt(N_FOLDS)))


def r2(w: np.ndarray, s: Sample) -> float:
    """Share of the variance of fresh test rows that weights explain."""
    error = s.y_test - s.y.mean() - (s.x_test - s.x.mean(0)) @ w
    return float(1 - np.mean(error**2) / s.y_test.var())


def per_seed(seeds: Sequence[int], score: Callable[[int], Sequence[float]]) -> list[Side]:
    """Scores of each seed, several at once, as a side each."""
    return [plain(column) for column in np.array([score(seed) for seed in seeds]).T]


def _least_squares(s: Sample) -> np.ndarray:
    return linear.least_squares(s.x, s.y).coef


@experiment("C20", "C20b")
def the_article_example(seeds):
    """Lasso and ridge against no penalty on draws of the article's data; zeros in its own draw."""

    def of_a_draw(seed):
        x, x_test, y, y_test = article(seed)
        return [m.score(x_test, y_test) for m in _alpha_of_the_article(x, y).values()]

    none, lasso, ridge = per_seed(seeds, of_a_draw)
    x, _, y, _ = article()
    zeros = int((_alpha_of_the_article(x, y)["Lasso"].coef_ == 0).sum())
    return {
        "C20": {"other draws, Lasso": (none, lasso), "other draws, Ridge": (none, ridge)},
        "C20b": {"the article's draw, weights at zero": Exact(zeros > 0, f"{zeros} of 10")},
    }


def _alpha_of_the_article(x: np.ndarray, y: np.ndarray) -> dict:
    models = {
        "plain": linear_model.LinearRegression(),
        "Lasso": linear_model.Lasso(alpha=0.1),
        "Ridge": linear_model.Ridge(alpha=0.1),
    }
    return {name: model.fit(x, y) for name, model in models.items()}


@experiment("C22", "C22b")
def zeros(seeds):
    """What L1 sets to zero: of 50 features 5 matter, under strong and under weak signals."""
    rng = np.random.default_rng(0)
    q, y = np.linalg.qr(_centered(rng.normal(size=(80, 50))))[0], _centered(rng.normal(size=80))
    w = linear_model.Lasso(alpha=0.05 / 80 * 10, tol=1e-14).fit(q, y).coef_
    formula = linear.soft_threshold(q.T @ y, 0.5)
    c22: dict = {
        "orthonormal features, the formula": Exact(
            bool(np.allclose(w, formula) and ((w == 0) == (formula == 0)).all() and (w == 0).any()),
            f"zeros where |w| of least squares is below the threshold, {(w == 0).sum()} of 50; "
            f"largest error {np.abs(w - formula).max():.0e}",
        )
    }
    c22b = {}
    for name, snr in (("strong signal", 4.0), ("weak signal", 1.0)):

        def score(seed, snr=snr):  # of five features, shares in one sample are coarse
            return np.mean([_gone_and_kept(draw([seed, i], step=5, snr=snr)) for i in range(4)], 0)

        by_l2, gone, gone_sparse, kept, kept_sparse = per_seed(seeds, score)
        all_of_them = plain(1.0, len(seeds))
        c22[f"{name}, irrelevant weights at zero"] = by_l2, gone
        c22b[f"{name}, best strength"] = all_of_them, gone
        c22b[f"{name}, one standard error"] = all_of_them, gone_sparse
        if snr < 4:  # under the strong one hardly any is ever lost
            c22[f"{name}, relevant kept, best strength"] = all_of_them, kept
            c22[f"{name}, relevant kept, one standard error"] = all_of_them, kept_sparse
    return {"C22": c22, "C22b": c22b}


def _gone_and_kept(s: Sample) -> list[float]:
    """Shares of irrelevant weights at zero (L2, L1, sparse L1), of relevant ones not (both L1)."""
    real, l1 = s.truth != 0, tried(s.x, s.y, 1)
    tuned, sparse, ridge = best(l1), strongest(l1), best(tried(s.x, s.y, 0))
    gone = [float((w[~real] == 0).mean()) for w in (ridge, tuned, sparse)]
    return [*gone, *(float((w[real] != 0).mean()) for w in (tuned, sparse))]


def _centered(values: np.ndarray) -> np.ndarray:
    return values - values.mean(0)


@experiment("C25", "C25b")
def outliers(seeds):
    """How much the relative error of the weights grows when a tenth of the targets is wild."""
    c25, c25b = {}, {}
    for name, k, snr in (
        ("3 of 20 matter, little noise", 3, 400.0),
        ("3 of 20 matter, noise", 3, 4.0),
        ("20 of 20 matter, little noise", 20, 400.0),
        ("20 of 20 matter, noise", 20, 4.0),
    ):

        def score(seed, k=k, snr=snr):
            s = draw(seed, k=k, d=20, n=100, snr=snr)
            rng = np.random.default_rng([seed, 1])
            wild = 5 * s.y.std() * rng.normal(size=100) * (rng.random(100) < 0.1)
            clean, spoiled = (_four_errors(s._replace(y=y)) for y in (s.y, s.y + wild))
            return spoiled - clean

        l1, l2, none, huber = per_seed(seeds, score)
        c25[name] = huber, l1
        c25b |= {f"{name}, against no penalty": (none, l1), f"{name}, against L2": (l2, l1)}
    return {"C25": c25, "C25b": c25b}


def _four_errors(s: Sample) -> np.ndarray:
    """Relative errors of the weights of L1, L2, no penalty and Huber's loss."""
    huber = linear_model.HuberRegressor(alpha=0, max_iter=1000).fit(s.x, s.y).coef_
    l1, l2 = (best(tried(s.x, s.y, ratio)) for ratio in (1, 0))
    found = np.array([l1, l2, _least_squares(s), huber])
    return np.linalg.norm(found - s.truth, axis=1) / np.linalg.norm(s.truth)


@experiment("C27")
def one_scale(seeds):
    """Ridge on features in units from 0.1 to 10, and on the same features standardized."""
    c27 = {}
    for name, effects in (
        ("effects per standard deviation", 0.0),
        ("effects half and half", 0.5),
        ("effects per unit", 1.0),
    ):

        def score(seed, effects=effects):
            found = []
            for units in (1.0, 0.0):
                s = draw(seed, k=40, d=40, n=60, units=units, effects=effects)
                if not units:  # as anybody would: by the rows to learn from
                    mean, size = s.x.mean(0), s.x.std(0)
                    s = s._replace(x=(s.x - mean) / size, x_test=(s.x_test - mean) / size)
                found.append(r2(best(tried(s.x, s.y, 0, floor=1e-10)), s))
            return found

        c27[name] = tuple(per_seed(seeds, score))
    return {"C27": c27}


@experiment("C28")
def equal_emphasis(seeds):
    """Imbalance, (largest - smallest) / largest weight, among five look-alikes of equal effect."""
    c28: dict = {}
    for name, rho in (("look-alikes, correlation .95", 0.95), ("copies, correlation .999", 0.999)):

        def score(seed, rho=rho):
            s = draw(seed, k=10, d=60, rho=rho, equal=True)
            tuned = [best(tried(s.x, s.y, ratio)) for ratio in (0, 1)]
            groups = [np.abs(w[:5]) for w in (*tuned, _least_squares(s))]
            return [float(np.ptp(g) / max(g.max(), 1e-12)) for g in groups]

        l2, l1, none = per_seed(seeds, score)
        c28[f"{name}, all equal"] = plain(0.0, len(seeds)), l2
        c28[f"{name}, against L1"] = l1, l2
        c28[f"{name}, against no penalty"] = none, l2
    rng = np.random.default_rng(0)
    q, y = np.linalg.qr(_centered(rng.normal(size=(80, 50))))[0], _centered(rng.normal(size=80))
    free, shrunk = q.T @ y, linear.ridge(q, y, 2.0).coef
    ratios = [np.abs(w).max() / np.abs(w).min() for w in (free, shrunk)]
    c28["orthonormal features, proportions change"] = Exact(
        not np.allclose(shrunk / shrunk[0], free / free[0]),
        f"largest over smallest weight {ratios[0]:.1f} without a penalty, {ratios[1]:.1f} with L2",
    )
    return {"C28": c28}


@experiment("C29")
def weakens_but_keeps(seeds):
    """Length of the elastic net's weights, and how many of 60 are exactly zero."""
    x, y = diabetes()
    w = linear.elastic_net(x, y, 3, 0.9).coef
    c29: dict = {
        "diabetes, alpha 3, ratio .9, none at zero": Exact(
            bool((w != 0).all()), f"{(w == 0).sum()} of 10 weights are zero"
        )
    }
    for name, ratio in (("ratio .5", 0.5), ("ratio .1", 0.1)):

        def score(seed, ratio=ratio):
            s = draw(seed, k=10, d=60, rho=0.5)
            w, free = best(tried(s.x, s.y, ratio)), _least_squares(s)
            return np.linalg.norm(w) / np.linalg.norm(free), float((w == 0).sum())

        length, n_zero = per_seed(seeds, score)
        c29[f"length, {name}"] = plain(1.0, len(seeds)), length
        c29[f"weights at zero, {name}"] = plain(0.0, len(seeds)), n_zero
    return {"C29": c29}


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """|A and B| / |A or B| of two lists of features, 1 for two empty ones."""
    return float((a & b).sum() / max(1, (a | b).sum())) if (a | b).any() else 1.0


def _kappa(a: np.ndarray, b: np.ndarray) -> float:
    """Cohen's kappa of two lists of features: 1 if they are the same, 0 for what chance gives.

    The overlap grows with the length of lists, even of random ones.
    """
    alike, in_a, in_b = (a == b).mean(), a.mean(), b.mean()
    by_chance = in_a * in_b + (1 - in_a) * (1 - in_b)
    return float((alike - by_chance) / (1 - by_chance)) if by_chance < 1 else 1.0


@experiment("C30")
def correlated_features(seeds):
    """Elastic net, lasso and ridge where features come in groups of five with correlation .95."""
    c30 = {}
    for name, options in (
        ("all of a group matter", {"k": 10, "equal": True}),
        ("one of a group matters", {"k": 10, "step": 5}),
    ):

        def score(seed, options=options):
            s = draw(seed, d=60, rho=0.95, **options)
            found = [best(tried(s.x, s.y, ratio)) for ratio in (1, 0.5, 0)]
            again = [best(tried(s.again_x, s.again_y, ratio)) for ratio in (1, 0.5)]
            right = [_agreement(w != 0, s.truth != 0) for w in found[:2]]
            same = [_kappa(a != 0, b != 0) for a, b in zip(found[:2], again, strict=True)]
            return [*right, *same, *(r2(w, s) for w in found)]

        right1, right2, same1, same2, lasso, net, ridge = per_seed(seeds, score)
        c30 |= {
            f"{name}, agreement with the truth": (right1, right2),
            f"{name}, the same list from other rows": (same1, same2),
            f"{name}, prediction against L1": (lasso, net),
            f"{name}, prediction against L2": (ridge, net),
        }
    return {"C30": c30}


@experiment("C31", "S05")
def races(seeds):
    """Test R2 of L1, L2 and the elastic net, with few and with many features that matter."""
    sixty = {"d": 60}
    data = {
        "3 of 60, independent": sixty | {"k": 3},
        "10 of 60, independent": sixty | {"k": 10},
        "30 of 60, independent": sixty | {"k": 30},
        "60 of 60, independent": sixty | {"k": 60},
        "10 of 60, in two groups of look-alikes": sixty | {"k": 10, "rho": 0.9},
        "60 of 60, in groups of look-alikes": sixty | {"k": 60, "rho": 0.9},
        "15 of 100, each hidden in a group, 80 rows": HIDDEN,
        "15 of 100, each hidden in a group, 30 rows": HIDDEN | {"n": 30},
    }
    c31, s05 = {}, {}
    for name, options in data.items():

        def score(seed, options=options):
            s = draw(seed, **options)
            lasso, ridge = (tried(s.x, s.y, ratio) for ratio in (1, 0))
            nets = {ratio: tried(s.x, s.y, ratio) for ratio in RATIOS}
            single = best(lasso), best(ridge), best(lasso, ridge)
            return [r2(w, s) for w in (*single, best(nets[0.5]), best(*nets.values()))]

        l1, l2, either, half, net = per_seed(seeds, score)
        if options["k"] <= 15:
            s05[f"{name}, L1 over L2"] = l2, l1
        elif options["k"] == 60:  # 30 of 60 are neither few nor all
            s05[f"{name}, L2 over L1"] = l1, l2
        if "n" not in options:  # from 30 rows, the net and its rival scatter too far
            c31[f"{name}, ratio tuned"] = either, net
            c31[f"{name}, ratio .5"] = either, half
    return {"C31": c31, "S05": s05}


HIDDEN = {"k": 15, "d": 100, "rho": 0.95, "step": 5}


@experiment("S08", "S08b")
def lists_of_features(seeds):
    """Lists of features by L1, and by least squares with a cut where cross-validation puts it."""
    s08, s08b = {}, {}
    for where, rho in (("correlation 0", 0.0), ("correlation .5", 0.5), ("correlation .95", 0.95)):

        def score(seed, rho=rho):
            s = draw(seed, step=5, rho=rho)
            lists = [_four_lists(s.x, s.y), _four_lists(s.again_x, s.again_y)]
            same = [_kappa(a, b) for a, b in zip(*lists, strict=True)]
            right = [_agreement(a, s.truth != 0) for a in lists[0]]
            lengths = [float(a.sum()) for a in lists[0]]
            return [_overlap(lists[0][2], lists[1][2]), *lengths, *right, *same]

        overlap, *scores = per_seed(seeds, score)
        s08b[where] = plain(0.8, len(seeds)), overlap
        if rho == 0.5:  # between the two others, and so asked of the overlap only
            continue
        asked = "length", "agreement with the truth", "the same list from other rows"
        for i, name in enumerate(asked):
            cut, short_cut, l1, short_l1 = scores[4 * i : 4 * i + 4]
            s08[f"{where}, {name}"] = cut, l1
            s08[f"{where}, {name}, one standard error"] = short_cut, short_l1
    return {"S08": s08, "S08b": s08b}


def _agreement(chosen: np.ndarray, real: np.ndarray) -> float:
    """F1: the harmonic mean of the shares of the list that are real, of the real in the list."""
    return float(2 * (chosen & real).sum() / (chosen.sum() + real.sum()))


def _four_lists(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Features (D,) of least squares with a cut, then of L1, each by two rules.

    The rules: the lowest error, and the shortest list within one standard error of it.
    """
    l1 = tried(x, y, 1)
    return [*_with_a_cut(x, y), best(l1) != 0, strongest(l1) != 0]


def _with_a_cut(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The m features of largest |t| in least squares; m, from 0 to D, by both rules."""
    fold, d = np.arange(len(y)) % N_FOLDS, x.shape[1]
    errors = np.empty((d + 1, N_FOLDS))
    for f in range(N_FOLDS):
        seen, left = fold != f, fold == f
        mean_x, mean_y = x[seen].mean(0), y[seen].mean()
        a, b = x[seen] - mean_x, y[seen] - mean_y
        order = _by_t(a, b)
        # With a QR of the features in their order, the fit on the first m is a triangle's.
        q, r = np.linalg.qr(a[:, order])
        z = np.linalg.solve(r.T, (x[left] - mean_x)[:, order].T)  # rows: orthonormal features
        steps = z * (q.T @ b)[:, None]
        predicted = np.vstack([np.zeros(left.sum()), steps.cumsum(0)])
        errors[:, f] = ((y[left] - mean_y - predicted) ** 2).mean(1)
    order, cuts = _by_t(_centered(x), _centered(y)), (errors.mean(1).argmin(), _good_enough(errors))
    return [np.isin(np.arange(d), order[:m]) for m in cuts]


def _by_t(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Features from the largest |t| of least squares to the smallest."""
    inverse = np.linalg.inv(x.T @ x)
    return np.argsort(-np.abs(inverse @ x.T @ y) / np.sqrt(np.diag(inverse)))
