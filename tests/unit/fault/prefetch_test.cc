// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/prefetch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <vector>

#include "fault/policy_adaptive.h"
#include "support/trace_sim.h"
#include "support/traces.h"

namespace heca::fault {
namespace {

constexpr std::uint64_t kPages = 1U << 20;

Prefetcher Make(bool traps = false) {
  return Prefetcher({.region_pages = PageCount(kPages), .min_window = 4, .max_window = 128, .traps = traps});
}

/// A thread that touches page after page: faults where nothing was prefetched. Returns its faults.
std::uint64_t Walk(Prefetcher& prefetcher, std::uint64_t start, std::int64_t stride, int pages) {
  std::uint64_t faults = 0;
  std::uint64_t covered = 0;
  std::uint64_t page = start;
  for (int i = 0; i < pages; ++i, page += static_cast<std::uint64_t>(stride)) {
    if (covered > 0) {
      --covered;
      continue;
    }
    ++faults;
    const PrefetchWindow window = prefetcher.OnFault(PageIndex(page));
    EXPECT_TRUE(window.count == 0 || (window.stride == stride && window.first.value() ==
                                                                     page + static_cast<std::uint64_t>(stride)));
    covered = window.count;
  }
  return faults;
}

TEST(Prefetch, FollowsATrendInAnyDirectionAndStride) {
  for (const std::int64_t stride : {1, -1, 2, -3, 64}) {
    Prefetcher prefetcher = Make();
    EXPECT_LT(Walk(prefetcher, kPages / 2, stride, 1000), 25U) << stride;
    EXPECT_GT(static_cast<double>(prefetcher.Stats().hits), 0.8 * static_cast<double>(prefetcher.Stats().issued));
  }
}

TEST(Prefetch, KeepsInterleavedStreamsApart) {
  Prefetcher prefetcher = Make();
  std::vector<std::uint64_t> at;
  std::vector<std::uint64_t> covered(8, 0);
  for (std::uint64_t i = 0; i < 8; ++i) at.push_back(kPages / 16 + i * (kPages / 8));
  std::uint64_t faults = 0;
  for (int step = 0; step < 1000; ++step) {
    for (std::size_t i = 0; i < 8; ++i) {
      if (covered[i] > 0) {
        --covered[i];
      } else {
        ++faults;
        covered[i] = prefetcher.OnFault(PageIndex(at[i])).count;
      }
      at[i] = i % 2 == 0 ? at[i] + 1 : at[i] - 1;
    }
  }
  EXPECT_LT(faults, 8 * 25U);
}

TEST(Prefetch, AsksForNothingAtRandom) {
  Prefetcher prefetcher = Make();
  std::mt19937_64 rng(3);
  for (int i = 0; i < 20000; ++i) static_cast<void>(prefetcher.OnFault(PageIndex(rng() % kPages)));
  EXPECT_LT(prefetcher.Stats().issued, 200U);
}

TEST(Prefetch, StopsWhenTheTrendBreaks) {
  Prefetcher prefetcher = Make();
  Walk(prefetcher, 1000, 1, 500);
  const std::uint64_t issued = prefetcher.Stats().issued;
  std::mt19937_64 rng(4);
  for (int i = 0; i < 100; ++i) static_cast<void>(prefetcher.OnFault(PageIndex(kPages / 2 + rng() % (kPages / 4))));
  EXPECT_LE(prefetcher.Stats().issued, issued + 16);
}

TEST(Prefetch, StaysInTheRegionAndUnderTheLimit) {
  Prefetcher prefetcher = Make();
  prefetcher.SetLimit(PageCount(64));
  std::uint64_t page = kPages - 300;
  while (page < kPages) {
    const PrefetchWindow window = prefetcher.OnFault(PageIndex(page));
    EXPECT_LE(window.count, 8U);
    if (window.count > 0) {
      EXPECT_LT(window.At(window.count - 1).value(), kPages);
    }
    page += window.count + 1;
  }
  Prefetcher down = Make();
  for (std::int64_t at = 300; at >= 0;) {
    const PrefetchWindow window = down.OnFault(PageIndex(static_cast<std::uint64_t>(at)));
    if (window.count > 0) {
      EXPECT_LT(window.At(window.count - 1).value(), 300U);
    }
    at -= static_cast<std::int64_t>(window.count) + 1;
  }
  EXPECT_EQ(down.OnFault(PageIndex(kPages + 5)).count, 0U);
}

TEST(Prefetch, APageOnItsWayAsksForNothingAgain) {
  Prefetcher prefetcher = Make();
  PrefetchWindow window;
  for (std::uint64_t page = 100; window.count == 0; ++page) window = prefetcher.OnFault(PageIndex(page));
  const std::uint64_t issued = prefetcher.Stats().issued;
  EXPECT_EQ(prefetcher.OnFault(window.At(1)).count, 0U);
  EXPECT_EQ(prefetcher.Stats().issued, issued);
  // ... and the stream still goes on from the window's end.
  EXPECT_GT(prefetcher.OnFault(window.At(window.count)).count, window.count);
}

TEST(Prefetch, ATrapAsksForTheNextWindowBeforeThisOneEnds) {
  Prefetcher prefetcher = Make(true);
  PrefetchWindow window;
  for (std::uint64_t page = 100; window.count < 16; page = window.At(window.count).value()) {
    window = prefetcher.OnFault(PageIndex(page));
    if (window.count == 0) window = {.first = PageIndex(page), .count = 1, .stride = 1, .trap = 1};
  }
  ASSERT_LT(window.trap, window.count);
  const PrefetchWindow next = prefetcher.OnFault(window.At(window.trap));
  EXPECT_EQ(next.first.value(), window.At(window.count).value());
  EXPECT_GE(next.count, window.count);
}

/// Opens windows of a stream from page 100 on until one has at least `pages`.
PrefetchWindow OpenLarge(Prefetcher& prefetcher, std::uint32_t pages) {
  PrefetchWindow window;
  for (std::uint64_t page = 100; window.count < pages; page = window.At(window.count).value()) {
    window = prefetcher.OnFault(PageIndex(page));
    if (window.count == 0) window = {.first = PageIndex(page), .count = 1, .stride = 1, .trap = 1};
  }
  return window;
}

/// Touches a window up to its trap; `writes`: as a thread that writes what it reads.
PrefetchWindow Use(Prefetcher& prefetcher, const PrefetchWindow& window, bool writes) {
  for (std::uint32_t i = 0; i < window.trap && writes; ++i) {
    if (window.Armed(i)) prefetcher.OnWrite(window.At(i));
  }
  return prefetcher.OnFault(window.At(window.trap));
}

TEST(Prefetch, LearnsThatAStreamWritesAndThatItStopped) {
  Prefetcher prefetcher = Make(true);
  PrefetchWindow window = OpenLarge(prefetcher, 32);
  EXPECT_TRUE(window.Armed(1));
  for (int i = 0; i < 5; ++i) {
    window = Use(prefetcher, window, true);
    ASSERT_GT(window.count, 0U);
    EXPECT_TRUE(window.Armed(0)) << "the sample";
    EXPECT_FALSE(window.Armed(1));
  }
  window = Use(prefetcher, window, false);
  EXPECT_FALSE(window.Armed(1)) << "one sample may be a chance";
  window = Use(prefetcher, window, false);
  window = Use(prefetcher, window, false);
  EXPECT_TRUE(window.Armed(1));
}

TEST(Prefetch, AReadersWindowsStayProtected) {
  Prefetcher prefetcher = Make(true);
  PrefetchWindow window = OpenLarge(prefetcher, 32);
  for (int i = 0; i < 5; ++i) {
    prefetcher.OnWrite(window.At(3));  // a page now and then
    window = Use(prefetcher, window, false);
    EXPECT_TRUE(window.Armed(1));
  }
}

TEST(Prefetch, AWindowThatCameToNothingIsOpenedAnew) {
  Prefetcher prefetcher = Make(true);
  const PrefetchWindow window = OpenLarge(prefetcher, 32);
  const PrefetchWindow again = prefetcher.OnFault(window.At(0), false);
  EXPECT_EQ(again.first, window.At(1));
  EXPECT_GE(again.count, 4U);
}

TEST(Prefetch, QuicksortIsCoveredAndRandomIsLeftAlone) {
  constexpr std::uint32_t kSmall = 4096;
  for (const bool sorted : {true, false}) {
    const test::Trace trace = sorted ? test::Quicksort(kSmall) : test::UniformRandom(kSmall, 10 * kSmall);
    AdaptivePolicy policy({.region_pages = PageCount(kSmall), .limit = PageCount(kSmall / 4), .seed = 1});
    Prefetcher prefetcher({.region_pages = PageCount(kSmall), .min_window = 4, .max_window = 128, .traps = false});
    prefetcher.SetLimit(PageCount(kSmall / 4));
    test::SimOptions options;
    options.prefetcher = &prefetcher;
    const test::SimResult result = test::Simulate(policy, trace, kSmall / 4, options);
    if (sorted) {
      // First touches are never prefetched: nothing is stored yet.
      EXPECT_LT((result.misses - kSmall) * 8, result.prefetched);
      EXPECT_GT(static_cast<double>(result.prefetched_used), 0.9 * static_cast<double>(result.prefetched));
    } else {
      EXPECT_LT(result.prefetched * 100, result.misses);
    }
  }
}

}  // namespace
}  // namespace heca::fault
