"""The network as its training under a scheme begins, for every way to train."""

from __future__ import annotations

from bitjoule.network import Network
from bitjoule.scheme import Scheme
from bitjoule.train.qat import QatConfig, moons_initialize, prepare_qat, uses_moons
from bitjoule.zoo.data import Dataset, Preprocessing

__all__ = ["image_signed", "quantized_for", "start_of"]


def image_signed(preprocessing: Preprocessing) -> bool:
    """Whether a network sees negative inputs."""
    return preprocessing.kind != "unit"


def quantized_for(
    net: Network,
    scheme: Scheme | str,
    data: Dataset,
    config: QatConfig | None = None,
    *,
    real_weights: bool = False,
) -> Network:
    """`prepare_qat` with what the data say of the input: its sign, and its exact scale where there is one."""
    return prepare_qat(
        net,
        scheme,
        config,
        input_scale=data.preprocessing.input_scale,
        image_signed=image_signed(data.preprocessing),
        real_weights=real_weights,
    )


def start_of(
    net: Network,
    scheme: Scheme | str,
    data: Dataset,
    seed: int,
    config: QatConfig | None = None,
    *,
    real_weights: bool = False,
) -> Network:
    """`quantized_for`, with weights of Moons' formats, whose scale is fixed, drawn anew from U(-1, 1)."""
    prepared = quantized_for(net, scheme, data, config, real_weights=real_weights)
    if uses_moons(prepared):
        moons_initialize(prepared, seed)
    return prepared
