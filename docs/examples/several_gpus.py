"""One model that is too much for one GPU: PyTorch's own way, data-parallel under `torchrun`.

`train.fit` is for many small networks. A single large one is trained by several processes, each
with a copy of the weights and a share of every batch; `DistributedDataParallel` averages their
gradients. On two GPUs, or on two processes of a machine without one:

    torchrun --nproc-per-node 2 docs/examples/several_gpus.py digits --width 2048 --out weights.pt

Across machines, `torchrun` takes `--nnodes` and `--rdzv-endpoint`; nothing here changes.
"""

import argparse
import gc
import io
import os
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from coursekit import data, models
from coursekit.datasets.tasks import Task, pick_device
from coursekit.recipe import Recipe, make_optimizer, set_rates
from coursekit.results.files import replace_file
from coursekit.train import batch_order, initial_net


@contextmanager
def process_group():
    """Join the processes that `torchrun` started; yields this one's rank, their number, a device.

    Without `torchrun` there is one process, of rank 0.
    """
    gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if gpu else pick_device()
    if "RANK" not in os.environ:
        yield 0, 1, device
        return
    if gpu:
        torch.cuda.set_device(device)  # otherwise every process opens a context on the first GPU
    dist.init_process_group("nccl" if gpu else "gloo", device_id=device if gpu else None)
    try:
        yield dist.get_rank(), dist.get_world_size(), device
        dist.barrier()  # a process that leaves while others work may break off their connections
    finally:
        gc.collect()  # a DistributedDataParallel is part of a cycle, and holds on to the group
        dist.destroy_process_group()


def fit_large(make_net: Callable[[], nn.Module], task: Task, recipe: Recipe) -> nn.Module:
    """Train one network, of seed `recipe.first_seed`, with all processes of the group.

    Rows, labels, initial weights and batches are those that `fit` gives this seed. Batch norm
    counts each process's share of the batch by itself; wrap the network with
    `nn.SyncBatchNorm.convert_sync_batchnorm` in `make_net` to change that on GPUs.

    Parameters
    ----------
    make_net : callable
    task : Task
        On this process's device.
    recipe : Recipe
        `batch_size` is that of all processes together; `patience` is not used.

    Returns
    -------
    nn.Module
        The same weights in every process.

    Raises
    ------
    ValueError
        If a batch has fewer rows than there are processes, or the task is a regression.
    """
    rank = dist.get_rank() if dist.is_initialized() else 0
    n_processes = dist.get_world_size() if dist.is_initialized() else 1
    least = task.n_train % recipe.batch_size or recipe.batch_size
    if min(least, task.n_train) < n_processes:
        raise ValueError(
            f"expected at least one row per process in the smallest batch, got {least} rows for "
            f"{n_processes} processes; try another batch_size"
        )
    if task.n_classes is None:
        raise ValueError("expected a classification task, got a regression")
    seed = recipe.first_seed
    dealt = task.deal([seed])
    net = initial_net(make_net, seed).to(task.device)
    model = DistributedDataParallel(net) if dist.is_initialized() else net
    optimizer = make_optimizer(net, recipe)
    order = batch_order(seed, task.n_train)
    model.train()
    for epoch in range(recipe.epochs):
        set_rates(optimizer, recipe, epoch)
        for batch in next(order).to(task.device).split(recipe.batch_size):
            own = batch.tensor_split(n_processes)[rank]
            rows, y = dealt.train_rows[0, own], dealt.y_train[0, own]
            losses = nn.functional.cross_entropy(model(task.inputs(rows)), y, reduction="sum")
            # Gradients are averaged over processes: shares of different size must not count alike.
            loss = losses * (n_processes / len(batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def main(argv: list[str] | None = None) -> None:
    """Train a wide network on a named task and store its weights."""
    parser = argparse.ArgumentParser("several_gpus.py", description=__doc__.splitlines()[0])
    parser.add_argument("task", help="a name of `coursekit data list`")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--out", type=Path, default=Path("weights.pt"))
    args = parser.parse_args(argv)
    with process_group() as (rank, n_processes, device):
        task = data.load(args.task, device=device)
        recipe = Recipe(epochs=args.epochs, batch_size=args.batch_size, lr=1e-3)
        net = fit_large(models.mlp(task, hidden=(args.width, args.width)), task, recipe)
        if rank == 0:
            with torch.no_grad():
                right = (net(task.x_test).argmax(1) == task.y_test).cpu().double().mean()
            content = io.BytesIO()
            torch.save(net.state_dict(), content)
            replace_file(args.out, content.getvalue())
            print(
                f"{n_processes} processes on {device.type}: {100 * right:.1f} % right, {args.out}"
            )


if __name__ == "__main__":
    main()
