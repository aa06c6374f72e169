// SPDX-License-Identifier: LGPL-2.1-or-later
// The eviction policy of heca: evict from where it has proved cheapest.
//
// Resident pages are sorted by score (how often a page came back soon after it was evicted: the only sign of use that
// a fault history has) and, within a score, by the generation of their last placement. That makes eight places to
// take a victim from: the oldest and the youngest end of each score. For each of them EvictionArms learns how soon
// its victims are wanted again, and victims come from the place where that is latest; a small share goes to
// places of which too little is known. Out of that one rule come the known policies, each where it fits: the oldest of
// the low scores (a scan-resistant FIFO), the youngest (MRU, the best there is for a loop larger than memory); and when the
// working set moves, hot scores are found stale by the sampled evictions and drained.
//
// A duel keeps it from doing harm: some chunks of pages, drawn by lot, always evict the oldest, some always the
// cheapest, and all others do what has fewer faults now, the oldest first in doubt.
//
// Figures, limits and what was rejected: docs/eviction-policy.md.
//
// Fixed size whatever the region's; deterministic for a seed; one thread (the fault loop).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "fault/policy.h"
#include "fault/policy_arms.h"
#include "fault/policy_bits.h"

namespace heca::fault {

struct AdaptivePolicyOptions {
  PageCount region_pages{0};
  PageCount limit{0};
  std::uint64_t seed = 1;
};

class AdaptivePolicy final : public EvictionPolicy {
 public:
  explicit AdaptivePolicy(const AdaptivePolicyOptions& options);

  void SetLimit(PageCount limit) override;
  [[nodiscard]] PolicyBits OnPlaced(PageIndex page, PlaceCause cause, PolicyBits bits) override;
  [[nodiscard]] PolicyBits OnWriteSeen(PageIndex page, PolicyBits bits) override;
  [[nodiscard]] PolicyBits OnCancelled(PageIndex page, PolicyBits bits, bool touched) override;
  [[nodiscard]] PolicyBits OnReferenced(PageIndex page, PolicyBits bits) override;
  [[nodiscard]] PolicyBits OnEvicted(PageIndex page, PolicyBits bits) override;
  [[nodiscard]] PolicyBits OnDiscarded(PageIndex page, PolicyBits bits, bool was_resident) override;
  void Adopt(ResidentView& view) override;
  [[nodiscard]] std::size_t NextVictims(ResidentView& view, std::span<PageIndex> out) override;
  [[nodiscard]] std::size_t NextProbes(ResidentView& view, std::span<PageIndex> out) override;
  [[nodiscard]] PolicyStats Stats() const override { return stats_; }
  [[nodiscard]] std::string Describe() const override;

 private:
  /// Which bits a sweep is looking for.
  using Wanted = std::array<bool, 256>;
  /// Chunks of pages drawn by lot: who evicts how, to see which of the two has fewer faults.
  enum Team : std::uint8_t { kOldestFirst, kCheapestFirst, kFollowers };
  static constexpr std::size_t kTeams = 3;
  static constexpr std::uint64_t kChunkPages = 8;
  static constexpr std::size_t kNoArm = EvictionArms::kArms;

  [[nodiscard]] std::uint32_t AgeOf(std::uint32_t birth) const;
  [[nodiscard]] std::uint64_t CountOf(Team team, std::uint32_t score) const;
  [[nodiscard]] std::uint32_t Elapsed(std::uint32_t stamp) const;
  [[nodiscard]] std::uint32_t BirthOf(std::uint32_t age) const;
  [[nodiscard]] static Team TeamOf(std::uint64_t page);
  [[nodiscard]] static std::uint64_t TeamMask(std::uint64_t block, Team team);
  [[nodiscard]] std::uint64_t EndPages(Team team) const;
  static void Mark(std::uint32_t score, std::uint32_t birth, Wanted& wanted);
  void WantArm(Team team, std::size_t arm, Wanted& wanted) const;
  double WantOldest(Team team, Wanted& wanted) const;
  std::size_t Take(ResidentView& view, Team team, const Wanted& wanted, bool young, std::span<PageIndex> out);
  std::size_t TakeOldest(ResidentView& view, Team team, std::span<PageIndex> out);
  std::size_t TakeCheapest(ResidentView& view, Team team, std::span<PageIndex> out);
  void KeepPace(ResidentView& view);
  void Tick();
  void Enter(Team team, ResidentBits page) { ++counts_[team][page.score][page.birth]; }
  void Leave(Team team, ResidentBits page);
  PolicyBits Renew(PageIndex index, ResidentBits page, std::uint32_t score);
  std::uint64_t Random();

  std::uint64_t blocks_;
  std::uint64_t limit_ = 1;
  std::uint64_t random_;
  std::uint64_t epoch_left_ = 1;       ///< placements until the next epoch
  std::uint64_t generation_left_ = 1;  ///< placements until the next generation
  std::uint32_t generation_ = 0;       ///< modulo kGenerations
  std::array<std::uint64_t, kTeams> hands_{};       ///< block that a sweep looks at next
  std::array<std::uint64_t, kTeams> team_pages_{};  ///< of the region
  std::array<double, kTeams> faults_{};             ///< demand faults on pages that had been evicted; fades
  std::uint64_t renewed_ = 0;
  std::uint64_t behind_ = 0;           ///< sixteenths of entries that the hand is behind the pace of the stamps
  std::uint64_t pace_ = 0;             ///< sixteenths of entries that the hand must pass for each placement
  std::size_t last_arm_ = kNoArm;
  EvictionArms arms_;
  /// Resident pages by score and birth, without those that were chosen as victims.
  std::array<std::array<std::array<std::uint64_t, kGenerations + 1>, kScores>, kTeams> counts_{};
  PolicyStats stats_;
};

}  // namespace heca::fault
