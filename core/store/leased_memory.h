// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory that is lent, slot by slot, under one epoch: slabs of a sponsor (lease_memory.h), or the RAM of a VM that is
// leaving this host (ram_image.h). Data connections do not see it but through a LeaseView each (lease_view.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "heca/status.h"
#include "heca/types.h"
#include "transport/server.h"

namespace heca::store {

/// Thread-safe. What the operations mean: transport::SlotMemory.
class LeasedMemory {
 public:
  LeasedMemory(LeaseId id, Epoch epoch) : id_(id), epoch_(epoch.value()) {}
  virtual ~LeasedMemory() = default;
  LeasedMemory(const LeasedMemory&) = delete;
  LeasedMemory& operator=(const LeasedMemory&) = delete;

  [[nodiscard]] LeaseId id() const { return id_; }
  [[nodiscard]] Epoch epoch() const { return Epoch(epoch_.load(std::memory_order_acquire)); }
  void SetEpoch(Epoch epoch) { epoch_.store(epoch.value(), std::memory_order_release); }

  [[nodiscard]] virtual Bytes PageSize() const = 0;
  [[nodiscard]] virtual std::uint32_t SlotCount() const = 0;
  virtual Result<std::span<const std::byte>> ForRead(Slot slot) = 0;
  virtual Result<std::span<std::byte>> BeginWrite(Slot slot, transport::Attempt attempt) = 0;
  virtual void CommitWrite(Slot slot) = 0;
  virtual Status Release(Slot slot) = 0;
  [[nodiscard]] virtual std::vector<transport::Extent> Extents() const { return {}; }

 private:
  const LeaseId id_;
  std::atomic<std::uint64_t> epoch_;
};

}  // namespace heca::store
