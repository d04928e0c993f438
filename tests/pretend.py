"""An accelerator that is pretended: CPU tensors that know on which device they would be.

    with pretend("cuda:0") as world:
        task = data.load("digits", device="cuda:0")
        fit(models.mlp(task), task, Recipe(epochs=2))
    print(world.syncs)

A tensor's storage carries the name of its device, which views, `detach` and optimizers leave alone.
Every operation is computed by the CPU, so that values can be compared, and is checked before as a
device would check it. Three parts look at what happens:

- methods of `torch.Tensor` that tell or change the device (`.device`, `.to`) are replaced;
- `Calls` sees functions as Python calls them: only there `torch.zeros(3)` in a hook, which makes a
  tensor on the CPU, differs from the zeros that PyTorch's C++ makes on the device of its arguments;
- `Kernels` sees what they are made of, also inside `vmap`, autograd and optimizers.

It cannot see: what cuDNN and cuBLAS do, memory, time, the order of work on two streams, and which
function has no kernel on a device. `float16` and autocast are the CPU's. Python code inside a
backward pass is not told apart from C++. Gradients do not travel from one device to another.
"""

import gc
import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from coursekit.engine import devices

CPU = torch.device("cpu")
NOT_TOGETHER = "Expected all tensors to be on the same device, but found at least two devices"
NO_FLOAT64 = "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support it"
CAPTURING = "CUDA error: operation not permitted when stream is capturing"
RealGenerator = torch.Generator
NAME = "Pretended Accelerator"
Base = torch._C.TensorBase  # whose methods are the real ones, whatever `torch.Tensor` has
plainly = torch._C.DisableTorchFunction
SOURCES = (str(Path(torch.__file__).parent), str(Path(__file__)))
# What makes the host wait for a result: its value, or its shape, decides what comes next.
WAITS = {
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount",
    "_unique2", "unique_dim", "unique_consecutive", "repeat_interleave.Tensor",
}  # fmt: skip
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
ACROSS = {"copy_", "_to_copy", "set_", "is_same_size"}  # take tensors of two devices
WITH_NUMBERS = ("_foreach_", "_fused_", "fill", "masked_fill", "where", "lerp", "addcmul")
NO_WORK = {"detach", "alias", "_unsafe_view", "lift_fresh", "set_", "is_same_size"}
FROM_DATA = (torch.tensor, torch.as_tensor, torch.asarray)


class World:
    """What happened on the pretended devices.

    Attributes
    ----------
    syncs, uploads : Counter of (operation, source line)
        Where the host waited for the device, and copies from memory that is not pinned.
    kernels : Counter of operation
        What was launched; a replay counts as one "graph launch".
    replays : int
        Of all graphs together.
    largest : int
        Bytes of the largest memory that was made.
    """

    def __init__(self, device: str, free: float):
        self.device, self.free = full(device), int(free)
        self.current = 0  # index of the current device, as PyTorch begins
        self.capture: Graph | None = None
        self.capture_stream: Stream | None = None
        self.asked: torch.device | None = None  # by the `device=` of the call under way
        self.here = CPU  # where the call under way has its arguments
        self.quiet = False
        self.reset()

    def reset(self) -> None:
        self.syncs, self.uploads, self.kernels = Counter(), Counter(), Counter()
        self.replays = self.largest = 0

    def note(self, counter: Counter, what: str) -> None:
        """Count what makes the host wait, and what a capture must not contain."""
        if self.quiet:
            return
        counter[what, line_of_caller()] += 1
        if self.capture is not None:
            self.capture.fail(f"{CAPTURING} ({what} at {line_of_caller()})")


def full(device: torch.device | str | int) -> torch.device:
    """A device with its index."""
    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    return device if device.type == "cpu" else torch.device(device.type, device.index or 0)


def line_of_caller() -> str:
    """The innermost line that belongs neither to PyTorch nor to this file."""
    frame = sys._getframe()
    while frame.f_back and frame.f_code.co_filename.startswith(SOURCES):
        frame = frame.f_back
    return f"{'/'.join(Path(frame.f_code.co_filename).parts[-2:])}:{frame.f_lineno}"


def storage_of(t: Tensor) -> torch.UntypedStorage | None:
    while torch._C._functorch.is_functorch_wrapped_tensor(t):
        t = torch._C._functorch.get_unwrapped(t)
    try:
        with plainly():
            return t.untyped_storage()
    except (NotImplementedError, RuntimeError):  # sparse tensors have none
        return None


def device_of(t: Tensor) -> torch.device:
    storage = storage_of(t)
    return CPU if storage is None else getattr(storage, "place", storage.device)


def put(t: Tensor, device: torch.device) -> Tensor:
    """Say that a tensor's memory is on a device."""
    storage_of(t).place = device
    if device.type in devices.NO_DOUBLES and t.dtype in (torch.float64, torch.complex128):
        raise TypeError(NO_FLOAT64)
    return t


def leaves_of(kind: type, *values) -> list:
    """What is of a kind among arguments, inside lists and dictionaries too."""
    found = []
    for value in values:
        if isinstance(value, kind):
            found.append(value)
        elif isinstance(value, list | tuple | dict):
            found += leaves_of(kind, *(value.values() if isinstance(value, dict) else value))
    return found


tensors_of = partial(leaves_of, Tensor)


class Generator(RealGenerator):
    """Random numbers of a device. By address, as C++ hands out other objects than it was given."""

    devices: ClassVar[dict[int, torch.device]] = {}

    def __new__(cls, device="cpu"):
        return super().__new__(cls, "cpu")

    def __init__(self, device="cpu"):
        self.devices[self._cdata] = full(device)

    @property
    def device(self) -> torch.device:
        return self.devices.get(self._cdata, CPU)


class Calls(TorchFunctionMode):
    """Notes where a function that Python calls was asked to put its result."""

    def __init__(self, world: World):
        super().__init__()
        self.world = world

    def __torch_function__(self, func, types, args=(), kwargs=None):
        world, kwargs = self.world, dict(kwargs or {})
        # The memo of a deep copy holds all that was copied before.
        given = [args[0]] if func is Tensor.__deepcopy__ else tensors_of(args, kwargs)
        device = kwargs.get("device")
        if func in FROM_DATA and device is not None:  # C++ would copy where no mode can see it
            leaf = kwargs.pop("requires_grad", False)
            return func(*args, **kwargs | {"device": CPU}).to(device).requires_grad_(leaf)
        if func is Base.new_tensor:
            return func(*args, **kwargs).to(device or device_of(args[0]))
        if world.capture is not None and func in (Tensor.backward, torch.autograd.grad):
            world.capture.check_backward(tensors_of(args[0]))
        before = world.asked, world.here, world.quiet
        world.asked = None if device is None else full(device)
        places = [place for place in map(device_of, given) if place != CPU]
        world.here = world.asked or (places or [CPU])[0]
        # The CPU looks whether the classes are in range; other devices do not wait to know.
        known = len(args) > 1 or "num_classes" in kwargs
        world.quiet |= func is torch.nn.functional.one_hot and known
        try:
            return func(*args, **kwargs)
        finally:
            world.asked, world.here, world.quiet = before


class Kernels(TorchDispatchMode):
    """Checks each operation, counts what a device would do, and labels what comes out."""

    def __init__(self, world: World):
        super().__init__()
        self.world = world

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        world, kwargs = self.world, dict(kwargs or {})
        given = tensors_of(args, kwargs)
        where = self.where(op, given, args, kwargs)
        pinned = kwargs.get("pin_memory")
        kwargs |= {"device": CPU} if "device" in kwargs else {}
        kwargs |= {"pin_memory": False} if pinned else {}
        for generator in leaves_of(RealGenerator, args, kwargs):
            if (own := Generator.devices.get(generator._cdata, CPU)) != where:
                told = f"Expected a '{where}' device type for generator but found '{own}'"
                raise RuntimeError(f"{told} ({op})")
        if where != CPU or any(device_of(t) != CPU for t in given):
            self.count(op, given, args, kwargs, where)
        run = op if world.capture is None else partial(world.capture.record, op, where)
        out = run(*args, **kwargs)
        known = {storage._cdata for t in given if (storage := storage_of(t)) is not None}
        for t in tensors_of(out):
            storage = storage_of(t)
            if storage is not None and storage._cdata not in known:
                if where != CPU:
                    put(t, where)
                    world.largest = max(world.largest, storage.nbytes())
                elif pinned:
                    storage.pinned = True
        return out

    def where(self, op, given, args, kwargs) -> torch.device:
        """The device that an operation works on; raises if its tensors are on several."""
        name = op._schema.name.removeprefix("aten::")
        if name == "_to_copy" or "device" in kwargs:
            told = kwargs.get("device")
            if told is not None and told.type != "cpu":
                return full(told)
            if self.world.asked is not None:
                return self.world.asked
        if not given:
            return self.world.here
        own, places = device_of(given[0]), {device_of(t) for t in given}
        if name in ACROSS:
            return own
        if name in INDEXING:  # indices may come from the CPU, and numbers to put
            places = {own} | ({device_of(t) for t in given[1:]} - {CPU})
        elif torch.Tag.pointwise in op.tags or name.startswith(WITH_NUMBERS):
            # Here 0-dim tensors of the CPU pass as numbers.
            places = {p for t in given if (p := device_of(t)) != CPU or t.dim()} or {CPU}
        if len(places) > 1:
            told = ", ".join(sorted(map(str, places)))
            raise RuntimeError(f"{NOT_TOGETHER}, {told}! ({op})")
        return places.pop()

    def count(self, op, given, args, kwargs, where) -> None:
        world, name = self.world, op._schema.name.removeprefix("aten::")
        if name in WAITS or f"{name}.{op._overloadname}" in WAITS:
            world.note(world.syncs, name)
        if name in INDEXING:
            self.count_indexing(name, args)
        if name in ("copy_", "_to_copy") and given:  # `vmap` copies numbers, too
            source = args[1] if name == "copy_" else args[0]
            come = device_of(source)
            waits = not (kwargs.get("non_blocking") or args[2:3] == (True,))
            pinned = getattr(storage_of(source), "pinned", False)
            if come == CPU != where and (waits or not pinned):
                world.note(world.uploads, name)
            elif come != CPU and come != where and (waits or where != CPU):
                world.note(world.syncs, f"{name} to {where}")
        if not (op.is_view or name in NO_WORK or name.startswith(("empty", "new_empty"))):
            world.kernels[name] += 1

    def count_indexing(self, name, args) -> None:
        world, indices = self.world, [index for index in args[1] if index is not None]
        masks = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
        # x[mask] = number is turned into a masked fill.
        fills = "put" in name and len(indices) == 1 and args[2].dim() == 0 == len(args[3:])
        if masks and not (fills and device_of(args[2]) == CPU):
            world.note(world.syncs, f"{name} by a mask")
        if device_of(args[0]) != CPU and any(device_of(index) == CPU for index in indices):
            world.note(world.uploads, f"{name} by indices of the CPU")
        if "put" in name and args[2].dim() and device_of(args[2]) != device_of(args[0]):
            raise RuntimeError(f"{NOT_TOGETHER}: values of {device_of(args[2])} ({name})")


class Graph:
    """A pretended `torch.cuda.CUDAGraph`: notes operations, and does them again at every replay.

    As in a real one, nothing that was captured has happened before the first replay, and the
    numbers of Python stay what they were.
    """

    world: World  # of the subclass that `pretend` makes

    def __init__(self, *_, **__):
        self.calls: list[tuple] = []
        self.before: dict[int, tuple] = {}  # memory as it was, by address
        self.made: dict[int, torch.UntypedStorage] = {}
        self.registered = {torch.default_generator._cdata: torch.default_generator}
        self.failure: RuntimeError | None = None

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.registered[generator._cdata] = generator

    def pool(self):
        return (0, 0)

    def reset(self) -> None:
        self.calls.clear()

    def fail(self, message: str) -> None:
        self.failure = RuntimeError(message)
        raise self.failure

    def capture_begin(self, *_, **__) -> None:
        self.states = {key: g.get_state() for key, g in self.registered.items()}
        self._mark_accumulators()
        self.world.capture = self

    def record(self, op, where, *args, **kwargs):
        if where.type == "cuda" and where.index != self.world.current:
            self.fail(f"an operation on {where} while cuda:{self.world.current} captures ({op})")
        drawn_from = {generator._cdata for generator in leaves_of(RealGenerator, args, kwargs)}
        if drawn_from - self.registered.keys():
            self.fail("the generator was not registered with the graph")
        # All that existed before is kept, as a schema does not tell of all writes (batch norm).
        for storage in filter(None, map(storage_of, tensors_of(args, kwargs))):
            if storage._cdata not in self.made and storage._cdata not in self.before:
                self.before[storage._cdata] = storage, storage.clone()
        out = op(*args, **kwargs)
        fresh = {}
        for i, t in enumerate(tensors_of(out)):
            storage = storage_of(t)
            if storage._cdata not in self.before and storage._cdata not in self.made:
                self.made[storage._cdata] = fresh[i] = storage
        self.calls.append((op, args, kwargs, out, fresh))
        return out

    def capture_end(self) -> None:
        self.world.capture = None
        for storage, content in self.before.values():
            storage.copy_(content)
        for key, state in self.states.items():
            self.registered[key].set_state(state)
        for storage in self.made.values():  # bytes that read as NaN: nothing is computed yet
            with plainly(), _disable_current_modes():
                torch.empty(0, dtype=torch.uint8).set_(storage).fill_(255)
        if self.failure:
            raise RuntimeError(f"{CAPTURING}: previous error") from self.failure
        if not self.calls:
            warnings.warn("The CUDA Graph is empty.", stacklevel=3)

    def replay(self) -> None:
        self.world.replays += 1
        self.world.kernels["graph launch"] += 1
        with torch.no_grad(), plainly(), _disable_current_modes():
            for op, args, kwargs, _, fresh in self.calls:
                out = tensors_of(op(*args, **kwargs))
                for i, storage in fresh.items():
                    storage.copy_(out[i].untyped_storage())

    # A leaf's AccumulateGrad node belongs to the stream on which it was made. While something keeps
    # a node of before the capture alive, the captured backward pass would have to wait for that
    # stream, which breaks the capture.

    def _mark_accumulators(self) -> None:
        with plainly(), _disable_current_modes(), torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of objects that do not like to be looked at
            leaves = [t for t in gc.get_objects() if type(t) in (Tensor, torch.nn.Parameter)]
            for t in leaves:
                if t.requires_grad and t.is_leaf:
                    t.view_as(t).grad_fn.next_functions[0][0].metadata["older than"] = id(self)

    def check_backward(self, losses: list[Tensor]) -> None:
        ahead, seen = [loss.grad_fn for loss in losses], {None}
        while ahead:
            if (node := ahead.pop()) in seen:
                continue
            seen.add(node)
            if node.metadata.get("older than") == id(self):
                self.fail("an AccumulateGrad node was kept alive from before the capture")
            ahead += [following for following, _ in node.next_functions]


class Stream:
    """A pretended stream, or event: everything happens at once and in order."""

    world: World

    def __init__(self, device=None, **_):
        index = self.world.current if device is None else full(device).index
        self.device = torch.device("cuda", index)

    def synchronize(self) -> None:
        self.world.note(self.world.syncs, "synchronize")

    def record_event(self, event=None):
        return event or type(self)()

    def query(self) -> bool:
        return True

    def is_capturing(self) -> bool:
        return self.world.capture is not None

    def wait(self, other=None) -> None: ...

    wait_stream = wait_event = record = wait


@contextmanager
def pretend(where: str = "cuda:0", free: float = 80e9, *, doubles: bool = True):
    """Pretend that two NVIDIA GPUs, or one Apple GPU, are here, with `free` bytes each.

    Without `doubles` an NVIDIA GPU has as little double precision as an Apple one: what passes
    there passes on both, in half of the time.
    """
    world = World(where, free)
    with pytest.MonkeyPatch.context() as patch:
        if not doubles:
            patch.setattr(devices, "NO_DOUBLES", {*devices.NO_DOUBLES, world.device.type})
        replace_methods(patch, world)
        replace_functions(patch, world)
        with Kernels(world), Calls(world):
            yield world


def restored(place: str, make, *args) -> Tensor:
    """A tensor from a pickle, where it was."""
    return put(make(*args), torch.device(place))


def replace_methods(patch: pytest.MonkeyPatch, world: World) -> None:
    """Methods that tell or change a device: C++ answers these without asking a mode."""

    def to(self, *args, copy=False, **kwargs):
        if args and isinstance(args[0], Tensor):
            args = (device_of(args[0]), args[0].dtype, *args[1:])
        elif "other" in kwargs:
            other = kwargs.pop("other")
            args = (device_of(other), other.dtype, *args)
        device, dtype, non_blocking, layout = torch._C._nn._parse_to(*args, **kwargs)
        place = device_of(self) if device is None else full(device)
        how = {"dtype": dtype or self.dtype, "non_blocking": non_blocking}
        how |= {} if layout is None else {"memory_format": layout}
        moves, before, world.asked = place != device_of(self), world.asked, place
        try:
            with plainly():
                return Base.to(self, **how, copy=copy or moves)
        finally:
            world.asked = before

    def numpy(self, *, force=False):
        if (place := device_of(self)) != CPU and not force:
            told = f"can't convert {place} device type tensor to numpy."
            raise TypeError(f"{told} Use Tensor.cpu() to copy the tensor to host memory first.")
        return Base.numpy(self.cpu() if force else self, force=force)

    def pin_memory(self, device=None):
        if device_of(self) != CPU:
            raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
        copy = self.clone()
        storage_of(copy).pinned = True
        return copy

    def deepcopy(self, memo, real=Tensor.__deepcopy__):
        return put(real(self, memo), device_of(self))

    def reduce(self, protocol, real=Tensor.__reduce_ex__):
        make, args, *rest = real(self, protocol)
        return restored, (str(device_of(self)), make, *args), *rest

    methods = {
        "to": to, "numpy": numpy, "pin_memory": pin_memory,
        "cpu": lambda self, *_, **__: self.to("cpu"),
        "cuda": lambda self, device="cuda", **how: self.to(device, **how),
        "tolist": lambda self: Base.tolist(self.cpu()),
        "is_pinned": lambda self, *_: getattr(storage_of(self), "pinned", False),
        "get_device": lambda self: -1 if device_of(self) == CPU else device_of(self).index,
        "device": property(device_of),
        "is_cpu": property(lambda self: device_of(self).type == "cpu"),
        "is_cuda": property(lambda self: device_of(self).type == "cuda"),
        "is_mps": property(lambda self: device_of(self).type == "mps"),
        "__deepcopy__": deepcopy, "__reduce_ex__": reduce,
    }  # fmt: skip
    for name, method in methods.items():
        patch.setattr(Tensor, name, method, raising=False)


def replace_functions(patch: pytest.MonkeyPatch, world: World) -> None:
    """What PyTorch says about the hardware, and what needs it."""
    cuda = world.device.type == "cuda"
    streams = type("Stream", (Stream,), {"world": world})
    main = streams(0)

    @contextmanager
    def current(device):
        before = world.current
        world.current = before if device is None else full(device).index
        try:
            yield
        finally:
            world.current = before

    @contextmanager
    def graph(graph, pool=None, stream=None, **_):
        # PyTorch makes one stream for all captures, on the device that is current at the first one.
        if stream is None:
            stream = world.capture_stream = world.capture_stream or streams()
        with current(stream.device):
            graph.capture_begin()
            try:
                yield
            finally:
                graph.capture_end()

    optimizer = torch.optim.Optimizer
    group = optimizer._group_tensors_by_device_and_dtype

    def grouped(lists, with_indices=False):
        [place] = {device_of(t) for t in lists[0]}  # the optimizer of a course has one device
        return {(place, kind): found for (_, kind), found in group(lists, with_indices).items()}

    autocast = torch.autocast
    for module in (torch, torch.amp):
        patch.setattr(module, "autocast", lambda kind, *args, **how: autocast("cpu", *args, **how))
    for name in ("is_autocast_enabled", "get_autocast_dtype"):
        asked = getattr(torch, name)
        patch.setattr(torch, name, lambda kind="cpu", asked=asked: asked("cpu"))
    patch.setattr(optimizer, group.__name__, staticmethod(grouped))
    patch.setattr(torch, "Generator", Generator)
    # Optimizers ask here, and a build of PyTorch with CUDA would ask a driver that is not there.
    kind = torch.device(world.device.type)
    patch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: kind)
    patch.setattr(torch.accelerator, "current_stream", lambda device=None: main)
    patch.setattr(torch.backends.mps, "is_available", lambda: not cuda)
    patch.setattr(torch.cuda, "is_available", lambda: cuda)
    functions = {
        "_lazy_init": lambda: None,
        "device_count": lambda: 2,
        "current_device": lambda: world.current,
        "set_device": lambda device: setattr(world, "current", full(device).index),
        "device": current,
        "get_device_name": lambda device=None: NAME,
        "get_device_capability": lambda device=None: (9, 0),
        "is_bf16_supported": lambda including_emulation=True: True,
        "mem_get_info": lambda device=None: (world.free, world.free),
        "memory_reserved": lambda device=None: 0,
        "memory_allocated": lambda device=None: 0,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: main.synchronize(),
        "utilization": lambda device=None: 50,
        "Stream": streams,
        "Event": lambda **_: streams(),
        "current_stream": lambda device=None: main if device is None else streams(device),
        "stream": lambda stream: current(stream and stream.device),
        "is_current_stream_capturing": lambda: world.capture is not None,
        "CUDAGraph": type("CUDAGraph", (Graph,), {"world": world}),
        "graph": graph,
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "set_rng_state": lambda state, device=None: None,
    }
    for name, function in functions.items() if cuda else ():
        patch.setattr(torch.cuda, name, function)
