// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/registration.h"

#include <fmt/format.h>

#include <atomic>
#include <cerrno>

#include "base/log.h"

namespace heca::transport::rdma {
namespace {

constexpr int kReached = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;

Result<Owned<ibv_mr>> Register(ibv_pd& domain, std::span<std::byte> memory) {
  Owned<ibv_mr> key(ibv_reg_mr(&domain, memory.data(), memory.size(), kReached));
  if (key) return key;
  return Status::FromErrno(errno, fmt::format("registering {} bytes of a slab for RDMA (limit of locked memory: LimitMEMLOCK=)",
                                              memory.size()));
}

wire::RemoteMemory Remote(const ibv_mr& key) { return {reinterpret_cast<std::uintptr_t>(key.addr), key.rkey}; }

}  // namespace

Result<Domain> MakeDomain(ibv_context& device) {
  Domain domain(ibv_alloc_pd(&device), [](ibv_pd* made) {
    if (made != nullptr) ibv_dealloc_pd(made);
  });
  if (!domain) return Status::FromErrno(errno, "allocating a protection domain");
  return domain;
}

Result<std::shared_ptr<Registration>> Registration::Make(ibv_context& device, const SlotMemory& memory) {
  HECA_ASSIGN_OR_RETURN(auto domain, MakeDomain(device));
  std::shared_ptr<Registration> made(new Registration(std::move(domain)));
  if (memory.Extents().empty()) return made;
  HECA_ASSIGN_OR_RETURN(made->directory_, Registered::Make(*made->domain_, wire::kMaxDirectorySize, Reach::kPeerReads));
  if (const Status registered = made->Follow(memory); !registered.ok()) {
    Log().warn("pages are served by this host's CPU, not by its RDMA device alone: {}", registered.ToString());
    made->directory_ = Registered();
    made->keys_.clear();
  }
  return made;
}

wire::RemoteMemory Registration::directory() const { return directory_ ? directory_.Remote() : wire::RemoteMemory{}; }

Status Registration::Follow(const SlotMemory& memory) {
  const std::lock_guard lock(mutex_);
  if (!directory_ || memory.SlotCount() == slots_) return {};
  for (const Extent& extent : memory.Extents()) {
    if (extent.first.value() <= slots_ || entries_ == wire::kMaxDirectoryEntries) continue;
    HECA_RETURN_IF_ERROR(Add(extent));
  }
  slots_ = memory.SlotCount();
  return {};
}

Status Registration::Add(const Extent& extent) {
  HECA_ASSIGN_OR_RETURN(auto pages, Register(*domain_, extent.pages));
  HECA_ASSIGN_OR_RETURN(auto marks, Register(*domain_, extent.marks));
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

Result<std::shared_ptr<Registration>> Registrations::Of(ibv_context& device, LeaseId lease, const SlotMemory& memory) {
  const std::lock_guard lock(mutex_);
  std::erase_if(known_, [](const auto& entry) { return entry.second.expired(); });
  auto& known = known_[{&device, lease}];
  if (auto there = known.lock()) return there;
  HECA_ASSIGN_OR_RETURN(auto made, Registration::Make(device, memory));
  known = made;
  return made;
}

}  // namespace heca::transport::rdma
