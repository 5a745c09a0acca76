"""Named recipes and where each comes from (training.md sections 4.1 and 4.2).

`PRESETS` has our own defaults and budgets, `PUBLISHED` those of papers and public code. What a Recipe cannot
say of a published training (input normalization, augmentation of ImageNet, first weights, teachers) stands in
`SOURCES`: give it with the data, the network or the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitjoule.train.recipe_fields import Recipe

__all__ = ["OWN", "PRESETS", "PUBLISHED", "QAT_DEFAULT", "SCHEME_PRESETS", "SOURCES"]

FLOAT_DEFAULT = Recipe(epochs=30, lr=0.1, weight_decay=5e-4, warmup=1.0)
QAT_DEFAULT = Recipe(epochs=5, lr=0.01, weight_decay=1e-4, ema=0.999, freeze_batch_norm=0.2)
MOONS2017 = Recipe(
    epochs=100,
    batch=64,
    optimizer="adam",
    lr=0.01,
    lr_batch=None,
    weight_decay=0.0,
    schedule="moons2017",
    loss="squared_hinge",
    clip_norm=None,
    mirrored_copy=True,
    glorot_lr=True,
)
MOONS_DEFAULT = replace(
    MOONS2017, epochs=30, schedule="cosine", loss="cross_entropy", mirrored_copy=False, clip_norm=5.0
)
GPU = Recipe(
    epochs=60,
    batch=512,
    lr=0.4,
    lr_batch=None,
    weight_decay=5e-4,
    schedule="onecycle",
    augment="crop-flip",
    bf16=True,
)

OWN: Mapping[str, Recipe] = {
    "float_default": FLOAT_DEFAULT,
    "qat_default": QAT_DEFAULT,
    "qat_narrow": replace(QAT_DEFAULT, lr=0.05),
    "qat_2bit": replace(QAT_DEFAULT, lr=0.1),
    "binary_default": replace(
        QAT_DEFAULT, optimizer="adam", lr=1e-3, lr_batch=None, weight_decay=0.0, ema=None, epochs=20
    ),
    "moons_default": MOONS_DEFAULT,
    "smoke": Recipe(epochs=1, batch=50, optimizer="adam", lr=1e-2, lr_batch=None, weight_decay=0.0),
    "cpu": replace(FLOAT_DEFAULT, epochs=8),
    "cpu_qat": replace(QAT_DEFAULT, epochs=4, ema=None),
    "gpu": GPU,
    "gpu_qat": replace(QAT_DEFAULT, epochs=20, batch=512, lr=0.05, augment="crop-flip", bf16=True),
    "tqt": replace(QAT_DEFAULT, threshold_lr=0.01),
}
"""Our own: defaults of schemes, and budgets of machines."""

APOT_CIFAR = Recipe(
    epochs=300,
    lr=0.1,
    lr_batch=None,
    nesterov=False,
    weight_decay=5e-4,
    schedule="step",
    clip_norm=None,
    augment="crop-flip",
)
APOT_CIFAR_4BIT = replace(
    APOT_CIFAR,
    lr=0.04,
    weight_decay=1e-4,
    weight_quantizer_lr=0.02,
    activation_quantizer_lr=0.1,
    quantizer_decay=1e-4,
)
MBV2_OSC = Recipe(
    epochs=20,
    lr=0.0033,
    lr_batch=None,
    nesterov=False,
    weight_decay=2.5e-5,
    clip_norm=None,
    quantizer_optimizer="adam",
    weight_quantizer_lr=1e-5,
    activation_quantizer_lr=1e-5,
    quantizer_decay=0.0,
)
REACTNET18 = Recipe(
    epochs=256,
    batch=512,
    optimizer="adam",
    lr=2.5e-3,
    lr_batch=None,
    weight_decay=0.0,
    schedule="linear",
    clip_norm=None,
)
BNN_PYNQ = Recipe(
    epochs=500,
    batch=100,
    optimizer="adam",
    lr=0.02,
    lr_batch=None,
    weight_decay=0.0,
    schedule="constant",
    loss="squared_hinge",
    clip_norm=None,
)

PUBLISHED: Mapping[str, Recipe] = {
    "moons2017": MOONS2017,
    "apot_cifar": APOT_CIFAR,
    "apot_cifar_4bit": APOT_CIFAR_4BIT,
    "apot_cifar_3bit": APOT_CIFAR_4BIT,
    "apot_cifar_2bit": replace(APOT_CIFAR_4BIT, weight_decay=3e-5),
    "lsq_imagenet": Recipe(
        epochs=90, batch=512, lr=0.01, lr_batch=None, nesterov=False, weight_decay=1e-4, clip_norm=None
    ),
    "mbv2_osc": MBV2_OSC,
    "mbv2_osc_freeze": replace(MBV2_OSC, weight_decay=5e-5),
    "mbv2_osc_3bit": replace(MBV2_OSC, lr=0.01),
    "reactnet18": REACTNET18,
    "bireal18": replace(REACTNET18, lr=1e-3),
    "bnn_pynq": BNN_PYNQ,
    "bnn_pynq_1w1a": replace(BNN_PYNQ, epochs=1000),
}
"""Those of papers and public code."""

PRESETS: Mapping[str, Recipe] = {**OWN, **PUBLISHED}
"""Recipes by name."""

SCHEME_PRESETS = ("float_default", "moons_default", "binary_default", "qat_default", "qat_narrow", "qat_2bit")
"""The presets that `scheme_recipe` chooses from."""

APOT_CODE = (
    "yhhhli/APoT_Quantization, CIFAR10/main.py, published code; not in it: data normalized by mean "
    ".491 .482 .447 and deviation .247 .243 .262; methods apot, weights with detach_stats"
)
OSC_CODE = (
    "Qualcomm-AI-research/oscillations-qat, published code; quantizers start at their MSE range there, at "
    "that of their method here; epochs [assumed]"
)
REACT_CODE = "liuzechun/ReActNet and liuzechun/Bi-Real-net, published code"

SOURCES: Mapping[str, str] = {
    "float_default": "own; rate and decay of the fp32 nets in yhhhli/APoT_Quantization",
    "qat_default": "own; from a trained float network, 8 bits and more",
    "qat_narrow": "own; 3 to 7 bits, checked in docs/training.md",
    "qat_2bit": "own; 2 bits, checked in docs/training.md",
    "binary_default": "own; Adam as in most binary-network papers",
    "moons_default": "own; moons2017 for tens of epochs: cross-entropy learns faster than the squared hinge",
    "smoke": "own; a minute on two cores",
    "cpu": "own; minutes on two cores, float32",
    "cpu_qat": "own; minutes on two cores, quantized after `cpu`",
    "gpu": "own; ten minutes on one GPU, float32",
    "gpu_qat": "own; quantized after `gpu`, 3 to 7 bits; lr=0.01 for 8 bits, 0.1 for 2",
    "tqt": "own, with the Adam of the thresholds of Jain 2020 (arXiv 1903.08066); its schedule [assumed]",
    "moons2017": "BertMoons/QuantizedNeuralNetworks-Keras-Tensorflow, published code",
    "apot_cifar": f"{APOT_CODE}; this one float32",
    "apot_cifar_4bit": f"{APOT_CODE}; start from apot_cifar",
    "apot_cifar_3bit": f"{APOT_CODE}; start from apot_cifar_4bit",
    "apot_cifar_2bit": f"{APOT_CODE}; start from apot_cifar_3bit",
    "lsq_imagenet": "hustzxd/LSQuantization, published code; from float32; not in it: crops of ImageNet",
    "mbv2_osc": f"{OSC_CODE}; 4 bits, from float32",
    "mbv2_osc_freeze": f"{OSC_CODE}; 4 bits with freeze_oscillations",
    "mbv2_osc_3bit": f"{OSC_CODE}; 3 bits",
    "reactnet18": (
        f"{REACT_CODE}; train as w1a1+two_stage+teacher, 128 epochs a stage, decay 1e-5 and 0; not in it: "
        "the ResNet-34 that teaches (give it as teacher), crops from scale .08, lighting .1, first weights "
        "U(0,1)/1000"
    ),
    "bireal18": f"{REACT_CODE}; not in it: crops of ImageNet",
    "bnn_pynq": (
        "Xilinx/brevitas, bnn_pynq, published code; not in it: dropout .2 (an option of tfc, sfc and lfc), "
        "first weights U(-1,1); latent weights are clipped to [-1, 1] by their quantizer"
    ),
    "bnn_pynq_1w1a": "Xilinx/brevitas, bnn_pynq with one-bit weights and activations, published code",
}
"""Where each preset comes from, and what it cannot say."""
