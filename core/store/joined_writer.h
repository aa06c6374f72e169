// SPDX-License-Identifier: LGPL-2.1-or-later
// PageWriter of a JoinedStore: that of the lease, under the slots' joined numbers.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "heca/page_store.h"

namespace heca::store {

/// One thread at a time.
class JoinedWriter final : public PageWriter {
 public:
  JoinedWriter(std::uint32_t image_slots, std::unique_ptr<PageWriter> lease)
      : image_slots_(image_slots), lease_(std::move(lease)) {
    own_.reserve(lease_->MaxBatch());
  }
  void WritesFrom(std::span<const std::byte> memory) override { lease_->WritesFrom(memory); }
  Status Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) override {
    HECA_RETURN_IF_ERROR(Translate(slots));
    return lease_->Write(tag, own_, pages);
  }
  Status Release(OpTag tag, std::span<const Slot> slots) override {
    HECA_RETURN_IF_ERROR(Translate(slots));
    return lease_->Release(tag, own_);
  }
  std::size_t Poll(WriteSink& sink) override { return lease_->Poll(sink); }
  [[nodiscard]] PollNeed Need() const override { return lease_->Need(); }
  [[nodiscard]] std::size_t MaxBatch() const override { return lease_->MaxBatch(); }

 private:
  Status Translate(std::span<const Slot> slots) {
    own_.clear();
    for (const Slot slot : slots) {
      if (slot.value() <= image_slots_) return {ErrorCode::kInvalidArgument, "a slot that is read-only", ErrorScope::kPage};
      own_.push_back(Slot(slot.value() - image_slots_));
    }
    return {};
  }

  const std::uint32_t image_slots_;
  const std::unique_ptr<PageWriter> lease_;
  std::vector<Slot> own_;  ///< of the operation that is being started, as the lease counts them
};

}  // namespace heca::store
