"""Golden counts: spec table "Networks and golden counts"; ResNet-18, MobileNet, ResNet-8, DS-CNN and the
Moons nets agree there with published or closed-form numbers, the others were counted by hooks in an
independent implementation.
"""

import pytest
import torch
from torch import nn

from bitjoule import zoo

from .counting import Counts, count

MOONS3 = {"depths": (3, 3, 3)}
MNIST = {"in_channels": 1, "image_size": 28}
GOLDEN: list[tuple[str, dict[str, object], Counts]] = [
    ("moons", {"depths": (1, 1, 1), "filters": (64, 64, 64)}, Counts(13_576_192, 85_696, 86_272, 86_026)),
    (
        "moons",
        {"depths": (2, 3, 3), "filters": (64, 128, 128)},
        Counts(162_222_080, 870_080, 872_768, 253_962),
    ),
    # closed form: 27*64*32^2 + (64+128)*9*128*16^2 + (128+256)*9*256*8^2 + 4096*10; 3 params per channel
    ("moons", {}, Counts(115_056_640, 1_148_608, 1_151_104, 163_850)),
    ("moons", MOONS3, Counts(266_051_584, 1_959_616, 1_963_648, 344_074)),
    ("vgg-moons", {}, Counts(266_051_584, 1_959_616, 1_963_648, 344_074)),
    ("moons", {**MOONS3, "filters": (256, 256, 256)}, Counts(1_781_309_440, 4_766_464, 4_773_376, 1_032_202)),
    # the table prints no params for the next two: weights + 3 per channel (bias, gamma, beta) of 3 x 32 and
    # 9 x 512
    ("moons", {"depths": (1, 1, 1), "filters": (32, 32, 32)}, Counts(3_838_976, 24_416, 24_704, 43_018)),
    (
        "moons",
        {**MOONS3, "filters": (512, 512, 512)},
        Counts(7_111_000_064, 18_970_112, 18_983_936, 2_064_394),
    ),
    (
        "moons",
        {"depths": (1, 1, 1), "filters": (32, 32, 32), **MNIST},
        Counts(2_486_592, 21_600, 21_888, 32_938),
    ),
    ("resnet20", {}, Counts(40_551_040, 268_336, 269_722, 188_426)),
    ("resnet20", {"option": "B"}, Counts(40_813_184, 270_896, 272_474, 200_714)),
    ("resnet32", {}, Counts(68_862_592, 461_872, 464_154, 303_114)),
    ("resnet56", {}, Counts(125_485_696, 848_944, 853_018, 532_490)),
    ("resnet20", {"width": 0.5}, Counts(10_248_512, 67_352, 68_050, 94_218)),
    ("resnet20", {"width": 2}, Counts(161_318_144, 1_071_200, 1_073_962, 376_842)),
    ("resnet18", {}, Counts(1_814_073_344, 11_678_912, 11_689_512, 2_484_712)),
    ("bireal18", {}, Counts(1_814_073_344, 11_678_912, 11_689_512, 2_484_712)),
    ("reactnet18", {}, Counts(1_814_073_344, 11_678_912, 11_704_424, 2_484_712)),
    ("bireal20", {}, Counts(40_813_184, 270_896, 272_474, 200_714)),
    ("reactnet20", {}, Counts(40_813_184, 270_896, 275_114, 200_714)),
    ("mobilenet_v1", {"width": 0.25}, Counts(41_030_272, 463_600, 470_072, 1_261_672)),
    ("mobilenet_v1", {"width": 0.5}, Counts(149_497_088, 1_319_648, 1_331_592, 2_522_344)),
    ("mobilenet_v1", {"width": 0.75}, Counts(325_400_448, 2_568_144, 2_585_560, 3_783_016)),
    ("mobilenet_v1", {}, Counts(568_740_352, 4_209_088, 4_231_976, 5_043_688)),
    (
        "mobilenet_v1",
        {"width": 0.25, "classes": 2, "image_size": 96},
        Counts(7_489_664, 208_112, 213_586, 231_554),
    ),
    ("mobilenet_v2", {"width": 0.25}, Counts(37_201_312, 1_507_456, 1_519_112, 2_278_912)),
    ("mobilenet_v2", {"width": 0.35}, Counts(59_285_808, 1_662_048, 1_677_128, 2_863_776)),
    ("mobilenet_v2", {"width": 0.5}, Counts(97_131_840, 1_949_136, 1_968_680, 3_641_112)),
    ("mobilenet_v2", {"width": 0.75}, Counts(209_069_792, 2_608_784, 2_636_424, 5_856_304)),
    ("mobilenet_v2", {}, Counts(300_774_272, 3_469_760, 3_504_872, 6_679_112)),
    ("mobilenet_v2", {"width": 1.4}, Counts(582_195_824, 6_059_840, 6_108_776, 9_574_424)),
    ("mobilenet_v2", {"width": 2.0}, Counts(1_137_428_224, 11_188_864, 11_258_088, 13_357_224)),
    ("mobilenet_v2_cifar", {"width": 0.25}, Counts(9_481_216, 240_256, 250_922, 522_634)),
    ("mobilenet_v2_cifar", {}, Counts(87_976_448, 2_202_560, 2_236_682, 1_639_946)),
    ("resnet8", {}, Counts(12_501_632, 77_360, 78_186, 86_026)),
    ("ds_cnn", {}, Counts(2_656_768, 22_016, 23_756, 72_012)),
    ("tfc", {}, Counts(59_008, 59_008, 59_392, 202)),
    ("sfc", {}, Counts(334_336, 334_336, 335_872, 778)),
    ("lfc", {}, Counts(2_910_208, 2_910_208, 2_916_352, 3_082)),
    ("cnv", {}, Counts(59_461_376, 1_542_848, 1_546_688, 142_602)),
]


@pytest.mark.parametrize(("name", "options", "expected"), GOLDEN, ids=lambda value: str(value))
def test_golden_counts(name: str, options: dict[str, object], expected: Counts) -> None:
    with torch.device("meta"):
        model = zoo.build(name, options, seed=0)
        assert count(model, zoo.input_shape(name, options)) == expected


@pytest.mark.parametrize(
    ("name", "statistics"),
    [("resnet8", 480), ("ds_cnn", 1_152)],  # MLPerf Tiny prints 78,666 and 24,908 parameters with these
)
def test_running_statistics_of_the_mlperf_nets(name: str, statistics: int) -> None:
    model = zoo.build(name, {}, seed=0)
    running = sum(b.numel() for key, b in model.named_buffers() if "running" in key)
    assert running == statistics


@pytest.mark.parametrize(
    ("name", "width", "shortcuts"),
    [
        ("mobilenet_v2", 0.25, 11),
        ("mobilenet_v2", 0.5, 10),
        ("mobilenet_v2", 1.0, 10),
        ("mobilenet_v2_cifar", 0.25, 12),
        ("mobilenet_v2_cifar", 0.5, 10),
        ("mobilenet_v2_cifar", 1.0, 10),
    ],
)
def test_mobilenet_v2_shortcuts_depend_on_the_width(name: str, width: float, shortcuts: int) -> None:
    with torch.device("meta"):
        model = zoo.build(name, {"width": width}, seed=0)
    assert sum(getattr(module, "residual", False) for module in model.modules()) == shortcuts


def test_moons_convolutions_have_bias_and_its_classifier_has_none() -> None:
    model = zoo.moons(filters=(8, 8, 8))
    assert all(m.bias is not None for m in model.modules() if isinstance(m, nn.Conv2d))
    assert model.classifier.bias is None
