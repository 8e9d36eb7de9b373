/* The library's interface: what Python calls through ctypes, and what a C program may call.
 *
 * An image is a pure function of a source's pixels and a Job. Every path gives the same bytes:
 * pixels are computed in integers or in single floats that are added, subtracted, multiplied and
 * divided, never fused (-ffp-contract=off); weights and matrices in doubles, likewise. No function
 * of the C mathematical library is called, since those differ in their last bits.
 *
 * There is no mutable global state. A thread brings its own Workspace; sources, levels and jobs are
 * only read and may be shared by any number of threads and processes.
 */
#ifndef SINGLE_IMAGE_GEN_NATIVE_H
#define SINGLE_IMAGE_GEN_NATIVE_H

#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "pixels are handled as little-endian words: big-endian machines use the reference engine"
#endif

#if defined(__FAST_MATH__)
#error "-ffast-math lets the compiler change what is computed: the pixels would be others"
#endif

#define SIG_EXPORT __attribute__((visibility("default")))

/* What the bytes depend on: raise it with every change of a pixel. The second number is of the
   interface below: raise it with every change of a structure or a function. */
#define SIG_KERNEL_VERSION 1
#define SIG_INTERFACE 1

/* Results below zero. A result above zero is the number of the level that is missing. */
enum {
    SIG_OK = 0,
    SIG_NO_MEMORY = -1,
    SIG_BAD_SOURCE = -2, /* no pixels, a side below 1 or above SIG_MAX_SOURCE, a level of wrong size */
    SIG_BAD_JOB = -3,    /* a field out of its range, or not a number */
};

enum { SIG_MAX_SIDE = 16384 };        /* of the output */
enum { SIG_MAX_SOURCE = 1 << 22 };    /* a side of a source, pixels */
enum { SIG_MAX_LEVELS = 48 };
enum { SIG_LEVEL_BYTES = 24 << 20 };  /* a larger level is not made: see levels.c */

enum { SIG_SCRIPT, SIG_PAPER };
enum { SIG_BICUBIC, SIG_BILINEAR, SIG_LANCZOS };
enum { SIG_BRIGHTNESS, SIG_CONTRAST, SIG_SATURATION, SIG_HUE };

typedef struct {
    int32_t left, top, width, height;
} sig_box;

/* The parameters of one image, as `single_image_gen.draw.params.Params` has them. */
typedef struct {
    double angle, shear;  /* degrees */
    double factor[3];     /* brightness, contrast, saturation */
    double hue;           /* turns of the color circle, -0.5 to 0.5 */
    sig_box region, crop; /* pixels of the source */
    int32_t recipe, side, filter;
    int32_t hflip, vflip, jitter; /* 0 or 1 */
    int32_t order[4];             /* of the four color operations */
    int32_t bgr;                  /* 1: write blue, green, red; 0: red, green, blue */
    int32_t reserved;             /* 0 */
} sig_job;

/* The source (level 0) or a reduced copy of it: height rows of width RGB pixels without gaps. */
typedef struct {
    const uint8_t *pixels; /* null: this level has not been made */
    int32_t width, height;
} sig_level;

typedef struct sig_workspace sig_workspace;

SIG_EXPORT int32_t sig_kernel_version(void);
SIG_EXPORT int32_t sig_interface(void);

/* Null if there is no memory. `portable`: not to use the instructions that only some processors
   of this kind have. */
SIG_EXPORT sig_workspace *sig_workspace_new(int32_t portable);
SIG_EXPORT void sig_workspace_free(sig_workspace *workspace);
SIG_EXPORT const char *sig_workspace_target(const sig_workspace *workspace);

/* The size of level k of a source, and the number of the level to make it from. */
SIG_EXPORT int32_t sig_level_size(const sig_level *source, int32_t k, int32_t *width,
                                  int32_t *height, int32_t *parent);

/* Fill to->pixels, `to` being a level as sig_level_size describes it and `from` its parent. */
SIG_EXPORT int32_t sig_make_level(const sig_level *from, const sig_level *to,
                                  sig_workspace *workspace);

/* Write side * side * 3 bytes to `out`, from SIG_MAX_LEVELS levels of which the first is the source
   and any other may be missing. SIG_OK, an error, or k > 0: make
   level k and call again. */
SIG_EXPORT int32_t sig_render(const sig_job *job, const sig_level *levels,
                              sig_workspace *workspace, uint8_t *out);

/* One color operation on n pixels of four bytes (R, G, B, any), in place: for tests.
   `value`: the factor, or for the hue its shift in turns. `gray`: contrast's mean, 0 to 255. */
SIG_EXPORT int32_t sig_adjust(uint32_t *pixels, int32_t n, int32_t operation, double value,
                              int32_t gray, sig_workspace *workspace);

#endif
