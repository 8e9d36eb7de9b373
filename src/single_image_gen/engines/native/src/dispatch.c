/* Which steps a processor can run.
 *
 * Asked of the processor itself: __builtin_cpu_supports needs a runtime library, and target_clones
 * a linker feature, that not every compiler has for a shared library (zig's has neither).
 */
#include "dispatch.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Intel's manual, volume 1, 14.3: the processor has AVX2, and the system saves its registers. */
static int has_avx2(void) {
    const unsigned saved_by_system = 1u << 27, avx = 1u << 28, avx2 = 1u << 5, registers = 6;
    unsigned a, b, c, d, enabled, upper;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & saved_by_system) || !(c & avx)) return 0;
    __asm__("xgetbv" : "=a"(enabled), "=d"(upper) : "c"(0));
    if ((enabled & registers) != registers) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & avx2);
}
#endif

#define KERNELS(name)                                                                             \
    {                                                                                             \
        .target = #name,                                                                          \
        .sum_rows = sum_rows_##name,                                                              \
        .sum_columns = sum_columns_##name,                                                        \
        .warp3 = warp3_##name,                                                                    \
        .warp4 = warp4_##name,                                                                    \
        .adjust = adjust_##name,                                                                  \
        .sum_luma = sum_luma_##name,                                                              \
        .pack = pack_##name,                                                                      \
    }

static const kernels generic = KERNELS(generic);
#if defined(__x86_64__)
static const kernels avx2 = KERNELS(avx2);
#endif

const kernels *choose_kernels(int portable) {
#if defined(__x86_64__)
    if (!portable && has_avx2()) return &avx2;
#else
    (void)portable;
#endif
    return &generic;
}
