"""The three methods by name."""

from typing import Any

from .base import Method, Settings
from .deepcluster import DeepCluster
from .monogan import MonoGAN
from .rotnet import RotNet

METHODS: dict[str, type[Method]] = {
    "rotnet": RotNet,
    "deepcluster": DeepCluster,
    "monogan": MonoGAN,
}


def settings_of(method: str, given: dict[str, Any]) -> Settings:
    """The settings of a run; what is None is the method's default."""
    chosen = {name: value for name, value in given.items() if value is not None}
    return Settings(method=method, **{**METHODS[method].defaults, **chosen})


__all__ = ["METHODS", "Method", "Settings", "settings_of"]
