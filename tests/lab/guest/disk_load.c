// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk that checks itself, and the memory that its reads land in.
//
// Each 4 KiB block of the disk holds pattern(seed, block, version 1). Reads of random length land in a pool of
// buffers and are checked at once; a buffer is checked again when its turn comes to be read into, much later. So a
// page whose bytes came by DMA and were lost by a pager afterwards, or while the DMA was in flight, is found.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/fs.h>
#include <unistd.h>

#include "workload.h"

enum { kEmpty = 0 };

static uint8_t* pool;
static uint64_t pool_pages, blocks;
static uint32_t* block_in;  // pool page -> disk block + 1
static uint32_t* check_in;
static int direct_fd, buffered_fd;

static uint32_t check_word(uint64_t page, uint32_t block) {
  return (uint32_t)(pattern_base(~options.seed, page, block) >> 32);
}

static int open_disk(int flags) {
  const int fd = open(options.disk, O_RDONLY | O_CLOEXEC | flags);
  if (fd < 0) {
    say("MEMVERIFY FATAL %s: %s", options.disk, strerror(errno));
    exit(3);
  }
  return fd;
}

static void start(uint64_t mib, uint32_t threads) {
  (void)threads;
  uint64_t bytes = 0;
  direct_fd = open_disk(O_DIRECT);
  buffered_fd = open_disk(0);
  if (ioctl(direct_fd, BLKGETSIZE64, &bytes) != 0) {
    say("MEMVERIFY FATAL size of %s: %s", options.disk, strerror(errno));
    exit(3);
  }
  blocks = bytes / kPageSize;
  pool_pages = (mib << 20) / kPageSize;
  pool = mmap(NULL, pool_pages * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  block_in = calloc(pool_pages, sizeof *block_in);
  check_in = calloc(pool_pages, sizeof *check_in);
  if (pool == MAP_FAILED || block_in == NULL || check_in == NULL) {
    say("MEMVERIFY FATAL no memory for a pool of %llu MiB", (unsigned long long)mib);
    exit(3);
  }
  for (uint64_t page = 0; page < pool_pages; ++page) check_in[page] = check_word(page, kEmpty);
}

static void verify_page(uint64_t page, const char* when) {
  const uint32_t block = block_in[page];
  if (check_in[page] != check_word(page, block)) {
    report_error("shadow", page, NULL, 0, options.seed, block);
  } else if (block != kEmpty) {
    const uint64_t* at = (const uint64_t*)(pool + page * kPageSize);
    if (pattern_check(at, kPageSize / 8, options.seed, block - 1, 1) < 0) return;
    report_error(when, block - 1, at, kPageSize / 8, options.seed, 1);
  }
  block_in[page] = kEmpty;
  check_in[page] = check_word(page, kEmpty);
}

static void work(struct worker* worker) {
  const uint64_t own = pool_pages / worker->count, first = own * worker->index;
  const uint64_t longest = options.read_kib / 4 < own ? options.read_kib / 4 : own;
  for (;;) {
    const uint64_t count = 1 + rng_next(&worker->rng) % longest;
    const uint64_t page = first + rng_next(&worker->rng) % (own - count + 1);
    const uint64_t block = rng_next(&worker->rng) % (blocks - count + 1);
    const int direct = rng_next(&worker->rng) % 100 < options.direct_pct;
    for (uint64_t i = 0; i < count; ++i) verify_page(page + i, "kept");
    const ssize_t want = (ssize_t)(count * kPageSize);
    const ssize_t got = pread(direct ? direct_fd : buffered_fd, pool + page * kPageSize, (size_t)want,
                              (off_t)(block * kPageSize));
    if (got != want) {
      say("MEMVERIFY FATAL read of block %llu: %zd of %zd: %s", (unsigned long long)block, got, want,
          strerror(errno));
      exit(3);
    }
    for (uint64_t i = 0; i < count; ++i) {
      block_in[page + i] = (uint32_t)(block + i + 1);
      check_in[page + i] = check_word(page + i, block_in[page + i]);
      verify_page(page + i, direct ? "direct" : "buffered");
    }
    worker_step(worker, 2 * count);
  }
}

static uint64_t verify_all(void) {
  for (uint64_t page = 0; page < pool_pages; ++page) verify_page(page, "kept");
  return pool_pages;
}

const struct workload disk_workload = {start, work, verify_all};
