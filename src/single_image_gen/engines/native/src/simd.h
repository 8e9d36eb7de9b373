/* Vector types of GCC and clang, and what their operators lack: each of those has an instruction in
 * SSE2 and NEON, and a plain form for what is neither. Comparisons give lanes of -1 and 0.
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
INLINE u8x8 load_u8x8(const u8 *from) {
    u8x8 v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE i16x8 widen(u8x8 v) { return __builtin_convertvector(v, i16x8); }

/* Lanes of both, those below 0 as 0 and those above 255 as 255. */
INLINE u8x16 clip_to_bytes(i16x8 a, i16x8 b) {
#if defined(__SSE2__)
    return (u8x16)_mm_packus_epi16((__m128i)a, (__m128i)b);
#elif defined(__ARM_NEON) && defined(__aarch64__)
    return (u8x16)vcombine_u8(vqmovun_s16((int16x8_t)a), vqmovun_s16((int16x8_t)b));
#else
    u8x16 bytes;
    for (int k = 0; k < 8; k++) {
        bytes[k] = (u8)(a[k] < 0 ? 0 : a[k] > 255 ? 255 : a[k]);
        bytes[k + 8] = (u8)(b[k] < 0 ? 0 : b[k] > 255 ? 255 : b[k]);
    }
    return bytes;
#endif
}

/* Likewise, of 32 bits, as four bytes. */
INLINE uint32_t clip_to_pixel(i32x4 v) {
#if defined(__SSE2__)
    const __m128i words = _mm_packs_epi32((__m128i)v, (__m128i)v);
    return (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(words, words));
#elif defined(__ARM_NEON) && defined(__aarch64__)
    const int16x4_t words = vqmovn_s32((int32x4_t)v);
    const uint8x8_t bytes = vqmovun_s16(vcombine_s16(words, words));
    return vget_lane_u32(vreinterpret_u32_u8(bytes), 0);
#else
    uint32_t pixel = 0;
    for (int k = 0; k < 4; k++) pixel |= (uint32_t)(v[k] < 0 ? 0 : v[k] > 255 ? 255 : v[k]) << 8 * k;
    return pixel;
#endif
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

/* The pair of pixels of `size` bytes at `from`, as (r0, r1, g0, g1, b0, b1, ...); reads eight bytes. */
INLINE i16x8 load_pair(const u8 *from, int size) {
    uint64_t bytes;
    memcpy(&bytes, from, 8);
    const u64x2 first = {bytes, 0}, second = first >> (8 * size);
    const u8x16 zero = {0};
    return (i16x8)interleave(interleave((u8x16)first, (u8x16)second), zero);
}

/* Two numbers in each of four lanes. */
INLINE i16x8 repeat_pair(int first, int second) {
    const int32_t two = (int32_t)((uint32_t)first & 0xffff) | (int32_t)((uint32_t)second << 16);
    const i32x4 all = {two, two, two, two};
    return (i16x8)all;
}

INLINE i16x8 load_repeated_pair(const int16_t *from) {
    int32_t two;
    memcpy(&two, from, 4);
    const i32x4 all = {two, two, two, two};
    return (i16x8)all;
}

#endif
