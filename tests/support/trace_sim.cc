// SPDX-License-Identifier: LGPL-2.1-or-later
#include "support/trace_sim.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <deque>
#include <list>
#include <queue>
#include <random>
#include <span>
#include <utility>

namespace heca::test {
namespace {

std::uint64_t MissesOfClock(const Trace& trace, std::uint32_t limit) {
  std::vector<std::uint32_t> ring;
  std::vector<std::uint8_t> here(trace.pages, 0);
  std::vector<std::uint8_t> referenced(trace.pages, 0);
  std::size_t hand = 0;
  std::uint64_t misses = 0;
  for (const Access access : trace.accesses) {
    referenced[access.page] = 1;
    if (here[access.page] != 0) continue;
    ++misses;
    here[access.page] = 1;
    referenced[access.page] = 0;
    if (ring.size() < limit) {
      ring.push_back(access.page);
      continue;
    }
    while (referenced[ring[hand]] != 0) {
      referenced[ring[hand]] = 0;
      hand = (hand + 1) % limit;
    }
    here[ring[hand]] = 0;
    ring[hand] = access.page;
    hand = (hand + 1) % limit;
  }
  return misses;
}

/// As the engine would do it with this policy: in batches, ahead of need.
std::uint64_t MissesOfFifo(const Trace& trace, std::uint32_t limit, std::uint32_t batch) {
  std::deque<std::uint32_t> queue;
  std::vector<std::uint8_t> here(trace.pages, 0);
  std::uint64_t misses = 0;
  for (const Access access : trace.accesses) {
    if (here[access.page] != 0) continue;
    ++misses;
    for (std::uint32_t i = 0; i < batch && queue.size() + i == limit; ++i) {
      here[queue.front()] = 0;
      queue.pop_front();
    }
    here[access.page] = 1;
    queue.push_back(access.page);
  }
  return misses;
}

std::uint64_t MissesOfRandom(const Trace& trace, std::uint32_t limit) {
  std::vector<std::uint32_t> slots;
  std::vector<std::uint8_t> here(trace.pages, 0);
  std::mt19937_64 rng(1);
  std::uint64_t misses = 0;
  for (const Access access : trace.accesses) {
    if (here[access.page] != 0) continue;
    ++misses;
    here[access.page] = 1;
    if (slots.size() < limit) {
      slots.push_back(access.page);
      continue;
    }
    const std::size_t victim = rng() % limit;
    here[slots[victim]] = 0;
    slots[victim] = access.page;
  }
  return misses;
}

std::uint64_t MissesOfLru(const Trace& trace, std::uint32_t limit) {
  std::list<std::uint32_t> order;  // most recent first
  std::vector<std::list<std::uint32_t>::iterator> place(trace.pages, order.end());
  std::uint64_t misses = 0;
  for (const Access access : trace.accesses) {
    if (place[access.page] != order.end()) {
      order.splice(order.begin(), order, place[access.page]);
      continue;
    }
    ++misses;
    if (order.size() == limit) {
      place[order.back()] = order.end();
      order.pop_back();
    }
    order.push_front(access.page);
    place[access.page] = order.begin();
  }
  return misses;
}

/// Belady's MIN: drops the page whose next use is furthest away.
std::uint64_t MissesOfOptimum(const Trace& trace, std::uint32_t limit) {
  const std::size_t n = trace.accesses.size();
  std::vector<std::size_t> next(n);
  std::vector<std::size_t> seen(trace.pages, n);
  for (std::size_t i = n; i-- > 0;) {
    next[i] = std::exchange(seen[trace.accesses[i].page], i);
  }
  std::priority_queue<std::pair<std::size_t, std::uint32_t>> furthest;
  std::vector<std::size_t> due(trace.pages, 0);  // next use of a resident page
  std::vector<std::uint8_t> here(trace.pages, 0);
  std::uint32_t resident = 0;
  std::uint64_t misses = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint32_t page = trace.accesses[i].page;
    if (here[page] == 0) {
      ++misses;
      while (resident == limit) {
        const auto [when, victim] = furthest.top();
        furthest.pop();
        if (here[victim] == 0 || due[victim] != when) continue;
        here[victim] = 0;
        --resident;
      }
      here[page] = 1;
      ++resident;
    }
    due[page] = next[i];
    furthest.emplace(next[i], page);
  }
  return misses;
}

/// The page table of the simulated engine.
class Table final : public fault::ResidentView {
 public:
  struct Entry {
    fault::PolicyBits bits = fault::kNoPolicyBits;
    bool here = false;
    bool stored = false;  // has a copy at the store
    bool dirty = false;
    bool untouched = false;  // placed by a prefetch
    bool trap = false;       // fetched, not placed
    std::uint64_t placed = 0;
  };

  Table(std::uint32_t pages, std::uint32_t young) : entries(pages), young_(young) {}

  void Load(PageIndex first, fault::PageBlock& out) override {
    out.evictable = out.clean = out.away = 0;
    const std::size_t count = std::min(fault::kBlockPages, entries.size() - first.value());
    for (std::size_t i = 0; i < count; ++i) {
      const Entry& entry = entries[first.value() + i];
      out.bits[i] = entry.bits;
      const std::uint64_t bit = std::uint64_t{1} << i;
      if (entry.here && entry.placed + young_ < placements) {
        out.evictable |= bit;
        if (!entry.dirty) out.clean |= bit;
      }
      if (!entry.here && entry.stored) out.away |= bit;
    }
  }
  void SetBits(PageIndex page, fault::PolicyBits bits) override { entries[page.value()].bits = bits; }

  std::vector<Entry> entries;
  std::uint64_t placements = 0;

 private:
  std::uint32_t young_;
};

}  // namespace

std::uint64_t Misses(Yardstick yardstick, const Trace& trace, std::uint32_t limit) {
  switch (yardstick) {
    case Yardstick::kFifo: return MissesOfFifo(trace, limit, SimOptions{}.batch);
    case Yardstick::kClock: return MissesOfClock(trace, limit);
    case Yardstick::kRandom: return MissesOfRandom(trace, limit);
    case Yardstick::kLru: return MissesOfLru(trace, limit);
    case Yardstick::kOptimum: return MissesOfOptimum(trace, limit);
  }
  return 0;
}

SimResult Simulate(fault::EvictionPolicy& policy, const Trace& trace, std::uint32_t limit, const SimOptions& options) {
  Table table(trace.pages, options.young);
  std::vector<PageIndex> victims(options.batch);
  SimResult result;
  std::uint32_t resident = 0;
  std::uint64_t asked = 0;
  std::chrono::nanoseconds spent{0};

  const auto evict = [&] {
    const auto begin = std::chrono::steady_clock::now();
    const std::size_t count = policy.NextVictims(table, victims);
    spent += std::chrono::steady_clock::now() - begin;
    asked += count;
    for (const PageIndex victim : std::span(victims).first(count)) {
      Table::Entry& gone = table.entries[victim.value()];
      if (gone.dirty) ++result.dirty_victims;
      gone.here = gone.dirty = gone.untouched = false;
      gone.stored = true;
      gone.bits = policy.OnEvicted(victim, gone.bits);
      --resident;
    }
  };
  const auto place = [&](PageIndex page, fault::PlaceCause cause) {
    while (resident >= limit) evict();
    ++resident;
    Table::Entry& entry = table.entries[page.value()];
    entry.here = true;
    entry.trap = false;
    entry.placed = ++table.placements;
    entry.dirty = cause == fault::PlaceCause::kWriteFault;
    entry.untouched = cause == fault::PlaceCause::kPrefetch;
    entry.bits = policy.OnPlaced(page, cause, entry.bits);
  };

  for (const Access access : trace.accesses) {
    const PageIndex page(access.page);
    Table::Entry& entry = table.entries[access.page];
    if (entry.here) {
      if (std::exchange(entry.untouched, false)) ++result.prefetched_used;
      if (access.write != 0 && !entry.dirty) {
        entry.dirty = true;
        entry.bits = policy.OnWriteSeen(page, entry.bits);
      }
      continue;
    }
    ++(entry.trap ? result.traps : result.misses);
    place(page, access.write != 0 ? fault::PlaceCause::kWriteFault : fault::PlaceCause::kReadFault);
    if (options.prefetcher == nullptr) continue;
    const fault::PrefetchWindow window = options.prefetcher->OnFault(page);
    for (std::uint32_t i = 0; i < window.count; ++i) {
      Table::Entry& ahead = table.entries[window.At(i).value()];
      if (ahead.here || !ahead.stored) continue;
      if (i == window.trap) {
        ahead.trap = true;
        continue;
      }
      ++result.prefetched;
      place(window.At(i), fault::PlaceCause::kPrefetch);
    }
  }
  result.stats = policy.Stats();
  if (asked > 0) result.ns_per_victim = static_cast<double>(spent.count()) / static_cast<double>(asked);
  return result;
}

}  // namespace heca::test
