"""What holds for every calibrator, and their names."""

import warnings

import numpy as np
import pytest
import torch

from bitjoule.formats import parse_tensor_format
from bitjoule.quant.calibration import CALIBRATORS, CalibrationError, parse_calibrator
from bitjoule.quant.fake_quantizer import QuantizerWarning
from tests.quant.calibration.laplace import laplace

NAMES = ["minmax", "moving_average", "percentile(99)", "percentile(best)", "mse", "entropy", "aciq"]
ORDERLESS = ["minmax", "percentile(99)", "mse", "entropy"]


def ranged(text, batches, format_text="INT4", **options):
    found = parse_calibrator(text).make("conv1.out", **options)
    for batch in batches:
        found.update(batch)
    return found.range(parse_tensor_format(format_text))


@pytest.mark.parametrize("name", NAMES)
def test_doubling_the_values_doubles_the_scale(name):
    x = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    assert ranged(name, [2 * x]).scale == 2 * ranged(name, [x]).scale


@pytest.mark.parametrize("format_text", ["INT4", "UINT4", "INT4+zp", "INT3_NARROW", "POT4"])
@pytest.mark.parametrize("name", NAMES)
def test_no_threshold_passes_the_largest_magnitude(name, format_text):
    x = laplace(500)
    if format_text == "UINT4":
        x = x.abs()
    params = ranged(name, [x], format_text)
    top = params.format.max_level - params.zero_point
    assert (
        0
        < float(params.scale) * float(top)
        <= x.abs().max().item() * (1 + 1e-6) + (float(params.scale) / 2 if params.scaling.zero_point else 0.0)
    )


@pytest.mark.parametrize("name", ORDERLESS)
def test_the_order_of_batches_changes_nothing(name):
    g = torch.Generator().manual_seed(2)
    first = torch.full((1, 64), 9.0)  # fixes the range of the histogram
    batches = [torch.randn(1, 64, generator=g) for _ in range(4)]
    a = ranged(name, [first, *batches])
    b = ranged(name, [first, *batches[::-1]])
    assert a.scale == b.scale


def test_the_moving_average_depends_on_the_order():
    x = [torch.tensor([[top]]) for top in (4.0, 6.0, 3.0, 9.0)]
    assert float(ranged("moving_average(0.9)", x, "INT8").scale) * 127 == pytest.approx(4.572)
    assert ranged("moving_average", x).scale != ranged("moving_average", x[::-1]).scale


def test_percentile_vector_and_rows():
    assert float(ranged("percentile(99.9)", [laplace(1200)], "INT8").scale) * 127 == pytest.approx(5.8898100)
    x = torch.randn(3, 5, 40, generator=torch.Generator().manual_seed(0)).double()
    params = ranged("percentile(98)", [x], "INT8/channel", axis=1)
    rows = x.movedim(1, 0).reshape(5, -1).numpy()
    ends = np.quantile(rows, [0.02, 0.98], axis=1)
    np.testing.assert_allclose(params.scale * 127, np.abs(ends).max(0), rtol=1e-6)


def test_percentile_of_non_negative_values_is_one_sided():
    x = laplace(1000).abs()
    top = np.quantile(x.numpy(), 0.99)
    assert float(ranged("percentile(99)", [x], "UINT8").scale) * 255 == pytest.approx(top, rel=1e-6)


def test_best_percentile_is_the_one_of_least_error():
    x = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(1)).double()
    x[0, 0] = 60.0
    found, losses = {}, {}
    for p in ("99.9", "99.99", "99.999"):
        params = ranged(f"percentile({p})", [x])
        y = params.format.dequantize(params.format.quantize(x.numpy(), params.scale), params.scale)
        found[p], losses[p] = params.scale, ((x.numpy() - y) ** 2).sum()
    assert ranged("percentile('best')", [x]).scale == found[min(losses, key=lambda p: losses[p])]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("x", [[2.5], [-1.0, -3.0], [7.0] * 9, [1e-42, -3e-42], [3e38]])
def test_odd_tensors_have_a_usable_scale(name, x):
    params = ranged(name, [torch.tensor(x)])
    assert np.isfinite(params.scale)
    assert params.scale > 0
    params.format.quantize(np.array(x, np.float32), params.scale)


@pytest.mark.parametrize("name", NAMES)
def test_zeros_give_scale_1_and_a_warning(name):
    with pytest.warns(QuantizerWarning, match=r"conv1\.out: all values are zero \(or none is positive\)"):
        assert ranged(name, [torch.zeros(2, 3)]).scale == 1
    with pytest.warns(QuantizerWarning, match=r"in 1 of 2 channels; the scale is set to 1"):
        params = ranged(name, [torch.tensor([[0.0, 0.0], [1.0, 2.0]])], "INT4/channel", axis=0)
    assert params.scale[0] == 1
    assert params.zero_point.tolist() == [0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_not_finite(name):
    found = parse_calibrator(name).make("layer1.conv")
    found.update(torch.ones(3, 2))
    x = torch.ones(4, 2)
    x[2, 1] = float("inf")
    text = r"layer1\.conv: image 5 has 1 NaN or infinite values; remove the image, or mend the network"
    with pytest.raises(CalibrationError, match=text):
        found.update(x)


@pytest.mark.parametrize("name", NAMES)
def test_refusals(name):
    tensor_format = parse_tensor_format("INT4")
    with pytest.raises(CalibrationError, match=r"x: no values were seen; run calibration images through it"):
        parse_calibrator(name).make("x").range(tensor_format)
    found = parse_calibrator(name).make("x", axis=1)
    found.update(torch.ones(2, 3))
    with pytest.raises(CalibrationError, match=r"x: the calibrator saw the channels of axis 1, but INT4 has"):
        found.range(tensor_format)
    with pytest.raises(CalibrationError, match=r"x: had 3 channels along axis 1, now 4"):
        found.update(torch.ones(2, 4))
    with pytest.raises(
        CalibrationError, match=r"x: calibration needs floating-point values, not torch.int64"
    ):
        found.update(torch.ones(2, 3, dtype=torch.int64))
    with pytest.raises(CalibrationError, match=r"x: has no axis 3 in a tensor of shape \(2, 4\)"):
        parse_calibrator(name).make("x", axis=3).update(torch.ones(2, 4))


def test_formats_whose_scale_no_data_decides():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in NAMES:
            assert ranged(name, [laplace(50)], "MOONS4").scale == 0.125
            assert ranged(name, [laplace(50)], "FLOAT32").scale == 1
            scale = float(ranged(name, [laplace(50)], "SVA1").scale)
            assert np.frexp(scale)[0] == 0.5
    with pytest.raises(CalibrationError, match=r"MXINT8: blocks choose their own scale"):
        ranged("minmax", [laplace(50)], "MXINT8")


def test_names_round_trip():
    for name, parameters in CALIBRATORS.items():
        spec = parse_calibrator(name)
        assert spec.values == tuple(default for _, default in parameters)
        assert parse_calibrator(str(spec)) == spec
    assert str(parse_calibrator("MSE(power=3, steps=10)")) == "mse(3, 10)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mes(2.4)", "unknown calibrator 'mes', did you mean 'mse'? There are: minmax, moving_average, "),
        ("mse 2.4", "a calibrator is a name with values such as 'mse(2.4)', not 'mse 2.4'"),
        ("minmax(3)", "'minmax(3)': minmax takes 0 values, none at all; not 1"),
        ("mse(2.4, 80, 1)", "'mse(2.4, 80, 1)': mse takes 2 values, power, steps; not 3"),
        ("mse(p=2)", "'mse(p=2)': mse has no 'p', only power, steps"),
        ("mse(x)", "'mse(x)': power must be 0.1 .. 16; not 'x'"),
        ("mse(2.4, 2.5)", "'mse(2.4, 2.5)': steps must be a whole number, 1 .. 99; not '2.5'"),
        ("percentile(101)", "'percentile(101)': p must be 50 < p <= 100, or best; not '101'"),
        ("entropy(33)", "'entropy(33)': bins must be an even whole number, 16 .. 65536; not '33'"),
        ("aciq(flat)", "'aciq(flat)': prior must be auto, laplace or gauss, not 'flat'"),
        ("moving_average(1)", "'moving_average(1)': m must be 0 <= m < 1; not '1'"),
    ],
)
def test_unreadable_names(text, message):
    with pytest.raises(CalibrationError) as error:
        parse_calibrator(text)
    assert message in str(error.value)
