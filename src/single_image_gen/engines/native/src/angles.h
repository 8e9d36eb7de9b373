#ifndef SINGLE_IMAGE_GEN_ANGLES_H
#define SINGLE_IMAGE_GEN_ANGLES_H

/* Sine and cosine of an angle in degrees, |angle| <= 3600; exact at multiples of 90. */
void sine_cosine(double degrees, double *sine, double *cosine);

/* The linear part (a, b, c, d) of the map from an output to its source, as
   `single_image_gen.geometry.inverse_matrix`; |shear| < 90 degrees. */
void inverse_matrix(double angle, double shear, double matrix[4]);

#endif
