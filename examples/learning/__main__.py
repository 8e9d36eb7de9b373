"""Learn from one photograph: pretrain, measure, compare, fine-tune.

    python examples/learning train out/demo --out runs/demo --method rotnet
    python examples/learning probe runs/demo --data textures
    python examples/learning table out/ablation --out runs/ablation
    python examples/learning finetune runs/ablation/rotnet-all --out runs/ablation

`train` takes a dataset made by single-image-gen, in files or tars, or a photograph, of which
images are then rendered on access. Images of 32 pixels train a small network of four convolutions;
from 224 pixels on it is AlexNet with batch normalization, for which a GPU is wanted. `probe` trains
a linear classifier on each convolution. `table` does both for each dataset that
examples/ablation.sh made, for several methods and seeds. `finetune` freezes convolutions of runs
and trains the rest with labels. The same command continues what was stopped.

Labeled images (--data): an ImageFolder root with train/ and val/ (or test/); a folder of
torchvision's CIFAR-10 or CIFAR-100; or `textures`: patches of the photographs that come with
scikit-image (also `textures-wide` and `textures-color`).

pip install 'single-image-gen[examples]'
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":  # not the checkout's single_image_gen, which is not compiled
    sys.path[0] = str(Path(__file__).parents[1])

from learning.finetuning import finetune
from learning.methods import METHODS, settings_of
from learning.networks import device
from learning.pretraining import load, train
from learning.probes import EPOCHS, probe
from learning.table import METHODS_AND_ROWS, table
from learning.unlabeled import described, open_images
from single_image_gen.errors import SingleImageGenError


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    given = vars(parse(argv))
    command = given.pop("command")
    try:
        COMMANDS[command](**given)
    except (SingleImageGenError, OSError) as error:
        raise SystemExit(f"learning: {error}") from None
    return 0


def run_train(images, out, method, net, num_imgs, workers, **settings):
    """Pretrain on a dataset, or on a photograph."""
    if net == "auto":
        large = device().type == "cuda" if images.is_file() else described(images)[0] >= 224
        net = "alexnet" if large and method != "monogan" else "small"
    opened = open_images(images, net, num_imgs, workers)
    run = settings_of(method, {**settings, "net": net, "images": len(opened)})
    train(run, opened, out, workers=workers)
    print(f"wrote checkpoint.pt, curve.png and filters.png to {out}")


def run_probe(run, data, schedule, probe_epochs, workers):
    """Measure what each layer of a pretrained network has learned."""
    network = load(run)[1]
    right = probe(network, data, schedule=schedule, epochs=probe_epochs, workers=workers)
    (run / "probes.json").write_text(json.dumps(right))
    for layer, share in enumerate(right, start=1):
        print(f"conv{layer}: {share:.1%}")


def run_table(datasets, out, methods, **given):
    """Pretrain and probe on each of several datasets, and compare."""
    settings = {name: given.pop(name) for name in SETTINGS}
    print(*table(datasets, out, settings, methods=methods, **given), sep="\n")


def run_finetune(runs, out, **given):
    """Freeze the first convolutions of runs and train the rest with labels."""
    print(*finetune(runs, out, **given), sep="\n")


SETTINGS = ("epochs", "batch_size", "learning_rate", "width", "clusters", "critic_steps")
COMMANDS = {"train": run_train, "probe": run_probe, "table": run_table, "finetune": run_finetune}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments."""
    raw, defaults = argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser("learning", description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    train_, probe_, table_, finetune_ = (
        commands.add_parser(name, help=run.__doc__, formatter_class=defaults)
        for name, run in COMMANDS.items()
    )
    train_.add_argument("images", type=Path, help="a dataset, or a photograph")
    train_.add_argument("--method", choices=METHODS, default="rotnet", help="pretext task")
    nets = ("auto", "small", "alexnet")
    help_net = "auto: AlexNet for datasets from 224 pixels, and for a photograph where a GPU is"
    train_.add_argument("--net", choices=nets, default="auto", help=help_net)
    train_.add_argument("--seed", type=int, default=0, help="of weights, order, augmentations")
    probe_.add_argument("run", type=Path, help="folder that train wrote")
    table_.add_argument("datasets", type=Path, help="folder of datasets")
    table_.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD[:ROW,ROW...]",
        help=f"rows are datasets, random or supervised (default: {' '.join(METHODS_AND_ROWS)})",
    )
    finetune_.add_argument(
        "runs", type=Path, nargs="+", help="folders of runs, or a table's without -SEED"
    )
    finetune_.add_argument(
        "--freeze",
        type=int,
        nargs="+",
        choices=range(1, 5),
        default=[1, 2],
        help="how many of the first convolutions",
    )
    finetune_.add_argument("--epochs", type=at_least_1, default=15, help="over the labeled images")
    for added, epochs in ((train_, 10), (table_, 2)):
        number = {"type": at_least_1}
        added.add_argument("--epochs", **number, default=epochs, help="passes over the images")
        added.add_argument("--batch_size", **number, help="images of a step, else the method's")
        added.add_argument("--learning_rate", type=float, help="at first, else the method's")
        added.add_argument("--width", **number, default=32, help="of the small network")
        added.add_argument("--clusters", **number, default=100, help="of DeepCluster")
        added.add_argument("--critic_steps", **number, default=5, help="of MonoGAN")
        added.add_argument("--num_imgs", **number, help="the first images only")
    for added in (train_, table_, finetune_):
        added.add_argument("--out", type=Path, required=True, help="folder to write to")
    for added in (table_, finetune_):
        added.add_argument("--seeds", type=at_least_1, default=3, help="repetitions")
    for added in (probe_, table_):
        added.add_argument("--schedule", choices=EPOCHS, default="quick", help="of the probes")
        added.add_argument("--probe_epochs", type=at_least_1, help="instead of the schedule's")
    for added in (probe_, table_, finetune_):
        added.add_argument("--data", default="textures", help="labeled images, as said above")
    for added in (train_, probe_, table_):
        added.add_argument("--workers", type=int, default=2, help="processes that load images")
    return parser.parse_args(argv)


def at_least_1(text: str) -> int:
    """A count."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return int(text)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("learning: interrupted; repeat the command to continue")
