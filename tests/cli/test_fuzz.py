"""Any flags with any small picture: the dataset that was asked for, or one line and exit 2.

SINGLE_IMAGE_GEN_FUZZ_SECONDS says for how long; without it a minute in CI and 15 seconds elsewhere.

    SINGLE_IMAGE_GEN_FUZZ_SECONDS=3600 pytest tests/cli/test_fuzz.py
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import tempfile
import time
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from conftest import images_below
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from single_image_gen.cli.main import main

T = TypeVar("T")
SECONDS = float(
    os.environ.get("SINGLE_IMAGE_GEN_FUZZ_SECONDS", "60" if os.environ.get("CI") else "15")
)
# A case takes a few milliseconds, or some ten: the clock ends the test, not this number.
settings.register_profile(
    "fuzz",
    deadline=None,
    max_examples=10**7,
    database=None,
    # the clock below decides when to stop, and a slow machine is no fault
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)

# Mostly what is in range, sometimes what is not, sometimes no number at all.
ODD = st.sampled_from(
    ["nan", "inf", "-inf", "-1", "0", "1e308", "5e-324", "-0.0", "", "x", "9" * 40]
)


def mostly(usual: st.SearchStrategy[T], rare: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """One in 15 is of the rare ones."""
    return st.integers(0, 14).flatmap(lambda k: rare if k == 7 else usual)


def number(low: float, high: float) -> st.SearchStrategy[str]:
    usual = st.floats(low, high, allow_subnormal=False).map(repr)
    edge = st.sampled_from([low, high, math.nextafter(low, -1), math.nextafter(high, 1e9)]).map(
        repr
    )
    return mostly(usual, st.one_of(edge, ODD))


def whole(low: int, high: int) -> st.SearchStrategy[str]:
    return mostly(st.integers(low, high).map(str), ODD)


def pair(low: float, high: float, *, down: bool) -> st.SearchStrategy[tuple[str, str]]:
    # as even over orders of magnitude as their use is
    value = st.floats(math.log(low), math.log(high)).map(math.exp)
    ordered = st.tuples(value, value).map(lambda two: tuple(map(repr, sorted(two, reverse=down))))
    return mostly(ordered, st.tuples(number(low, high), number(low, high)))


def switch(name: str) -> st.SearchStrategy[list[str]]:
    return st.sampled_from([[f"--{name}"], [f"--no-{name}"]])


def with_flag(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return values.map(lambda value: [f"--{name}={value}"])


FLAGS: list[st.SearchStrategy[list[str]]] = [
    with_flag("recipe", st.sampled_from(["script", "paper"])),
    with_flag("engine", st.sampled_from(["native", "torchvision"])),
    with_flag("format", st.sampled_from(["folder", "webdataset"])),
    with_flag("deg", number(0, 180)),
    with_flag("shear", number(0, 89.9)),
    with_flag("initcrop", number(0.01, 1)),
    with_flag("jitter", number(0, 1)),
    with_flag("brightness", number(0, 1000)),
    with_flag("contrast", number(0, 2)),
    with_flag("saturation", number(0, 2)),
    with_flag("hue", number(0, 0.5)),
    with_flag("quality", whole(1, 100)),
    with_flag("seed", whole(0, 2**64 - 1)),
    with_flag("batch_size", whole(1, 9)),
    with_flag("max_pixels", st.one_of(whole(10**6, 10**10), whole(1, 4000))),
    with_flag("shard", st.sampled_from(["0/1", "none", "auto", "1/1", "-1/2", "x"])),
    pair(1, 1e9, down=True).map(lambda two: ["--scale", *two]),
    pair(1, 20, down=True).map(lambda two: ["--scale", *two]),
    pair(1e-6, 1e6, down=False).map(lambda two: ["--ratio", *two]),
    pair(0.2, 5, down=False).map(lambda two: ["--ratio", *two]),
    *(switch(name) for name in ("cropfirst", "hflip", "vflip")),
    st.just(["--randinterp"]),
    st.sampled_from(["0", "10", "999", "-1"]).map(lambda value: ["--min_gradient", value]),
    st.just(["--include_sources"]),
    st.just(["--durable"]),
    st.just(["--overwrite"]),
    st.just(["--accept_versions"]),
]
SIDE = mostly(st.integers(2, 60), st.sampled_from([1, 2, 3, 255, 1000]))
MODES = ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"]


# What may be said beside the error.
NOTICE = re.compile(r"single-image-gen: (warning:|notice:|shard \d)")


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    """An image file: its size, kind of pixels, format and content drawn."""
    mode, size = draw(st.sampled_from(MODES)), (draw(SIDE), draw(SIDE))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    flat = draw(st.booleans())
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, size[::-1], np.uint16))
    else:
        noise = np.zeros if flat else lambda shape, kind: rng.integers(0, 256, shape, kind)
        image = Image.fromarray(noise((*size[::-1], 3), np.uint8)).convert(
            {"LA": "RGBA"}.get(mode, mode)
        )
        if mode == "LA":
            image = image.convert("LA")
    kinds = {"CMYK": ["JPEG", "TIFF"], "I;16": ["PNG", "TIFF"]}.get(mode, ["PNG", "TIFF"])
    kinds = [*kinds, *(["JPEG", "BMP", "WEBP", "PPM"] if mode in ("RGB", "L") else [])]
    file = io.BytesIO()
    image.save(file, draw(st.sampled_from(kinds)))
    data = file.getvalue()
    if draw(st.integers(0, 24)) == 7:  # sometimes damaged
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + draw(st.integers(0, 4)) :]
    return data


CASES = st.tuples(
    st.lists(pictures(), min_size=1, max_size=3),
    whole(1, 20),
    whole(1, 40),
    st.lists(st.one_of(FLAGS), max_size=5).map(lambda chosen: [x for flag in chosen for x in flag]),
)


@pytest.mark.filterwarnings("default")
def test_any_flags_with_any_picture_give_the_dataset_or_one_line() -> None:
    end = [time.monotonic() + SECONDS]
    codes = {0: 0, 2: 0}

    @settings(settings.get_profile("fuzz"))
    @given(CASES)
    def fuzz(case: tuple[list[bytes], str, str, list[str]]) -> None:
        if time.monotonic() > end[0]:
            raise _TimeIsUp
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            try:
                codes[check(Path(folder), *case)] += 1
            except BaseException:
                end[0] = math.inf  # a fault was found: now hypothesis makes the case small
                raise

    with contextlib.suppress(_TimeIsUp):
        fuzz()
    print(f"fuzzed for {SECONDS:g} s: {codes[0]} datasets, {codes[2]} refusals")
    # both ways were gone often enough to mean something
    assert codes[0] >= max(10, min(20, SECONDS / 3))
    assert codes[2] >= max(10, min(20, SECONDS / 3))


class _TimeIsUp(BaseException):
    """No Exception, so that it is not taken for a failure and shrunk."""


def check(folder: Path, files: list[bytes], num_imgs: str, img_size: str, flags: list[str]) -> int:
    """Run the program and see that it keeps its word; its exit code."""
    source, target = folder / "in", folder / "out"
    source.mkdir()
    for k, data in enumerate(files):
        (source / f"{k}.png").write_bytes(data)
    argv = ["--imgpath", str(source), "--targetpath", str(target), "--threads", "1"]
    argv += [f"--num_imgs={num_imgs}", f"--img_size={img_size}", *flags]
    out, err = io.StringIO(), io.StringIO()
    began = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(argv)
    assert time.process_time() - began < 20, argv
    assert code in (0, 2), (argv, err.getvalue())
    if code == 2:
        lines = [line for line in err.getvalue().splitlines() if not NOTICE.match(line)]
        assert len(lines) == 1, (argv, err.getvalue())
        assert lines[0].startswith("single-image-gen: error: ")
        assert out.getvalue() == ""
        assert not target.exists(), argv
        return code
    assert_dataset(target, int(num_imgs), int(img_size))
    return code


def assert_dataset(target: Path, num_imgs: int, img_size: int) -> None:
    """Exactly the images that were asked for, each of them whole."""
    files = images_below(target)
    if list(target.glob("*.tar")):
        assert files == []
        assert main(["verify", str(target), "--json"]) == 0
        return
    assert sorted(int(file.stem.removeprefix("patch_")) for file in files) == list(range(num_imgs))
    for file in files:
        with Image.open(file) as image:
            assert image.format == "JPEG"
            assert image.mode == "RGB"
            assert image.size == (img_size, img_size)
            image.load()
    assert not (target / ".single-image-gen").exists()
    assert (target / "preview.png").is_file()
