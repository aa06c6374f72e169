// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory of our own that a device may reach. It is pinned while it is registered.
#pragma once

#include <cstddef>
#include <span>

#include "heca/status.h"
#include "transport/rdma/verbs.h"
#include "wire/rdma.h"

namespace heca::transport::rdma {

/// Pins `memory` for the device, with that access (IBV_ACCESS_*); `what` it is, for people: " of a slab", or nothing.
Result<Owned<ibv_mr>> Register(ibv_pd& domain, std::span<const std::byte> memory, int access, const char* what = "");

/// Who may reach it beside this host's own requests.
enum class Reach : std::uint8_t { kInvalid = 0, kLocal = 1, kPeerReads = 2, kPeerReadsAndWrites = 3 };

/// Zeroed, on pages of its own. One thread at a time, as far as this host goes.
class Registered {
 public:
  Registered() = default;
  static Result<Registered> Make(ibv_pd& domain, std::size_t bytes, Reach reach);
  Registered(Registered&& other) noexcept;
  Registered& operator=(Registered&& other) noexcept;
  ~Registered();

  [[nodiscard]] explicit operator bool() const { return key_ != nullptr; }
  [[nodiscard]] std::span<std::byte> bytes() const { return bytes_; }
  /// A scatter/gather element of our own requests.
  [[nodiscard]] ibv_sge Part(std::size_t offset, std::size_t size) const;
  /// What the peer has to be told of it.
  [[nodiscard]] wire::RemoteMemory Remote(std::size_t offset = 0) const;

 private:
  Registered(std::span<std::byte> bytes, Owned<ibv_mr> key) : bytes_(bytes), key_(std::move(key)) {}
  std::span<std::byte> bytes_;
  Owned<ibv_mr> key_;
};

/// Memory of somebody else from which our own writes are taken, and which nobody else reaches through it. Pinned as long as this
/// lives, whatever its owner does. One thread at a time.
class Source {
 public:
  Source() = default;
  static Result<Source> Make(ibv_pd& domain, std::span<const std::byte> memory);

  [[nodiscard]] bool Has(std::span<const std::byte> part) const;
  /// Of what it has.
  [[nodiscard]] ibv_sge Part(std::span<const std::byte> part) const;

 private:
  Source(std::span<const std::byte> memory, Owned<ibv_mr> key) : memory_(memory), key_(std::move(key)) {}
  std::span<const std::byte> memory_;
  Owned<ibv_mr> key_;
};

}  // namespace heca::transport::rdma
