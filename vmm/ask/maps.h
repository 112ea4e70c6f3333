/* The output of 'bifold maps', from an answer that may be anything. */
#ifndef VMM_ASK_MAPS_H
#define VMM_ASK_MAPS_H

#include <jansson.h>
#include <stdio.h>

/* For people; an SVG. -EINVAL if it is no address space. */
int maps_print(const json_t *maps, FILE *out);
int maps_draw(const json_t *maps, FILE *out);

#endif
