"""The package on pretended devices: the same results as on the CPU, and no needless waiting."""

import pickle
import random
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pretend import NAME, pretend
from torch import nn

from coursekit import data, models
from coursekit.commands import cli, doctor
from coursekit.datasets.tasks import Task
from coursekit.engine import devices, layers
from coursekit.engine.hooks import Arm, Hooks
from coursekit.engine.layers import side_by_side
from coursekit.engine.side_by_side import try_out
from coursekit.engine.stack import Stack, _rows_at_once
from coursekit.regularizers import augmentation, mixing, penalties
from coursekit.results import store
from coursekit.sweep import sweep
from coursekit.train import Recipe, evaluate, fit, outputs
from docs.examples import several_gpus

CARD = torch.cuda.is_available()  # before anybody pretends
REAL = pytest.param("the card", marks=pytest.mark.skipif(not CARD, reason="no NVIDIA GPU"))
DEVICES = ("cuda:0", "cuda:1", "mps")
GPUS = ("cuda:0", "cuda:1")
SGD = Recipe(epochs=2, batch_size=32, optimizer="sgd", lr=0.05, momentum=0.9)
ADAM = replace(SGD, optimizer="adam", momentum=0.0, lr=0.01)
ADAMW = replace(ADAM, optimizer="adamw", weight_decay=0.1)


class OwnNet(nn.Module):
    """A network that the table of layers does not know, with noise of its own."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(64, 12), nn.Linear(12, 10)

    def forward(self, x):
        h = torch.tanh(self.inner(x.flatten(1)))
        if self.training:
            h = F.dropout(h + 0.1 * torch.randn_like(h), 0.3)
        return self.outer(h)


def with_prelu():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.PReLU(12), nn.Linear(12, 10))


def moved_by_a_coin(x):
    """As learners write it: the coins are tossed without a word about the device."""
    return torch.where(torch.rand(len(x)).view(-1, 1, 1, 1) < 0.5, x.roll(1, -1), x)


def smoothed(outputs, y):
    soft = 0.9 * F.one_hot(y, 10).to(outputs.dtype) + 0.01
    return -(soft * outputs.log_softmax(-1)).sum(-1)


def max_norm(params):
    return {
        name: w * (1.0 / torch.linalg.vector_norm(w, dim=1, keepdim=True).clamp(min=1.0))
        if w.ndim == 2
        else w
        for name, w in params.items()
    }


def strong_l1(params, strength):
    return penalties.l1(params, strength)


@dataclass(frozen=True)
class Case:
    build: object = partial(models.mlp, hidden=(13,))  # of a task
    recipe: Recipe = ADAM
    hooks: dict = field(default_factory=dict)


NETS = {
    "mlp": Case(partial(models.mlp, hidden=(24, 13), dropout=0.3), SGD),
    "batch norm": Case(partial(models.mlp, hidden=(24, 13), batch_norm=True), ADAM),
    "cnn": Case(partial(models.cnn, channels=(5, 8), batch_norm=True, dropout=0.2), ADAMW),
    "resnet": Case(partial(models.resnet, n_blocks=3, width=12, survival=0.5), SGD),
    "per sample": Case(
        partial(models.resnet, n_blocks=2, width=12, survival=0.5, per_sample=True), ADAM
    ),
    "own": Case(lambda task: OwnNet, ADAMW),
    "unknown layer": Case(lambda task: with_prelu, SGD),
}
HOOKS = {
    "own shift": Case(hooks={"augment": moved_by_a_coin}),
    "random shift": Case(hooks={"augment": partial(augmentation.random_shift, pixels=1)}),
    "random noise": Case(hooks={"augment": partial(augmentation.random_noise, sigma=0.2)}),
    "mixup": Case(hooks={"mix": partial(mixing.random_mixup, alpha=0.4, n_classes=10)}),
    "cutmix": Case(hooks={"mix": partial(mixing.random_cutmix, alpha=1.0, n_classes=10)}),
    "l1": Case(hooks={"penalty": partial(strong_l1, strength=1e-3)}, recipe=SGD),
    "proximal": Case(hooks={"constrain": partial(penalties.shrink, threshold=1e-3)}, recipe=SGD),
    "max norm": Case(hooks={"constrain": max_norm}, recipe=ADAMW),
    "objective": Case(hooks={"objective": smoothed}),
}
CASES = NETS | HOOKS


@contextmanager
def on(device):
    """A pretended device, or the real card of this machine."""
    if device == "the card":
        yield None
    else:
        with pretend(device) as world:
            yield world


def task_on(device, n_train=72):
    device = "cuda" if device == "the card" else device
    return data.load("digits", n_train=n_train, n_val=50, label_noise=0.3, device=device)


def trained(case, device, *, n_train=72, hooks=None, **changes):
    task = task_on(device, n_train)
    recipe = replace(case.recipe, **({"n_seeds": 3} | changes))
    return fit(case.build(task), task, recipe, **(case.hooks | (hooks or {})))


@cache
def on_the_cpu(name, **changes):
    return trained(CASES[name], "cpu", **changes)


def rounding(device):
    """Relative: a real card adds in another order, and its functions differ in the last digits."""
    return 1e-2 if device == "the card" else 1e-4


def assert_alike(one, other, rtol=1e-4):
    """Equal but for float32's rounding, which a few steps may enlarge a hundred times.

    A wrong mask, row or learning rate changes a curve in its second digit.
    """
    assert one.curves.keys() == other.curves.keys()
    for name, curve in one.curves.items():
        np.testing.assert_allclose(other.curves[name], curve, rtol=rtol, atol=1e-6, err_msg=name)
    for name, value in one.final.items():
        weights = other.final[name].cpu().float()
        torch.testing.assert_close(weights, value.cpu().float(), rtol=10 * rtol, atol=10 * rtol)


# (a) The same results


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("device", [*DEVICES, REAL])
def test_training_on_a_device_equals_training_on_the_cpu(device, name):
    expected = on_the_cpu(name)
    with on(device):
        assert_alike(expected, trained(CASES[name], device), rtol=rounding(device))


@pytest.mark.parametrize("n_train", [50, 100])  # the last batch has 18 rows, or 4
@pytest.mark.parametrize("device", [*DEVICES, REAL])
def test_training_with_a_short_last_batch_equals_training_on_the_cpu(device, n_train):
    expected = on_the_cpu("cnn", n_train=n_train)
    with on(device):
        runs = trained(CASES["cnn"], device, n_train=n_train)
        assert_alike(expected, runs, rtol=rounding(device))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("device", [*DEVICES, REAL])
def test_a_single_network_on_a_device_equals_one_on_the_cpu(device, name):
    expected = on_the_cpu(name, n_seeds=1)
    with on(device):
        runs = trained(CASES[name], device, n_seeds=1)
        assert_alike(expected, runs, rtol=rounding(device))


@pytest.mark.parametrize("device", ["cuda:0", REAL])
def test_many_convolutions_on_a_device_equal_those_on_the_cpu(device, monkeypatch):
    seen = []
    products = layers.products_of_patches

    def noted(layer, h, *weights):
        seen.append((layer.in_channels, len(h)))
        return products(layer, h, *weights)

    monkeypatch.setattr(layers, "products_of_patches", noted)
    expected = on_the_cpu("cnn", n_seeds=layers.MANY, epochs=1)
    assert not seen, "a processor's cache is too small for patches"
    with on(device):
        runs = trained(CASES["cnn"], device, n_seeds=layers.MANY, epochs=1)
        assert_alike(expected, runs, rtol=rounding(device))
    # The second layer alone, as the first has one channel; a first step of one asks for memory.
    assert {n for _, n in seen} == {1, layers.MANY}
    assert {channels for channels, n in seen if n > 1} == {5}


@pytest.mark.skipif(not CARD, reason="no NVIDIA GPU")
@pytest.mark.parametrize("n_seeds", [1, 3, 20])
@pytest.mark.parametrize("graph", [False, True])
def test_a_training_gives_the_same_numbers_twice_on_the_card(graph, n_seeds):
    case = Case(partial(models.cnn, channels=(16, 32), batch_norm=True, dropout=0.2), ADAM)
    one, other = (trained(case, "the card", n_seeds=n_seeds, graph=graph) for _ in range(2))
    for name, curve in one.curves.items():
        np.testing.assert_array_equal(other.curves[name], curve, err_msg=name)


@pytest.mark.parametrize("device", [*DEVICES, REAL])
def test_a_single_network_is_trained_by_the_plain_loop(device):
    with on(device):
        assert trained(NETS["resnet"], device, n_seeds=1).apart == "it is the only one"


@pytest.mark.parametrize("name", [n for n in NETS if n != "unknown layer"])  # PReLU cannot
@pytest.mark.parametrize("device", [*DEVICES, REAL])
def test_bfloat16_on_a_device_learns_nearly_the_same(device, name):
    expected = on_the_cpu(name)
    with on(device):
        runs = trained(CASES[name], device, precision="bfloat16")
    assert not np.array_equal(runs.logged_loss, expected.logged_loss), "nothing was rounded"
    np.testing.assert_allclose(runs.val_loss, expected.val_loss, rtol=0.1)


@pytest.mark.parametrize("device", DEVICES)
def test_a_regression_on_a_device(device):
    def diabetes(device):
        task = data.load("diabetes", n_train=60, n_val=40, device=device)
        return fit(models.mlp(task, hidden=(8,)), task, replace(ADAM, n_seeds=2))

    expected = diabetes("cpu")
    with pretend(device):
        assert_alike(expected, diabetes(device))


# (b) Recorded steps


EPOCHS, N_FIRST = 6, 4  # at most so many steps are computed before the recorded one takes over


def recorded(case, device, world, **changes):
    """Train plainly and by a graph: both runs, the rows of what was recorded, and the replays."""
    sizes = set()

    augment = case.hooks.get("augment", lambda x: x)

    def note(x):
        if torch.cuda.is_current_stream_capturing():
            sizes.add(len(x))
        return augment(x)

    how = {"epochs": EPOCHS, "schedule": "cosine", "hooks": {"augment": note}} | changes
    plain = trained(case, device, **how)
    world.reset()
    return plain, trained(case, device, graph=True, **how), sizes, world.replays


@pytest.mark.parametrize("n_train", [50, 72, 100])
@pytest.mark.parametrize("device", GPUS)
def test_whole_batches_are_replayed(device, n_train):
    with pretend(device) as world:
        plain, graph, sizes, n_replays = recorded(NETS["mlp"], device, world, n_train=n_train)
        assert_alike(plain, graph)
    n_whole = EPOCHS * (n_train // 32)
    assert sizes == {32}, "another batch than a whole one was recorded"
    assert n_whole - N_FIRST <= n_replays < n_whole


@pytest.mark.parametrize("name", CASES)
def test_a_recorded_training_equals_a_plain_one(name):
    with pretend("cuda:0") as world:
        plain, graph, _, n_replays = recorded(CASES[name], "cuda:0", world)
        assert_alike(plain, graph)
    assert n_replays > 0


@pytest.mark.parametrize("name", ["mlp", "batch norm", "resnet"])
def test_a_single_network_is_recorded_too(name):
    with pretend("cuda:0") as world:
        plain, graph, _, n_replays = recorded(NETS[name], "cuda:0", world, n_seeds=1)
        assert_alike(plain, graph)
    assert n_replays > 0


@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_draws_that_a_graph_would_repeat_are_refused(draw):
    with pretend("cuda:0"), pytest.raises(ValueError, match="are drawn by NumPy or by Python"):
        trained(Case(hooks={"augment": lambda x: x + draw()}), "cuda:0", graph=True)


def test_graphs_on_two_devices_one_after_the_other():
    with pretend("cuda:0") as world:
        for device in GPUS:
            plain, graph, *_ = recorded(NETS["batch norm"], device, world)
            assert_alike(plain, graph)


@pytest.mark.skipif(not CARD, reason="no NVIDIA GPU")
@pytest.mark.parametrize("n_train", [50, 72, 100])
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_training_equals_a_plain_one_on_the_card(name, n_train):
    how = {"n_train": n_train, "epochs": EPOCHS, "schedule": "cosine"}
    plain, graph = (trained(CASES[name], "the card", graph=g, **how) for g in (False, True))
    assert_alike(plain, graph, rtol=1e-3)


@pytest.mark.skipif(not CARD, reason="no NVIDIA GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("name", NETS)
def test_a_step_does_not_wait_for_the_card(name):
    def stay_busy(x):  # the mode is off again before the epoch's scores are fetched
        torch.cuda.set_sync_debug_mode("error")
        return x

    hooks = {"augment": stay_busy, "objective": lambda outputs, y: quiet(outputs, y)}

    def quiet(outputs, y):
        torch.cuda.set_sync_debug_mode("default")
        return F.cross_entropy(outputs, y, reduction="none")

    try:
        trained(NETS[name], "the card", hooks=hooks)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# (c) Stored, sent and read back


@pytest.mark.parametrize("device", [*DEVICES, REAL])
def test_runs_that_were_stored_answer_on_a_device(device, tmp_path):
    with on(device):
        task = task_on(device)
        make_net = NETS["batch norm"].build(task)
        runs = fit(make_net, task, replace(ADAM, n_seeds=2))
        back = store.load(store.save(runs, tmp_path / "runs.npz"), make_net)
        sent = pickle.loads(pickle.dumps(runs))
        for other in (back, sent):
            for part in ("train", "val", "test"):
                scores = [evaluate(each, task, part, weights="final") for each in (runs, other)]
                np.testing.assert_allclose(*(each.loss for each in scores), rtol=1e-5)
            logits = [outputs(each, task.x_test[:20]) for each in (runs, other)]
            torch.testing.assert_close(*(each.cpu() for each in logits))


def test_runs_of_a_card_can_be_saved_where_there_is_none(tmp_path):
    with pretend("cuda:0"):
        task = task_on("cuda:1")
        runs = fit(NETS["mlp"].build(task), task, replace(ADAM, epochs=1, n_seeds=2))
    path = store.save(runs, tmp_path / "runs.npz")
    assert store.describe(path)["machine"]["device"] == runs.device == f"cuda:1 ({NAME})"
    assert store.load(path, NETS["mlp"].build(task_on("cpu"))).device == runs.device


@pytest.mark.parametrize("device", [*DEVICES, REAL])
def test_a_sweep_on_a_device_goes_on_where_it_was(device, tmp_path):
    def study(folder):
        task, mlp = task_on(device), partial(models.mlp, hidden=(8,))
        recipe, grid = replace(ADAM, n_seeds=3), {"strength": [0.0, 0.01]}
        how = {"penalty": strong_l1, "folder": folder, "chunk": 2}
        return sweep(mlp, task, recipe, grid, **how)

    with on(device):
        whole = study(tmp_path)
        stored = sorted(tmp_path.glob("*.npz"))
        assert len(stored) == 3
        for lost in (stored[:1], stored[1:2], []):
            for path in lost:
                path.unlink()
            resumed = study(tmp_path)
            for one, other in zip(whole.runs, resumed.runs, strict=True):
                assert_alike(one, other)
            tables = [each.table("val", "train") for each in (whole, resumed)]
            np.testing.assert_allclose(*(table["val_loss"] for table in tables), rtol=1e-5)


# (d) The host does not wait


def waits(case, device, **changes):
    """Where a training waits for the device, and what it uploads: two counters."""
    with pretend(device) as world:
        trained(case, device, **({"n_seeds": 2} | changes))
        return Counter(world.syncs), Counter(world.uploads)


@pytest.mark.parametrize("name", CASES)
def test_a_step_neither_waits_nor_uploads(name):
    # One epoch of one step or of four: what an epoch costs is the same in both.
    few, many = (waits(CASES[name], "cuda:0", epochs=1, batch_size=size) for size in (72, 18))
    for now, before in zip(many, few, strict=True):
        assert not now - before


@pytest.mark.parametrize("n_seeds", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_an_epoch_waits_once(name, n_seeds):
    few, many = (
        waits(CASES[name], "cuda:0", n_seeds=n_seeds, epochs=epochs)[0] for epochs in (2, 6)
    )
    more = many - few
    # One network alone asks at each of 3 blocks, in 3 steps of an epoch, whether it is skipped.
    coins = 3 * 3 if (name, n_seeds) == ("resnet", 1) else 0
    assert more.total() == 4 * (1 + coins), more.most_common()


def test_a_replayed_step_neither_waits_nor_uploads():
    def graph(epochs):
        return waits(NETS["mlp"], "cuda:0", graph=True, epochs=epochs, batch_size=6)

    (few, few_uploads), (many, many_uploads) = graph(2), graph(4)  # 12 steps per epoch
    assert (many - few).total() == 2
    assert (many_uploads - few_uploads).total() == 0


# (e) Memory


def test_networks_that_do_not_fit_are_trained_after_the_others():
    case = Case(partial(models.mlp, hidden=(256,)), ADAM)
    with pretend("cuda:0") as world:
        task = task_on("cuda:0")
        with pytest.raises(ValueError, match="MB") as refused:
            fit(case.build(task), task, case.recipe, memory=1.0)
        two = 2e6 * float(re.search(r"([\d.]+) MB", str(refused.value))[1])
        world.reset()
        whole = trained(case, "cuda:0", n_seeds=5)
        n_steps = world.kernels["_fused_adam_"]
    with pretend("cuda:0", free=2.4 * two) as world:
        assert_alike(whole, trained(case, "cuda:0", n_seeds=5))
        assert world.kernels["_fused_adam_"] > n_steps, "all were trained at once"


@pytest.mark.parametrize("n_seeds", [1, 8, 16])
@pytest.mark.parametrize("build", [partial(models.cnn, channels=(16, 8)), models.linear])
def test_many_images_are_evaluated_in_parts(build, n_seeds):
    free = 64e6
    with pretend("cuda:0", free=free) as world:
        x = torch.rand(12_000, 1, 16, 16)
        fields = [t.to("cuda:0") for t in (x, torch.arange(len(x)) % 10, x[:9], torch.arange(9))]
        task = Task("made up", *fields, n_train=40, n_val=11_000, n_classes=10)
        world.reset()  # the images themselves
        fit(build(task), task, replace(ADAM, epochs=1, n_seeds=n_seeds))
        assert world.largest < free / 2


def test_the_memory_of_many_convolutions_is_asked_of_one_network():
    def deep():
        layers = [nn.Conv2d(a, 16, 5, padding=2) for a in (1, 16, 16)]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 64, 10))

    def size(device):
        task = task_on(device)
        return try_out((Arm(deep, ADAM), 0), [deep()], task, Hooks(record=())).bytes

    grouped = size("cpu")
    with pretend("cuda:0"):
        patches = size("cuda:0")
    # What the products of 16 networks and more keep: every patch, once per layer and network.
    kept = 4 * 32 * 64 * 25 * (1 + 16 + 16)
    assert patches > grouped + kept


def test_no_tensor_of_an_evaluation_has_more_numbers_than_32_bits_can_count():
    with pretend("cuda:0", free=1e12):
        task = task_on("cuda:0")
        net = models.cnn(task, (16, 8))()
        stack = Stack([net], task.device)
        one = lambda nets, rows: task.inputs(torch.zeros(1, 1, dtype=torch.int64).to(task.device))  # noqa: E731
        n = _rows_at_once(net, side_by_side(net), stack.state, one)
        assert 1e5 < n < 2**31 / (16 * 8 * 8)  # the first layer's numbers


def test_memory_that_pytorch_keeps_counts_as_free(monkeypatch):
    card = torch.device("cuda:0")
    with pretend("cuda:0", free=10e9):
        assert devices.free_memory(card) == 5e9
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device=None: 4 * 10**9)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device=None: 10**9)
        assert devices.free_memory(card) == 6.5e9
        monkeypatch.undo()


def test_a_recorded_step_is_given_room_for_its_own_pool():
    case = NETS["cnn"]
    with pretend("cuda:0"):
        task = task_on("cuda:0")
        arms = (Arm(case.build(task), replace(case.recipe, graph=graph)) for graph in (False, True))
        sizes = [try_out((arm, 0), [arm.make_net()], task, Hooks(record=())).bytes for arm in arms]
    assert 1.3 * sizes[0] < sizes[1] < 2.1 * sizes[0]


# (f) What people run


def test_doctor_names_the_card(capsys):
    with pretend("cuda:0"):
        cli.main(["doctor"])
    told = capsys.readouterr().out
    assert NAME in told
    assert "Recipe(graph=True) can be used" in told
    assert "bfloat16" in told


@pytest.mark.parametrize("device", GPUS)
def test_doctor_computes_on_every_card(device, monkeypatch):
    with pretend("cuda:0") as world:
        assert doctor.gpu_problems() == []
        assert world.replays == 2  # one on each
        compute = doctor._compute

        def broken(card):
            if str(card) == device:
                raise RuntimeError("CUDA error: no kernel image is available\nfor this card")
            compute(card)

        monkeypatch.setattr(doctor, "_compute", broken)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"])
        [told] = doctor.gpu_problems()
        monkeypatch.undo()
    assert told.startswith(f"{device} is there and cannot be used (CUDA error: no kernel image is")
    assert "this torch was built for sm_80, sm_90; try another build of torch, or" in told


def test_doctor_says_what_a_busy_card_answers(monkeypatch):
    def busy(device=None):
        raise RuntimeError("CUDA error: all CUDA-capable devices are busy\nmore")

    with pretend("cuda:0"):
        monkeypatch.setattr(torch.cuda, "mem_get_info", busy)
        found, problems = doctor.examine()
        monkeypatch.undo()
    assert "CUDA error: all CUDA-capable devices are busy" in problems
    assert "lessons" in dict(found)


def test_doctor_does_not_offer_what_a_card_only_emulates(monkeypatch):
    with pretend("cuda:0"):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (7, 5))
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
        )
        found = dict(doctor.examine()[0])
        monkeypatch.undo()
    assert "offers nothing faster" in found["precision"]


def test_the_benchmark_of_a_gpu_runs_to_its_end(tmp_path, monkeypatch, capsys):
    from benchmarks import gpu

    for name, workload in gpu.WORKLOADS.items():
        short = replace(workload, n_train=128, n_val=100, epochs=2, batch_size=16)
        monkeypatch.setitem(gpu.WORKLOADS, name, short)
    monkeypatch.setattr(gpu, "N_ROUNDS", 1)
    monkeypatch.setattr(gpu, "MANY", 3)
    with pretend("cuda:0") as world:
        gpu.main(tmp_path)
        assert world.replays > 0
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {NAME}")
    assert page.count("x as fast") == 15, page  # five ways of three workloads, none with an error
    assert "W1, graph: 3 networks take" in capsys.readouterr().out


def test_a_job_that_fails_on_a_gpu_does_not_cost_the_others(tmp_path, monkeypatch, capsys):
    from benchmarks import gpu

    def out_of_memory():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nmore")

    jobs = {gpu.PLAIN: (1, lambda: [0.5]), "coursekit, 256 side by side": (256, out_of_memory)}
    monkeypatch.setattr(gpu, "WORKLOADS", {"W1": gpu.WORKLOADS["W1"]})
    monkeypatch.setattr(gpu, "jobs_of", lambda *_: jobs)
    with pretend("cuda:0"):
        gpu.main(tmp_path)
    told = capsys.readouterr().out
    assert "| 256 | CUDA out of memory. Tried to allocate 9 GiB. |" in told
    assert "| W1: plain PyTorch loop | 1 | " in told


@pytest.mark.parametrize("device", DEVICES)
def test_the_example_for_a_large_model_runs(device, tmp_path, capsys):
    with pretend(device):
        path = tmp_path / "weights.pt"
        several_gpus.main(["digits", "--width", "8", "--epochs", "1", "--out", str(path)])
    assert "% right" in capsys.readouterr().out
