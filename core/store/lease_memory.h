// SPDX-License-Identifier: LGPL-2.1-or-later
// The memory of one lease at the sponsor: a growing row of slabs, addressed by slot, under one epoch. The data path
// (ForRead, BeginWrite, CommitWrite, Release) is lock-free and may run on any number of threads; Append and SetEpoch
// are for the control path, one thread at a time.
//
// Data connections do not see this class but a LeaseView of it (lease_view.h), which can be fenced off one by one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "heca/status.h"
#include "heca/types.h"
#include "store/leased_memory.h"
#include "store/quota.h"
#include "store/slab.h"
#include "transport/channel.h"

namespace heca::store {

class LeaseMemory final : public LeasedMemory {
 public:
  /// At most `max_slabs` can ever be appended. Extents are only told of slabs whose memory is there already: to pin others would
  /// allocate all of it.
  LeaseMemory(LeaseId id, Epoch epoch, const SlabShape& shape, Backing backing, std::size_t max_slabs);

  /// Takes the slabs and the quota that they are charged to; the charge ends when this object does, which is when
  /// nobody can see the memory any more.
  void Append(std::vector<Slab> slabs, QuotaCharge charge);

  [[nodiscard]] const SlabShape& shape() const { return shape_; }
  [[nodiscard]] Bytes PageSize() const override { return shape_.page_size; }
  [[nodiscard]] std::uint32_t SlotCount() const override { return slots_.load(std::memory_order_acquire); }
  [[nodiscard]] std::size_t SlabCount() const { return slabs_.size(); }
  /// Counts marks: O(slots).
  [[nodiscard]] std::uint64_t CountWritten() const;

  Result<std::span<const std::byte>> ForRead(Slot slot) override;
  Result<std::span<std::byte>> BeginWrite(Slot slot, transport::Attempt attempt) override;
  void CommitWrite(Slot slot) override;
  Status Release(Slot slot) override;
  [[nodiscard]] std::vector<transport::Extent> Extents() const override;

 private:
  /// Null for a slot that does not exist.
  [[nodiscard]] Slab* SlabOf(Slot slot) const;
  [[nodiscard]] std::uint32_t IndexOf(Slot slot) const { return (slot.value() - 1) % slots_per_slab_; }
  [[nodiscard]] Status NoSuchSlot(Slot slot) const;

  const SlabShape shape_;
  const Backing backing_;
  const std::uint32_t slots_per_slab_;
  std::atomic<std::uint32_t> slots_{0};  ///< published after the slabs that hold them
  std::vector<QuotaCharge> charges_;
  std::vector<std::unique_ptr<Slab>> slabs_;  ///< capacity fixed at construction: never moves under a reader
};

}  // namespace heca::store
