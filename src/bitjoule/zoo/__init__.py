"""Networks and data: every network takes `width=`, every dataset says how it was split and hashed."""

from bitjoule.zoo.bireal import bireal18, bireal20, reactnet18, reactnet20
from bitjoule.zoo.cnv import cnv
from bitjoule.zoo.data import DataError, Dataset, Preprocessing, Split, batches, data_card, load_dataset
from bitjoule.zoo.ds_cnn import ds_cnn
from bitjoule.zoo.mlp import lfc, sfc, tfc
from bitjoule.zoo.mobilenet import mobilenet_v1, mobilenet_v2, mobilenet_v2_cifar
from bitjoule.zoo.moons import moons
from bitjoule.zoo.registry import NetworkCard, build, input_shape, network_card, networks
from bitjoule.zoo.resnet import resnet18, resnet20, resnet32, resnet56
from bitjoule.zoo.resnet8 import resnet8
from bitjoule.zoo.weights import WeightsError, load_weights
from bitjoule.zoo.width import scaled

__all__ = [
    "DataError",
    "Dataset",
    "NetworkCard",
    "Preprocessing",
    "Split",
    "WeightsError",
    "batches",
    "bireal18",
    "bireal20",
    "build",
    "cnv",
    "data_card",
    "ds_cnn",
    "input_shape",
    "lfc",
    "load_dataset",
    "load_weights",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v2_cifar",
    "moons",
    "network_card",
    "networks",
    "reactnet18",
    "reactnet20",
    "resnet8",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet56",
    "scaled",
    "sfc",
    "tfc",
]
