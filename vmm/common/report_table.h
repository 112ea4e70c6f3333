/* The report as a table for people. Its JSON is that of machine/report.h, or came over a socket. */
#ifndef VMM_COMMON_REPORT_TABLE_H
#define VMM_COMMON_REPORT_TABLE_H

#include <jansson.h>
#include <stdio.h>

/* Members that are missing count as 0. */
void report_print_table(const json_t *report, FILE *file);

#endif
