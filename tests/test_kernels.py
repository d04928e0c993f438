"""The backward passes written by hand, against PyTorch's own and against finite differences."""

import pytest
import torch
import torch.nn.functional as F

from coursekit.engine.layers import PairMax, Products, wide


def draw(*shape):
    return torch.randn(*shape, dtype=torch.double, requires_grad=True)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("n_outputs", [1, 10, 16, 32])
def test_linear_is_one_linear_layer_per_network(n_outputs, has_bias):
    h, w = draw(3, 5, 7), draw(3, n_outputs, 7)
    b = draw(3, n_outputs) if has_bias else None
    inputs = [h, w, b] if has_bias else [h, w]
    out = Products.apply(h, w, b)
    out = out if wide(n_outputs) else out.mT
    rows = zip(h, w, b if has_bias else [None] * 3, strict=True)
    expected = torch.stack([F.linear(*row) for row in rows])
    torch.testing.assert_close(out, expected)
    g = torch.randn_like(out)
    for ours, theirs in zip(
        torch.autograd.grad(out, inputs, g), torch.autograd.grad(expected, inputs, g), strict=True
    ):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("n_outputs", [3, 16])
def test_linear_has_first_and_second_derivatives(n_outputs):
    h, w, b = draw(2, 3, 2), draw(2, n_outputs, 2), draw(2, n_outputs)
    assert torch.autograd.gradcheck(Products.apply, (h, w, b))
    assert torch.autograd.gradgradcheck(Products.apply, (h, w, b))


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (0, 1), (1, 2)])
@pytest.mark.parametrize("n_outputs", [3, 16])
def test_linear_gives_the_gradients_that_are_asked_for(n_outputs, wanted):
    inputs = [draw(2, 4, 5), draw(2, n_outputs, 5), draw(2, n_outputs)]
    expected = torch.autograd.grad(Products.apply(*inputs).sin().sum(), inputs)
    given = [t if i in wanted else t.detach() for i, t in enumerate(inputs)]
    got = torch.autograd.grad(Products.apply(*given).sin().sum(), [inputs[i] for i in wanted])
    for i, grad in zip(wanted, got, strict=True):
        torch.testing.assert_close(grad, expected[i])


def test_linear_takes_weights_that_are_stored_turned():
    h, w, b = draw(2, 4, 5), draw(2, 5, 16), draw(2, 16)
    out = Products.apply(h, w.mT, b)
    torch.testing.assert_close(out, h @ w + b.unsqueeze(1))
    got, expected = (
        torch.autograd.grad(f.sin().sum(), w)[0] for f in (out, h @ w + b.unsqueeze(1))
    )
    torch.testing.assert_close(got, expected)


def test_wide_layers_are_those_of_whole_vectors():
    assert [n for n in range(1, 65) if wide(n)] == [16, 32, 48, 64]


@pytest.mark.parametrize("axis", [-1, -2])
def test_pair_max_is_the_larger_one_of_two_neighbors(axis):
    h = draw(3, 5, 4, 6)
    out = PairMax.apply(h, axis)
    kernel = (1, 2) if axis == -1 else (2, 1)
    expected = F.max_pool2d(h, kernel)
    assert torch.equal(out, expected)
    g = torch.randn_like(out)
    ours, theirs = torch.autograd.grad(out, h, g), torch.autograd.grad(expected, h, g)
    assert torch.equal(ours[0], theirs[0])
    small = draw(2, 2, 4)
    assert torch.autograd.gradcheck(PairMax.apply, (small, axis))
    assert torch.autograd.gradgradcheck(PairMax.apply, (small, axis))


def test_pair_max_among_equals_is_the_first_one():
    h = torch.tensor([[1.0, 1.0, 2.0, 3.0, 5.0, 4.0]], requires_grad=True)
    PairMax.apply(h, -1).sum().backward()
    assert h.grad.tolist() == [[1, 0, 0, 1, 1, 0]]


def test_pair_max_does_not_hide_what_is_not_a_number():
    nan, inf = float("nan"), float("inf")
    out = PairMax.apply(torch.tensor([nan, 1.0, 1.0, nan, inf, 2.0, -inf, -inf]), -1)
    assert out[:2].isnan().all()
    assert out[2:].tolist() == [inf, -inf]


def test_pair_max_without_gradients_gives_the_same():
    h = draw(2, 3, 8)
    with torch.no_grad():
        plain = PairMax.apply(h, -1)
    assert torch.equal(plain, PairMax.apply(h, -1))
    assert torch.equal(plain, PairMax.apply(h.detach(), -1))
