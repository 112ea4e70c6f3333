/* The output of 'bifold stat', made from the guest's answer, whose members docs/control.md lists.
 * The answer came over a socket and may be anything. */
#ifndef VMM_ASK_STAT_H
#define VMM_ASK_STAT_H

#include <jansson.h>
#include <stdio.h>

/* For people. */
void stat_print(const json_t *stat, FILE *file);

/* One line of it: the guest's state, and what runs in it. */
void stat_format_head(const json_t *stat, char *text, size_t size);

/*
 * In Prometheus's text format, version 0.0.4. Every sample has the label socket, by which those of
 * several guests can be told apart.
 */
void stat_print_prometheus(const json_t *stat, const char *socket, FILE *file);

#endif
