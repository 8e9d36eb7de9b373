/* Color jitter: brightness, contrast, saturation and hue as torchvision's ColorJitter applies them
 * to PIL images, sixteen pixels at a time in vector extensions; compiled for each TARGET.
 *
 * Brightness, contrast and saturation are Pillow's ImageEnhance: a blend of the image with black,
 * with its mean luma, with its own luma (libImaging/Blend.c),
 *
 *     result = cut(a + factor * (b - a)) in single floats, limited to 0 ... 255,
 *
 * and the luma is (19595 R + 38470 G + 7471 B + 2^15) >> 16 (libImaging/Convert.c). Both are
 * reproduced to the bit.
 *
 * Hue: Pillow's HSV (Convert.c: rgb2hsv, hsv2rgb) keeps hue and saturation as bytes, 255 being the
 * whole circle, cut off; torchvision adds int(255 * shift) to that byte, modulo 256. A step of such
 * a hue is up to six levels of a color, so that the bytes have to be reproduced. The fractions are
 * computed by fewer divisions than Pillow does it; where one lies within a rounding error of a
 * whole number, the byte may differ by one.
 *
 * All operations of a call are applied to sixteen pixels before the next sixteen.
 */
#ifndef TARGET
#define TARGET generic
#endif

#include "kernels.h"
#include "native.h"

/* Functions of vectors of 32 bytes are here, not in simd.h: compiled for the target. */
INLINE i32x8 load_i32x8(const uint32_t *from) {
    i32x8 v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE void store_i32x8(uint32_t *to, i32x8 v) { memcpy(to, &v, sizeof v); }

INLINE f32x8 to_float(i32x8 v) { return __builtin_convertvector(v, f32x8); }

INLINE i32x8 cut(f32x8 v) { return __builtin_convertvector(v, i32x8); }

/* Eight pixels' channels. */
typedef struct {
    i32x8 r, g, b;
} colors;

/* A pixel's fourth byte may be anything. */
INLINE colors load_colors(const uint32_t *from) {
    const i32x8 pixel = load_i32x8(from);
    const colors c = {pixel & 255, pixel >> 8 & 255, pixel >> 16 & 255};
    return c;
}

INLINE void store_colors(uint32_t *to, colors c) { store_i32x8(to, c.r | c.g << 8 | c.b << 16); }

INLINE i32x8 luma_of(colors c) {
    return (c.r * 19595 + c.g * 38470 + c.b * 7471 + 0x8000) >> 16;
}

/* Whole numbers from 0 up, to 255 at most. */
INLINE i32x8 limit(i32x8 v) { return (v | (v > 255)) & 255; }

INLINE i32x8 blend(i32x8 from, i32x8 to, float factor) {
    const f32x8 v = to_float(from) + factor * to_float(to - from);
    const i32x8 positive = v > 0.0f;
    return limit(cut((f32x8)((i32x8)v & positive)));
}

INLINE colors blend_with(i32x8 gray, colors c, float factor) {
    const colors blended = {
        blend(gray, c.r, factor), blend(gray, c.g, factor), blend(gray, c.b, factor)};
    return blended;
}

/* A blend with black, which is shorter: nothing to add, nothing below 0. */
INLINE colors brighten(colors c, float factor) {
    const colors bright = {
        limit(cut(factor * to_float(c.r))),
        limit(cut(factor * to_float(c.g))),
        limit(cut(factor * to_float(c.b))),
    };
    return bright;
}

/* Sixteen pixels in lanes of 16 bits: the first eight in the even lanes, the others in the odd. */
INLINE i16x16 join(i32x8 even, i32x8 odd) { return (i16x16)(even | odd << 16); }

INLINE i32x8 even_of(i16x16 v) { return (i32x8)v & 0xffff; }

INLINE i32x8 odd_of(i16x16 v) { return (i32x8)((u32x8)v >> 16); }

INLINE i16x16 choose(i16x16 mask, i16x16 a, i16x16 b) { return (mask & a) | (~mask & b); }

INLINE i16x16 larger(i16x16 a, i16x16 b) { return choose(a > b, a, b); }

INLINE i16x16 smaller(i16x16 a, i16x16 b) { return choose(a < b, a, b); }

/* cut(a * factor / b) for a >= 0, b > 0 */
INLINE i16x16 divide(i16x16 a, float factor, i16x16 b) {
    return join(cut(to_float(even_of(a)) * factor / to_float(even_of(b))),
                cut(to_float(odd_of(a)) * factor / to_float(odd_of(b))));
}

/* round(a * b / 65025) for a up to 255, b up to 65025 (as unsigned lanes) */
INLINE i16x16 share(i16x16 a, u16x16 b) {
    const float by = 1.0f / 65025;
    return join(cut(to_float(even_of(a)) * by * to_float(even_of((i16x16)b)) + 0.5f),
                cut(to_float(odd_of(a)) * by * to_float(odd_of((i16x16)b)) + 0.5f));
}

/* Pixels `even` and `odd`, with the hue turned by `steps` of 1/255. */
INLINE void turn_hue(colors *even, colors *odd, int steps) {
    i16x16 r = join(even->r, odd->r), g = join(even->g, odd->g), b = join(even->b, odd->b);

    /* to hue and saturation, 0 to 255, and value; `six` is six times the hue times the range */
    const i16x16 value = larger(larger(r, g), b), range = value - smaller(smaller(r, g), b);
    const i16x16 is_red = r == value, is_green = ~is_red & (g == value);
    const i16x16 is_blue = ~(is_red | is_green);
    i16x16 six = (is_red & (g - b)) | (is_green & (2 * range + b - r));
    six |= is_blue & (4 * range + r - g);
    six += (six < 0) & (6 * range);
    /* a range or a value of 0 becomes 1 (a comparison gives -1): gray has hue and saturation 0 */
    i16x16 hue = divide(six, 42.5f, range - (range == 0));
    const i16x16 saturation = divide(range, 255.0f, value - (value == 0));

    /* turned, in sixths of the circle: hue * 6 / 255 = sector + part / 255 */
    hue = (hue + (int16_t)steps) & 255;
    const i16x16 at = hue * 6;
    i16x16 sector = (at + 1 + (at >> 8)) >> 8; /* at / 255 */
    i16x16 part = at - 255 * sector;

    /* back: the largest channel is `value`, the smallest `low`, the third `middle` */
    part = choose(-(sector & 1), part, 255 - part);
    const u16x16 scaled = (u16x16)value * (u16x16)(255 - saturation) + 128;
    const i16x16 low = (i16x16)((scaled + (scaled >> 8)) >> 8); /* round(... / 255) */
    const i16x16 middle = share(value, 65025 - (u16x16)saturation * (u16x16)part);
    sector &= sector != 6; /* a hue of 255 is the end of the circle */
    const i16x16 in0 = sector == 0, in1 = sector == 1, in2 = sector == 2;
    const i16x16 in3 = sector == 3, in4 = sector == 4, in5 = sector == 5;
    r = ((in0 | in5) & value) | ((in1 | in4) & middle) | ((in2 | in3) & low);
    g = ((in1 | in2) & value) | ((in0 | in3) & middle) | ((in4 | in5) & low);
    b = ((in3 | in4) & value) | ((in2 | in5) & middle) | ((in0 | in1) & low);
    const colors turned_even = {even_of(r), even_of(g), even_of(b)};
    const colors turned_odd = {odd_of(r), odd_of(g), odd_of(b)};
    *even = turned_even;
    *odd = turned_odd;
}

void TARGETED(adjust)(uint32_t *pixels, int n, const color_step *steps, int count) {
    for (int i = 0; i < n; i += 16) {
        colors even = load_colors(pixels + i), odd = load_colors(pixels + i + 8);
        for (const color_step *step = steps; step < steps + count; step++) {
            const float factor = step->factor;
            const i32x8 gray = (i32x8){0} + step->level;
            switch (step->operation) {
            case SIG_BRIGHTNESS:
                even = brighten(even, factor);
                odd = brighten(odd, factor);
                break;
            case SIG_CONTRAST:
                even = blend_with(gray, even, factor);
                odd = blend_with(gray, odd, factor);
                break;
            case SIG_SATURATION:
                even = blend_with(luma_of(even), even, factor);
                odd = blend_with(luma_of(odd), odd, factor);
                break;
            default: turn_hue(&even, &odd, step->level);
            }
        }
        store_colors(pixels + i, even);
        store_colors(pixels + i + 8, odd);
    }
}

int64_t TARGETED(sum_luma)(const uint32_t *pixels, int n) {
    const int whole = n & ~7;
    i32x8 sums = {0}; /* 16384 / 8 pixels of 255 at most */
    for (int i = 0; i < whole; i += 8) sums += luma_of(load_colors(pixels + i));
    int64_t sum = 0;
    for (int k = 0; k < 8; k++) sum += sums[k];
    for (int i = whole; i < n; i++) {
        const uint32_t p = pixels[i];
        sum += ((p & 255) * 19595 + (p >> 8 & 255) * 38470 + (p >> 16 & 255) * 7471 + 0x8000) >> 16;
    }
    return sum;
}
