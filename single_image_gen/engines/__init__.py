"""Parameters to pixels. Engines draw nothing and know nothing of seeds, indices or files.

An engine is a module with one function,

    render(source: Source, params: Params, recipe: Recipe) -> Pixels

that returns a contiguous (img_size, img_size, 3) uint8 RGB array.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from single_image_gen.params import Params
    from single_image_gen.recipe import Recipe
    from single_image_gen.source import Pixels, Source

    Render = Callable[[Source, Params, Recipe], Pixels]

ENGINES = ("torchvision",)
DEFAULT_ENGINE = "torchvision"


class EngineError(Exception):
    """The libraries that an engine needs cannot be imported; the message says how to mend it."""


def load_engine(name: str) -> Render:
    """The render function of an engine.

    Raises:
        EngineError: a library that it needs is missing or broken.
    """
    try:
        module = import_module(f"single_image_gen.engines.{name}")
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        # beside a torch that it was not built for, torchvision raises RuntimeError as well
        reason = " ".join(str(error).split())
        libraries = "torch torchvision" if name == "torchvision" else "torch opencv-python-headless"
        raise EngineError(
            f"the {name} engine cannot be loaded ({reason}): "
            f"pip install --upgrade {libraries} brings versions that belong together"
        ) from error
    render: Render = module.render
    return render
