/* machine_memory.c - see machine_memory.h. */
#include "server/base/machine_memory.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUPS "/sys/fs/cgroup"
#define GROUPS_OF_MEMORY GROUPS "/memory" /* where version 1 mounts that controller */

/* Opens a file whose path is made of three parts; NULL: there is none. */
static FILE *open_parts(const char *root, const char *directory, const char *rest) {
  char path[PATH_MAX];
  int len = snprintf(path, sizeof path, "%s%s%s", root, directory, rest);
  return len > 0 && (size_t)len < sizeof path ? fopen(path, "re") : NULL;
}

static void lower(uint64_t *bytes, uint64_t limit) {
  if (limit > 0 && (*bytes == 0 || limit < *bytes)) *bytes = limit;
}

/* A number, or "max". */
static void lower_to_file(uint64_t *bytes, FILE *file) {
  unsigned long long limit;
  if (file == NULL) return;
  if (fscanf(file, "%llu", &limit) == 1) lower(bytes, limit);
  fclose(file);
}

/* Where /proc shows nothing but processes, or is not there: a unit with ProcSubset=pid. */
static uint64_t of_kernel(void) {
  long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : 0;
}

static uint64_t of_machine(const char *root) {
  unsigned long long kib = 0;
  char line[256];
  FILE *file = open_parts(root, "/proc/meminfo", "");
  if (file == NULL) return root[0] == '\0' ? of_kernel() : 0;
  while (kib == 0 && fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "MemTotal: %llu kB", &kib) != 1) kib = 0;
  fclose(file);
  return (uint64_t)kib * 1024;
}

/* The group and those above it, up to the root of its tree: in a container its path may be that of
 * the host, which is not there, while the root is the container's own. */
static void lower_to_groups(uint64_t *bytes, const char *root, const char *tree, char *group) {
  const char *name = strcmp(tree, GROUPS) == 0 ? "/memory.max" : "/memory.limit_in_bytes";
  char directory[PATH_MAX];
  for (;;) {
    char *slash = strrchr(group, '/');
    if (slash != NULL && slash[1] == '\0') *slash = '\0'; /* "/" is the tree's root */
    snprintf(directory, sizeof directory, "%s%s", tree, group);
    lower_to_file(bytes, open_parts(root, directory, name));
    if ((slash = strrchr(group, '/')) == NULL) return;
    *slash = '\0';
  }
}

/* "memory" in "cpu,memory". */
static bool has_memory(const char *controllers) {
  const char *at = strstr(controllers, "memory");
  return at != NULL && (at == controllers || at[-1] == ',') && (at[6] == '\0' || at[6] == ',');
}

/* A line "NUMBER:CONTROLLERS:PATH"; version 2 is "0::PATH". */
static void lower_to_line(uint64_t *bytes, const char *root, char *line) {
  char *controllers = strchr(line, ':');
  char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
  if (group == NULL) return;
  *group++ = '\0';
  group[strcspn(group, "\n")] = '\0';
  controllers++;
  if (controllers[0] == '\0') lower_to_groups(bytes, root, GROUPS, group);
  if (has_memory(controllers)) lower_to_groups(bytes, root, GROUPS_OF_MEMORY, group);
}

uint64_t machine_memory_bytes(const char *root) {
  uint64_t bytes = of_machine(root);
  char *line = NULL;
  size_t size = 0;
  FILE *file = open_parts(root, "/proc/self/cgroup", "");
  if (file == NULL) return bytes;
  while (getline(&line, &size, file) > 0) lower_to_line(&bytes, root, line);
  free(line);
  fclose(file);
  return bytes;
}
