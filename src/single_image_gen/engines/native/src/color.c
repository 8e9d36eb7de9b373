/* Color jitter: brightness, contrast, saturation and hue as torchvision's ColorJitter applies them
 * to PIL images, in vector extensions; compiled for each TARGET, with the width of its registers.
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
 * All operations of a call are applied to some pixels before the next ones.
 */
#ifndef TARGET
#define TARGET generic
#define REGISTER 16 /* bytes */
#endif

#include "kernels.h"
#include "native.h"

typedef int16_t i16s __attribute__((vector_size(REGISTER)));
typedef uint16_t u16s __attribute__((vector_size(REGISTER)));
typedef int32_t i32s __attribute__((vector_size(REGISTER)));
typedef uint32_t u32s __attribute__((vector_size(REGISTER)));
typedef float f32s __attribute__((vector_size(REGISTER)));

enum { LANES = REGISTER / 4 };

INLINE i32s load(const uint32_t *from) {
    i32s v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE void store(uint32_t *to, i32s v) { memcpy(to, &v, sizeof v); }

INLINE f32s to_float(i32s v) { return __builtin_convertvector(v, f32s); }

INLINE i32s cut(f32s v) { return __builtin_convertvector(v, i32s); }

/* The channels of as many pixels as a register has lanes of 32 bits. */
typedef struct {
    i32s r, g, b;
} colors;

/* A pixel's fourth byte may be anything. */
INLINE colors load_colors(const uint32_t *from) {
    const i32s pixel = load(from);
    const colors c = {pixel & 255, pixel >> 8 & 255, pixel >> 16 & 255};
    return c;
}

INLINE void store_colors(uint32_t *to, colors c) { store(to, c.r | c.g << 8 | c.b << 16); }

/* In floats, which hold every whole number up to 2^24, and the sum is below: the same number, without
   the 32-bit multiplication that SSE2 lacks. */
INLINE i32s luma_of(colors c) {
    const f32s weighted =
        to_float(c.r) * 19595.0f + to_float(c.g) * 38470.0f + to_float(c.b) * 7471.0f;
    return cut(weighted + 32768.0f) >> 16;
}

/* Whole numbers from 0 up, to 255 at most. */
INLINE i32s limit(i32s v) { return (v | (v > 255)) & 255; }

INLINE i32s blend(i32s from, i32s to, float factor) {
    const f32s v = to_float(from) + factor * to_float(to - from);
    const i32s positive = v > 0.0f;
    return limit(cut((f32s)((i32s)v & positive)));
}

INLINE colors blend_with(i32s gray, colors c, float factor) {
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

/* Twice as many pixels in lanes of 16 bits: the first half in the even lanes, the others in the odd. */
INLINE i16s join(i32s even, i32s odd) { return (i16s)(even | odd << 16); }

INLINE i32s even_of(i16s v) { return (i32s)v & 0xffff; }

INLINE i32s odd_of(i16s v) { return (i32s)((u32s)v >> 16); }

INLINE i16s choose(i16s mask, i16s a, i16s b) { return (mask & a) | (~mask & b); }

INLINE i16s larger(i16s a, i16s b) { return choose(a > b, a, b); }

INLINE i16s smaller(i16s a, i16s b) { return choose(a < b, a, b); }

/* cut(a * factor / b) for a >= 0, b > 0 */
INLINE i16s divide(i16s a, float factor, i16s b) {
    return join(cut(to_float(even_of(a)) * factor / to_float(even_of(b))),
                cut(to_float(odd_of(a)) * factor / to_float(odd_of(b))));
}

/* round(a * b / 65025) for a up to 255, b up to 65025 (as unsigned lanes) */
INLINE i16s share(i16s a, u16s b) {
    const float by = 1.0f / 65025;
    return join(cut(to_float(even_of(a)) * by * to_float(even_of((i16s)b)) + 0.5f),
                cut(to_float(odd_of(a)) * by * to_float(odd_of((i16s)b)) + 0.5f));
}

/* Pixels `even` and `odd`, with the hue turned by `steps` of 1/255. */
INLINE void turn_hue(colors *even, colors *odd, int steps) {
    i16s r = join(even->r, odd->r), g = join(even->g, odd->g), b = join(even->b, odd->b);

    /* to hue and saturation, 0 to 255, and value; `six` is six times the hue times the range */
    const i16s value = larger(larger(r, g), b), range = value - smaller(smaller(r, g), b);
    const i16s is_red = r == value, is_green = ~is_red & (g == value);
    const i16s is_blue = ~(is_red | is_green);
    i16s six = (is_red & (g - b)) | (is_green & (2 * range + b - r));
    six |= is_blue & (4 * range + r - g);
    six += (six < 0) & (6 * range);
    /* a range or a value of 0 becomes 1 (a comparison gives -1): gray has hue and saturation 0 */
    i16s hue = divide(six, 42.5f, range - (range == 0));
    const i16s saturation = divide(range, 255.0f, value - (value == 0));

    /* turned, in sixths of the circle: hue * 6 / 255 = sector + part / 255 */
    hue = (hue + (int16_t)steps) & 255;
    const i16s at = hue * 6;
    i16s sector = (at + 1 + (at >> 8)) >> 8; /* at / 255 */
    i16s part = at - 255 * sector;

    /* back: the largest channel is `value`, the smallest `low`, the third `middle` */
    part = choose(-(sector & 1), part, 255 - part);
    const u16s scaled = (u16s)value * (u16s)(255 - saturation) + 128;
    const i16s low = (i16s)((scaled + (scaled >> 8)) >> 8); /* round(... / 255) */
    const i16s middle = share(value, 65025 - (u16s)saturation * (u16s)part);
    sector &= sector != 6; /* a hue of 255 is the end of the circle */
    const i16s in0 = sector == 0, in1 = sector == 1, in2 = sector == 2;
    const i16s in3 = sector == 3, in4 = sector == 4, in5 = sector == 5;
    r = ((in0 | in5) & value) | ((in1 | in4) & middle) | ((in2 | in3) & low);
    g = ((in1 | in2) & value) | ((in0 | in3) & middle) | ((in4 | in5) & low);
    b = ((in3 | in4) & value) | ((in2 | in5) & middle) | ((in0 | in1) & low);
    const colors turned_even = {even_of(r), even_of(g), even_of(b)};
    const colors turned_odd = {odd_of(r), odd_of(g), odd_of(b)};
    *even = turned_even;
    *odd = turned_odd;
}

void TARGETED(adjust)(uint32_t *pixels, int n, const color_step *steps, int count) {
    for (int i = 0; i < n; i += 2 * LANES) {
        colors even = load_colors(pixels + i), odd = load_colors(pixels + i + LANES);
        for (const color_step *step = steps; step < steps + count; step++) {
            const float factor = step->factor;
            const i32s gray = (i32s){0} + step->level;
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
        store_colors(pixels + i + LANES, odd);
    }
}

int64_t TARGETED(sum_luma)(const uint32_t *pixels, int n) {
    const int whole = n / LANES * LANES;
    i32s sums = {0}; /* of a row: 16384 pixels of 255 at most */
    for (int i = 0; i < whole; i += LANES) sums += luma_of(load_colors(pixels + i));
    int64_t sum = 0;
    for (int k = 0; k < LANES; k++) sum += sums[k];
    for (int i = whole; i < n; i++) {
        const uint32_t p = pixels[i];
        sum += ((p & 255) * 19595 + (p >> 8 & 255) * 38470 + (p >> 16 & 255) * 7471 + 0x8000) >> 16;
    }
    return sum;
}
