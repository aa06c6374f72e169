// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/registrar.h"

namespace heca::transport::rdma {

Registrar::Registrar() : thread_([this] { Run(); }) {}

Registrar::~Registrar() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_.notify_one();
  thread_.join();
}

Result<std::shared_ptr<Registration>> Registrar::Of(ibv_context& device, LeaseId lease, const SlotMemory& memory) {
  std::shared_ptr<Registration> there;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
    auto& known = known_[{&device, lease}];
    there = known.lock();
    if (!there) {
      HECA_ASSIGN_OR_RETURN(auto made, Registration::Make(device, memory));
      there = std::shared_ptr<Registration>(made.release(), [this](Registration* unused) {
        Bury(std::unique_ptr<Registration>(unused));
      });
      known = there;
    }
  }
  Follow(there, memory);
  return there;
}

void Registrar::Follow(const std::shared_ptr<Registration>& registration, const SlotMemory& memory) {
  if (!registration->Follow(memory)) return;
  {
    const std::lock_guard lock(mutex_);
    growing_.push_back(registration);
  }
  work_.notify_one();
}

void Registrar::Bury(std::unique_ptr<Registration> unused) {
  {
    const std::lock_guard lock(mutex_);
    unused_.push_back(std::move(unused));
  }
  work_.notify_one();
}

void Registrar::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stop_ || !growing_.empty() || !unused_.empty(); });
    const bool last = stop_;
    auto unused = std::exchange(unused_, {});
    std::weak_ptr<Registration> next;
    if (!last && !growing_.empty()) {
      next = std::move(growing_.front());
      growing_.pop_front();
    }
    lock.unlock();
    unused.clear();
    bool more = false;
    if (const auto registration = next.lock()) more = registration->AddNext();  // whose last user may be gone by now: see Bury
    lock.lock();
    if (more) growing_.push_back(std::move(next));
    if (last && unused_.empty()) return;
  }
}

}  // namespace heca::transport::rdma
