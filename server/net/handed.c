/* handed.c - see handed.h. */
#include "server/net/handed.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

void handed_init(struct handed *handed) { pthread_mutex_init(&handed->lock, NULL); }

void handed_deinit(struct handed *handed) {
  for (unsigned i = 0; i < handed->count; i++) close(handed->sockets[i].fd);
  pthread_mutex_destroy(&handed->lock);
}

bool handed_put(struct handed *handed, struct handed_socket socket) {
  pthread_mutex_lock(&handed->lock);
  bool room = handed->count < HANDED_MAX;
  if (room) handed->sockets[handed->count++] = socket;
  pthread_mutex_unlock(&handed->lock);
  if (room) atomic_store(&handed->waiting, true);
  return room;
}

unsigned handed_take(struct handed *handed, struct handed_socket sockets[HANDED_MAX]) {
  if (!atomic_exchange(&handed->waiting, false)) return 0;
  pthread_mutex_lock(&handed->lock);
  unsigned count = handed->count;
  memcpy(sockets, handed->sockets, count * sizeof sockets[0]);
  handed->count = 0;
  pthread_mutex_unlock(&handed->lock);
  return count;
}
