/* A translation as JSON (vmm/machine/translation.h) for people: at a fatal exit, and by 'bifold
 * translate'. */
#ifndef VMM_COMMON_TRANSLATION_TEXT_H
#define VMM_COMMON_TRANSLATION_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* For people; a line where it is brief. -EINVAL if it is no translation. */
int translation_print(const json_t *translation, FILE *out);

#endif
