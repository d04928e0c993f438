"""What this machine offers the course, what was chosen, and what is wrong, in plain words."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec

from coursekit import __version__

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "jupyterlab", "ipywidgets")


def examine() -> tuple[list[tuple[str, str]], list[str]]:
    """Return what was found, as pairs of a name and a value, and the problems, as sentences."""
    problems = []
    found = [("coursekit", __version__), ("python", f"{sys.version.split()[0]} ({sys.executable})")]
    for name in PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            problems.append(f'{name} is missing; try pip install -e ".[dev]" again')
    for look in (gpu_problems, _hardware, _course):
        try:
            (problems if look is gpu_problems else found).extend(look())
        except (ImportError, ValueError, RuntimeError) as error:  # a card may fail at any question
            problems.append(str(error).strip().splitlines()[0])
    if ("lessons", "0") in [(name, value.split(" ")[0]) for name, value in found]:
        problems.append("no lesson was found; try a fresh checkout")
    return found, problems


def _course() -> list[tuple[str, str]]:
    from coursekit.course import lessons
    from coursekit.datasets.download import cache_dir

    return [
        ("data cache", str(cache_dir())),
        ("lessons", f"{len(lessons.lessons())} in {lessons.folder()}"),
    ]


def _hardware() -> list[tuple[str, str]]:
    import torch

    from coursekit.datasets.tasks import pick_device
    from coursekit.engine.devices import free_memory

    device = pick_device()
    cuda = device.type == "cuda"
    name = f" ({_card(device) if cuda else 'no NVIDIA GPU that torch can use'})"
    n_threads, n_cores = torch.get_num_threads(), os.cpu_count() or 1
    compiler = cuda or shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    found = [
        ("device", f"{device}{name}"),
        ("threads", f"{n_threads} of {n_cores} cores"),
        ("memory", f"{free_memory(device) / 1e9:.1f} GB for a training; more networks wait"),
        ("precision", f"float32; {_precisions(device)}"),
        (
            "compile",
            "Recipe(compile=True) can be used" if compiler else "no C++ compiler: not available",
        ),
        ("CUDA graph", "Recipe(graph=True) can be used" if cuda else "needs an NVIDIA GPU"),
        ("cluster", "joblib and Dask" if find_spec("distributed") else _without_dask()),
    ]
    if n_threads > n_cores:
        found.append(("note", f"{n_threads} threads on {n_cores} cores slow each other down"))
    if torch.backends.mps.is_available():
        found.append(("note", 'there is an Apple GPU; data.load(..., device="mps") uses it'))
    if advice := gpu_advice(torch.version.cuda, usable=torch.cuda.is_available()):
        found.append(("note", advice))
    return found


def _without_dask() -> str:
    return 'joblib; Dask after pip install "coursekit[cluster]"'


def _card(device) -> str:
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    n = torch.cuda.device_count()
    more = f'; {n - 1} more, as "cuda:1" and so on' if n > 1 else ""
    return f"{torch.cuda.get_device_name(device)}, compute capability {major}.{minor}{more}"


def gpu_problems() -> list[str]:
    """Compute something on every GPU that torch would use, and say in a sentence what fails.

    That a card is listed does not mean that it works: a build of torch holds code for some
    generations of cards only.
    """
    import torch

    found = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.device("cuda", number)
        try:
            with torch.cuda.device(device):
                _compute(device)
        except RuntimeError as error:  # memory that is all taken is one as well
            reason = str(error).strip().splitlines()[0]
            built = ", ".join(torch.cuda.get_arch_list()) or "nothing"
            found.append(
                f"{device} is there and cannot be used ({reason}); this torch was built for "
                f"{built}; try another build of torch, or CUDA_VISIBLE_DEVICES= to use the CPU"
            )
    return found


def _compute(device) -> None:
    """A product, a convolution with its gradient, and a recorded step, small and checked."""
    import torch

    a = torch.ones(4, 1, 8, 8, device=device, requires_grad=True)
    out = torch.nn.functional.conv2d(a, torch.ones(2, 1, 3, 3, device=device)).sum((1, 2, 3))
    out.sum().backward()
    graph, x = torch.cuda.CUDAGraph(), torch.zeros(3, device=device)
    torch.mm(x[None], x[:, None])  # libraries set themselves up outside of a recording
    torch.cuda.synchronize(device)
    # PyTorch's own stream for recordings belongs to the first card that recorded something.
    with torch.cuda.graph(graph, stream=torch.cuda.Stream(device)):
        x += 1
    graph.replay()
    results = [out[0].item(), a.grad.sum().item(), x.sum().item()]
    if results != [648.0, 2592.0, 3.0]:
        raise RuntimeError(f"expected 648, 2592 and 3 of a small computation, got {results}")


def _precisions(device) -> str:
    import torch

    if device.type != "cuda":
        return 'Recipe(precision="bfloat16") can be used, seldom faster without a GPU'
    # Without the emulation that makes older cards accept it, and slower.
    offers = ["bfloat16"] if torch.cuda.is_bf16_supported(including_emulation=False) else []
    offers += ["tf32"] if torch.cuda.get_device_capability(device)[0] >= 8 else []
    return f"this GPU offers {' and '.join(offers) or 'nothing faster'} by Recipe(precision=...)"


def gpu_advice(built_for: str | None, *, usable: bool) -> str:
    """Say why a GPU that is there is not used; empty if there is none, or it is used."""
    # Only a present but unusable GPU deserves a word: the course needs none.
    if usable or not (tool := shutil.which("nvidia-smi")):
        return ""
    try:
        answer = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        answer = None
    lines = answer.stdout.splitlines() if answer is not None and answer.returncode == 0 else []
    if not lines:
        return "nvidia-smi is installed but finds no GPU; the course runs on the CPU"
    gpu = lines[0].split(" (UUID")[0]
    if built_for is None:
        return f"there is a {gpu}, but this torch is a CPU build; pytorch.org lists the CUDA builds"
    return (
        f"there is a {gpu}, but torch (CUDA {built_for}) cannot use it: "
        f"CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '(not set)')}; "
        "if that hides nothing, the driver is older than this CUDA: update it"
    )
