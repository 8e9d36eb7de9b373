"""examples/rotnet.py, every path of it run small."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import json
import pickle
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from conftest import generate, photo_pixels
from PIL import Image

from single_image_gen import PAPER

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("matplotlib")
pytest.importorskip("skimage")

spec = importlib.util.spec_from_file_location(
    "rotnet", Path(__file__).parents[1] / "examples/rotnet.py"
)
assert spec
assert spec.loader
rotnet: Any = importlib.util.module_from_spec(spec)
sys.modules["rotnet"] = rotnet
spec.loader.exec_module(rotnet)

COUNT = 48


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small are not worth dividing; on a busy machine threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(photo: Path, target: Path, **options: Any) -> Path:
    """A dataset of 32 pixels, unless `img_size` says otherwise."""
    recipe = replace(PAPER, img_size=options.pop("img_size", 32))
    options = {"num_imgs": COUNT, "threads": 1, "quiet": True, **options}
    generate(photo, target, recipe=recipe, **options)
    return target


@pytest.fixture(scope="module")
def folder(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(photo, tmp_path_factory.mktemp("rotnet") / "folder")


def trained(out: Path, images: Any, **more: Any) -> Any:
    options = {"net": "small", "width": 4, "epochs": 2, "batch_size": 16, "workers": 0}
    return rotnet.train(images, out, **{**options, **more})


def weights(network: Any) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_turns_are_quarter_turns_of_each_image() -> None:
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    turns, labels = rotnet.turned(images)
    assert len(turns) == len(labels) == 20
    for number, (image, label) in enumerate(zip(turns, labels, strict=True)):
        assert torch.equal(image.rot90(-int(label), (1, 2)), images[number % 5])
    assert labels.bincount().tolist() == [5] * 4


@pytest.mark.parametrize("net", ["small", "alexnet"])
def test_networks_are_the_papers(net: str) -> None:
    network = rotnet.build(net, 32, 0)
    convolutions = [part for part in network.modules() if isinstance(part, torch.nn.Conv2d)]
    kernels = [part.kernel_size[0] for part in convolutions]
    strides = [part.stride[0] for part in convolutions]
    images = torch.zeros(2, 3, network.side, network.side, dtype=torch.uint8)
    network.eval()
    assert network(images).shape == (2, 4)
    numbers = [
        sum(value.numel() for value in probe[3].parameters()) // 10 - 1
        for probe in rotnet.Probes(network, 10).probes
    ]
    if net == "small":
        assert (kernels, strides) == ([7, 5, 3, 3], [3, 2, 2, 1])
        assert numbers == [output[0].numel() for output in network.features(images)]
    else:
        assert (kernels[0], convolutions[0].out_channels) == (11, 96)
        assert numbers == [9600, 9216, 9600, 9600, 9216]


def test_pretraining_learns_what_turns_tell(tmp_path: Path) -> None:
    """Images that are bright above and dark below."""
    random = np.random.default_rng(0)
    slope = np.linspace(200, 50, 32)[:, None, None] + random.normal(0, 20, (200, 32, 32, 3))
    pixels = torch.from_numpy(slope.clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2)
    images = torch.utils.data.TensorDataset(pixels)
    trained(tmp_path / "run", images, epochs=4)
    history = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["history"]
    assert history[-1]["accuracy"] > 0.95
    assert history[-1]["loss"] < history[0]["loss"]


def test_an_interrupted_training_ends_with_the_same_weights(folder: Path, tmp_path: Path) -> None:
    images = rotnet.open_images(folder, "small", None, 0)
    whole = weights(trained(tmp_path / "whole", images))
    trained(tmp_path / "parts", images, stop_after=1)
    resumed = weights(trained(tmp_path / "parts", images))
    assert same(resumed, whole)
    assert not same(resumed, weights(trained(tmp_path / "other", images, seed=1)))
    assert same(weights(rotnet.load(tmp_path / "parts")), whole)


def test_another_run_in_the_same_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    images = rotnet.open_images(folder, "small", None, 0)
    trained(tmp_path, images, epochs=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(SystemExit, match=r"holds another run \(seed: 0 there, 1 asked for\)"):
        trained(tmp_path, images, epochs=1, seed=1)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@contextlib.contextmanager
def files_left_open() -> Iterator[None]:
    """Webdataset leaves files to be closed by gc."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def pixels_of(images: Any, epoch: int = 0) -> list[bytes]:
    """Of all images of an epoch, in its order."""
    with files_left_open():
        batches = rotnet.batches(images, 10, 0, epoch, 0)
        return [image.numpy().tobytes() for batch in batches for image in batch]


@pytest.mark.parametrize("num_imgs", [None, 20])
def test_files_tars_and_the_photograph_itself_give_the_same_images(
    photo: Path, folder: Path, tmp_path: Path, num_imgs: int | None
) -> None:
    tars = make(photo, tmp_path / "tars", format="webdataset", batch_size=10)
    in_files = rotnet.open_images(folder, "small", num_imgs, 0)
    in_tars = rotnet.open_images(tars, "small", num_imgs, 0)
    assert len(in_files) == len(in_tars) == (num_imgs or COUNT)
    assert sorted(pixels_of(in_files)) == sorted(pixels_of(in_tars))
    for images in (in_files, in_tars):
        assert pixels_of(images, 0) == pixels_of(images, 0) != pixels_of(images, 1)
    rendered = rotnet.open_images(photo, "small", num_imgs or COUNT, 0)
    first = torch.stack([rendered[index] for index in range(20)]).float()
    files = sorted((folder / "train/photo").iterdir())[:20]
    stored = torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in files])
    differences = torch.cdist(first.flatten(1), stored.permute(0, 3, 1, 2).float().flatten(1))
    assert differences.argmin(1).tolist() == list(range(20))  # each but for what JPEG costs


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("tars", [1, 3])
def test_tars_are_read_by_as_many_workers_as_there_are(
    photo: Path, tmp_path: Path, tars: int
) -> None:
    make(photo, tmp_path, format="webdataset", batch_size=-(-COUNT // tars))
    images = rotnet.open_images(tmp_path, "small", None, 0)
    with files_left_open():
        assert sum(len(batch) for batch in rotnet.batches(images, 10, 0, 0, 2)) == COUNT


def test_images_too_many_for_memory_are_read_as_they_are_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = rotnet.open_images(folder, "small", None, 0)
    monkeypatch.setattr(rotnet, "IN_MEMORY", 0)
    read = rotnet.open_images(folder, "small", None, 0)
    assert type(read) is not type(kept)
    assert sorted(pixels_of(read)) == sorted(pixels_of(kept))


def test_a_folder_without_a_run_cannot_be_probed(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="name a folder that train made"):
        rotnet.main(["probe", str(tmp_path)])


def test_a_damaged_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(SystemExit, match="is no dataset of single-image-gen"):
        rotnet.main(["train", str(tmp_path), "--out", str(tmp_path / "run")])


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="neither a photograph nor a finished dataset"):
        rotnet.open_images(tmp_path, "small", None, 0)


@pytest.mark.parametrize("source", ["folder", "photo", "tars"])
def test_alexnet_trains_from_each_input(photo: Path, tmp_path: Path, source: str) -> None:
    images = photo
    if source != "photo":
        form = "folder" if source == "folder" else "webdataset"
        images = make(photo, tmp_path / source, format=form, img_size=256, num_imgs=3)
    arguments = ["train", images, "--out", tmp_path / "run", "--num_imgs", 2, "--epochs", 1]
    arguments += ["--batch_size", 2, "--workers", 0, "--net", "alexnet"]
    with files_left_open():
        assert rotnet.main([str(argument) for argument in arguments]) == 0
    saved = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert saved["settings"]["net"] == "alexnet"
    assert saved["history"][-1]["images"] == 2
    filters = Image.open(tmp_path / "run/filters.png")
    assert filters.size == (12 * (44 + 4) + 4, 8 * (44 + 4) + 4)
    assert len(filters.getcolors(1 << 20)) > 1000


def test_each_filter_is_scaled_to_its_own_range(tmp_path: Path) -> None:
    network = rotnet.build("small", 8, 0)
    convolution = network.blocks[0][0]
    with torch.no_grad():
        convolution.weight[0] *= 1e-3
    rotnet.plot_filters(network, tmp_path / "filters.png")
    first = np.asarray(Image.open(tmp_path / "filters.png"))[4 : 4 + 42, 4 : 4 + 42]
    assert (first.min(), first.max()) == (0, 255)


# -- Probes


def labeled_folder(root: Path, side: int, *, test: str = "val") -> Path:
    """Two classes that differ in the direction of their stripes."""
    random = np.random.default_rng(0)
    for part, count in (("train", 40), (test, 20)):
        for name in ("across", "along"):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                wave = np.sin(np.arange(side) * 0.7 + random.uniform(0, 6)) * 100 + 128
                stripes = np.broadcast_to(wave[:, None, None], (side, side, 3)).astype(np.uint8)
                stripes = stripes if name == "across" else stripes.transpose(1, 0, 2)
                Image.fromarray(np.ascontiguousarray(stripes)).save(
                    root / part / name / f"{number}.png"
                )
    return root


@pytest.mark.parametrize("test", ["val", "test"])
def test_probes_of_an_image_folder(folder: Path, tmp_path: Path, test: str) -> None:
    run = tmp_path / "run"
    trained(run, rotnet.open_images(folder, "small", None, 0), epochs=1)
    data = labeled_folder(tmp_path / "data", 32, test=test)
    arguments = ["probe", run, "--data", data, "--probe_epochs", 10, "--workers", 0]
    before = weights(rotnet.load(run))
    assert rotnet.main([str(argument) for argument in arguments]) == 0
    shares = json.loads((run / "probes.json").read_text())
    assert len(shares) == 4
    assert shares[0] > 0.9
    assert same(weights(rotnet.load(run)), before)


def test_probing_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    network = rotnet.build("small", 4, 0)
    before = weights(network)
    rotnet.probe(network, str(labeled_folder(tmp_path, 32)), epochs=2, workers=0)
    assert same(weights(network), before)


def test_probes_of_alexnet(tmp_path: Path) -> None:
    data = labeled_folder(tmp_path, 64)
    shares = rotnet.probe(rotnet.build("alexnet", 0, 0), str(data), epochs=1, workers=0)
    assert len(shares) == 5
    assert all(0 <= share <= 1 for share in shares)


def test_probes_of_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small CIFAR-10 of noise, in the files of the real one."""
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    random = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        data = random.integers(0, 256, (10, 3072), dtype=np.uint8)
        (root / name).write_bytes(pickle.dumps({"data": data, "labels": list(range(10))}))
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    train, test, classes = rotnet.open_labeled(str(tmp_path), 32)
    assert (len(train), len(test), classes) == (50, 10, 10)
    network = rotnet.build("small", 4, 0)
    shares = rotnet.probe(network, str(tmp_path), epochs=1, workers=0)
    assert len(shares) == 4


def test_classes_that_differ_are_refused(tmp_path: Path) -> None:
    data = labeled_folder(tmp_path, 32)
    (data / "val/along").rename(data / "val/askew")
    with pytest.raises(SystemExit, match="classes of train/ and val/"):
        rotnet.open_labeled(str(data), 32)


def test_unlabeled_data_is_refused(folder: Path) -> None:
    with pytest.raises(SystemExit, match="neither train/ and val/ nor cifar-10"):
        rotnet.open_labeled(str(folder), 32)


@pytest.mark.parametrize("task", rotnet.TEXTURES)
def test_patches_of_training_and_test_share_no_pixel(task: str) -> None:
    """Each patch lies in tiles of its own color: of stripes across, or of stripes along."""
    across = (np.arange(300) % 8 < 4)[:, None] * 200 + np.zeros((300, 300))
    row, column = np.mgrid[:300, :300] // (300 // (300 // rotnet.TEXTURES[task][0]))
    chessboard = np.where((row + column) % 2, across, across.T).astype(np.uint8)
    gray = Image.fromarray(chessboard)
    random = np.random.default_rng(0)
    for color in (0, 1):
        for _ in range(100):
            patch = rotnet.texture(gray, random, color, task)[0].astype(float)
            assert patch.std(axis=1 if color else 0).max() < 2
            assert patch.std(axis=0 if color else 1).max() > 10


@pytest.mark.parametrize("task", rotnet.TEXTURES)
def test_textures_are_gray_and_of_one_mean_unless_they_are_to_be_colored(task: str) -> None:
    images, labels = rotnet.textures(task, train=True, each=3)
    assert images.shape == (3 * 16, 3, 32, 32)
    assert labels.bincount().tolist() == [3] * 16
    values = images.float()
    gray = task != "textures-color"
    assert (values[:, 0] == values[:, 2]).all() == gray
    if gray:
        assert (values.mean((1, 2, 3)) - 128).abs().max() < 12
    again, _ = rotnet.textures(task, train=True, each=3)
    assert torch.equal(images, again)


# -- The table


@pytest.fixture
def few_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rotnet.textures
    monkeypatch.setattr(rotnet, "textures", lambda task, *, train: whole(task, train=train, each=4))


@pytest.mark.usefixtures("few_textures")
def test_the_table_compares_what_is_there_and_goes_on_where_it_was(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in ("none", "all"):
        make(photo, tmp_path / "ablation" / row)
    out = tmp_path / "out"
    arguments = [*("table", tmp_path / "ablation", "--out", out, "--epochs", 1), "--width", 4]
    arguments += ["--probe_epochs", 1, "--workers", 0]

    def lines(seeds: int) -> list[str]:
        given = [*arguments, "--seeds", seeds]
        assert rotnet.main([str(argument) for argument in given]) == 0
        return capsys.readouterr().out.splitlines()

    assert sum("seed 0" in line for line in lines(1)) == 4
    printed = lines(2)
    assert not any("seed 0" in line for line in printed)
    table = [line.split(" | ") for line in printed if line.startswith("|")]
    assert [row[0] for row in table[2:]] == [
        *("| Fully sup.", "| Random feat.", "| No aug.", "| All")
    ]
    assert all(len(row) == 5 and row[1].count("±") == 1 for row in table[2:])
    results = json.loads((out / "textures.json").read_text())
    cells = np.array(results["all"])
    assert cells.shape == (2, 4)
    assert table[-1][1] == f"{cells[:, 0].mean() * 100:.1f} ± {cells[:, 0].std(ddof=1) * 100:.1f}"
    for name in ("textures.png", "all-1/filters.png", "all-1/curve.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 40


def test_labels_themselves_teach_more_than_chance(tmp_path: Path) -> None:
    labeled = rotnet.open_labeled(str(labeled_folder(tmp_path, 32)), 32)
    network = rotnet.supervised(4, 0, labeled, 5)
    network.eval()
    images, labels = next(rotnet.labeled_batches(labeled[1], 40, None, 0))
    assert (network(images).argmax(1) == labels).float().mean() > 0.9


def test_the_same_seed_gives_the_same_row(folder: Path, tmp_path: Path) -> None:
    images = rotnet.open_images(folder, "small", None, 0)
    data = str(labeled_folder(tmp_path / "data", 32))
    one, other = (
        rotnet.probe(trained(tmp_path / name, images, epochs=1), data, epochs=1, workers=0)
        for name in ("a", "b")
    )
    assert one == other


def test_a_photograph_of_two_tiles_is_drawn_from() -> None:
    """The smallest photograph of the textures still has tiles of both colors."""
    gray = Image.fromarray(photo_pixels(128, 64)).convert("L")
    for color in (0, 1):
        assert rotnet.texture(gray, np.random.default_rng(0), color).shape == (3, 32, 32)
