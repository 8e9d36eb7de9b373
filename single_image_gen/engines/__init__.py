"""Parameters to pixels. Engines draw nothing and know nothing of seeds, indices or files.

An engine is a module with one function,

    render(source: Source, params: Params, recipe: Recipe) -> Pixels

that returns a contiguous (img_size, img_size, 3) uint8 RGB array.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from single_image_gen.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from single_image_gen.draw.params import Params
    from single_image_gen.photo.source import Pixels, Source
    from single_image_gen.recipe import Recipe

    Render = Callable[[Source, Params, Recipe], Pixels]

ENGINES = ("opencv", "torchvision")
DEFAULT_ENGINE = "opencv"


def check_engine(name: str) -> None:
    """Find out, before anything is written, whether an engine can be loaded.

    torch is looked for only: workers import it, which takes seconds. torchvision is imported, since
    beside a torch that it was not built for it is there and fails.

    Raises:
        EngineError: as `load_engine`.
    """
    try:
        import_module("cv2")  # every engine's images are encoded by it
        if find_spec("torch") is None:
            raise ModuleNotFoundError("No module named 'torch'")
    except (ImportError, OSError) as error:
        raise _engine_error(name, error) from error
    if name == "torchvision":
        load_engine(name)


def load_engine(name: str) -> Render:
    """The render function of an engine.

    Raises:
        EngineError: a library that it needs is missing or broken.
    """
    try:
        module = import_module(f"single_image_gen.engines.{name}")
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        # beside a torch that it was not built for, torchvision raises RuntimeError as well
        raise _engine_error(name, error) from error
    render: Render = module.render
    return render


def _engine_error(name: str, error: Exception) -> EngineError:
    reason = " ".join(str(error).split())
    if "failed to map segment" in reason or "cannot allocate memory" in reason.lower():
        return EngineError(
            f"the {name} engine cannot be loaded ({reason}): raise the limit of memory (ulimit -v)"
        )
    libraries = "torch torchvision" if name == "torchvision" else "torch opencv-python-headless"
    return EngineError(
        f"the {name} engine cannot be loaded ({reason}): "
        f"pip install --upgrade {libraries} brings versions that belong together"
    )
