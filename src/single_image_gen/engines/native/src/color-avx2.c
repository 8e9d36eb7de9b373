/* The color operations once more, compiled for AVX2. */
#if defined(__x86_64__)

#include "avx2.h"
#include "simd.h"

AVX2_BEGIN
#define TARGET avx2
#define REGISTER 32
#include "color.c"
AVX2_END

#endif
