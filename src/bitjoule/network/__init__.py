"""A model as a Network: capture, Formats on edges, batch-norm folding, quantizer insertion."""

from bitjoule.network.capture import CaptureError, capture
from bitjoule.network.fold import fold_batch_norm
from bitjoule.network.network import Network, NetworkError, apply_scheme, edges
from bitjoule.network.surgery import insert_quantizers

__all__ = [
    "CaptureError",
    "Network",
    "NetworkError",
    "apply_scheme",
    "capture",
    "edges",
    "fold_batch_norm",
    "insert_quantizers",
]
