// SPDX-License-Identifier: LGPL-2.1-or-later
#include "transport/rdma/registered.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <utility>

namespace heca::transport::rdma {
namespace {

int Access(Reach reach) {
  // Also what our own reads land in must be writable remotely: over iWARP that is how they are answered (RFC 5040).
  const int landing = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
  switch (reach) {
    case Reach::kLocal: return landing;
    case Reach::kPeerReads: return IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ;
    case Reach::kPeerReadsAndWrites: return landing | IBV_ACCESS_REMOTE_READ;
    case Reach::kInvalid: break;
  }
  return 0;
}

}  // namespace

Result<Owned<ibv_mr>> Register(ibv_pd& domain, std::span<const std::byte> memory, int access, const char* what) {
  Owned<ibv_mr> key(ibv_reg_mr(&domain, const_cast<std::byte*>(memory.data()), memory.size(), access));
  if (key) return key;
  return Status::FromErrno(errno, fmt::format("registering {} bytes{} for RDMA (limit of locked memory: LimitMEMLOCK=)",
                                              memory.size(), what));
}

Result<Registered> Registered::Make(ibv_pd& domain, std::size_t bytes, Reach reach) {
  void* const base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return Status::FromErrno(errno, fmt::format("mapping {} bytes for RDMA", bytes));
  const std::span<std::byte> memory(static_cast<std::byte*>(base), bytes);
  auto key = Register(domain, memory, Access(reach));
  if (key.ok()) return Registered(memory, std::move(*key));
  ::munmap(base, bytes);
  return key.status();
}

Registered::Registered(Registered&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), key_(std::move(other.key_)) {}

Registered& Registered::operator=(Registered&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(key_, other.key_);
  return *this;
}

Registered::~Registered() {
  key_.reset();
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

ibv_sge Registered::Part(std::size_t offset, std::size_t size) const {
  return {reinterpret_cast<std::uintptr_t>(bytes_.data() + offset), static_cast<std::uint32_t>(size), key_->lkey};
}

wire::RemoteMemory Registered::Remote(std::size_t offset) const {
  return {reinterpret_cast<std::uintptr_t>(bytes_.data() + offset), key_->rkey};
}

Result<Source> Source::Make(ibv_pd& domain, std::span<const std::byte> memory) {
  HECA_ASSIGN_OR_RETURN(auto key, Register(domain, memory, 0));  // only to be read, by us
  return Source(memory, std::move(key));
}

bool Source::Has(std::span<const std::byte> part) const {
  const std::less_equal<const std::byte*> before;
  return key_ != nullptr && !part.empty() && before(memory_.data(), part.data()) &&
         before(part.data() + part.size(), memory_.data() + memory_.size());
}

ibv_sge Source::Part(std::span<const std::byte> part) const {
  return {reinterpret_cast<std::uintptr_t>(part.data()), static_cast<std::uint32_t>(part.size()), key_->lkey};
}

}  // namespace heca::transport::rdma
