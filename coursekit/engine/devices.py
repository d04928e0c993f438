"""What this machine offers a training: precision, memory, recorded steps."""

import ctypes
import random
import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt(3)
NOTHING = nullcontext()
WARM_UP = 3  # steps before a CUDA graph is recorded: lazy set-up must not be part of it


@contextmanager
def matmul_precision(name: str):
    """Let float32 products be rounded to TF32 inside the block, or forbid it.

    Either way cuDNN computes as it can repeat: by itself it takes convolutions that add up in
    another order each time, and a seed would not give the same numbers twice on one card.
    """
    repeatable = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        with _rounding(name):
            yield
    finally:
        torch.backends.cudnn.deterministic = repeatable


@contextmanager
def _rounding(name: str):
    try:
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # somebody has used the newer switches, beside which these cannot be read
        with _newer_switches("tf32" if name == "tf32" else "ieee"):
            yield
        return
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextmanager
def _newer_switches(name: str):
    switches = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    before = [switch.fp32_precision for switch in switches]
    try:
        for switch in switches:
            switch.fp32_precision = name
        yield
    finally:
        for switch, own in zip(switches, before, strict=True):
            switch.fp32_precision = own


def half(precision: str, device: torch.device):
    """Context in which layers compute in bfloat16, if that is the precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else NOTHING


NO_DOUBLES = {"mps"}  # types of devices: Apple's GPUs


def widest(device: torch.device) -> torch.dtype:
    """float64, but on devices that have none."""
    return torch.float32 if device.type in NO_DOUBLES else torch.float64


@contextmanager
def kept_pages():
    """Let the process keep the memory that it frees inside the block, where glibc is in charge.

    Every step frees and takes the same few megabytes. Given back to the system in between, they
    are emptied page by page each time: a third of the time of a small convolutional network.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is None or not hasattr(libc, "malloc_trim"):
        yield
        return
    libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        libc.mallopt(M_TRIM_THRESHOLD, 2**20)
        libc.malloc_trim(0)


def free_memory(device: torch.device) -> int:
    """Bytes that a training may take here: half of what is free, or 4 GiB where nobody tells."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What PyTorch keeps for its next tensors is taken as the driver sees it, and free for us.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return (free + kept) // 2
    try:
        return _available() // 2
    except (OSError, StopIteration):  # macOS and Windows
        return 4 * 2**30


class Allocations(TorchDispatchMode):
    """Adds up, in `bytes`, what operations inside the block allocate for their results."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not (func.is_view or func._schema.is_mutable):
            self.bytes += sum(t.nbytes for t in tree_leaves(out) if isinstance(t, Tensor))
        return out


def named(device: torch.device) -> str:
    """A device with the name of its card, as in "cuda:0 (NVIDIA H100)"."""
    card = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{card}"


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Bring a tensor from the CPU to a device, without waiting for what a GPU is doing."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def fetch(scores: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Bring scores of S networks, (S,) each, to NumPy as float64: a GPU is waited for once."""
    kind = widest(next(iter(scores.values())).device)
    together = torch.stack([value.to(kind) for value in scores.values()]).cpu()
    return dict(zip(scores, together.double().numpy(), strict=True))


def _available() -> int:
    # Linux counts what it can drop from its caches as available, but not as free.
    with Path("/proc/meminfo").open(encoding="ascii") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvail"))


def random_states() -> tuple:
    """Where the random streams of Python and NumPy stand: equal if nothing was drawn."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002, what others draw from
    return random.getstate(), kind, keys.tobytes(), rest


def recorded(step: Callable[..., Tensor], device: torch.device) -> Callable:
    """Record a training step as a CUDA graph at its fourth whole batch, and replay it from then on.

    Batches of another shape than the first one (the last, smaller one of an epoch) are computed as
    usual.

    Parameters
    ----------
    step : callable
        A batch, (S, B) tensors, to losses (S,). All else that it uses must stay where it is.
    device : torch.device

    Raises
    ------
    ValueError
        If the device is no NVIDIA GPU, or the step draws from Python's or NumPy's random state: a
        replay would repeat those numbers for ever.
    """
    if device.type != "cuda":
        raise ValueError(
            f"expected an NVIDIA GPU to record a CUDA graph, got {device}; use graph=False"
        )
    inputs: list[Tensor] = []  # the memory that the recorded step reads and writes
    losses: list[Tensor] = []
    whole, calls = None, 0
    # Graph and stream belong to the device that is current when they are made. One stream for all
    # steps: each has a memory pool and a workspace of its own.
    with torch.cuda.device(device):
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()

    def usual(*batch: Tensor) -> Tensor:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            result = step(*batch)
        torch.cuda.current_stream().wait_stream(side)
        return result

    def checked(*batch: Tensor) -> Tensor:
        before = random_states()
        result = usual(*batch)
        if random_states() != before:  # by another thread, seldom
            raise ValueError(
                "expected a training step that draws by PyTorch alone, got one in which the random "
                "state of Python or NumPy moved: a recorded step would repeat its numbers; try "
                "torch.rand in the hook, or graph=False"
            )
        return result

    def replay(*batch: Tensor) -> Tensor:
        nonlocal whole, calls
        whole = whole or batch[0].shape
        with torch.cuda.device(device):
            if batch[0].shape != whole:
                return usual(*batch)
            if calls < WARM_UP:
                calls += 1
                return checked(*batch)
            if not losses:  # recording only writes the step down
                inputs.extend(tensor.clone() for tensor in batch)
                with torch.cuda.graph(graph, stream=side):
                    losses.append(step(*inputs))
            for held, given in zip(inputs, batch, strict=True):
                held.copy_(given)
            graph.replay()
            return losses[0].clone()

    return replay
