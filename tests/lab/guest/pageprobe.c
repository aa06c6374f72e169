// SPDX-License-Identifier: LGPL-2.1-or-later
// A process that looks at single pages when told to and lives through SIGBUS: pageprobe FILE PAGES
//
// Prints   READY                                         page N of the shared file holds the words N + 1
// Reads    read ID N | write ID N                        one command a line, each on a thread of its own, because the
//                                                        page may be long in coming
// Answers  ID right | ID zero | ID other                 what read found
//          ID written | ID sigbus
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { kPageSize = 4096, kWords = kPageSize / 8 };

static uint64_t* memory;
static _Thread_local sigjmp_buf back;

static void on_bus(int number) {
  (void)number;
  siglongjmp(back, 1);
}

static void fill(uint64_t page) {
  for (uint64_t i = 0; i < kWords; ++i) ((volatile uint64_t*)memory)[page * kWords + i] = page + 1;
}

static const char* look(uint64_t page) {
  uint64_t any = 0;
  int right = 1;
  for (uint64_t i = 0; i < kWords; ++i) {
    const uint64_t word = ((volatile uint64_t*)memory)[page * kWords + i];
    any |= word;
    right &= word == page + 1;
  }
  return right ? "right" : any == 0 ? "zero" : "other";
}

struct order {
  unsigned long long id, page;
  int writes;
};

static void answer(const struct order* order, const char* text) {
  char line[64];
  const int length = snprintf(line, sizeof line, "%llu %s\n", order->id, text);
  if (write(STDOUT_FILENO, line, (size_t)length) != length) _exit(3);
}

static void* obey(void* argument) {
  struct order* const order = argument;
  if (sigsetjmp(back, 1) != 0) {
    answer(order, "sigbus");
  } else if (order->writes) {
    fill(order->page);
    answer(order, "written");
  } else {
    answer(order, look(order->page));
  }
  free(order);
  return NULL;
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const uint64_t pages = strtoull(argv[2], NULL, 0);
  const int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)(pages * kPageSize)) != 0) return 3;
  memory = mmap(NULL, pages * kPageSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return 3;
  for (uint64_t page = 0; page < pages; ++page) fill(page);
  struct sigaction action = {.sa_handler = on_bus};
  sigaction(SIGBUS, &action, NULL);
  if (write(STDOUT_FILENO, "READY\n", 6) != 6) return 3;
  char word[16];
  for (struct order next; scanf("%15s %llu %llu", word, &next.id, &next.page) == 3;) {
    struct order* const order = malloc(sizeof *order);
    pthread_t thread;
    if (order == NULL) return 3;
    *order = next;
    order->writes = word[0] == 'w';
    if (pthread_create(&thread, NULL, obey, order) != 0) return 3;
    pthread_detach(thread);
  }
  for (;;) pause();
}
