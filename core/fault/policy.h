// SPDX-License-Identifier: LGPL-2.1-or-later
// Who is cold: chooses the pages to evict.
//
// What can be known. No kernel of today shows us the accessed bits of another process, so a *hit* is invisible. A
// policy learns only from what the fault loop does anyway: a page is placed (by a read fault, a write fault or a
// prefetch), a clean page is written for the first time, a page is evicted, its eviction is cancelled because it was
// written meanwhile, a page is discarded by the guest. A sampled reference test is optional (NextProbes).
//
// What is kept. Eight bits a page, inside the page table's entry, that belong to the policy alone in every state of
// the page: the table keeps them, hands them to each call and stores what the call returns. 0 is what a page has
// that was never placed. Beside them a policy has a fixed amount of state, whatever the size of the region. There is
// no queue of pages: victims are found by sweeping the table in blocks of 64 entries.
//
// Thread: the fault loop that owns the page table, and no other. No call allocates, blocks or fails.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "heca/types.h"

namespace heca::fault {

/// What the policy remembers of one page.
using PolicyBits = std::uint8_t;
/// Never placed, or nothing is known of it any more.
inline constexpr PolicyBits kNoPolicyBits = 0;

/// Why a page was placed.
enum class PlaceCause : std::uint8_t {
  kInvalid = 0,
  kReadFault = 1,
  kWriteFault = 2,
  kPrefetch = 3,  ///< nobody has touched it yet
};
[[nodiscard]] std::string_view ToString(PlaceCause cause);

/// How many pages one PageBlock covers.
inline constexpr std::size_t kBlockPages = 64;

/// 64 neighbouring pages as the sweep sees them; bit n of a mask is page first + n.
struct PageBlock {
  /// May be evicted now: Here, old enough, not claimed, not part of the last batch of faults.
  std::uint64_t evictable = 0;
  /// Subset of `evictable` whose remote copy is valid: dropping it sends nothing.
  std::uint64_t clean = 0;
  /// At a store, not here: `bits` is what OnEvicted returned.
  std::uint64_t away = 0;
  /// The policy bits; only those of pages in `evictable` or `away` are read.
  std::array<PolicyBits, kBlockPages> bits{};
};

/// The page table, as far as a sweep may see it. Implemented by the engine over its table.
class ResidentView {
 public:
  virtual ~ResidentView() = default;
  /// Fills `out` (all of its masks) with the block that starts at `first`, a multiple of 64. Pages past the end of the
  /// region are in no mask. Called once for every 64 entries that a sweep passes: it decides what a sweep costs.
  virtual void Load(PageIndex first, PageBlock& out) = 0;
  /// Stores the policy bits of one page of the block loaded last.
  virtual void SetBits(PageIndex page, PolicyBits bits) = 0;
};

/// One page's worth of counters of a policy, for metrics and tests.
struct PolicyStats {
  std::uint64_t placed = 0;     ///< OnPlaced calls
  std::uint64_t refaults = 0;   ///< of these, pages that came back by a demand fault
  std::uint64_t evicted = 0;    ///< OnEvicted calls
  std::uint64_t scanned = 0;    ///< table entries that sweeps passed
  std::uint64_t victims = 0;    ///< pages returned by NextVictims
  std::uint64_t runs = 0;       ///< runs of neighbours that these victims formed
  std::uint64_t explored = 0;   ///< victims taken to learn, not because they looked coldest
};

/// The seam: the engine knows only this. Every On* call returns the bits to store for that page.
class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  /// How many pages may be resident: the scale of every distance. Called before the first page is placed and whenever
  /// the limit is changed.
  virtual void SetLimit(PageCount limit) = 0;

  /// A page was placed. `bits` is what the table has for it (from OnEvicted, or kNoPolicyBits).
  [[nodiscard]] virtual PolicyBits OnPlaced(PageIndex page, PlaceCause cause, PolicyBits bits) = 0;
  /// A resident page that was placed read-only by a read fault or a prefetch was written for the first time.
  [[nodiscard]] virtual PolicyBits OnWriteSeen(PageIndex page, PolicyBits bits) = 0;
  /// A page that NextVictims returned was not dropped after all and stays resident; `touched` tells that somebody used
  /// it meanwhile (a write fault in the write-protect window, a fault served from the write-back buffer).
  [[nodiscard]] virtual PolicyBits OnCancelled(PageIndex page, PolicyBits bits, bool touched) = 0;
  /// A probed page (NextProbes) was touched again.
  [[nodiscard]] virtual PolicyBits OnReferenced(PageIndex page, PolicyBits bits) = 0;
  /// A page was dropped and is Away now (or Zero, if it held nothing but zeros).
  [[nodiscard]] virtual PolicyBits OnEvicted(PageIndex page, PolicyBits bits) = 0;
  /// The guest discarded the page: what was known of it is void. `was_resident`: it was here, not away.
  [[nodiscard]] virtual PolicyBits OnDiscarded(PageIndex page, PolicyBits bits, bool was_resident) = 0;

  /// Takes over the bits that an earlier process left in the table (recovery), or forgets them; called before
  /// anything else, where the table is not new. One pass over the table.
  virtual void Adopt(ResidentView& view) = 0;

  /// Chooses up to out.size() victims among the evictable pages, as runs of neighbours in ascending order where the
  /// policy sees no difference between them. No page is returned twice in one call; the engine claims them before it
  /// calls again. Returns how many; fewer than asked only if the view has fewer evictable pages. Work is bounded by
  /// a few passes over the table, and amortised to some tens of entries a victim.
  [[nodiscard]] virtual std::size_t NextVictims(ResidentView& view, std::span<PageIndex> out) = 0;

  /// Resident pages for which the policy would like to know whether they are still used: the engine may zap their page
  /// table entries (MADV_PAGEOUT on tmpfs) so that the next touch is a MINOR fault, and then calls OnReferenced. An
  /// engine that cannot (hugetlbfs, noswap) never calls this. May return 0 at any time.
  [[nodiscard]] virtual std::size_t NextProbes(ResidentView& view, std::span<PageIndex> out) = 0;

  [[nodiscard]] virtual PolicyStats Stats() const = 0;
  /// One line for people: "adaptive: coldest class new/old, 3 % explored".
  [[nodiscard]] virtual std::string Describe() const = 0;
};

}  // namespace heca::fault
