"""Whatever is asked of the library, it reads and writes what it was given and nothing else."""

from __future__ import annotations

import ctypes
import dataclasses
import mmap
import random
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import source_of
from hypothesis import given, settings
from hypothesis import strategies as st
from native_cases import (
    SWEEP,
    build,
    mixed_params,
    packed,
    params,
    picture,
    replay,
    system_compiler,
    write_jobs,
)

from single_image_gen import PAPER, SCRIPT
from single_image_gen.draw.geometry import Box
from single_image_gen.engines import native
from single_image_gen.engines.native.levels import LevelTable
from single_image_gen.engines.native.library import BAD_JOB, BAD_SOURCE, OK, Level, load_library
from single_image_gen.engines.native.workspace import JOB, Workspace

if TYPE_CHECKING:
    from pathlib import Path

DOUBLES, INTEGERS = 6, 20  # of a job
NUMBERS = [0.0, -0.0, 1e-300, 0.5, -89.999999, 89.999999999, 90.0, 359.0, -361.0, 1e9, -1e300]
NUMBERS += [float("nan"), float("inf"), float("-inf")]
COUNTS = [0, 1, -1, 2, 3, 5, 15, 17, 255, 1000, 32767, 65536, 2**22, 2**22 + 1, 2**31 - 1, -(2**31)]
SIDE = DOUBLES + 9  # the field of the output's side, whose large values would only take long
MAX_SIDE = 300
PROT_NONE = 0  # of mprotect(2)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine under AddressSanitizer and UndefinedBehaviorSanitizer; any finding ends it."""
    program = tmp_path_factory.mktemp("sanitized") / "replay"
    flags = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    return build(system_compiler(), program, *flags)


def run(program: Path, jobs: Path) -> list[bytes]:
    """What the program writes with the fast and with the portable path."""
    written = [replay([program], jobs, path)[1] for path in ("fast", "portable")]
    assert written[0] == written[1]
    return written


@pytest.mark.parametrize(
    "size", [(700, 500), (65_500, 3), (3, 65_500), (5, 4), (1, 7), (7, 1), (1, 1)], ids=str
)
def test_sanitizers_find_nothing_in_drawn_parameters(sanitized: Path, tmp_path: Path, size):
    count = 400 if SWEEP else 40 if max(size) < 10_000 else 8
    jobs = []
    for recipe in (SCRIPT, PAPER):
        for made, side in mixed_params(size, recipe.recipe, count):
            jobs.append(packed(made, dataclasses.replace(recipe, img_size=side)))
    write_jobs(tmp_path / "jobs", picture(*size), jobs)
    assert all(run(sanitized, tmp_path / "jobs"))


@pytest.mark.parametrize("size", [(300, 200), (2, 2), (1, 50)], ids=str)
def test_sanitizers_find_nothing_in_hostile_parameters(sanitized: Path, tmp_path: Path, size):
    rng = random.Random(5)
    jobs = [hostile_job(rng, size) for _ in range(20_000 if SWEEP else 1000)]
    write_jobs(tmp_path / "jobs", picture(*size), jobs)
    refused = accepted = 0
    for written in run(sanitized, tmp_path / "jobs"):
        refused += written.count(struct.pack("i", BAD_JOB))
        accepted += len(written) > 4 * len(jobs)
    assert refused
    assert accepted


def hostile_job(rng: random.Random, size: tuple[int, int]) -> bytes:
    """A plausible job, some of whose fields are not."""
    recipe = rng.choice([SCRIPT, PAPER])
    ((made, side),) = rng.sample(mixed_params(size, recipe.recipe, 50), 1)
    fields = list(JOB.unpack(packed(made, dataclasses.replace(recipe, img_size=side))))
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        k = rng.randrange(len(fields))
        if k < DOUBLES:
            fields[k] = rng.choice([*NUMBERS, rng.uniform(-400, 400)])
        else:
            fields[k] = rng.choice([*COUNTS, rng.randrange(-400, 400)])
    if MAX_SIDE < fields[SIDE] <= 16384:
        fields[SIDE] = MAX_SIDE
    return JOB.pack(*fields)


class Guarded:
    """(height, width, 3) pixels that end where a page ends which must not be touched."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.height, self.width, _ = pixels.shape
        size = -(-pixels.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self.memory = mmap.mmap(-1, size + mmap.PAGESIZE)
        begin = size - pixels.nbytes
        self.memory[begin:size] = pixels.tobytes()
        base = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.address = base + begin
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.mprotect(ctypes.c_void_p(base + size), mmap.PAGESIZE, PROT_NONE) == 0


@pytest.mark.parametrize("portable", [False, True], ids=["fast", "portable"])
@pytest.mark.parametrize(
    "size", [(64, 48), (33, 21), (8, 8), (3, 3), (2, 2), (1, 1), (1, 9), (9, 1)], ids=str
)
def test_nothing_beyond_the_source_is_read(size: tuple[int, int], portable: bool):
    pixels = picture(*size)
    guarded = Guarded(pixels)
    workspace, levels = Workspace(portable=portable), (Level * 48)()
    levels[0] = Level(guarded.address, guarded.width, guarded.height)
    for recipe in (SCRIPT, PAPER):
        for made, side in mixed_params(size, recipe.recipe, 60):
            for corner in (made, at_the_end(made, size)):
                sized = dataclasses.replace(recipe, img_size=side)
                native.pack(workspace.job, corner, sized)
                out = np.empty((side, side, 3), np.uint8)
                args = (workspace.job_address, ctypes.addressof(levels), workspace.address)
                result = load_library().sig_render(*args, out.ctypes.data)
                # above 0: a level is wanted, which is no part of this
                assert result >= OK


def at_the_end(made: native.Params, size: tuple[int, int]) -> native.Params:
    """The same crop at the source's last pixel."""
    width, height = made.crop.width, made.crop.height
    crop = Box(size[0] - width, size[1] - height, width, height)
    return dataclasses.replace(made, crop=crop)


SOURCE = source_of(picture(90, 70))
numbers = st.floats(width=64) | st.floats(-100, 100) | st.sampled_from(NUMBERS)
counts = st.integers(-(2**31), 2**31 - 1) | st.integers(-3, 100) | st.sampled_from(COUNTS)


@settings(max_examples=3000 if SWEEP else 300, deadline=None)
@given(
    doubles=st.lists(numbers, min_size=6, max_size=6),
    integers=st.lists(counts, min_size=20, max_size=20),
)
def test_any_bytes_as_a_job_give_a_result(doubles: list[float], integers: list[int]):
    integers[9] = integers[9] if integers[9] > 16384 else min(integers[9], MAX_SIDE)
    side = max(0, min(integers[9], MAX_SIDE))
    assert call(JOB.pack(*doubles, *integers), side) in (OK, BAD_JOB, *range(1, 48))


def call(job: bytes, side: int) -> int:
    """The result for a job; what surrounds the image's memory must stay as it was."""
    workspace = Workspace(portable=False)
    workspace.job[:] = job
    room = np.full(3 * side * side + 128, 77, np.uint8)
    table = LevelTable({0: SOURCE.pixels})
    args = (workspace.job_address, table.address, workspace.address, room.ctypes.data + 64)
    result = load_library().sig_render(*args)
    assert (room[:64] == 77).all()
    assert (room[-64:] == 77).all()
    return result


def test_missing_pointers_and_impossible_sources_are_refused():
    workspace = Workspace(portable=False)
    library, job = load_library(), bytearray(packed(plain(), SCRIPT))
    job_at = ctypes.addressof(ctypes.c_char.from_buffer(job))
    room = np.empty((256, 256, 3), np.uint8)
    out = room.ctypes.data
    good = LevelTable({0: SOURCE.pixels})
    assert library.sig_render(job_at, good.address, workspace.address, out) == OK
    assert library.sig_render(None, good.address, workspace.address, out) == BAD_JOB
    assert library.sig_render(job_at, good.address, None, out) == BAD_JOB
    assert library.sig_render(job_at, good.address, workspace.address, None) == BAD_JOB
    assert library.sig_render(job_at, None, workspace.address, out) == BAD_SOURCE
    for width, height in ((0, 70), (90, 0), (-1, 70), (2**22 + 1, 1), (1, 2**31 - 1)):
        bad = LevelTable({0: SOURCE.pixels})
        bad.levels[0].width, bad.levels[0].height = width, height
        assert library.sig_render(job_at, bad.address, workspace.address, out) == BAD_SOURCE
    level = Level(SOURCE.pixels.ctypes.data, 90, 70)
    none = Level(None, 45, 35)
    assert library.sig_make_level(level, none, workspace.address) == BAD_SOURCE
    assert library.sig_make_level(none, level, workspace.address) == BAD_SOURCE
    assert library.sig_adjust(None, 16, 0, 1.0, 0, workspace.address) == BAD_JOB
    assert library.sig_adjust(out, 15, 0, 1.0, 0, workspace.address) == BAD_JOB
    assert library.sig_adjust(out, 16, 4, 1.0, 0, workspace.address) == BAD_JOB
    assert library.sig_adjust(out, 16, 0, float("nan"), 0, workspace.address) == BAD_JOB
    assert library.sig_adjust(out, 16, 1, 1.0, 256, workspace.address) == BAD_JOB


def test_a_level_of_another_size_is_refused():
    source = source_of(picture(1400, 1050))
    made = params(Box(0, 0, 1400, 1050), Box(0, 0, 1400, 1050))
    recipe = dataclasses.replace(SCRIPT, img_size=32)
    native.render(source, made, recipe)
    table = source.cache["native"].table
    wrong = LevelTable({k: pixels[:-1] if k else pixels for k, pixels in table.pixels.items()})
    workspace = Workspace(portable=False)
    native.pack(workspace.job, made, recipe)
    out = np.empty((32, 32, 3), np.uint8)
    args = (workspace.job_address, wrong.address, workspace.address, out.ctypes.data)
    assert load_library().sig_render(*args) == BAD_SOURCE


def test_python_says_what_is_out_of_range():
    with pytest.raises(ValueError, match="parameters out of range"):
        native.render(SOURCE, dataclasses.replace(plain(), crop=Box(50, 0, 90, 70)), SCRIPT)
    with pytest.raises(ValueError, match=r"\(height, width, 3\) uint8"):
        native.render(source_of(np.zeros((70, 90, 3), np.float32)), plain(), SCRIPT)


def plain() -> native.Params:
    return params(Box(0, 0, 90, 70), Box(0, 0, 90, 70))
