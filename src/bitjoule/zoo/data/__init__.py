"""Datasets in memory: official file formats read without trust, splits that never mix, bytes to floats in
batches.
"""

from bitjoule.zoo.data.augment import AUGMENTATIONS, augmented
from bitjoule.zoo.data.batching import batches
from bitjoule.zoo.data.dataset import Dataset, Split, data_card, load_dataset
from bitjoule.zoo.data.layout import KINDS
from bitjoule.zoo.data.preprocessing import PREPROCESSING_KINDS, Preprocessing
from bitjoule.zoo.data.records import DataError

__all__ = [
    "AUGMENTATIONS",
    "KINDS",
    "PREPROCESSING_KINDS",
    "DataError",
    "Dataset",
    "Preprocessing",
    "Split",
    "augmented",
    "batches",
    "data_card",
    "load_dataset",
]
