// SPDX-License-Identifier: LGPL-2.1-or-later
// What the parts of memverify share: options, counters of the workers, error reports.
#ifndef HECA_LAB_WORKLOAD_H
#define HECA_LAB_WORKLOAD_H

#include <stdatomic.h>
#include <stdint.h>

#include "pattern.h"

enum { kMaxThreads = 16, kMaxErrorLines = 40 };

struct options {
  uint64_t mib;        // memory mode: verified memory; disk mode: pool of read buffers
  uint32_t threads;
  uint32_t disk_threads;  // memory mode: as many more workers read the disk; they rest until `disk on`
  uint64_t pool_mib;   // memory mode: pool of their read buffers
  uint64_t seed;
  uint64_t rate;       // operations a second and thread; 0 = as fast as it goes
  uint32_t write_pct;  // memory mode: share of operations that write a new version
  int slices;          // memory mode: every page is shared by all threads, each owns a slice of it
  const char* mode;    // "memory" or "disk"
  const char* file;    // memory mode: a file to map shared instead of anonymous memory
  const char* disk;    // disk mode: the device
  uint32_t direct_pct; // disk mode: share of reads with O_DIRECT
  uint32_t read_kib;   // disk mode: largest read
  uint64_t tick_ms;    // time from tick to tick
};

/// One writer each (its worker); the reporting thread reads and resets max_gap_us.
struct worker {
  uint32_t index;      // among the `count` that do the same
  uint32_t count;
  const struct workload* workload;
  _Atomic int resting; // parked, whatever run_wanted says
  struct rng rng;
  _Atomic uint64_t operations;
  _Atomic uint64_t verified;
  _Atomic uint64_t max_gap_us;
  uint64_t last_us;
};

extern struct options options;
extern _Atomic uint64_t error_count;
extern _Atomic int run_wanted;  // workers work while 1, park while 0
extern _Atomic int parked;      // how many do

uint64_t now_us(void);
/// Prints one line under the lock of stdout.
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));
/// Counts the error and prints the first kMaxErrorLines of them.
void report_error(const char* what, uint64_t cell, const uint64_t* at, size_t words, uint64_t seed, uint32_t version);
/// To be called once an operation: counts, measures the gap, keeps to the rate, parks when told to.
void worker_step(struct worker* worker, uint64_t verified);

/// A workload: `start` allocates `mib` MiB for as many threads and fills them, `work` is a worker's endless loop,
/// `verify_all` runs while all are parked and returns how many cells it looked at.
struct workload {
  void (*start)(uint64_t mib, uint32_t threads);
  void (*work)(struct worker* worker);
  uint64_t (*verify_all)(void);
};

extern const struct workload memory_workload;
extern const struct workload disk_workload;

#endif
