// SPDX-License-Identifier: LGPL-2.1-or-later
// What the adaptive policy keeps in a page's eight bits.
//
//   never placed, or forgotten   0
//   resident                     score:2  mark:1  chosen:1  birth:4      score is 0..3
//   away                         arm:3    stamp:5                        stamp 1..30: epoch + 1, 31: long ago
//
// `chosen`: returned by NextVictims and not dropped yet; then `mark` tells that it came from the youngest end. Otherwise
// `mark` tells that the page was probed and not touched since.
//
// Whether a page is resident or away follows from the page's state, not from the bits.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fault/policy.h"
#include "fault/policy_arms.h"

namespace heca::fault {

/// How often a page came back soon after its eviction: 0 new or cold, 3 hot.
inline constexpr std::uint32_t kScores = 4;
/// Births are told apart by generation; kAncient is "at least kGenerations ago".
inline constexpr std::uint32_t kGenerations = 15;
inline constexpr std::uint32_t kAncient = 15;

struct ResidentBits {
  std::uint32_t score = 0;
  std::uint32_t birth = 0;  ///< generation modulo kGenerations, or kAncient
  bool mark = false;
  bool chosen = false;

  [[nodiscard]] PolicyBits Pack() const {
    return static_cast<PolicyBits>(score << 6 | (mark ? 1U << 5 : 0U) | (chosen ? 1U << 4 : 0U) | birth);
  }
  static ResidentBits Unpack(PolicyBits bits) {
    return {.score = static_cast<std::uint32_t>(bits >> 6), .birth = bits & 15U, .mark = (bits & 1U << 5) != 0,
            .chosen = (bits & 1U << 4) != 0};
  }
};

struct AwayBits {
  static constexpr std::uint32_t kLongAgo = 31;
  std::uint32_t arm = 0;
  std::uint32_t stamp = 0;  ///< 0: nothing known

  [[nodiscard]] PolicyBits Pack() const { return static_cast<PolicyBits>(arm << 5 | stamp); }
  static AwayBits Unpack(PolicyBits bits) {
    return {.arm = static_cast<std::uint32_t>(bits >> 5), .stamp = bits & 31U};
  }
};
static_assert(EvictionArms::kRing + 1 < AwayBits::kLongAgo + 1 && EvictionArms::kArms <= 8);

}  // namespace heca::fault
