/*
 * descriptors.h - new connections without a descriptor, memory or epoll watch for them. They are
 * refused or closed, existing connections are served, and new ones are served again as soon as
 * there are resources.
 */
#ifndef IDEM_TESTS_SHORTAGE_DESCRIPTORS_H
#define IDEM_TESTS_SHORTAGE_DESCRIPTORS_H

void descriptors_test(int port, const char *path);
/* On a new server: opens more descriptors than its loops have room for from the start, while every
 * period-th allocation fails. */
void descriptors_beyond_room(int port, const char *path, long period);

#endif
