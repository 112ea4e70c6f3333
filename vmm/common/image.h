/* The images carried inside the binary. */
#ifndef VMM_COMMON_IMAGE_H
#define VMM_COMMON_IMAGE_H

#include <stdint.h>

extern const uint8_t image_quire[], image_quire_end[];
extern const uint8_t image_demo[], image_demo_end[];
extern const uint8_t image_translation[], image_translation_end[]; /* of bench translation */
extern const uint8_t image_rules[], image_rules_end[];		   /* for udev */

#endif
