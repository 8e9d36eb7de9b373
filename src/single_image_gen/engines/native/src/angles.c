/* Sine and cosine by + - * / alone: the C library's differ from platform to platform in their last
 * bits, these do not.
 *
 * The angle less its nearest multiple of 90 degrees is exact in doubles. The rest, 45 degrees at
 * most (x <= pi / 4), goes into the Taylor series
 *
 *     sin x = x - x^3/3! + ...,  cos x = 1 - x^2/2! + ...
 *
 * up to x^17 and x^18, whose next terms are below 10^-18. The result is off by a few 10^-16; the
 * engine needs a matrix to about 2^-32.
 */
#include "angles.h"

static double sine_series(double x) {
    const double q = x * x;
    double sum = 1;
    for (int n = 16; n >= 2; n -= 2) sum = 1 - q * sum / (double)(n * (n + 1));
    return x * sum;
}

static double cosine_series(double x) {
    const double q = x * x;
    double sum = 1;
    for (int n = 17; n >= 1; n -= 2) sum = 1 - q * sum / (double)(n * (n + 1));
    return sum;
}

void sine_cosine(double degrees, double *sine, double *cosine) {
    const double turns = degrees / 90;
    const int quarters = (int)(turns < 0 ? turns - 0.5 : turns + 0.5);
    const double x = (degrees - 90.0 * quarters) * (3.14159265358979323846 / 180);
    const double s = sine_series(x), c = cosine_series(x);
    switch (quarters & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s;
    }
}

void inverse_matrix(double angle, double shear, double matrix[4]) {
    /* So near to 90 degrees (89.998 and more), a shear moves every row of an image out of it but the
       middle one. The bound keeps coordinates small. */
    const double most = 32768;
    double sine, cosine, shear_sine, shear_cosine;
    sine_cosine(angle, &sine, &cosine);
    sine_cosine(shear, &shear_sine, &shear_cosine);
    double tangent = shear_cosine > 0 ? shear_sine / shear_cosine : most;
    tangent = tangent > most ? most : tangent < -most ? -most : tangent;
    matrix[0] = cosine - sine * tangent;
    matrix[1] = cosine * tangent + sine;
    matrix[2] = -sine;
    matrix[3] = cosine;
}
