/* Functions between AVX2_BEGIN and AVX2_END may use these instructions whatever the compiler's
 * flags are, so that one command compiles every file for every platform. */
#ifndef SINGLE_IMAGE_GEN_AVX2_H
#define SINGLE_IMAGE_GEN_AVX2_H

#include <immintrin.h>

#if defined(__clang__)
#define AVX2_BEGIN                                                                                \
    _Pragma("clang attribute push(__attribute__((target(\"avx2\"))), apply_to = function)")
#define AVX2_END _Pragma("clang attribute pop")
#else
#define AVX2_BEGIN _Pragma("GCC push_options") _Pragma("GCC target(\"avx2\")")
#define AVX2_END _Pragma("GCC pop_options")
#endif

#endif
