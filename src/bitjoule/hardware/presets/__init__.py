"""The shipped hardware descriptions, as YAML."""

__all__: list[str] = []
