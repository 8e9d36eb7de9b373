/* Rows of four bytes a pixel to rows of three. */
#include "kernels.h"

/* Each pixel is stored with the byte after it, which the next one overwrites. */
void pack_generic(const uint32_t *from, int n, int mirror, int bgr, u8 *to) {
    const uint32_t *p = mirror ? from + n - 1 : from;
    const int step = mirror ? -1 : 1;
    for (int i = 0; i < n; i++, p += step, to += 3) {
        uint32_t v = *p; /* its fourth byte may be anything */
        if (bgr) v = (v & 0xff00) | (v >> 16 & 0xff) | (v & 0xff) << 16;
        if (i + 1 < n) {
            memcpy(to, &v, 4);
        } else {
            to[0] = (u8)v;
            to[1] = (u8)(v >> 8);
            to[2] = (u8)(v >> 16);
        }
    }
}
