"""examples/learning, every path of it run small."""

from __future__ import annotations

import contextlib
import gc
import json
import pickle
import re
import runpy
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

for library in ("matplotlib", "skimage", "webdataset"):
    pytest.importorskip(library)

from learning import finetuning, labeled, networks, plots, pretraining, probes, table, unlabeled  # noqa: E402
from learning.__main__ import main  # noqa: E402
from learning.methods import METHODS, Settings, deepcluster, monogan, rotnet  # noqa: E402

COUNT = 48
pytestmark = pytest.mark.usefixtures("little_garbage")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Networks this small are not worth dividing; on a busy machine threads wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make(photo: Any, target: Path, **options: Any) -> Path:
    """A dataset of 32 pixels, unless `img_size` says otherwise."""
    recipe = replace(PAPER, img_size=options.pop("img_size", 32))
    options = {"num_imgs": COUNT, "threads": 1, "quiet": True, **options}
    generate(photo, target, recipe=recipe, **options)
    return target


@pytest.fixture(scope="module")
def folder(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(photo, tmp_path_factory.mktemp("learning") / "folder")


def trained(out: Path, images: Any, stop_after: int | None = None, **more: Any) -> Any:
    options = {"width": 4, "epochs": 2, "batch_size": 16, "clusters": 5, "images": len(images)}
    settings = Settings(**{**options, **more})
    return pretraining.train(settings, images, out, workers=0, stop_after=stop_after)


def weights(network: Any) -> list[torch.Tensor]:
    return [value.clone() for value in network.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def run(*arguments: object) -> int:
    """The command line."""
    return main([str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """The one line with which the command line refuses."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    message = str(caught.value)
    assert message.startswith("learning: ")
    assert "\n" not in message
    return message


# -- Networks and methods


def test_turns_are_quarter_turns_of_each_image() -> None:
    images = torch.randint(256, (5, 3, 8, 8), dtype=torch.uint8)
    turns, labels = rotnet.turned(images)
    assert len(turns) == len(labels) == 20
    for number, (image, label) in enumerate(zip(turns, labels, strict=True)):
        assert torch.equal(image.rot90(-int(label), (1, 2)), images[number % 5])
    assert labels.bincount().tolist() == [5] * 4


def test_flips_mirror_about_half_of_the_images() -> None:
    images = torch.randint(256, (200, 3, 4, 4), dtype=torch.uint8)
    mirrored = [not torch.equal(a, b) for a, b in zip(images, rotnet.flipped(images), strict=True)]
    assert torch.equal(
        rotnet.flipped(images[mirrored]).flip(3).flip(3)[:, :, 0].sort().values,
        images[mirrored][:, :, 0].sort().values,
    )
    assert 60 < sum(mirrored) < 140


@pytest.mark.parametrize("net", ["small", "alexnet"])
def test_networks_are_the_papers(net: str) -> None:
    network = networks.build(net, 32, 0)
    kernels = [part.kernel_size[0] for part in network.convolutions()]
    strides = [part.stride[0] for part in network.convolutions()]
    images = torch.zeros(2, 3, network.side, network.side)
    network.eval()
    assert network(images).shape == (2, 4)
    numbers = probes.Features(network).sizes
    if net == "small":
        assert (kernels, strides) == ([7, 5, 3, 3], [3, 2, 2, 1])
        assert numbers == [output[0].numel() for output in network.features(images)]
    else:
        assert (kernels[0], network.convolutions()[0].out_channels) == (11, 96)
        assert numbers == [9600, 9216, 9600, 9600, 9216]


def slopes() -> Any:
    """Images that are bright above and dark below."""
    random = np.random.default_rng(0)
    slope = np.linspace(200, 50, 32)[:, None, None] + random.normal(0, 20, (200, 32, 32, 3))
    pixels = torch.from_numpy(slope.clip(0, 255).astype(np.uint8)).permute(0, 3, 1, 2)
    return torch.utils.data.TensorDataset(pixels)


def colors() -> Any:
    """Images of five colors."""
    colors = torch.tensor([[40, 40, 40], [200, 60, 40], [60, 200, 90], [50, 70, 220], [210] * 3])
    pixels = colors.repeat_interleave(40, 0)[:, :, None, None].expand(200, 3, 32, 32)
    return torch.utils.data.TensorDataset(pixels.to(torch.uint8))


@pytest.mark.parametrize(
    ("method", "images", "loss", "score"),
    [("rotnet", slopes, 0.3, 0.95), ("deepcluster", colors, 1, 0.95), ("monogan", slopes, 0, 1)],
)
def test_the_loss_of_each_method_falls(
    method: str, images: Any, loss: float, score: float, tmp_path: Path
) -> None:
    rate = METHODS[method].defaults["learning_rate"]
    trained(tmp_path / "run", images(), method=method, epochs=4, learning_rate=rate)
    history = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["history"]
    assert history[-1]["loss"] < min(loss, history[0]["loss"] - 0.5)
    assert history[-1]["score"] > score


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_training_ends_with_the_same_weights(
    folder: Path, tmp_path: Path, method: str
) -> None:
    images = unlabeled.open_images(folder, "small", None, 0)
    whole = weights(trained(tmp_path / "whole", images, method=method))
    trained(tmp_path / "parts", images, method=method, stop_after=1)
    resumed = weights(trained(tmp_path / "parts", images, method=method))
    assert same(resumed, whole)
    assert not same(resumed, weights(trained(tmp_path / "other", images, method=method, seed=1)))
    settings, network = pretraining.load(tmp_path / "parts")
    assert same(weights(network), whole)
    assert (settings.method, settings.images) == (method, COUNT)


def test_another_run_in_the_same_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    images = unlabeled.open_images(folder, "small", None, 0)
    trained(tmp_path, images, epochs=1)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(SystemExit, match=r"holds another run \(seed: 0 there, 1 asked for\)"):
        trained(tmp_path, images, epochs=1, seed=1)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_kmeans_finds_clusters_and_leaves_none_empty() -> None:
    torch.manual_seed(0)
    centers = torch.eye(4).repeat_interleave(20, 0) * 10
    labels = deepcluster.kmeans(centers + torch.randn(80, 4) * 0.1, 4)
    assert all(len(part.unique()) == 1 for part in labels.split(20))
    assert labels.unique().tolist() == [0, 1, 2, 3]
    assert deepcluster.kmeans(torch.zeros(6, 2), 6).sort().values.tolist() == [0, 1, 2, 3, 4, 5]


def test_pca_finds_directions_by_their_variance() -> None:
    torch.manual_seed(0)
    turn, _ = torch.linalg.qr(torch.randn(10, 10))
    x = torch.randn(2000, 10) * torch.tensor([9.0, 5, 3, *[0.1] * 7]) @ turn.T + 7
    mean, components, scales = deepcluster.pca(x, 3)
    assert torch.allclose(scales, torch.tensor([9.0, 5, 3]), rtol=0.1)
    assert torch.allclose((components.T @ turn[:, :3]).abs(), torch.eye(3), atol=0.1)
    whitened = (x - mean) @ components / scales
    assert torch.allclose(whitened.T @ whitened / 2000, torch.eye(3), atol=0.01)


def test_random_resized_crops_show_parts_of_their_images() -> None:
    """Of ramps from left to right: each crop's range is its width."""
    torch.manual_seed(0)
    ramps = torch.arange(32.0).expand(300, 3, 32, 32)
    ramps = torch.cat([ramps, ramps.transpose(2, 3)])
    crops = deepcluster.random_resized_crops(ramps)
    assert crops.shape == ramps.shape
    assert crops.min() >= 0
    assert crops.max() <= 31
    across = crops[:300, 0, 16, -1] - crops[:300, 0, 16, 0]
    down = crops[300:, 0, -1, 16] - crops[300:, 0, 0, 16]
    assert 0.3 < (across < 0).float().mean() < 0.7  # mirrored
    assert (down >= 0).all()
    parts = across.abs() / 31
    assert parts.min() > (0.08 * 0.75) ** 0.5 * 0.9
    assert 0.6 < parts.mean() < 0.8


def test_deepcluster_shows_small_clusters_as_often_as_large_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = torch.arange(300) // 270  # 270 and 30
    monkeypatch.setattr(deepcluster, "kmeans", lambda *_: labels)
    pixels = labels[:, None, None, None].expand(300, 3, 32, 32).to(torch.uint8)
    method = METHODS["deepcluster"](Settings("deepcluster", width=4, images=300, clusters=2))
    images = torch.utils.data.TensorDataset(pixels)
    shown, clusters = (torch.cat(part) for part in zip(*method.batches(images, 0, 0), strict=True))
    assert torch.equal(shown[:, 0, 0, 0].long(), clusters)
    assert len(clusters) == 300
    assert 110 < clusters.sum() < 190


def test_the_penalty_is_none_for_a_gradient_of_length_one() -> None:
    class Slope(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 3 * x.flatten(1)[:, :1]

    images = torch.randn(5, 3, 8, 8)
    assert monogan.penalty(Slope(), images, images.flip(0)).item() == pytest.approx(4)


# -- Images to pretrain on


@contextlib.contextmanager
def files_left_open() -> Iterator[None]:
    """Webdataset leaves files to be closed by gc."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def opened(path: Path, num_imgs: int | None = None) -> Any:
    with files_left_open():
        return unlabeled.open_images(path, "small", num_imgs, 0)


def pixels_of(images: Any, epoch: int = 0) -> list[bytes]:
    """Of all images of an epoch, in its order."""
    order = unlabeled.shuffled(len(images), 0, epoch)
    with files_left_open():
        batches = unlabeled.batches(images, 10, order, 0)
        return [image.numpy().tobytes() for batch in batches for image in batch]


@pytest.mark.parametrize("num_imgs", [None, 20])
def test_files_tars_and_the_photograph_itself_give_the_same_images(
    photo: Path, folder: Path, tmp_path: Path, num_imgs: int | None
) -> None:
    tars = make(photo, tmp_path / "tars", format="webdataset", batch_size=10)
    in_files, in_tars = opened(folder, num_imgs), opened(tars, num_imgs)
    assert len(in_files) == len(in_tars) == (num_imgs or COUNT)
    assert torch.equal(in_files.tensors[0], in_tars.tensors[0])
    for images in (in_files, in_tars):
        assert pixels_of(images, 0) == pixels_of(images, 0) != pixels_of(images, 1)
    first = opened(photo, num_imgs or COUNT).tensors[0][:20].float()
    files = sorted((folder / "train/photo").iterdir())[:20]
    stored = torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in files])
    differences = torch.cdist(first.flatten(1), stored.permute(0, 3, 1, 2).float().flatten(1))
    assert differences.argmin(1).tolist() == list(range(20))  # each but for what JPEG costs


def test_the_first_images_are_of_all_sources(tmp_path: Path) -> None:
    sources = [tmp_path / f"{k}.png" for k in range(3)]
    for k, source in enumerate(sources):
        Image.fromarray(photo_pixels(80, 60, seed=k)).save(source)
    folder = make(sources, tmp_path / "folder")
    tars = make(sources, tmp_path / "tars", format="webdataset", batch_size=20)
    files = sorted((folder / "train").rglob("*.jpg"), key=lambda path: path.name)[:10]
    stored = torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in files])
    assert len({path.parent for path in files}) == 3
    for target in (folder, tars):
        assert torch.equal(opened(target, 10).tensors[0], stored.permute(0, 3, 1, 2))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("tars", [1, 3])
def test_tars_are_read_by_as_many_workers_as_there_are(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tars: int
) -> None:
    monkeypatch.setattr(unlabeled, "IN_MEMORY", 0)
    make(photo, tmp_path, format="webdataset", batch_size=-(-COUNT // tars))
    images = unlabeled.open_images(tmp_path, "small", None, 0)
    order = unlabeled.shuffled(COUNT, 0, 0)
    with files_left_open():
        assert sum(len(batch) for batch in unlabeled.batches(images, 10, order, 2)) == COUNT


@pytest.mark.parametrize("form", ["folder", "webdataset", "photograph"])
def test_images_too_many_for_memory_are_read_as_they_are_needed(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    path = photo if form == "photograph" else make(photo, tmp_path, format=form, batch_size=20)
    kept = opened(path, COUNT)
    monkeypatch.setattr(unlabeled, "IN_MEMORY", 0)
    read = opened(path, COUNT)
    assert type(read) is not type(kept)
    assert sorted(pixels_of(read)) == sorted(pixels_of(kept))
    assert pixels_of(read, 0) == pixels_of(read, 0) != pixels_of(read, 1)
    with files_left_open():
        trained(tmp_path / "run", read, epochs=1)
    history = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)["history"]
    assert history[-1]["images"] == COUNT


def test_alexnet_trains_from_a_photograph(photo: Path, tmp_path: Path) -> None:
    arguments = ["train", photo, "--out", tmp_path / "run", "--num_imgs", 2, "--epochs", 1]
    assert run(*arguments, "--batch_size", 2, "--workers", 0, "--net", "alexnet") == 0
    saved = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    assert saved["settings"]["net"] == "alexnet"
    assert saved["history"][-1]["images"] == 2
    filters = Image.open(tmp_path / "run/filters.png")
    assert filters.size == (12 * (44 + 4) + 4, 8 * (44 + 4) + 4)
    assert len(filters.getcolors(1 << 20)) > 1000


def test_each_filter_is_scaled_to_its_own_range(tmp_path: Path) -> None:
    network = networks.build("small", 8, 0)
    with torch.no_grad():
        network.convolutions()[0].weight[0] *= 1e-3
    plots.plot_filters(network, tmp_path / "filters.png")
    first = np.asarray(Image.open(tmp_path / "filters.png"))[4 : 4 + 42, 4 : 4 + 42]
    assert (first.min(), first.max()) == (0, 255)


# -- What is refused


def test_bad_paths_and_sizes_are_refused_in_one_line(
    photo: Path, folder: Path, tmp_path: Path
) -> None:
    for command in (["probe", tmp_path], ["finetune", tmp_path, "--out", tmp_path]):
        assert "name a folder that train made" in refused(*command)
    out = ("--out", tmp_path / "run")
    (tmp_path / "dataset.json").write_text("{")
    assert "is no dataset of single-image-gen" in refused("train", tmp_path, *out)
    (tmp_path / "dataset.json").write_bytes((folder / "dataset.json").read_bytes())
    assert "neither train/ nor tars" in refused("train", tmp_path, *out)  # it is unfinished
    assert "does not exist" in refused("train", tmp_path / "nothing", *out)
    (tmp_path / "text.jpg").write_text("no photograph")
    assert "text.jpg" in refused("train", tmp_path / "text.jpg", *out)
    small = make(photo, tmp_path / "small", img_size=16, num_imgs=2)
    assert "images of 16 pixels, small takes 32: make them" in refused("train", small, *out)
    alexnet = ("--net", "alexnet")
    assert "images of 32 pixels, alexnet takes 224" in refused("train", folder, *alexnet, *out)
    assert "has 48 images, not 49" in refused("train", folder, "--num_imgs", 49, *out)
    assert "holds no datasets" in refused("table", folder, *out)
    assert not (tmp_path / "run").exists()


def test_what_a_method_cannot_do_is_refused_in_one_line(
    photo: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("--out", tmp_path / "run", "--workers", 0)
    few = ("--method", "deepcluster", "--clusters", COUNT + 1)
    assert "48 images cannot make 49 clusters" in refused("train", folder, *few, *out)
    large = make(photo, tmp_path / "large", img_size=256, num_imgs=2)
    gan = ("--method", "monogan", "--net", "alexnet")
    assert "MonoGAN has a generator for 32 pixels only" in refused("train", large, *gan, *out)
    tars = make(photo, tmp_path / "tars", format="webdataset")
    monkeypatch.setattr(unlabeled, "IN_MEMORY", 0)
    told = refused("train", tars, "--method", "deepcluster", *out)
    assert "DeepCluster needs images in files" in told


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


@pytest.mark.parametrize(("test", "schedule"), [("val", "quick"), ("test", "paper")])
def test_probes_of_an_image_folder(folder: Path, tmp_path: Path, test: str, schedule: str) -> None:
    out = tmp_path / "run"
    trained(out, unlabeled.open_images(folder, "small", None, 0), epochs=1)
    data = labeled_folder(tmp_path / "data", 32, test=test)
    arguments = ["--data", data, "--probe_epochs", 10, "--workers", 0, "--schedule", schedule]
    assert run("probe", out, *arguments) == 0
    shares = json.loads((out / "probes.json").read_text())
    assert len(shares) == 4
    assert shares[0] > 0.9


def test_neither_probing_nor_features_kept_in_memory_change_anything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(0)
    images, labels = torch.randint(256, (60, 3, 32, 32), dtype=torch.uint8), torch.arange(60) % 3
    data = torch.utils.data.TensorDataset(images, labels)
    network = networks.build("small", 4, 0)
    before = weights(network)
    options = {"epochs": 3, "workers": 0, "labeled": (data, data, 3)}
    kept = probes.probe(network, "", **options)
    monkeypatch.setattr(probes, "IN_MEMORY", 0)
    assert probes.probe(network, "", **options) == kept
    assert same(weights(network), before)


@pytest.mark.parametrize("schedule", ["quick", "paper"])
def test_probes_of_alexnet(tmp_path: Path, schedule: str) -> None:
    data = labeled_folder(tmp_path, 64)
    for path in [*data.glob("*/*/?.png"), *data.glob("*/*/??.png")]:
        if int(path.stem) > 1:
            path.unlink()
    network = networks.build("alexnet", 0, 0)
    options = {"schedule": schedule, "epochs": 1, "workers": 0}
    shares = probes.probe(network, str(data), **options)
    assert len(shares) == 5
    assert all(0 <= share <= 1 for share in shares)
    tested = labeled.open_labeled(str(data), 224, ten_crops=schedule == "paper")[1]
    shape = (3, 224, 224) if schedule == "quick" else (10, 3, 224, 224)
    assert tested[0][0].shape == shape


def test_the_papers_schedule_divides_the_rate_by_5_thrice(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = []
    step = torch.optim.SGD.step

    def recorded(self: Any, *arguments: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.SGD, "step", recorded)
    data = torch.utils.data.TensorDataset(torch.zeros(4, 3, 32, 32), torch.arange(4) % 2)
    network = networks.build("small", 4, 0)
    probes.probe(network, "", schedule="paper", workers=0, labeled=(data, data, 2))
    powers = [0] * 5 + [1] * 10 + [2] * 10 + [3] * 11
    assert rates == pytest.approx([0.01 / 5**power for power in powers])


CIFAR = {
    "cifar-10-batches-py": (
        [*(f"data_batch_{k}" for k in range(1, 6))],
        "test_batch",
        "batches.meta",
    ),
    "cifar-100-python": (["train"], "test", "meta"),
}


def small_cifar(root: Path, name: str) -> Path:
    """One of noise, in the files of the real one."""
    trained_on, tested_on, meta = CIFAR[name]
    key = "label_names" if name == "cifar-10-batches-py" else "fine_label_names"
    labels = "labels" if name == "cifar-10-batches-py" else "fine_labels"
    (root / name).mkdir(parents=True)
    random = np.random.default_rng(0)
    for file in (*trained_on, tested_on):
        data = random.integers(0, 256, (10, 3072), dtype=np.uint8)
        (root / name / file).write_bytes(pickle.dumps({"data": data, labels: list(range(10))}))
    (root / name / meta).write_bytes(pickle.dumps({key: list("abcdefghij")}))
    return root


@pytest.mark.parametrize(
    ("name", "sizes"), [("cifar-10-batches-py", (50, 10, 10)), ("cifar-100-python", (10, 10, 100))]
)
def test_probes_of_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sizes: tuple[int, int, int]
) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    small_cifar(tmp_path, name)
    for path in (tmp_path, tmp_path / name):
        train, test, classes = labeled.open_labeled(str(path), 32)
        assert (len(train), len(test), classes) == sizes
    assert train[0][0].shape == (3, 32, 32)
    resized = labeled.open_labeled(str(tmp_path), 224)[1]
    assert resized[0][0].shape == (3, 224, 224)
    assert len(probes.probe(networks.build("small", 4, 0), str(path), epochs=1, workers=0)) == 4


def test_labeled_data_that_cannot_be_used_are_refused(folder: Path, tmp_path: Path) -> None:
    def told(path: Path) -> str:
        with pytest.raises(SystemExit) as caught:
            labeled.open_labeled(str(path), 32)
        return str(caught.value)

    assert "neither train/ and val/ nor cifar-10" in told(folder)
    data = labeled_folder(tmp_path / "data", 32)
    (data / "val/along").rename(data / "val/askew")
    assert "classes of train/ and val/" in told(data)
    (tmp_path / "cifar-100-python").mkdir()
    assert "cifar-100-python: Dataset not found or corrupted" in told(tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    both = r"holds two datasets: name .*cifar-10-batches-py itself"
    assert re.search(both, told(tmp_path))


@pytest.mark.parametrize("task", labeled.TEXTURES)
def test_patches_of_training_and_test_share_no_pixel(task: str) -> None:
    """Each patch lies in tiles of its own color: of stripes across, or of stripes along."""
    across = (np.arange(300) % 8 < 4)[:, None] * 200 + np.zeros((300, 300))
    row, column = np.mgrid[:300, :300] // (300 // (300 // labeled.TEXTURES[task][0]))
    chessboard = np.where((row + column) % 2, across, across.T).astype(np.uint8)
    gray = Image.fromarray(chessboard)
    random = np.random.default_rng(0)
    for color in (0, 1):
        for _ in range(100):
            patch = labeled.texture(gray, random, color, task)[0].astype(float)
            assert patch.std(axis=1 if color else 0).max() < 2
            assert patch.std(axis=0 if color else 1).max() > 10


@pytest.mark.parametrize("task", labeled.TEXTURES)
def test_textures_are_gray_and_of_one_mean_unless_they_are_to_be_colored(task: str) -> None:
    images, labels = labeled.textures(task, train=True, each=3)
    assert images.shape == (3 * 16, 3, 32, 32)
    assert labels.bincount().tolist() == [3] * 16
    values = images.float()
    gray = task != "textures-color"
    assert (values[:, 0] == values[:, 2]).all() == gray
    if gray:
        assert (values.mean((1, 2, 3)) - 128).abs().max() < 12
    again, _ = labeled.textures(task, train=True, each=3)
    assert torch.equal(images, again)


def test_a_photograph_of_two_tiles_is_drawn_from() -> None:
    """The smallest photograph of the textures still has tiles of both colors."""
    gray = Image.fromarray(photo_pixels(128, 64)).convert("L")
    for color in (0, 1):
        assert labeled.texture(gray, np.random.default_rng(0), color).shape == (3, 32, 32)


# -- The tables


@pytest.fixture
def few_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = labeled.textures
    monkeypatch.setattr(
        labeled, "textures", lambda task, *, train: whole(task, train=train, each=4)
    )


@pytest.fixture(scope="module")
def ablation(photo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ablation")
    for row in ("none", "all"):
        make(photo, root / row)
    return root


@pytest.mark.usefixtures("few_textures")
def test_the_table_compares_what_is_there_and_goes_on_where_it_was(
    ablation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = [*("table", ablation, "--out", out, "--epochs", 1), "--width", 4]
    arguments += ["--probe_epochs", 1, "--workers", 0, "--clusters", 5]

    def lines(seeds: int) -> list[str]:
        assert run(*arguments, "--seeds", seeds) == 0
        return capsys.readouterr().out.splitlines()

    assert sum("seed 0" in line for line in lines(1)) == 3 + 4 + 2
    printed = lines(2)
    assert not any("seed 0" in line for line in printed)
    rows = [line.split(" | ") for line in printed if line.startswith("|")]
    assert [row[0] for row in rows if "---" not in row[0]] == [
        *("| monogan", "| Random feat.", "| No aug.", "| All"),
        *("| rotnet", "| Fully sup.", "| Random feat.", "| No aug.", "| All"),
        *("| deepcluster", "| No aug.", "| All"),
    ]
    assert all(len(row) == 5 and row[1].count("±") == 1 for row in rows[2:5])
    results = json.loads((out / "textures-deepcluster.json").read_text())
    cells = np.array(results["accuracies"]["all"])
    assert cells.shape == (2, 4)
    assert rows[-1][1] == f"{cells[:, 0].mean() * 100:.1f} ± {cells[:, 0].std(ddof=1) * 100:.1f}"
    told = refused(*arguments, "--seeds", 2, "--num_imgs", 9)
    assert "textures-monogan.json holds another run (num_imgs: None there, 9 asked for)" in told
    for name in ("textures-monogan.png", "rotnet-all-1/filters.png", "monogan-all-1/curve.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 40


@pytest.mark.usefixtures("few_textures")
def test_another_schedule_probes_the_same_runs(
    ablation: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["table", ablation, "--out", tmp_path, "--epochs", 1, "--width", 4]
    arguments += ["--seeds", 1, "--workers", 0, "--methods", "rotnet:all"]
    assert run(*arguments) == 0
    checkpoint = (tmp_path / "rotnet-all-0/checkpoint.pt").read_bytes()
    assert run(*arguments, "--schedule", "paper") == 0
    assert "1 epochs, 1 of them done" in capsys.readouterr().out
    assert (tmp_path / "rotnet-all-0/checkpoint.pt").read_bytes() == checkpoint
    assert (tmp_path / "textures-paper-rotnet.json").exists()


def test_rows_that_are_not_there_are_refused(ablation: Path, tmp_path: Path) -> None:
    arguments = ("table", ablation, "--out", tmp_path, "--methods")
    assert "has no dataset scale" in refused(*arguments, "rotnet:all,scale")
    assert "is none of the methods rotnet, deep" in refused(*arguments, "simclr")


@pytest.mark.usefixtures("few_textures")
def test_finetuning_compares_runs_with_random_and_with_everything_trained(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = unlabeled.open_images(folder, "small", None, 0)
    for seed in range(2):
        trained(tmp_path / f"rotnet-all-{seed}", images, epochs=1, seed=seed)
    trained(tmp_path / "gan", images, epochs=1, method="monogan", learning_rate=1e-3)
    runs = (tmp_path / "rotnet-all", tmp_path / "gan")
    arguments = ("finetune", *runs, "--out", tmp_path / "out", "--epochs", 1)
    assert run(*arguments, "--seeds", 1) == 0
    assert run(*arguments, "--seeds", 2) == 0
    printed = capsys.readouterr().out.splitlines()
    assert sum("seed 0" in line for line in printed) == 4
    rows = [line.split(" | ") for line in printed if line.startswith("|")][-6:]
    assert [row[0] for row in rows] == [
        *("| frozen", "|---|---|---|", "| everything trained", "| random"),
        *(f"| {path}" for path in runs),
    ]
    results = json.loads((tmp_path / "out/finetuning.json").read_text())["accuracies"]
    assert [np.shape(results[row]) for row in results] == [(2, 1), (2, 2), (2, 2), (2, 2)]
    trained(tmp_path / "wide", images, epochs=1, width=8)
    wide = ("finetune", runs[0], tmp_path / "wide", "--out", tmp_path / "out", "--epochs", 1)
    assert "has no small network of width 4" in refused(*wide)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_frozen_convolutions_stay_and_the_others_learn(frozen: int) -> None:
    source = networks.build("small", 4, 9, norm=False)
    images = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)
    data = torch.utils.data.TensorDataset(images, torch.arange(40) % 2)
    network = finetuning.supervised(4, 0, (data, data, 2), epochs=1, source=source, frozen=frozen)
    pairs = zip(network.convolutions(), source.convolutions(), strict=True)
    assert [torch.equal(a.weight, b.weight) for a, b in pairs] == [k < frozen for k in range(4)]
    start = networks.build("small", 4, 0, 2).convolutions()
    assert not any(
        torch.equal(a.weight, b.weight) for a, b in zip(network.convolutions(), start, strict=True)
    )


def test_labels_themselves_teach_more_than_chance(tmp_path: Path) -> None:
    data = labeled.open_labeled(str(labeled_folder(tmp_path, 32)), 32)
    network = finetuning.supervised(4, 0, data, epochs=5)
    assert finetuning.accuracy(network, data[1]) > 0.9


def test_rows_are_in_the_papers_order() -> None:
    rows = ["market", "all", "random", "calm", "none", "supervised"]
    assert table.by_name(rows) == ["supervised", "random", "none", "all", "calm", "market"]


def test_the_command_line_runs_from_a_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `python examples/learning`, but in this process, which has torch already."""
    examples = Path(__file__).parents[2] / "examples"
    monkeypatch.chdir(examples.parent)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if Path(path) != examples])
    for name in [name for name in sys.modules if name.partition(".")[0] == "learning"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "argv", ["examples/learning", "table", "nowhere", "--out", "nowhere"])
    told = "learning: nowhere holds no datasets: make some with ablation.sh"
    with pytest.raises(SystemExit, match=f"^{told}$"):
        runpy.run_path("examples/learning", run_name="__main__")
