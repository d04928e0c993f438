"""Augmentation against PyTorch, scipy and kornia, against its law, and against classic slips."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from coursekit import data, models
from coursekit.engine.random import OwnDraws, Streams
from coursekit.regularizers import augmentation as aug
from coursekit.sweep import sweep
from coursekit.train import Recipe, fit


def images(n=6, height=7, width=9, channels=2, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, height, width, generator=draws, dtype=torch.float64)


def gradient(function, x, *more):
    """Value and gradients of a scalar that depends on every entry of the result."""
    leaves = [t.clone().requires_grad_() for t in (x, *more)]
    out = function(*leaves)
    weights = torch.arange(out.numel(), dtype=out.dtype).view_as(out).cos()
    return out.detach(), torch.autograd.grad((out * weights).sum(), leaves)


def same(ours, reference, *arguments):
    for mine, theirs in zip(
        gradient(ours, *arguments), gradient(reference, *arguments), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


# Given the parameters: references


def wraps_around(x, down, right):
    pairs = zip(x, down.tolist(), right.tolist(), strict=True)
    return torch.stack([torch.roll(image, move, (-2, -1)) for image, *move in pairs])


def moves_all_alike(x, down, right):
    return aug.shift(x, down[:1].expand_as(down), right[:1].expand_as(right))


def scipy_shift(x, down, right):
    pairs = zip(x.numpy(), down.tolist(), right.tolist(), strict=True)
    moved = [ndimage.shift(image, (0, *move), order=0, cval=0) for image, *move in pairs]
    return torch.tensor(np.stack(moved))


def test_shift_is_scipys_without_wrap_around():
    x, down, right = images(), torch.tensor([0, 1, -1, 2, -8, 0]), torch.tensor([0, 0, 2, -3, 1, 9])
    reference = scipy_shift(x, down, right)
    torch.testing.assert_close(aug.shift(x, down, right), reference)
    assert aug.shift(x, down, right)[4:].abs().sum() == 0  # moved out of the frame
    for wrong in (wraps_around, moves_all_alike):
        assert not torch.allclose(wrong(x, down, right), reference)


def test_gradient_of_a_shift_is_the_shift_back():
    x, down, right = images(3).requires_grad_(), torch.tensor([1, -2, 0]), torch.tensor([0, 3, -1])
    (aug.shift(x, down, right) * images(3, seed=1)).sum().backward()
    torch.testing.assert_close(x.grad, aug.shift(images(3, seed=1), -down, -right))


def test_crop_is_a_window_of_the_padded_image():
    x, top, left = images(4), torch.tensor([0, -2, 3, 5]), torch.tensor([1, 4, -2, 7])
    padded = F.pad(x, (4, 4, 4, 4))
    windows = [
        image[:, t + 4 : t + 9, s + 4 : s + 8]
        for image, t, s in zip(padded, top, left, strict=True)
    ]
    torch.testing.assert_close(aug.crop(x, top, left, (5, 4)), torch.stack(windows))


def test_flip_mirrors_the_chosen_images_only():
    x, which = images(3), torch.tensor([True, False, True])
    for axis in (-1, -2):
        flipped = aug.flip(x, which, axis=axis)
        expected = np.stack(
            [np.flip(i, axis) if w else i for i, w in zip(x.numpy(), which, strict=True)]
        )
        torch.testing.assert_close(flipped, torch.tensor(expected))


def torch_affine(x, degrees, scale, down, right):
    """The same map by `affine_grid` and `grid_sample`, whose axes run from -1 to 1."""
    height, width = x.shape[-2:]
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    forth = [cos, -sin * height / width], [sin * width / height, cos]
    matrix = torch.stack([torch.stack(row, -1) for row in forth], -2)  # (B, 2, 2)
    move = torch.stack([2 * right / width, 2 * down / height], -1)
    theta = torch.cat([matrix, -(matrix @ move.unsqueeze(-1))], -1)
    grid = F.affine_grid(theta, x.shape, align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)


def clockwise(x, degrees, scale, down, right):
    return torch_affine(x, -degrees, scale, down, right)


def moves_before_it_turns(x, degrees, scale, down, right):
    return aug.affine(aug.affine(x, down=down, right=right), degrees, scale)


def test_affine_equals_torch_in_values_and_gradients():
    draws = torch.Generator().manual_seed(1)
    p = torch.rand(4, 6, generator=draws, dtype=torch.float64)
    settings = 90 * (p[0] - 0.5), 0.7 + p[1], 4 * (p[2] - 0.5), 4 * (p[3] - 0.5)
    same(aug.affine, torch_affine, images(), *settings)
    for wrong in (clockwise, moves_before_it_turns):
        assert not torch.allclose(wrong(images(), *settings), aug.affine(images(), *settings))


def test_affine_by_right_angles_and_whole_pixels_moves_pixels():
    x = images(4, height=8, width=8)
    torch.testing.assert_close(aug.affine(x, 90.0), torch.rot90(x, 1, (-2, -1)))
    torch.testing.assert_close(aug.affine(x, 180.0), x.flip(-1, -2))
    moved = aug.shift(x, torch.full((4,), 2), torch.full((4,), -1))
    torch.testing.assert_close(aug.affine(x, down=2.0, right=-1.0), moved)
    torch.testing.assert_close(aug.affine(x), x)


def test_light_stretches_about_the_mean_adds_and_clamps():
    x = images(3)
    brightness, contrast = (
        torch.tensor([0.1, 0.0, -0.6]).double(),
        torch.tensor([1.3, 0, 1]).double(),
    )
    mean = x.mean((1, 2, 3), keepdim=True)
    b, c = brightness.view(-1, 1, 1, 1), contrast.view(-1, 1, 1, 1)
    expected = torch.clip(c * x + (1 - c) * mean + b, 0, 1)
    torch.testing.assert_close(aug.adjust(x, brightness, contrast), expected)
    assert aug.adjust(x, brightness, contrast)[1].std() < 1e-12  # contrast 0 leaves the mean


def test_erase_takes_exactly_its_area_and_is_cut_at_the_border():
    x = images(3) + 1  # no pixel is 0
    top, left = torch.tensor([0, 2, 5]), torch.tensor([1, 3, 8])
    out = aug.erase(x, top, left, 3, torch.tensor([2, 4, 3]))
    assert (out[:, 0] == 0).sum((1, 2)).tolist() == [6, 12, 2]
    assert (out[0, :, 0:3, 1:3] == 0).all()
    torch.testing.assert_close(torch.where(out == 0, x, out), x)


def test_kornia_agrees():
    kornia = pytest.importorskip("kornia")
    turn, light = kornia.geometry.transform, kornia.enhance
    x, degrees = images(3, 8, 8, channels=1), torch.tensor([10.0, -30.0, 75.0]).double()
    factor, zero = torch.tensor([0.8, 1.3, 1.0]).double(), torch.zeros(3).double()
    same(aug.affine, turn.rotate, x, degrees)
    both = factor.view(-1, 1).expand(-1, 2)
    same(lambda x: aug.affine(x, scale=factor), lambda x: turn.scale(x, both), x)
    stretched = light.adjust_contrast_with_mean_subtraction(x, factor)
    torch.testing.assert_close(aug.adjust(x, zero, factor), stretched)
    torch.testing.assert_close(aug.adjust(x, zero + 0.2, zero + 1), light.adjust_brightness(x, 0.2))


# Drawn for each image: laws


def many(n=20_000):
    torch.manual_seed(0)
    return torch.ones(n, 1, 8, 8)


def share(observed, expected, n):
    """Whether a share lies within 5 standard errors of what was expected."""
    return abs(observed - expected) < 5 * np.sqrt(expected * (1 - expected) / n)


def test_random_shift_is_even_over_all_moves():
    x = many()
    x[:, :, :3], x[:, :, 4:], x[..., :3], x[..., 4:] = 0, 0, 0, 0  # one bright pixel at (3, 3)
    moved = aug.random_shift(x, 1).mean(0)[0]
    assert all(share(p, 1 / 9, len(x)) for p in moved[2:5, 2:5].flatten().tolist())
    cropped = aug.random_crop(x, 8, padding=1).mean(0)[0]
    assert all(share(p, 1 / 9, len(x)) for p in cropped[2:5, 2:5].flatten().tolist())
    assert aug.random_crop(x[:5], 6).shape == (5, 1, 6, 6)


def test_random_flip_erase_and_light_have_their_rates():
    x = many() * torch.arange(8)
    assert share((aug.random_flip(x, 0.3)[:, 0, 0, 0] == 7).float().mean().item(), 0.3, len(x))
    assert share((aug.random_flip(x.mT, axis=-2)[:, 0, 0, 0] == 7).float().mean(), 0.5, len(x))
    assert set((aug.random_erase(many(500), 3) == 0).sum((1, 2, 3)).tolist()) == {9}
    low, high = aug.random_light(0.5 * many(), 0.2, 0.5).aminmax()
    assert (low.item(), high.item()) == pytest.approx((0.3, 0.7), abs=0.01)


@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_cutout_at_the_border_has_the_documented_mean_area(size):
    gone = (aug.random_erase(many(), size, inside=False) == 0).sum((1, 2, 3)).float()
    area, error = (size - (size**2 // 4) / 8) ** 2, gone.std().item() / 20_000**0.5
    assert gone.mean().item() == pytest.approx(area, abs=5 * error)


def test_random_turns_scales_and_noise_stay_within_their_limits():
    torch.manual_seed(0)
    x = torch.zeros(4000, 1, 9, 9)
    x[:, :, 4, 8] = 1.0  # at the end of the middle row: turned by a, it lies sin(a) * 4 higher
    rows = torch.arange(9.0).view(-1, 1)
    height = 4 - (aug.random_rotate(x, 20) * rows).sum((1, 2, 3)) / aug.random_rotate(x, 0).sum(
        (1, 2, 3)
    )
    assert height.abs().max() <= 4 * np.sin(np.deg2rad(20)) + 0.2
    assert abs(height.mean()) < 5 * height.std() / 4000**0.5
    assert height.std() > 0.5
    bright = aug.random_scale(torch.ones(4000, 1, 9, 9), 1.5).sum((1, 2, 3)) / 81
    assert (bright > 0.999).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert bright.min() > 1 / 1.5**2 - 0.05
    noise = aug.random_noise(torch.zeros(4000, 10), 0.3)
    assert (noise.mean().item(), noise.std().item()) == pytest.approx((0, 0.3), abs=0.01)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: aug.random_shift(x, 2),
        lambda x: aug.random_crop(x, 7, padding=2),
        lambda x: aug.random_flip(x),
        lambda x: aug.random_rotate(x, 30),
        lambda x: aug.random_scale(x, 1.5),
        lambda x: aug.random_light(x),
        lambda x: aug.random_erase(x, 3),
        lambda x: aug.random_noise(x, 0.1),
    ],
)
def test_every_image_and_every_network_draws_for_itself(draw):
    """Inside the engine; network 0 draws the same whoever trains beside it."""
    x = images(1).float().expand(20, 2, 7, 9)

    def mapped(seeds):
        streams = Streams(seeds)

        def one(member, x):
            with OwnDraws(streams, "augment", member):
                return draw(x)

        stacked = x.expand(len(seeds), *x.shape)
        return torch.vmap(one, randomness="different")(torch.arange(len(seeds)), stacked)

    three, alone = mapped([5, 6, 7]), mapped([5])
    torch.testing.assert_close(three[0], alone[0])
    assert not torch.equal(three[0], three[1])
    assert len({tuple(image.flatten().tolist()) for image in three[0]}) > 1


def test_limits_can_be_swept_and_zero_is_no_augmentation():
    task = data.load("canvas_digits", n_train=40, n_val=40)
    recipe = Recipe(epochs=2, batch_size=20, n_seeds=2)
    hook = {"augment": lambda x, pixels: aug.random_shift(x, pixels)}
    study = sweep(models.linear, task, recipe, {"pixels": [0, 1]}, **hook)
    plain = fit(models.linear(task), task, recipe)
    one = fit(models.linear(task), task, recipe, augment=lambda x: aug.random_shift(x, 1))
    for arm, alone in ((study.at(pixels=0), plain), (study.at(pixels=1), one)):
        np.testing.assert_allclose(arm.train_loss, alone.train_loss, rtol=1e-4)
    assert not np.allclose(plain.train_loss, one.train_loss)


@pytest.mark.parametrize(
    "draw",
    [
        lambda x: aug.random_shift(x, 2),
        lambda x: aug.random_crop(x, 5, padding=1),
        lambda x: aug.random_flip(x),
        lambda x: aug.random_erase(x, 3),
        lambda x: aug.erase(x, torch.tensor([0]), torch.tensor([1]), 2, 3, value=9),
        lambda x: aug.shift(x, torch.tensor([1], dtype=torch.uint8), 2),
    ],
)
def test_what_only_moves_pixels_takes_bytes_as_they_are(draw):
    pixels = (255 * images()).byte()
    found = []
    for x in (pixels, pixels.double()):
        torch.manual_seed(0)
        found.append(draw(x))
    assert found[0].dtype == torch.uint8
    torch.testing.assert_close(found[0].double(), found[1])


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_reads_the_same_places_of_a_large_image(kind):
    ramp = (torch.arange(512.0) / 512).expand(1, 1, 512, 512)  # rounds by 2^-9 at most
    exact = aug.affine(ramp.double(), degrees=30.0, right=0.3)
    found = aug.affine(ramp.to(kind), degrees=30.0, right=0.3)
    assert found.dtype == kind
    assert (found.double() - exact)[..., 150:-150, 150:-150].abs().max() < 2**-7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: aug.random_rotate((255 * x).byte(), 9), r"of floats, got torch.uint8.*/ 255"),
        (lambda x: aug.random_scale((255 * x).byte(), 1.1), r"of floats, got torch.uint8.*/ 255"),
        (lambda x: aug.random_light(255 * x), r"pixels in \[0, 1\], got .* to 25.*try x / 255"),
        (lambda x: aug.random_light(x, 20), r"brightness in \[0, 1\], got 20"),
        (lambda x: aug.random_flip(x[0]), r"\(B, C, H, W\), got shape \(2, 7, 9\); try x\[None\]"),
        (lambda x: aug.random_erase(x[0], 3), r"got shape \(2, 7, 9\); try x\[None\]"),
        (lambda x: aug.random_shift(x, 1.5), "pixels, a whole number >= 0, got 1.5"),
        (lambda x: aug.random_shift(x, torch.tensor(-1.0)), "whole number >= 0, got -1.0"),
        (lambda x: aug.shift(x, torch.full((6,), 0.5), 0), "down of whole numbers.*or affine"),
        (lambda x: aug.random_shift(x, -1), "pixels, a whole number >= 0, got -1; try pixels=0"),
        (lambda x: aug.random_flip(x, 1.5), r"rate in \[0, 1\], got 1.5"),
        (lambda x: aug.random_scale(x, 0.9), "factor >= 1, got 0.9"),
        (lambda x: aug.random_erase(x, 8), r"size, a whole number in \[0, 7\], got 8"),
        (lambda x: aug.random_crop(x, 12, padding=2), "a window of 1 to 7"),
        (lambda x: aug.random_noise(x, float("nan")), "sigma >= 0, got nan"),
    ],
)
def test_wrong_limits_are_refused_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call(images())


def test_in_company_too_what_can_be_read_is_looked_at():
    x = 255 * images(2).float().expand(3, 2, 2, 7, 9)
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\]"):
        torch.vmap(aug.random_light, randomness="different")(x)
    limits = torch.tensor([0.0, 1.0, -1.0])
    with pytest.raises(ValueError, match="pixels, a whole number >= 0, got -1 to 1"):
        torch.vmap(aug.random_shift, randomness="different")(x, limits)


# Text


def test_word_dropout_keeps_negations_and_never_empties():
    draws = torch.Generator().manual_seed(0)
    text = "I do n't think this is NOT good, you don\u2019t"
    for rate in (0.1, 0.5, 0.99):
        for _ in range(200):
            words = aug.word_dropout(text, rate, generator=draws).split()
            assert {"n't", "NOT", "don\u2019t"} <= set(words)
            assert aug.word_dropout("fine", rate, generator=draws) == "fine"
            assert aug.word_dropout("so very fine", rate, generator=draws)
    assert aug.word_dropout("", 0.5) == ""


def test_no_negation_goes_whatever_its_form():
    draws = torch.Generator().manual_seed(0)
    text = (
        "We cannot say it; nobody (and NOTHING) helps. \u201cNot\u201d bad... dont ask *no* one: "
        "not-so-good, no\u2014really, nowhere to go [never], haven't, 'hardly' 'not'!"
    )
    stay = {
        "cannot", "nobody", "NOTHING)", "\u201cNot\u201d", "dont", "*no*", "not-so-good,",
        "no\u2014really,", "nowhere", "[never],", "haven't,", "'hardly'", "'not'!",
    }  # fmt: skip
    for _ in range(100):
        assert stay <= set(aug.word_dropout(text, 0.9, generator=draws).split())
    # Words that only contain one may go, and the words that stay can be chosen.
    kept = [aug.word_dropout("nonsense knot noble fine", 0.5).split() for _ in range(100)]
    assert all(any(word not in words for words in kept) for word in ("nonsense", "knot", "noble"))
    chosen = [aug.word_dropout("Nobody SINGS", 0.9, protect=["sings"]) for _ in range(100)]
    assert "SINGS" in chosen


def test_word_dropout_deletes_at_its_rate_and_keeps_the_order():
    draws, text = torch.Generator().manual_seed(0), " ".join("abcdefghijklmnopqrst")
    kept = [aug.word_dropout(text, 0.3, generator=draws).split() for _ in range(1000)]
    assert all(words == sorted(words) for words in kept)
    assert share(np.mean([len(w) for w in kept]) / 20, 0.7, 20_000)
