// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/helm.h"

#include <utility>

namespace heca::node {
namespace {

constexpr std::chrono::minutes kOrdersHold{2};

void Obey(const control::SteerSpec& spec, migration::Steering& steering) {
  if (spec.bandwidth) steering.SetBandwidth(*spec.bandwidth);
  if (spec.switch_now) steering.SwitchNow();
}

}  // namespace

Helm::Course Helm::Take(const RegionId& region, migration::Plan plan, std::uint64_t bandwidth) {
  auto steering = std::make_shared<migration::Steering>(bandwidth);
  const std::lock_guard lock(mutex_);
  std::erase_if(orders_, [](const auto& one) { return Clock::now() - one.second.given > kOrdersHold; });
  std::erase_if(under_way_, [](const auto& one) { return one.second.expired(); });
  if (const auto found = orders_.find(region); found != orders_.end()) {
    const control::SteerSpec& spec = found->second.spec;
    if (spec.mode) plan.mode = *spec.mode;
    if (spec.downtime_goal) plan.downtime_goal = *spec.downtime_goal;
    Obey(spec, *steering);
    orders_.erase(found);
  }
  under_way_[region] = steering;
  return {plan, std::move(steering)};
}

Status Helm::Steer(const control::SteerSpec& spec) {
  const std::lock_guard lock(mutex_);
  const auto found = under_way_.find(spec.region);
  const auto steering = found == under_way_.end() ? nullptr : found->second.lock();
  if (steering == nullptr) {
    orders_[spec.region] = {spec, Clock::now()};
    return {};
  }
  if (spec.mode || spec.downtime_goal) {
    return {ErrorCode::kFailedPrecondition,
            "the migration of '" + spec.region + "' is under way: its mode and its goal cannot change any more",
            ErrorScope::kRegion};
  }
  Obey(spec, *steering);
  return {};
}

}  // namespace heca::node
