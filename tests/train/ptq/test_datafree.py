"""Ranges, images and corrections from batch-norm statistics alone; channels scaled apart."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import bitjoule
from bitjoule.network import Network, capture, fold_batch_norm
from bitjoule.network.equalize import equalize
from bitjoule.train.ptq import PRESETS, PtqError, configured, ptq
from bitjoule.train.ptq.datafree import means_of, ranges_of
from bitjoule.train.ptq.synthetic import statistics_term, synthetic_images
from bitjoule.zoo import build, load_weights
from tests.train.ptq.conftest import noise

SAME = "[first=same,last=same]"
WITHOUT = ["synthetic_level=1", "bias_correction=analytic", "rounding=nearest", "refine=none"]


def apart(net: Network) -> Network:
    """The same function; ranges between bn1 and conv2 differ a thousand times."""
    scaled = net.clone()
    factor = torch.logspace(-1.5, 1.5, 8)
    with torch.no_grad():
        scaled.module.get_parameter("bn1.weight").mul_(factor)
        scaled.module.get_parameter("bn1.bias").mul_(factor)
        scaled.module.get_parameter("conv2.weight").div_(factor.view(1, -1, 1, 1))
    return scaled


def bare() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()


def test_channels_scaled_apart_are_restored(tiny: Network, images: Tensor) -> None:
    net = apart(tiny)
    assert noise(tiny, net, images) < 1e-6
    fast = PRESETS["fast"]
    wanted = noise(tiny, ptq(tiny, images, f"w8a8{SAME}"), images)
    naive = configured(fast, ["per_tensor=true", "equalize=0"])
    assert noise(tiny, ptq(net, images, f"w8a8{SAME}", config=naive), images) > 20 * wanted
    restored = ptq(net, images, f"w8a8{SAME}", config=configured(fast, ["per_tensor=true"]))
    assert noise(tiny, restored, images) < 4 * wanted
    assert any(note.startswith("equalized 2 pairs") for note in restored.quantization_report.notes)


@pytest.fixture
def no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a file gets an error; files of Python and its packages (compiled kernels) are none."""
    allowed, homes = io.open, (sys.prefix, sys.base_prefix, str(Path(bitjoule.__file__).parent))

    def guarded(file: object, *args: object, **more: object) -> object:
        if not str(file).startswith(homes) and not str(file).endswith(".py"):
            raise AssertionError(f"{file} was opened")
        return allowed(file, *args, **more)  # type: ignore[call-overload]

    monkeypatch.setattr("builtins.open", guarded)
    monkeypatch.setattr("io.open", guarded)
    with pytest.raises(AssertionError, match=r"^labels was opened"):
        Path("labels").read_bytes()


@pytest.mark.usefixtures("no_file")
def test_without_any_image(tiny: Network, images: Tensor) -> None:
    config = configured(PRESETS["data-free"], WITHOUT)
    quantized = ptq(apart(tiny), None, f"w8a8{SAME}", config=config)
    assert noise(tiny, quantized, images) < 0.05
    report = quantized.quantization_report
    assert report.images == 0 and {row.method for row in report.rows if row.role == "activation"} == {"bn(6)"}


def test_ranges_hold_what_the_network_makes(tiny: Network, images: Tensor) -> None:
    folded = fold_batch_norm(tiny)
    low, high = ranges_of(folded)["relu"]
    assert float(low.min()) == 0
    with torch.no_grad():
        made = torch.relu(tiny.module.bn(tiny.module.stem(images)))  # type: ignore[operator]
    assert float((made.amax((0, 2, 3)) <= high).float().mean()) > 0.8  # six deviations, if normal
    mean = means_of(folded)["relu"]
    assert torch.allclose(mean.float(), made.mean((0, 2, 3)), atol=0.1)


def test_a_layer_without_statistics_is_named() -> None:
    net = capture(bare(), input_shape=(1, 3, 12, 12)).eval()
    text = "data-free needs BatchNorm statistics: layer '0' has none; give calibration images"
    for settings in (WITHOUT, []):
        with pytest.raises(PtqError) as error:
            ptq(net, None, "w8a8", config=configured(PRESETS["data-free"], settings))
        assert str(error.value) == text


def test_the_term_of_zeroq() -> None:
    x = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
    found = statistics_term(x, torch.tensor([2.0]), torch.tensor([1.0]))
    assert float(found) == pytest.approx(5.5278640, abs=1e-6)
    slack = statistics_term(x, torch.tensor([2.0]), torch.tensor([1.0]), 2.0, 0.2360680)
    assert float(slack) == pytest.approx(1.0, abs=1e-5)


def test_moments_have_the_gradients_of_their_formulas() -> None:
    x = torch.randn(5, 3, 4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x.requires_grad_(True)

    def term(values: Tensor) -> Tensor:
        return statistics_term(values, torch.tensor([0.3]), torch.tensor([0.7]))

    assert torch.autograd.gradcheck(term, (x,))
    slices = x[1::2]
    plain = (slices.mean((0, 2, 3)) - 0.3).square() + (slices.std((0, 2, 3), correction=0) - 0.7).square()
    wanted = torch.autograd.grad(plain.sum(), x)[0]
    assert torch.allclose(torch.autograd.grad(term(slices), x)[0], wanted, atol=1e-9)


@pytest.mark.parametrize("method", ["dsg", "zeroq"])
def test_synthetic_images_have_the_statistics(tiny: Network, method: str) -> None:
    made = synthetic_images(tiny, 16, batch=16, steps=60, seed=1, method=method)  # type: ignore[arg-type]
    assert made.images.shape == (16, 3, 12, 12) and float(made.images.abs().max()) <= 3
    assert made.last_loss < 0.5 * made.first_loss
    again = synthetic_images(tiny, 16, batch=16, steps=60, seed=1, method=method)  # type: ignore[arg-type]
    assert torch.equal(made.images, again.images)


@pytest.mark.slow
def test_synthetic_images_of_resnet20(bitjoule_data: Path) -> None:
    """The loss falls below a tenth of its start (ptq.md section 9, item 8)."""
    model = build("resnet20", {}, 0)
    load_weights(model, bitjoule_data / "weights" / "resnet20-12fca82f.th")
    net = capture(model.eval(), input_shape=(1, 3, 32, 32), name="resnet20").eval()
    made = synthetic_images(net, 16, batch=16, steps=100)
    assert made.last_loss < 0.1 * made.first_loss


@pytest.mark.slow
@pytest.mark.usefixtures("no_file")
def test_synthetic_calibration(tiny: Network, images: Tensor) -> None:
    config = configured(PRESETS["data-free"], ["calibration_count=32"])
    assert noise(tiny, ptq(tiny, None, f"w8a8{SAME}", config=config), images) < 0.05


@pytest.mark.parametrize(
    ("activation", "most"),
    [(nn.Hardtanh(-3, 3), 0.05), (nn.Hardtanh(0, 4), 0.05), (nn.ReLU6(), 0.05), (nn.Sigmoid(), 0.1)],
    ids=["hardtanh", "clamp", "relu6", "sigmoid"],
)
def test_clips_have_their_own_limits(activation: nn.Module, most: float) -> None:
    net, x = _of(activation)
    level1 = dataclasses.replace(PRESETS["data-free"], synthetic_level=1)
    quantized = ptq(net, None, "w8a8", config=level1)
    with torch.no_grad():
        wanted, found = net(x), quantized(x)
    assert float((found - wanted).square().sum() / (wanted - wanted.mean(0)).square().sum()) < most


def test_limits_per_channel_are_no_limit_of_the_tensor() -> None:
    net, _ = _of(nn.ReLU6())
    scaled = equalize(fold_batch_norm(net), relu6="per_channel")
    clip = next(node for node in scaled.graph.nodes if node.op == "relu6")
    assert "limit" in clip.attributes
    least, most = ranges_of(scaled)[clip.output]
    assert float(least.min()) == 0 and float(most.max()) > 6


def test_an_activation_of_unknown_range_is_named() -> None:
    level1 = dataclasses.replace(PRESETS["data-free"], synthetic_level=1)
    with pytest.raises(PtqError, match=r"^data-free: no range is known behind leaky_relu '2'; give"):
        ptq(_of(nn.LeakyReLU(0.1))[0], None, "w8a8", config=level1)


def _of(activation: nn.Module) -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(8, momentum=None), nn.BatchNorm2d(4, momentum=None)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 2.0)
    tail = [activation, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)]
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norms[0], activation, nn.Conv2d(8, 4, 1), norms[1], *tail)
    x = torch.randn(64, 3, 12, 12)
    with torch.no_grad():
        model.train()(x)
    return capture(model.eval(), input_shape=(1, 3, 12, 12)).eval(), x
