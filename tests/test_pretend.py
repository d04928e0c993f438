"""The pretended accelerator: each of its checks bites, and what passes them is right."""

import copy
import pickle

import numpy as np
import pytest
import torch
from pretend import pretend
from torch import nn

from coursekit.engine import devices

GPU = "cuda:0"


@pytest.fixture
def world():
    with pretend(GPU) as world:
        yield world


def test_everything_is_as_before_afterwards():
    before = {name: vars(torch.Tensor).get(name) for name in ("to", "device", "numpy")}
    with pretend("mps"):
        assert torch.backends.mps.is_available()
        assert torch.zeros(2, device="mps").device == torch.device("mps:0")
    assert {name: vars(torch.Tensor).get(name) for name in before} == before
    assert not torch.backends.mps.is_available()
    assert torch.zeros(2).to("cpu").device == torch.device("cpu")


def test_an_nvidia_gpu_can_be_as_short_of_doubles_as_an_apple_one():
    with pretend("cuda:1", doubles=False) as world:
        assert devices.widest(world.device) == torch.float32
        with pytest.raises(TypeError, match="float64"):
            torch.zeros(2, device="cuda:1").double()
    with pretend("cuda:1") as world:
        assert devices.widest(world.device) == torch.float64
        torch.zeros(2, device="cuda:1").double()


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, y: x + y,
        lambda x, y: x @ y,
        lambda x, y: torch.cat([x, y]),
        lambda x, y: torch.stack([x, y]),
        lambda x, y: torch.func.vmap(torch.add)(x, y),
        lambda x, y: x * torch.rand(3, 3),
        lambda x, y: nn.Linear(3, 3)(x),
        lambda x, y: x.index_select(0, torch.arange(3)),
        lambda x, y: y[torch.arange(3, device=GPU)],
        lambda x, y: x.add_(y),
        lambda x, y: x + torch.zeros(3, 3, device="cuda:1"),
    ],
)
def test_two_devices_do_not_mix(world, mix):
    with pytest.raises(RuntimeError, match="same device"):
        mix(torch.ones(3, 3, device=GPU), torch.ones(3, 3))


def test_only_memory_of_the_cpu_can_be_pinned(world):
    pinned = torch.ones(3).pin_memory()
    assert pinned.is_pinned()
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        pinned.to(GPU).pin_memory()


def test_autocast_of_a_device_tells_that_it_is_on(world):
    x = torch.ones(3, 3, device=GPU)
    with torch.autocast("cuda", torch.bfloat16):
        assert torch.is_autocast_enabled("cuda")
        assert torch.get_autocast_dtype("cuda") == (x @ x).dtype == torch.bfloat16
    assert not torch.is_autocast_enabled("cuda")


def test_numbers_of_the_cpu_pass_in_pointwise_operations_only(world):
    x, number = torch.ones(3, device=GPU), torch.tensor(2.0)
    assert (x * number).device == torch.where(x > 0, x, number).device == torch.device(GPU)
    with pytest.raises(RuntimeError, match="same device"):
        torch.dot(x, torch.ones(3))
    with pytest.raises(RuntimeError, match="same device"):
        torch.stack([x[0], number])


def test_numpy_cannot_read_a_device(world):
    x = torch.ones(3, device=GPU)
    for read in (lambda: x.numpy(), lambda: np.asarray(x), lambda: np.mean([x, x])):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
            read()
    assert x.cpu().numpy().sum() == 3


def test_an_apple_gpu_has_no_float64():
    with pretend("mps"):
        x = torch.ones(3, device="mps")
        for make in (x.double, lambda: x.sum(dtype=torch.float64), lambda: x.to(torch.float64)):
            with pytest.raises(TypeError, match="float64"):
                make()
        assert x.cpu().double().device.type == "cpu"


def test_a_generator_draws_on_its_own_device(world):
    cpu, gpu = torch.Generator(), torch.Generator(GPU)
    assert torch.rand(2, generator=gpu, device=GPU).is_cuda
    assert not torch.rand(2, generator=cpu).is_cuda
    for wrong in (
        lambda: torch.rand(2, generator=cpu, device=GPU),
        lambda: torch.randperm(2, generator=gpu),
        lambda: torch.ones(2, device=GPU).uniform_(generator=cpu),
    ):
        with pytest.raises(RuntimeError, match="device type for generator"):
            wrong()


@pytest.mark.parametrize(
    ("wait", "n"),
    [
        (lambda x: x.sum().item(), 1),
        (lambda x: bool(x.isfinite().all()), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x[x > 0], 1),
        (lambda x: x.nonzero(), 1),
        (lambda x: x.__setitem__(x > 0, x[0].clone()), 1),
        (lambda x: x.__setitem__(x > 0, 2.0), 0),
        (lambda x: torch.where(x > 0, x, 0.0), 0),
        (lambda x: nn.functional.one_hot(x.long(), 5), 0),
        (lambda x: nn.functional.one_hot(x.long()), 1),
        (lambda x: x.to("cpu", non_blocking=True), 0),
        (lambda x: torch.cuda.synchronize(), 1),
    ],
)
def test_waiting_for_a_device_is_counted(world, wait, n):
    x = torch.ones(4, device=GPU)
    world.reset()
    wait(x)
    assert (world.syncs.total() > 0) == n, world.syncs
    assert all("test_pretend.py" in line for _, line in world.syncs)


@pytest.mark.parametrize(
    ("copy", "n"),
    [
        (lambda x, y: y.to(GPU), 1),
        (lambda x, y: y.to(x), 1),
        (lambda x, y: torch.tensor([1.0], device=GPU), 1),
        (lambda x, y: torch.as_tensor(np.ones(3), device=GPU), 1),
        (lambda x, y: x.copy_(y), 1),
        (lambda x, y: x[torch.tensor([0, 1])], 1),
        (lambda x, y: y.pin_memory().to(GPU, non_blocking=True), 0),
        (lambda x, y: y.pin_memory().to(GPU), 1),
        (lambda x, y: torch.full((3,), 2.0, device=GPU), 0),
        (lambda x, y: x.to(GPU), 0),
    ],
)
def test_copies_from_pageable_memory_are_counted(world, copy, n):
    x, y = torch.ones(3, device=GPU), torch.ones(3)
    world.reset()
    copy(x, y)
    assert world.uploads.total() == n


def test_tensors_stay_where_they_are(world):
    x = torch.ones(3, 3, device=GPU)
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).to(GPU)
    net(x).sum().backward()
    places = [
        *net.parameters(),
        *net.buffers(),
        net[0].weight.grad,
        x[0],
        x.mT,
        x.detach(),
        x.half(),
    ]
    places += [copy.deepcopy(net)[0].weight, copy.deepcopy(x), pickle.loads(pickle.dumps(x))]
    places += [torch.zeros_like(x), x.new_zeros(2), torch.func.vmap(lambda row: row + 1)(x)]
    places += [nn.functional.one_hot(x.long(), 4), x.new_tensor([1.0])]
    assert {str(t.device) for t in places} == {GPU}
    assert x.to(GPU) is x
    assert x.cpu().device == torch.zeros_like(x, device="cpu").device == torch.device("cpu")


OPTIMIZERS = {
    "sgd": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9, fused=True),
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr, fused=True, capturable=True),
    "adamw": lambda params, lr: torch.optim.AdamW(params, lr=lr, fused=True, capturable=True),
}


def trained(name, *, record, device=GPU, n_steps=8):
    """Weights after some steps, which a graph replays if `record`."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).to(device)
    optimizer = OPTIMIZERS[name](net.parameters(), torch.tensor(0.1, device=device))
    x = torch.rand(6, 3).to(device)

    def step():
        optimizer.zero_grad()
        loss = (net(x) + torch.rand(6, 1, device=device)).square().mean()
        loss.backward()
        optimizer.step()
        return loss.detach()

    losses = [step() for _ in range(3)]
    if record:
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.Stream(device)
        with torch.cuda.graph(graph, stream=stream):
            loss = step()
        assert loss.isnan(), "a capture computes nothing"
    for i in range(n_steps):
        optimizer.param_groups[0]["lr"].fill_(0.1 / (i + 1))
        if record:
            graph.replay()
        losses.append(loss.clone() if record else step())
    return torch.stack(losses), {n: p.detach() for n, p in net.state_dict().items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_a_replay_equals_ordinary_steps(world, name, device):
    plain, recorded = (trained(name, record=record, device=device) for record in (False, True))
    assert world.replays == 8
    torch.testing.assert_close(recorded, plain, rtol=0, atol=0)


def test_a_pretended_training_equals_one_on_the_cpu():
    on_cpu = trained("sgd", record=False, device="cpu")
    with pretend(GPU):
        losses, state = trained("sgd", record=False)
        torch.testing.assert_close(losses.cpu(), on_cpu[0], rtol=0, atol=0)
        assert all(value.is_cuda for value in state.values())


@pytest.mark.parametrize(
    "breaks",
    [
        lambda x, w: x.sum().item(),
        lambda x, w: x[x > 0],
        lambda x, w: torch.tensor([1.0], device=GPU),
        lambda x, w: x + torch.ones(3, device="cuda:1"),
        lambda x, w: torch.ones(3, device="cuda:1"),
        lambda x, w: torch.cuda.synchronize(),
        lambda x, w: torch.rand(3, device=GPU, generator=torch.Generator(GPU)),
    ],
)
def test_what_waits_or_is_elsewhere_breaks_a_capture(world, breaks):
    x, w = torch.ones(3, device=GPU), torch.ones(3, device=GPU)
    with pytest.raises(RuntimeError), torch.cuda.graph(torch.cuda.CUDAGraph()):  # noqa: PT012
        w.add_(1)
        breaks(x, w)
    assert w.sum().item() == 3, "what was captured has happened"
    assert world.capture is None


def test_a_capture_breaks_though_somebody_catches_its_error(world):
    x = torch.ones(3, device=GPU)
    with (  # noqa: PT012
        pytest.raises(RuntimeError, match="previous error"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        try:
            assert x.sum()
        except RuntimeError:
            x.add_(1)


def test_captures_share_one_stream_that_stays_on_the_first_device(world):
    def capture(device):
        x = torch.ones(3, device=device)
        with torch.cuda.device(device), torch.cuda.graph(torch.cuda.CUDAGraph()):
            x.add_(1)

    capture("cuda:0")
    with pytest.raises(RuntimeError, match="previous error"):
        capture("cuda:1")


def test_an_old_accumulate_node_breaks_a_capture(world):
    def capture(*, keep):
        w = torch.ones(3, device=GPU, requires_grad=True)
        kept = w[None] if keep else None  # its graph keeps the node alive
        with torch.cuda.graph(graph := torch.cuda.CUDAGraph()):
            (2 * w).sum().backward()
        graph.replay()
        return w.grad, kept

    assert capture(keep=False)[0].sum().item() == 6
    with pytest.raises(RuntimeError, match="previous error"):
        capture(keep=True)
