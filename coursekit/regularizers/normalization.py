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
        If `eps` is negative or NaN.

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
    if not eps >= 0:
        raise ValueError(f"expected eps >= 0, got {eps}; try 1e-5")
    return _Standardize.apply(x, tuple(axes), eps)


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
        If `x` has no channels, or a channel has fewer than two values to train on.

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
    if x.ndim < 2:
        raise ValueError(f"expected x of shape (B, C, ...), got {tuple(x.shape)}; try x[None]")
    channels = (1, -1, *[1] * (x.ndim - 2))
    if training:
        n = x.numel() // x.shape[1]
        if n < 2:
            raise ValueError(
                f"expected more than one value per channel in training, got {tuple(x.shape)}, "
                "whose variance is 0; try a larger batch, or model.eval()"
            )
        axes = (0, *range(2, x.ndim))
        out = standardize(x, axes, eps)
        with torch.no_grad():
            _move(running_mean, x.mean(axes), momentum)
            _move(running_var, x.var(axes, correction=0) * (n / (n - 1)), momentum)
    else:
        out = (x - running_mean.view(channels)) / (running_var.view(channels) + eps).sqrt()
    return _affine(out, weight, bias, channels)


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
    if not 0 <= keras <= 1:
        raise ValueError(f"expected a momentum in [0, 1], got {keras}; Keras' default is 0.99")
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
        When it is called: if `x` has no channels, or fewer than two values per channel to train on.

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
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(n_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(n_channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(n_channels))
        self.register_buffer("running_var", torch.ones(n_channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        momentum: float | Tensor | None = self.momentum
        if self.training:
            self.num_batches_tracked.add_(1)
            momentum = 1 / self.num_batches_tracked if momentum is None else momentum
        return batch_norm(
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
        If `x` has fewer axes, or `eps` is negative.

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
    if not 1 <= n_axes <= x.ndim:
        raise ValueError(f"expected n_axes in 1 to {x.ndim}, got {n_axes}")
    out = standardize(x, range(-n_axes, 0), eps)
    return _affine(out, weight, bias, x.shape[-n_axes:])


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
        If C is no multiple of `n_groups`, `x` has no channels, or `eps` is negative.

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
    if n_groups < 1 or x.ndim < 2 or x.shape[1] % n_groups:
        raise ValueError(
            f"expected x (B, C, ...) with C a multiple of {n_groups} groups, got {tuple(x.shape)}"
        )
    groups = x.reshape(x.shape[0], n_groups, -1)
    out = standardize(groups, (-1,), eps).reshape(x.shape)
    return _affine(out, weight, bias, (1, -1, *[1] * (x.ndim - 2)))


def batch_norms(net: nn.Module) -> Iterator[nn.Module]:
    """Yield the batch norms of a network, PyTorch's and ours.

    Examples
    --------
    >>> from torch import nn
    >>> from coursekit.regularizers import normalization
    >>> net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LayerNorm(8))
    >>> len(list(normalization.batch_norms(net)))
    1
    """
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
        If the layer is of another kind, or their channels differ.

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
    if not isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise ValueError(f"expected a linear layer or a convolution, got {type(layer).__name__}")
    mean, var = norm.running_mean, norm.running_var
    if mean is None or len(mean) != len(layer.weight):
        got = "none" if mean is None else len(mean)
        raise ValueError(f"expected running statistics of {len(layer.weight)} channels, got {got}")
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
        If there is no batch, or no batch norm with running statistics.

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
    batches = list(batches)
    if not norms or not batches:
        got = f"{len(norms)} and {len(batches)}"
        raise ValueError(f"expected batch norms with running statistics and batches, got {got}")
    modes = {layer: layer.training for layer in net.modules()}
    momenta = [norm.momentum for norm in norms]
    net.eval()
    for norm in norms:
        norm.train().momentum = None
        norm.num_batches_tracked.zero_()  # so the first batch weighs 1, and nothing old is left
    with torch.no_grad():
        for x in batches:
            net(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for layer, mode in modes.items():
        layer.training = mode
    return net
