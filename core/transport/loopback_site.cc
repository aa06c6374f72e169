// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/loopback_site.h"

#include <fmt/format.h>
#include <sys/eventfd.h>

#include "base/check.h"

namespace heca::transport {

void LoopbackLink::Wake() { HECA_CHECK(::eventfd_write(wake.get(), 1) == 0); }

Status LoopbackSite::Listen(Admission& admission) {
  const std::lock_guard lock(mutex_);
  if (admission_ != nullptr) {
    return {ErrorCode::kAlreadyExists, fmt::format("somebody listens on {} already", endpoint_.ToString())};
  }
  admission_ = &admission;
  return {};
}

void LoopbackSite::StopListening() {
  const std::lock_guard lock(mutex_);
  admission_ = nullptr;
  for (const auto& link : Live()) {
    link->cut = true;
    link->Wake();
  }
  links_.clear();
}

Result<std::shared_ptr<SlotMemory>> LoopbackSite::Admit(const Hello& hello, const std::shared_ptr<LoopbackLink>& link) {
  const std::lock_guard lock(mutex_);
  if (admission_ == nullptr || cut_) {
    return Status(ErrorCode::kUnavailable, fmt::format("nobody answers on {}", endpoint_.ToString()),
                  ErrorScope::kConnection);
  }
  HECA_ASSIGN_OR_RETURN(auto memory, admission_->Admit(hello));
  std::erase_if(links_, [](const auto& old) { return old.expired(); });
  links_.push_back(link);
  return memory;
}

void LoopbackSite::SetCut(bool cut) {
  const std::lock_guard lock(mutex_);
  cut_ = cut;
  if (!cut) return;
  for (const auto& link : Live()) {
    link->cut = true;
    link->Wake();
  }
}

void LoopbackSite::SetStalled(bool stalled) {
  const std::lock_guard lock(mutex_);
  stalled_ = stalled;
  if (stalled) return;
  for (const auto& link : Live()) link->Wake();
}

std::vector<ConnectionInfo> LoopbackSite::Connections() const {
  const std::lock_guard lock(mutex_);
  std::vector<ConnectionInfo> infos;
  for (const auto& link : Live()) {
    if (!link->cut) infos.push_back({"loopback", link->role, link->lease, link->written, link->read});
  }
  return infos;
}

std::vector<std::shared_ptr<LoopbackLink>> LoopbackSite::Live() const {
  std::vector<std::shared_ptr<LoopbackLink>> live;
  for (const auto& weak : links_) {
    if (auto link = weak.lock()) live.push_back(std::move(link));
  }
  return live;
}

}  // namespace heca::transport
