"""Parameters to pixels. Engines draw no random numbers and know no seeds, indices or files.

An engine is a module with one function, `render` (see `Render`).

- `torchvision` is the reference: stock torchvision operations, which define the correct result.
- `native` is the default, in C: many times faster, and the same bytes on every machine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from single_image_gen.engines.native.library import load_library
from single_image_gen.errors import EngineError, UsageError, notify
from single_image_gen.recipe import ENGINES

if TYPE_CHECKING:
    from single_image_gen.draw.params import Params
    from single_image_gen.photo.source import Source
    from single_image_gen.photo.srgb import Pixels
    from single_image_gen.recipe import Recipe


class Render(Protocol):
    """An engine's function."""

    def __call__(
        self, source: Source, params: Params, recipe: Recipe, *, bgr: bool = False
    ) -> Pixels:
        """One image: contiguous (img_size, img_size, 3) uint8, RGB, or BGR for OpenCV's encoder."""


def choose_engine(name: str | None) -> str:
    """`name`, or by default the native engine, or the reference where that cannot be loaded.

    Raises:
        UsageError: there is no engine of this name.
        EngineError: the engine cannot be loaded.
    """
    if name is not None and name not in ENGINES:
        raise UsageError(f"engine must be one of {', '.join(ENGINES)}, got {name!r}")
    if name is not None:
        load_engine(name)
        return name
    native, reference = ENGINES
    try:
        load_engine(native)
    except EngineError as error:
        try:
            load_engine(reference)
        except EngineError:
            raise EngineError(
                f"{error}; or use the reference engine, which is slower: pip install "
                "'single-image-gen[torch]'"
            ) from None
        notify(f"{error}; the reference engine is used, which is slower")
        return reference
    return native


def load_engine(name: str) -> Render:
    """The render function of an engine.

    Raises:
        EngineError: a library that it needs is missing or broken.
    """
    try:
        module = import_module(f"single_image_gen.engines.{name}")
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        # torchvision beside a torch that it was not built for raises RuntimeError or AttributeError
        reason = " ".join(str(error).split())
        remedy = "install matching versions with pip install --upgrade torch torchvision"
        if "failed to map segment" in reason or "cannot allocate memory" in reason.lower():
            remedy = "raise the limit of memory (ulimit -v)"
        raise EngineError(f"the {name} engine cannot be loaded ({reason}): {remedy}") from error
    if name == "native":
        load_library()
    render: Render = module.render
    return render
