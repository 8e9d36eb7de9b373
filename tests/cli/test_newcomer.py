"""What trips a newcomer: each refusal says why and what to do, and nothing is silent."""

from __future__ import annotations

import os
import shutil
import textwrap
from pathlib import Path

import pytest
from conftest import (
    Done,
    bound_by_permissions,
    edit_dataset_json,
    images_below,
    program,
    refused,
    run,
    save_photo,
    tree_hash,
)
from PIL import Image

from single_image_gen.photo.find import find_sources
from single_image_gen.text import counted, size_of

TINY = ("--img_size", 8, "--threads", 1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_photo(tmp_path_factory.mktemp("source") / "pic.png")


def make(source: Path, target: Path, count: int = 6, *flags: object) -> Done:
    return run("--imgpath", source, "--targetpath", target, "--num_imgs", count, *TINY, *flags)


# --- numbers in words


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (1, "batch", "1 batch"),
        (2, "batch", "2 batches"),
        (1281167, "image", "1,281,167 images"),
    ],
)
def test_one_is_singular(count: int, noun: str, words: str) -> None:
    assert counted(count, noun) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (14_246, "14.2 kB"),
        (999_999, "1.0 MB"),
        (25_272_504_320, "25.3 GB"),
        (3e15, "3000.0 TB"),
    ],
)
def test_bytes_are_for_people(count: float, words: str) -> None:
    assert size_of(count) == words


def test_a_dataset_of_one_image_is_spoken_of_in_the_singular(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    dataset = target / "dataset.json"
    for arguments in (
        ("--imgpath", source, "--targetpath", target, "--num_imgs", 1, *TINY, "--dry_run"),
        ("--imgpath", source, "--targetpath", target, "--num_imgs", 1, *TINY),
        ("--imgpath", source, "--targetpath", target, "--num_imgs", 1, *TINY),
        ("render", dataset, "--index", 0, "--targetpath", tmp_path / "again"),
        ("verify", target),
    ):
        code, printed, _ = run(*arguments)
        assert code == 0
        assert not any(f" 1 {noun}" in f" {printed}" for noun in ("images", "workers", "batches"))
        assert "1 image" in printed or "nothing to do" in printed
    assert "size: about 7" not in printed


def test_every_size_is_printed_in_one_form(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    printed = make(source, target, 20).out
    size = size_of(sum(path.stat().st_size for path in images_below(target)))
    assert f"20 images, {size}, in " in printed
    arguments = ("--index", "0-19", "--targetpath", tmp_path / "again")
    printed = run("render", target / "dataset.json", *arguments).out
    assert printed == f"20 images, {size}, in {tmp_path / 'again'}\n"
    printed = make(source, tmp_path / "new", 20, "--dry_run").out
    assert f"size: about {size} in 20 files" in printed


# --- a target of another size


def test_tars_cannot_grow_and_the_refusal_says_so(source: Path, tmp_path: Path) -> None:
    assert make(source, tmp_path, 6, "--format", "webdataset").code == 0
    before = sorted(tmp_path.iterdir())
    line = refused(
        *("--imgpath", source, "--targetpath", tmp_path, "--num_imgs", 9, *TINY),
        *("--format", "webdataset"),
    )
    assert line == (
        f"{tmp_path} holds another dataset (num_imgs: 6 there, 9 asked for): tars cannot grow, "
        "only a folder dataset can; use the flags it was made with, choose another --targetpath, "
        "or replace it with --overwrite"
    )
    assert sorted(tmp_path.iterdir()) == before


def test_a_dataset_cannot_shrink_and_the_refusal_says_what_to_take_instead(
    source: Path, tmp_path: Path
) -> None:
    assert make(source, tmp_path, 6).code == 0
    line = refused("--imgpath", source, "--targetpath", tmp_path, "--num_imgs", 4, *TINY)
    assert line == (
        f"{tmp_path} holds another dataset (num_imgs: 6 there, 4 asked for): a dataset cannot "
        "shrink, but its first 4 are what is asked for; use the flags it was made with, choose "
        "another --targetpath, or replace it with --overwrite"
    )


def test_growth_that_nobody_asked_for_is_told(source: Path, tmp_path: Path) -> None:
    assert make(source, tmp_path, 6).code == 0
    flags = ("--imgpath", source, "--targetpath", tmp_path, *TINY)
    code, _, errors = run(*flags, "--num_imgs", 7, "--dry_run")
    assert code == 0
    assert "grows" not in errors
    code, _, errors = run(*flags, "--dry_run")
    assert code == 0
    assert (
        f"notice: the dataset in {tmp_path} has 6 images, and grows to 1,281,167, the default: "
        "give --num_imgs for another number"
    ) in errors


def test_what_follows_from_another_recipe_is_not_listed(source: Path, tmp_path: Path) -> None:
    assert make(source, tmp_path, 6, "--recipe", "paper", "--deg", 3).code == 0
    line = refused("--imgpath", source, "--targetpath", tmp_path, "--num_imgs", 6, *TINY)
    assert "(recipe: paper there, script asked for; deg: 3.0 there, 30.0 asked for):" in line


def test_a_batch_size_that_nobody_asked_for_is_no_difference(source: Path, tmp_path: Path) -> None:
    assert make(source, tmp_path, 6).code == 0
    flags = ("--num_imgs", 6, "--format", "webdataset", *TINY)
    line = refused("--imgpath", source, "--targetpath", tmp_path, *flags)
    assert "(format: folder there, webdataset asked for)" in line


# --- --from


def test_from_asks_for_a_source_that_has_moved(source: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copy(source, tmp_path / "mine.png"))
    assert make(mine, tmp_path / "out").code == 0
    mine.unlink()
    again = ("--from", tmp_path / "out/dataset.json", "--targetpath", tmp_path / "again")
    assert refused(*again) == (
        f"{mine}: No such file or directory: say with --imgpath where this source is now"
    )
    Image.new("RGB", (40, 30)).save(mine)
    assert refused(*again).endswith("say with --imgpath where the dataset's source is")
    assert "is the source of class mine" in refused(*again, "--imgpath", mine)
    assert not (tmp_path / "again").exists()


def test_from_finds_the_sources_among_others_and_takes_the_folder_for_its_dataset_json(
    source: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        save_photo(tmp_path / f"{name}.png", 30, 30, seed=ord(name))
    assert run(
        *("--imgpath", tmp_path / "b.png", source, "--targetpath", tmp_path / "out"),
        *("--num_imgs", 6, *TINY),
    ).code == 0  # fmt: skip
    (tmp_path / "moved").mkdir()
    (tmp_path / "b.png").rename(tmp_path / "moved/z.png")
    (tmp_path / "a.png").rename(tmp_path / "moved/a.png")
    shutil.copy(source, tmp_path / "moved/m.png")
    again = ("--from", tmp_path / "out", "--targetpath", tmp_path / "again", "--threads", 1)
    assert run(*again, "--imgpath", tmp_path / "moved").code == 0
    assert tree_hash(tmp_path / "again") == tree_hash(tmp_path / "out")


# --- words that are no flags


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["verfy", "out/"], "'verfy' is not a command: the commands are verify, params,"),
        (
            ["generate", "--imgpath", "x"],
            "to make a dataset, name none: single-image-gen --imgpath",
        ),
        (["PHOTO"], "to make a dataset of PHOTO: single-image-gen --imgpath PHOTO"),
        (["TARGET"], "to check the dataset TARGET: single-image-gen verify TARGET"),
        (["--imgpth", "x.jpg"], "--imgpth x.jpg: did you mean --imgpath? (see"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_first_word_that_is_no_command_or_flag_is_answered_with_the_command_to_use(
    words: list[str], line: str, source: Path, tmp_path: Path
) -> None:
    assert make(source, tmp_path / "out").code == 0
    places = {"PHOTO": str(source), "TARGET": str(tmp_path / "out")}
    for name, place in places.items():
        line = line.replace(name, place)
    told = refused(*[places.get(word, word) for word in words])
    assert line in told
    assert told.endswith(" --help)")


def test_help_shows_each_flag_once_and_fits_a_terminal() -> None:
    for command in ([], ["verify"], ["params"], ["render"], ["inspect"]):
        text = program(*command, "--help", env={**os.environ, "COLUMNS": "80"}).stdout
        assert max(map(len, text.splitlines())) < 80
    text = program("--help", env={**os.environ, "COLUMNS": "80"}).stdout
    assert text.startswith("usage: single-image-gen --imgpath PATH [PATH ...] [--targetpath DIR]")
    assert "--num_imgs N  " in text
    assert "--num-imgs N" not in text
    # it decides bytes, so it does not stand below "none of these changes an image"
    assert text.index("  --engine ") < text.index("none of these changes an image")


# --- sources


def notices(done: Done) -> list[str]:
    lines = done.err.splitlines()
    assert done.code == 0
    assert all(line.startswith("single-image-gen: notice: ") for line in lines)
    return [line.removeprefix("single-image-gen: notice: ") for line in lines]


def test_a_source_given_twice_is_told_of(source: Path, tmp_path: Path) -> None:
    flags = ("--num_imgs", 6, *TINY)
    target = ("--targetpath", tmp_path / "out")
    assert notices(run("--imgpath", source.parent, source, *target, *flags)) == [
        (
            f"{source} is given twice: they make two classes, pic and pic_2; name each source once, "
            "unless this is intended"
        )
    ]
    shutil.copy(source, tmp_path / "copy.png")
    target = ("--targetpath", tmp_path / "copies")
    copies = ("--imgpath", source, tmp_path / "copy.png", source)
    assert notices(run(*copies, *target, *flags)) == [
        (
            f"{tmp_path / 'copy.png'} and {source} are the same, byte for byte: they make two classes, "
            "copy and pic; name each source once, unless this is intended (1 more source like that)"
        )
    ]
    again = ("--from", tmp_path / "copies/dataset.json", "--targetpath", tmp_path / "again")
    assert notices(run(*again, "--threads", 1)) == []  # it was meant


def test_a_target_among_the_sources_can_be_resumed_and_grow(source: Path, tmp_path: Path) -> None:
    """`--imgpath . --targetpath ./out`, once more: what the first run made is no source."""
    (tmp_path / "deep").mkdir()
    shutil.copy(source, tmp_path / "pic.png")
    shutil.copy(source, tmp_path / "deep/other.png")
    for target in (tmp_path / "out", tmp_path):
        for count in (6, 6, 9):
            assert make(tmp_path, target, count, "--quiet").code == 0
            assert len(images_below(target)) == count
            assert sorted(path.name for path in (target / "train").iterdir()) == ["other", "pic"]
        shutil.rmtree(target / "train") if target == tmp_path else shutil.rmtree(target)


# --- targets


@pytest.mark.parametrize("flags", [(), ("--dry_run",), ("--overwrite",)], ids=str)
def test_a_file_in_the_place_of_the_target_is_called_a_file(
    flags: tuple[str, ...], source: Path, tmp_path: Path
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    line = f"{file} is a file, not a folder: move it away, or choose another --targetpath"
    arguments = ("--imgpath", source, "--num_imgs", 6, *TINY, *flags, "--targetpath")
    assert refused(*arguments, file) == line
    assert refused(*arguments, file / "sub/deep") == line
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert f"{tmp_path / 'link'} is a link, but not to a folder" in refused(
        *arguments, tmp_path / "link"
    )
    assert file.read_text() == "mine"


def test_a_dry_run_refuses_a_target_that_may_not_be_written_to(
    source: Path, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    assert make(source, closed).code == 0
    closed.chmod(0o555)
    flags = ("--imgpath", source, *TINY, "--dry_run", "--targetpath")
    line = f"{closed}: Permission denied: choose a --targetpath that may be written to"
    with bound_by_permissions():
        assert refused(*flags, closed / "new", "--num_imgs", 6) == line
        assert refused(*flags, closed, "--num_imgs", 9) == line
        assert run(*flags, closed, "--num_imgs", 6).code == 0  # nothing would be written
    closed.chmod(0o755)


def test_a_finished_share_does_not_claim_that_all_is_there(source: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = make(source, tmp_path, 4, "--batch_size", 2, "--shard", "0/2")
        assert done.code == 0
    assert done.out.splitlines() == [
        "nothing to do: all images of this shard are recorded as finished",
        f"{tmp_path}: 2 of 4 images are left to other shards, or to a rerun",
    ]


def test_a_shard_beyond_the_last_batch_says_so(source: Path, tmp_path: Path) -> None:
    done = make(source, tmp_path, 6, "--shard", "7/9", "--batch_size", 2)
    assert done.code == 0
    assert done.out.splitlines() == [
        "nothing to do for shard 7/9 (--shard): the dataset has 3 batches",
        f"{tmp_path}: 6 of 6 images are left to other shards, or to a rerun",
    ]


def test_the_notice_of_many_files_is_of_files_that_are_still_to_be_made(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("single_image_gen.make.generate.MANY_FILES", 5)
    assert "this makes 6 files" in make(source, tmp_path).err
    code, _, errors = make(source, tmp_path)
    assert (code, errors) == (0, "")


# --- verify


def verdict(*arguments: object, code: int = 1) -> list[str]:
    done = run("verify", *arguments, "--quiet")
    assert done.code == code
    return done.out.splitlines()


REPAIR = "--repair restores what is damaged, missing or wrong"
MOVE = "foreign files are never touched: move them away"


def test_verify_says_what_is_wrong_of_what_kind_and_what_to_do(
    source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    assert make(source, target, 20, "--batch_size", 10).code == 0
    good = [f"{target}: 20 of 20 images intact; all is well"]
    for place in (target, target / "dataset.json"):
        assert verdict(place, code=0) == good
    patch = str(target / "train/pic/patch_{:07d}.jpg").format
    Path(patch(1)).write_text("no picture")
    Path(patch(2)).unlink()
    Path(patch(3)).write_bytes(b"")
    assert verdict(target) == [
        "damaged: train/pic/patch_0000001.jpg: not a JPEG",
        "missing: train/pic/patch_0000002.jpg",
        "damaged: train/pic/patch_0000003.jpg: empty",
        f"{target}: 17 of 20 images intact; 2 damaged, 1 missing",
        REPAIR,
    ]
    lines = verdict(target, "--repair", code=0)
    assert lines[:2] == [
        "repaired: train/pic/patch_0000001.jpg: not a JPEG",
        "repaired: train/pic/patch_0000002.jpg: missing",
    ]
    assert lines[-1] == (
        f"{target}: 20 of 20 images intact (3 made again, 17 intact ones kept); all is well"
    )
    records = (target / "batches.jsonl").read_text().splitlines(keepends=True)
    (target / "batches.jsonl").write_text(records[0])
    (target / "train/notes.txt").write_text("mine")
    assert verdict(target) == [
        "record: batches.jsonl: no record of images 10 to 19, so they cannot be checked",
        "foreign: train/notes.txt: not part of the dataset",
        (
            f"{target}: 10 of 20 images intact, 10 without a record to check them by; 1 foreign, "
            "1 wrong record"
        ),
        f"{REPAIR}; {MOVE}",
    ]
    lines = verdict(target, "--repair")
    assert lines[-1] == MOVE
    (target / "dataset.json").unlink()
    assert verdict(target) == [
        "missing: dataset.json",
        (
            f"{target}: cannot be checked without its dataset.json; restore it (rerun the original "
            "command with another --targetpath to recreate it)"
        ),
    ]


def test_verify_of_an_unfinished_target_says_how_to_finish_it(source: Path, tmp_path: Path) -> None:
    assert make(source, tmp_path, 3, "--batch_size", 2, "--shard", "0/2").code == 0
    assert verdict(tmp_path) == [
        f"{tmp_path}: 2 of 3 images intact; 1 not made yet",
        "rerun the command that began it to make the rest",
    ]


def test_verify_says_where_in_a_tar_the_damage_is(source: Path, tmp_path: Path) -> None:
    assert make(source, tmp_path, 2, "--format", "webdataset").code == 0
    tar = tmp_path / "train-000000.tar"
    with tar.open("ab") as file:
        file.write(b"more")
    assert verdict(tmp_path) == [
        (
            "damaged: train-000000.tar: its images are there, but the bytes around its members "
            "(headers, padding or end) are not those that were written"
        ),
        f"{tmp_path}: 2 of 2 images intact; 1 damaged",
        REPAIR,
    ]


def test_a_repair_that_cannot_be_says_why(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert make(source, target, 4).code == 0
    edit_dataset_json(target / "dataset.json", '"opencv": "', '"opencv": "0.')
    lost = target / "train/pic/patch_0000001.jpg"
    lost.unlink()
    (lost / "mine").mkdir(parents=True)
    code, out, err = run("verify", target, "--repair")
    assert code == 1
    assert out.splitlines()[-1] == "what is still wrong could not be repaired"
    assert "warning: the dataset was made by other versions (opencv: 0." in err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere", "nowhere: no such folder"),
        ("empty", "empty holds no dataset.json: name the folder that does"),
        ("notes.txt", "notes.txt: a file, not a folder: name the dataset's root"),
        ("out/train", "out/train holds no dataset.json: name the folder that does"),
    ],
)
def test_verify_of_what_is_no_dataset_names_what_is_wanted(
    name: str, words: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    assert make(source, tmp_path / "out").code == 0
    assert words in refused("verify", tmp_path / name)


# --- inspect


def test_the_legend_of_a_plot_says_what_its_pixels_are(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    legend = []
    wrap = textwrap.wrap
    monkeypatch.setattr(textwrap, "wrap", lambda text, n: legend.append(text) or wrap(text, n))
    assert run("inspect", source, "--plot", tmp_path / "map.png", "--recipe", "paper").code == 0
    about, flat, red = legend
    assert about.startswith((os.path.relpath(source), str(source)))
    assert "entropy of" in about
    assert "with less in them than one faint edge" in flat
    # 40 x 30 pixels: 1,200 and a thousandth of that, and the geometric mean of the two
    assert "Red: a crop of 6 x 6 pixels around this point would be nearly flat" in red
    assert "the recipe's crops have sides of 1 to 35 pixels" in red


# --- images that were made


@pytest.mark.parametrize("below", ["", "out"])
def test_images_that_were_made_are_no_sources_of_another_dataset(
    source: Path, tmp_path: Path, below: str
) -> None:
    """Neither beside the photographs nor in a folder below them; but if they are named outright."""
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    shutil.copy(source, photographs / "a.png")
    assert make(source, photographs / below, 6).code == 0
    assert [Path(path).name for path in find_sources([str(photographs)])] == ["a.png"]
    assert len(find_sources([str(photographs / below / "train")])) == 6


def test_a_folder_named_train_is_searched_unless_a_dataset_is_there(
    source: Path, tmp_path: Path
) -> None:
    (tmp_path / "train").mkdir()
    shutil.copy(source, tmp_path / "train/b.png")
    (tmp_path / "dataset.json").write_text('{"tool": "another"}')
    assert [Path(path).name for path in find_sources([str(tmp_path)])] == ["b.png"]
