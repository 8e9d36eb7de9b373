"""One photograph in, a whole self-supervised-learning dataset out.

from single_image_gen import PAPER, SingleImageDataset, generate

generate("photo.jpg", "out", recipe=PAPER, num_imgs=50_000)     # files
dataset = SingleImageDataset(["photo.jpg"], recipe=PAPER)       # or without a disk
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from single_image_gen._version import __version__
from single_image_gen.recipe import PAPER, SCRIPT, Recipe

if TYPE_CHECKING:
    from single_image_gen.dataset.torch_dataset import SingleImageDataset
    from single_image_gen.make.generate import generate

__all__ = ["PAPER", "SCRIPT", "Recipe", "SingleImageDataset", "__version__", "generate"]


def __getattr__(name: str) -> Any:
    """Import what needs torch, OpenCV or joblib only when it is asked for (PEP 562)."""
    if name == "SingleImageDataset":
        from single_image_gen.dataset.torch_dataset import SingleImageDataset  # noqa: PLC0415 - see above

        return SingleImageDataset
    if name == "generate":
        from single_image_gen.make.generate import generate  # noqa: PLC0415 - see above

        return generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
