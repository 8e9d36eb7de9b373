"""The jungle: animals and birds in a thicket of leaves, outlined like a drawing."""

from __future__ import annotations

import math

import cv2
import numpy as np
from painting import Array, Rng, Sheet, curve, hsv, noise, vivid
from PIL import Image


def leaf(s: Sheet, x: float, y: float, turn: float, size: float, tone: Array) -> None:
    """A broad leaf with a rib and veins, from its stalk."""

    def at(u: float, v: float) -> tuple[float, float]:
        return (
            x + size * (u * math.cos(turn) - v * math.sin(turn)),
            y + size * (u * math.sin(turn) + v * math.cos(turn)),
        )

    s.poly(
        [at(0, 0), at(0.25, 0.22), at(0.6, 0.2), at(1, 0), at(0.6, -0.2), at(0.25, -0.22)],
        np.stack([tone * 1.2, tone * 0.7]),
        2,
        puff=0.1 * size,
        drop=0.08 * size,
    )
    for u in (0.2, 0.38, 0.56, 0.72):
        for v in (-1, 1):
            s.line([at(u, 0), at(u + 0.14, 0.13 * v * (1.2 - u))], 0.009 * size, tone * 1.45)
    s.line([at(0, 0), at(0.95, 0)], [0.02 * size, 0.006 * size], tone * 1.5)


def frond(s: Sheet, x: float, y: float, turn: float, size: float, tone: Array) -> None:
    """A palm frond: slim leaflets along a drooping rib."""
    rib = [
        (x + size * t * math.cos(turn), y + size * (t * math.sin(turn) - 0.35 * t * t))
        for t in np.linspace(0, 1, 15)
    ]
    for i, (u, v) in enumerate(rib[1:], 1):
        reach = size * 0.42 * math.sin(math.pi * (0.15 + 0.8 * i / 15))
        for side in (-1, 1):
            a = turn - 0.5 * i / 15 + side * 0.85
            s.line(
                [
                    (u, v),
                    (u + 0.6 * reach * math.cos(a), v + 0.6 * reach * math.sin(a)),
                    (u + reach * math.cos(a), v + reach * math.sin(a) - 0.2 * reach),
                ],
                [0.02 * size, 0.035 * size, 0.004 * size],
                tone * (1.1 + 0.2 * side),
                1,
                puff=0.03 * size,
                drop=0.03 * size,
            )
    s.line(rib, 0.012 * size, tone * 1.5)


def flower(s: Sheet, rng: Rng, x: float, y: float, r: float) -> None:
    """Petals round a yellow heart."""
    tone, n = vivid(rng), rng.integers(5, 8)
    for i in range(n):
        a = 2 * math.pi * i / n
        s.oval(
            x + 0.6 * r * math.cos(a),
            y + 0.6 * r * math.sin(a),
            0.5 * r,
            0.3 * r,
            np.stack([tone * 1.1, tone * 0.8]),
            a,
            puff=0.2 * r,
            drop=0.12 * r,
        )
    s.oval(x, y, 0.28 * r, 0.28 * r, hsv(0.13, 0.9, 0.98), puff=0.25 * r)


def eye(s: Sheet, x: float, y: float, r: float, iris: Array) -> None:
    """An eye with a spark."""
    s.oval(x, y, r, r, iris, puff=0.3 * r)
    s.oval(x, y, 0.6 * r, 0.65 * r, np.float32([0.03, 0.02, 0.02]))
    s.oval(x - 0.25 * r, y + 0.3 * r, 0.25 * r, 0.25 * r, np.float32([1, 1, 1]))


# fur, muzzle and marking colors as hue, saturation, value; ear shape; marking; iris hue
BEASTS = {
    "tiger": ((0.075, 0.85, 0.96), (0.1, 0.1, 0.98), (0.05, 0.6, 0.12), "round", "stripes", 0.14),
    "leopard": ((0.11, 0.6, 0.95), (0.1, 0.15, 0.98), (0.06, 0.6, 0.2), "round", "spots", 0.2),
    "lion": ((0.1, 0.6, 0.93), (0.11, 0.25, 0.98), (0.06, 0.75, 0.5), "round", "mane", 0.1),
    "panda": ((0.1, 0.04, 0.98), (0.1, 0.03, 1.0), (0.65, 0.2, 0.12), "round", "patches", 0.06),
    "bear": ((0.06, 0.7, 0.52), (0.09, 0.45, 0.8), (0.05, 0.6, 0.3), "round", "none", 0.08),
    "fox": ((0.045, 0.85, 0.9), (0.1, 0.05, 1.0), (0.05, 0.5, 0.15), "sharp", "cheeks", 0.12),
    "koala": ((0.6, 0.1, 0.66), (0.6, 0.05, 0.85), (0.6, 0.2, 0.2), "big", "none", 0.07),
    "monkey": ((0.05, 0.6, 0.34), (0.08, 0.4, 0.9), (0.05, 0.5, 0.2), "wide", "face", 0.08),
    "raccoon": ((0.6, 0.08, 0.55), (0.1, 0.03, 0.95), (0.6, 0.2, 0.13), "sharp", "patches", 0.1),
    "rabbit": ((0.08, 0.3, 0.8), (0.08, 0.08, 0.98), (0.95, 0.3, 0.9), "long", "none", 0.55),
    "gorilla": ((0.64, 0.3, 0.24), (0.64, 0.15, 0.4), (0.6, 0.2, 0.1), "round", "face", 0.06),
}


def beast(s: Sheet, rng: Rng, kind: str, x: float, y: float, r: float) -> None:
    """Body, head and face of a furry animal that looks at you."""
    coat, pale, dark = (hsv(*c) for c in BEASTS[kind][:3])
    ears, marks, iris = BEASTS[kind][3:]
    fur = coat * (0.72 + 0.5 * noise(rng, s.px, 0.05 * r * s.ppm, 3, 3.0))[..., None]
    trunk = [
        (x - 1.5 * r, y - 3.0 * r),
        (x - 1.45 * r, y - 1.5 * r),
        (x - 0.85 * r, y - 0.3 * r),
        (x + 0.85 * r, y - 0.3 * r),
        (x + 1.45 * r, y - 1.5 * r),
        (x + 1.5 * r, y - 3.0 * r),
    ]
    skull = [
        (x - 0.95 * r, y + 0.05 * r),
        (x - 0.8 * r, y + 0.75 * r),
        (x, y + 0.98 * r),
        (x + 0.8 * r, y + 0.75 * r),
        (x + 0.95 * r, y + 0.05 * r),
        (x + 0.62 * r, y - 0.7 * r),
        (x, y - 0.98 * r),
        (x - 0.62 * r, y - 0.7 * r),
    ]
    s.poly(trunk, fur * (1.0 if kind != "panda" else 0.2), 2, puff=0.6 * r, drop=0.2 * r)
    if marks == "mane":
        for a in [*np.linspace(0, 2 * np.pi, 36), *np.linspace(0.1, 6.2, 36)]:
            k = r * rng.uniform(1.2, 1.75)
            s.line(
                [
                    (x + 0.6 * r * math.cos(a), y + 0.6 * r * math.sin(a)),
                    (x + k * math.cos(a + 0.15), y + k * math.sin(a + 0.15)),
                ],
                [0.28 * r, 0.05 * r],
                dark * rng.uniform(0.8, 1.5),
                1,
                puff=0.12 * r,
                drop=0.06 * r,
            )
    for side in (-1, 1):
        u, inner = x + 0.7 * side * r, hsv(0.02, 0.35, 0.8)
        tone = dark if kind == "panda" else fur
        if ears == "sharp":
            for k, c in ((1.0, tone), (0.6, inner)):
                s.poly(
                    [
                        (u - 0.3 * k * r, y + 0.5 * r),
                        (u + 0.2 * side * r, y + (0.6 + 0.75 * k) * r),
                        (u + 0.3 * k * r, y + 0.45 * r),
                    ],
                    c,
                    1,
                    puff=0.1 * r,
                    drop=0.05 * r,
                )
        else:
            ex, ey, er, et = {
                "round": (0, 0.7, 0.32, 0.32),
                "big": (0.35, 0.55, 0.55, 0.5),
                "wide": (0.35, 0.1, 0.3, 0.34),
                "long": (-0.25, 1.35, 0.22, 0.75),
            }[ears]
            for k, c in ((1.0, tone), (0.6, inner)):
                s.oval(
                    u + ex * side * r,
                    y + ey * r,
                    k * er * r,
                    k * et * r,
                    c,
                    puff=0.15 * r,
                    drop=0.05 * r,
                )
    s.poly(skull, fur, 2, puff=0.55 * r, drop=0.25 * r)
    for shape in (trunk, skull):
        s.within(shape)
        mid, tall = (y, 1.0) if shape is skull else (y - 1.6 * r, 1.2)
        if marks == "stripes":
            for side in (-1, 1):
                for v in np.linspace(-0.8, 0.9, 8):
                    s.line(
                        [
                            (x + side * 1.1 * r, mid + tall * r * (v + 0.12)),
                            (x + side * rng.uniform(0.35, 0.6) * r, mid + tall * r * v),
                        ],
                        [0.085 * r, 0.012 * r],
                        dark,
                        0,
                    )
        elif marks == "spots":
            for _ in range(70):
                u, v = rng.uniform(-1.1, 1.1, 2) * r
                if shape is trunk or math.hypot(u, v + 0.25 * r) > 0.55 * r:
                    s.oval(x + u, mid + v, 0.085 * r, 0.07 * r, dark)
                    s.oval(x + u, mid + v, 0.04 * r, 0.035 * r, coat * 0.8)
        elif marks in ("face", "cheeks") and shape is skull:
            for side in (-1, 1):
                u, v = (0.33, 0.1) if marks == "face" else (0.75, -0.35)
                s.oval(x + u * side * r, y + v * r, 0.42 * r, 0.45 * r, pale)
    s.within(None)
    s.oval(
        x,
        y - 0.42 * r,
        0.5 * r,
        0.4 * r,
        np.stack([pale, pale * 0.85]),
        puff=0.3 * r,
        drop=0.05 * r,
    )
    for side in (-1, 1):
        if marks == "patches":
            s.oval(x + 0.4 * side * r, y + 0.12 * r, 0.3 * r, 0.24 * r, dark, -0.6 * side)
        eye(s, x + 0.38 * side * r, y + 0.15 * r, 0.17 * r, hsv(iris, 0.75, 0.9))
        s.line(
            [
                (x + 0.02 * side * r, y - 0.52 * r),
                (x + 0.14 * side * r, y - 0.6 * r),
                (x + 0.3 * side * r, y - 0.52 * r),
            ],
            0.025 * r,
            dark * 0.6,
        )
    big = 1.6 if kind == "koala" else 1.0
    s.oval(
        x,
        y - 0.26 * r,
        0.17 * r,
        0.12 * r * big,
        np.float32([0.12, 0.07, 0.08]),
        puff=0.1 * r,
        gloss=0.6,
    )


def bird(s: Sheet, rng: Rng, x: float, y: float, r: float, side: int) -> None:
    """A parrot or toucan, head r across, looking to one side, with a long tail."""
    one, two, three = vivid(rng), vivid(rng), vivid(rng)
    for i in range(5):  # tail
        s.line(
            [
                (x - 0.3 * side * r, y - 2.2 * r),
                (x - side * (0.9 + 0.25 * i) * r, y - (4.6 - 0.3 * i) * r),
            ],
            [0.25 * r, 0.1 * r],
            (one, two, three)[i % 3],
            1,
            puff=0.15 * r,
            drop=0.1 * r,
        )
    s.line(
        [(x, y), (x - 0.1 * side * r, y - 1.2 * r), (x - 0.4 * side * r, y - 2.6 * r)],
        [0.7 * r, 1.0 * r, 0.35 * r],
        np.stack([one * 1.1, one * 0.7]),
        puff=0.6 * r,
        drop=0.25 * r,
    )
    for row, tone in enumerate((two, three, two * 0.7)):  # wing
        for k in range(5 - row):
            u, v = x - side * (0.75 - 0.12 * k) * r, y - (0.8 + 0.55 * row + 0.25 * k) * r
            s.line(
                [(u, v), (u - 0.25 * side * r, v - 0.9 * r)],
                [0.24 * r, 0.1 * r],
                tone,
                1,
                puff=0.12 * r,
                drop=0.08 * r,
            )
    s.oval(x, y + 0.1 * r, 0.8 * r, 0.78 * r, np.stack([one * 1.15, one * 0.85]), puff=0.5 * r)
    long = rng.choice([0.0, 0.9])
    beak = [
        (x + 0.45 * side * r, y + 0.5 * r),
        (x + (1.1 + long) * side * r, y + 0.35 * r),
        (x + (1.25 + long) * side * r, y - 0.5 * r),
        (x + 0.5 * side * r, y - 0.2 * r),
    ]
    s.poly(
        beak,
        hsv(rng.choice([0.08, 0.13, 0.65]), 0.8, rng.choice([0.3, 0.98])),
        2,
        puff=0.25 * r,
        gloss=0.6,
        drop=0.1 * r,
    )
    s.oval(x + 0.25 * side * r, y + 0.25 * r, 0.32 * r, 0.28 * r, np.float32([0.97, 0.96, 0.92]))
    eye(s, x + 0.28 * side * r, y + 0.27 * r, 0.17 * r, hsv(0.12, 0.9, 0.95))


def elephant(s: Sheet, rng: Rng, x: float, y: float, r: float) -> None:
    """Head with wide ears, tusks and a raised trunk."""
    wrinkles = noise(rng, s.px, 0.1 * r * s.ppm, 4, 0.4)[..., None]
    hide = hsv(0.58, 0.16, 0.66) * (0.7 + 0.6 * wrinkles)
    s.oval(x, y - 1.6 * r, 1.4 * r, 1.4 * r, hide, puff=0.8 * r)
    for side in (-1, 1):
        s.poly(
            [
                (x + 0.5 * side * r, y + 0.7 * r),
                (x + 1.5 * side * r, y + 0.9 * r),
                (x + 1.8 * side * r, y),
                (x + 1.3 * side * r, y - 0.9 * r),
                (x + 0.6 * side * r, y - 0.4 * r),
            ],
            hide,
            2,
            puff=0.25 * r,
            drop=0.2 * r,
        )
    s.poly(
        [
            (x - 0.8 * r, y + 0.5 * r),
            (x, y + 1.1 * r),
            (x + 0.8 * r, y + 0.5 * r),
            (x + 0.6 * r, y - 0.7 * r),
            (x - 0.6 * r, y - 0.7 * r),
        ],
        hide,
        2,
        puff=0.6 * r,
        drop=0.2 * r,
    )
    for side in (-1, 1):
        s.line(
            [
                (x + 0.45 * side * r, y - 0.5 * r),
                (x + 0.7 * side * r, y - 1.2 * r),
                (x + 1.2 * side * r, y - 1.2 * r),
            ],
            [0.15 * r, 0.12 * r, 0.03 * r],
            hsv(0.12, 0.12, 0.98),
            puff=0.1 * r,
            drop=0.1 * r,
        )
        eye(s, x + 0.48 * side * r, y + 0.05 * r, 0.12 * r, hsv(0.08, 0.7, 0.6))
    path = [
        (x, y - 0.2 * r),
        (x + 0.05 * r, y - 1.2 * r),
        (x + 0.5 * r, y - 1.9 * r),
        (x + 1.4 * r, y - 1.7 * r),
        (x + 1.6 * r, y - 0.8 * r),
    ]
    s.line(
        path,
        [0.42 * r, 0.33 * r, 0.27 * r, 0.2 * r, 0.16 * r],
        hide,
        3,
        puff=0.3 * r,
        drop=0.15 * r,
    )
    for u, v, _ in curve([(*p, 0) for p in path], 2)[2:-2]:
        s.line(
            [(u - 0.16 * r, v - 0.04 * r), (u + 0.16 * r, v + 0.04 * r)],
            0.015 * r,
            hsv(0.6, 0.2, 0.35),
        )


def longneck(s: Sheet, rng: Rng, x: float, y: float, r: float, side: int, pattern: str) -> None:
    """A giraffe or a zebra in profile."""
    coat = np.float32([0.96, 0.94, 0.9]) if pattern == "zebra" else hsv(0.11, 0.5, 0.95)
    dark = np.float32([0.08, 0.07, 0.08]) if pattern == "zebra" else hsv(0.06, 0.75, 0.5)
    neck = [
        (x - 1.5 * side * r, y - 4 * r),
        (x - 0.75 * side * r, y + 0.3 * r),
        (x + 0.1 * side * r, y + 0.4 * r),
        (x + 0.3 * side * r, y - 0.6 * r),
        (x + 0.6 * side * r, y - 4 * r),
    ]
    face = [
        (x - 0.55 * side * r, y + 0.6 * r),
        (x + 0.3 * side * r, y + 0.65 * r),
        (x + 1.5 * side * r, y - 0.5 * r),
        (x + 1.5 * side * r, y - 1.0 * r),
        (x + 0.9 * side * r, y - 1.05 * r),
        (x - 0.3 * side * r, y - 0.4 * r),
    ]
    for shape in (neck, face):
        s.poly(shape, np.stack([coat, coat * 0.85]), 2, puff=0.4 * r, drop=0.15 * r)
        s.within(shape)
        for i in range(16 if pattern == "zebra" else 60):
            if pattern == "zebra":
                v = y + (0.7 - 0.3 * i) * r
                s.line(
                    [(x - 1.6 * side * r, v + 0.4 * r), (x, v), (x + 1.6 * side * r, v + 0.3 * r)],
                    [0.1 * r, 0.07 * r, 0.09 * r],
                    dark,
                )
            elif shape is neck:
                u = x + rng.uniform(-1.4, 0.8) * side * r
                v = y - 0.28 * r * (i // 4) + rng.normal(0, 0.1) * r
                s.oval(u, v, 0.2 * r, 0.17 * r, dark)
        s.within(None)
    for k in (0, 0.35):
        s.line(
            [(x - (0.4 - k) * side * r, y + 0.5 * r), (x - (0.55 - k) * side * r, y + 1.2 * r)],
            [0.16 * r, 0.06 * r],
            coat * 0.9,
            puff=0.1 * r,
            drop=0.05 * r,
        )
    s.oval(x + 1.35 * side * r, y - 0.78 * r, 0.32 * r, 0.3 * r, dark * 0.5 + 0.25, puff=0.2 * r)
    s.oval(x + 1.45 * side * r, y - 0.68 * r, 0.07 * r, 0.05 * r, np.float32([0.05] * 3))
    eye(s, x + 0.3 * side * r, y + 0.15 * r, 0.16 * r, hsv(0.07, 0.6, 0.45))


def frog(s: Sheet, rng: Rng, x: float, y: float, r: float) -> None:
    """A tree frog."""
    tone = hsv(rng.choice([0.28, 0.33, 0.03, 0.55]), 0.8, 0.85)
    for side in (-1, 1):
        s.line(
            [
                (x + 0.6 * side * r, y - 0.6 * r),
                (x + 1.3 * side * r, y - 0.5 * r),
                (x + 0.9 * side * r, y - 1.2 * r),
            ],
            [0.3 * r, 0.2 * r, 0.2 * r],
            tone * 0.8,
            puff=0.2 * r,
            drop=0.1 * r,
        )
    s.oval(
        x,
        y - 0.4 * r,
        0.9 * r,
        0.8 * r,
        np.stack([tone, hsv(0.16, 0.4, 0.95)]),
        puff=0.5 * r,
        drop=0.15 * r,
    )
    s.oval(
        x,
        y,
        r,
        0.62 * r,
        np.stack([tone * 1.15, tone * 0.9]),
        puff=0.4 * r,
        gloss=0.4,
        drop=0.1 * r,
    )
    s.line(
        [(x - 0.7 * r, y - 0.1 * r), (x, y - 0.28 * r), (x + 0.7 * r, y - 0.1 * r)],
        0.035 * r,
        tone * 0.35,
    )
    for side in (-1, 1):
        s.oval(x + 0.55 * side * r, y + 0.5 * r, 0.34 * r, 0.34 * r, tone, puff=0.2 * r)
        eye(s, x + 0.55 * side * r, y + 0.52 * r, 0.25 * r, hsv(0.02, 0.9, 0.95))


def butterfly(s: Sheet, rng: Rng, x: float, y: float, r: float) -> None:
    """Four spotted wings."""
    one, two = vivid(rng), vivid(rng)
    for side in (-1, 1):
        for v, k, t in ((-0.45, 0.6, -0.7), (0.4, 0.85, 0.6)):
            s.oval(
                x + 0.62 * side * r,
                y + v * r,
                k * r,
                0.5 * k * r,
                one,
                side * t,
                puff=0.15 * r,
                drop=0.1 * r,
            )
            s.oval(x + 0.75 * side * r, y + v * 1.15 * r, 0.3 * k * r, 0.2 * k * r, two, side * t)
    s.line(
        [(x, y + 0.5 * r), (x, y - 0.6 * r)],
        0.09 * r,
        np.float32([0.12, 0.08, 0.08]),
        puff=0.06 * r,
    )


def jungle(seed: int) -> Image.Image:
    """The animals in the leaves, 600 x 225, drawn four times larger."""
    rng = np.random.default_rng(seed)
    s = Sheet(24.0, 9.0, 100.0)
    t = np.linspace(0, 1, s.px[0], dtype=np.float32)[:, None, None]
    s.cover(hsv(0.54, 0.35, 0.95) * (1 - t) + hsv(0.36, 0.7, 0.16) * t)
    s.outline = 2.0

    def greens(n: int, low: float, high: float, small: float, large: float) -> None:
        for _ in range(n):
            x, y, turn = rng.uniform(-12, 12), rng.uniform(low, high), rng.uniform(-0.6, 3.7)
            tone = hsv(
                rng.choice([0.2, 0.26, 0.31, 0.36, 0.44]),
                rng.uniform(0.5, 0.85),
                rng.uniform(0.3, 0.75),
            )
            (leaf if rng.random() < 0.65 else frond)(s, x, y, turn, rng.uniform(small, large), tone)

    greens(240, -0.5, 8.4, 1.2, 2.6)
    longneck(s, rng, -10.6, 7.6, 0.85, 1, "giraffe")
    elephant(s, rng, -1.6, 6.3, 1.45)
    longneck(s, rng, 7.2, 7.2, 0.85, -1, "zebra")
    rows = (
        (
            ("koala", -8.2, 7.0, 0.75),
            ("bear", 4.0, 6.7, 1.05),
            ("gorilla", -5.4, 6.2, 0.95),
            ("monkey", 11.0, 7.2, 0.8),
            ("leopard", 9.2, 5.9, 0.95),
        ),
        (
            ("panda", -9.9, 4.6, 1.15),
            ("tiger", -6.9, 3.3, 1.2),
            ("lion", 0.9, 3.3, 1.1),
            ("monkey", 4.2, 3.9, 0.8),
            ("bear", 11.0, 4.2, 0.95),
            ("tiger", 7.4, 3.6, 1.05),
        ),
        (
            ("leopard", -11.0, 2.0, 0.9),
            ("fox", -3.9, 2.5, 0.85),
            ("raccoon", 3.2, 1.7, 0.75),
            ("rabbit", -1.6, 1.5, 0.6),
            ("fox", 9.4, 1.9, 0.8),
            ("koala", 5.6, 1.5, 0.75),
            ("panda", -8.6, 1.4, 0.7),
            ("lion", 11.3, 1.3, 0.65),
        ),
    )
    for i, row in enumerate(rows):
        for kind, x, y, r in row:
            beast(s, rng, kind, x, y, r)
        greens((44, 40, 26)[i], (3.2, 0.8, -0.5)[i], (5.2, 2.4, 0.3)[i], 0.9, 1.7)
        for x, y, side in (
            ((-6.7, 8.2, 1), (1.6, 8.3, -1), (5.6, 8.0, 1), (9.9, 8.3, -1)),
            ((-4.3, 5.4, -1), (-8.2, 5.2, 1), (2.5, 5.0, 1), (5.6, 5.3, -1)),
            ((-5.0, 3.6, 1), (-0.7, 2.9, -1), (4.4, 2.6, -1), (10.3, 2.7, -1)),
        )[i]:
            bird(s, rng, x, y, rng.uniform(0.4, 0.52), side)
        for x in rng.uniform(-12, 12, 9):
            flower(s, rng, x, (4.6, 2.3, 0.3)[i] + rng.normal(0, 0.4), rng.uniform(0.18, 0.38))
    for x in (-6.2, 0.2, 2.3, 8.3):
        frog(s, rng, x, rng.uniform(0.6, 1.1), 0.5)
    for x, y in (
        (-7.1, 5.6),
        (-3.6, 8.3),
        (0.9, 5.6),
        (3.0, 8.5),
        (-10.9, 6.0),
        (6.2, 5.9),
        (-2.7, 4.2),
    ):
        butterfly(s, rng, x, y, rng.uniform(0.24, 0.36))
    for x in (-7.0, -3.2, 2.2, 6.6):
        turn = -0.35 if x in (-7.0, 2.2) else -2.8
        for k in (0.0, 0.5):
            frond(s, x, 9.1, turn + k, rng.uniform(1.6, 2.4), hsv(0.3 + 0.1 * k, 0.7, 0.6))
    rgb = cv2.resize(np.clip(s.rgb, 0, 1), (600, 225), interpolation=cv2.INTER_AREA)
    return Image.fromarray(np.round(rgb * 255).astype(np.uint8))
