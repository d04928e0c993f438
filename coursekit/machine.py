"""What this machine offers a training: precision, memory, recorded steps."""

import ctypes
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # names of glibc's mallopt(3)
PRECISIONS = ("float32", "tf32", "bfloat16")
WARM_UP = 3  # steps before a CUDA graph is recorded: lazy set-up must not be part of it


@contextmanager
def matmul_precision(name: str):
    """Let float32 products be rounded to TF32 inside the block, or forbid it."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def half(precision: str, device: torch.device):
    """Context in which layers compute in bfloat16, if that is the precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


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
        return torch.cuda.mem_get_info(device)[0] // 2
    try:
        return _available() // 2
    except (OSError, StopIteration):  # macOS and Windows
        return 4 * 2**30


def _available() -> int:
    # Linux counts what it can drop from its caches as available, but not as free.
    with Path("/proc/meminfo").open(encoding="ascii") as lines:
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvail"))


def recorded(step: Callable[..., Tensor], device: torch.device, streams) -> Callable:
    """Record a training step as a CUDA graph at its fourth call, and replay it from then on.

    Calls with another shape (the last, smaller batch) are computed as usual.

    Parameters
    ----------
    step : callable
        A batch, (S, B) tensors, to losses (S,). All else that it uses must stay where it is.
    device : torch.device
    streams : Streams
        Random streams that the step may draw from.

    Raises
    ------
    ValueError
        If the device is no NVIDIA GPU.
    """
    if device.type != "cuda":
        raise ValueError(
            f"expected an NVIDIA GPU to record a CUDA graph, got {device}; use graph=False"
        )
    graph = torch.cuda.CUDAGraph()
    inputs: list[Tensor] = []  # the memory that the recorded step reads and writes
    losses: list[Tensor] = []
    calls = 0

    def replay(*batch: Tensor) -> Tensor:
        nonlocal calls
        if losses and batch[0].shape == inputs[0].shape:
            for held, given in zip(inputs, batch, strict=True):
                held.copy_(given)
            graph.replay()
            return losses[0].clone()
        calls += not losses
        if losses or calls <= WARM_UP:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                result = step(*batch)
            torch.cuda.current_stream().wait_stream(side)
            return result
        inputs.extend(tensor.clone() for tensor in batch)
        for generator in streams.all():
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            losses.append(step(*inputs))
        graph.replay()  # recording only writes the step down
        return losses[0].clone()

    return replay
