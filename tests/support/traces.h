// SPDX-License-Identifier: LGPL-2.1-or-later
// Page traces: what a program touches, page by page, for judging eviction and prefetch without a kernel.
//
// Generated ones have fixed seeds. Recorded ones are files of tests/data/traces (docs/eviction-policy.md says how they
// were recorded): the accesses of a real program as they leave a filter of the 32 pages used last.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace heca::test {

struct Access {
  std::uint32_t page : 31;
  std::uint32_t write : 1;
};

struct Trace {
  std::string name;
  std::uint32_t pages = 0;
  std::vector<Access> accesses;
};

/// One pass after the other over memory with a small hot set touched between.
Trace ScanWithHotSet(std::uint32_t pages, std::uint32_t rounds);
Trace UniformRandom(std::uint32_t pages, std::uint32_t accesses);
/// Zipf, exponent 0.99; hot pages are scattered, or neighbours of each other if `clustered`.
Trace Zipf(std::uint32_t pages, std::uint32_t accesses, bool clustered);
/// Touches all pages in order, again and again.
Trace Loop(std::uint32_t pages, std::uint32_t rounds);
/// Zipf over a window of three tenths of the pages that moves to other pages `phases` times.
Trace Phases(std::uint32_t pages, std::uint32_t phases, std::uint32_t accesses_per_phase);
/// A sort of random 64-bit numbers by std::sort, through an iterator that records.
Trace Quicksort(std::uint32_t pages);
/// Lookups and updates of a B-tree with zipf keys, with a full table scan now and then.
Trace BTree(std::uint32_t pages, std::uint32_t lookups);
/// A hash table: uniform buckets, zipf keys; bucket page and then record page.
Trace HashTable(std::uint32_t pages, std::uint32_t lookups);
/// Eight threads, each in its own part: three go upwards, two downwards, one strides, two are random.
Trace EightThreads(std::uint32_t pages, std::uint32_t accesses);
/// A recorded trace; empty name if there is no such file.
Trace Recorded(const std::string& directory, const std::string& name);

}  // namespace heca::test
