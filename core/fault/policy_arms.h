// SPDX-License-Identifier: LGPL-2.1-or-later
// What an eviction costs, learnt by the only evidence there is: which evicted pages come back, and how soon.
//
// The resident pages are divided into kArms groups ("arms"). Time is cut into epochs. For each arm the pages that were
// evicted from it in the last kHorizon epochs are counted by epoch; every epoch that such a page stays away adds one
// page-epoch of exposure, every one that comes back adds one return. returns / exposure is the rate at which pages of
// this arm are wanted again: what one more page evicted from it will cost. Both fade with every epoch, so that the
// present outweighs the past and an arm that was not tried for long becomes uncertain again. They are kept twice, with a
// short and a long memory.
//
// Fixed size, no allocation, one thread at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace heca::fault {

class EvictionArms {
 public:
  static constexpr std::size_t kArms = 8;
  /// Epochs that can be told apart in an evicted page's five bits of time stamp (two codes are taken).
  static constexpr std::uint32_t kRing = 30;
  /// Pages away for longer are no evidence any more.
  static constexpr std::uint32_t kHorizon = 24;

  /// A page of `arm` was evicted now.
  void Evicted(std::size_t arm);
  /// A page of `arm`, evicted `age` epochs ago, is back. `weight`: 1 if somebody waited for it, less if not.
  void Returned(std::size_t arm, std::uint32_t age, double weight);
  /// The next epoch begins.
  void NextEpoch();

  [[nodiscard]] std::uint32_t Now() const { return now_; }
  /// Returns per page-epoch: the best guess, by the short memory.
  [[nodiscard]] double Rate(std::size_t arm) const;
  /// The worse of both memories: what once went wrong is not soon forgotten.
  [[nodiscard]] double HighRate(std::size_t arm) const;
  /// As low as the rate may reasonably be: far below Rate() for an arm of which little is known.
  [[nodiscard]] double LowRate(std::size_t arm) const;

 private:
  struct Memory {
    std::array<double, kArms> returns{};
    std::array<double, kArms> exposure{};
    [[nodiscard]] double Pooled() const;
    [[nodiscard]] double Rate(std::size_t arm) const;
  };
  std::uint32_t& Pending(std::size_t arm, std::uint32_t age) { return pending_[arm][(now_ + kRing - age) % kRing]; }

  std::uint32_t now_ = 0;
  std::array<std::array<std::uint32_t, kRing>, kArms> pending_{};
  std::array<Memory, 2> memories_;
};

}  // namespace heca::fault
