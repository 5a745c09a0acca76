"""Memory that ends: smaller batches, then an error that names the layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.train.ptq import PtqError, ptq
from bitjoule.train.ptq import trace as trace_module
from bitjoule.train.ptq.memory import is_out_of_memory


def limited(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Every node of the graph fails on more than `most` images; the sizes of the batches tried."""
    run, sizes = trace_module.run_node, []

    def narrow(module, node, args, kwargs):  # type: ignore[no-untyped-def]
        images = len(args[0]) if args and isinstance(args[0], Tensor) and args[0].dim() == 4 else 0
        if node.op == "call_function" and node.name.startswith("relu"):
            sizes.append(images)
            if images > most:
                raise RuntimeError(
                    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
                )
        return run(module, node, args, kwargs)

    monkeypatch.setattr(trace_module, "run_node", narrow)
    return sizes


def test_batches_are_halved(tiny: Network, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ptq(tiny, images, "w8a8")
    sizes = limited(monkeypatch, 16)
    said: list[str] = []
    found = ptq(tiny, images, "w8a8", progress=said.append)
    assert sizes[:3] == [64, 32, 16]
    assert "out of memory: again in batches of 16" in said
    with torch.no_grad():
        assert torch.allclose(found(images), whole(images), atol=1e-4)


def test_one_image_that_does_not_fit_names_the_layer(
    tiny: Network, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 0)
    with pytest.raises(PtqError) as error:
        ptq(tiny, images, "w8a8")
    assert str(error.value) == (
        "ptq: out of memory at 'relu': its inputs alone take 0.0 MiB for a batch of 1; every activation is "
        "held for all images, so give fewer of them (calibration_count)"
    )


def test_other_errors_are_not_about_memory() -> None:
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(RuntimeError("shape mismatch"))
