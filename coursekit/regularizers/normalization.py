"""Normalization: batch norm with its two faces, layer norm, group norm.

All three do one thing, `standardize`, and differ in the axes over which they do it. Only batch norm
mixes the examples of a batch, so only batch norm needs running statistics for the test.

Axes: B batch, C channels; the features of a table are its channels.
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from coursekit.datasets.values import expect, number, tensor


class _Standardize(torch.autograd.Function):
    """Subtract the mean, divide by the standard deviation; with the backward pass by hand."""

    generate_vmap_rule = True  # networks side by side

    @staticmethod
    def forward(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
        return _standard(x, axes, eps)[0]

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.axes, ctx.eps = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, grad: Tensor):
        # From x and not from a kept x_hat, so that this gradient can itself be differentiated.
        x_hat, sd = _standard(*ctx.saved_tensors, ctx.axes, ctx.eps)
        along_mean = grad.mean(ctx.axes, keepdim=True)
        along_x_hat = x_hat * (grad * x_hat).mean(ctx.axes, keepdim=True)
        return (grad - along_mean - along_x_hat) / sd, None, None


def _standard(x: Tensor, axes: Sequence[int], eps: float) -> tuple[Tensor, Tensor]:
    centered = x - x.mean(axes, keepdim=True)
    sd = (centered.square().mean(axes, keepdim=True) + eps).sqrt()
    return centered / sd, sd


def standardize(x: Tensor, axes: Sequence[int], eps: float = 1e-5) -> Tensor:
    """Shift and scale to mean 0 and variance v / (v + eps) over some axes.

    The variance v divides by the number of values n, not by n - 1. The gradient is that of the
    layer above, minus its mean, minus its part along the output, divided by the standard deviation:
    neither a shift nor a stretch of `x` can change the output, so neither gets a gradient.

    Parameters
    ----------
    x : (...) float tensor
    axes : sequence of int
        Over which the mean and the variance are taken together.
    eps : float >= 0
        Keeps the division finite where all values are equal.

    Returns
    -------
    (...) float tensor

    Raises
    ------
    ValueError
        If `x` is not of floats or lacks an axis, or `eps` is negative or not finite.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", ICML 2015.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import normalization
    >>> x = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    >>> normalization.standardize(x, axes=(0,)).round(decimals=3)
    tensor([[-1., -1.],
            [ 1.,  1.]])
    """
    number("eps", eps, "[0, inf)", "eps=1e-5")
    tensor("x", x)
    axes = tuple(axes) if isinstance(axes, Iterable) else (axes,)
    fits = all(isinstance(axis, int) and -x.ndim <= axis < x.ndim for axis in axes)
    distinct = len({axis % x.ndim for axis in axes}) == len(axes) > 0 if fits else False
    expect(distinct, f"different axes of x {tuple(x.shape)}", axes, "axes=(0,)")
    return _standardize(x, axes, eps)


def _standardize(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    if x.element_size() < 4:  # half precision has too few digits for a variance
        return _Standardize.apply(x.float(), axes, eps).to(x.dtype)
    return _Standardize.apply(x, axes, eps)


def batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    training: bool,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Standardize each channel over the batch; without training, by running statistics.

    Parameters
    ----------
    x : (B, C) or (B, C, ...) float tensor
    running_mean, running_var : (C,) tensor
        Training moves them in place toward the batch's mean and *unbiased* variance.
    weight, bias : (C,) tensor, optional
        Scale and shift that are learned: gamma and beta.
    training : bool
    momentum : float or scalar tensor in [0, 1]
        Weight of the *new* batch, as in PyTorch; see `torch_momentum`.
    eps : float >= 0

    Returns
    -------
    tensor of the shape of `x`

    Raises
    ------
    ValueError
        If `x` is not of floats or has no channels, other tensors are not (C,), `momentum` is
        outside [0, 1], or a channel has fewer than two values to train on.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", ICML 2015.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import normalization
    >>> x, mean, var = torch.tensor([[1.0], [3.0]]), torch.zeros(1), torch.ones(1)
    >>> normalization.batch_norm(x, mean, var, training=True).round(decimals=3)
    tensor([[-1.],
            [ 1.]])
    >>> mean, var  # moved by a tenth of the way to 2 and 2
    (tensor([0.2000]), tensor([1.1000]))
    """
    tensor("x", x, axes="(B, C, ...)")
    number("momentum", momentum, "[0, 1]", "momentum=0.1")
    number("eps", eps, "[0, inf)", "eps=1e-5")
    tensor("running_mean", running_mean, axes="(C,)")
    tensor("running_var", running_var, axes="(C,)")
    running = {"running_mean": running_mean, "running_var": running_var}
    _check_shapes(x.shape[1:2], **running, weight=weight, bias=bias)
    return _batch_norm(
        x, running_mean, running_var, weight, bias, training=training, momentum=momentum, eps=eps
    )


def _batch_norm(x, running_mean, running_var, weight, bias, *, training, momentum, eps) -> Tensor:
    channels = (1, -1, *[1] * (x.ndim - 2))
    if training:
        n = x.numel() // x.shape[1]
        if n < 2:
            raise ValueError(
                f"expected more than one value per channel in training, got {tuple(x.shape)}, "
                "whose variance is 0; try a larger batch, or model.eval()"
            )
        axes = (0, *range(2, x.ndim))
        out = _standardize(x, axes, eps)
        with torch.no_grad():
            wide = x.float() if x.element_size() < 4 else x
            _move(running_mean, wide.mean(axes), momentum)
            _move(running_var, wide.var(axes, correction=0) * (n / (n - 1)), momentum)
    else:
        out = (x - running_mean.view(channels)) / (running_var.view(channels) + eps).sqrt()
    return _affine(out, weight, bias, channels).to(x.dtype)


def _check_shapes(shape: Sequence[int], **given: Tensor | None) -> None:
    for name, t in given.items():
        if t is not None:
            tensor(name, t)
            got = f"{tuple(t.shape)}"  # one number could be stretched to fit
            expect(t.shape == shape, f"{name} {tuple(shape)}", got, "x[None] for a single example")


def _affine(out: Tensor, weight: Tensor | None, bias: Tensor | None, shape) -> Tensor:
    out = out if weight is None else out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)


def _move(running: Tensor, new: Tensor, momentum: float | Tensor) -> None:
    running.mul_(1 - momentum).add_(momentum * new)


def torch_momentum(keras: float) -> float:
    """Translate a momentum of Keras (weight of the *old* statistics) to PyTorch's, or back.

    Raises
    ------
    ValueError
        If the momentum is outside [0, 1].

    Examples
    --------
    >>> from coursekit.regularizers import normalization
    >>> round(normalization.torch_momentum(0.99), 6)
    0.01
    """
    number("momentum", keras, "[0, 1]", "0.99, the default of Keras")
    return 1 - keras


class BatchNorm(nn.Module):
    """`batch_norm` as a layer, for (B, C) as for (B, C, ...); names of its state as in PyTorch.

    Parameters
    ----------
    n_channels : int
        C.
    eps : float >= 0
    momentum : float in [0, 1], or None
        Weight of the new batch. With None all batches weigh the same: running statistics are plain
        averages.
    affine : bool
        Whether a scale and a shift per channel are learned.

    Raises
    ------
    ValueError
        If a setting is out of range. When it is called: if `x` is not of floats, has other channels
        or none, or fewer than two values per channel to train on.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization", ICML 2015.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import normalization
    >>> norm = normalization.BatchNorm(3)
    >>> norm(torch.rand(8, 3)).mean(0).abs() < 1e-5
    tensor([True, True, True])
    """

    def __init__(self, n_channels: int, eps=1e-5, momentum: float | None = 0.1, affine=True):
        super().__init__()
        n_channels = number("n_channels", n_channels, "[1, inf)", "n_channels=16", whole=True)
        number("eps", eps, "[0, inf)", "eps=1e-5")
        if momentum is not None:
            number("momentum", momentum, "[0, 1]", "momentum=0.1")
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(n_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(n_channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(n_channels))
        self.register_buffer("running_var", torch.ones(n_channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        momentum: float | Tensor | None = self.momentum
        fits = isinstance(x, Tensor) and x.is_floating_point()
        if not fits or x.shape[1:2] != self.running_mean.shape:
            tensor("x", x, axes="(B, C, ...)")
            _check_shapes(x.shape[1:2], running_mean=self.running_mean)
        if self.training:
            self.num_batches_tracked.add_(1)
            momentum = 1 / self.num_batches_tracked if momentum is None else momentum
        return _batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            training=self.training, momentum=momentum, eps=self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{len(self.running_mean)}, eps={self.eps:g}, momentum={self.momentum}"


def layer_norm(x: Tensor, n_axes: int = 1, weight=None, bias=None, eps: float = 1e-5) -> Tensor:
    """Standardize every example by itself, over its last `n_axes` axes: the batch plays no role.

    Parameters
    ----------
    x : (B, ...) float tensor
    n_axes : int >= 1
    weight, bias : tensor of the shape of those axes, optional
    eps : float >= 0

    Returns
    -------
    tensor of the shape of `x`

    Raises
    ------
    ValueError
        If `x` is not of floats or has fewer axes, `weight` or `bias` has another shape, or `eps` is
        negative or not finite.

    References
    ----------
    Ba, Kiros and Hinton, "Layer normalization", arXiv:1607.06450, 2016.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import normalization
    >>> x = torch.tensor([[1.0, 3.0], [10.0, 30.0]])
    >>> normalization.layer_norm(x).round(decimals=3)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    tensor("x", x, axes="(B, ...)")
    n_axes = number("n_axes", n_axes, f"[1, {x.ndim}]", "n_axes=1", whole=True)
    _check_shapes(x.shape[-n_axes:], weight=weight, bias=bias)
    number("eps", eps, "[0, inf)", "eps=1e-5")
    out = _standardize(x, tuple(range(-n_axes, 0)), eps)
    return _affine(out, weight, bias, x.shape[-n_axes:]).to(x.dtype)


def group_norm(x: Tensor, n_groups: int, weight=None, bias=None, eps: float = 1e-5) -> Tensor:
    """Standardize every example over groups of its channels.

    Parameters
    ----------
    x : (B, C, ...) float tensor
    n_groups : int
        Divides C. One group normalizes all channels together, C groups each by itself.
    weight, bias : (C,) tensor, optional
    eps : float >= 0

    Returns
    -------
    tensor of the shape of `x`

    Raises
    ------
    ValueError
        If C is no multiple of `n_groups`, `x` is not of floats or has no channels, `weight` or
        `bias` has another shape, or `eps` is negative or not finite.

    References
    ----------
    Wu and He, "Group normalization", ECCV 2018.

    Examples
    --------
    >>> import torch
    >>> from coursekit.regularizers import normalization
    >>> x = torch.tensor([[1.0, 3.0, 10.0, 30.0]])
    >>> normalization.group_norm(x, n_groups=2).round(decimals=3)
    tensor([[-1.,  1., -1.,  1.]])
    """
    tensor("x", x, axes="(B, C, ...)")
    n_groups = number("n_groups", n_groups, "[1, inf)", "n_groups=1", whole=True)
    if x.shape[1] % n_groups:
        raise ValueError(
            f"expected x (B, C, ...) with C a multiple of {n_groups} groups, got {tuple(x.shape)}; "
            "try n_groups=1"
        )
    _check_shapes(x.shape[1:2], weight=weight, bias=bias)
    groups = x.reshape(x.shape[0], n_groups, -1)
    number("eps", eps, "[0, inf)", "eps=1e-5")
    out = _standardize(groups, (-1,), eps).reshape(x.shape)
    return _affine(out, weight, bias, (1, -1, *[1] * (x.ndim - 2))).to(x.dtype)


def batch_norms(net: nn.Module) -> Iterator[nn.Module]:
    """Yield the batch norms of a network, PyTorch's and ours.

    Raises
    ------
    ValueError
        If it is no network.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.regularizers import normalization
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LayerNorm(8))
    >>> len(list(normalization.batch_norms(net)))
    1
    """
    _check_network(net)
    return (layer for layer in net.modules() if isinstance(layer, BatchNorm | _BatchNorm))


def fold(layer: nn.Module, norm: nn.Module) -> nn.Module:
    """Return one layer that computes `norm(layer(x))` as in evaluation mode: nothing to normalize.

    Parameters
    ----------
    layer : nn.Linear, nn.Conv1d, nn.Conv2d or nn.Conv3d
        Stays as it is: the result is a copy with other weights and a bias.
    norm : batch norm
        Over the outputs of `layer`, with running statistics.

    Raises
    ------
    ValueError
        If the layer or the norm is of another kind, or their channels differ.

    References
    ----------
    Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", CVPR 2018, section 3.2.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from coursekit.regularizers import normalization
    >>> layer, norm, x = nn.Linear(4, 3), nn.BatchNorm1d(3), torch.rand(8, 4)
    >>> _ = norm(layer(x))  # so that its statistics move
    >>> torch.allclose(normalization.fold(layer, norm)(x), norm.eval()(layer(x)), atol=1e-5)
    True
    """
    kind, advice = type(layer).__name__, "the layer in front of the norm"
    fits = isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    expect(fits, "a linear layer or a convolution", kind, advice)
    kind, advice = type(norm).__name__, "the norm behind the layer; others have no fixed statistics"
    expect(isinstance(norm, BatchNorm | _BatchNorm), "a batch norm", kind, advice)
    mean, var = norm.running_mean, norm.running_var
    if mean is None or len(mean) != len(layer.weight):
        got = "none" if mean is None else len(mean)
        raise ValueError(
            f"expected running statistics of {len(layer.weight)} channels, got {got}; try the norm "
            "behind this layer"
        )
    scale = (var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)  # (C,)
    shift = (0 if layer.bias is None else layer.bias) - mean
    folded = deepcopy(layer)
    with torch.no_grad():
        wide = scale.view(-1, *[1] * (layer.weight.ndim - 1))
        folded.weight.copy_(layer.weight * wide)
        bias = shift * scale + (0 if norm.bias is None else norm.bias)
        folded.bias = nn.Parameter(bias.detach().clone())
    return folded


def freeze(net: nn.Module) -> nn.Module:
    """Keep all batch norms in evaluation mode, whatever `net.train()` says, and fix their weights.

    `requires_grad_(False)` alone fixes scale and shift, but batches go on normalizing, and go on
    moving the running statistics.

    Returns the network itself.

    Raises
    ------
    ValueError
        If it is no network.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.regularizers import normalization
    >>> net = normalization.freeze(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)))
    >>> [layer.training for layer in net.train()]
    [True, False]
    """
    for norm in batch_norms(net):
        norm.eval().requires_grad_(False)
        norm.train = MethodType(_stay, norm)
    return net


def _stay(norm: nn.Module, mode: bool = True) -> nn.Module:
    return norm


def recalibrate(net: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Replace the running statistics by plain averages over batches, weights as they are.

    Batch norms that are frozen keep theirs; all other layers compute as in evaluation mode.

    Parameters
    ----------
    net : nn.Module
        Changed in place and returned; its mode stays what it is.
    batches : iterable of (B, ...) tensor

    Raises
    ------
    ValueError
        If there is no batch, or no batch norm with running statistics. After an error of the
        network, all is as it was.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from coursekit.regularizers import normalization
    >>> net = nn.Sequential(nn.BatchNorm1d(1))
    >>> batches = torch.tensor([[[1.0], [3.0]], [[5.0], [7.0]]])
    >>> normalization.recalibrate(net, batches)[0].running_mean  # the mean of 2 and 6
    tensor([4.])
    """
    norms = [n for n in batch_norms(net) if "train" not in vars(n) and n.running_mean is not None]
    got, advice = type(batches).__name__, "x.split(100)"
    expect(isinstance(batches, Iterable), "batches to go through", got, advice)
    batches = [tensor("a batch", x, axes="(B, ...)", floats=False) for x in batches]
    got = f"{len(norms)} and {len(batches)}"
    expect(norms and batches, "batch norms with running statistics and batches", got, advice)
    modes = {layer: layer.training for layer in net.modules()}
    before = [(norm.momentum, deepcopy(norm.state_dict())) for norm in norms]
    net.eval()
    for norm in norms:
        norm.train().momentum = None
        norm.num_batches_tracked.zero_()  # so the first batch weighs 1, and nothing old is left
    try:
        with torch.no_grad():
            for x in batches:
                net(x)
    except BaseException:
        for norm, (_, state) in zip(norms, before, strict=True):
            norm.load_state_dict(state)
        raise
    finally:
        for norm, (momentum, _) in zip(norms, before, strict=True):
            norm.momentum = momentum
        for layer, mode in modes.items():
            layer.training = mode
    return net


def _check_network(net: nn.Module) -> None:
    what, advice = type(net).__name__, "the nn.Module, or the call of the function that makes it"
    expect(isinstance(net, nn.Module), "a network", what, advice)
