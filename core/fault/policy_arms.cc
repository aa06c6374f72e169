// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/policy_arms.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace heca::fault {
namespace {
/// The short memory halves in 4 epochs (a quarter of a limit's worth of placements), the long one in 34 (two of them).
constexpr std::array<double, 2> kFade = {0.85, 0.98};
/// A page that comes back in the epoch of its eviction was away for half an epoch.
constexpr double kHalfEpoch = 0.5;
/// The pooled rate counts as so many page-epochs of evidence for an arm.
constexpr double kPriorExposure = 4.0;
/// Standard deviations between the best guess and LowRate.
constexpr double kDoubt = 1.0;
}  // namespace

void EvictionArms::Evicted(std::size_t arm) { ++Pending(arm, 0); }

void EvictionArms::Returned(std::size_t arm, std::uint32_t age, double weight) {
  if (age > kHorizon || Pending(arm, age) == 0) return;
  --Pending(arm, age);
  for (Memory& m : memories_) {
    m.returns[arm] += weight;
    m.exposure[arm] += kHalfEpoch;
  }
}

void EvictionArms::NextEpoch() {
  for (std::size_t arm = 0; arm < kArms; ++arm) {
    double stayed = 0;
    for (std::uint32_t age = 0; age <= kHorizon; ++age) stayed += Pending(arm, age);
    stayed -= kHalfEpoch * Pending(arm, 0);
    for (std::size_t i = 0; i < memories_.size(); ++i) {
      memories_[i].returns[arm] *= kFade[i];
      memories_[i].exposure[arm] = memories_[i].exposure[arm] * kFade[i] + stayed;
    }
  }
  now_ = (now_ + 1) % kRing;
  for (auto& ring : pending_) ring[now_] = 0;
}

double EvictionArms::Memory::Pooled() const {
  const double back = std::accumulate(returns.begin(), returns.end(), 0.0);
  const double away = std::accumulate(exposure.begin(), exposure.end(), 0.0);
  return (back + 1.0) / (away + kPriorExposure);
}

double EvictionArms::Memory::Rate(std::size_t arm) const {
  return (returns[arm] + Pooled() * kPriorExposure) / (exposure[arm] + kPriorExposure);
}

double EvictionArms::Rate(std::size_t arm) const { return memories_[0].Rate(arm); }
double EvictionArms::HighRate(std::size_t arm) const { return std::max(memories_[0].Rate(arm), memories_[1].Rate(arm)); }

double EvictionArms::LowRate(std::size_t arm) const {
  const Memory& m = memories_[0];
  const double back = m.returns[arm] + m.Pooled() * kPriorExposure;
  return std::max(0.0, back - kDoubt * std::sqrt(back)) / (m.exposure[arm] + kPriorExposure);
}

}  // namespace heca::fault
