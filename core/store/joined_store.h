// SPDX-License-Identifier: LGPL-2.1-or-later
// Two stores as one, for a VM that moves here while part of its memory lies at a sponsor:
//
//   slots 1..N        the image of its memory that its former host lends: read-only, and gone one day (ForgetImage)
//   slots N+1..N+M    slots 1..M of the lease at its sponsor
//
// N stays as it is when the image is gone, because pages name their slots by it. The image is never told of single slots:
// it is given back as a whole.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "heca/page_store.h"

namespace heca::store {

/// Thread-safe. Owns neither; both outlive it.
class JoinedStore final : public PageStore {
 public:
  /// `image` null: it was given back already. Both have pages of one size.
  JoinedStore(PageStore* image, std::uint32_t image_slots, PageStore& lease);

  /// No page lies in the image any more: a read of it fails with kDataLoss from now on, and its health does not matter.
  void ForgetImage() { image_needed_.store(false, std::memory_order_release); }
  [[nodiscard]] bool image_needed() const { return image_needed_.load(std::memory_order_acquire); }

  /// A batch may name slots of both; it is answered when both have answered.
  Result<std::unique_ptr<PageReader>> OpenReader(Role role) override;
  /// Slots of the image are kInvalidArgument to it.
  Result<std::unique_ptr<PageWriter>> OpenWriter() override;
  [[nodiscard]] Bytes PageSize() const override { return lease_.PageSize(); }
  [[nodiscard]] std::uint32_t SlotCount() const override { return image_slots_ + lease_.SlotCount(); }
  [[nodiscard]] std::uint32_t ReadOnlySlots() const override { return image_slots_; }
  /// The worse of the two.
  [[nodiscard]] StoreHealth Health() const override;
  [[nodiscard]] std::string Describe() const override;

 private:
  PageStore* const image_;
  const std::uint32_t image_slots_;
  PageStore& lease_;
  std::atomic<bool> image_needed_;
};

}  // namespace heca::store
