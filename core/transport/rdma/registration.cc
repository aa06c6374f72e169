// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/registration.h"

#include <fmt/format.h>

#include <cerrno>
#include <limits>
#include <thread>

#include "base/clock.h"
#include "base/fail_points.h"
#include "base/log.h"

namespace heca::transport::rdma {
namespace {

/// By the fail point: more than a connection has time to be set up.
constexpr Millis kSlow{1500};
constexpr int kReached = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;

wire::RemoteMemory Remote(const ibv_mr& key) { return {reinterpret_cast<std::uintptr_t>(key.addr), key.rkey}; }

}  // namespace

Result<Domain> MakeDomain(ibv_context& device) {
  Domain domain(ibv_alloc_pd(&device), [](ibv_pd* made) {
    if (made != nullptr) ibv_dealloc_pd(made);
  });
  if (!domain) return Status::FromErrno(errno, "allocating a protection domain");
  return domain;
}

Result<std::unique_ptr<Registration>> Registration::Make(ibv_context& device, const SlotMemory& memory) {
  HECA_ASSIGN_OR_RETURN(auto domain, MakeDomain(device));
  std::unique_ptr<Registration> made(new Registration(std::move(domain)));
  auto reachable = memory.ToReach();
  if (reachable.extents.empty()) return made;
  made->memory_ = std::move(reachable.memory);
  HECA_ASSIGN_OR_RETURN(made->directory_, Registered::Make(*made->domain_, wire::kMaxDirectorySize, Reach::kPeerReads));
  return made;
}

wire::RemoteMemory Registration::directory() const { return directory_ ? directory_.Remote() : wire::RemoteMemory{}; }

bool Registration::Follow(const SlotMemory& memory) {
  if (!directory_ || memory.SlotCount() <= noted_.load(std::memory_order_relaxed)) return false;
  const std::lock_guard lock(mutex_);
  const bool was_done = to_add_.empty();
  for (const Extent& extent : memory.ToReach().extents) {
    if (extent.first.value() <= noted_) continue;
    to_add_.push_back(extent);
    noted_ = extent.first.value() - 1 + static_cast<std::uint32_t>(extent.marks.size());
  }
  return was_done && !to_add_.empty();
}

bool Registration::AddNext() {
  Extent extent;
  {
    const std::lock_guard lock(mutex_);
    extent = to_add_.front();
  }
  const Status added = Add(extent);
  const std::lock_guard lock(mutex_);
  to_add_.pop_front();
  if (added.ok()) return !to_add_.empty();
  Log().warn("pages from slot {} of a lease on are served by this host's CPU, not by its RDMA device alone: {}",
             extent.first.value(), added.ToString());
  to_add_.clear();
  noted_ = std::numeric_limits<std::uint32_t>::max();
  return false;
}

Status Registration::Add(const Extent& extent) {
  if (entries_ == wire::kMaxDirectoryEntries) {
    return {ErrorCode::kResourceExhausted, fmt::format("the directory has room for {} slabs", entries_)};
  }
  if (FailPointHit(FailPoint::kSlowRegistration)) std::this_thread::sleep_for(kSlow);
  HECA_ASSIGN_OR_RETURN(auto pages, Register(*domain_, extent.pages, kReached, " of a slab"));
  HECA_ASSIGN_OR_RETURN(auto marks, Register(*domain_, extent.marks, kReached, " of a slab"));
  const wire::DirectoryEntry entry{extent.first, static_cast<std::uint32_t>(extent.marks.size()), Remote(*pages), Remote(*marks)};
  const auto bytes = directory_.bytes();
  wire::Encode(entry, bytes.subspan(wire::kDirectoryHeaderSize + entries_ * wire::kDirectoryEntrySize)
                          .first<wire::kDirectoryEntrySize>());
  std::atomic_thread_fence(std::memory_order_release);  // the entry is there before it counts; the device reads as it likes
  wire::EncodeDirectoryCount(++entries_, bytes.first<wire::kDirectoryHeaderSize>());
  keys_.push_back(std::move(pages));
  keys_.push_back(std::move(marks));
  return {};
}

}  // namespace heca::transport::rdma
