"""The command `verify`: check every file of a dataset, and repair it if asked to."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from single_image_gen.check.repair import repair
from single_image_gen.check.verify import verify
from single_image_gen.cli.flags import fields_of
from single_image_gen.cli.output import print_lines
from single_image_gen.errors import DONE, FAILED, SingleImageGenWarning, UsageError, notify
from single_image_gen.make.rerender import RerenderOptions
from single_image_gen.target.layout import DATASET
from single_image_gen.target.metadata import open_dataset
from single_image_gen.target.versions import version_mismatch

if TYPE_CHECKING:
    import argparse

    from single_image_gen.check.report import Report


def run(arguments: argparse.Namespace) -> int:
    """Check a dataset."""
    options = RerenderOptions(**fields_of(RerenderOptions, vars(arguments)))
    before = report = verify(_root(arguments.target), quiet=arguments.quiet)
    if arguments.repair:
        report = repair(before, options)
        _warn_of_other_versions(report)
    left = set(report.findings)
    repaired = [finding for finding in before.findings if finding not in left]
    if arguments.json:
        value = report.as_json()
        if arguments.repair:
            value["repaired"] = [finding.as_json() for finding in repaired]
        print_lines(json.dumps(value, indent=2).splitlines())
    else:
        print_lines([*(f"repaired: {finding}" for finding in repaired), *report.lines()])
    return DONE if report.ok else FAILED


def _root(path: str) -> str:
    """The root of the dataset that a path names: the path itself, or its dataset.json's folder."""
    if os.path.isdir(path):
        return path
    if not os.path.exists(path):
        raise UsageError(f"{path}: no such folder")
    if os.path.basename(path) != DATASET:
        raise UsageError(f"{path}: a file, not a folder: name the dataset's root")
    return os.path.dirname(path) or "."


def _warn_of_other_versions(report: Report) -> None:
    """Say why a repair may have left damage as it was."""
    left = [finding for finding in report.findings if finding.kind != "foreign"]
    if not report.spec or not left:
        return
    if mismatch := version_mismatch(open_dataset(report.targetpath)):
        notify(
            f"the dataset {mismatch}: an image is put back only if it has the recorded checksum",
            SingleImageGenWarning,
        )
