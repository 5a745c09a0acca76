"""The Eyeriss-like example design of mapping.md and its best known mapping of a 1x1 layer, by hand."""

from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.nest import LevelNest, Mapping
from bitjoule.mapping.problem import Problem

ALL = ("weights", "inputs", "outputs")


def spad(
    name: str, tensor: str, words: int, word_bits: int, read: float, write: float, leak: float
) -> StorageLevel:
    return StorageLevel(
        name,
        (tensor,),
        words=words,
        word_bits=word_bits,
        width_bits=16,
        read_pj=read,
        write_pj=write,
        leak_pj_per_cycle=leak,
        read_words_per_cycle=2,
        write_words_per_cycle=2,
    )


def eyeriss_like() -> Accelerator:
    """Levels and energies of the Accelergy example design (energy.md 4.2, `eyeriss-timeloop`)."""
    return Accelerator(
        "eyeriss_like",
        (
            spad("psum_spad", "outputs", 16, 16, 0.2513, 0.2191, 0.000134),
            spad("weights_spad", "weights", 384, 8, 1.976602, 1.881657, 0.001592),
            spad("ifmap_spad", "inputs", 24, 8, 0.202442, 0.176713, 0.000101),
            StorageLevel("inter_PE_spatial", (), y=Axis(12)),
            StorageLevel("inter_PE_column_spatial", (), x=Axis(14)),
            StorageLevel(
                "shared_glb",
                ("inputs", "outputs"),
                words=131072,
                word_bits=8,
                width_bits=64,
                read_pj=18.183829,
                write_pj=14.137929,
                leak_pj_per_cycle=0.005652,
                read_words_per_cycle=16,
                write_words_per_cycle=16,
            ),
            StorageLevel("DRAM", ALL, word_bits=8, width_bits=64, read_pj=512, write_pj=512),
        ),
        mac_count=168,
    )


def pointwise(
    weights: int | None = None, inputs: int | None = None, outputs: int | None = None, psum: int | None = None
) -> Problem:
    """96 -> 24 channels at 56 x 56, at the given bits."""
    return Problem(
        "L1",
        (1, 1, 24, 96, 56, 56, 1, 1),
        weight_bits=weights,
        input_bits=inputs,
        output_bits=outputs,
        psum_bits=psum,
        mac_pj=0.207692,
    )


def best() -> Mapping:
    """Case `eye-L1-best` (mapping.md 2.1, example 4)."""
    return Mapping(
        (
            LevelNest("psum_spad", ("outputs",), (("K", 3),)),
            LevelNest("weights_spad", ("weights",), (("C", 12),)),
            LevelNest("ifmap_spad", ("inputs",)),
            LevelNest("inter_PE_spatial", (), y=(("K", 8),)),
            LevelNest("inter_PE_column_spatial", (), x=(("Q", 14),)),
            LevelNest("shared_glb", ("inputs", "outputs"), (("P", 8), ("C", 8))),
            LevelNest("DRAM", ALL, (("P", 7), ("Q", 4))),
        )
    )
