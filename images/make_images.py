"""Draw the sample pictures of this folder from nothing but code and a fixed seed.

    python images/make_images.py            rewrites the three pictures beside this file
    python images/make_images.py --out DIR  writes them into DIR instead

The market is a small three-dimensional scene: every object is a flat sheet, painted with shaded
shapes (painting.py), that stands somewhere in the street (street.py) and is drawn from the
farthest to the nearest; this file puts them in their places.  The jungle (jungle.py) is one such
sheet, with outlines.  The calm bay (calm.py) has few sheets, and water that mirrors them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from calm import calm
from jungle import jungle
from painting import Array, Rng, Sheet, cloth, hsv, masonry, noise, vivid
from PIL import Image
from street import (
    CENTRE,
    FOCAL,
    HAZE,
    HORIZON,
    SS,
    Street,
    awning,
    board,
    bundle,
    crates,
    facade,
    flag,
    hanging,
    lantern,
    person,
    pigeon,
    valance,
    window,
)

WIDTH, HEIGHT = 2560, 1920


def detail(z: float, most: float = 420.0) -> float:
    """Pixels per metre that a thing at distance z deserves."""
    return min(most, SS * FOCAL / z)


def sky(rng: Rng) -> Array:
    """Evening sky: blue above, gold where the sun stands, thin clouds."""
    h, w = round(HEIGHT * SS), round(WIDTH * SS)
    y, x = (g.astype(np.float32) for g in np.mgrid[0:h, 0:w])
    t = np.clip(y / (HORIZON * SS), 0, 1)[..., None]
    rgb = hsv(0.58, 0.62, 0.86) * (1 - t) + HAZE * t
    cloud = np.clip(noise(rng, (h, w), 700, 6, 0.35) * 2.6 - 1.15, 0, 1)[..., None]
    rgb = rgb * (1 - 0.75 * cloud) + 0.75 * cloud * (hsv(0.08, 0.12, 1.0) * (1 - 0.12 * t))
    far = np.hypot(x - (CENTRE + 90) * SS, y - (HORIZON - 330) * SS) / (420 * SS)
    glow = np.exp(-far * 1.6)[..., None]
    return np.clip(rgb + glow * np.float32([0.5, 0.36, 0.12]), 0, 1)


def pavement(rng: Rng) -> Street:
    """Stone slabs, strip after strip so that the near ones are the finest."""
    ground, z = Street(), 2.4
    for far in (3.6, 5.1, 7.5, 11.1, 18.0, 33.0, 90.0):
        s = Sheet(12.0, far - z, detail(z, 620))
        tone = hsv(0.61, 0.08, 0.53)
        s.cover(masonry(rng, s.px, s.ppm, (0.45, 0.3), tone, 0.012, 0.5, 0.1))
        s.rgb *= (0.55 + 0.8 * noise(rng, s.px, 1.3 * s.ppm, 6))[..., None]
        for _ in range(int(40 * (far - z))):  # leaves, paper, gum
            r = rng.uniform(0.005, 0.025)
            s.oval(
                rng.uniform(-4, 4),
                rng.uniform(0, s.h),
                r,
                r * rng.uniform(0.5, 1.5),
                hsv(
                    rng.choice([0.1, 0.25, 0.05, 0.6]), rng.uniform(0, 0.7), rng.uniform(0.2, 0.95)
                ),
                drop=0.01,
            )
        for x in (-1.75, 1.65):
            s.box(x, 0, 0.1, s.h, hsv(0.13, 0.5, 0.8), alpha=0.55)
        ground.put(s, [(-6, 0, far), (6, 0, far), (6, 0, z), (-6, 0, z)])
        z = far
    return ground


def houses(street: Street, rng: Rng) -> None:
    """Two rows of houses and their signs, the left one sunlit above the roofs' shadow."""
    for side in (-1, 1):
        z = 3.1
        while z < 75:
            w = rng.uniform(3.2, 4.8) * (1 if z < 30 else 2)
            x = side * (4.35 + rng.uniform(-0.25, 0.35))
            h = rng.uniform(7.5, 11.5) if z < 12 else rng.uniform(8, 15)
            s = facade(rng, w, h, detail(max(z, 5), 330))
            near, far = (x, z), (x, z + w)
            a, b = (near, far) if side < 0 else (far, near)
            up = np.linspace(0, 1, s.px[0], dtype=np.float32)[:, None, None]
            tint = np.float32([1.0, 0.98, 0.95] if side < 0 else [0.88, 0.98, 1.14])
            tint = tint * (1.1 - 0.45 * up)
            if side < 0:  # the sun reaches over the roofs of the other side, down to a ragged line
                ragged = np.sign(np.sin(9 * np.linspace(0, 1, s.px[1])))[:, None]
                metres = h * (1 - up) - 4.0 - 0.4 * ragged
                lit = np.clip(metres * 4 + 0.5, 0, 1).astype(np.float32)
                tint = tint * (1 - lit) + lit * np.float32([1.5, 1.32, 1.02])
            street.put(
                s,
                [(a[0], h, a[1]), (b[0], h, b[1]), (b[0], 0, b[1]), (a[0], 0, a[1])],
                tint,
                0.0,
                -500.0,
            )
            gable = Sheet(5.0, h, detail(z + 2, 200))
            gable.cover(masonry(rng, gable.px, gable.ppm, (0.24, 0.08), hsv(0.06, 0.3, 0.5)))
            for _ in range(3):
                window(gable, rng, rng.uniform(-2, 1), rng.uniform(4, h - 2), 0.9, 1.2)
            street.stand(gable, x + side * 2.5, 0, z, 0.8, nearer=-500.0)
            for _ in range(rng.integers(2, 5)):
                bw, bh = rng.uniform(0.5, 1.0), rng.uniform(1.2, 3.4)
                if rng.random() < 0.25:
                    bw, bh = 1.2, 0.7
                bz = rng.uniform(max(z, 5.2), z + w + 2.2)
                y = rng.uniform(3.3, max(3.6, min(h - bh, 8.0)))
                street.stand(
                    board(rng, bw, bh, detail(bz)), x - side * (bw / 2 + 0.12), y, bz, 1.0, 0.12
                )
            z += w


def stalls(street: Street, rng: Rng) -> None:
    """Stall after stall on both sides."""
    for side in (-1, 1):
        z = 2.6 if side < 0 else 2.9
        while z < 34:
            w = rng.uniform(2.2, 3.4)
            stall(street, rng, side, z, w)
            z += w + rng.uniform(0.1, 0.5)


def stall(street: Street, rng: Rng, side: int, z: float, w: float) -> None:
    """Tables of produce, crates, an awning, hanging goods, a lamp and the seller."""
    ppm = detail(max(z, 2.9), 480)
    inner, outer = side * rng.uniform(2.05, 2.45), side * 3.9
    low, high = 0.72, 1.2

    def slope(
        s: Sheet,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        tint: float = 1.0,
        shadow: float = 0.0,
        nearer: float = 0.0,
    ) -> None:
        """From (x0, y0) at the street up to (x1, y1) at the wall, along the stall."""
        m, f = z, z + w
        if side < 0:
            c = [(x1, y1, m), (x1, y1, f), (x0, y0, f), (x0, y0, m)]
        else:
            c = [(x1, y1, f), (x1, y1, m), (x0, y0, m), (x0, y0, f)]
        street.put(s, c, tint, shadow, nearer)

    slope(crates(rng, w / 1.4, abs(outer - inner), ppm), inner, low, outer, high, 1.05)
    front = Sheet(w, low, ppm)
    front.cover(
        masonry(rng, front.px, ppm, (2.0, 0.14), hsv(0.08, 0.5, 0.5), 0.015, 0.5)
        if rng.random() < 0.5
        else cloth(rng, front.px, ppm)
    )
    for _ in range(3):
        b = board(rng, 0.4, 0.26, ppm)
        x, y = rng.integers(0, front.px[1] - b.px[1]), rng.integers(0, front.px[0] - b.px[0])
        front.rgb[y : y + b.px[0], x : x + b.px[1]] = b.rgb
    front.rgb *= np.linspace(1.0, 0.45, front.px[0], dtype=np.float32)[:, None, None]
    slope(front, inner, 0, inner, low, 0.9, 0.0, 0.01)
    end = Sheet(abs(outer - inner), high, ppm)
    end.cover(masonry(rng, end.px, ppm, (0.14, 1.5), hsv(0.08, 0.5, 0.5), 0.012, 0))
    end.rgb *= np.linspace(1.0, 0.5, end.px[0], dtype=np.float32)[:, None, None]
    street.put(
        end,
        [
            (min(inner, outer), low if side > 0 else high, z),
            (max(inner, outer), high if side > 0 else low, z),
            (max(inner, outer), 0, z),
            (min(inner, outer), 0, z),
        ],
        0.85,
    )
    box = crates(rng, w / 1.4, 0.5, ppm)
    x0, x1 = inner - side * 0.42, inner
    slope(box, x0, 0.26, x1, 0.4, 1.0, 0.0, 0.1)
    lip = Sheet(w, 0.26, ppm)
    lip.cover(masonry(rng, lip.px, ppm, (0.6, 0.085), hsv(0.1, 0.45, 0.6), 0.02, 0))
    slope(lip, x0, 0, x0, 0.26, 0.8, 0.0, 0.12)
    side_wood = Sheet(0.42, 0.4, ppm)
    side_wood.cover(masonry(rng, side_wood.px, ppm, (2.0, 0.1), hsv(0.1, 0.45, 0.5), 0.015, 0))
    side_wood.rgb *= np.linspace(1.0, 0.6, side_wood.px[0], dtype=np.float32)[:, None, None]
    left, right = ((x0, 0.26), (x1, 0.4))[::side]
    street.put(
        side_wood,
        [(left[0], left[1], z), (right[0], right[1], z), (right[0], 0, z), (left[0], 0, z)],
        0.8,
        0.0,
        w / 2 + 0.02,
    )
    for k in range(3):
        u, at = rng.uniform(0.25, 0.8), z + w * (k + 0.4) / 3
        x = inner * (1 - u) + outer * u
        street.stand(
            crates(rng, 0.75, 0.36, detail(at), heap=True),
            x,
            low * (1 - u) + high * u,
            at,
            1.0,
            0.05,
        )
    cover = awning(rng, w, 2.0, ppm)
    edge, eaves = inner - side * 0.1, rng.uniform(2.35, 2.6)
    slope(cover, edge, eaves, side * 4.3, eaves + 0.15, 0.9, 0.0, -0.3)
    slope(valance(rng, cover, 0.28), edge, eaves - 0.28, edge, eaves, 1.05, 0.06, 0.15)
    pole = Sheet(0.08, eaves, ppm)
    pole.line([(0, 0), (0, eaves)], 0.026, np.float32([0.55, 0.54, 0.5]), puff=0.03, gloss=0.6)
    pole.rgb *= (0.5 + 1.0 * noise(rng, pole.px, 0.05 * ppm, 4, 3.0))[..., None]
    street.stand(pole, edge, 0, z + 0.05, 0.9, 0.05)
    for _ in range(4):
        at = z + rng.uniform(0.2, w)
        street.stand(
            hanging(rng, detail(at)),
            edge + side * rng.uniform(0.1, 1.1),
            eaves - 0.7,
            at,
            1.0,
            0.06,
        )
    for k in range(2):
        at = z + w * (k + 0.5) / 2
        street.lamp(edge + side * 0.8, eaves - 0.2, at, 0.16, np.float32([0.55, 0.42, 0.22]))
    if rng.random() < 0.5:
        street.stand(flag(rng, detail(z + w)), edge - side * 0.2, 0, z + w, 1.0, 0.1)
    if rng.random() < 0.7 and z > 3.5:
        street.stand(bundle(rng, detail(z)), inner - side * 0.68, 0, z, 0.95, 0.12)
    seller = person(rng, detail(z + 1), away=False)
    street.stand(seller, outer * 0.98, 0.15, z + w * 0.55, 0.9, 0.1)


def crowd(street: Street, rng: Rng) -> None:
    """People, thicker with distance, each with a soft dark patch underfoot."""
    places = [(-1.35, 3.55), (1.3, 3.75), (0.1, 4.7), (-0.85, 5.3), (1.0, 5.6), (-1.5, 4.5)]
    places += [(rng.uniform(-1.8, 1.8), 5.5 + 36 * rng.random() ** 1.5) for _ in range(130)]
    for x, z in places:
        s = person(rng, detail(z, 520), away=z < 4.6 or rng.random() < 0.7)
        tall = rng.uniform(-0.2, 0.02)
        street.stand(s, x, tall, z, rng.uniform(0.9, 1.1), 0.12, flip=rng.random() < 0.5)
        patch = Sheet(1.1, 0.7, 60)
        patch.oval(0, 0.35, 0.42, 0.2, np.zeros(3))
        patch.a = 0.75 * cv2.GaussianBlur(patch.a, (0, 0), 6)
        street.put(
            patch,
            [
                (x - 0.55, 0, z + 0.4),
                (x + 0.55, 0, z + 0.4),
                (x + 0.55, 0, z - 0.3),
                (x - 0.55, 0, z - 0.3),
            ],
            1.0,
            0.0,
            -0.3,
        )


def flock(street: Street, rng: Rng) -> None:
    """Pigeons on the pavement."""
    for _ in range(9):
        x, z = rng.normal(0.1, 0.55), rng.uniform(3.0, 4.6)
        shade = Sheet(0.4, 0.3, 100)
        shade.oval(0, 0.15, 0.14, 0.06, np.zeros(3))
        shade.a = 0.6 * cv2.GaussianBlur(shade.a, (0, 0), 3)
        street.put(
            shade,
            [
                (x - 0.2, 0, z + 0.15),
                (x + 0.2, 0, z + 0.15),
                (x + 0.2, 0, z - 0.15),
                (x - 0.2, 0, z - 0.15),
            ],
            1.0,
            0.0,
            -0.2,
        )
        bird = pigeon(rng, detail(z, 700))
        bird.w, bird.h = 0.28, 0.21  # drawn large, placed at a pigeon's size
        street.stand(bird, x, 0, z, flip=rng.random() < 0.5)


def overhead(street: Street, rng: Rng) -> None:
    """Lantern strings, bunting and cables across the street, and the gate."""
    for z in (4.6, 6.4, 8.6, 11.0, 16.5, 21.0, 27.0, 34.0):
        y = 2.95 + 0.39 * z if z < 13 else 3.2 + 0.05 * z  # so that the gate stays in sight
        sag = 0.5
        bunting = rng.random() < 0.35
        wire = Sheet(9.0, 1.6, detail(z))
        xs = np.linspace(-4.4, 4.4, 25)
        ys = 1.5 - sag + sag * (xs / 4.2) ** 2
        wire.line(np.column_stack([xs, ys]).tolist(), 0.012, np.float32([0.08, 0.07, 0.07]), 1)
        if bunting:
            for x in np.arange(-4.0, 4.0, 0.34):
                v = 1.5 - sag + sag * (x / 4.2) ** 2
                wire.poly(
                    [(x, v), (x + 0.3, v), (x + 0.15, v - 0.36)], vivid(rng), puff=0.03, bump=0.012
                )
        street.stand(wire, 0, y - 1.5, z)
        for x in [] if bunting else np.linspace(-3.6, 3.6, 9):
            v = y - sag + sag * (x / 4.2) ** 2
            size = rng.uniform(0.42, 0.52)
            street.stand(
                lantern(rng, size, detail(z)),
                x + rng.normal(0, 0.08),
                v - 1.75 * size,
                z - 0.02,
                1.0,
                0.05,
            )
            street.lamp(x, v - 0.8 * size, z, 0.3, np.float32([0.6, 0.28, 0.1]))
    for _ in range(14):  # cables from wall to wall
        z, rise = rng.uniform(7, 30), rng.uniform(-1.2, 1.2)
        wire = Sheet(9.4, 3.6, detail(z, 250))
        wire.line(
            [(-4.6, 2.2 - rise), (0, 0.6), (4.6, 2.2 + rise)],
            0.013,
            np.float32([0.1] * 3),
            rounds=4,
        )
        street.stand(wire, 0, rng.uniform(0.25, 0.42) * z + 0.6, z)
    gate(street, rng)


def gate(street: Street, rng: Rng) -> None:
    """The gate that gives the picture its center: red posts, tiled roof, gold letters."""
    z = 13.5
    s = Sheet(9.2, 6.6, detail(z))
    red, gold = np.stack([hsv(0.01, 0.85, 0.85), hsv(0.0, 0.9, 0.5)]), hsv(0.12, 0.75, 0.98)
    for side in (-1, 1):
        s.line([(3.3 * side, 0), (3.3 * side, 4.6)], 0.2, red, puff=0.2, gloss=0.5, drop=0.1)
        for y in (0.3, 3.6):
            s.box(3.3 * side - 0.24, y, 0.48, 0.12, gold, puff=0.05, gloss=0.7)
    s.box(-4.0, 4.9, 8.0, 0.3, red, puff=0.1, drop=0.15)
    s.box(-3.5, 3.75, 7.0, 0.2, red, puff=0.08, drop=0.15)
    s.box(
        -2.3,
        3.9,
        4.6,
        1.05,
        np.stack([hsv(0.5, 0.85, 0.45), hsv(0.52, 0.9, 0.28)]),
        puff=0.06,
        drop=0.12,
    )
    s.box(-2.2, 4.0, 4.4, 0.04, gold)
    s.box(-2.2, 4.82, 4.4, 0.04, gold)
    s.word("MARKET STREET", -2.0, 4.22, 4.0, 0.42, gold)
    for x in (-3.05, -2.55, 2.2, 2.7):
        s.box(x, 3.95, 0.36, 0.95, hsv(0.1, 0.6, 0.9), puff=0.05, drop=0.06)
    jade = hsv(0.43, 0.65, 0.42)
    s.poly(
        [
            (-4.5, 5.25),
            (-4.2, 5.2),
            (4.2, 5.2),
            (4.5, 5.25),
            (3.4, 5.7),
            (2.6, 6.2),
            (-2.6, 6.2),
            (-3.4, 5.7),
        ],
        jade,
        1,
        puff=0.1,
        drop=0.2,
    )
    for x in np.linspace(-4.2, 4.2, 41):
        s.line(
            [(x, 5.22), (0.85 * x, 5.6), (0.62 * x, 6.15)],
            [0.075, 0.06, 0.05],
            jade * rng.uniform(0.85, 1.25),
            puff=0.07,
            gloss=0.6,
            drop=0.05,
        )
    s.line([(-2.75, 6.3), (0, 6.16), (2.75, 6.3)], 0.11, jade * 0.8, puff=0.1, gloss=0.4, drop=0.06)
    s.line(
        [(-4.6, 5.42), (-4.2, 5.22), (0, 5.16), (4.2, 5.22), (4.6, 5.42)],
        0.075,
        gold,
        puff=0.06,
        gloss=0.6,
        drop=0.08,
    )
    s.oval(0, 6.4, 0.16, 0.2, gold, puff=0.2, gloss=0.9)
    street.stand(s, 0, 0, z, 1.0, 0.2)


def market(seed: int) -> Image.Image:
    """The market street, 2560 x 1920."""
    rng = np.random.default_rng(seed)
    street = Street()
    canvas = sky(rng)
    ground = pavement(rng)
    for z in (140, 110, 85):  # towers behind the end of the street
        for x in np.arange(-60, 60, 11.0):
            h = rng.uniform(18, 40)
            tower = facade(rng, 10.0, h, 10.0)
            street.stand(tower, x + rng.uniform(-3, 3), 0, z, nearer=-900.0)
    for i, part in enumerate((houses, stalls, crowd, flock, overhead)):
        part(street, np.random.default_rng([seed, i]))
    ground.draw(canvas)
    h, w = canvas.shape[:2]
    mirror = cv2.resize(canvas, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    street.draw(mirror, 0.25, flip=True)
    mirror = cv2.resize(cv2.GaussianBlur(mirror, (0, 0), 4, sigmaY=14), (w, h))
    top = round((HORIZON + 6) * SS)
    wet = np.clip(noise(rng, (h - top, w), 240, 5, 0.3) * 3.4 - 1.35, 0.05, 0.8)[..., None]
    canvas[top:] = canvas[top:] * (1 - 0.62 * wet) + mirror[top:] * 0.62 * wet
    street.draw(canvas)
    return develop(canvas, rng)


def develop(canvas: Array, rng: Rng) -> Image.Image:
    """Average down, then what a camera adds: sharpening, glow, vignette, contrast, grain."""
    rgb = np.clip(cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), 0, 1)
    rgb = np.clip(rgb + 0.55 * (rgb - cv2.GaussianBlur(rgb, (0, 0), 1.1)), 0, 1)
    small = cv2.resize(rgb, (WIDTH // 4, HEIGHT // 4), interpolation=cv2.INTER_AREA)
    bright = np.clip(small - 0.72, 0, 1)
    glow = 0.5 * cv2.GaussianBlur(bright, (0, 0), 6) + 0.6 * cv2.GaussianBlur(bright, (0, 0), 40)
    rgb = 1 - (1 - rgb) * (1 - np.clip(cv2.resize(glow, (WIDTH, HEIGHT)), 0, 0.95))
    y, x = (g.astype(np.float32) for g in np.mgrid[0:HEIGHT, 0:WIDTH])
    rim = np.hypot(x / WIDTH - 0.5, y / HEIGHT - 0.5)[..., None]
    rgb = rgb * (1.06 - 0.42 * rim**2)
    rgb = np.clip(rgb, 0, 1) ** 0.86
    rgb = 0.5 * rgb + 0.5 * rgb * rgb * (3 - 2 * rgb)
    tone = rgb.mean(2, keepdims=True)  # warm lights, cool shadows
    rgb += np.float32([0.012, 0.004, -0.015]) * tone
    rgb += np.float32([-0.012, 0.0, 0.03]) * (1 - tone)
    gray = rgb.mean(2, keepdims=True)
    rgb = gray + 0.9 * (rgb - gray)  # a photograph is less saturated than paint
    grain = rng.normal(0, 1, (HEIGHT, WIDTH, 3)).astype(np.float32)
    grain = 0.6 * grain + 0.9 * grain.mean(2, keepdims=True)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.55)
    rgb = rgb + 0.026 * grain * (1.15 - rgb)
    return Image.fromarray(np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8))


def main() -> None:
    """Write the three pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder to write to"
    )
    out = parser.parse_args().out
    cv2.setNumThreads(1)  # one thread, so that every machine adds in the same order
    out.mkdir(parents=True, exist_ok=True)
    jungle(4).save(out / "jungle.png", optimize=True)
    market(20200321).save(out / "market.jpg", quality=94)
    calm(7).save(out / "calm.jpg", quality=96, subsampling=0)  # or the sky shows blocks


if __name__ == "__main__":
    main()
