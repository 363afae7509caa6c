// 16-bit floats as storage.
#ifndef RRT__HALF_H
#define RRT__HALF_H

#include <stdint.h>

float rrt__f16_to_f32(uint16_t half);
float rrt__bf16_to_f32(uint16_t half);
uint16_t rrt__f32_to_f16(float value);  // rounds to nearest even; overflow becomes infinity, NaN stays NaN
uint16_t rrt__f32_to_bf16(float value); // rounds to nearest even; overflow becomes infinity, NaN stays NaN

#endif
