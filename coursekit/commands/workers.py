"""Where many trainings run at once: processes of this machine, or a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

CONNECT = 60  # seconds that a cluster may take to answer


@contextmanager
def workers(jobs: int, scheduler: str | None) -> Iterator[None]:
    """Where joblib works inside the block: processes of this machine, or a Dask cluster.

    Raises
    ------
    ValueError
        If a cluster is wanted and Dask is not installed.
    OSError
        If the cluster does not answer.
    """
    from joblib import parallel_config

    if scheduler is None:
        with parallel_config(n_jobs=jobs):
            yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError(
            'expected Dask for --scheduler, got none; try pip install "coursekit[cluster]"'
        ) from None
    with Client(scheduler, timeout=CONNECT), parallel_config(backend="dask"):
        yield
