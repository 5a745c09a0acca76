"""TensorFlow's "same" padding, as explicit zeros before and after (networks that come from Keras need it)."""

__all__ = ["same_padding"]


def same_padding(size: tuple[int, int], kernel: tuple[int, int], stride: int) -> tuple[int, int, int, int]:
    """Return (left, right, top, bottom) for an input of (rows, columns), the order of `nn.ZeroPad2d`.

    Outputs are ceil(n / stride); the zeros that needs are split in half, the odd one behind.

    >>> same_padding((32, 32), (3, 3), 2), same_padding((49, 10), (10, 4), 2)
    ((0, 1, 0, 1), (1, 1, 4, 5))
    """
    top, bottom = one_side(size[0], kernel[0], stride)
    left, right = one_side(size[1], kernel[1], stride)
    return left, right, top, bottom


def one_side(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return (before, after) along one axis."""
    outputs = -(-size // stride)
    total = max(0, (outputs - 1) * stride + kernel - size)
    return total // 2, total - total // 2
