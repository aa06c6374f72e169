// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/lease_memory.h"

#include <utility>

#include "base/check.h"

namespace heca::store {

LeaseMemory::LeaseMemory(LeaseId id, Epoch epoch, const SlabShape& shape, Backing backing, std::size_t max_slabs)
    : LeasedMemory(id, epoch), shape_(shape), backing_(backing), slots_per_slab_(shape.Slots()) {
  slabs_.reserve(max_slabs);
}

void LeaseMemory::Append(std::vector<Slab> slabs, QuotaCharge charge) {
  HECA_CHECK(slabs_.size() + slabs.size() <= slabs_.capacity());
  charges_.push_back(std::move(charge));
  for (auto& slab : slabs) slabs_.push_back(std::make_unique<Slab>(std::move(slab)));
  slots_.store(static_cast<std::uint32_t>(slabs_.size() * slots_per_slab_), std::memory_order_release);
}

Slab* LeaseMemory::SlabOf(Slot slot) const {
  // Slot 0 wraps to the largest index: one comparison refuses it too. data() and not operator[]: the vector's size
  // may be growing, its storage does not move.
  const std::uint32_t index = slot.value() - 1;
  if (index >= SlotCount()) return nullptr;
  return slabs_.data()[index / slots_per_slab_].get();
}

Status LeaseMemory::NoSuchSlot(Slot slot) const {
  return Status(ErrorCode::kInvalidArgument,
                "slot " + std::to_string(slot.value()) + " does not exist: lease " + std::to_string(id().value()) +
                    " has slots 1 to " + std::to_string(SlotCount()),
                ErrorScope::kPage);
}

std::uint64_t LeaseMemory::CountWritten() const {
  std::uint64_t count = 0;
  for (const auto& slab : slabs_) count += slab->CountWritten();
  return count;
}

Result<std::span<const std::byte>> LeaseMemory::ForRead(Slot slot) {
  const Slab* slab = SlabOf(slot);
  if (slab == nullptr) return NoSuchSlot(slot);
  if (!slab->Written(IndexOf(slot))) {
    return Status(ErrorCode::kDataLoss,
                  "slot " + std::to_string(slot.value()) + " of lease " + std::to_string(id().value()) +
                      " holds no page",
                  ErrorScope::kPage);
  }
  return std::span<const std::byte>(slab->Page(IndexOf(slot)));
}

Result<std::span<std::byte>> LeaseMemory::BeginWrite(Slot slot, transport::Attempt attempt) {
  Slab* slab = SlabOf(slot);
  if (slab == nullptr) return NoSuchSlot(slot);
  if (!slab->Written(IndexOf(slot))) return slab->Page(IndexOf(slot));
  if (attempt == transport::Attempt::kRepeated) return std::span<std::byte>();
  return Status(ErrorCode::kAlreadyExists,
                "slot " + std::to_string(slot.value()) + " of lease " + std::to_string(id().value()) +
                    " is written already; release it first",
                ErrorScope::kPage);
}

void LeaseMemory::CommitWrite(Slot slot) {
  if (Slab* slab = SlabOf(slot)) slab->MarkWritten(IndexOf(slot));
}

Status LeaseMemory::Release(Slot slot) {
  Slab* slab = SlabOf(slot);
  if (slab == nullptr) return NoSuchSlot(slot);
  slab->MarkFree(IndexOf(slot));
  return {};
}

std::vector<transport::Extent> LeaseMemory::Extents() const {
  std::vector<transport::Extent> extents;
  if (backing_ != Backing::kReserved) return extents;
  for (std::uint32_t slot = 1; slot <= SlotCount(); slot += slots_per_slab_) {
    const Slab& slab = *SlabOf(Slot(slot));
    extents.push_back({Slot(slot), slab.Pages(), slab.Marks()});
  }
  return extents;
}

}  // namespace heca::store
