// SPDX-License-Identifier: LGPL-2.1-or-later
// Which pages will be wanted next: prefetch while, and only while, a trend holds.
//
// Faults are sorted into streams by neighbourhood (a sort has two, eight threads have eight). In each stream the
// majority among the last deltas is the trend; without one nothing is prefetched. A hit cannot be seen, but it can be
// inferred: when the next demand fault of a stream lands just past its window, the whole window was used, and the
// next one is twice as long; when it lands elsewhere, the window is halved or the trend is given up.
//
// What a stream prefetched and then wrote costs a second fault a page, unless it was placed writable: so each stream also
// learns whether it writes. A page placed writable counts as dirty, whatever becomes of it.
//
// Not one vote over all faults: two streams of opposite direction would hide each other. Figures: docs/eviction-policy.md.
//
// Thread: the fault loop. Fixed size; no call allocates, blocks or fails.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "heca/types.h"

namespace heca::fault {

/// Pages to fetch behind the demand page, nearest first: first, first + stride, ... `count` of them. All lie in the
/// region. Pages that are resident or were never stored are skipped by the engine.
struct PrefetchWindow {
  PageIndex first{0};
  std::uint32_t count = 0;  ///< 0: no trend, fetch nothing
  std::int64_t stride = 0;  ///< in pages; -1 and 1 are runs of neighbours
  /// The page in the middle of the window that should be fetched but left unplaced, so that its touch (a fault answered
  /// from the buffer) asks for the next window before this one is used up; equal to `count` if there is none.
  std::uint32_t trap = 0;
  /// The stream writes what it reads (told also where `count` is 0): place its pages writable, or each of them raises a
  /// second fault at its first write.
  bool writes = false;

  /// Whether to place a page write-protected. In a window that will be written the first page is, as a sample: it tells
  /// when the writing has stopped.
  [[nodiscard]] bool Armed(std::uint32_t index) const { return !writes || index == 0; }
  [[nodiscard]] PageIndex At(std::uint32_t index) const {
    return PageIndex(first.value() + static_cast<std::uint64_t>(stride * static_cast<std::int64_t>(index)));
  }
};

struct PrefetchOptions {
  PageCount region_pages{0};
  std::uint32_t min_window = 4;    ///< the first window of a trend
  std::uint32_t max_window = 128;  ///< 512 KiB of 4 KiB pages: one bulk message
  bool traps = true;               ///< leave a trap in windows of 16 pages and more
};

/// Counters, for metrics: coverage is hits / (hits + faults), accuracy is hits / issued.
struct PrefetchStats {
  std::uint64_t faults = 0;   ///< demand faults seen
  std::uint64_t windows = 0;  ///< windows returned
  std::uint64_t issued = 0;   ///< pages in them
  std::uint64_t hits = 0;     ///< pages of windows that were used up, by inference
};

class Prefetcher {
 public:
  explicit Prefetcher(const PrefetchOptions& options);

  /// No window is longer than an eighth of the limit.
  void SetLimit(PageCount limit);
  /// A thread waits for `page`: called for every demand fault that has to be fetched, was left as a trap, or waits for a
  /// page that is still on its way (recognised by its place in the window: nothing is asked for again).
  /// `coming`: it is on its way, or here as a trap; if a page in the window is not, the window came to nothing.
  [[nodiscard]] PrefetchWindow OnFault(PageIndex page, bool coming = true);
  /// A page that was placed write-protected was written.
  void OnWrite(PageIndex page);

  [[nodiscard]] const PrefetchStats& Stats() const { return stats_; }

 private:
  static constexpr std::size_t kStreams = 16;
  static constexpr std::size_t kVotes = 8;

  struct Stream {
    bool live = false;
    std::uint64_t last = 0;       ///< the last demand fault
    std::uint64_t used = 0;       ///< stats_.faults when it was last matched: the oldest is replaced
    std::int64_t stride = 0;      ///< trend in force, 0: none
    std::uint64_t window_first = 0;
    std::uint32_t window = 0;     ///< pages in the last window, 0: none open
    std::uint32_t next_window = 0;
    std::array<std::int64_t, kVotes> deltas{};
    std::size_t delta_count = 0;
    std::uint32_t trap = 0;
    bool writes = false;           ///< what the last window was opened with
    std::uint32_t written = 0;     ///< protected pages of the last windows that were written since it was opened
    std::uint32_t unwritten = 0;   ///< windows in a row whose sample was not written

    [[nodiscard]] std::uint64_t At(std::int64_t step) const {
      return window_first + static_cast<std::uint64_t>(stride * step);
    }
    /// Where the next fault falls if the whole window is used.
    [[nodiscard]] std::uint64_t Expected() const { return At(window); }
  };

  Stream* Match(std::uint64_t page);
  Stream& Replace(std::uint64_t page);
  [[nodiscard]] static std::int64_t Majority(const Stream& stream);
  PrefetchWindow Next(Stream& stream, std::uint64_t page, bool coming);
  PrefetchWindow Open(Stream& stream, std::uint64_t after);
  static void ExpectWrites(Stream& stream);

  PrefetchOptions options_;
  std::uint32_t cap_;
  std::array<Stream, kStreams> streams_;
  PrefetchStats stats_;
};

}  // namespace heca::fault
