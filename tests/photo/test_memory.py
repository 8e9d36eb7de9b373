"""Decoded sources: once for all processes of a machine, within its memory."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import save_photo
from PIL import Image

from single_image_gen.errors import SourceError
from single_image_gen.photo import memory
from single_image_gen.photo.memory import SPARE_BYTES, SharedSources, memory_limit, open_sources


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return [str(save_photo(tmp_path / f"{k}.png", 50 + k, 40, seed=k)) for k in range(5)]


def pixels_of(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


def check(sources: SharedSources, paths: list[str]) -> None:
    for k, path in enumerate(paths):
        assert (sources[k].pixels == pixels_of(path)).all()
        assert sources[k] is sources[k]  # engines keep things with it


@pytest.fixture(params=["memory", "disk", "moved to disk", "no memfd"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Where the pixels are: with a bound of all, none, or two and a half of the five sources."""
    if request.param == "no memfd":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    else:
        bound = {"memory": 10**9, "disk": 0, "moved to disk": 15_000}[request.param]
        monkeypatch.setattr(memory, "memory_limit", lambda: bound * 8)
    (tmp_path / "spill").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spill"))
    monkeypatch.setattr("tempfile.tempdir", None)
    return request.param


def test_sources_are_what_was_decoded_wherever_they_are_kept(place: str, paths: list[str]) -> None:
    told = []
    sources = open_sources(paths, on_progress=lambda: told.append(len(told) + 1))
    check(sources, paths)
    assert told == [1, 2, 3, 4, 5]
    assert not os.listdir(os.environ["TMPDIR"])  # what is there has no name
    assert len(pickle.dumps(sources)) < 400 * 5


def test_another_process_maps_the_same_file_and_decodes_nothing(
    place: str, paths: list[str], tmp_path: Path
) -> None:
    sources = open_sources(paths)
    expected = [pixels_of(path).tobytes() for path in paths]
    for path in paths:
        os.unlink(path)
    (tmp_path / "pickle").write_bytes(pickle.dumps(sources))
    code = (
        "import pickle, sys\n"
        "sources = pickle.load(open(sys.argv[1], 'rb'))\n"
        "for k in range(5): sys.stdout.buffer.write(sources[k].pixels.tobytes())\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "pickle"], capture_output=True, check=True
    )
    assert made.stdout == b"".join(expected)
    again = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(sources))))
    assert [again[k].pixels.tobytes() for k in range(5)] == expected


def test_a_copy_decodes_by_itself_where_the_original_is_out_of_reach(
    place: str, paths: list[str]
) -> None:
    sources = open_sources(paths)
    sent = pickle.dumps(sources)
    del sources
    other = open_sources(paths[:1])  # a file of another kind may have taken the descriptor
    check(pickle.loads(sent), paths)
    save_photo(Path(paths[0]), 50, 40, seed=9)
    with pytest.raises(SourceError, match="has changed"):
        pickle.loads(sent)[0]
    assert other[0].size == (50, 40)


def test_only_sources_that_are_asked_for_are_decoded(place: str, paths: list[str]) -> None:
    infos = open_sources(paths).infos
    lazy = SharedSources(infos)
    lazy.load([1, 3])
    copy = pickle.loads(pickle.dumps(lazy))
    assert (copy[4].pixels == pixels_of(paths[4])).all()  # into a file of its own
    for path in paths:
        os.unlink(path)
    assert (copy[3].pixels == lazy[3].pixels).all()
    with pytest.raises(SourceError, match="No such file"):
        copy[0]


def test_bytes_after_the_last_row_can_be_read(place: str, tmp_path: Path) -> None:
    """Vector code loads some; pixels that end with a page must not end the mapping."""
    paths = [str(tmp_path / f"{name}.png") for name in "ab"]
    for path in paths:
        Image.new("RGB", (64, 64), "red").save(path)  # 3 pages
    sources = open_sources(paths)
    for k in range(2):
        whole = sources[k].pixels.base
        while whole.base is not None and isinstance(whole.base, np.ndarray):
            whole = whole.base
        assert whole.nbytes >= 64 * 64 * 3 + SPARE_BYTES


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_many_sources_need_few_file_descriptors(place: str, paths: list[str]) -> None:
    """A thousand sources at once are within the usual limit of 1,024."""
    before = len(os.listdir("/proc/self/fd"))
    sources = open_sources(paths)
    copy = pickle.loads(pickle.dumps(sources))
    check(sources, paths)
    check(copy, paths)
    assert len(os.listdir("/proc/self/fd")) <= before + 5  # file and mapping, of each its own


def test_forked_children_share_and_may_decode(place: str, paths: list[str]) -> None:
    lazy = SharedSources(open_sources(paths).infos)
    lazy.load([0])
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                check(lazy, paths)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    check(lazy, paths)


def test_a_disk_without_room_is_named(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_limit", lambda: 0)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=r"no room for decoded sources .* set TMPDIR"):
        open_sources(paths)


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_the_control_group_counts(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if version == 1:
        files = {
            "/proc/self/cgroup": "4:cpu,memory:/job/step\n0::/job\n",
            "/sys/fs/cgroup/memory/job/memory.limit_in_bytes": "50000000\n",
            "/sys/fs/cgroup/memory/job/step/memory.limit_in_bytes": "9223372036854771712\n",
        }
    else:
        files = {
            "/proc/self/cgroup": "0::/job/step\n",
            "/sys/fs/cgroup/job/memory.max": "50000000\n",
            "/sys/fs/cgroup/job/step/memory.max": "max\n",
        }
    monkeypatch.setattr(memory, "_read", lambda path: files.get(path, ""))
    assert memory_limit() == 50_000_000
    files.clear()
    assert memory_limit() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


MEGABYTE = 2**20


@pytest.fixture
def small_group() -> Path:
    """A control group of version 1 with 250 MB, where one can be made."""
    group = Path(f"/sys/fs/cgroup/memory/single-image-gen-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(250 * MEGABYTE))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    group.rmdir()


def test_sources_larger_than_a_control_group_are_decoded_within_it(
    small_group: Path, tmp_path: Path
) -> None:
    paths = [str(tmp_path / f"{k}.png") for k in range(8)]
    for k, path in enumerate(paths):  # 288 MB in all
        Image.new("RGB", (4000, 3000), (k, 0, 0)).save(path, compress_level=1)
    code = (
        "import os, sys; open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
        "from single_image_gen.photo.memory import open_sources\n"
        "sources = open_sources(sys.argv[2:])\n"
        "for _ in range(2):\n"
        "    for k in range(8): assert sources[k].pixels[..., 0].min() == k\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, small_group, *paths],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
