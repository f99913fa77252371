/*
 * descriptors.h - connections for which there is nothing: no descriptor, no memory, no watch of the
 * kernel's. They are refused or closed; those that are there are served; and as soon as there is
 * something again, so are new ones.
 */
#ifndef IDEM_TESTS_SHORTAGE_DESCRIPTORS_H
#define IDEM_TESTS_SHORTAGE_DESCRIPTORS_H

void descriptors_test(int port, const char *path);
/* On a new server: descriptors beyond those for which its loops have room from the start, while
 * every so-manieth allocation fails. */
void descriptors_beyond_room(int port, const char *path, long period);

#endif
