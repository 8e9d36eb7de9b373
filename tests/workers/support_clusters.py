"""What the tests of clusters share: processes and ports, and the program's arguments."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def arguments(photo: Path, target: Path, *more: object) -> list[str]:
    """Of the program, for 120 small images in 30 batches."""
    options = ["--num_imgs", "120", "--batch_size", "4", "--img_size", "16", "--quiet", *more]
    return ["--imgpath", str(photo), "--targetpath", str(target), *map(str, options)]


def environ_with_support_tasks(**more: str) -> dict[str, str]:
    """An environment in which a worker finds `support_tasks`."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return {**os.environ, "PYTHONPATH": path, **more}


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End them, the last that was started first."""
    for process in reversed(processes):
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def free_ports(count: int) -> list[int]:
    """So many different ones."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
