// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/lease_view.h"

#include <algorithm>
#include <string>
#include <utility>

namespace heca::store {

Result<std::shared_ptr<transport::SlotMemory>> ViewBoard::Open(StreamName name, Epoch epoch) {
  std::shared_ptr<LeaseView> view;  // outlives the lock: its end takes the lock too
  const std::lock_guard lock(mutex_);
  if (!memory_) return Status(ErrorCode::kNotFound, "the lease was freed", ErrorScope::kReplica);
  const bool busy = std::any_of(living_.begin(), living_.end(), [&](auto* other) { return other->name_ == name; });
  if (busy) {
    return Status(ErrorCode::kBusy,
                  "the former connection of stream " + std::to_string(name.stream) + " has not ended yet",
                  ErrorScope::kConnection);
  }
  view = std::make_shared<LeaseView>(shared_from_this(), memory_, name, epoch);
  if (!view->StillOwnedBy(epoch)) return view->Refusal();
  living_.push_back(view.get());
  return std::shared_ptr<transport::SlotMemory>(std::move(view));
}

template <class Which>
Status ViewBoard::EndWhich(Which which, Deadline deadline) {
  std::unique_lock lock(mutex_);
  for (auto* view : living_) {
    if (which(view)) view->Fence();
  }
  const bool ended = gone_.wait_until(lock, deadline.when(), [&] {
    return std::none_of(living_.begin(), living_.end(), which);
  });
  if (ended) return {};
  return Status(ErrorCode::kBusy, "a former connection is still being closed", ErrorScope::kConnection);
}

Status ViewBoard::End(StreamName name, Deadline deadline) {
  return EndWhich([name](const LeaseView* view) { return view->name_ == name; }, deadline);
}

Status ViewBoard::EndAll(Deadline deadline) {
  return EndWhich([](const LeaseView*) { return true; }, deadline);
}

void ViewBoard::Close() {
  std::shared_ptr<LeasedMemory> memory;  // unmapped after the lock is gone
  const std::lock_guard lock(mutex_);
  memory = std::move(memory_);
  for (auto* view : living_) view->Fence();
}

std::size_t ViewBoard::Living() const {
  const std::lock_guard lock(mutex_);
  return living_.size();
}

void ViewBoard::Remove(const LeaseView* view) {
  const std::lock_guard lock(mutex_);
  std::erase(living_, view);
  gone_.notify_all();
}

LeaseView::LeaseView(std::shared_ptr<ViewBoard> board, std::shared_ptr<LeasedMemory> memory, StreamName name,
                     Epoch epoch)
    : board_(std::move(board)), memory_(std::move(memory)), name_(name), epoch_(epoch) {}

LeaseView::~LeaseView() { board_->Remove(this); }

Status LeaseView::Refusal() const {
  return Status(ErrorCode::kPermissionDenied,
                "connection of epoch " + std::to_string(epoch_.value()) + " is shut out of lease " +
                    std::to_string(memory_->id().value()) + ", which is at epoch " +
                    std::to_string(memory_->epoch().value()),
                ErrorScope::kConnection);
}

Result<std::span<const std::byte>> LeaseView::ForRead(Slot slot) {
  return Open() ? memory_->ForRead(slot) : Refusal();
}

Result<std::span<std::byte>> LeaseView::BeginWrite(Slot slot, transport::Attempt attempt) {
  return Open() ? memory_->BeginWrite(slot, attempt) : Refusal();
}

// Not refused when fenced: the bytes are there, and the successor is admitted only after this view is gone. Refusing
// would be as right; saying yes lets a write that made it count.
void LeaseView::CommitWrite(Slot slot) { memory_->CommitWrite(slot); }

Status LeaseView::Release(Slot slot) { return Open() ? memory_->Release(slot) : Refusal(); }

}  // namespace heca::store
