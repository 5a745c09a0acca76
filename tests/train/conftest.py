"""Small data and networks that every training test starts from."""

import pytest
import torch

from bitjoule import zoo
from bitjoule.network import Network, capture


@pytest.fixture(autouse=True)
def one_thread():
    """Tests run beside each other; more threads than cores only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits() -> zoo.Dataset:
    return zoo.load_dataset("digits")


@pytest.fixture(scope="session")
def few() -> zoo.Dataset:
    """400 training and 144 validation images."""
    return zoo.load_dataset("digits", limit_train=400)


MLP_OPTIONS = {"inputs": 64, "dropout": 0.1, "width": 0.5}


@pytest.fixture(scope="session")
def _mlp() -> Network:
    return capture(zoo.build("tfc", MLP_OPTIONS, 0), input_shape=(1, 1, 8, 8), name="tfc")


@pytest.fixture
def mlp(_mlp: Network) -> Network:
    """TFC of 32 neurons with dropout."""
    return _mlp.clone()


@pytest.fixture(scope="session")
def _conv() -> Network:
    options = {"depths": (1, 1), "filters": (8, 16), "in_channels": 1, "image_size": 8}
    return capture(zoo.build("moons", options, 0), input_shape=(1, 1, 8, 8), name="moons")


@pytest.fixture
def conv(_conv: Network) -> Network:
    """Two convolutions with batch norm, and a classifier."""
    return _conv.clone()


@pytest.fixture(scope="session")
def _residual() -> Network:
    options = {"in_channels": 1, "image_size": 8, "width": 0.5}
    return capture(zoo.build("resnet8", options, 0), input_shape=(1, 1, 8, 8), name="resnet8")


@pytest.fixture
def residual(_residual: Network) -> Network:
    """ResNet-8 at half width."""
    return _residual.clone()
