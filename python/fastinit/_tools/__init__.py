"""The commands of ``python -m fastinit``, which ``import fastinit`` does not import."""

__all__: list[str] = []
