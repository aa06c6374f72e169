// SPDX-License-Identifier: LGPL-2.1-or-later
// The bytes that a verifying workload writes, and what to say about bytes that are not they.
//
// A cell is `words` 64-bit words of one page. Its content follows from (seed, cell, version) alone, so a verifier
// needs four bytes of shadow a cell. Version 0 is fresh memory: zeros. Every kZeroEvery-th version is all zeros too,
// so that pages that a pager drops as zero are part of the workload.
#ifndef HECA_LAB_PATTERN_H
#define HECA_LAB_PATTERN_H

#include <stddef.h>
#include <stdint.h>

enum { kPageSize = 4096, kZeroEvery = 16, kVersionsSearched = 64 };

static inline uint64_t pattern_mix(uint64_t x) {  // splitmix64's finaliser
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9u;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

static inline int pattern_is_zero(uint32_t version) { return version % kZeroEvery == 0; }

static inline uint64_t pattern_base(uint64_t seed, uint64_t cell, uint32_t version) {
  return pattern_mix(pattern_mix(seed + cell) ^ ((uint64_t)version << 32 | 1));
}

static inline void pattern_fill(uint64_t* at, size_t words, uint64_t seed, uint64_t cell, uint32_t version) {
  if (pattern_is_zero(version)) {
    for (size_t i = 0; i < words; ++i) at[i] = 0;
    return;
  }
  uint64_t value = pattern_base(seed, cell, version);
  for (size_t i = 0; i < words; ++i, value += 0x9e3779b97f4a7c15u) at[i] = value;
}

/// Index of the first wrong word, or -1.
static inline long pattern_check(const uint64_t* at, size_t words, uint64_t seed, uint64_t cell, uint32_t version) {
  uint64_t value = pattern_is_zero(version) ? 0 : pattern_base(seed, cell, version);
  const uint64_t step = pattern_is_zero(version) ? 0 : 0x9e3779b97f4a7c15u;
  uint64_t wrong = 0;
  for (size_t i = 0; i < words; ++i) wrong |= at[i] ^ (value + i * step);
  if (wrong == 0) return -1;
  for (size_t i = 0; i < words; ++i) {
    if (at[i] != value + i * step) return (long)i;
  }
  return 0;  // wrong a moment ago, right now: the memory changed under us
}

/// "zero" all words are zero, "stale" an earlier version of the same cell, "other" anything else.
static inline const char* pattern_diagnose(const uint64_t* at, size_t words, uint64_t seed, uint64_t cell,
                                           uint32_t expected, uint32_t* found_version) {
  uint64_t any = 0;
  for (size_t i = 0; i < words; ++i) any |= at[i];
  *found_version = 0;
  if (any == 0) return "zero";
  for (uint32_t back = 1; back < kVersionsSearched && back <= expected; ++back) {
    if (pattern_check(at, words, seed, cell, expected - back) == -1) {
      *found_version = expected - back;
      return "stale";
    }
  }
  return "other";
}

struct rng {
  uint64_t state;
};

static inline uint64_t rng_next(struct rng* rng) { return pattern_mix(rng->state += 0x9e3779b97f4a7c15u); }

#endif
