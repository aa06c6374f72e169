// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/remote_writer.h"

#include <algorithm>
#include <string>

namespace heca::store {

bool RemoteWriter::Any(std::span<const Slot> slots, std::uint8_t mask) const {
  return std::any_of(slots.begin(), slots.end(), [&](Slot slot) { return (flights_.Get(slot) & mask) != 0; });
}

Status RemoteWriter::Write(OpTag tag, std::span<const Slot> slots, std::span<const std::byte> pages) {
  if (pages.size() != slots.size() * page_size().value()) {
    return Status(ErrorCode::kInvalidArgument, std::to_string(pages.size()) + " bytes for " +
                                                   std::to_string(slots.size()) + " pages of " +
                                                   std::to_string(page_size().value()));
  }
  if (Any(slots, kWriting | kReleasing)) {
    return Status(ErrorCode::kAlreadyExists, "a write or release of one of the slots has not completed",
                  ErrorScope::kPage);
  }
  Status status = StartOp(OpKind::kWrite, tag, slots, pages);
  if (status.ok()) {
    for (const Slot slot : slots) flights_.Set(slot, kWriting);
  }
  return status;
}

Status RemoteWriter::Release(OpTag tag, std::span<const Slot> slots) {
  if (Any(slots, kReleasing)) {
    return Status(ErrorCode::kBusy, "a release of one of the slots has not completed", ErrorScope::kPage);
  }
  Status status = StartOp(OpKind::kRelease, tag, slots, {});
  if (status.ok()) {
    for (const Slot slot : slots) flights_.Set(slot, kReleasing);
  }
  return status;
}

std::size_t RemoteWriter::Poll(WriteSink& sink) {
  sink_ = &sink;
  delivered_ = 0;
  Advance();
  return delivered_;
}

void RemoteWriter::Complete(OpKind kind, OpTag tag, std::span<const Slot> slots, const Status& status,
                            std::span<const std::byte> /*pages*/) {
  ++delivered_;
  for (const Slot slot : slots) flights_.Clear(slot, kind == OpKind::kWrite ? kWriting : kReleasing);
  if (kind == OpKind::kWrite) {
    sink_->OnWritten(tag, status);
  } else {
    sink_->OnReleased(tag, status);
  }
}

}  // namespace heca::store
