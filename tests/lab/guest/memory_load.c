// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory that checks itself: cells with versions, and a shadow of versions that carries its own check words.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "workload.h"

enum { kPhaseOperations = 2048 };

static uint8_t* memory;
static uint64_t pages, cells_per_page, words_per_cell;
// Two arrays far apart: a shadow page that a pager loses or rolls back no longer matches its partner.
static uint32_t* version_of;
static uint32_t* check_of;

static uint32_t check_word(uint64_t cell, uint32_t version) {
  return (uint32_t)(pattern_base(~options.seed, cell, version) >> 32);
}

static uint64_t* cell_at(uint64_t cell) {
  return (uint64_t*)(memory + cell / cells_per_page * kPageSize) + cell % cells_per_page * words_per_cell;
}

static void* map(size_t bytes, int fd) {
  const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
  void* at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) {
    say("MEMVERIFY FATAL mmap of %zu bytes: %s", bytes, strerror(errno));
    exit(3);
  }
  return at;
}

static void write_cell(uint64_t cell, uint32_t version) {
  pattern_fill(cell_at(cell), words_per_cell, options.seed, cell, version);
  version_of[cell] = version;
  check_of[cell] = check_word(cell, version);
}

static void verify_cell(uint64_t cell) {
  const uint32_t version = version_of[cell];
  if (check_of[cell] != check_word(cell, version)) {
    report_error("shadow", cell, NULL, 0, options.seed, version);
    write_cell(cell, 1);
    return;
  }
  if (pattern_check(cell_at(cell), words_per_cell, options.seed, cell, version) < 0) return;
  report_error("memory", cell, cell_at(cell), words_per_cell, options.seed, version);
  write_cell(cell, version + 1);  // one report for one corruption
}

static void start(uint64_t mib, uint32_t threads) {
  int fd = -1;
  const uint64_t bytes = mib << 20;
  if (options.file != NULL) {
    fd = open(options.file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
      say("MEMVERIFY FATAL %s: %s", options.file, strerror(errno));
      exit(3);
    }
  }
  memory = map(bytes, fd);
  pages = bytes / kPageSize;
  cells_per_page = options.slices ? threads : 1;
  words_per_cell = kPageSize / 8 / cells_per_page;
  version_of = map(pages * cells_per_page * sizeof *version_of, -1);
  check_of = map(pages * cells_per_page * sizeof *check_of, -1);
  for (uint64_t cell = 0; cell < pages * cells_per_page; ++cell) write_cell(cell, 1 + (uint32_t)(cell % 5));
}

/// The worker's n-th cell: a slice of every page, or a contiguous range of whole pages.
static uint64_t own_cell(const struct worker* worker, uint64_t n) {
  return options.slices ? n * cells_per_page + worker->index : pages / worker->count * worker->index + n;
}

static void touch(struct worker* worker, uint64_t n) {
  const uint64_t cell = own_cell(worker, n);
  verify_cell(cell);
  if (rng_next(&worker->rng) % 100 < options.write_pct) write_cell(cell, version_of[cell] + 1);
  worker_step(worker, 1);
}

static void work(struct worker* worker) {
  const uint64_t own = options.slices ? pages : pages / worker->count;
  uint64_t hand = 0;
  for (;;) {
    const uint64_t phase = rng_next(&worker->rng) % 4;
    const uint64_t hot = rng_next(&worker->rng) % own;
    for (uint64_t i = 0; i < kPhaseOperations; ++i) {
      if (phase == 0) touch(worker, rng_next(&worker->rng) % own);
      else if (phase == 1) touch(worker, (hot + rng_next(&worker->rng) % (own / 16 + 1)) % own);
      else touch(worker, hand++ % own);
    }
  }
}

static uint64_t verify_all(void) {
  for (uint64_t cell = 0; cell < pages * cells_per_page; ++cell) verify_cell(cell);
  return pages * cells_per_page;
}

const struct workload memory_workload = {start, work, verify_all};
