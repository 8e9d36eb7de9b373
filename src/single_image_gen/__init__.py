"""One photograph in, a whole self-supervised-learning dataset out.

from single_image_gen import PAPER, SingleImageDataset, generate

generate("photo.jpg", "out", recipe=PAPER, num_imgs=50_000)     # files
dataset = SingleImageDataset(["photo.jpg"], recipe=PAPER)       # or without a disk
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from single_image_gen._version import __version__
from single_image_gen.recipe import PAPER, SCRIPT, Recipe

if TYPE_CHECKING:
    from single_image_gen.dataset.torch_dataset import SingleImageDataset
    from single_image_gen.make.generate import generate
    from single_image_gen.make.run import RunOptions
    from single_image_gen.workers import Workers

__all__ = [
    "PAPER",
    "SCRIPT",
    "Recipe",
    "RunOptions",
    "SingleImageDataset",
    "Workers",
    "__version__",
    "generate",
]

# Imported when first used, since they need numpy, OpenCV and more (PEP 562).
_LAZY = {
    "RunOptions": "single_image_gen.make.run",
    "SingleImageDataset": "single_image_gen.dataset.torch_dataset",
    "Workers": "single_image_gen.workers",
    "generate": "single_image_gen.make.generate",
}


def __getattr__(name: str) -> Any:
    """Import a public name of `_LAZY`."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        message = f"{name} needs torch: pip install torch torchvision"
        raise ModuleNotFoundError(message, name="torch") from None
