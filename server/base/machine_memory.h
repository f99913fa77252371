/*
 * machine_memory.h - how much memory a process may have: that of the machine, or what a control
 * group (a container, a unit with MemoryMax) leaves of it. Version 1 and 2; its own group and all
 * above it.
 */
#ifndef IDEM_SERVER_BASE_MACHINE_MEMORY_H
#define IDEM_SERVER_BASE_MACHINE_MEMORY_H

#include <stdint.h>

/* In bytes; 0: nothing says it. root: "", or a directory with copies of /proc and /sys. */
uint64_t machine_memory_bytes(const char *root);

#endif
