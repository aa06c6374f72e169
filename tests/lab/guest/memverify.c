// SPDX-License-Identifier: LGPL-2.1-or-later
// A workload that proves memory: writes patterns, remembers what it wrote, and looks again. Runs as the only program
// of a lab guest (options on the kernel's command line as mv.NAME=VALUE) and as a plain process (NAME=VALUE).
//
// Prints   MEMVERIFY READY ...                                  memory is filled, workers run
//          MEMVERIFY tick=.. ops=.. errors=.. verified=.. maxgap_ms=..      once a second (tick_ms)
//          MEMVERIFY ERROR where=.. cell=.. kind=zero|stale|other zero=yes|no ...
//          MEMVERIFY FINAL errors=.. cells=..                   after `verify`: everything was looked at
// Reads    verify | stop | go | rate N | disk on | disk off | off   one command a line, answered by a line
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "workload.h"

struct options options = {.mib = 64, .threads = 2, .seed = 1, .write_pct = 50, .pool_mib = 16, .mode = "memory",
                          .disk = "/dev/vda", .direct_pct = 75, .read_kib = 256, .tick_ms = 1000};
_Atomic uint64_t error_count;
_Atomic int run_wanted = 1;
_Atomic int parked;

static struct worker workers[kMaxThreads];
static uint32_t all_workers;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void nap_us(uint64_t us) {
  const struct timespec nap = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
  nanosleep(&nap, NULL);
}

void say(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  const size_t end = length < (int)sizeof line - 1 ? (size_t)length : sizeof line - 2;
  line[end] = '\n';
  pthread_mutex_lock(&output);
  for (size_t done = 0; done < end + 1;) {
    const ssize_t n = write(STDOUT_FILENO, line + done, end + 1 - done);
    if (n <= 0) break;
    done += (size_t)n;
  }
  pthread_mutex_unlock(&output);
}

void report_error(const char* where, uint64_t cell, const uint64_t* at, size_t words, uint64_t seed,
                  uint32_t version) {
  const uint64_t nth = atomic_fetch_add(&error_count, 1);
  if (nth >= kMaxErrorLines) return;
  uint32_t found = 0;
  const char* kind = at == NULL ? "shadow" : pattern_diagnose(at, words, seed, cell, version, &found);
  const long word = at == NULL ? 0 : pattern_check(at, words, seed, cell, version);
  say("MEMVERIFY ERROR where=%s cell=%llu expected=%u got=%u kind=%s zero=%s word=%ld value=%016llx", where,
      (unsigned long long)cell, version, found, kind, strcmp(kind, "zero") == 0 ? "yes" : "no", word,
      at == NULL || word < 0 ? 0ull : (unsigned long long)at[word]);
}

void worker_step(struct worker* worker, uint64_t verified) {
  atomic_fetch_add_explicit(&worker->operations, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&worker->verified, verified, memory_order_relaxed);
  const uint64_t now = now_us();
  if (now - worker->last_us > atomic_load_explicit(&worker->max_gap_us, memory_order_relaxed)) {
    atomic_store_explicit(&worker->max_gap_us, now - worker->last_us, memory_order_relaxed);
  }
  const uint64_t rate = options.rate;
  if (rate != 0 && worker->operations % (rate / 50 + 1) == 0) nap_us(20000);
  if (!atomic_load(&run_wanted) || atomic_load(&worker->resting)) {
    atomic_fetch_add(&parked, 1);
    while (!atomic_load(&run_wanted) || atomic_load(&worker->resting)) nap_us(5000);
    atomic_fetch_sub(&parked, 1);
  }
  worker->last_us = now_us();
}

static void* run_worker(void* argument) {
  struct worker* worker = argument;
  worker->last_us = now_us();
  worker->workload->work(worker);
  return NULL;
}

static void* run_reporter(void* unused) {
  (void)unused;
  uint64_t next = now_us();
  for (uint64_t tick = 1;; ++tick) {
    next += options.tick_ms * 1000;
    const uint64_t now = now_us();
    if (next > now) nap_us(next - now);
    uint64_t operations = 0, verified = 0, gap = 0;
    for (uint32_t i = 0; i < all_workers; ++i) {
      operations += workers[i].operations;
      verified += workers[i].verified;
      const uint64_t own = atomic_exchange(&workers[i].max_gap_us, 0);
      if (own > gap) gap = own;
    }
    say("MEMVERIFY tick=%llu ops=%llu errors=%llu verified=%llu maxgap_ms=%llu", (unsigned long long)tick,
        (unsigned long long)operations, (unsigned long long)error_count, (unsigned long long)verified,
        (unsigned long long)gap / 1000);
  }
  return NULL;
}

static void set_option(const char* name, const char* value) {
  const uint64_t number = strtoull(value, NULL, 0);
  if (strcmp(name, "mib") == 0) options.mib = number;
  else if (strcmp(name, "threads") == 0) options.threads = (uint32_t)number;
  else if (strcmp(name, "disk_threads") == 0) options.disk_threads = (uint32_t)number;
  else if (strcmp(name, "pool_mib") == 0) options.pool_mib = number;
  else if (strcmp(name, "seed") == 0) options.seed = number;
  else if (strcmp(name, "rate") == 0) options.rate = number;
  else if (strcmp(name, "write_pct") == 0) options.write_pct = (uint32_t)number;
  else if (strcmp(name, "slices") == 0) options.slices = (int)number;
  else if (strcmp(name, "mode") == 0) options.mode = value;
  else if (strcmp(name, "file") == 0) options.file = value;
  else if (strcmp(name, "disk") == 0) options.disk = value;
  else if (strcmp(name, "direct_pct") == 0) options.direct_pct = (uint32_t)number;
  else if (strcmp(name, "read_kib") == 0) options.read_kib = (uint32_t)number;
  else if (strcmp(name, "tick_ms") == 0) options.tick_ms = number;
  else say("MEMVERIFY unknown option %s", name);
}

static void parse(char* word, const char* prefix) {
  const size_t skip = strlen(prefix);
  char* equals = strchr(word, '=');
  if (strncmp(word, prefix, skip) != 0 || equals == NULL) return;
  *equals = 0;
  set_option(word + skip, equals + 1);
}

static void read_kernel_command_line(void) {
  static char line[4096];  // options point into it
  FILE* file = fopen("/proc/cmdline", "r");
  if (file == NULL || fgets(line, sizeof line, file) == NULL) return;
  fclose(file);
  line[strcspn(line, "\n")] = 0;
  for (char* word = strtok(line, " "); word != NULL; word = strtok(NULL, " ")) parse(word, "mv.");
}

static void park_all(void) {
  atomic_store(&run_wanted, 0);
  while (atomic_load(&parked) < (int)all_workers) nap_us(1000);
}

/// Workers that do the same.
static void enlist(const struct workload* workload, uint64_t mib, uint32_t count, int resting) {
  workload->start(mib, count);
  for (uint32_t i = 0; i < count; ++i, ++all_workers) {
    workers[all_workers] = (struct worker){.index = i, .count = count, .workload = workload, .resting = resting,
                                           .rng = {options.seed * 1000003 + all_workers}};
  }
}

static uint64_t verify_everything(void) {
  uint64_t cells = 0;
  for (uint32_t i = 0; i < all_workers; ++i) {
    if (workers[i].index == 0) cells += workers[i].workload->verify_all();
  }
  return cells;
}

static void let_disk_rest(int resting) {
  for (uint32_t i = options.threads; i < all_workers; ++i) atomic_store(&workers[i].resting, resting);
  say("MEMVERIFY DISK %s", resting ? "off" : "on");
}

static void obey(const char* command, int is_guest) {
  if (strcmp(command, "verify") == 0) {
    park_all();
    const unsigned long long cells = verify_everything();
    say("MEMVERIFY FINAL errors=%llu cells=%llu", (unsigned long long)error_count, cells);
    atomic_store(&run_wanted, 1);
  } else if (strcmp(command, "stop") == 0) {
    park_all();
    say("MEMVERIFY STOPPED errors=%llu", (unsigned long long)error_count);
  } else if (strcmp(command, "go") == 0) {
    atomic_store(&run_wanted, 1);
    say("MEMVERIFY GOING");
  } else if (strcmp(command, "disk on") == 0) {
    let_disk_rest(0);
  } else if (strcmp(command, "disk off") == 0) {
    let_disk_rest(1);
  } else if (strncmp(command, "rate ", 5) == 0) {
    options.rate = strtoull(command + 5, NULL, 0);
    say("MEMVERIFY RATE rate=%llu", (unsigned long long)options.rate);
  } else if (strcmp(command, "off") == 0) {
    say("MEMVERIFY OFF errors=%llu", (unsigned long long)error_count);
    if (is_guest) reboot(RB_POWER_OFF);
    exit(error_count != 0);
  } else {
    say("MEMVERIFY unknown command '%s'", command);
  }
}

int main(int argc, char** argv) {
  const int is_guest = getpid() == 1;
  if (is_guest) read_kernel_command_line();
  for (int i = 1; i < argc; ++i) parse(argv[i], "");
  if (options.threads < 1 || options.threads > kMaxThreads - options.disk_threads || options.mib < 1) {
    say("MEMVERIFY FATAL threads must be 1 to %d, those of the disk counted, mib at least 1", kMaxThreads);
    return 2;
  }
  const int disk = strcmp(options.mode, "disk") == 0;
  enlist(disk ? &disk_workload : &memory_workload, options.mib, options.threads, 0);
  if (!disk && options.disk_threads > 0) enlist(&disk_workload, options.pool_mib, options.disk_threads, 1);
  say("MEMVERIFY READY mode=%s mib=%llu threads=%u", options.mode, (unsigned long long)options.mib, options.threads);
  for (uint32_t i = 0; i <= all_workers; ++i) {
    pthread_t thread;
    const int error = i < all_workers ? pthread_create(&thread, NULL, run_worker, &workers[i])
                                      : pthread_create(&thread, NULL, run_reporter, NULL);
    if (error != 0) {
      say("MEMVERIFY FATAL thread: %s", strerror(error));
      return 3;
    }
  }
  char command[128];
  while (fgets(command, sizeof command, stdin) != NULL) {
    command[strcspn(command, "\r\n")] = 0;
    if (command[0] != 0) obey(command, is_guest);
  }
  for (;;) pause();  // nobody gives commands: run until killed
}
