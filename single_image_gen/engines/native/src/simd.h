/* Vector types of GCC and clang, and what their operators lack.
 *
 * A vector of 32 bytes is one register with AVX2 and two with SSE2 or NEON; the compiler splits it.
 * Comparisons give lanes of -1 and 0.
 */
#ifndef SINGLE_IMAGE_GEN_SIMD_H
#define SINGLE_IMAGE_GEN_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))

typedef uint8_t u8;

typedef u8 u8x8 __attribute__((vector_size(8)));
typedef u8 u8x16 __attribute__((vector_size(16)));
typedef int16_t i16x8 __attribute__((vector_size(16)));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef uint64_t u64x2 __attribute__((vector_size(16)));
typedef int16_t i16x16 __attribute__((vector_size(32)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef int32_t i32x8 __attribute__((vector_size(32)));
typedef uint32_t u32x8 __attribute__((vector_size(32)));
typedef float f32x8 __attribute__((vector_size(32)));

INLINE u8x8 load_u8x8(const u8 *from) {
    u8x8 v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE i16x8 widen(u8x8 v) { return __builtin_convertvector(v, i16x8); }

/* Lanes of 0 to 255, and what lies beyond cut off. */
INLINE u8x8 clip(i16x8 v) {
    v &= ~(v < 0);
    v |= v > 255;
    return __builtin_convertvector(v, u8x8);
}

/* (a0, b0, a1, b1, ...): the first eight bytes of both. GCC before 12 knows the older name alone. */
INLINE u8x16 interleave(u8x16 a, u8x16 b) {
#if defined(__clang__) || __GNUC__ >= 12
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#else
    const u8x16 order = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
    return __builtin_shuffle(a, b, order);
#endif
}

/* (a0 b0 + a1 b1, a2 b2 + a3 b3, ...). The operators alone take three times the instructions with
   SSE2, which has no 32-bit multiplication. */
INLINE i32x4 dot2(i16x8 a, i16x8 b) {
#if defined(__SSE2__)
    return (i32x4)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__ARM_NEON) && defined(__aarch64__)
    const int16x8_t x = (int16x8_t)a, y = (int16x8_t)b;
    return (i32x4)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
#else
    const i32x4 even = ((i32x4)a << 16 >> 16) * ((i32x4)b << 16 >> 16);
    return even + ((i32x4)a >> 16) * ((i32x4)b >> 16);
#endif
}

#endif
