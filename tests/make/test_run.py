"""A run makes exactly the images that were asked for, each where it belongs."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import encode_rgb, generate, images_below, photo_pixels, save_photo, tree_hash
from PIL import Image

from single_image_gen import PAPER, SCRIPT
from single_image_gen.cli.main import main
from single_image_gen.draw.params import draw_params
from single_image_gen.engines import load_engine
from single_image_gen.errors import BackendError, Notice, UsageError
from single_image_gen.photo.source import load_source
from single_image_gen.target.files import Target
from single_image_gen.workers import pool
from single_image_gen.workers.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

TINY = replace(SCRIPT, img_size=8)
SLOW = os.environ.get("SINGLE_IMAGE_GEN_SLOW") == "1"


@pytest.fixture(scope="session")
def small_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 1,000 pictures of 40 x 30 pixels, no two of them equal."""
    folder = tmp_path_factory.mktemp("sources")
    pixels = photo_pixels(240, 200)
    for k in range(1000):
        left, top = k % 40 * 5, k // 40 * 6
        part = pixels[top : top + 30, left : left + 40]
        Image.fromarray(part).save(folder / f"n{k:04d}.png", compress_level=1)
    return folder


def indices(target: Path) -> Counter[int]:
    return Counter(int(path.stem.removeprefix("patch_")) for path in images_below(target))


# --- how many


@pytest.mark.parametrize(
    ("num_imgs", "batch_size", "threads", "backend"),
    [
        (1, None, 1, "loky"),
        (1, 1, 3, "threading"),
        (7, 3, 1, "loky"),
        (97, 10, 3, "threading"),
        (100, 100, 4, "threading"),
        (101, 100, 2, "threading"),
        (257, 64, 5, "threading"),
        (50, 1000, 2, "threading"),
        (203, None, 3, "threading"),
    ],
)
def test_exactly_the_images_that_were_asked_for(
    num_imgs: int,
    batch_size: int | None,
    threads: int,
    backend: str,
    photo: Path,
    tmp_path: Path,
) -> None:
    summary = generate(
        photo,
        tmp_path,
        recipe=TINY,
        num_imgs=num_imgs,
        batch_size=batch_size,
        threads=threads,
        backend=backend,
    )
    assert indices(tmp_path) == Counter(range(num_imgs))
    assert (summary.made, summary.missing) == (num_imgs, 0)
    assert summary.bytes == sum(path.stat().st_size for path in images_below(tmp_path))


@pytest.mark.filterwarnings("ignore:.*not every source is used")
@pytest.mark.parametrize("num_imgs", [1, 4, 10, 13, 101])
def test_ten_sources_whatever_the_number_of_images(
    num_imgs: int, small_sources: Path, tmp_path: Path
) -> None:
    paths = sorted(small_sources.iterdir())[:10]
    generate(paths, tmp_path, recipe=TINY, num_imgs=num_imgs, batch_size=7, threads=1)
    assert indices(tmp_path) == Counter(range(num_imgs))
    for path in images_below(tmp_path):  # index i comes from source i mod N
        assert path.parent.name == f"n{int(path.stem.removeprefix('patch_')) % 10:04d}"
    counts = Counter(path.parent.name for path in images_below(tmp_path))
    assert len(counts) == min(num_imgs, 10)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_thousand_sources_make_a_thousand_classes(small_sources: Path, tmp_path: Path) -> None:
    generate(small_sources, tmp_path, recipe=TINY, num_imgs=2003, threads=2, backend="threading")
    classes = sorted(path.name for path in (tmp_path / "train").iterdir())
    assert classes == [f"n{k:04d}" for k in range(1000)]
    assert indices(tmp_path) == Counter(range(2003))
    assert len({path.read_bytes() for path in images_below(tmp_path)}) > 1900
    listed = json.loads((tmp_path / "dataset.json").read_text())["sources"]
    assert [source["class_name"] for source in listed] == classes


def test_so_many_sources_are_drawn_from_the_seed(small_sources: Path, tmp_path: Path) -> None:
    drawn = []
    for name, seed in (("a", 0), ("again", 0), ("b", 1)):
        target = tmp_path / name
        options = {"num_imgs": 10, "num_sources": np.int64(5), "seed": seed, "threads": 1}
        generate(small_sources, target, recipe=TINY, **options)
        listed = json.loads((target / "dataset.json").read_text())["sources"]
        drawn.append([source["class_name"] for source in listed])
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1] == sorted(drawn[0])
    assert drawn[0] != drawn[2]
    with pytest.raises(UsageError, match="num_sources"):
        generate(small_sources, tmp_path / "c", recipe=TINY, num_sources=0)


def test_fewer_images_than_sources(small_sources: Path, tmp_path: Path) -> None:
    with pytest.warns(Notice, match=r"1,000 sources, but 3 images: not every source is used"):
        generate(small_sources, tmp_path, recipe=TINY, num_imgs=3, threads=1)
    names = [str(path.relative_to(tmp_path / "train")) for path in images_below(tmp_path)]
    assert names == [f"n{k:04d}/patch_{k:07d}.jpg" for k in range(3)]


# --- which


@pytest.mark.parametrize("recipe", [SCRIPT, PAPER], ids=["script", "paper"])
def test_a_file_is_the_jpeg_of_its_index(recipe: object, tmp_path: Path) -> None:
    paths = [save_photo(tmp_path / f"{k}.png", 90, 70 + k, seed=k) for k in range(2)]
    recipe = replace(recipe, img_size=32)
    target = tmp_path / "out"
    summary = generate(
        paths, target, recipe=recipe, num_imgs=20, seed=77, quality=60, batch_size=6, threads=1
    )
    render = load_engine(summary.spec.engine)
    sources = [load_source(str(path)) for path in paths]
    for index in range(20):
        source = sources[index % 2]
        params = draw_params(recipe, source.size, 77, index)
        expected = encode_rgb(render(source, params, recipe), 60)
        assert (target / f"train/{index % 2}/patch_{index:07d}.jpg").read_bytes() == expected


def test_seeds_make_different_images(photo: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        generate(photo, tmp_path / str(seed), recipe=TINY, num_imgs=20, seed=seed, threads=1)
    first, second = ({path.read_bytes() for path in images_below(tmp_path / name)} for name in "01")
    assert len(first) == len(second) == 20
    assert not first & second


# --- what it looks like on disk


@pytest.fixture(scope="module")
def usual(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the README's command makes: 200 images of 256 x 256 by two workers."""
    target = tmp_path_factory.mktemp("usual") / "out" / "demo"
    generate(photo, target, num_imgs=200, threads=2)
    return target


def test_two_workers_make_every_image(usual: Path, photo: Path, tmp_path: Path) -> None:
    assert indices(usual) == Counter(range(200))
    generate(photo, tmp_path, num_imgs=200, threads=1)
    assert tree_hash(tmp_path) == tree_hash(usual)


@pytest.mark.parametrize("folder", ["train", "."])
def test_image_folder_loads_it(usual: Path, folder: str) -> None:
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(str(usual / folder))
    assert len(dataset) == 200
    assert dataset.classes == (["photo"] if folder == "train" else ["train"])
    image, label = dataset[3]
    assert (image.size, label) == ((256, 256), 0)


def test_the_target_may_be_relative_and_deep(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    summary = generate(photo, "a/b/../c/", recipe=TINY, num_imgs=2, threads=1)
    assert len(images_below(tmp_path / "a" / "c")) == 2  # the name is used as given
    assert Path(summary.targetpath).samefile(tmp_path / "a" / "c")


def test_a_finished_dataset_needs_no_backend(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)  # importing it raises ImportError
    generate(photo, tmp_path, recipe=TINY, num_imgs=20, threads=1)
    before = tree_hash(tmp_path)
    assert generate(photo, tmp_path, recipe=TINY, num_imgs=20, backend="dask").made == 0
    (tmp_path / "preview.png").unlink()
    assert generate(photo, tmp_path, recipe=TINY, num_imgs=20, backend="dask").made == 0
    assert tree_hash(tmp_path) == before
    with pytest.raises(BackendError, match="single-image-gen\\[dask\\]"):
        generate(photo, tmp_path, recipe=TINY, num_imgs=40, backend="dask")
    assert tree_hash(tmp_path) == before


# --- sharing the work


def test_shards_together_make_the_whole(photo: Path, tmp_path: Path) -> None:
    options = {"recipe": TINY, "num_imgs": 103, "batch_size": 10, "threads": 1}
    made = [
        generate(photo, tmp_path / "a", **options, shard=Shard(k, 3, "test")) for k in (2, 0, 1)
    ]
    assert [summary.made for summary in made] == [30, 40, 33]
    assert [summary.missing for summary in made] == [73, 33, 0]
    generate(photo, tmp_path / "b", **options)
    assert tree_hash(tmp_path / "a") == tree_hash(tmp_path / "b")


def test_a_run_beside_another_says_so_unless_both_are_shards(photo: Path, tmp_path: Path) -> None:
    options = {"recipe": TINY, "num_imgs": 40, "batch_size": 10, "threads": 1}
    generate(photo, tmp_path, **options, shard=Shard(0, 4, "test"))
    with Target(str(tmp_path)) as target:
        target.lock_shared()
        assert generate(photo, tmp_path, **options, shard=Shard(1, 4, "test")).made == 10
        with pytest.warns(Notice, match="another run is at work in .*--shard I/N"):
            assert generate(photo, tmp_path, **options).made == 20


# --- arguments


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.array], ids=lambda kind: kind.__name__)
def test_numpy_integers_are_integers(
    kind: Callable[[int], object], photo: Path, tmp_path: Path
) -> None:
    plain = {"seed": 3, "num_imgs": 5, "quality": 60, "batch_size": 2, "max_pixels": 10**4 * 32}
    other = {name: kind(value) for name, value in plain.items() if value < 2**16}
    for name, options in (("a", plain), ("b", other)):
        generate(photo, tmp_path / name, recipe=TINY, threads=1, **options)
    assert tree_hash(tmp_path / "a") == tree_hash(tmp_path / "b")
    a, b = (json.loads((tmp_path / name / "dataset.json").read_text()) for name in "ab")
    assert a["seed"] == b["seed"] == 3
    assert a["num_imgs"] == b["num_imgs"] == 5


@pytest.mark.parametrize(
    "options",
    [
        *({"seed": 0.5}, {"seed": -1}, {"num_imgs": 2.0}, {"num_imgs": "7"}, {"num_imgs": True}),
        *({"quality": 101}, {"batch_size": 0}, {"max_pixels": 0}),
        *({"format": "zip"}, {"backend": "lokky"}, {"backend": "multiprocessing"}),
        *({"threads": 0}, {"scheduler": "tcp://host:1"}),
    ],
    ids=str,
)
def test_nothing_is_written_before_everything_is_checked(
    options: dict[str, object], photo: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError):
        generate(photo, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("threads", "backend"), [(1, "loky"), (2, "loky"), (2, "threading")])
def test_a_bug_keeps_its_traceback(
    threads: int, backend: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ValueError from inside a run is no wrong use of the program."""
    monkeypatch.setattr("single_image_gen.target.writers.TarWriter.write", None)
    if backend == "loky" and threads > 1:
        monkeypatch.setattr("single_image_gen.make.generate.make_batch", a_bug)
    argv = ["--imgpath", photo, "--targetpath", tmp_path / "out", "--format", "webdataset"]
    argv += ["--num_imgs", 5, "--img_size", 8, "--threads", threads, "--backend", backend]
    monkeypatch.setattr(pool, "FEW_IMAGES", 1)
    with pytest.raises((TypeError, ZeroDivisionError)):
        main([str(value) for value in (*argv, "--quiet")])


def a_bug(*_: object, **__: object) -> None:
    """Make no batch."""
    raise ZeroDivisionError


# --- memory


def children(pid: int) -> list[int]:
    """The process's children and theirs, as Linux lists them."""
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended
        return []
    own = [int(child) for text in lists for child in text.split()]
    return own + [deeper for child in own for deeper in children(child)]


def proportional_bytes(pid: int) -> int:
    """The process's memory, pages that n processes share counted as an n-th."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    match = re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


class PeakOfWorkers:
    """The largest proportional set size of all of this process's children together, in bytes."""

    def __enter__(self) -> PeakOfWorkers:
        self.peak, self._stop = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.peak = max(self.peak, sum(map(proportional_bytes, children(os.getpid()))))

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.mark.skipif(not SLOW, reason="takes a minute: SINGLE_IMAGE_GEN_SLOW=1 runs it")
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="counts as Linux does")
def test_memory_does_not_grow_with_workers_times_sources(tmp_path: Path) -> None:
    from joblib.externals.loky import get_reusable_executor

    rng = np.random.default_rng(0)
    base = photo_pixels(500, 375)
    (tmp_path / "sources").mkdir()
    for k in range(1000):
        pixels = np.roll(base, rng.integers(0, 375, 2), (0, 1))
        Image.fromarray(pixels).save(tmp_path / "sources" / f"{k:04d}.jpg")
    peaks = {}
    for count in (1, 1000):
        get_reusable_executor().shutdown(wait=True)  # new workers, with nothing in them yet
        paths = sorted((tmp_path / "sources").iterdir())[:count]
        with PeakOfWorkers() as watch:
            generate(paths, tmp_path / str(count), recipe=TINY, num_imgs=8000, threads=4)
            time.sleep(0.3)
        peaks[count] = watch.peak
    all_sources = 1000 * 500 * 375 * 3
    # one copy for all of the workers together; four copies would be 2.2 GB
    print({count: f"{peak / 1e6:.0f} MB" for count, peak in peaks.items()})
    assert peaks[1] > 0
    assert peaks[1000] - peaks[1] < 1.5 * all_sources
