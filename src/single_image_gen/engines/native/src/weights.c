/* Weights of a resize, as Pillow computes them (libImaging/Resample.c: precompute_coeffs).
 *
 * Output pixel i has its center at c = offset + (i + 1/2) length / outputs. Input pixel t weighs
 *
 *     filter((t + 1/2 - c) / width) / sum,   t from round(c - support) to round(c + support) - 1,
 *
 * support being the filter's own times the width. The filters are Keys' cubic (parameter -1/2 in
 * Pillow), the triangle ("bilinear") and sinc(x) sinc(x / 3) (Lanczos).
 *
 * As whole numbers the weights sum up to 1 exactly, so that a flat color stays as it is: what
 * rounding takes or adds is given back to the largest.
 */
#include "weights.h"

#include "angles.h"
#include "native.h"

enum { PITCH_MULTIPLE = 4 };

static double support_of(int filter) {
    return filter == SIG_BICUBIC ? 2 : filter == SIG_BILINEAR ? 1 : 3;
}

static int round_up(double value) { /* 0 <= value < 2^31 */
    const int whole = (int)value;
    return whole + (whole < value);
}

axis axis_of_pillow(double offset, double length, int pixels, int outputs, int filter) {
    const double scale = length / outputs;
    const axis along = {
        .offset = offset,
        .length = length,
        .width = scale < 1 ? 1 : scale,
        .sharpness = -0.5,
        .pixels = pixels,
        .outputs = outputs,
        .filter = filter,
    };
    return along;
}

int max_taps(const axis *along) {
    return round_up(2 * support_of(along->filter) * along->width);
}

static int pitch_of(const axis *along) {
    return (max_taps(along) + PITCH_MULTIPLE - 1) / PITCH_MULTIPLE * PITCH_MULTIPLE;
}

/* Besides the taps: `pitch` doubles to compute them in. */
size_t taps_bytes(const axis *along, int narrow_taps) {
    const size_t pitch = (size_t)pitch_of(along), outputs = (size_t)along->outputs + 8;
    const size_t each = max_taps(along) <= narrow_taps ? sizeof(int16_t) : sizeof(int32_t);
    return pitch * sizeof(double) + outputs * (2 * sizeof(int32_t) + pitch * each);
}

taps taps_in(void *memory, const axis *along, int narrow_taps) {
    const int pitch = pitch_of(along);
    const size_t outputs = (size_t)along->outputs + 8;
    double *scratch = memory;
    int32_t *first = (int32_t *)(scratch + pitch), *count = first + outputs;
    int32_t *weights = count + outputs;
    const int narrow = max_taps(along) <= narrow_taps;
    const taps made = {
        .first = first,
        .count = count,
        .narrow = narrow ? (int16_t *)weights : NULL,
        .wide = narrow ? NULL : weights,
        .pitch = pitch,
    };
    return made;
}

/* Without a branch, so that a loop over it becomes vectors. */
static double cubic(double a, double x) {
    x = x < 0 ? -x : x;
    const double near = ((a + 2) * x - (a + 3)) * x * x + 1;
    const double far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
    const double value = x < 1 ? near : far;
    return x < 2 ? value : 0;
}

static double triangle(double x) {
    x = x < 0 ? -x : x;
    return x < 1 ? 1 - x : 0;
}

static double sinc(double x) {
    double sine, cosine;
    if (x < 1e-9) return 1;
    sine_cosine(180 * x, &sine, &cosine);
    return sine / (3.14159265358979323846 * x);
}

static double lanczos(double x) {
    x = x < 0 ? -x : x;
    return x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

/* filter(start + t step) for t in [0, n); gives the sum */
static double evaluate(const axis *along, double start, double step, int n, double *values) {
    switch (along->filter) {
    case SIG_BICUBIC:
        for (int t = 0; t < n; t++) values[t] = cubic(along->sharpness, start + t * step);
        break;
    case SIG_BILINEAR:
        for (int t = 0; t < n; t++) values[t] = triangle(start + t * step);
        break;
    default:
        for (int t = 0; t < n; t++) values[t] = lanczos(start + t * step);
    }
    double sum = 0;
    for (int t = 0; t < n; t++) sum += values[t];
    return sum;
}

static int rounded(double value) { /* |value| < 2^24 */
    return (int)(value + 16777216.5) - 16777216;
}

/* Whole numbers with the sum of `one`, in proportion to the values. */
#define STORE_ROUNDED(type, to)                                                                   \
    int left = one, largest = 0;                                                                  \
    for (int t = 0; t < n; t++) {                                                                 \
        const int weight = rounded(values[t] * by);                                               \
        (to)[t] = (type)weight;                                                                   \
        left -= weight;                                                                           \
    }                                                                                             \
    for (int t = 1; t < n; t++) largest = (to)[t] > (to)[largest] ? t : largest;                  \
    (to)[largest] = (type)((to)[largest] + left);                                                 \
    for (int t = n; t < pitch; t++) (to)[t] = 0

static void store_narrow(const double *values, int n, double by, int one, int pitch, int16_t *to) {
    STORE_ROUNDED(int16_t, to);
}

static void store_wide(const double *values, int n, double by, int one, int pitch, int32_t *to) {
    STORE_ROUNDED(int32_t, to);
}

void compute_taps(const taps *to, const axis *along, int narrow_bits, int begin, int end) {
    double *values = (double *)to->first - to->pitch;
    const double scale = along->length / along->outputs, inverse = 1 / along->width;
    const double support = support_of(along->filter) * along->width;
    const int most = max_taps(along);
    const int one = 1 << (to->narrow ? narrow_bits : WIDE_BITS);
    for (int i = begin; i < end; i++) {
        const double center = along->offset + (i + 0.5) * scale;
        int first = (int)(center - support + 0.5), stop = (int)(center + support + 0.5);
        if (first < 0) first = 0;
        if (stop > along->pixels) stop = along->pixels;
        if (first >= stop) first = stop - 1;
        /* an interval of 2 * support holds that many middles; one more could only come from a
           rounding, and would lie at the filter's end, where it is 0 */
        if (stop - first > most) stop = first + most;
        const int n = stop - first;
        double sum = evaluate(along, (first - center + 0.5) * inverse, inverse, n, values);
        if (!(sum > 0)) sum = values[0] = 1;
        const int64_t at = (int64_t)to->pitch * i;
        if (to->narrow)
            store_narrow(values, n, one / sum, one, to->pitch, to->narrow + at);
        else
            store_wide(values, n, one / sum, one, to->pitch, to->wide + at);
        to->first[i] = first;
        to->count[i] = n;
    }
}
